import { fileOf } from "./index.ts";

/** Each method's own core for `spikegrad/infer`. Files of their own, for text of a core and script compress badly together. */
const CORES: Readonly<Record<string, () => Promise<{ readonly default: string | undefined }>>> = {
  lee: () => import("../../dist/lee.wasm?method"),
  stdbp: () => import("../../dist/stdbp.wasm?method"),
  bpsta: () => import("../../dist/bpsta.wasm?method"),
  surrogate: () => import("../../dist/surrogate.wasm?method"),
  decolle: () => import("../../dist/decolle.wasm?method"),
};

/** Text of a method's own core, undefined for a method that is none, and where bytes may not be compiled. */
export async function coreOf(kind: unknown): Promise<string | undefined> {
  if (typeof kind !== "string" || !Object.hasOwn(CORES, kind)) return undefined;
  return (await fileOf(kind, CORES[kind])).default;
}
