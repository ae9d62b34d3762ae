/** Where a core of the package comes from. */
export interface CoreSource {
  /** Whether this engine can load it. */
  usable(): boolean;
  load(): Promise<BufferSource | WebAssembly.Module>;
}

export function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/** Undoes zlib's format, which more engines know than the raw one. */
export function inflate(bytes: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer> {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}
