import { ArgumentError } from "./errors.ts";
import { choice, integer, number, options, positive, within } from "./validate.ts";

/** What `sgd` takes. */
export interface SgdOptions {
  /** Learning rate; greater than 0. */
  readonly rate: number;
  /** μ, how much of the velocity is kept; from 0 to less than 1. Default 0. */
  readonly momentum?: number;
  /** Multiple of the weight added to its gradient; 0 or more. Biases and other parameters decay too. Default 0. */
  readonly weightDecay?: number;
}

/** Stochastic gradient descent. Made by `sgd`. */
export interface SgdDescriptor extends Required<SgdOptions> {
  readonly kind: "sgd";
}

/** Adam. Made by `adam`. */
export interface AdamDescriptor extends Required<AdaptiveOptions> {
  readonly kind: "adam";
}

/** Adam with weight decay apart from the gradient. Made by `adamw`. */
export interface AdamwDescriptor extends Required<AdaptiveOptions> {
  readonly kind: "adamw";
}

/** Adam by the largest gradient instead of the mean square. Made by `adamax`. */
export interface AdamaxDescriptor extends Required<AdaptiveOptions> {
  readonly kind: "adamax";
}

/** How gradients become steps. Plain data. */
export type OptimizerDescriptor = SgdDescriptor | AdamDescriptor | AdamwDescriptor | AdamaxDescriptor;

/** What `adam`, `adamw` and `adamax` take. */
export interface AdaptiveOptions {
  /** Learning rate; greater than 0. */
  readonly rate: number;
  /** β1 and β2, in [0, 1): how much of the mean, and of the square or the largest, is kept. Default [0.9, 0.999]. */
  readonly betas?: readonly [number, number];
  /** ε, keeps the divisor from 0; in [1e-30, 1]. Default 1e-8. */
  readonly epsilon?: number;
  /** Pulls parameters towards 0, each optimizer in its way; 0 or more. Default 0, `adamw` 0.01. */
  readonly weightDecay?: number;
}

/** What `stepDecay` takes. */
export interface StepDecayOptions {
  /** Epochs, counted from 0 and ascending, at whose start the rate changes. */
  readonly at: readonly number[];
  /** What the rate is multiplied by at each; greater than 0. Default 0.2. */
  readonly factor?: number;
}

/** Multiplies the rate by `factor` at each of the epochs `at`. Made by `stepDecay`. */
export interface StepDecaySchedule extends Required<StepDecayOptions> {
  readonly kind: "stepDecay";
}

/** What `cosine` takes. */
export interface CosineOptions {
  /** Epochs of warm-up, 0 or more, part of the run's `epochs`; a fraction will do, but for `"reciprocal"`. Default 0. */
  readonly warmup?: number;
  /** How the rate grows meanwhile: `"linear"` from step to step, `"reciprocal"` from epoch to epoch. Default `"linear"`. */
  readonly ramp?: "linear" | "reciprocal";
}

/** Half a cosine from the full rate to 0, after a warm-up. Made by `cosine`. */
export interface CosineSchedule extends Required<CosineOptions> {
  readonly kind: "cosine";
}

/** How the rate changes over training. Plain data. */
export type ScheduleDescriptor = StepDecaySchedule | CosineSchedule;

/**
 * Stochastic gradient descent in PyTorch's form, g the gradient of a parameter w: `d = g + weightDecay · w`,
 * `b = momentum · b + d` (d at the first step), `w -= rate · b`. Usual for `lee`.
 *
 * @param option rate, momentum, weight decay: see `SgdOptions`
 * @throws ArgumentError for values out of range, or an unknown option
 */
export function sgd(option: SgdOptions): SgdDescriptor {
  const { rate, momentum = 0, weightDecay = 0 } = options("sgd", option, ["rate", "momentum", "weightDecay"]);
  positive("sgd.rate", rate);
  number("sgd.momentum", momentum, "a number from 0 to less than 1", (v) => v >= 0 && Math.fround(v) < 1);
  within("sgd.weightDecay", weightDecay, 0, 1e6);
  return { kind: "sgd", rate, momentum, weightDecay };
}

function adaptive<Kind extends string>(
  kind: Kind,
  option: AdaptiveOptions,
  defaultDecay: number,
): Required<AdaptiveOptions> & { readonly kind: Kind } {
  const known = ["rate", "betas", "epsilon", "weightDecay"];
  const {
    rate,
    betas = [0.9, 0.999],
    epsilon = 1e-8,
    weightDecay = defaultDecay,
  } = options(kind, option, known);
  positive(`${kind}.rate`, rate);
  if (
    !Array.isArray(betas) ||
    betas.length !== 2 ||
    betas.some((b) => typeof b !== "number" || !(b >= 0 && Math.fround(b) < 1))
  ) {
    throw new ArgumentError(`${kind}.betas`, betas, "[β1, β2], two numbers from 0 to less than 1");
  }
  within(`${kind}.epsilon`, epsilon, 1e-30, 1);
  within(`${kind}.weightDecay`, weightDecay, 0, 1e6);
  return { kind, rate, betas: [betas[0], betas[1]], epsilon, weightDecay };
}

/**
 * Adam (Kingma and Ba 2015) in PyTorch's form: `m = β1 m + (1-β1) g`, `v = β2 v + (1-β2) g²`,
 * `w -= rate · (m / (1-β1^k)) / (sqrt(v / (1-β2^k)) + ε)` at step k, from 1; weight decay adds `weightDecay · w` to g. Usual for
 * `stdbp` and `surrogate`.
 *
 * @param option rate, betas, epsilon, weight decay (0): see `AdaptiveOptions`
 * @throws ArgumentError for values out of range, or an unknown option
 */
export function adam(option: AdaptiveOptions): AdamDescriptor {
  return adaptive("adam", option, 0);
}

/**
 * AdamW (Loshchilov and Hutter 2019) in PyTorch's form: as Adam, but weight decay acts on the weight:
 * `w *= 1 - rate · weightDecay` first. Usual for `bpsta`.
 *
 * @param option rate, betas, epsilon, weight decay (0.01): see `AdaptiveOptions`
 * @throws ArgumentError for values out of range, or an unknown option
 */
export function adamw(option: AdaptiveOptions): AdamwDescriptor {
  return adaptive("adamw", option, 0.01);
}

/**
 * Adamax (Kingma and Ba 2015, section 7.1) in PyTorch's form: m as Adam, `n = max(β2 n, |g| + ε)`,
 * `w -= rate / (1-β1^k) · m / n` at step k, from 1; weight decay adds `weightDecay · w` to g. Usual for `decolle`, with betas
 * 0 and 0.95.
 *
 * @param option rate, betas, epsilon, weight decay (0): see `AdaptiveOptions`
 * @throws ArgumentError for values out of range, or an unknown option
 */
export function adamax(option: AdaptiveOptions): AdamaxDescriptor {
  return adaptive("adamax", option, 0);
}

const OPTIMIZERS = { sgd, adam, adamw, adamax };

/**
 * Multiplies the rate by `factor` at the start of each epoch in `at`: `rate · factor^n` with n the epochs of `at` that have begun.
 *
 * @param option epochs and factor: see `StepDecayOptions`
 * @throws ArgumentError unless `at` is an ascending list of epochs and `factor` a positive number; for an unknown option
 */
export function stepDecay(option: StepDecayOptions): StepDecaySchedule {
  const { at, factor = 0.2 } = options("stepDecay", option, ["at", "factor"]);
  if (!Array.isArray(at) || at.some((e, i) => !Number.isInteger(e) || e < 0 || (i > 0 && e <= at[i - 1]))) {
    throw new ArgumentError("stepDecay.at", at, "an ascending list of epochs, counted from 0");
  }
  positive("stepDecay.factor", factor);
  return { kind: "stepDecay", at: [...at], factor };
}

/**
 * Cosine schedule (Loshchilov and Hutter 2017, without restarts): `rate · (1 + cos(π p)) / 2` with p the fraction done of the steps after the warm-up. The
 * warm-up takes `warmup` epochs W: with the ramp `"linear"` step i of its n has `rate · (i + 1) / n`; with `"reciprocal"`
 * epoch e has `rate / (W - e)` (Shen, Zhao, Zeng 2022: W = 5).
 *
 * @param option warm-up and its ramp: see `CosineOptions`
 * @throws ArgumentError unless `warmup` is a number of at least 0, and a whole one with the ramp `"reciprocal"`; for an unknown
 *   option
 */
export function cosine(option?: CosineOptions): CosineSchedule {
  const { warmup = 0, ramp = "linear" } = options("cosine", option, ["warmup", "ramp"]);
  choice("cosine.ramp", ramp, ["linear", "reciprocal"]);
  if (ramp === "linear") within("cosine.warmup", warmup, 0, 1e6);
  else integer("cosine.warmup", warmup, 0, 1e6);
  return { kind: "cosine", warmup, ramp };
}

/** Checks a descriptor that came from outside. */
export function checkOptimizer(descriptor: OptimizerDescriptor | undefined): OptimizerDescriptor {
  const kinds = Object.keys(OPTIMIZERS) as (keyof typeof OPTIMIZERS)[];
  if (descriptor === undefined) {
    const known = kinds.map((kind) => `${kind}({ rate })`).join(", ");
    throw new ArgumentError("optimizer", descriptor, `an optimizer: ${known}`);
  }
  const kind = choice("optimizer.kind", descriptor?.kind, kinds);
  const { kind: _, ...rest } = descriptor;
  return OPTIMIZERS[kind](rest);
}

/** Checks a descriptor that came from outside; none is null. */
export function checkSchedule(descriptor: ScheduleDescriptor | null | undefined): ScheduleDescriptor | null {
  if (descriptor === undefined || descriptor === null) return null;
  const kind = choice("schedule.kind", descriptor.kind, ["stepDecay", "cosine"]);
  const { kind: _, ...rest } = descriptor;
  return kind === "cosine" ? cosine(rest as never) : stepDecay(rest as never);
}

/** cos(π x) for x in [0, 1] from additions and multiplications alone, so that every engine gives the same bits. */
export function cosPi(x: number): number {
  // cos(π x) = -cos(π (1 - x)), and = sin(π (1/2 - x)) near 1/2: the series only ever sees |y| <= π/4.
  if (x > 0.5) return -cosPi(1 - x);
  if (x > 0.25) {
    const y = Math.PI * (0.5 - x);
    const z = y * y;
    return (
      y *
      (1 -
        (z / 6) *
          (1 -
            (z / 20) * (1 - (z / 42) * (1 - (z / 72) * (1 - (z / 110) * (1 - (z / 156) * (1 - z / 210)))))))
    );
  }
  const y = Math.PI * x;
  const z = y * y;
  return (
    1 -
    (z / 2) *
      (1 - (z / 12) * (1 - (z / 30) * (1 - (z / 56) * (1 - (z / 90) * (1 - (z / 132) * (1 - z / 182))))))
  );
}

/** The factor of the rate at `step` of `stepsPerEpoch · epochs` steps. */
export function scheduleFactor(
  schedule: ScheduleDescriptor | undefined,
  step: number,
  stepsPerEpoch: number,
  epochs: number,
): number {
  if (schedule === undefined) return 1;
  if (schedule.kind === "stepDecay") {
    const epoch = Math.floor(step / stepsPerEpoch);
    let factor = 1;
    for (const at of schedule.at) if (epoch >= at) factor *= schedule.factor;
    return factor;
  }
  const warm = schedule.warmup * stepsPerEpoch;
  if (step < warm) {
    if (schedule.ramp === "linear") return Math.min(1, (step + 1) / warm);
    return 1 / (schedule.warmup - Math.floor(step / stepsPerEpoch));
  }
  const total = stepsPerEpoch * epochs;
  if (total <= warm) return 1;
  return (1 + cosPi((step - warm) / (total - warm))) / 2;
}
