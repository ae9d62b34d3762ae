import text from "../../../dist/spikegrad.scalar.wasm";
import { type CoreSource, decodeBase64 } from "./inlined.ts";

/** The scalar core, for engines that may be too old to inflate. */
export const scalarCore: CoreSource = { usable: () => true, load: async () => decodeBase64(text) };
