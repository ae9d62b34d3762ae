import { ArgumentError, MemoryError, show } from "../errors.ts";

/**
 * The built-in tag of a value, e.g. `"Float32Array"`. Unlike `instanceof` it also holds for arrays that
 * were made in another frame, worker context or test sandbox.
 */
export function tagOf(value: unknown): string {
  return Object.prototype.toString.call(value).slice(8, -1);
}

/** Whether `value` is a `Uint8Array` (a Node `Buffer` is one). */
export function isUint8Array(value: unknown): value is Uint8Array {
  return ArrayBuffer.isView(value) && tagOf(value) === "Uint8Array";
}

/**
 * Refuses anything but a `Uint8Array`.
 *
 * @throws ArgumentError if `value` is something else, an `ArrayBuffer` included.
 */
export function requireBytes(value: unknown, argument: string): asserts value is Uint8Array {
  if (isUint8Array(value)) return;
  const hints: Readonly<Record<string, string>> = {
    ArrayBuffer: ": new Uint8Array(buffer) makes one of it",
    Promise: ": await it first",
    Response: ": new Uint8Array(await response.arrayBuffer()) makes one of it",
    String: ": the contents of the file, not its name",
  };
  throw new ArgumentError(argument, value, `a Uint8Array${hints[tagOf(value)] ?? ""}`);
}

/**
 * `length` zero bytes in a buffer of their own.
 *
 * @throws MemoryError naming the bytes, `purpose` and `name`, any text, if the runtime refuses.
 */
export function allocate(length: number, purpose: string, name?: string): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(length);
  } catch (cause) {
    const what = name === undefined ? purpose : `${purpose} ${show(name)}`;
    throw new MemoryError(length, `${what} needs ${length} bytes; the runtime refused them`, { cause });
  }
}

/**
 * Bytes in a buffer of their own, which nobody else changes.
 *
 * @throws MemoryError as `allocate`
 */
export function copyOf(bytes: Uint8Array, purpose: string, name?: string): Uint8Array<ArrayBuffer> {
  const copy = allocate(bytes.length, purpose, name);
  copy.set(bytes);
  return copy;
}

/**
 * The number of elements of an array of this shape, 1 for the shape `[]`.
 *
 * @returns undefined where a partial product passes 2^53 - 1, the largest exact integer.
 */
export function elementCount(shape: readonly number[]): number | undefined {
  let count = 1;
  for (const size of shape) {
    count *= size;
    if (count > Number.MAX_SAFE_INTEGER) return undefined;
  }
  return count;
}
