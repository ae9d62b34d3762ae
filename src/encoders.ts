import { ArgumentError } from "./errors.ts";
import { aBoolean, aNumberWithin, anInteger, aPositive, type Check, choice, described } from "./validate.ts";

/** What `poisson` takes. */
export interface PoissonOptions {
  /** Time steps T of a sample: an integer from 1 to 1,000,000. */
  readonly steps: number;
  /** Probability of a spike, a step, at |x| = 1; greater than 0. Past 1 it saturates: `min(1, gain · |x|)`. Default 1. */
  readonly gain?: number;
  /** Inputs lie in [-1, 1] and spikes carry their sign; otherwise inputs lie in [0, 1]. Default false. */
  readonly signed?: boolean;
}

/** Random spikes with a rate given by the input. Made by `poisson`. */
export interface PoissonEncoder extends Required<PoissonOptions> {
  readonly kind: "poisson";
}

/** What `spikes` takes. */
export interface SpikesOptions {
  /** Time steps T of a sample: an integer from 1 to 1,000,000. */
  readonly steps: number;
}

/** The input is a spike train already. Made by `spikes`. */
export interface SpikesEncoder extends SpikesOptions {
  readonly kind: "spikes";
}

/** What `direct` takes. */
export interface DirectOptions {
  /** Time steps T of a sample: an integer from 1 to 1,000,000. */
  readonly steps: number;
}

/** The input is shown as it is, at every step. Made by `direct`. */
export interface DirectEncoder extends DirectOptions {
  readonly kind: "direct";
}

/** What `latency` takes. */
export interface LatencyOptions {
  /** Time steps T of a sample: an integer from 1 to 1,000,000. */
  readonly steps: number;
  /** Inputs below it stay silent; in [0, 1]. Default 0.01. */
  readonly threshold?: number;
  /** Times move by up to this many steps, evenly drawn, while training and evaluating alike; 0 or more. Default 0. */
  readonly noise?: number;
}

/** One spike an input, brighter ones earlier. Made by `latency`. */
export interface LatencyEncoder extends Required<LatencyOptions> {
  readonly kind: "latency";
}

/** What `times` takes. */
export interface TimesOptions {
  /**
   * Standard deviation of normal noise on every time while training, in the unit of the times; 0 or more. Evaluating has none.
   * Default 0.
   */
  readonly noise?: number;
  /** Time is continuous: a sample is one frame. Nothing but 1, which descriptors in files have. */
  readonly steps?: 1;
}

/** The input is spike times already. Made by `times`. */
export interface TimesEncoder extends Required<TimesOptions> {
  readonly kind: "times";
}

/** What `firstSpike` takes. */
export interface FirstSpikeOptions {
  /** Inputs below it stay silent; in [0, 1]. Default 0.02. */
  readonly silentBelow?: number;
  /**
   * Standard deviation of normal noise on every time while training; the times lie in [0, 1]. Evaluating has none. Default 0.
   */
  readonly noise?: number;
  /** Time is continuous: a sample is one frame. Nothing but 1, which descriptors in files have. */
  readonly steps?: 1;
}

/** One spike an input, at time 1 - x. Made by `firstSpike`. */
export interface FirstSpikeEncoder extends Required<FirstSpikeOptions> {
  readonly kind: "firstSpike";
}

/** Encoders of methods in continuous time: `stdbp`. */
export type ContinuousEncoder = TimesEncoder | FirstSpikeEncoder;

/** How samples become spikes. Plain data. */
export type EncoderDescriptor =
  | PoissonEncoder
  | SpikesEncoder
  | DirectEncoder
  | LatencyEncoder
  | ContinuousEncoder;

const steps = anInteger(1, 1_000_000);
/** Encoders in continuous time are saved with `steps: 1` and take nothing else. */
const oneFrame: Check = (argument, value = 1) => {
  if (value !== 1)
    throw new ArgumentError(argument, value, "nothing: time is continuous, a sample is one frame");
  return value;
};
const aDeviation = aNumberWithin(0, 1e6, 0);

const ENCODERS = {
  poisson: { steps, gain: aPositive(1), signed: aBoolean(false) },
  spikes: { steps },
  direct: { steps },
  latency: { steps, threshold: aNumberWithin(0, 1, 0.01), noise: aNumberWithin(0, 1_000_000, 0) },
  times: { steps: oneFrame, noise: aDeviation },
  firstSpike: { steps: oneFrame, silentBelow: aNumberWithin(0, 1, 0.02), noise: aDeviation },
} as const satisfies Readonly<Record<string, Readonly<Record<string, Check>>>>;

/** Whether an encoder gives times instead of steps. */
export function isContinuous(encoder: EncoderDescriptor): encoder is ContinuousEncoder {
  return encoder.kind === "times" || encoder.kind === "firstSpike";
}

/**
 * Poisson coding (in discrete time: Bernoulli): at each of `steps` time steps an input x spikes with probability
 * `p = min(1, gain · |x|)`, independently of all others. A sample has the shape of the input; T steps take no memory of their
 * own. The random numbers are counter-based: a function of the network's seed, the epoch, the sample's index, the step and the
 * input's index alone, so that no order of work changes them.
 *
 * @param option steps, gain and sign: see `PoissonOptions`
 * @throws ArgumentError for `steps` that is no integer in range, a `gain` that is not positive, or an unknown option
 */
export function poisson(option: PoissonOptions): PoissonEncoder {
  return described("poisson", option, ENCODERS.poisson);
}

/**
 * Explicit spike trains, e.g. the frames of an event camera: a sample is `[T, …input]`; a batch `[B, T, …input]`. Every value
 * that is not 0 is a spike of that size (1, or -1, or any finite number).
 *
 * @param option steps: see `SpikesOptions`
 * @throws ArgumentError for `steps` that is no integer in range, or an unknown option
 */
export function spikes(option: SpikesOptions): SpikesEncoder {
  return described("spikes", option, ENCODERS.spikes);
}

/**
 * Direct input: the real values of a sample are the input of the first synapse at each of `steps` time steps, so that its
 * current is the same at every step; the first layer of neurons turns it into spikes. Any finite values.
 *
 * @param option steps: see `DirectOptions`
 * @throws ArgumentError for `steps` that is no integer in range, or an unknown option
 */
export function direct(option: DirectOptions): DirectEncoder {
  return described("direct", option, ENCODERS.direct);
}

/**
 * Time to first spike: an input x in [0, 1] spikes once, at step `round((1 - x) · (steps - 1))` counted from 0, so a
 * brighter input spikes earlier and x = 1 at the first step; an input below `threshold` never does. With `noise` the time is
 * moved by a number drawn evenly from ±`noise` steps before it is rounded, and kept within the sample; the random numbers
 * are a function of the network's seed, the epoch, the sample's index and the input's index alone.
 *
 * @param option steps, threshold and noise: see `LatencyOptions`
 * @throws ArgumentError for values out of range, or an unknown option
 */
export function latency(option: LatencyOptions): LatencyEncoder {
  return described("latency", option, ENCODERS.latency);
}

/**
 * Explicit spike times for methods in continuous time (`stdbp`): a sample has the input's shape, each value is the time of
 * that input's one spike, in a unit of the user's choice (the one of `stdbp`'s `temperature`, and of its threshold over a
 * weight); `Infinity` stands for none. Noise is a function of the network's seed, the epoch, the sample's index and the
 * input's index alone.
 *
 * @param option noise: see `TimesOptions`
 * @throws ArgumentError for a `noise` that is negative, or an unknown option
 */
export function times(option?: TimesOptions): TimesEncoder {
  return described("times", option, ENCODERS.times);
}

/**
 * Time to first spike in continuous time (`stdbp`): an input x in [0, 1] spikes once, at time `1 - x`, so a brighter input
 * spikes earlier; an input below `silentBelow` never does. Noise is as in `times`.
 *
 * @param option silence and noise: see `FirstSpikeOptions`
 * @throws ArgumentError for values out of range, or an unknown option
 */
export function firstSpike(option?: FirstSpikeOptions): FirstSpikeEncoder {
  return described("firstSpike", option, ENCODERS.firstSpike);
}

/** Checks a descriptor that came from outside. */
export function checkEncoder(encoder: EncoderDescriptor): EncoderDescriptor {
  const kinds = Object.keys(ENCODERS) as (keyof typeof ENCODERS)[];
  if (typeof encoder !== "object" || encoder === null) {
    const known = kinds.map((kind) => `${kind}()`).join(", ");
    throw new ArgumentError("encoder", encoder, `an encoder: what one of ${known} gives`);
  }
  const kind = choice("encoder.kind", encoder?.kind, kinds);
  const { kind: _, ...rest } = encoder;
  return described<EncoderDescriptor>(kind, rest, ENCODERS[kind]);
}
