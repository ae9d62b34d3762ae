import text from "../../../dist/spikegrad.threads.wasm?deflated";
import { type CoreSource, decodeBase64, inflate } from "./inlined.ts";

/** The SIMD core over memory that workers share. */
export const threadsCore: CoreSource = {
  usable: () => typeof DecompressionStream === "function",
  load: () => inflate(decodeBase64(text)),
};
