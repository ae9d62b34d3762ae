import { aNumber, aPositive, described, isPositive32 } from "../validate.ts";

/** What `lee` takes. */
export interface LeeOptions {
  /** λ, what a step leaves of a membrane; in (0, 1]. Pools do not leak. Default 0.99. */
  readonly leak?: number;
  /**
   * θ of every neuron whose `neuron({ threshold })` says nothing else, in units of the current; greater than 0. Pools have a
   * threshold of their own, see `avgPool2d`. Default 1.
   */
  readonly threshold?: number;
}

/** Spike-based backpropagation of Lee et al. 2020. Made by `lee`. */
export interface LeeDescriptor extends Required<LeeOptions> {
  readonly kind: "lee";
}

const FIELDS = {
  leak: aNumber("a number greater than 0 and at most 1", (v) => isPositive32(v) && v <= 1, 0.99),
  threshold: aPositive(1),
};

/**
 * Spike-based backpropagation with a leak-corrected derivative: Lee, Sarwar, Panda, Srinivasan, Roy, "Enabling
 * spike-based backpropagation for training deep neural network architectures", Frontiers in Neuroscience 14:119 (2020).
 *
 * Forward, at each step t, with I the current of a neuron, v its membrane, λ the leak, θ the threshold and m its dropout mask
 * (1 without dropout):
 * `u = v + I`, `s = u > θ`, `v = λ · (s ? 0 : u)`, output `o = s · m`; and two counts of the sample, `F = λ F + o`, `N = N + o`.
 *
 * Backward, with `G[t]` = dL/do[t] as the next layer's transposed synapse delivers it:
 * `f = [F > 1e-3] + ln(λ) · F / N` (N + 1 where N is 0), one factor a neuron and sample, and
 * `D[t] = dL/dI[t] = G[t] · f · m / θ` where the neuron spiked at t, else `D[t + 1]`, 0 after its last spike: the leak shows in f
 * alone. `dL/dW = Σ_t D[t] ⊗ o_in[t]`. So the backward pass, too, costs (spikes × fan), not (neurons × steps × fan).
 *
 * Layers: `conv2d`, `dense`, spiking `avgPool2d`, `dropout`, `residual`; no biases. Weights start by `heNormal`. The last layer, a
 * `dense`, never spikes: `v = λ (v + I)`, and the answer is `y = v[T] / (θ T)`. Loss: `squaredError`, summed over the batch, or
 * `crossEntropy`.
 *
 * @param option leak and threshold: see `LeeOptions`
 * @throws ArgumentError for values out of range, or an unknown option
 */
export function lee(option?: LeeOptions): LeeDescriptor {
  return described("lee", option, FIELDS);
}
