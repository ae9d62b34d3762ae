import { ArgumentError } from "../errors.ts";
import { elementCount, tagOf } from "../io/bytes.ts";

/** Shape of one sample, `[channels, height, width]` or `[features]`; with explicit trains `[steps, ...]`. */
export type SampleShape = readonly number[];

/**
 * Labelled samples held in two flat arrays. Sample `i` is
 * `inputs[i * size … (i + 1) * size)` with `size` the product of `shape`, in the order C, H, W.
 * Under the encoder `spikes` a sample is an explicit train, of shape `[T, C, H, W]` or `[T, N]`.
 */
export interface Dataset {
  /** All samples one after another. A `Uint8Array` stands for `value / 255`. */
  readonly inputs: Float32Array | Uint8Array;
  /** Shape of one sample, without the sample axis. */
  readonly shape: SampleShape;
  /** One class index a sample, `0 … classes - 1`. */
  readonly labels: Uint8Array | Int32Array;
  /** Number of classes. */
  readonly classes: number;
}

/**
 * Refuses what is no usable set of samples: wrong types, no samples, lengths that disagree, labels outside
 * `0 … classes - 1`, NaN or infinite inputs. Reads every label, and every input of a `Float32Array`, once.
 *
 * @param data what the user gave
 * @param argument what to call it in errors. Default `"data"`
 * @throws ArgumentError naming the field and, where one value is at fault, its index and sample.
 */
export function validateDataset(data: unknown, argument = "data"): asserts data is Dataset {
  const { inputs, labels, classes, size } = checkedParts(data, argument);
  requireLabels(labels, classes, `${argument}.labels`);
  if (tagOf(inputs) === "Float32Array") requireFinite(inputs, size, `${argument}.inputs`);
}

/**
 * Samples `start … end - 1` of a set. No copy: both sets share their memory.
 *
 * @param data the set to take them from
 * @param start index of the first sample
 * @param end index after the last sample. Default: all that follow
 * @throws ArgumentError unless `0 ≤ start < end ≤` the number of samples, or if `data` is no data set.
 */
export function subset(data: Dataset, start: number, end?: number): Dataset {
  const { inputs, labels, size } = checkedParts(data, "data");
  const samples = labels.length;
  const stop = end ?? samples;
  if (!Number.isSafeInteger(start) || start < 0 || start >= samples) {
    throw new ArgumentError("start", start, `an integer, 0 … ${samples - 1}`);
  }
  if (!Number.isSafeInteger(stop) || stop <= start || stop > samples) {
    throw new ArgumentError("end", end, `an integer, ${start + 1} … ${samples}`);
  }
  return {
    ...data,
    inputs: inputs.subarray(start * size, stop * size),
    labels: labels.subarray(start, stop),
  };
}

/** What `take` takes beside data and count. */
export interface TakeOptions {
  /** Which samples: an integer, 0 … 2^32 - 1. Default 0. */
  readonly seed?: number;
}

/**
 * `count` samples drawn from a set without replacement, in the order drawn; the same ones for the same seed,
 * everywhere. For a quick look at a large set, and for sets that are sorted by class. Copies the samples.
 *
 * @param data the set to draw from
 * @param count how many, 1 … the number of samples; all of them gives a shuffled copy
 * @param options which ones: see `TakeOptions`
 * @throws ArgumentError if `count` or `seed` is out of range, or if `data` is no data set.
 */
export function take(data: Dataset, count: number, { seed = 0 }: TakeOptions = {}): Dataset {
  const { inputs, labels, size } = checkedParts(data, "data");
  const samples = labels.length;
  if (!Number.isSafeInteger(count) || count < 1 || count > samples) {
    throw new ArgumentError("count", count, `an integer, 1 … ${samples}`);
  }
  if (!Number.isSafeInteger(seed) || seed < 0 || seed >= 2 ** 32) {
    throw new ArgumentError("seed", seed, "an integer, 0 … 2^32 - 1");
  }
  const drawn: Dataset = { ...data, inputs: inputs.slice(0, count * size), labels: labels.slice(0, count) };
  const order = Uint32Array.from({ length: samples }, (_, i) => i);
  for (let i = 0; i < count; i++) {
    // Fisher and Yates; the bias of scaling a 32-bit word is below samples / 2^32.
    const place = i + Math.floor((randomWord(seed, i) / 2 ** 32) * (samples - i));
    const sample = order[place]!;
    order[place] = order[i]!;
    drawn.inputs.set(inputs.subarray(sample * size, (sample + 1) * size), i * size);
    drawn.labels[i] = labels[sample]!;
  }
  return drawn;
}

interface Parts extends Dataset {
  /** Values a sample. */
  readonly size: number;
}

/** Checks types and lengths, not the values. */
function checkedParts(data: unknown, argument: string): Parts {
  if (typeof data !== "object" || data === null) {
    throw new ArgumentError(argument, data, "a data set { inputs, shape, labels, classes }");
  }
  const { inputs, shape, labels, classes } = data as Partial<Dataset>;
  const size = checkedSize(shape, argument);
  if (!isArray<Dataset["inputs"]>(inputs, ["Float32Array", "Uint8Array"])) {
    throw new ArgumentError(`${argument}.inputs`, inputs, "a Float32Array or a Uint8Array");
  }
  if (!isArray<Dataset["labels"]>(labels, ["Uint8Array", "Int32Array"])) {
    throw new ArgumentError(`${argument}.labels`, labels, "a Uint8Array or an Int32Array");
  }
  if (!Number.isSafeInteger(classes) || (classes as number) < 1) {
    throw new ArgumentError(`${argument}.classes`, classes, "an integer, 1 or more");
  }
  if (labels.length === 0) throw new ArgumentError(`${argument}.labels`, labels, "at least one sample");
  if (inputs.length !== labels.length * size) {
    const need = `${labels.length} labels × ${size} values of shape [${shape}] = ${labels.length * size}`;
    throw new ArgumentError(`${argument}.inputs.length`, inputs.length, need);
  }
  return { inputs, shape: shape as SampleShape, labels, classes: classes as number, size };
}

/** Values a sample. */
function checkedSize(shape: unknown, argument: string): number {
  const valid =
    Array.isArray(shape) && shape.length > 0 && shape.every((n) => Number.isSafeInteger(n) && n > 0);
  const size = valid ? elementCount(shape) : undefined;
  if (size === undefined) {
    throw new ArgumentError(
      `${argument}.shape`,
      shape,
      "integers of 1 or more, e.g. [channels, height, width]",
    );
  }
  return size;
}

function isArray<T extends ArrayBufferView>(value: unknown, tags: readonly string[]): value is T {
  return ArrayBuffer.isView(value) && tags.includes(tagOf(value));
}

function requireLabels(labels: Dataset["labels"], classes: number, argument: string): void {
  for (let i = 0; i < labels.length; i++) {
    const label = labels[i]!;
    if (label < 0 || label >= classes) {
      throw new ArgumentError(`${argument}[${i}]`, label, `a class, 0 … ${classes - 1}`);
    }
  }
}

function requireFinite(inputs: Dataset["inputs"], size: number, argument: string): void {
  for (let i = 0; i < inputs.length; i++) {
    const value = inputs[i]!;
    if (!Number.isFinite(value)) {
      throw new ArgumentError(`${argument}[${i}]`, value, `a finite number (sample ${Math.floor(i / size)})`);
    }
  }
}

/** Word `index` of the stream `seed`: a bijective mix (triple32 by C. Wellons) of seed and counter. */
function randomWord(seed: number, index: number): number {
  // 0 is a fixed point of the mix; seed 0 must not begin with it.
  return mix(mix(seed + 1) + index);
}

function mix(word: number): number {
  let x = word >>> 0;
  x = Math.imul(x ^ (x >>> 17), 0xed5ad4bb);
  x = Math.imul(x ^ (x >>> 11), 0xac4c1b51);
  x = Math.imul(x ^ (x >>> 15), 0x31848bab);
  return (x ^ (x >>> 14)) >>> 0;
}
