import text from "../../../dist/spikegrad.wasm?deflated";
import { type CoreSource, inflate } from "./inlined.ts";

export type { CoreSource } from "./inlined.ts";

/** The SIMD core, inside the default entry. Every engine with SIMD of the last years inflates; others take the scalar core. */
export const simdCore: CoreSource = {
  usable: () => "DecompressionStream" in globalThis,
  load: (own = text) => inflate(own),
};
