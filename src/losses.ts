import { choice, options } from "./validate.ts";

/** What of the last layer a loss reads, in methods that leave the choice: its rates or its membranes. */
export type LossSource = "rate" | "membrane";

/** Whether a loss is summed or averaged: over the batch and, for the squared error, over the classes. */
export type LossReduction = "sum" | "mean";

/** Squared error against the one-hot label. */
export interface SquaredErrorLoss {
  readonly kind: "squaredError";
  readonly on?: LossSource;
  readonly reduction?: LossReduction;
}

/** Cross-entropy of the softmax of the answer. */
export interface CrossEntropyLoss {
  readonly kind: "crossEntropy";
  readonly on?: LossSource;
  readonly reduction?: LossReduction;
}

/** Smooth L1 of a readout, of every layer on its own. */
export interface SmoothL1Loss {
  readonly kind: "smoothL1";
  readonly on?: undefined;
  readonly reduction?: undefined;
}

/** What training makes small. Plain data. */
export type LossDescriptor = SquaredErrorLoss | CrossEntropyLoss | SmoothL1Loss;

/** What `squaredError` and `crossEntropy` take. */
export interface LossOptions {
  readonly on?: LossSource;
  readonly reduction?: LossReduction;
}

function described<T extends LossDescriptor>(kind: T["kind"], option: LossOptions | undefined): T {
  const { on, reduction } = options(`${kind} options`, option, ["on", "reduction"]);
  let loss = { kind } as T;
  if (on !== undefined) loss = { ...loss, on: choice(`${kind}.on`, on, ["rate", "membrane"]) };
  if (reduction !== undefined) {
    loss = { ...loss, reduction: choice(`${kind}.reduction`, reduction, ["sum", "mean"]) };
  }
  return loss;
}

/**
 * Squared error against the one-hot label, `L = Σ_k (y_k - onehot_k)²` of a sample. `lee` sums over the batch, so a learning
 * rate holds for its batch size only (Lee et al. 2020); `surrogate` and `bpsta` take the mean.
 *
 * @param option `on` (`surrogate` only): y is the `"rate"`, spikes over T; or the `"membrane"`, with L summed over steps;
 *   `reduction`: `"sum"` over batch and classes or `"mean"` over both; the method's if left out
 */
export function squaredError(option?: LossOptions): SquaredErrorLoss {
  return described("squaredError", option);
}

/**
 * Cross-entropy `L = ln Σ_k exp(y_k) - y_label` of a sample, summed over the batch (`surrogate`, `bpsta`: mean over the batch).
 *
 * @param option `on` (`surrogate` only): y is the `"rate"`, spikes over T; or the `"membrane"`, with L summed over steps;
 *   `reduction`: `"sum"` or `"mean"` over the batch; the method's if left out
 */
export function crossEntropy(option?: LossOptions): CrossEntropyLoss {
  return described("crossEntropy", option);
}

/**
 * Smooth L1 of a layer's readout r against the one-hot label, `d = r_k - onehot_k`, `d² / 2` where |d| < 1, else
 * `|d| - 1/2`: mean over batch and classes, summed over the steps after burn-in and over layers. The loss of `decolle`.
 */
export function smoothL1(): SmoothL1Loss {
  return { kind: "smoothL1" };
}

/** Checks a descriptor that came from outside. */
export function checkLoss(loss: LossDescriptor): LossDescriptor {
  const kind = choice("loss.kind", loss?.kind, ["squaredError", "crossEntropy", "smoothL1"]);
  const { kind: _, ...rest } = loss;
  if (kind === "smoothL1") {
    options("smoothL1", rest, []);
    return smoothL1();
  }
  return kind === "squaredError" ? squaredError(rest) : crossEntropy(rest);
}
