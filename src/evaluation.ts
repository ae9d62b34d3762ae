import { size } from "./core/geometry.ts";
import type { Dataset } from "./data/dataset.ts";
import type { Runner } from "./runner.ts";
import type { Tensor } from "./tensor.ts";
import { integer, options } from "./validate.ts";

const BATCH = 64;

/** One layer in an evaluation. */
export interface LayerActivity {
  /** The layer's name; `"input"` for the encoded input. */
  readonly name: string;
  /** Kind of the layer that the spikes come from: `"conv2d"`, `"dense"`, `"avgPool2d"` …, or `"input"`. */
  readonly kind: string;
  /** Number of neurons, or of inputs. */
  readonly neurons: number;
  /** Spikes of all its neurons, mean a sample. */
  readonly spikes: number;
  /** Spikes a neuron and time step; with `stdbp` the share of neurons that fired. */
  readonly rate: number;
  /** Share of right answers of the layer's own readout, in [0, 1], where it has one (`decolle`). */
  readonly accuracy?: number;
}

/** What `evaluate` finds. */
export interface Evaluation {
  /** Number of samples. */
  readonly samples: number;
  /** Mean loss a sample; Infinity if one is: with `stdbp` where the label's output stayed silent. */
  readonly loss: number;
  /** Share of right answers, in [0, 1]. */
  readonly accuracy: number;
  /** The same for the `k` best answers. */
  readonly topK: {
    /** How many answers count. */
    readonly k: number;
    /** Share of samples whose label is among them, in [0, 1]. */
    readonly accuracy: number;
  };
  /** Counts of samples `[classes, classes]`: element `label · classes + answer`. */
  readonly confusion: Int32Array;
  /** The input and every spiking layer, input side first. */
  readonly layers: readonly LayerActivity[];
  /**
   * Synaptic operations: Σ over weight layers of (spikes that come in × outputs that each reaches, at the borders fewer), mean a
   * sample, all steps; values that `direct()` shows to the first layer are no spikes and do not count. At 0.1 pJ an integer addition,
   * `synapticOperations · 0.1` is a sample's energy in pJ (Lee et al. 2020).
   */
  readonly synapticOperations: number;
  /**
   * Multiply-accumulates of the dense network of the same shape, a sample, all steps; at 4.6 pJ each in floating point. Of one
   * ordinary forward pass: this over `network.steps`.
   */
  readonly denseOperations: number;
}

/** What `network.evaluate` takes beside data. */
export interface EvaluateOptions {
  /** Samples a batch, 1 or more: bounds memory, changes no answer. Default 64. */
  readonly batchSize?: number;
  /** How many answers count for `topK`, from 1 to the number of classes. Default 5, or all classes if there are fewer. */
  readonly topK?: number;
  /** Called after each batch with the samples done and the number of all. */
  readonly onProgress?: (done: number, all: number) => void;
}

/** What `network.predict` takes beside inputs. */
export interface PredictOptions {
  /** Epoch in the key of the random numbers (`poisson`, `latency` with noise), 0 or more. Default 0, as `evaluate`. */
  readonly epoch?: number;
  /** Index of the first sample in that key, 0 or more. Default 0: as if the inputs were the head of a data set. */
  readonly firstSample?: number;
}

/** What `network.predict` gives. */
export interface Prediction {
  /**
   * Answers `[B, classes]`, in the unit of the method: membranes over threshold and T (`lee`), spikes a voter and step (`bpsta`),
   * summed sigmoids (`decolle`), times (`stdbp`), mean membranes or spikes a step (`surrogate`).
   */
  readonly outputs: Tensor;
  /** The class of each sample `[B]`: the largest answer, with `stdbp` the earliest; of equal ones the first. */
  readonly classes: Int32Array;
}

/**
 * Runs `data` through the network without learning.
 *
 * @throws ArgumentError for data that do not fit the network
 */
export async function evaluate(
  runner: Runner,
  data: Dataset,
  option: EvaluateOptions = {},
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
    await runner.stream(
      "evaluate",
      { count: true },
      batchSize,
      samples,
      labels,
      0,
      0,
      (lowered, order, first) => {
        const count = order.length;
        const outputs = runner.outputs(lowered, count);
        loss += runner.sumLosses(lowered, count, "evaluation", order, runner.model.earliest);
        for (let i = 0; i < count; i++) {
          const label = labels[first + i];
          const answer = runner.answer(outputs, i);
          confusion[label * classes + answer]++;
          if (answer === label) correct++;
          if (runner.rankOf(outputs, i, label) < topK) among++;
        }
        for (const [name, address] of lowered.ports.answers) {
          const answers = runner.engine.f32(address, count * classes);
          right.set(name, (right.get(name) ?? 0) + runner.countCorrect(answers, order, labels));
        }
        const counters = runner.engine.u32(lowered.ports.spikes, count * runner.counters);
        for (let i = 0; i < counters.length; i++) spikeSums[i % runner.counters] += counters[i];
        const pairs = runner.engine.u32(lowered.ports.operations, count * 2);
        for (let i = 0; i < count; i++)
          operations += BigInt(pairs[2 * i]) + (BigInt(pairs[2 * i + 1]) << 32n);
        onProgress?.(first + count, samples.count);
      },
    );
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
 * @throws ArgumentError for inputs of another shape or range
 */
export async function predict(
  runner: Runner,
  inputs: Float32Array | Uint8Array | Tensor,
  option: PredictOptions = {},
): Promise<Prediction> {
  options("predict options", option, ["epoch", "firstSample"]);
  const { epoch = 0, firstSample = 0 } = option;
  integer("epoch", epoch, 0);
  integer("firstSample", firstSample, 0);
  const samples = runner.checkInputs(inputs);
  const data = new Float32Array(samples.count * runner.classes);
  await runner.alone(async () => {
    await runner.stream(
      "predict",
      {},
      BATCH,
      samples,
      undefined,
      epoch,
      firstSample,
      (lowered, { length }, first) => {
        data.set(runner.outputs(lowered, length), first * runner.classes);
      },
    );
  });
  const classes = Int32Array.from({ length: samples.count }, (_, i) => runner.answer(data, i));
  return { outputs: { shape: [samples.count, runner.classes], data }, classes };
}

function countNonZero(values: Float32Array | Uint8Array): number {
  let n = 0;
  for (let i = 0; i < values.length; i++) if (values[i] !== 0) n++;
  return n;
}
