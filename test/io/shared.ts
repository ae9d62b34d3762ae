import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

/** Golden cases beside the repository. They are not part of it, so a checkout alone has none. */
const GOLDEN = resolve(import.meta.dirname, "../../../shared/golden");

/** Names of the golden safetensors files, `[]` (with a printed reason) if they are not there. */
export const goldenNames: readonly string[] = existsSync(GOLDEN)
  ? readdirSync(GOLDEN).filter((name) => name.endsWith(".safetensors"))
  : [];
if (goldenNames.length === 0) console.warn(`golden files are skipped: no ${GOLDEN}`);

/** The bytes of one golden file. */
export function golden(name: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(join(GOLDEN, name)));
}

/** A safetensors file from the text of its header, not padded, and its data. */
export function safetensorsFile(header: string | Uint8Array, data: Uint8Array = new Uint8Array(0)) {
  const text = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const file = new Uint8Array(8 + text.length + data.length);
  new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true);
  file.set(text, 8);
  file.set(data, 8 + text.length);
  return file;
}

/** An IDX file: element type code, size of each axis, data. */
export function idxFile(code: number, shape: readonly number[], data: Uint8Array | readonly number[]) {
  const file = new Uint8Array(4 + 4 * shape.length + data.length);
  const view = new DataView(file.buffer);
  file.set([0, 0, code, shape.length]);
  shape.forEach((size, axis) => {
    view.setUint32(4 + 4 * axis, size);
  });
  file.set(data, 4 + 4 * shape.length);
  return file;
}

/** What `call` throws; fails if it returns. */
export function thrown(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}
