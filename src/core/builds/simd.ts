import text from "../../../dist/spikegrad.wasm?deflated";
import { type CoreSource, decodeBase64, inflate } from "./inlined.ts";

export type { CoreSource } from "./inlined.ts";

/** The SIMD core, inside the default entry. Every engine with SIMD of the last years inflates; others take the scalar core. */
export const simdCore: CoreSource = {
  usable: () => typeof DecompressionStream === "function",
  load: () => inflate(decodeBase64(text)),
};
