/** Name of the generator, as saved in files. */
export const GENERATOR = "philox4x32-10";
/** Raised when the numbers drawn for the same seed change. */
export const GENERATOR_VERSION = 1;

/** A seed as two words of key: 32 low bits, 21 high bits. */
export function seedKey(seed: number): { key0: number; key1: number } {
  return { key0: seed % 2 ** 32, key1: Math.floor(seed / 2 ** 32) };
}

/** The key of one stream: its number takes the bits above the seed's. */
export function streamKey(seed: { key0: number; key1: number }, stream: number): [number, number] {
  return [seed.key0, seed.key1 + stream * 2 ** 21];
}
