import { ArgumentError } from "./errors.ts";
import { choice, integer, options, positive, within } from "./validate.ts";

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

/** The input is spike times already. */
export interface TimesEncoder {
  readonly kind: "times";
  /** Time is continuous: a sample is one frame. */
  readonly steps: 1;
  readonly noise: number;
}

/** One spike an input, at time 1 - x. */
export interface FirstSpikeEncoder {
  readonly kind: "firstSpike";
  /** Time is continuous: a sample is one frame. */
  readonly steps: 1;
  readonly silentBelow: number;
  readonly noise: number;
}

/** Encoders of methods in continuous time. */
export type ContinuousEncoder = TimesEncoder | FirstSpikeEncoder;

/** How samples become spikes. Plain data. */
export type EncoderDescriptor =
  | PoissonEncoder
  | SpikesEncoder
  | DirectEncoder
  | LatencyEncoder
  | ContinuousEncoder;

/** Whether an encoder gives times instead of steps. */
export function isContinuous(encoder: EncoderDescriptor): encoder is ContinuousEncoder {
  return encoder.kind === "times" || encoder.kind === "firstSpike";
}

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
  positive("poisson.gain", gain);
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

/** Encoders in continuous time are saved with `steps: 1` and take nothing else. */
function oneFrame(encoder: string, steps: number | undefined): void {
  if (steps !== undefined && steps !== 1) {
    throw new ArgumentError(`${encoder}.steps`, steps, "nothing: time is continuous, a sample is one frame");
  }
}

/**
 * Explicit spike times for methods in continuous time (`stdbp`): a sample has the input's shape, each value is the time of
 * that input's one spike, in a unit of the user's choice; `Infinity` stands for none.
 *
 * @param option `noise` (0): standard deviation of normal noise added to every time while training, a function of the
 *   network's seed, the epoch, the sample's index and the input's index alone
 * @throws ArgumentError for a `noise` that is negative
 */
export function times(option?: { noise?: number; steps?: 1 }): TimesEncoder {
  const { noise = 0, steps } = options("times", option, ["noise", "steps"]);
  oneFrame("times", steps);
  return { kind: "times", steps: 1, noise: within("times.noise", noise, 0, 1e6) };
}

/**
 * Time to first spike in continuous time (`stdbp`): an input x in [0, 1] spikes once, at time `1 - x`, so a brighter input
 * spikes earlier; an input below `silentBelow` never does.
 *
 * @param option `silentBelow` (0.02) in [0, 1]; `noise` (0): standard deviation of normal noise added to every time while
 *   training, as in `times`
 * @throws ArgumentError for values out of range
 */
export function firstSpike(option?: { silentBelow?: number; noise?: number; steps?: 1 }): FirstSpikeEncoder {
  const {
    silentBelow = 0.02,
    noise = 0,
    steps,
  } = options("firstSpike", option, ["silentBelow", "noise", "steps"]);
  oneFrame("firstSpike", steps);
  within("firstSpike.silentBelow", silentBelow, 0, 1);
  within("firstSpike.noise", noise, 0, 1e6);
  return { kind: "firstSpike", steps: 1, silentBelow, noise };
}

const ENCODERS = { poisson, spikes, direct, latency, times, firstSpike } as const;

/** Checks a descriptor that came from outside. */
export function checkEncoder(encoder: EncoderDescriptor): EncoderDescriptor {
  const kinds = Object.keys(ENCODERS) as (keyof typeof ENCODERS)[];
  const kind = choice("encoder.kind", encoder?.kind, kinds);
  const { kind: _, ...rest } = encoder;
  return ENCODERS[kind](rest as never);
}
