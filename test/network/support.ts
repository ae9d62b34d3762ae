import {
  conv2d,
  createNetwork,
  type Dataset,
  dense,
  lee,
  type Network,
  poisson,
  SpikegradError,
  type Tensor,
} from "spikegrad";
import { expect } from "vitest";
import { generator } from "./cases.ts";

/** Random pixels in [0, 1] (or [-1, 1]) with random labels. */
export function dataset(
  count: number,
  shape: readonly number[],
  classes: number,
  option: { seed?: number; signed?: boolean } = {},
): Dataset & { inputs: Float32Array; labels: Int32Array } {
  const random = generator(option.seed ?? 1);
  const size = shape.reduce((a, b) => a * b, 1);
  return {
    inputs: Float32Array.from({ length: count * size }, () => (option.signed ? 2 * random() - 1 : random())),
    labels: Int32Array.from({ length: count }, () => Math.floor(random() * classes)),
    shape: [...shape],
    classes,
  };
}

const SLOW_SHAPE = [1, 16, 16];

/** Samples of `slowNetwork`. */
export const slowData = dataset(48, SLOW_SHAPE, 4);

/** A network that takes a while a sample, longer with more steps: worth the while of threads. */
export function slowNetwork(threads: number, steps: number): Promise<Network> {
  return createNetwork({
    input: SLOW_SHAPE,
    encoder: poisson({ steps }),
    method: lee(),
    layers: [conv2d(16, 5), conv2d(16, 5), dense(4)],
    seed: 5,
    threads,
  });
}

/** The bits of a list of numbers, so that -0 and 0 differ. */
export function bits(data: Float32Array): Uint32Array {
  return new Uint32Array(data.slice().buffer);
}

/** Bits of named tensors. */
export function bitsOf(tensors: Iterable<readonly [string, Tensor]>): Record<string, Uint32Array> {
  return Object.fromEntries([...tensors].map(([name, { data }]) => [name, bits(data)]));
}

/** The error that a call ends in, at once or later. */
export async function failure(call: () => unknown): Promise<SpikegradError> {
  try {
    await call();
  } catch (error) {
    expect(error, String(error)).toBeInstanceOf(SpikegradError);
    return error as SpikegradError;
  }
  throw new Error("no error was thrown");
}

/** Walks an async iterable to its end. */
export async function drain<T>(iterable: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of iterable) list.push(item);
  return list;
}
