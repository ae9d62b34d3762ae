import { FormatError } from "../errors.ts";
import { copyOf, requireBytes } from "./bytes.ts";
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
  const { text, data: all } = openSafetensors(bytes, MAX_HEADER_BYTES);
  const { places, metadata } = parseHeader(text, all.length);
  const tensors = new Map<string, SafetensorsTensor>();
  for (const { name, dtype, shape, begin, end } of places) {
    const data = DTYPES[dtype].over(copyOf(all.subarray(begin, end), "tensor", name).buffer);
    // The table pairs each dtype with its array; TypeScript cannot follow that through the lookup.
    tensors.set(name, { dtype, shape, data } as SafetensorsTensor);
  }
  return { tensors, metadata };
}

/** The text of a file's header, of at most `longest` bytes, and the data behind it. */
export function openSafetensors(bytes: Uint8Array, longest: number): { text: string; data: Uint8Array } {
  requireBytes(bytes, "bytes");
  if (bytes.length < LENGTH_BYTES) {
    throw new FormatError("safetensors file", bytes.length, `at least ${LENGTH_BYTES} bytes`);
  }
  const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  const refuse = (expected: string): never => {
    throw new FormatError("safetensors header length", length, expected);
  };
  if (length > longest) {
    const page =
      bytes[0] === 0x3c ? "; these bytes are text, perhaps the page of a server that has no such file" : "";
    refuse(`at most ${longest} bytes${page}`);
  }
  const dataStart = LENGTH_BYTES + Number(length);
  if (dataStart > bytes.length) refuse(`at most the ${bytes.length - LENGTH_BYTES} bytes that follow`);
  return { text: decodeHeader(bytes.subarray(LENGTH_BYTES, dataStart)), data: bytes.subarray(dataStart) };
}

function decodeHeader(bytes: Uint8Array): string {
  // Browsers refuse to decode shared memory.
  const copy = copyOf(bytes, "the safetensors header");
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(copy);
  } catch (cause) {
    throw new FormatError("safetensors header", "bytes that are no UTF-8", "UTF-8 text", { cause });
  }
}
