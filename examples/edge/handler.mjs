// @ts-check
// The whole service: a digit of 28 × 28 bytes, 0 black to 255 white, is posted; its class comes back. Knows no runtime.
import { loadNetwork } from "spikegrad";

const PIXELS = 28 * 28;

/**
 * A handler for requests.
 *
 * @param {Uint8Array} file a trained network
 * @returns {(request: Request) => Promise<Response>}
 */
export function digits(file) {
  /** @type {ReturnType<typeof loadNetwork> | undefined} */
  let loading;
  return async (request) => {
    if (request.method !== "POST") return refuse(405, `POST ${PIXELS} bytes`, { Allow: "POST" });
    const image = await read(request, PIXELS);
    if (image === undefined) return refuse(413, `more than ${PIXELS} bytes`);
    if (image.length !== PIXELS) return refuse(400, `got ${image.length} bytes; expected ${PIXELS}`);
    // With the first request, since CDN workers compute nothing before; then once for all.
    loading ??= loadNetwork(file);
    const { classes, outputs } = await (await loading).predict(image);
    return Response.json({ digit: classes[0], outputs: [...outputs.data] });
  };
}

/**
 * The body of a request, or undefined if it is longer than `most` bytes: what it says of its length it need not keep, and a chunked
 * one says nothing.
 *
 * @param {Request} request
 * @param {number} most
 */
async function read(request, most) {
  if (Number(request.headers.get("Content-Length") ?? 0) > most) return undefined;
  const bytes = new Uint8Array(most);
  let length = 0;
  const reader = request.body?.getReader();
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true };
    if (done) return bytes.subarray(0, length);
    if (length + value.length > most) return undefined;
    bytes.set(value, length);
    length += value.length;
  }
}

/**
 * @param {number} status
 * @param {string} error
 * @param {Record<string, string>} [headers]
 */
function refuse(status, error, headers) {
  return Response.json({ error }, { status, headers });
}
