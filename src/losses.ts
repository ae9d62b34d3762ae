import { choice, options } from "./validate.ts";

/** Summed squared error. */
export interface SquaredErrorLoss {
  readonly kind: "squaredError";
}

/** Cross-entropy of the softmax of the answer. */
export interface CrossEntropyLoss {
  readonly kind: "crossEntropy";
}

/** What training makes small. Plain data. */
export type LossDescriptor = SquaredErrorLoss | CrossEntropyLoss;

/**
 * Squared error against the one-hot label, `L = Σ_batch Σ_k (y_k - onehot_k)²`: a sum over the batch, so a learning rate
 * holds for its batch size only (Lee et al. 2020).
 */
export function squaredError(): SquaredErrorLoss {
  return { kind: "squaredError" };
}

/** Cross-entropy `L = Σ_batch (ln Σ_k exp(y_k) - y_label)`, summed over the batch like the squared error. */
export function crossEntropy(): CrossEntropyLoss {
  return { kind: "crossEntropy" };
}

/** Checks a descriptor that came from outside. */
export function checkLoss(loss: LossDescriptor): LossDescriptor {
  const kind = choice("loss.kind", loss?.kind, ["squaredError", "crossEntropy"]);
  options("loss", loss, ["kind"]);
  return { kind };
}
