import type { Samples } from "./inputs.ts";
import type { Runner } from "./runner.ts";

/** Currents below this cannot come near the end of f32, whatever they are added to or multiplied by on the way. */
const SAFE = 1e36;

/** Largest magnitude among numbers, NaN being larger than all. Without the sign, bits of f32 are in order of magnitude. */
export function largest(values: Float32Array): number {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  let most = 0;
  for (let i = 0; i < words.length; i++) {
    const magnitude = words[i] & 0x7fffffff;
    if (magnitude > most) most = magnitude;
  }
  return new Float32Array(Uint32Array.of(most).buffer)[0];
}

/** Largest magnitude of the inputs, those that stand for no spike left out. */
export function largestInput({ values }: Samples): number {
  if (values instanceof Uint8Array) return 1;
  let most = 0;
  for (const x of values) if (x !== Number.POSITIVE_INFINITY) most = Math.max(most, Math.abs(x));
  return most;
}

/**
 * Whether weights and inputs are so large that currents could leave the range of f32 inside the network, where no loss and
 * no gradient need show it: spikes are bits.
 */
export function couldOverflow({ engine, model, description }: Runner, input: number): boolean {
  const most = engine.largestParameter();
  const fan = Math.max(1, ...model.parameters.map(({ fanIn }) => fanIn));
  return !(most * Math.max(1, input) * fan * description.encoder.steps < SAFE);
}
