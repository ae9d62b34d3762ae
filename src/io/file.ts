// Needs node:fs: for the command line and spikegrad/data/node, not for what runs in a page.
import { randomUUID } from "node:crypto";
import * as nodeFs from "node:fs/promises";
import { dirname, join } from "node:path";
import { ArgumentError, FileError, SpikegradError, visible } from "../errors.ts";
import { allocate, requireBytes } from "./bytes.ts";

/** The part of `node:fs/promises` that is used here; tests put a failing disk in its place. */
export type FileSystem = Pick<typeof nodeFs, "link" | "lstat" | "open" | "realpath" | "rename" | "rm">;

/** Options of `writeFileAtomic`. */
export interface WriteOptions {
  /** Whether a file that is there already may be replaced. Default `false`. */
  overwrite?: boolean;
  /** @internal */
  fs?: FileSystem;
}

/** Options of `readFileBytes`. */
export interface ReadOptions {
  /** The most bytes to read; a longer file is refused. Default 2^32. */
  maxBytes?: number;
  /** @internal */
  fs?: FileSystem;
}

const CHUNK_BYTES = 1 << 24;

/** What the system's error codes say to a person. */
const REASONS: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EBUSY: "it is in use",
  EDQUOT: "the disk quota is used up",
  EEXIST: "it exists already",
  EFBIG: "it is larger than this file system allows",
  EIO: "the disk failed",
  EISDIR: "it is a folder",
  ELOOP: "too many symbolic links",
  EMFILE: "too many files are open",
  ENAMETOOLONG: "the name is too long",
  ENOENT: "no such file or folder",
  ENOSPC: "no space left on the device",
  ENOTDIR: "a part of the path is no folder",
  EPERM: "operation not permitted",
  EROFS: "the file system is read-only",
};

/** Codes of a `link` that this file system cannot do at all, as opposed to one that failed. */
const NO_LINKS = new Set([
  "EPERM",
  "ENOSYS",
  "ENOTSUP",
  "EOPNOTSUPP",
  "EINVAL",
  "EMLINK",
  "EACCES",
  "EISDIR",
]);

/** Codes of an `fsync` of a folder where folders cannot be synced (Windows, some network file systems). */
const NO_FOLDER_SYNC = new Set([
  "EACCES",
  "EBADF",
  "EINVAL",
  "EISDIR",
  "ENOSYS",
  "ENOTSUP",
  "EOPNOTSUPP",
  "EPERM",
]);

/**
 * Writes a file whole or not at all. The bytes go to a temporary file in the same folder, are forced to disk,
 * and only then take the name, in one step that cannot replace a file that appeared meanwhile (unless
 * `overwrite`). On any failure the temporary file is removed, and what was there before is untouched.
 *
 * With `overwrite`, a symbolic link is followed and the mode of the file replaced is kept; anything that is
 * no regular file (a folder, `/dev/null`) is refused.
 *
 * @param path where to write; its folder must be there
 * @param bytes the contents
 * @param options whether it may replace a file: see `WriteOptions`
 * @throws ArgumentError if `path` is no string or empty, or `bytes` no `Uint8Array`
 * @throws FileError naming the path and the reason: exists already, no space left, permission denied, …
 */
export async function writeFileAtomic(
  path: string,
  bytes: Uint8Array,
  options: WriteOptions = {},
): Promise<void> {
  // Not in the signature: declarations, from which internal options are stripped, would still name them there.
  const { overwrite = false, fs = nodeFs } = options;
  requirePath(path);
  requireBytes(bytes, "bytes");
  try {
    const target = await resolveTarget(path, overwrite, fs);
    const folder = dirname(target.path);
    const temporary = join(folder, `.spikegrad-${randomUUID()}.tmp`);
    try {
      await writeSynced(temporary, bytes, target.mode, fs);
      if (overwrite) await fs.rename(temporary, target.path);
      else await claim(temporary, target.path, fs);
    } catch (error) {
      // Also where it was never made; a second failure must not hide the first.
      await fs.rm(temporary, { force: true }).catch(() => undefined);
      throw error;
    }
    await syncFolder(folder, fs);
  } catch (error) {
    throw fileError("write", path, error);
  }
}

/**
 * Reads a whole file, no more than `maxBytes` of it: also of a device or a pipe, whose length nobody knows.
 *
 * @param path what to read
 * @param options the most bytes: see `ReadOptions`
 * @returns the contents
 * @throws ArgumentError if `path` is no string or empty
 * @throws FileError naming the path and the reason: no such file, is a folder, longer than `maxBytes`, …
 * @throws MemoryError if the runtime refuses the memory
 */
export async function readFileBytes(
  path: string,
  options: ReadOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const { maxBytes = 2 ** 32, fs = nodeFs } = options;
  requirePath(path);
  if (typeof maxBytes !== "number" || !(maxBytes >= 0)) {
    throw new ArgumentError("maxBytes", maxBytes, "a number of bytes, 0 or more");
  }
  try {
    const handle = await fs.open(path, "r");
    try {
      const stat = await handle.stat();
      if (stat.isDirectory()) throw systemError("EISDIR");
      if (stat.isFile() && stat.size > maxBytes) throw tooLong(path, maxBytes, stat.size);
      return await readAll(handle, path, stat.isFile() ? stat.size : 0, maxBytes);
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw fileError("read", path, error);
  }
}

/** The path to give the name to, and the mode of the file that is replaced there, if any. */
async function resolveTarget(
  path: string,
  overwrite: boolean,
  fs: FileSystem,
): Promise<{ path: string; mode?: number }> {
  try {
    const there = await fs.lstat(path);
    if (!overwrite) throw systemError("EEXIST");
    if (there.isSymbolicLink()) return resolveTarget(await fs.realpath(path), overwrite, fs);
    if (there.isDirectory()) throw systemError("EISDIR");
    if (!there.isFile()) throw new FileError(path, `cannot write ${quote(path)}: it is no regular file`);
    return { path, mode: there.mode & 0o777 };
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
    return { path };
  }
}

async function writeSynced(
  path: string,
  bytes: Uint8Array,
  mode: number | undefined,
  fs: FileSystem,
): Promise<void> {
  const handle = await fs.open(path, "wx", 0o666);
  try {
    await handle.writeFile(bytes);
    if (mode !== undefined) await handle.chmod(mode);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Gives the temporary file its name, failing with EEXIST if the name is taken: `rename` alone would replace it. */
async function claim(temporary: string, path: string, fs: FileSystem): Promise<void> {
  try {
    await fs.link(temporary, path);
  } catch (error) {
    if (!NO_LINKS.has(codeOf(error) ?? "")) throw error;
    // No hard links here (FAT, some network drives): take the name with an empty file, which also fails
    // if it is taken, and replace that.
    await (await fs.open(path, "wx")).close();
    try {
      await fs.rename(temporary, path);
    } catch (failure) {
      await fs.rm(path, { force: true }).catch(() => undefined);
      throw failure;
    }
    return;
  }
  await fs.rm(temporary);
}

/** Forces the folder's entry to disk, so that the name outlives a power failure. */
async function syncFolder(folder: string, fs: FileSystem): Promise<void> {
  try {
    const handle = await fs.open(folder, "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (!NO_FOLDER_SYNC.has(codeOf(error) ?? "")) throw error;
  }
}

async function readAll(
  handle: nodeFs.FileHandle,
  path: string,
  expected: number,
  maxBytes: number,
): Promise<Uint8Array<ArrayBuffer>> {
  // One byte more than expected, so that the end is seen without growing.
  let buffer = allocate(expected + 1, `reading ${quote(path)}`);
  let length = 0;
  for (;;) {
    const { bytesRead } = await handle.read(buffer, length, Math.min(buffer.length - length, CHUNK_BYTES));
    if (bytesRead === 0) return length === expected ? buffer.subarray(0, length) : buffer.slice(0, length);
    length += bytesRead;
    if (length > maxBytes) throw tooLong(path, maxBytes);
    if (length === buffer.length) {
      const grown = allocate(Math.max(2 * length, 1 << 16), `reading ${quote(path)}`);
      grown.set(buffer);
      buffer = grown;
    }
  }
}

function tooLong(path: string, maxBytes: number, length?: number): FileError {
  const has = length === undefined ? "it has" : `it has ${length} bytes,`;
  return new FileError(path, `cannot read ${quote(path)}: ${has} more than the ${maxBytes} bytes allowed`, {
    value: length,
    expected: `at most ${maxBytes} bytes`,
  });
}

function requirePath(path: unknown): void {
  if (typeof path !== "string" || path === "" || path.includes("\0")) {
    throw new ArgumentError("path", path, "a path: text, not empty, without NUL");
  }
}

function systemError(code: string): Error {
  return Object.assign(new Error(REASONS[code]), { code });
}

function codeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : undefined;
}

function fileError(action: "read" | "write", path: string, error: unknown): SpikegradError {
  if (error instanceof SpikegradError) return error;
  const code = codeOf(error) ?? "";
  const hint = code === "EEXIST" ? "; choose another name or allow overwriting" : "";
  const reason = REASONS[code] ?? (error instanceof Error ? error.message : String(error));
  const suffix = code === "" ? "" : ` (${code})`;
  return new FileError(path, `cannot ${action} ${quote(path)}: ${reason}${suffix}${hint}`, { cause: error });
}

/** The path in quotation marks and whole, with nothing left in it that could move a terminal. */
function quote(path: string): string {
  return `"${visible(path)}"`;
}
