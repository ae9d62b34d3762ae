/** Where a core of the package comes from. */
export interface CoreSource {
  /** Whether this engine can load it. */
  usable(): boolean;
  /** `own`: its text, if it is not the one inside the module. */
  load(own?: string): Promise<BufferSource | WebAssembly.Module>;
}

export function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

/** What Node has for it. */
interface Host {
  readonly Buffer?: { from(text: string, encoding: "base64"): BufferSource };
  readonly process?: {
    getBuiltinModule?(name: "node:zlib"): { inflateSync?(bytes: BufferSource): BufferSource } | undefined;
  };
}

/** The bytes of a core from base64 of zlib's format, which more engines know than the raw one. */
export async function inflate(text: string): Promise<BufferSource> {
  const { Buffer, process } = globalThis as Host;
  // Node starts its streams so slowly that a program is done before.
  const zlib = process?.getBuiltinModule?.("node:zlib");
  if (zlib?.inflateSync && Buffer) return zlib.inflateSync(Buffer.from(text, "base64"));
  const stream = new Blob([decodeBase64(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}
