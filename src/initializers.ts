import { ArgumentError } from "./errors.ts";
import type { CanonicalLayer } from "./layers.ts";
import type { Initial, ParameterSpec } from "./methods/method.ts";
import { aNumber, aPositive, choice, described, fields } from "./validate.ts";

/** Normal numbers of standard deviation `sqrt(2 / fan_in)`. Made by `heNormal`. */
export interface HeNormalInitializer {
  readonly kind: "heNormal";
}

/** Uniform numbers within ±1/sqrt(fan_in). Made by `torchUniform`. */
export interface TorchUniformInitializer {
  readonly kind: "torchUniform";
}

/** What `scaledNormal` takes. */
export interface ScaledNormalOptions {
  /** Mean of a weight times `sqrt(fan_in)`; any finite number. Default 0. */
  readonly mean?: number;
  /** Standard deviation of a weight times `sqrt(fan_in)`; greater than 0. Default 1. */
  readonly deviation?: number;
}

/** Normal numbers over `sqrt(fan_in)`. Made by `scaledNormal`. */
export interface ScaledNormalInitializer extends Required<ScaledNormalOptions> {
  readonly kind: "scaledNormal";
}

/** What `orthogonal` takes. */
export interface OrthogonalOptions {
  /** Length of each row (or column); greater than 0. Default 1. */
  readonly gain?: number;
}

/** Rows, or columns, at right angles. Made by `orthogonal`. */
export interface OrthogonalInitializer extends Required<OrthogonalOptions> {
  readonly kind: "orthogonal";
}

/** How the weights of a layer start; biases are the method's matter. Plain data. */
export type InitializerDescriptor =
  | HeNormalInitializer
  | TorchUniformInitializer
  | ScaledNormalInitializer
  | OrthogonalInitializer;

const INITIALIZERS = {
  heNormal: {},
  torchUniform: {},
  scaledNormal: { mean: aNumber("a finite number", Number.isFinite, 0), deviation: aPositive(1) },
  orthogonal: { gain: aPositive(1) },
} as const;

/** Weights `~ N(0, 2 / fan_in)`, with `fan_in = kernel² · in` or `in` (He, Zhang, Ren, Sun 2015). How `lee` starts. */
export function heNormal(): HeNormalInitializer {
  return { kind: "heNormal" };
}

/** Weights uniform in `±1/sqrt(fan_in)`: what PyTorch's `Linear` and `Conv2d` start with. How `bpsta` and `surrogate` start. */
export function torchUniform(): TorchUniformInitializer {
  return { kind: "torchUniform" };
}

/**
 * Weights `~ N(mean, deviation²) / sqrt(fan_in)`. How `stdbp` starts, with mean 0.1 and deviation 0.7.
 *
 * @param option mean and deviation: see `ScaledNormalOptions`
 * @throws ArgumentError unless `mean` is a finite and `deviation` a positive number
 */
export function scaledNormal(option?: ScaledNormalOptions): ScaledNormalInitializer {
  return described("scaledNormal", option, INITIALIZERS.scaledNormal);
}

/**
 * Weights, as a matrix `[out, fan_in]`, with orthonormal rows (columns where there are more rows) times `gain`, taken from
 * normal numbers (Saxe, McClelland, Ganguli 2014). Takes about `4 · fan_in · out · min(fan_in, out)` multiplications, in
 * JavaScript: 0.5 s for 784 × 512. How `decolle` starts.
 *
 * @param option gain: see `OrthogonalOptions`
 * @throws ArgumentError unless `gain` is a positive number
 */
export function orthogonal(option?: OrthogonalOptions): OrthogonalInitializer {
  return described("orthogonal", option, INITIALIZERS.orthogonal);
}

/** Checks a descriptor that came from outside. */
export function checkInitializer(argument: string, descriptor: InitializerDescriptor): InitializerDescriptor {
  const kinds = Object.keys(INITIALIZERS) as (keyof typeof INITIALIZERS)[];
  const kind = choice(`${argument}.kind`, descriptor?.kind, kinds);
  const { kind: _, ...rest } = descriptor;
  return { kind, ...fields(argument, rest, INITIALIZERS[kind]) } as InitializerDescriptor;
}

/** How a tensor with `fanIn` inputs an output starts. */
export function initialOf(descriptor: InitializerDescriptor | Initial, fanIn: number): Initial {
  const bound = 1 / Math.sqrt(fanIn);
  switch (descriptor.kind) {
    case "heNormal":
      return { kind: "normal", mean: 0, deviation: Math.sqrt(2 / fanIn) };
    case "torchUniform":
      return { kind: "uniform", low: -bound, high: bound };
    case "scaledNormal":
      return { kind: "normal", mean: descriptor.mean * bound, deviation: descriptor.deviation * bound };
    default:
      return descriptor;
  }
}

/**
 * How each parameter starts: weights (two dimensions and more) that learn by their layer's initialiser, else the
 * network's, else the method's; everything else by the method's.
 */
export function initials(
  specs: readonly ParameterSpec[],
  layers: readonly CanonicalLayer[],
  everywhere: InitializerDescriptor | undefined,
): Initial[] {
  return specs.map((spec) => {
    if (spec.shape.length < 2 || !spec.trainable) return spec.initial;
    const layer = layers.find(({ name }) => name === layerOf(spec.name, layers));
    const own = layer !== undefined && "initializer" in layer ? layer.initializer : undefined;
    const chosen = own ?? everywhere;
    return chosen === undefined ? spec.initial : initialOf(chosen, spec.fanIn);
  });
}

/** Name of the layer that a parameter belongs to: the longest one that the parameter's name begins with. */
export function layerOf(parameter: string, layers: readonly CanonicalLayer[]): string | undefined {
  let best: string | undefined;
  for (const { name } of layers) {
    if (name !== undefined && parameter.startsWith(`${name}.`) && name.length > (best?.length ?? -1))
      best = name;
  }
  return best;
}

/**
 * Makes the rows of a matrix orthonormal, or its columns if there are more rows, and scales them: modified Gram–Schmidt,
 * each vector twice, in f64; +, -, ·, / and sqrt alone, so that every engine gives the same bits.
 */
export function orthogonalize(values: Float32Array, rows: number, gain: number): void {
  const columns = values.length / rows;
  const [count, length] = rows <= columns ? [rows, columns] : [columns, rows];
  const [across, along] = rows <= columns ? [columns, 1] : [1, columns];
  const vectors: Float64Array[] = [];
  for (let i = 0; i < count; i++) {
    const v = new Float64Array(length);
    for (let k = 0; k < length; k++) v[k] = values[i * across + k * along];
    for (let pass = 0; pass < 2; pass++) {
      for (const u of vectors) subtract(v, u, dot(u, v));
    }
    const norm = Math.sqrt(dot(v, v));
    if (norm === 0) throw new ArgumentError("orthogonal", "dependent rows", "another seed");
    for (let k = 0; k < length; k++) {
      v[k] /= norm;
      values[i * across + k * along] = gain * v[k];
    }
    vectors.push(v);
  }
}

/** Four partial sums: the order is part of the result. */
function dot(a: Float64Array, b: Float64Array): number {
  let [s0, s1, s2, s3] = [0, 0, 0, 0];
  const whole = a.length - (a.length % 4);
  for (let k = 0; k < whole; k += 4) {
    s0 += a[k] * b[k];
    s1 += a[k + 1] * b[k + 1];
    s2 += a[k + 2] * b[k + 2];
    s3 += a[k + 3] * b[k + 3];
  }
  for (let k = whole; k < a.length; k++) s0 += a[k] * b[k];
  return s0 + s1 + (s2 + s3);
}

function subtract(v: Float64Array, u: Float64Array, factor: number): void {
  for (let k = 0; k < v.length; k++) v[k] -= factor * u[k];
}
