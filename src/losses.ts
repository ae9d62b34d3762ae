import { choice, options } from "./validate.ts";

/** What of the last layer a loss reads, in methods that leave the choice: its rates or its membranes. */
export type LossSource = "rate" | "membrane";

/** Squared error against the one-hot label. */
export interface SquaredErrorLoss {
  readonly kind: "squaredError";
  readonly on?: LossSource;
}

/** Cross-entropy of the softmax of the answer. */
export interface CrossEntropyLoss {
  readonly kind: "crossEntropy";
  readonly on?: LossSource;
}

/** What training makes small. Plain data. */
export type LossDescriptor = SquaredErrorLoss | CrossEntropyLoss;

function source<T extends LossDescriptor>(loss: T, option: { on?: LossSource } | undefined): T {
  const { on } = options(`${loss.kind} options`, option, ["on"]);
  if (on === undefined) return loss;
  return { ...loss, on: choice(`${loss.kind}.on`, on, ["rate", "membrane"]) };
}

/**
 * Squared error against the one-hot label, `L = Σ_k (y_k - onehot_k)²` of a sample. `lee` sums over the batch, so a learning
 * rate holds for its batch size only (Lee et al. 2020); `surrogate` takes the mean.
 *
 * @param option `on` (`surrogate` only): y is the `"rate"`, spikes over T; or the `"membrane"`, with L summed over steps
 */
export function squaredError(option?: { on?: LossSource }): SquaredErrorLoss {
  return source({ kind: "squaredError" }, option);
}

/**
 * Cross-entropy `L = ln Σ_k exp(y_k) - y_label` of a sample, summed over the batch (`surrogate`: mean over the batch).
 *
 * @param option `on` (`surrogate` only): y is the `"rate"`, spikes over T; or the `"membrane"`, with L summed over steps
 */
export function crossEntropy(option?: { on?: LossSource }): CrossEntropyLoss {
  return source({ kind: "crossEntropy" }, option);
}

/** Checks a descriptor that came from outside. */
export function checkLoss(loss: LossDescriptor): LossDescriptor {
  const kind = choice("loss.kind", loss?.kind, ["squaredError", "crossEntropy"]);
  const { kind: _, ...rest } = loss;
  return kind === "squaredError" ? squaredError(rest) : crossEntropy(rest);
}
