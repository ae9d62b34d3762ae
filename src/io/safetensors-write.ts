import { ArgumentError, show } from "../errors.ts";
import { allocate, elementCount, tagOf } from "./bytes.ts";
import {
  DTYPE_NAMES,
  DTYPES,
  dtypeOfTag,
  isDtype,
  type SafetensorsArray,
  type SafetensorsDtype,
} from "./dtypes.ts";
import { compareCodePoints } from "./order.ts";
import { LENGTH_BYTES } from "./safetensors.ts";
import { MAX_AXES, MAX_HEADER_BYTES, METADATA_KEY } from "./safetensors-header.ts";

/** A tensor to write. */
export interface SafetensorsInput {
  /**
   * Element type. Default: the one of `data`, e.g. `F32` for a `Float32Array`, `U8` for a `Uint8Array`, `U16`
   * for a `Uint16Array`; name `BOOL`, `F16` or `BF16` where the array stands for one of these.
   */
  readonly dtype?: SafetensorsDtype | undefined;
  /** Size of each axis; `[]` is a scalar. Their product is the length of `data`. */
  readonly shape: readonly number[];
  /** The elements in C order. */
  readonly data: SafetensorsArray;
}

/** Tensors by name: an object, a `Map`, or anything that yields `[name, tensor]`. */
export type SafetensorsInputs =
  | Iterable<readonly [string, SafetensorsInput]>
  | Readonly<Record<string, SafetensorsInput>>;

interface Entry {
  readonly name: string;
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  readonly data: SafetensorsArray;
}

/**
 * Writes tensors in the safetensors format, byte for byte as the reference implementation (Python's
 * `safetensors`) lays them out: header in compact JSON padded with spaces to a multiple of 8 bytes; tensors
 * by falling width of their type (U64, I64, F64, F32, U32, I32, BF16, F16, U16, I16, I8, U8, BOOL), then by
 * the code points of their names. Metadata keys are sorted too, where that implementation leaves their order
 * to chance, so equal content gives equal bytes. Bits of NaN are kept.
 *
 * @param tensors tensors by name; `"__metadata__"` is no name
 * @param metadata free text by key; no `__metadata__` is written if it is empty. Default `{}`
 * @returns the whole file
 * @throws ArgumentError if a name comes twice or has unpaired surrogates, if an array's type is not the one
 *   of `dtype` or its length not that of `shape`, or if the header would be longer than 100 MB
 * @throws MemoryError if the runtime refuses the memory for the file
 */
export function writeSafetensors(
  tensors: SafetensorsInputs,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  const entries = checkedEntries(tensors);
  entries.sort((a, b) => rank(a.dtype) - rank(b.dtype) || compareCodePoints(a.name, b.name));
  const members = metadataMembers(metadata);
  let offset = 0;
  for (const { name, dtype, shape, data } of entries) {
    const end = offset + data.byteLength;
    const entry = { dtype, shape, data_offsets: [offset, end] };
    members.push(`${JSON.stringify(name)}:${JSON.stringify(entry)}`);
    offset = end;
  }
  const json = new TextEncoder().encode(`{${members.join(",")}}`);
  const headerLength = Math.ceil(json.length / 8) * 8;
  if (headerLength > MAX_HEADER_BYTES) {
    throw new ArgumentError(
      "tensors",
      `a header of ${headerLength} bytes`,
      `at most ${MAX_HEADER_BYTES} bytes`,
    );
  }
  const dataStart = LENGTH_BYTES + headerLength;
  const file = allocate(dataStart + offset, "the safetensors file");
  new DataView(file.buffer).setBigUint64(0, BigInt(headerLength), true);
  file.set(json, LENGTH_BYTES);
  file.fill(0x20, LENGTH_BYTES + json.length, dataStart);
  let position = dataStart;
  for (const { data } of entries) {
    file.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), position);
    position += data.byteLength;
  }
  return file;
}

function checkedEntries(tensors: SafetensorsInputs): Entry[] {
  if (typeof tensors !== "object" || tensors === null || ArrayBuffer.isView(tensors)) {
    throw new ArgumentError("tensors", tensors, "tensors by name: an object, a Map or [name, tensor] pairs");
  }
  const pairs = isIterable(tensors) ? tensors : Object.entries(tensors);
  const names = new Set<string>();
  const entries: Entry[] = [];
  for (const pair of pairs) {
    if (!Array.isArray(pair)) throw new ArgumentError("tensors", pair, "[name, tensor] pairs");
    const [name, tensor] = pair;
    requireText("a name in tensors", name);
    if (name === METADATA_KEY) throw new ArgumentError("a name in tensors", name, "any other name");
    if (names.has(name)) throw new ArgumentError("a name in tensors", name, "every name once");
    names.add(name);
    entries.push(checkedEntry(name, tensor));
  }
  return entries;
}

function isIterable(tensors: SafetensorsInputs): tensors is Iterable<readonly [string, SafetensorsInput]> {
  return typeof (tensors as Partial<Iterable<unknown>>)[Symbol.iterator] === "function";
}

function checkedEntry(name: string, tensor: SafetensorsInput): Entry {
  const where = `tensors[${show(name)}]`;
  if (typeof tensor !== "object" || tensor === null)
    throw new ArgumentError(where, tensor, "{ shape, data }");
  const { shape, data } = tensor;
  const tag = tagOf(data);
  const natural = ArrayBuffer.isView(data) ? dtypeOfTag(tag) : undefined;
  if (natural === undefined)
    throw new ArgumentError(`${where}.data`, data, "a typed array of one of the format's types");
  const dtype = tensor.dtype ?? natural;
  if (typeof dtype !== "string" || !isDtype(dtype)) {
    throw new ArgumentError(`${where}.dtype`, dtype, `one of ${DTYPE_NAMES.join(", ")}`);
  }
  if (DTYPES[dtype].tag !== tag) {
    throw new ArgumentError(`${where}.data`, data, `a ${DTYPES[dtype].tag} for dtype ${dtype}`);
  }
  if (!Array.isArray(shape) || shape.length > MAX_AXES || !shape.every(isSize)) {
    throw new ArgumentError(`${where}.shape`, shape, `at most ${MAX_AXES} integers, each 0 … 2^53 - 1`);
  }
  if (elementCount(shape) !== data.length) {
    throw new ArgumentError(`${where}.shape`, shape, `a product of ${data.length}, the length of its data`);
  }
  return { name, dtype, shape, data };
}

function isSize(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0 && !Object.is(value, -0);
}

function metadataMembers(metadata: Readonly<Record<string, string>>): string[] {
  if (typeof metadata !== "object" || metadata === null || Array.isArray(metadata)) {
    throw new ArgumentError("metadata", metadata, "an object of strings");
  }
  const members = Object.entries(metadata)
    .sort(([a], [b]) => compareCodePoints(a, b))
    .map(([key, value]) => {
      requireText("a key in metadata", key);
      requireText(`metadata[${show(key)}]`, value);
      return `${JSON.stringify(key)}:${JSON.stringify(value)}`;
    });
  return members.length === 0 ? [] : [`${JSON.stringify(METADATA_KEY)}:{${members.join(",")}}`];
}

function requireText(argument: string, value: unknown): asserts value is string {
  // Half of a surrogate pair has no UTF-8 form.
  if (typeof value !== "string" || /\p{Surrogate}/u.test(value)) {
    throw new ArgumentError(argument, value, "a string without unpaired surrogates");
  }
}

function rank(dtype: SafetensorsDtype): number {
  return DTYPE_NAMES.indexOf(dtype);
}
