import { ArgumentError } from "./errors.ts";
import { choice, integer, number, options } from "./validate.ts";

/** Random spikes with a rate given by the input. */
export interface PoissonEncoder {
  readonly kind: "poisson";
  readonly steps: number;
  readonly gain: number;
  readonly signed: boolean;
}

/** The input is a spike train already. */
export interface SpikesEncoder {
  readonly kind: "spikes";
  readonly steps: number;
}

/** How samples become spikes. Plain data. */
export type EncoderDescriptor = PoissonEncoder | SpikesEncoder;

/**
 * Poisson coding: at each of `steps` time steps an input x spikes with probability `min(1, gain · |x|)`, independently.
 * The random numbers are counter-based: a function of the network's seed, the epoch, the sample's index, the step and the
 * input's index alone.
 *
 * @param option `steps`: time steps T; `gain` (1): probability at |x| = 1; `signed` (false): inputs lie in [-1, 1] and
 *   spikes carry their sign; otherwise they lie in [0, 1]
 * @throws ArgumentError for `steps` that is no positive integer or a `gain` that is not positive
 */
export function poisson(option: { steps: number; gain?: number; signed?: boolean }): PoissonEncoder {
  const { steps, gain = 1, signed = false } = options("poisson", option, ["steps", "gain", "signed"]);
  integer("poisson.steps", steps, 1, 1_000_000);
  number("poisson.gain", gain, "a number greater than 0", (v) => v > 0);
  if (typeof signed !== "boolean") throw new ArgumentError("poisson.signed", signed, "true or false");
  return { kind: "poisson", steps, gain, signed };
}

/**
 * Explicit spike trains: a sample is `[steps, ...input]`; a batch `[B, steps, ...input]`. Every value that is not 0 is a
 * spike of that size (1, or -1, or any finite number).
 *
 * @param option `steps`: time steps T
 * @throws ArgumentError for `steps` that is no positive integer
 */
export function spikes(option: { steps: number }): SpikesEncoder {
  const { steps } = options("spikes", option, ["steps"]);
  return { kind: "spikes", steps: integer("spikes.steps", steps, 1, 1_000_000) };
}

/** Checks a descriptor that came from outside. */
export function checkEncoder(encoder: EncoderDescriptor): EncoderDescriptor {
  const kind = choice("encoder.kind", encoder?.kind, ["poisson", "spikes"]);
  const { kind: _, ...rest } = encoder;
  return kind === "poisson" ? poisson(rest as never) : spikes(rest as never);
}
