import { ArgumentError } from "../errors.ts";
import { tagOf } from "./bytes.ts";

/**
 * The typed array that holds each element type. 16-bit floats have none in JavaScript and stay bit patterns;
 * `toFloat32` widens them. `BOOL` is one byte an element, 0 or 1.
 */
export interface SafetensorsArrays {
  /** 64-bit floats. */
  F64: Float64Array;
  /** 32-bit floats. */
  F32: Float32Array;
  /** 16-bit floats (IEEE 754 binary16), as bit patterns. */
  F16: Uint16Array;
  /** The upper halves of 32-bit floats, as bit patterns. */
  BF16: Uint16Array;
  /** Signed integers of 64 bits. */
  I64: BigInt64Array;
  /** Signed integers of 32 bits. */
  I32: Int32Array;
  /** Signed integers of 16 bits. */
  I16: Int16Array;
  /** Signed integers of 8 bits. */
  I8: Int8Array;
  /** Unsigned integers of 64 bits. */
  U64: BigUint64Array;
  /** Unsigned integers of 32 bits. */
  U32: Uint32Array;
  /** Unsigned integers of 16 bits. */
  U16: Uint16Array;
  /** Unsigned integers of 8 bits. */
  U8: Uint8Array;
  /** Truth values, one byte each: 0 or 1. */
  BOOL: Uint8Array;
}

/** Name of an element type in a safetensors header. */
export type SafetensorsDtype = keyof SafetensorsArrays;

/** A typed array that a tensor may hold. */
export type SafetensorsArray = SafetensorsArrays[SafetensorsDtype];

/** One tensor of a file: `data` is in C order (last axis fastest), of the type that `dtype` names. */
export type SafetensorsTensor = {
  [D in SafetensorsDtype]: {
    /** Element type. */
    readonly dtype: D;
    /** Size of each axis; `[]` is a scalar. */
    readonly shape: readonly number[];
    /** One element an entry, in a buffer of its own. */
    readonly data: SafetensorsArrays[D];
  };
}[SafetensorsDtype];

interface DtypeRow {
  /** Bytes an element. */
  readonly size: number;
  /** Makes the typed array over a whole buffer. */
  readonly over: (buffer: ArrayBuffer) => SafetensorsArray;
  /** Tag of that typed array. */
  readonly tag: string;
}

/** Every element type, in the order in which the reference implementation lays tensors out: widest first. */
export const DTYPES: Readonly<Record<SafetensorsDtype, DtypeRow>> = {
  U64: { size: 8, over: (buffer) => new BigUint64Array(buffer), tag: "BigUint64Array" },
  I64: { size: 8, over: (buffer) => new BigInt64Array(buffer), tag: "BigInt64Array" },
  F64: { size: 8, over: (buffer) => new Float64Array(buffer), tag: "Float64Array" },
  F32: { size: 4, over: (buffer) => new Float32Array(buffer), tag: "Float32Array" },
  U32: { size: 4, over: (buffer) => new Uint32Array(buffer), tag: "Uint32Array" },
  I32: { size: 4, over: (buffer) => new Int32Array(buffer), tag: "Int32Array" },
  BF16: { size: 2, over: (buffer) => new Uint16Array(buffer), tag: "Uint16Array" },
  F16: { size: 2, over: (buffer) => new Uint16Array(buffer), tag: "Uint16Array" },
  U16: { size: 2, over: (buffer) => new Uint16Array(buffer), tag: "Uint16Array" },
  I16: { size: 2, over: (buffer) => new Int16Array(buffer), tag: "Int16Array" },
  I8: { size: 1, over: (buffer) => new Int8Array(buffer), tag: "Int8Array" },
  U8: { size: 1, over: (buffer) => new Uint8Array(buffer), tag: "Uint8Array" },
  BOOL: { size: 1, over: (buffer) => new Uint8Array(buffer), tag: "Uint8Array" },
};

/** The names of `DTYPES`, in that order. */
export const DTYPE_NAMES = Object.keys(DTYPES) as readonly SafetensorsDtype[];

/** Whether `name` names an element type that this library reads. */
export function isDtype(name: string): name is SafetensorsDtype {
  return Object.hasOwn(DTYPES, name);
}

/** The element type that a typed array stands for when none is named, e.g. `F32` for a `Float32Array`. */
export function dtypeOfTag(tag: string): SafetensorsDtype | undefined {
  if (tag === "Uint16Array") return "U16";
  if (tag === "Uint8Array") return "U8";
  return DTYPE_NAMES.find((name) => DTYPES[name].tag === tag);
}

/**
 * The values of a floating-point tensor as a new `Float32Array`, in the same order. Exact for `F32`, `F16`
 * and `BF16` (NaN payloads included); `F64` is rounded to the nearest float, overflow to infinity.
 *
 * @param tensor a tensor as `readSafetensors` gives it
 * @throws ArgumentError if the tensor holds integers or booleans, whose values a float may not hold.
 */
export function toFloat32(tensor: SafetensorsTensor): Float32Array<ArrayBuffer> {
  switch (tensor?.dtype) {
    case "F32":
    case "F64":
      return new Float32Array(checkedData(tensor));
    case "BF16":
      return fromBits(checkedData(tensor), (half) => half << 16);
    case "F16":
      return fromBits(checkedData(tensor), widenHalf);
    default:
      throw new ArgumentError("tensor.dtype", tensor?.dtype, "F32, F64, F16 or BF16");
  }
}

function checkedData<T extends SafetensorsTensor>(tensor: T): T["data"] {
  const { tag } = DTYPES[tensor.dtype];
  if (tagOf(tensor.data) !== tag) throw new ArgumentError("tensor.data", tensor.data, `a ${tag}`);
  return tensor.data;
}

function fromBits(halves: Uint16Array, widen: (half: number) => number): Float32Array<ArrayBuffer> {
  const values = new Float32Array(halves.length);
  const bits = new Uint32Array(values.buffer);
  for (let i = 0; i < halves.length; i++) bits[i] = widen(halves[i] as number);
  return values;
}

/** IEEE 754 binary16 to binary32: sign 1, exponent 5 (bias 15), fraction 10 to sign 1, exponent 8 (bias 127), fraction 23. */
function widenHalf(half: number): number {
  const sign = (half & 0x8000) << 16;
  let exponent = (half >> 10) & 0x1f;
  let fraction = half & 0x3ff;
  if (exponent === 0x1f) return sign | 0x7f800000 | (fraction << 13);
  if (exponent === 0) {
    if (fraction === 0) return sign;
    // Subnormal: fraction × 2^-24. Shift until the leading one stands where the implicit one does.
    const shift = Math.clz32(fraction) - 21;
    fraction = (fraction << shift) & 0x3ff;
    exponent = 1 - shift;
  }
  return sign | ((exponent + 112) << 23) | (fraction << 13);
}
