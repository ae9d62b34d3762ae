import { aBoolean, aChoice, aNumber, aNumberWithin, anInteger, described } from "../validate.ts";

/** What `decolle` takes. */
export interface DecolleOptions {
  /** Number of classes K, from 1 to 65,536: the size of every readout. */
  readonly classes: number;
  /** α, what a step leaves of the membrane's trace P; in [0, 1). exp(-Δt / τ_mem) for a time constant. Default 0.97. */
  readonly alpha?: number;
  /** β, what a step leaves of the synapse's trace Q; in [0, 1). exp(-Δt / τ_syn). Default 0.92. */
  readonly beta?: number;
  /** ρ, what a step leaves of the refractory state R; in [0, 1). Default 0.65. */
  readonly rho?: number;
  /** How strongly a spike holds the neuron back; 0 or more. Default 1. */
  readonly refractoryWeight?: number;
  /** Steps at the start of a sample without loss, learning or answer; fewer than the encoder's. Default 0. */
  readonly burnIn?: number;
  /** Whether `fit` takes an optimizer step after every time step instead of one a batch. Default true. */
  readonly online?: boolean;
  /** g, weight of the penalty that keeps membranes low and rates off zero; 0 or more. Default 0: none. */
  readonly regularizer?: number;
  /** A and c are uniform in ±readoutScale / sqrt(n) for a readout of n neurons; greater than 0. Default 0.5. */
  readonly readoutScale?: number;
  /**
   * The answer, from the last layer's readout in the steps after burn-in: `"sigmoidSum"`, its sigmoids summed; `"mostCommon"`,
   * in how many steps each class was the largest. Default `"sigmoidSum"`.
   */
  readonly prediction?: "sigmoidSum" | "mostCommon";
}

/** Deep continuous local learning of Kaiser, Mostafa, Neftci 2020. Made by `decolle`. */
export interface DecolleDescriptor extends Required<DecolleOptions> {
  readonly kind: "decolle";
}

const aDecay = (usual: number) => aNumber("a number from 0 to less than 1", (v) => v >= 0 && v < 1, usual);

const FIELDS = {
  classes: anInteger(1, 2 ** 16),
  alpha: aDecay(0.97),
  beta: aDecay(0.92),
  rho: aDecay(0.65),
  refractoryWeight: aNumberWithin(0, 1e6, 1),
  burnIn: anInteger(0, undefined, 0),
  online: aBoolean(true),
  regularizer: aNumberWithin(0, 1e6, 0),
  readoutScale: aNumber("a number greater than 0", (v) => v > 0, 0.5),
  prediction: aChoice(["sigmoidSum", "mostCommon"], "sigmoidSum"),
};

/**
 * Deep continuous local learning: Kaiser, Mostafa, Neftci, "Synaptic plasticity dynamics for deep continuous local learning
 * (DECOLLE)", Frontiers in Neuroscience 14:424 (2020).
 *
 * Forward at every step t, all states 0 at the start, x the input spikes: `P[t] = α P[t-1] + (1 - α) Q[t-1]`,
 * `Q[t] = β Q[t-1] + (1 - β) x[t]`, `R[t] = ρ R[t-1] - (1 - ρ) · refractoryWeight · S[t-1]`, `U = W·P + b + R`, `S = U > 0`. So an
 * input at t reaches U at t + 1. A `maxPool2d` after `conv2d` takes the largest U of each window, U'; the next layer and the readout
 * see `S' = U' > 0` (without a pool U' = U). Every layer has a fixed random readout `r = A·(S' ⊙ dropout) + c` of its own and
 * learns from it alone: nothing is propagated back between layers or steps, so memory does not grow with T.
 *
 * Loss of a layer and step: `smoothL1` of r against the one-hot label, and with `regularizer` g > 0
 * `g · mean(relu(U' + 0.01)) + 0.003 g · relu(mean(0.1 - sigmoid(U')))`, means over batch and units. Gradient at a step:
 * `δ = (Aᵀ dL/dr) / (10 |U'| + 1)² + dRegularizer/dU'`, through the pool to its largest U; `dW += δ ⊗ P`, `db += δ`.
 *
 * Layers: `conv2d`, `dense`, `maxPool2d` after `conv2d`, `dropout` in front of a readout; with biases, and without thresholds. The last
 * layer needs no particular size: the answers `[classes]` are its readout's. Weights start `orthogonal`, biases 0.
 *
 * `fit` with `online` takes an optimizer step after every time step from `burnIn` on (usual: `adamax` with betas 0 and
 * 0.95), otherwise one a batch with the gradients summed over those steps. Accuracy that is counted while learning online is
 * flattered: the label teaches within the sample; `evaluate` does not learn. `gradients` gives the sum over steps, whatever `online`
 * says. Random orthogonal weights leave deeper layers silent or saturated: call `network.normalizeActivity(inputs)` once
 * before training.
 *
 * @param option classes, time constants, learning and readout: see `DecolleOptions`
 * @throws ArgumentError for values out of range, or an unknown option
 */
export function decolle(option: DecolleOptions): DecolleDescriptor {
  return described("decolle", option, FIELDS);
}
