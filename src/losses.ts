import { aChoice, choice, described, optional } from "./validate.ts";

/** What of the last layer a loss reads, in methods that leave the choice (`surrogate`): its rates or its membranes. */
export type LossSource = "rate" | "membrane";

/** Whether a loss is summed or averaged: over the batch and, for the squared error, over the classes. */
export type LossReduction = "sum" | "mean";

/** Squared error against the one-hot label. Made by `squaredError`. */
export interface SquaredErrorLoss extends LossOptions {
  readonly kind: "squaredError";
}

/** Cross-entropy of the softmax of the answer. Made by `crossEntropy`. */
export interface CrossEntropyLoss extends LossOptions {
  readonly kind: "crossEntropy";
}

/** Smooth L1 of a readout, of every layer on its own. Made by `smoothL1`. */
export interface SmoothL1Loss {
  readonly kind: "smoothL1";
  /** Always the layer's readout. */
  readonly on?: undefined;
  /** Always the mean over batch and classes. */
  readonly reduction?: undefined;
}

/** What training makes small. Plain data. */
export type LossDescriptor = SquaredErrorLoss | CrossEntropyLoss | SmoothL1Loss;

/** What `squaredError` and `crossEntropy` take. */
export interface LossOptions {
  /**
   * `surrogate` only: y is the last layer's `"rate"`, its spikes over T, or its `"membrane"` at each step, the loss then summed
   * over the steps. Default there: `"membrane"`. Other methods have one answer and take nothing.
   */
  readonly on?: LossSource;
  /**
   * `"sum"` or `"mean"` over the batch; for the squared error `"mean"` also divides by the number of classes. Default: the
   * method's own, see there.
   */
  readonly reduction?: LossReduction;
}

const choices = {
  on: optional(aChoice(["rate", "membrane"])),
  reduction: optional(aChoice(["sum", "mean"])),
};
const LOSSES = { squaredError: choices, crossEntropy: choices, smoothL1: {} } as const;

/**
 * Squared error against the one-hot label: `L = Σ_k (y_k - onehot_k)²` for a sample with answers y `[classes]`.
 * Reduction `"sum"` adds over batch and classes: what `lee` does unless told otherwise, so a learning rate holds for its batch
 * size only (Lee et al. 2020). `"mean"` divides by the batch and by the classes: what `bpsta` (Shen et al. 2022) and `surrogate` do.
 *
 * @param option what it reads, and its reduction: see `LossOptions`
 * @throws ArgumentError for an unknown option or value
 */
export function squaredError(option?: LossOptions): SquaredErrorLoss {
  return described("squaredError", option, choices);
}

/**
 * Cross-entropy of the softmax: `L = ln Σ_k exp(y_k) - y_label` for a sample with answers y `[classes]`; of `stdbp` with
 * `y = -t / temperature` for output times t. Summed over the batch by `lee`, averaged over it by `bpsta`, `stdbp` and
 * `surrogate`, unless `reduction` says otherwise.
 *
 * @param option what it reads, and its reduction: see `LossOptions`
 * @throws ArgumentError for an unknown option or value
 */
export function crossEntropy(option?: LossOptions): CrossEntropyLoss {
  return described("crossEntropy", option, choices);
}

/**
 * Smooth L1 of a layer's readout r `[classes]` against the one-hot label: with `d = r_k - onehot_k`, `d² / 2` where |d| < 1,
 * else `|d| - 1/2`; mean over batch and classes, summed over the steps after burn-in and over layers. The one loss of
 * `decolle` (Kaiser, Mostafa, Neftci 2020), and of no other method.
 */
export function smoothL1(): SmoothL1Loss {
  return { kind: "smoothL1" };
}

/** Checks a descriptor that came from outside. */
export function checkLoss(loss: LossDescriptor): LossDescriptor {
  const kind = choice("loss.kind", loss?.kind, Object.keys(LOSSES) as (keyof typeof LOSSES)[]);
  const { kind: _, ...rest } = loss;
  return described<LossDescriptor>(kind, rest, LOSSES[kind]);
}
