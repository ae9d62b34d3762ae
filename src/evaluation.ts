import { size } from "./core/geometry.ts";
import type { Dataset } from "./data/dataset.ts";
import type { Runner } from "./runner.ts";
import type { Tensor } from "./tensor.ts";
import { integer, options } from "./validate.ts";

const BATCH = 64;

/** One layer in an evaluation. */
export interface LayerActivity {
  readonly name: string;
  readonly kind: string;
  readonly neurons: number;
  /** Mean spikes a sample. */
  readonly spikes: number;
  /** Spikes a neuron and time step. */
  readonly rate: number;
  /** Share of right answers of the layer's own readout, where it has one (`decolle`). */
  readonly accuracy?: number;
}

/** What `evaluate` finds. */
export interface Evaluation {
  readonly samples: number;
  /** Mean loss a sample; Infinity if one is: with `stdbp` where the label's output stayed silent. */
  readonly loss: number;
  /** Share of right answers. */
  readonly accuracy: number;
  /** Share of samples whose label is among the `k` best answers. */
  readonly topK: { readonly k: number; readonly accuracy: number };
  /** Counts, `[label · classes + answer]`. */
  readonly confusion: Int32Array;
  /** The input and every spiking layer. */
  readonly layers: readonly LayerActivity[];
  /** Σ over weight layers of (input spikes × existing outputs), mean a sample, all steps. */
  readonly synapticOperations: number;
  /** Multiply-accumulates of the dense equivalent, a sample, all steps. */
  readonly denseOperations: number;
}

/**
 * Runs `data` through the network without learning.
 *
 * @param option `batchSize` (64); `topK` (5, at most the number of classes); `onProgress(done, all)` after each batch
 * @throws ArgumentError for data that do not fit the network
 */
export async function evaluate(
  runner: Runner,
  data: Dataset,
  option: { batchSize?: number; topK?: number; onProgress?: (done: number, all: number) => void } = {},
): Promise<Evaluation> {
  options("evaluate options", option, ["batchSize", "topK", "onProgress"]);
  const { batchSize = BATCH, topK = Math.min(5, runner.classes), onProgress } = option;
  integer("batchSize", batchSize, 1);
  integer("topK", topK, 1, runner.classes);
  const samples = runner.checkData("data", data);
  const { labels } = data;
  const { classes } = runner;
  const { count } = samples;
  const confusion = new Int32Array(classes * classes);
  const spikeSums = new Float64Array(runner.counters);
  const right = new Map<string, number>();
  let loss = 0;
  let correct = 0;
  let among = 0;
  let operations = 0n;
  await runner.alone(async () => {
    for (let first = 0; first < samples.count; first += batchSize) {
      const count = Math.min(batchSize, samples.count - first);
      const order = Uint32Array.from({ length: count }, (_, i) => first + i);
      const capacity = Math.min(batchSize, samples.count);
      const lowered = runner.engine.lower("evaluate", runner.purpose("infer", capacity, { count: true }));
      runner.load(lowered, samples, order, labels, 0, 0);
      await runner.runEach(lowered, count);
      const outputs = runner.outputs(lowered, count);
      loss += runner.sumLosses(lowered, count, "evaluation", order, runner.model.earliest);
      for (let i = 0; i < count; i++) {
        const label = labels[first + i];
        const answer = runner.answer(outputs, i);
        confusion[label * classes + answer]++;
        if (answer === label) correct++;
        if (runner.rank(outputs, i, label) < topK) among++;
      }
      for (const [name, address] of lowered.ports.answers) {
        const answers = runner.engine.f32(address, count * classes);
        right.set(name, (right.get(name) ?? 0) + runner.countCorrect(answers, order, labels));
      }
      const counters = runner.engine.u32(lowered.ports.spikes, count * runner.counters);
      for (let i = 0; i < counters.length; i++) spikeSums[i % runner.counters] += counters[i];
      const pairs = runner.engine.u32(lowered.ports.operations, count * 2);
      for (let i = 0; i < count; i++) operations += BigInt(pairs[2 * i]) + (BigInt(pairs[2 * i + 1]) << 32n);
      onProgress?.(first + count, samples.count);
    }
  });
  if (runner.description.encoder.kind === "spikes") spikeSums[0] = countNonZero(samples.values);
  const activity = (name: string, kind: string, neurons: number, sum: number): LayerActivity => ({
    name,
    kind,
    neurons,
    spikes: sum / count,
    rate: sum / (count * neurons * runner.description.encoder.steps),
    ...(right.has(name) && { accuracy: (right.get(name) ?? 0) / count }),
  });
  const spiking = runner.model.layers.filter((layer) => layer.spiking);
  return {
    samples: count,
    loss: loss / count,
    accuracy: correct / count,
    topK: { k: topK, accuracy: among / count },
    confusion,
    layers: [
      activity("input", "input", size(runner.model.input), spikeSums[0]),
      ...spiking.map((layer, i) => activity(layer.name, layer.kind, size(layer.extent), spikeSums[i + 1])),
    ],
    synapticOperations: Number(operations) / count,
    denseOperations:
      runner.model.layers.reduce((sum, layer) => sum + layer.operations, 0) *
      runner.description.encoder.steps,
  };
}

/**
 * Answers for a batch.
 *
 * @param inputs samples one after another: `[B, …input]`, bytes standing for value / 255; with `spikes()` `[B, T, …input]`
 * @param option `epoch` (0) and `firstSample` (0): keys of the random numbers
 * @returns `outputs` `[B, classes]` and the class with the largest one (`stdbp`: the earliest), of each sample
 * @throws ArgumentError for inputs of another shape or range
 */
export async function predict(
  runner: Runner,
  inputs: Float32Array | Uint8Array | Tensor,
  option: { epoch?: number; firstSample?: number } = {},
): Promise<{ outputs: Tensor; classes: Int32Array }> {
  options("predict options", option, ["epoch", "firstSample"]);
  const { epoch = 0, firstSample = 0 } = option;
  integer("epoch", epoch, 0);
  integer("firstSample", firstSample, 0);
  const samples = runner.checkInputs(inputs);
  const data = new Float32Array(samples.count * runner.classes);
  await runner.alone(async () => {
    for (let first = 0; first < samples.count; first += BATCH) {
      const count = Math.min(BATCH, samples.count - first);
      const lowered = runner.engine.lower("predict", runner.purpose("infer", count));
      const order = Uint32Array.from({ length: count }, (_, i) => first + i);
      runner.load(lowered, samples, order, undefined, epoch, firstSample);
      await runner.runEach(lowered, count);
      data.set(runner.engine.f32(lowered.ports.outputs, count * runner.classes), first * runner.classes);
    }
  });
  const classes = Int32Array.from({ length: samples.count }, (_, i) => runner.answer(data, i));
  return { outputs: { shape: [samples.count, runner.classes], data }, classes };
}

function countNonZero(values: Float32Array | Uint8Array): number {
  let n = 0;
  for (let i = 0; i < values.length; i++) if (values[i] !== 0) n++;
  return n;
}
