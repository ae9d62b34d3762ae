// Takes the place of scalar.ts under the conditions workerd and edge-light.
import module from "../../../dist/spikegrad.scalar.wasm?module";
import type { CoreSource } from "./inlined.ts";

export const scalarCore: CoreSource = { usable: () => true, load: async () => module };
