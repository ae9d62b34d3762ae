import text from "../../../dist/spikegrad.threads.wasm?deflated";
import { type CoreSource, inflate } from "./inlined.ts";

/** The SIMD core over memory that workers share. */
export const threadsCore: CoreSource = {
  usable: () => "DecompressionStream" in globalThis,
  load: () => inflate(text),
};
