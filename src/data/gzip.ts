import { FormatError, MissingError } from "../errors.ts";
import { allocate } from "../io/bytes.ts";

const GZIP_MAGIC = [0x1f, 0x8b];
const FEED_BYTES = 1 << 16;

/** Deflate gives at most 258 bytes for 2 bits, so no gzip file holds more than this times its own length. */
export const GZIP_RATIO = 1032;

/** Whether these are the first bytes of a gzip file. */
export function isGzip(bytes: Uint8Array): boolean {
  return GZIP_MAGIC.every((byte, i) => bytes[i] === byte);
}

/** Decompresses piece by piece, so that who reads can stop. */
export function gunzip(bytes: Uint8Array): ReadableStream<Uint8Array> {
  if (typeof DecompressionStream === "undefined") {
    throw new MissingError(
      "DecompressionStream",
      "the file is compressed with gzip, and this runtime has no DecompressionStream; decompress it first",
    );
  }
  let position = 0;
  const source = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull(controller) {
      if (position >= bytes.length) return controller.close();
      const piece = allocate(Math.min(FEED_BYTES, bytes.length - position), "decompression");
      piece.set(bytes.subarray(position, position + piece.length));
      position += piece.length;
      controller.enqueue(piece);
    },
  });
  return source.pipeThrough(new DecompressionStream("gzip"));
}

/** The next piece. @throws FormatError if the data are corrupt or cut off */
export async function readGzip(reader: ReadableStreamDefaultReader<Uint8Array>) {
  try {
    return await reader.read();
  } catch (cause) {
    throw new FormatError("gzip file", "corrupt or truncated data", "a whole gzip file", { cause });
  }
}

/**
 * A whole gzip file, decompressed.
 *
 * @throws FormatError if it is corrupt, cut off or longer than `maxBytes`
 */
export async function gunzipAll(bytes: Uint8Array, maxBytes: number): Promise<Uint8Array> {
  const reader = gunzip(bytes).getReader();
  const pieces: Uint8Array[] = [];
  let length = 0;
  try {
    for (;;) {
      const { done, value } = await readGzip(reader);
      if (done) break;
      pieces.push(value);
      length += value.length;
      if (length > maxBytes) {
        throw new FormatError("gzip file", `more than ${maxBytes} bytes`, `at most ${maxBytes} decompressed`);
      }
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
  const whole = allocate(length, "a decompressed file");
  let position = 0;
  for (const piece of pieces) {
    whole.set(piece, position);
    position += piece.length;
  }
  return whole;
}
