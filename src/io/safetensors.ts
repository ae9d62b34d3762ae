import { FormatError } from "../errors.ts";
import { allocate, requireBytes } from "./bytes.ts";
import { DTYPES, type SafetensorsTensor } from "./dtypes.ts";
import { MAX_HEADER_BYTES, parseHeader } from "./safetensors-header.ts";

/** What a safetensors file holds. */
export interface SafetensorsFile {
  /** Tensors by name, in the order of the header. A `Map`, since any text may be a name. */
  readonly tensors: Map<string, SafetensorsTensor>;
  /** The header's `__metadata__`, `{}` if there is none. Has no prototype, since any text may be a key. */
  readonly metadata: Record<string, string>;
}

/** Bytes of the header's length, a little-endian unsigned integer, at the head of the file. */
export const LENGTH_BYTES = 8;

/**
 * Reads a file in the safetensors format: 8 bytes with the length of the header (little endian), the header
 * in JSON, then the tensors' bytes (little endian, as this library takes every host to be). The format is
 * described at https://github.com/huggingface/safetensors.
 *
 * All is checked before anything is allocated, and more strictly than by the reference implementation:
 * duplicate names are an error, and so are unpaired surrogates and more than 64 axes. The data are copied,
 * so the arrays are aligned and stay as they are whatever becomes of `bytes`. `F16` and `BF16` come as bit
 * patterns in a `Uint16Array`; `toFloat32` widens them. Bits of NaN are kept.
 *
 * @param bytes the whole file
 * @returns tensors by name, and the metadata
 * @throws ArgumentError if `bytes` is no `Uint8Array`
 * @throws FormatError if the file is truncated, too long or inconsistent, naming the tensor and the field
 * @throws MemoryError if the runtime refuses the memory for a tensor
 */
export function readSafetensors(bytes: Uint8Array): SafetensorsFile {
  requireBytes(bytes, "bytes");
  if (bytes.length < LENGTH_BYTES) {
    throw new FormatError("safetensors file", bytes.length, `at least ${LENGTH_BYTES} bytes`);
  }
  const headerLength = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  if (headerLength > MAX_HEADER_BYTES) {
    const page =
      bytes[0] === 0x3c ? "; these bytes are text, perhaps the page of a server that has no such file" : "";
    throw new FormatError(
      "safetensors header length",
      headerLength,
      `at most ${MAX_HEADER_BYTES} bytes${page}`,
    );
  }
  const dataStart = LENGTH_BYTES + Number(headerLength);
  if (dataStart > bytes.length) {
    const rest = `at most the ${bytes.length - LENGTH_BYTES} bytes that follow`;
    throw new FormatError("safetensors header length", headerLength, rest);
  }
  const text = decodeHeader(bytes.subarray(LENGTH_BYTES, dataStart));
  const { places, metadata } = parseHeader(text, bytes.length - dataStart);
  const tensors = new Map<string, SafetensorsTensor>();
  for (const { name, dtype, shape, begin, end } of places) {
    const copy = allocate(end - begin, "tensor", name);
    copy.set(bytes.subarray(dataStart + begin, dataStart + end));
    const data = DTYPES[dtype].over(copy.buffer);
    // The table pairs each dtype with its array; TypeScript cannot follow that through the lookup.
    tensors.set(name, { dtype, shape, data } as SafetensorsTensor);
  }
  return { tensors, metadata };
}

function decodeHeader(bytes: Uint8Array): string {
  // A copy, since browsers refuse to decode shared memory.
  const copy = allocate(bytes.length, "the safetensors header");
  copy.set(bytes);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(copy);
  } catch (cause) {
    throw new FormatError("safetensors header", "bytes that are no UTF-8", "UTF-8 text", { cause });
  }
}
