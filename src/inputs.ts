import type { Extent } from "./core/geometry.ts";
import type { EncoderDescriptor } from "./encoders.ts";
import { ArgumentError } from "./errors.ts";
import type { Tensor } from "./tensor.ts";

/** Samples one after another, as the user has them. */
export interface Samples {
  readonly values: Float32Array | Uint8Array;
  /** Values of one sample, all its steps included. */
  readonly length: number;
  readonly count: number;
}

/** Values of one sample under an encoder. */
export function sampleLength(input: Extent, encoder: EncoderDescriptor): number {
  const size = input.channels * input.height * input.width;
  return encoder.kind === "spikes" ? size * encoder.steps : size;
}

/** Shape of one sample under an encoder. */
export function sampleShape(shape: readonly number[], encoder: EncoderDescriptor): number[] {
  return encoder.kind === "spikes" ? [encoder.steps, ...shape] : [...shape];
}

/** Checks inputs given as a flat array or as a tensor. */
export function readSamples(
  argument: string,
  inputs: Float32Array | Uint8Array | Tensor,
  shape: readonly number[],
): Samples {
  const length = shape.reduce((a, b) => a * b, 1);
  let values: Float32Array | Uint8Array;
  if (inputs instanceof Float32Array || inputs instanceof Uint8Array) values = inputs;
  else if (
    typeof inputs === "object" &&
    inputs !== null &&
    inputs.data instanceof Float32Array &&
    Array.isArray(inputs.shape)
  ) {
    const given = inputs.shape as readonly number[];
    const size = given.reduce((a, b) => a * b, 1);
    const fits =
      given.length === shape.length + 1 ? shape.every((n, i) => given[i + 1] === n) : sameShape(given, shape);
    if (!fits || size !== inputs.data.length) {
      throw new ArgumentError(
        `${argument}.shape`,
        given,
        `[B, ${shape.join(", ")}] with as many values as that says`,
      );
    }
    values = inputs.data;
  } else {
    throw new ArgumentError(argument, inputs, "a Float32Array, a Uint8Array or a tensor { shape, data }");
  }
  const count = values.length / length;
  if (values.length === 0 || !Number.isInteger(count)) {
    throw new ArgumentError(
      `${argument}.length`,
      values.length,
      `a multiple of ${length}, the values of one sample [${shape.join(", ")}], and not 0`,
    );
  }
  return { values, length, count };
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((n, i) => n === b[i]);
}

/** Range of values that an encoder takes. */
export function checkRange(argument: string, samples: Samples, encoder: EncoderDescriptor): void {
  const { values, length } = samples;
  if (values instanceof Uint8Array) return;
  const { kind } = encoder;
  const bounded = ["poisson", "latency", "firstSpike"].includes(kind);
  const signed = kind === "poisson" && encoder.signed;
  // Unbounded ones are those that fit 32 bits.
  const low = bounded ? (signed ? -1 : 0) : -3.5e38;
  const high = bounded ? 1 : kind === "times" ? Number.POSITIVE_INFINITY : 3.5e38;
  for (let i = 0; i < values.length; i++) {
    const x = values[i];
    if (x >= low && x <= high) continue;
    let hint = "";
    if (x < 0 && kind === "poisson" && !signed) hint = "; poisson({ signed: true }) takes negative ones";
    if (x > 1) hint = "; values up to 255 are bytes: divide by 255, or give a Uint8Array";
    const range = bounded
      ? `a number from ${low} to 1${hint}`
      : `a finite number${kind === "times" ? ", or Infinity for no spike" : ""}`;
    throw new ArgumentError(`${argument}[${i}]`, x, `${range} (sample ${Math.floor(i / length)})`);
  }
}

/**
 * Copies sample `i` into the core's memory from `to[at]` on: bytes become `value / 255`, and channels go last.
 * `index` is the core's position of each value of one frame, undefined where that is the order as given.
 */
export function copySample(
  samples: Samples,
  i: number,
  to: Float32Array,
  at: number,
  index: Int32Array | undefined,
  frame: number,
): void {
  const { values, length } = samples;
  const from = values.subarray(i * length, (i + 1) * length);
  const scale = values instanceof Uint8Array ? 255 : 1;
  if (index === undefined) {
    if (scale === 1) to.set(from, at);
    else for (let k = 0; k < length; k++) to[at + k] = from[k] / scale;
    return;
  }
  for (let first = 0; first < length; first += frame) {
    for (let k = 0; k < frame; k++) to[at + first + index[k]] = from[first + k] / scale;
  }
}
