import { FormatError, show } from "../errors.ts";
import { elementCount } from "./bytes.ts";
import { DTYPE_NAMES, DTYPES, isDtype, type SafetensorsDtype } from "./dtypes.ts";
import { JsonReader } from "./json.ts";

/** The longest header that the reference implementation takes, in bytes. */
export const MAX_HEADER_BYTES = 100_000_000;

/** The most axes a tensor may have; NumPy has the same limit. */
export const MAX_AXES = 64;

/** The key of the header that is no tensor. */
export const METADATA_KEY = "__metadata__";

/** Where a tensor lies: bytes `begin … end - 1` of the data that follow the header. */
export interface TensorPlace<D extends SafetensorsDtype = SafetensorsDtype> {
  readonly name: string;
  readonly dtype: D;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

/** What a header says, checked. */
export interface Header {
  /** In the order of the header. */
  readonly places: readonly TensorPlace[];
  /** Free text by key, without a prototype. */
  readonly metadata: Record<string, string>;
}

/** What a header is called in errors. */
export const SUBJECT = "safetensors header";
const ENTRY = 'an object {"dtype", "shape", "data_offsets"}';
const INTEGER = "an integer, 0 … 2^53 - 1";

/**
 * Checks the JSON of a header against itself and the length of the data: every tensor known, each as long as
 * its shape says, all together covering the data without hole, overlap or rest. Fields that the format does
 * not name are passed over, as the reference implementation does.
 *
 * @param text the header, without its length
 * @param dataLength bytes after the header
 * @throws FormatError naming the tensor and the field.
 */
export function parseHeader(text: string, dataLength: number): Header {
  const places = new Map<string, TensorPlace>();
  const metadata: Record<string, string> = Object.create(null);
  let hasMetadata = false;
  // The format wants this, and it keeps a byte order mark or white space from going unseen.
  if (!text.startsWith("{"))
    throw new FormatError(SUBJECT, text.slice(0, 1), 'a JSON object that starts with "{"');
  const json = new JsonReader(text, SUBJECT);
  json.object((name) => {
    if (name === METADATA_KEY ? hasMetadata : places.has(name)) {
      throw new FormatError(SUBJECT, name, "every name once");
    }
    if (name === METADATA_KEY) {
      hasMetadata = true;
      readMetadata(json, metadata);
    } else places.set(name, readEntry(json, name, dataLength));
  });
  json.end();
  const inHeaderOrder = [...places.values()];
  requireCover(inHeaderOrder, dataLength);
  return { places: inHeaderOrder, metadata };
}

function readMetadata(json: JsonReader, metadata: Record<string, string>): void {
  const where = `${SUBJECT} ${METADATA_KEY}`;
  if (json.peek() !== "object") throw new FormatError(where, json.shown(), "an object of strings");
  json.object((key) => {
    if (Object.hasOwn(metadata, key)) throw new FormatError(where, key, "every key once");
    if (json.peek() !== "string") throw new FormatError(`${where}[${show(key)}]`, json.shown(), "a string");
    metadata[key] = json.string();
  });
}

function readEntry(json: JsonReader, name: string, dataLength: number): TensorPlace {
  const where = (field: string) => `${SUBJECT} ${show(name)}${field}`;
  if (json.peek() !== "object") throw new FormatError(where(""), json.shown(), ENTRY);
  let dtype: SafetensorsDtype | undefined;
  let shape: number[] | undefined;
  let offsets: number[] | undefined;
  json.object((field) => {
    if (field === "dtype") {
      if (dtype !== undefined) throw new FormatError(where(""), field, "every field once");
      dtype = readDtype(json, () => where(".dtype"));
    } else if (field === "shape") {
      if (shape !== undefined) throw new FormatError(where(""), field, "every field once");
      shape = readIntegers(json, () => where(".shape"), MAX_AXES);
    } else if (field === "data_offsets") {
      if (offsets !== undefined) throw new FormatError(where(""), field, "every field once");
      offsets = readIntegers(json, () => where(".data_offsets"), 2);
    } else json.skip();
  });
  if (dtype === undefined) throw new FormatError(where(".dtype"), undefined, ENTRY);
  if (shape === undefined) throw new FormatError(where(".shape"), undefined, ENTRY);
  return placeOf(name, dtype, DTYPES[dtype].size, shape, offsets, dataLength);
}

/** What an entry says, if its parts agree: as many bytes as the shape has elements of `size`, all among `dataLength`. */
export function placeOf<D extends SafetensorsDtype>(
  name: string,
  dtype: D,
  size: number,
  shape: readonly number[],
  offsets: readonly number[] | undefined,
  dataLength: number,
): TensorPlace<D> {
  const refuse = (field: string, value: unknown, expected: string): never => {
    throw new FormatError(`${SUBJECT} ${show(name)}.${field}`, value, expected);
  };
  const [begin, end] = offsets ?? [];
  if (begin === undefined || end === undefined) return refuse("data_offsets", offsets, "[begin, end]");
  if (begin > end || end > dataLength)
    refuse("data_offsets", offsets, `begin ≤ end ≤ ${dataLength}, the bytes of data`);
  const length = (elementCount(shape) ?? Number.POSITIVE_INFINITY) * size;
  if (length > Number.MAX_SAFE_INTEGER) refuse("shape", shape, "fewer than 2^53 bytes");
  if (end - begin !== length)
    refuse("data_offsets", offsets, `${length} bytes for shape ${show(shape)} of ${dtype}`);
  return { name, dtype, shape, begin, end };
}

function readDtype(json: JsonReader, where: () => string): SafetensorsDtype {
  const known = `one of ${DTYPE_NAMES.join(", ")}`;
  if (json.peek() !== "string") throw new FormatError(where(), json.shown(), known);
  const dtype = json.string();
  if (!isDtype(dtype)) throw new FormatError(where(), dtype, known);
  return dtype;
}

function readIntegers(json: JsonReader, where: () => string, most: number): number[] {
  if (json.peek() !== "array") throw new FormatError(where(), json.shown(), "an array of integers");
  const integers: number[] = [];
  json.array((index) => {
    if (index === most) throw new FormatError(where(), `more than ${most} entries`, `at most ${most}`);
    // 1.0, -0 and 2^53 + 1 come as text, not as the integers that they round to.
    const value = json.shown();
    if (!Number.isSafeInteger(value) || (value as number) < 0) {
      throw new FormatError(`${where()}[${index}]`, value, INTEGER);
    }
    integers.push(value as number);
  });
  return integers;
}

/** Refuses places that leave bytes out, or share them. */
export function requireCover(places: readonly TensorPlace[], dataLength: number): void {
  const byOffset = [...places].sort((a, b) => a.begin - b.begin || a.end - b.end);
  let covered = 0;
  for (const { name, begin, end } of byOffset) {
    if (begin !== covered) {
      const fault = begin < covered ? "an overlap with another tensor" : "a hole before this tensor";
      const where = `${SUBJECT} ${show(name)}.data_offsets`;
      throw new FormatError(where, [begin, end], `a begin of ${covered}: this is ${fault}`);
    }
    covered = end;
  }
  if (covered !== dataLength) {
    throw new FormatError("safetensors data", dataLength, `${covered} bytes, the end of the last tensor`);
  }
}
