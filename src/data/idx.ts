import { ArgumentError, FormatError, show } from "../errors.ts";
import { allocate, elementCount, requireBytes } from "../io/bytes.ts";
import { GZIP_RATIO, gunzip, isGzip, readGzip } from "./gzip.ts";

/** The typed array that holds each element type of an IDX file. */
export interface IdxArrays {
  /** Unsigned bytes, type 0x08. */
  u8: Uint8Array<ArrayBuffer>;
  /** Signed bytes, type 0x09. */
  i8: Int8Array<ArrayBuffer>;
  /** Signed integers of 16 bits, type 0x0B. */
  i16: Int16Array<ArrayBuffer>;
  /** Signed integers of 32 bits, type 0x0C. */
  i32: Int32Array<ArrayBuffer>;
  /** 32-bit floats, type 0x0D. */
  f32: Float32Array<ArrayBuffer>;
  /** 64-bit floats, type 0x0E. */
  f64: Float64Array<ArrayBuffer>;
}

/** Name of an element type. */
export type IdxType = keyof IdxArrays;

/** The array of an IDX file: `data` in C order (last axis fastest), in a buffer of its own. */
export type IdxArray = {
  [T in IdxType]: {
    /** Element type. */
    readonly type: T;
    /** Size of each axis, 1 … 255 axes, each 1 … 2^32 - 1. */
    readonly shape: readonly number[];
    /** The elements, last axis fastest. */
    readonly data: IdxArrays[T];
  };
}[IdxType];

/** Options of `readIdx`. */
export interface ReadIdxOptions {
  /** The most bytes that a file may hold after decompression. Default 2^31. */
  maxBytes?: number;
}

interface TypeRow {
  readonly type: IdxType;
  /** Bytes an element. */
  readonly size: number;
  /** Makes the typed array from big-endian bytes that fill it. */
  readonly decode: (bytes: Uint8Array<ArrayBuffer>) => IdxArray["data"];
}

/** Element types by the third byte of the file. */
const TYPES: Readonly<Record<number, TypeRow>> = {
  8: { type: "u8", size: 1, decode: (bytes) => bytes },
  9: { type: "i8", size: 1, decode: (bytes) => new Int8Array(bytes.buffer) },
  11: { type: "i16", size: 2, decode: (bytes) => new Int16Array(fromBigEndian(bytes, 2)) },
  12: { type: "i32", size: 4, decode: (bytes) => new Int32Array(fromBigEndian(bytes, 4)) },
  13: { type: "f32", size: 4, decode: (bytes) => new Float32Array(fromBigEndian(bytes, 4)) },
  14: { type: "f64", size: 8, decode: (bytes) => new Float64Array(fromBigEndian(bytes, 8)) },
};

const TYPE_LIST = "0x08 (u8), 0x09 (i8), 0x0B (i16), 0x0C (i32), 0x0D (f32) or 0x0E (f64)";

interface IdxHeader {
  readonly row: TypeRow;
  readonly shape: readonly number[];
  /** Bytes before the data. */
  readonly start: number;
  /** Bytes of the whole file. */
  readonly length: number;
}

/**
 * Reads an array in the IDX format of MNIST: two zero bytes, the element type, the number of axes, one
 * 32-bit size an axis, then the elements; all big endian (described at http://yann.lecun.com/exdb/mnist).
 * The data are copied; bits of NaN are kept.
 *
 * @param bytes the whole file, not compressed (see `readIdx`)
 * @throws ArgumentError if `bytes` is no `Uint8Array`
 * @throws FormatError if the magic number or the type is unknown, an axis is of size 0, or the file is shorter
 *   or longer than its shape says; found before anything is allocated
 * @throws MemoryError if the runtime refuses the memory for the data
 */
export function parseIdx(bytes: Uint8Array): IdxArray {
  requireBytes(bytes, "bytes");
  const header = parseHeader(bytes);
  if (header === undefined) {
    throw new FormatError("IDX file", `${bytes.length} bytes`, "a whole header: it is truncated");
  }
  const { row, shape, start, length } = header;
  if (bytes.length !== length) {
    const fault = bytes.length < length ? "it is truncated" : "bytes follow its data";
    const need = `${length} bytes for shape ${show(shape)} of ${row.type}: ${fault}`;
    throw new FormatError("IDX file", `${bytes.length} bytes`, need);
  }
  const copy = allocate(length - start, "the data of an IDX file");
  copy.set(bytes.subarray(start));
  // The table pairs each type with its array; TypeScript cannot follow that through the lookup.
  return { type: row.type, shape, data: row.decode(copy) } as IdxArray;
}

/**
 * Reads an IDX file that may be compressed with gzip (told by its first bytes, not by its name). Works where
 * `DecompressionStream` does: browsers, Deno, Node, Bun. Memory stays bounded by the size that the
 * header declares: decompression stops as soon as the file proves longer.
 *
 * @param bytes the whole file
 * @param options the most bytes: see `ReadIdxOptions`
 * @returns what `parseIdx` gives
 * @throws ArgumentError, FormatError, MemoryError as `parseIdx`; FormatError also if the compressed data are
 *   corrupt or the header declares more than `maxBytes`
 * @throws MissingError if the file is compressed and the runtime has no `DecompressionStream`
 */
export async function readIdx(
  bytes: Uint8Array,
  { maxBytes = 2 ** 31 }: ReadIdxOptions = {},
): Promise<IdxArray> {
  requireBytes(bytes, "bytes");
  if (typeof maxBytes !== "number" || !(maxBytes >= 0)) {
    throw new ArgumentError("maxBytes", maxBytes, "a number of bytes, 0 or more");
  }
  return parseIdx(isGzip(bytes) ? await gunzipIdx(bytes, maxBytes) : bytes);
}

/** Reads as much of the header as there is: undefined if it is not whole yet. */
function parseHeader(bytes: Uint8Array): IdxHeader | undefined {
  if (bytes.length < 4) return undefined;
  const [first, second, code, axes] = bytes as unknown as [number, number, number, number];
  if (first !== 0 || second !== 0) {
    throw new FormatError("IDX magic number", [first, second, code, axes], "[0, 0, type, axes]");
  }
  const row = TYPES[code];
  if (row === undefined) throw new FormatError("IDX type", code, TYPE_LIST);
  if (axes === 0) throw new FormatError("IDX axes", axes, "1 … 255");
  const start = 4 + 4 * axes;
  if (bytes.length < start) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const shape = Array.from({ length: axes }, (_, axis) => view.getUint32(4 + 4 * axis));
  const empty = shape.indexOf(0);
  if (empty >= 0) throw new FormatError(`IDX size of axis ${empty}`, 0, "1 or more");
  const length = start + (elementCount(shape) ?? Number.POSITIVE_INFINITY) * row.size;
  if (length > Number.MAX_SAFE_INTEGER) throw new FormatError("IDX shape", shape, "fewer than 2^53 bytes");
  return { row, shape, start, length };
}

/** The decompressed file, exactly as long as its header declares. */
async function gunzipIdx(bytes: Uint8Array, maxBytes: number): Promise<Uint8Array> {
  const reader = gunzip(bytes).getReader();
  let head = new Uint8Array(0);
  let header: IdxHeader | undefined;
  let file: Uint8Array | undefined;
  let length = 0;
  try {
    for (;;) {
      const { done, value } = await readGzip(reader);
      if (done) break;
      if (header === undefined || file === undefined) {
        head = concatenate(head, value);
        length = head.length;
        header = parseHeader(head);
        if (header === undefined) continue;
        requirePlausible(header, bytes.length, maxBytes);
        file = allocate(header.length, "a decompressed IDX file");
        if (length <= header.length) file.set(head);
      } else {
        if (length + value.length <= header.length) file.set(value, length);
        length += value.length;
      }
      if (length > header.length) {
        const need = `${header.length} bytes for shape ${show(header.shape)} of ${header.row.type}`;
        throw new FormatError("decompressed IDX file", `more than ${header.length} bytes`, need);
      }
    }
  } finally {
    // Ends the decompression wherever it stands; its own error, if any, was seen by read() already.
    reader.cancel().catch(() => undefined);
  }
  return file?.subarray(0, length) ?? head;
}

function requirePlausible({ length, shape }: IdxHeader, compressedLength: number, maxBytes: number): void {
  if (length > maxBytes) {
    throw new FormatError("IDX shape", shape, `at most ${maxBytes} bytes; this is ${length}`);
  }
  if (length > compressedLength * GZIP_RATIO) {
    const most = `at most ${GZIP_RATIO} times the ${compressedLength} compressed bytes; this is ${length} bytes`;
    throw new FormatError("IDX shape", shape, most);
  }
}

function concatenate(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = allocate(a.length + b.length, "decompression");
  both.set(a);
  both.set(b, a.length);
  return both;
}

/** Turns big-endian elements into the host's order, in place, without going through numbers that lose NaN bits. */
function fromBigEndian(bytes: Uint8Array<ArrayBuffer>, size: 2 | 4 | 8): ArrayBuffer {
  const view = new DataView(bytes.buffer);
  if (size === 2) {
    const host = new Uint16Array(bytes.buffer);
    for (let i = 0; i < host.length; i++) host[i] = view.getUint16(2 * i);
  } else if (size === 4) {
    const host = new Uint32Array(bytes.buffer);
    for (let i = 0; i < host.length; i++) host[i] = view.getUint32(4 * i);
  } else {
    const host = new BigUint64Array(bytes.buffer);
    for (let i = 0; i < host.length; i++) host[i] = view.getBigUint64(8 * i);
  }
  return bytes.buffer;
}
