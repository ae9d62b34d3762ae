import { ArgumentError } from "../errors.ts";
import { aNumberWithin, aPositive, described } from "../validate.ts";

/** What `stdbp` takes. 0 switches everything but `threshold` and `temperature` off. */
export interface StdbpOptions {
  /**
   * θ of every neuron whose `neuron({ threshold })` says nothing else, in units of weight × time; greater than 0. Default 1.
   */
  readonly threshold?: number;
  /** τ of `softmax(-t / τ)` in the loss, in the unit of the times; greater than 0. Default 1. */
  readonly temperature?: number;
  /** K adds `K · mean_j max(0, threshold - Σ_i w_ij)` for every layer to the loss while training; 0 or more. Default 0. */
  readonly weightSumPenalty?: number;
  /** 1/A in the gradients is at most this, in 1/weight. Default 0: no bound. */
  readonly inverseBound?: number;
  /** A neuron with `|dL/dt_j / A|` above it passes no gradient for that sample. Default 0: no limit. */
  readonly gradientLimit?: number;
  /**
   * Added to all weights of a neuron that was silent for a whole batch of `fit`, twice as much for each batch that it stays so,
   * at most its threshold. Default 0.
   */
  readonly silentNudge?: number;
  /**
   * A silent output counts in the loss as if it fired this many temperatures after the latest output, a constant that has no
   * gradient. Default 0: without it a silent output of the label makes the loss infinite.
   */
  readonly silentDelay?: number;
  /**
   * The label's silent output learns as if it had fired at that delay, after all its inputs, with this as its 1/A. Needs
   * `silentDelay`. Default 0.
   */
  readonly labelNudge?: number;
}

/** Spike-timing-dependent backpropagation of Zhang et al. 2020. Made by `stdbp`. */
export interface StdbpDescriptor extends Required<StdbpOptions> {
  readonly kind: "stdbp";
}

const FIELDS = {
  threshold: aPositive(1),
  temperature: aPositive(1),
  weightSumPenalty: aNumberWithin(0, 1e6, 0),
  inverseBound: aNumberWithin(0, 1e30, 0),
  gradientLimit: aNumberWithin(0, 1e30, 0),
  silentNudge: aNumberWithin(0, 1e6, 0),
  silentDelay: aNumberWithin(0, 1e6, 0),
  labelNudge: aNumberWithin(0, 1e6, 0),
};

/**
 * Spike-timing-dependent backpropagation with the rectified linear postsynaptic potential: Zhang, Wang, Amornpaisannon et
 * al., "Rectified linear postsynaptic potential function for backpropagation in deep spiking neural networks",
 * arXiv 2003.11837 (2020), IEEE TNNLS (2021).
 *
 * Continuous time, at most one spike a neuron. `V_j(t) = Σ_i w_ij · max(0, t - t_i)`; neuron j fires when V_j first reaches
 * θ. With C the inputs before t_j and `A = Σ_C w_ij`: `t_j = (θ + Σ_C w_ij t_i) / A`, where A > 0 and the time comes before the next
 * input; `dt_j/dw_ij = (t_i - t_j) / A`, `dt_j/dt_i = w_ij / A` for i in C, 0 otherwise. Inputs at the same time enter together. A
 * neuron that does not reach θ stays silent (`Infinity`) and has no gradient.
 *
 * Layers: `conv2d`, `dense`, `earliestPool2d`; no biases. Weights start as `scaledNormal({ mean: 0.1, deviation: 0.7 })` unless the
 * network or a layer says otherwise. Encoders: `times()`, `firstSpike()`; all times in one unit, the encoder's. The answers
 * `[classes]` are the output neurons' times, the earliest is the class; the loss is `crossEntropy` of `softmax(-t / temperature)`, mean over
 * the batch.
 *
 * The paper's scales and guards are not known; what training needs beyond these equations is optional and off. Seen to work on
 * MNIST (784-400-10, 98 % of the test set): `firstSpike({ noise: 0.1 })`, `temperature: 0.05`, `weightSumPenalty: 1`, `inverseBound: 10`,
 * `silentDelay: 0.5`, `labelNudge: 10`, Adam 1e-3 with a cosine schedule: `preset("stdbp-400")`.
 *
 * @param option threshold, temperature, and guards: see `StdbpOptions`
 * @throws ArgumentError for values out of range, a `labelNudge` without a `silentDelay`, or an unknown option
 */
export function stdbp(option?: StdbpOptions): StdbpDescriptor {
  const descriptor = described<StdbpDescriptor>("stdbp", option, FIELDS);
  const { labelNudge, silentDelay } = descriptor;
  if (labelNudge > 0 && silentDelay === 0) {
    throw new ArgumentError(
      "stdbp.labelNudge",
      labelNudge,
      "0 without a silentDelay, which says where it fires",
    );
  }
  return descriptor;
}
