// Takes the place of simd.ts under the conditions workerd and edge-light, where bytes may not be compiled at run time.
import module from "../../../dist/spikegrad.wasm?module";
import type { CoreSource } from "./inlined.ts";

export type { CoreSource } from "./inlined.ts";

export const simdCore: CoreSource = { usable: () => true, load: async () => module };
