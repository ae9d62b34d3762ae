import type { Samples } from "./inputs.ts";
import type { Runner } from "./runner.ts";

/** Currents below this cannot come near the end of f32, whatever they are added to or multiplied by on the way. */
const SAFE = 1e36;

/** Largest magnitude among numbers. */
export function largest(values: Float32Array): number {
  let most = 0;
  for (const x of values) most = Math.max(most, Math.abs(x));
  return most;
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
  const most = largest(engine.allParameters());
  const fan = Math.max(1, ...model.parameters.map(({ fanIn }) => fanIn));
  return !(most * Math.max(1, input) * fan * description.encoder.steps < SAFE);
}
