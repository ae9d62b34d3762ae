import { StateError } from "./errors.ts";
import { differentiate } from "./gradients.ts";
import type { Samples } from "./inputs.ts";
import type { Parameters } from "./parameters.ts";
import type { Runner } from "./runner.ts";

/** What is allowed of a layer's membranes: mean within ±0.2, variance within 1 ± 0.1. */
const MEAN_TOLERANCE = 0.2;
const VARIANCE_TOLERANCE = 0.1;
const MOST_ROUNDS = 20;

/** Membranes of one layer over batch, steps and units. */
export interface LayerMembranes {
  /** The layer's name. */
  readonly name: string;
  /** Mean of U. */
  readonly mean: number;
  /** Variance of U, biased. */
  readonly variance: number;
}

/**
 * Rescales layer after layer until its membranes have mean 0 and variance 1 on a batch (Mishkin, Matas, "All you need is a
 * good init", ICLR 2016): weights over the standard deviation, bias less the mean, over and over, because the spikes'
 * aftermath in the membrane does not scale along. Sums in f64, samples ascending within steps.
 */
export async function normalizeActivity(
  runner: Runner,
  parameters: Parameters,
  samples: Samples,
): Promise<LayerMembranes[]> {
  if (!runner.model.local) {
    const { kind } = runner.description.method;
    throw new StateError(
      `normalizeActivity is for methods whose membranes have no threshold, not for ${kind}`,
    );
  }
  const found: LayerMembranes[] = [];
  for (const { name } of runner.model.layers) {
    let state = await measure(runner, samples, name);
    for (let round = 0; !settled(state) && round < MOST_ROUNDS; round++) {
      if (state.variance === 0) {
        throw new StateError(
          `normalizeActivity: all membranes of ${name} are ${state.mean}: no spikes reach it in this batch`,
        );
      }
      const scale = 1 / Math.sqrt(state.variance);
      const { mean } = state;
      const weight = parameters.get(`${name}.weight`).data;
      const bias = parameters.get(`${name}.bias`).data;
      parameters.set(
        `${name}.weight`,
        weight.map((w) => w * scale),
      );
      parameters.set(
        `${name}.bias`,
        bias.map((b) => (b - mean) * scale),
      );
      state = await measure(runner, samples, name);
    }
    found.push({ name, ...state });
  }
  return found;
}

function settled({ mean, variance }: { mean: number; variance: number }): boolean {
  return Math.abs(mean) <= MEAN_TOLERANCE && Math.abs(variance - 1) <= VARIANCE_TOLERANCE;
}

/** Mean and variance of a layer's membranes. */
async function measure(
  runner: Runner,
  samples: Samples,
  name: string,
): Promise<{ mean: number; variance: number }> {
  const labels = new Uint8Array(samples.count);
  const { records } = await differentiate(runner, samples, labels, undefined, { record: ["membranes"] });
  const { data } = records[`${name}.membranes`];
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += data[i];
  const mean = sum / data.length;
  let squares = 0;
  for (let i = 0; i < data.length; i++) squares += (data[i] - mean) * (data[i] - mean);
  return { mean, variance: squares / data.length };
}
