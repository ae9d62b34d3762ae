import { ArgumentError } from "../errors.ts";
import { aChoice, aNumber, aNumberWithin, aPositive, described, optional } from "../validate.ts";

/** What stands for the derivative of the spike: see `surrogate`. */
export type SurrogateDerivative = "fastSigmoid" | "atan" | "boxcar";

/** What `surrogate` takes. */
export interface SurrogateOptions {
  /** β, what a step leaves of a membrane; in [0, 1]. Where `neuron({ learnDecay })` learns it: where it starts. Default 0.95. */
  readonly decay?: number;
  /** α, what a step leaves of the synaptic current; in [0, 1). Default: none, the current acts at once. */
  readonly synapticDecay?: number;
  /** θ of every neuron whose `neuron({ threshold })` says nothing else, in units of the current; greater than 0. Default 1. */
  readonly threshold?: number;
  /** What stands for ds/du. Default `"fastSigmoid"`. */
  readonly derivative?: SurrogateDerivative;
  /** k, how narrow it is, in 1/membrane; greater than 0; not for `"boxcar"`. Default 25, with `"atan"` 2. */
  readonly slope?: number;
  /** What a spike does to the membrane, a step later: `"subtract"` the threshold, or set what is left of it to `"zero"`. Default `"subtract"`. */
  readonly reset?: "subtract" | "zero";
}

/** Back-propagation through time with a surrogate derivative. Made by `surrogate`. */
export interface SurrogateDescriptor {
  readonly kind: "surrogate";
  /** β, what a step leaves of a membrane. */
  readonly decay: number;
  /** α, what a step leaves of the synaptic current; left out: the current acts at once. */
  readonly synapticDecay?: number;
  /** θ of neurons that have none of their own. */
  readonly threshold: number;
  /** What stands for ds/du. */
  readonly derivative: SurrogateDerivative;
  /** k, how narrow it is. */
  readonly slope: number;
  /** What a spike does to the membrane, a step later. */
  readonly reset: "subtract" | "zero";
}

const SLOPES: Readonly<Record<SurrogateDerivative, number>> = { fastSigmoid: 25, atan: 2, boxcar: 1 };

const FIELDS = {
  decay: aNumberWithin(0, 1, 0.95),
  synapticDecay: optional(aNumber("a number from 0 to less than 1", (v) => v >= 0 && v < 1)),
  threshold: aPositive(1),
  derivative: aChoice(Object.keys(SLOPES), "fastSigmoid"),
  slope: optional(aPositive()),
  reset: aChoice(["subtract", "zero"], "subtract"),
};

/**
 * Back-propagation through time with a surrogate derivative, as users of snnTorch (`Leaky`, `Synaptic`) and SpikingJelly know
 * it: Neftci, Mostafa, Zenke, IEEE Signal Processing Magazine 36 (2019); Eshraghian et al., Proceedings of the IEEE 111 (2023).
 *
 * Forward, at each step t, with u a neuron's membrane, I its synaptic current, θ its threshold: `r[t] = u[t-1] > θ`,
 * `c[t] = α c[t-1] + I[t]` (without `synapticDecay` c = I), `u[t] = β u[t-1] + c[t] - r[t] θ` (reset `"subtract"`) or
 * `β (1 - r[t]) u[t-1] + c[t]` (reset `"zero"`), `s[t] = u[t] > θ`.
 *
 * Backward, with `G[t]` = dL/ds[t]: `U[t] = G[t] · ds/du + β U[t+1]` (reset `"zero"`: the second term times `1 - r[t+1]`),
 * `D[t] = dL/dI[t] = U[t] + α D[t+1]`. No gradient passes through r. For ds/du stands, with k the `slope` and x = u - θ:
 * `1 / (k |x| + 1)²` (`"fastSigmoid"`), `(k/2) / (1 + (π k x / 2)²)` (`"atan"`), or 1 where |x| < 1/2 (`"boxcar"`).
 *
 * Layers: `conv2d`, `dense` (also recurrent: adds `V o[t-1]` to its current, o its own neurons' spikes after dropout), `avgPool2d` and
 * `maxPool2d` in front of a neuron (acting on currents), `dropout`; with biases. Weights and biases start by `torchUniform`. Decays
 * and thresholds can be learned: `neuron({ learnDecay, learnThreshold })`.
 *
 * The loss is a mean over the batch. `crossEntropy({ on: "membrane" })`, the default, is summed over the steps and reads the
 * last layer's membranes u[t]; the answer is then their mean over the steps. With `{ on: "rate" }` the answer is the last
 * layer's spikes over T, and the loss reads that. (snnTorch's tutorials train on membranes and count spikes to name the class;
 * the counts are in `gradients({ record: ["spikes"] })`. The mean membrane has no ties.)
 *
 * @param option decays, threshold, derivative and reset: see `SurrogateOptions`
 * @throws ArgumentError for values out of range, a `slope` with `"boxcar"`, or an unknown option
 */
export function surrogate(option?: SurrogateOptions): SurrogateDescriptor {
  const { slope, reset, ...given } = described<SurrogateDescriptor>("surrogate", option, FIELDS);
  const usual = SLOPES[given.derivative];
  if (given.derivative === "boxcar" && slope !== undefined && slope !== usual) {
    throw new ArgumentError(
      "surrogate.slope",
      slope,
      'no slope: the "boxcar" is 1 where |u - threshold| < 1/2',
    );
  }
  return { ...given, slope: slope ?? usual, reset };
}
