import { FormatError } from "../errors.ts";
import { requireBytes } from "../io/bytes.ts";

/** One block: headers take one, contents are filled up to whole ones. */
const BLOCK = 512;
/** Pax keys that would change what a header says; others (times, owners) do not matter here. */
const CHANGING = /(?:^|\n)\d+ (?:path|size|linkpath)=/;

/**
 * The regular files of a tar archive by path, in the archive's order: the POSIX ustar format and GNU's, as `tar` writes them
 * by default. Folders are passed over. Contents are views of `bytes`, not copies. Links, devices, sparse files and names of
 * more than 255 characters are refused: no data set of those that are read here has any.
 *
 * @param bytes the whole archive, not compressed
 * @throws ArgumentError if `bytes` is no `Uint8Array`
 * @throws FormatError naming the entry: a wrong checksum, a number that is none, contents that are cut off, a path that leads
 *   out of the archive or occurs twice, a kind of entry that is not read
 */
export function parseTar(bytes: Uint8Array): Map<string, Uint8Array> {
  requireBytes(bytes, "bytes");
  const files = new Map<string, Uint8Array>();
  let position = 0;
  for (;;) {
    const header = bytes.subarray(position, position + BLOCK);
    // Two zero blocks end an archive; some writers leave them out.
    if (header.length === 0 && position > 0) return files;
    if (header.length < BLOCK)
      throw new FormatError("tar header", `${header.length} bytes`, `${BLOCK} bytes`);
    if (header.every((byte) => byte === 0)) return files;
    requireChecksum(header, position);
    const name = pathOf(header);
    const size = octal(header, 124, 12, name, "size");
    const kind = String.fromCharCode(header[156]!);
    const start = position + BLOCK;
    if (start + size > bytes.length) {
      const rest = bytes.length - start;
      throw new FormatError(`tar entry ${name}`, `${rest} bytes`, `${size} bytes: the archive is truncated`);
    }
    const contents = bytes.subarray(start, start + size);
    if (kind === "x" || kind === "g") {
      if (CHANGING.test(text(contents))) throw unread(name, "a pax header with another path or size");
    } else if (kind === "0" || kind === "\0") {
      if (files.has(name)) throw new FormatError(`tar entry ${name}`, "a second one", "every path once");
      files.set(name, contents);
    } else if (kind !== "5") throw unread(name, `type ${kind}`);
    position = start + Math.ceil(size / BLOCK) * BLOCK;
  }
}

function unread(name: string, found: string): FormatError {
  return new FormatError(`tar entry ${name}`, found, "regular files and folders only");
}

function pathOf(header: Uint8Array): string {
  const name = field(header, 0, 100);
  // GNU's header has other things in the place of the prefix.
  const prefix = field(header, 257, 6) === "ustar" ? field(header, 345, 155) : "";
  const path = prefix === "" ? name : `${prefix}/${name}`;
  if (path === "" || path.startsWith("/") || path.split("/").includes("..")) {
    throw new FormatError("tar entry", path, "a path inside the archive");
  }
  return path.replace(/^(\.\/)+/, "");
}

/** Sum of all bytes of the header, those of the checksum itself taken as spaces. */
function requireChecksum(header: Uint8Array, position: number): void {
  let sum = 0;
  for (let i = 0; i < BLOCK; i++) sum += i >= 148 && i < 156 ? 32 : header[i]!;
  const stated = octal(header, 148, 8, `at byte ${position}`, "checksum");
  if (stated !== sum) {
    throw new FormatError(
      `tar checksum at byte ${position}`,
      stated,
      `${sum}, the sum of the header's bytes`,
    );
  }
}

/** A number in octal digits. */
function octal(header: Uint8Array, start: number, length: number, entry: string, what: string): number {
  const digits = field(header, start, length).trim();
  if (!/^[0-7]+$/.test(digits)) {
    throw new FormatError(`tar entry ${entry}: ${what}`, digits, "octal digits");
  }
  return Number.parseInt(digits, 8);
}

/** Text up to the first zero byte. */
function field(header: Uint8Array, start: number, length: number): string {
  const bytes = header.subarray(start, start + length);
  const end = bytes.indexOf(0);
  return text(end < 0 ? bytes : bytes.subarray(0, end));
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
