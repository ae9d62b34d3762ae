import { ArgumentError } from "./errors.ts";
import { choice, integer, number, options, within } from "./validate.ts";

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

/** The input is shown as it is, at every step. */
export interface DirectEncoder {
  readonly kind: "direct";
  readonly steps: number;
}

/** One spike an input, brighter ones earlier. */
export interface LatencyEncoder {
  readonly kind: "latency";
  readonly steps: number;
  readonly threshold: number;
  readonly noise: number;
}

/** How samples become spikes. Plain data. */
export type EncoderDescriptor = PoissonEncoder | SpikesEncoder | DirectEncoder | LatencyEncoder;

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

/**
 * Direct input: the real values of a sample are the input of the first synapse at each of `steps` time steps, so that its
 * current is the same at every step.
 *
 * @param option `steps`: time steps T
 * @throws ArgumentError for `steps` that is no positive integer
 */
export function direct(option: { steps: number }): DirectEncoder {
  const { steps } = options("direct", option, ["steps"]);
  return { kind: "direct", steps: integer("direct.steps", steps, 1, 1_000_000) };
}

/**
 * Time to first spike: an input x in [0, 1] spikes once, at step `round((1 - x) · (steps - 1))` counted from 0, so a
 * brighter input spikes earlier and x = 1 at the first step; an input below `threshold` never does. With `noise` the time is
 * moved by a number drawn evenly from ±`noise` steps before it is rounded, and kept within the sample; the random numbers
 * are a function of the network's seed, the epoch, the sample's index and the input's index alone.
 *
 * @param option `steps`: time steps T; `threshold` (0.01) in [0, 1]; `noise` (0) in steps
 * @throws ArgumentError for values out of range
 */
export function latency(option: { steps: number; threshold?: number; noise?: number }): LatencyEncoder {
  const { steps, threshold = 0.01, noise = 0 } = options("latency", option, ["steps", "threshold", "noise"]);
  integer("latency.steps", steps, 1, 1_000_000);
  within("latency.threshold", threshold, 0, 1);
  within("latency.noise", noise, 0, 1_000_000);
  return { kind: "latency", steps, threshold, noise };
}

const ENCODERS = { poisson, spikes, direct, latency } as const;

/** Checks a descriptor that came from outside. */
export function checkEncoder(encoder: EncoderDescriptor): EncoderDescriptor {
  const kinds = Object.keys(ENCODERS) as (keyof typeof ENCODERS)[];
  const kind = choice("encoder.kind", encoder?.kind, kinds);
  const { kind: _, ...rest } = encoder;
  return ENCODERS[kind](rest as never);
}
