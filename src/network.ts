/// <reference lib="esnext.disposable" preserve="true" />
import { Control, Stream } from "../assembly/abi.ts";
import { blockCount, Engine, type Lowered } from "./core/engine.ts";
import { type Extent, Layout, shapeOf, size } from "./core/geometry.ts";
import type { Build, WasmSource } from "./core/wasm.ts";
import type { Dataset } from "./data/dataset.ts";
import { checkEncoder, type EncoderDescriptor } from "./encoders.ts";
import { ArgumentError, FormatError, NonFiniteError, StateError } from "./errors.ts";
import { checkRange, copySample, readSamples, type Samples, sampleShape } from "./inputs.ts";
import type { CanonicalLayer, LayerDescriptor } from "./layers.ts";
import { checkLoss, type LossDescriptor } from "./losses.ts";
import { type MethodDescriptor, methodOf } from "./methods/index.ts";
import type { Purpose } from "./methods/method.ts";
import {
  type ModelFile,
  type NetworkDescription,
  readModel,
  type TrainingRecord,
  writeModel,
} from "./model-file.ts";
import { type Optimizer, OptimizerState, putGradients } from "./optimizer.ts";
import {
  checkOptimizer,
  checkSchedule,
  type OptimizerDescriptor,
  type ScheduleDescriptor,
  scheduleFactor,
} from "./optimizers.ts";
import { readRecord } from "./records.ts";
import type { Tensor } from "./tensor.ts";
import { choice, integer, options, positive } from "./validate.ts";
import { breathe } from "./yield.ts";

/** What `createNetwork` takes. */
export interface NetworkOptions {
  /** Shape of one input: `[channels, height, width]` or `[features]`. */
  readonly input: readonly number[];
  /** How samples become spikes. */
  readonly encoder: EncoderDescriptor;
  /** The gradient method, and with it the neuron. */
  readonly method: MethodDescriptor;
  /** The layers, input side first. Without any `neuron()` each weight layer gets one. */
  readonly layers: readonly LayerDescriptor[];
  /** Seed of all random numbers, an integer from 0 to 2^53 - 1. Default 0. */
  readonly seed?: number;
  /** What training makes small. Default: the method's. */
  readonly loss?: LossDescriptor;
  /** Build of the core. Default `"auto"`: SIMD where the engine has it. Both give the same bits. */
  readonly build?: "auto" | Build;
  /** The core from elsewhere, where bytes may not be compiled at run time: a module, its bytes, a response or a URL. */
  readonly wasm?: WasmSource;
}

/** What `fit` takes. */
export interface FitOptions {
  /** Passes over the data. Default 1. */
  readonly epochs?: number;
  /** Samples a batch. Default 64. */
  readonly batchSize?: number;
  /** How gradients become steps. Needed unless `resume` brings it. */
  readonly optimizer?: OptimizerDescriptor;
  /** How the rate changes. Default: not at all. */
  readonly schedule?: ScheduleDescriptor;
  /** New random order every epoch. Default true. */
  readonly shuffle?: boolean;
  /** Bytes of `checkpoint()`: go on from there. Settings left out are the checkpoint's. */
  readonly resume?: Uint8Array;
  /** Ends the run after the batch in work when aborted. */
  readonly signal?: AbortSignal;
}

/** One step of training. */
export interface Progress {
  /** Epoch, from 0, and how many there are. */
  readonly epoch: number;
  readonly epochs: number;
  /** Batches done in this epoch, and how many it has. */
  readonly step: number;
  readonly steps: number;
  /** Samples done in this epoch. */
  readonly samples: number;
  /** Mean loss a sample, and share of right answers, of this batch. */
  readonly loss: number;
  readonly accuracy: number;
  /** The same over the epoch so far. */
  readonly epochLoss: number;
  readonly epochAccuracy: number;
  /** Mean spikes of a neuron in a sample, of this batch. */
  readonly spikesPerNeuron: number;
  /** Learning rate of this step. */
  readonly rate: number;
  readonly samplesPerSecond: number;
  /** Estimate to the end of the run. */
  readonly secondsLeft: number;
}

/** One layer in an evaluation. */
export interface LayerActivity {
  readonly name: string;
  readonly kind: string;
  readonly neurons: number;
  /** Mean spikes a sample. */
  readonly spikes: number;
  /** Spikes a neuron and time step. */
  readonly rate: number;
}

/** What `evaluate` finds. */
export interface Evaluation {
  readonly samples: number;
  /** Mean loss a sample. */
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

/** What `gradients` finds. */
export interface Gradients {
  /** The loss as it is defined: summed over the batch. */
  readonly loss: number;
  /** Answers, `[B, classes]`. */
  readonly outputs: Tensor;
  /** One tensor a parameter, by its name. */
  readonly gradients: Record<string, Tensor>;
  /** `"<layer>.spikes"`, `"<layer>.membranes"`: `[T, B, …layer shape]`, as asked for. */
  readonly records: Record<string, Tensor>;
}

/** What `forward` and `gradients` take beside inputs and labels. */
export interface GradientOptions {
  /** What to keep of every layer: spikes (after dropout), or membranes u_t before the reset. */
  readonly record?: readonly ("spikes" | "membranes")[];
  /** Masks `[B, …layer shape]` of 0 and 1/(1-p) by layer name, instead of random ones. */
  readonly dropoutMasks?: Readonly<Record<string, Float32Array>>;
  /** Key of the random numbers. Default 0. */
  readonly epoch?: number;
  /** Index of the first sample in the key of the random numbers. Default 0. */
  readonly firstSample?: number;
}

/** Reads and writes a network's parameters by name, in PyTorch's layout. */
export interface Parameters {
  names(): string[];
  /** A copy. */
  get(name: string): Tensor;
  /** Replaces the values; refuses other lengths, NaN and infinities. */
  set(name: string, values: Float32Array | Tensor): void;
  /** Copies of all, in order. */
  entries(): [string, Tensor][];
}

interface Training {
  readonly state: OptimizerState;
  readonly settings: Omit<TrainingRecord, "epoch" | "step" | "loss" | "correct" | "seen" | "taken">;
  epoch: number;
  step: number;
  loss: number;
  correct: number;
  seen: number;
}

const WHOLE_SEED = 2 ** 53 - 1;
const EVALUATION_BATCH = 64;

/**
 * Makes a network with random weights.
 *
 * @throws ArgumentError for layers that do not fit each other or any setting out of range, before anything is computed
 * @throws MemoryError if the parameters do not fit
 * @throws MissingError where WebAssembly, or the build asked for, is not to be had
 */
export async function createNetwork(option: NetworkOptions): Promise<Network> {
  const known = ["input", "encoder", "method", "layers", "seed", "loss", "build", "wasm"];
  options("createNetwork", option, known);
  const description = describe(option);
  const network = await Network.open(description, option);
  network[INITIALIZE]();
  return network;
}

/**
 * A network from the bytes of `save()` or `checkpoint()`.
 *
 * @throws FormatError for bytes that are truncated, inconsistent, of another program or version
 */
export async function loadNetwork(
  bytes: Uint8Array,
  option: { readonly build?: "auto" | Build; readonly wasm?: WasmSource } = {},
): Promise<Network> {
  options("loadNetwork options", option, ["build", "wasm"]);
  const file = readModel(bytes);
  let description: NetworkDescription;
  try {
    description = describe(file.network);
  } catch (cause) {
    if (!(cause instanceof ArgumentError)) throw cause;
    throw new FormatError(
      `__metadata__.network.${cause.argument}`,
      cause.value,
      cause.expected ?? "a valid network",
      { cause },
    );
  }
  const network = await Network.open(description, option);
  try {
    network[RESTORE](file);
  } catch (error) {
    network.dispose();
    throw error;
  }
  return network;
}

/** Checks everything about a network but its weights. */
function describe(
  option: Pick<NetworkOptions, "input" | "encoder" | "method" | "layers" | "seed" | "loss">,
): NetworkDescription {
  const { input, encoder, method, layers, seed = 0, loss } = option;
  if (
    !Array.isArray(input) ||
    (input.length !== 1 && input.length !== 3) ||
    input.some((n) => !Number.isInteger(n) || n < 1)
  ) {
    throw new ArgumentError("input", input, "[channels, height, width] or [features], positive integers");
  }
  if (input.reduce((a, b) => a * b, 1) > 2 ** 24)
    throw new ArgumentError("input", input, "at most 16777216 values");
  integer("seed", seed, 0, WHOLE_SEED);
  const chosen = methodOf(method);
  const checked = chosen.check(method);
  return {
    input: [...input],
    encoder: checkEncoder(encoder),
    method: checked,
    layers: chosen.expand(layers, checked),
    loss: loss === undefined ? chosen.loss : checkLoss(loss),
    seed,
  };
}

const INITIALIZE = Symbol("initialize");
const RESTORE = Symbol("restore");

/** A spiking network. Made by `createNetwork` or `loadNetwork`. */
export class Network {
  /** Everything but the weights, as plain data. */
  readonly description: NetworkDescription;
  /** Number of classes. */
  readonly classes: number;
  /** Parameters by name. */
  readonly parameters: Parameters;
  readonly #model: Engine["model"];
  #engine: Engine | undefined;
  #training: Training | undefined;
  #running = false;
  #epoch = 0;
  #step = 0;
  #liveStep = 0;
  #forwarded: { samples: Samples; option: GradientOptions } | undefined;

  private constructor(description: NetworkDescription, engine: Engine) {
    this.description = description;
    this.#engine = engine;
    this.#model = engine.model;
    this.classes = engine.model.classes;
    this.parameters = this.#openParameters();
  }

  /** @internal */
  static async open(
    description: NetworkDescription,
    option: { build?: "auto" | Build; wasm?: WasmSource },
  ): Promise<Network> {
    const [channels, height = 1, width = 1] = description.input;
    const extent: Extent = { channels, height, width };
    const method = methodOf(description.method);
    const model = method.model(
      extent,
      description.layers,
      description.method,
      description.encoder,
      description.loss,
    );
    return new Network(
      description,
      await Engine.create(model, description.seed, { build: option.build, wasm: option.wasm }),
    );
  }

  /** @internal */
  [INITIALIZE](): void {
    this.#live.initialize(Stream.Init);
  }

  /** @internal */
  [RESTORE](file: ModelFile): void {
    this.#restoreParameters(file);
    this.#epoch = file.epoch;
    this.#step = file.step;
  }

  /** Shape of one input. */
  get inputShape(): readonly number[] {
    return this.description.input;
  }

  /** Time steps a sample. */
  get steps(): number {
    return this.description.encoder.steps;
  }

  /** The canonical list of layers, every neuron explicit. */
  get layers(): readonly CanonicalLayer[] {
    return this.description.layers;
  }

  /** Seed of all random numbers. */
  get seed(): number {
    return this.description.seed;
  }

  /** Build of the core in use. */
  get build(): Build {
    return this.#live.build;
  }

  /** Whether `dispose` was called. */
  get disposed(): boolean {
    return this.#engine === undefined;
  }

  /** Neurons by layer, the input left out. */
  get neurons(): readonly {
    readonly name: string;
    readonly kind: string;
    readonly shape: readonly number[];
  }[] {
    return this.#model.layers.map((layer) => ({
      name: layer.name,
      kind: layer.kind,
      shape: shapeOf(layer.extent),
    }));
  }

  /**
   * Linear memory in bytes: `bytes` taken now; what training or inference on batches of a size takes in all,
   * parameters, gradients and one momentum included.
   */
  get memory(): {
    readonly bytes: number;
    training(batchSize: number): number;
    inference(batchSize: number): number;
  } {
    const engine = this.#live;
    const parameters = engine.gradientBytes;
    return {
      bytes: engine.used,
      training: (batchSize) => {
        integer("batchSize", batchSize, 1);
        return 2 * parameters + engine.measure(this.#purpose("train", batchSize));
      },
      inference: (batchSize) =>
        parameters + engine.measure(this.#purpose("infer", integer("batchSize", batchSize, 1))),
    };
  }

  get #live(): Engine {
    if (!this.#engine) throw new StateError("the network was disposed");
    return this.#engine;
  }

  #openParameters(): Parameters {
    const specs = this.#model.parameters;
    const find = (name: string): number => {
      const i = specs.findIndex((spec) => spec.name === name);
      if (i < 0)
        throw new ArgumentError(
          "parameters name",
          name,
          `one of ${specs.map((spec) => spec.name).join(", ")}`,
        );
      return i;
    };
    const get = (name: string): Tensor => {
      const i = find(name);
      return { shape: specs[i].shape, data: this.#live.gather(i, this.#live.parameter(i)) };
    };
    return {
      names: () => specs.map((spec) => spec.name),
      get,
      set: (name, values) => {
        const i = find(name);
        const data = values instanceof Float32Array ? values : values?.data;
        const count = product(specs[i].shape);
        if (!(data instanceof Float32Array) || data.length !== count) {
          throw new ArgumentError(
            `parameters["${name}"]`,
            data?.length === undefined ? data : `${data.length} values`,
            `a Float32Array of ${count} values [${specs[i].shape.join(", ")}]`,
          );
        }
        const bad = data.findIndex((x) => !Number.isFinite(x));
        if (bad >= 0) throw new ArgumentError(`parameters["${name}"][${bad}]`, data[bad], "a finite number");
        this.#live.scatter(i, data, this.#live.parameter(i));
      },
      entries: () => specs.map((spec) => [spec.name, get(spec.name)]),
    };
  }

  #purpose(mode: Purpose["mode"], capacity: number, more: Partial<Purpose> = {}): Purpose {
    return {
      mode,
      capacity,
      blocks: blockCount(capacity, this.#live.parameterLength),
      record: { spikes: false, membranes: false },
      masks: false,
      given: false,
      count: false,
      ...more,
    };
  }

  /** Puts a batch into a program's ports. `order[i]` is the place of sample i in `samples`. */
  #load(
    lowered: Lowered,
    samples: Samples,
    order: ArrayLike<number>,
    labels: ArrayLike<number> | undefined,
    epoch: number,
    firstId: number,
  ): void {
    const engine = this.#live;
    const { ports, purpose } = lowered;
    const count = order.length;
    const control = engine.u32(ports.control, Control.Size / 4);
    control[Control.Samples / 4] = count;
    control[Control.Blocks / 4] = Math.min(
      purpose.mode === "train" ? blockCount(count, engine.parameterLength) : 1,
      count,
    );
    control[Control.Epoch / 4] = epoch;
    const { inputIndex } = this.#model;
    const frame = size(this.#model.input);
    const ids = engine.u32(ports.sampleIds, count);
    const targets = new Int32Array(engine.u32(ports.labels, count).buffer, ports.labels, count);
    for (let i = 0; i < count; i++) {
      copySample(
        samples,
        order[i],
        engine.f32(ports.inputs + i * ports.inputLength * 4, ports.inputLength),
        inputIndex,
        frame,
      );
      ids[i] = firstId + order[i];
      targets[i] = labels === undefined ? -1 : labels[order[i]];
    }
    engine.u32(ports.spikes, count * this.#counters).fill(0);
    engine.u32(ports.operations, count * 2).fill(0);
  }

  /** The input and every spiking layer. */
  get #counters(): number {
    return this.#model.layers.length;
  }

  async #run(lowered: Lowered): Promise<void> {
    const engine = this.#live;
    const blocks = engine.u32(lowered.ports.control, Control.Size / 4)[Control.Blocks / 4];
    for (let block = 0; block < blocks; block++) {
      engine.run(lowered, block, block + 1);
      await breathe();
      if (this.#engine !== engine) throw new StateError("the network was disposed while it computed");
    }
  }

  #outputs(lowered: Lowered, count: number): Float32Array {
    return this.#live.f32(lowered.ports.outputs, count * this.classes).slice();
  }

  /** Sum of the losses of a batch, samples ascending. */
  #sumLosses(lowered: Lowered, count: number, where: string, order: ArrayLike<number>): number {
    const losses = this.#live.f32(lowered.ports.losses, count);
    let sum = 0;
    for (let i = 0; i < count; i++) {
      if (!Number.isFinite(losses[i])) {
        throw new NonFiniteError(
          `${where}, sample ${order[i]}: the loss is ${losses[i]}; the parameters are those before this step`,
          {
            value: losses[i],
          },
        );
      }
      sum += losses[i];
    }
    return sum;
  }

  // ---- training ------------------------------------------------------------------------------------------------------

  /**
   * Trains on `data`: an async iterable with a record after every batch. It can be broken off; it lets the event loop turn.
   * The result depends on network, data, seed and settings alone.
   *
   * @throws ArgumentError for settings or data out of range, before anything is computed
   * @throws StateError if the network is training already, or was disposed
   * @throws NonFiniteError if a loss becomes NaN or infinite; the parameters are those before that step
   */
  fit(data: Dataset, option: FitOptions = {}): AsyncIterableIterator<Progress> {
    options("fit options", option, [
      "epochs",
      "batchSize",
      "optimizer",
      "schedule",
      "shuffle",
      "resume",
      "signal",
    ]);
    const samples = this.#checkData("data", data);
    const engine = this.#live;
    if (this.#running)
      throw new StateError("the network is training already; break off or finish the other fit first");
    const file = option.resume === undefined ? undefined : readModel(option.resume);
    const record = file?.training;
    if (file && !record)
      throw new FormatError("resume", "a model without a training state", "bytes of network.checkpoint()");
    if (file) this.#checkSame(file);
    const settings: Training["settings"] = {
      epochs: integer("epochs", option.epochs ?? record?.epochs ?? 1, 1),
      batchSize: integer("batchSize", option.batchSize ?? record?.batchSize ?? 64, 1),
      optimizer: checkOptimizer(option.optimizer ?? record?.optimizer),
      schedule: checkSchedule(option.schedule ?? record?.schedule),
      shuffle: option.shuffle ?? record?.shuffle ?? true,
      samples: samples.count,
    };
    if (typeof settings.shuffle !== "boolean")
      throw new ArgumentError("shuffle", settings.shuffle, "true or false");
    if (record) {
      for (const key of ["batchSize", "samples", "shuffle"] as const) {
        if (settings[key] !== record[key]) {
          throw new ArgumentError(
            key,
            settings[key],
            `${record[key]}, as in the checkpoint: other bits would follow`,
          );
        }
      }
      for (const key of ["optimizer", "schedule"] as const) {
        if (JSON.stringify(settings[key]) !== JSON.stringify(record[key])) {
          throw new ArgumentError(key, settings[key], `${JSON.stringify(record[key])}, as in the checkpoint`);
        }
      }
    }
    const capacity = Math.min(settings.batchSize, samples.count);
    // All memory is taken before the first step: what does not fit is refused here.
    engine.lower("train", this.#purpose("train", capacity));
    this.#training?.state.dispose();
    const training: Training = {
      settings,
      state: new OptimizerState(engine, settings.optimizer),
      epoch: record?.epoch ?? 0,
      step: record?.step ?? 0,
      loss: record?.loss ?? 0,
      correct: record?.correct ?? 0,
      seen: record?.seen ?? 0,
    };
    if (file && record) {
      this.#restoreParameters(file);
      this.#restoreState(training.state, file);
      training.state.taken = record.taken;
    }
    this.#training = training;
    this.#running = true;
    const release = () => {
      this.#running = false;
    };
    return guarded(this.#train(training, samples, data.labels, capacity, option.signal), release);
  }

  async *#train(
    training: Training,
    samples: Samples,
    labels: ArrayLike<number>,
    capacity: number,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Progress> {
    const { settings, state } = training;
    const { count } = samples;
    const { batchSize, epochs } = settings;
    const steps = Math.ceil(count / batchSize);
    const layers = this.#model.layers.filter((layer) => layer.spiking);
    const neurons = layers.reduce((sum, layer) => sum + size(layer.extent), 0);
    let order: Uint32Array | undefined;
    let spent = 0;
    let done = 0;
    while (training.epoch < epochs) {
      const { epoch } = training;
      for (; training.step < steps; ) {
        if (signal?.aborted) return;
        const began = performance.now();
        const engine = this.#live;
        order ??= settings.shuffle
          ? engine.permutation(count, epoch, Stream.Shuffle)
          : Uint32Array.from({ length: count }, (_, i) => i);
        const batch = order.subarray(
          training.step * batchSize,
          Math.min((training.step + 1) * batchSize, count),
        );
        const lowered = engine.lower("train", this.#purpose("train", capacity));
        this.#load(lowered, samples, batch, labels, epoch, 0);
        await this.#run(lowered);
        const where = `epoch ${epoch}, step ${training.step}`;
        const loss = this.#sumLosses(lowered, batch.length, where, batch);
        engine.reduce(lowered);
        const rate =
          settings.optimizer.rate *
          scheduleFactor(settings.schedule ?? undefined, epoch * steps + training.step, steps, epochs);
        state.step(rate);
        const correct = this.#countCorrect(this.#outputs(lowered, batch.length), batch, labels);
        const spikeCount = this.#sumSpikes(lowered, batch.length);
        training.loss += loss;
        training.correct += correct;
        training.seen += batch.length;
        training.step++;
        this.#step++;
        spent += (performance.now() - began) / 1000;
        done += batch.length;
        const samplesPerSecond = done / spent;
        const left = (epochs - epoch) * count - training.seen;
        const progress: Progress = {
          epoch,
          epochs,
          step: training.step,
          steps,
          samples: training.seen,
          loss: loss / batch.length,
          accuracy: correct / batch.length,
          epochLoss: training.loss / training.seen,
          epochAccuracy: training.correct / training.seen,
          spikesPerNeuron: neurons ? spikeCount / (neurons * batch.length) : 0,
          rate,
          samplesPerSecond,
          secondsLeft: left / samplesPerSecond,
        };
        if (training.step === steps) {
          // The position moves on before the record is given out: a checkpoint taken there begins the next epoch.
          training.epoch++;
          training.step = 0;
          training.loss = 0;
          training.correct = 0;
          training.seen = 0;
          this.#epoch++;
          order = undefined;
          yield progress;
          break;
        }
        yield progress;
      }
    }
  }

  #countCorrect(outputs: Float32Array, order: ArrayLike<number>, labels: ArrayLike<number>): number {
    let correct = 0;
    for (let i = 0; i < order.length; i++)
      if (argmax(outputs, i * this.classes, this.classes) === labels[order[i]]) correct++;
    return correct;
  }

  /** Spikes of all layers, the input left out. */
  #sumSpikes(lowered: Lowered, count: number): number {
    const counters = this.#live.u32(lowered.ports.spikes, count * this.#counters);
    let sum = 0;
    for (let i = 0; i < counters.length; i++) if (i % this.#counters) sum += counters[i];
    return sum;
  }

  #checkData(argument: string, data: Dataset): Samples {
    if (typeof data !== "object" || data === null)
      throw new ArgumentError(argument, data, "a data set { inputs, shape, labels, classes }");
    const shape = sampleShape(this.inputShape, this.description.encoder);
    const { inputs, labels } = data;
    if (
      !Array.isArray(data.shape) ||
      data.shape.length !== shape.length ||
      data.shape.some((n, i) => n !== shape[i])
    ) {
      throw new ArgumentError(
        `${argument}.shape`,
        data.shape,
        `[${shape.join(", ")}], the shape of a sample for this network`,
      );
    }
    if (!(inputs instanceof Float32Array) && !(inputs instanceof Uint8Array)) {
      throw new ArgumentError(`${argument}.inputs`, inputs, "a Float32Array or a Uint8Array");
    }
    const samples = readSamples(`${argument}.inputs`, inputs, shape);
    checkRange(`${argument}.inputs`, samples, this.description.encoder);
    this.#checkLabels(`${argument}.labels`, labels, samples.count);
    return samples;
  }

  #checkLabels(argument: string, labels: ArrayLike<number>, count: number): void {
    if (typeof labels !== "object" || labels === null || labels.length !== count) {
      throw new ArgumentError(
        argument,
        labels?.length === undefined ? labels : `${labels.length} labels`,
        `${count} labels, one a sample`,
      );
    }
    for (let i = 0; i < count; i++) {
      if (!Number.isInteger(labels[i]) || labels[i] < 0 || labels[i] >= this.classes) {
        throw new ArgumentError(`${argument}[${i}]`, labels[i], `a class from 0 to ${this.classes - 1}`);
      }
    }
  }

  // ---- evaluation ----------------------------------------------------------------------------------------------------

  /**
   * Runs `data` through the network without learning.
   *
   * @param option `batchSize` (64); `topK` (5, at most the number of classes); `onProgress(done, all)` after each batch
   * @throws ArgumentError for data that do not fit the network
   */
  async evaluate(
    data: Dataset,
    option: { batchSize?: number; topK?: number; onProgress?: (done: number, all: number) => void } = {},
  ): Promise<Evaluation> {
    options("evaluate options", option, ["batchSize", "topK", "onProgress"]);
    const { batchSize = EVALUATION_BATCH, topK = Math.min(5, this.classes), onProgress } = option;
    integer("batchSize", batchSize, 1);
    integer("topK", topK, 1, this.classes);
    const samples = this.#checkData("data", data);
    const { labels } = data;
    const { classes } = this;
    const confusion = new Int32Array(classes * classes);
    const spikeSums = new Float64Array(this.#counters);
    let loss = 0;
    let correct = 0;
    let among = 0;
    let operations = 0n;
    for (let first = 0; first < samples.count; first += batchSize) {
      const count = Math.min(batchSize, samples.count - first);
      const order = Uint32Array.from({ length: count }, (_, i) => first + i);
      const capacity = Math.min(batchSize, samples.count);
      const lowered = this.#live.lower("evaluate", this.#purpose("infer", capacity, { count: true }));
      this.#load(lowered, samples, order, labels, 0, 0);
      await this.#runEach(lowered, count);
      const outputs = this.#outputs(lowered, count);
      loss += this.#sumLosses(lowered, count, "evaluation", order);
      for (let i = 0; i < count; i++) {
        const label = labels[first + i];
        const answer = argmax(outputs, i * classes, classes);
        confusion[label * classes + answer]++;
        if (answer === label) correct++;
        if (rankOf(outputs, i * classes, classes, label) < topK) among++;
      }
      const counters = this.#live.u32(lowered.ports.spikes, count * this.#counters);
      for (let i = 0; i < counters.length; i++) spikeSums[i % this.#counters] += counters[i];
      const pairs = this.#live.u32(lowered.ports.operations, count * 2);
      for (let i = 0; i < count; i++) operations += BigInt(pairs[2 * i]) + (BigInt(pairs[2 * i + 1]) << 32n);
      onProgress?.(first + count, samples.count);
    }
    if (this.description.encoder.kind === "spikes") spikeSums[0] = countNonZero(samples.values);
    const { count } = samples;
    const activity = (name: string, kind: string, neurons: number, sum: number): LayerActivity => ({
      name,
      kind,
      neurons,
      spikes: sum / count,
      rate: sum / (count * neurons * this.steps),
    });
    const spiking = this.#model.layers.filter((layer) => layer.spiking);
    return {
      samples: count,
      loss: loss / count,
      accuracy: correct / count,
      topK: { k: topK, accuracy: among / count },
      confusion,
      layers: [
        activity("input", "input", size(this.#model.input), spikeSums[0]),
        ...spiking.map((layer, i) => activity(layer.name, layer.kind, size(layer.extent), spikeSums[i + 1])),
      ],
      synapticOperations: Number(operations) / count,
      denseOperations: this.#model.layers.reduce((sum, layer) => sum + layer.operations, 0) * this.steps,
    };
  }

  /** Inference has one block; it is run sample by sample so that the event loop can turn. */
  async #runEach(lowered: Lowered, count: number): Promise<void> {
    const engine = this.#live;
    engine.u32(lowered.ports.control, Control.Size / 4)[Control.Blocks / 4] = count;
    for (let i = 0; i < count; i++) {
      engine.run(lowered, i, i + 1);
      await breathe();
      if (this.#engine !== engine) throw new StateError("the network was disposed while it computed");
    }
  }

  /**
   * Answers for a batch.
   *
   * @param inputs samples one after another: `[B, …input]`, bytes standing for value / 255; with `spikes()` `[B, T, …input]`
   * @param option `epoch` (0) and `firstSample` (0): keys of the random numbers
   * @returns `outputs` `[B, classes]` and the class with the largest one, of each sample
   * @throws ArgumentError for inputs of another shape or range
   */
  async predict(
    inputs: Float32Array | Uint8Array | Tensor,
    option: { epoch?: number; firstSample?: number } = {},
  ): Promise<{ outputs: Tensor; classes: Int32Array }> {
    options("predict options", option, ["epoch", "firstSample"]);
    const { epoch = 0, firstSample = 0 } = option;
    integer("epoch", epoch, 0);
    integer("firstSample", firstSample, 0);
    const samples = this.#checkInputs(inputs);
    const data = new Float32Array(samples.count * this.classes);
    for (let first = 0; first < samples.count; first += EVALUATION_BATCH) {
      const count = Math.min(EVALUATION_BATCH, samples.count - first);
      const lowered = this.#live.lower("predict", this.#purpose("infer", count));
      const order = Uint32Array.from({ length: count }, (_, i) => first + i);
      this.#load(lowered, samples, order, undefined, epoch, firstSample);
      await this.#runEach(lowered, count);
      data.set(this.#live.f32(lowered.ports.outputs, count * this.classes), first * this.classes);
    }
    const classes = Int32Array.from({ length: samples.count }, (_, i) =>
      argmax(data, i * this.classes, this.classes),
    );
    return { outputs: { shape: [samples.count, this.classes], data }, classes };
  }

  #checkInputs(inputs: Float32Array | Uint8Array | Tensor): Samples {
    const samples = readSamples("inputs", inputs, sampleShape(this.inputShape, this.description.encoder));
    checkRange("inputs", samples, this.description.encoder);
    return samples;
  }

  /**
   * One time step of a live network: the membranes stay as they are between calls.
   *
   * @param input one frame `[…input]`: what to encode (`poisson`) or the spikes of this step (`spikes`)
   * @returns the answer so far, `[classes]`, and the spikes of this step
   */
  step(input: Float32Array): { outputs: Float32Array; spikes: number } {
    const frame = size(this.#model.input);
    if (!(input instanceof Float32Array) || input.length !== frame) {
      throw new ArgumentError(
        "input",
        input instanceof Float32Array ? `${input.length} values` : input,
        `a Float32Array of ${frame} values [${this.inputShape.join(", ")}]`,
      );
    }
    const samples: Samples = { values: input, length: frame, count: 1 };
    checkRange("input", samples, this.description.encoder);
    const engine = this.#live;
    const lowered = engine.lower("step", this.#purpose("step", 1));
    this.#load(lowered, samples, [0], undefined, 0, 0);
    engine.u32(lowered.ports.control, Control.Size / 4)[Control.FirstStep / 4] = this.#liveStep++;
    engine.run(lowered, 0, 1);
    return { outputs: this.#outputs(lowered, 1), spikes: this.#sumSpikes(lowered, 1) };
  }

  /** Sets a live network back to rest. */
  reset(): void {
    this.#live.drop("step");
    this.#liveStep = 0;
  }

  // ---- gradients -----------------------------------------------------------------------------------------------------

  /**
   * Loss, answers and the gradient of every parameter for a batch; the parameters stay as they are.
   *
   * @param labels one class a sample
   * @throws ArgumentError for inputs, labels or masks that do not fit
   * @throws NonFiniteError if the loss is NaN or infinite
   */
  async gradients(
    inputs: Float32Array | Uint8Array | Tensor,
    labels: ArrayLike<number>,
    option: GradientOptions = {},
  ): Promise<Gradients> {
    const samples = this.#checkInputs(inputs);
    this.#checkLabels("labels", labels, samples.count);
    return await this.#differentiate(samples, labels, undefined, option);
  }

  /**
   * Answers for a batch as training computes them (dropout on), remembered for `backward`.
   */
  async forward(
    inputs: Float32Array | Uint8Array | Tensor,
    option: GradientOptions = {},
  ): Promise<{ outputs: Tensor; records: Record<string, Tensor> }> {
    const samples = this.#checkInputs(inputs);
    const copy = { ...samples, values: samples.values.slice() };
    const none = new Float32Array(samples.count * this.classes);
    const { outputs, records } = await this.#differentiate(samples, undefined, none, option);
    this.#forwarded = { samples: copy, option: { ...option, record: [] } };
    return { outputs, records };
  }

  /**
   * Gradients of a loss of the user's own.
   *
   * @param dLdOutput `[B, classes]`: the loss's derivative with respect to the answers of the last `forward`
   * @throws StateError without a `forward` before
   */
  async backward(dLdOutput: Float32Array | Tensor): Promise<Record<string, Tensor>> {
    if (!this.#forwarded) throw new StateError("backward needs a forward before it");
    const { samples, option } = this.#forwarded;
    const data = dLdOutput instanceof Float32Array ? dLdOutput : dLdOutput?.data;
    const count = samples.count * this.classes;
    if (!(data instanceof Float32Array) || data.length !== count) {
      throw new ArgumentError(
        "dLdOutput",
        data?.length === undefined ? data : `${data.length} values`,
        `a Float32Array of ${count} values [${samples.count}, ${this.classes}]`,
      );
    }
    const bad = data.findIndex((x) => !Number.isFinite(x));
    if (bad >= 0) throw new ArgumentError(`dLdOutput[${bad}]`, data[bad], "a finite number");
    return (await this.#differentiate(samples, undefined, data, option)).gradients;
  }

  async #differentiate(
    samples: Samples,
    labels: ArrayLike<number> | undefined,
    given: Float32Array | undefined,
    option: GradientOptions,
  ): Promise<Gradients> {
    options("gradients options", option, ["record", "dropoutMasks", "epoch", "firstSample"]);
    const { record = [], dropoutMasks, epoch = 0, firstSample = 0 } = option;
    integer("epoch", epoch, 0);
    integer("firstSample", firstSample, 0);
    for (const what of record) choice("record", what, ["spikes", "membranes"]);
    const engine = this.#live;
    const { count } = samples;
    const keep = { spikes: record.includes("spikes"), membranes: record.includes("membranes") };
    if (dropoutMasks) this.#checkMasks(dropoutMasks, count);
    const purpose = this.#purpose("train", count, {
      record: keep,
      masks: dropoutMasks !== undefined,
      given: given !== undefined,
    });
    const key = `gradients ${keep.spikes} ${keep.membranes} ${purpose.masks} ${purpose.given}`;
    const lowered = engine.lower(key, purpose);
    const order = Uint32Array.from({ length: count }, (_, i) => i);
    this.#load(lowered, samples, order, labels, epoch, firstSample);
    if (given) engine.f32(lowered.ports.given, given.length).set(given);
    if (dropoutMasks) this.#loadMasks(lowered, dropoutMasks, count);
    await this.#run(lowered);
    const loss = given ? 0 : this.#sumLosses(lowered, count, "gradients", order);
    engine.reduce(lowered);
    const gradients: Record<string, Tensor> = {};
    this.#model.parameters.forEach((spec, i) => {
      gradients[spec.name] = { shape: spec.shape, data: engine.gather(i, engine.gradient(i)) };
    });
    const outputs = { shape: [count, this.classes], data: this.#outputs(lowered, count) };
    const records = this.#readRecords(lowered, count);
    // Records are large and rarely asked for twice.
    if (keep.spikes || keep.membranes) engine.drop(key);
    return { loss, outputs, gradients, records };
  }

  #checkMasks(masks: Readonly<Record<string, Float32Array>>, count: number): void {
    const masked = this.#model.layers.filter((layer) => layer.masked);
    for (const name of Object.keys(masks)) {
      if (!masked.some((layer) => layer.name === name)) {
        throw new ArgumentError(
          `dropoutMasks["${name}"]`,
          name,
          `a layer with dropout: ${masked.map((layer) => layer.name).join(", ") || "there is none"}`,
        );
      }
    }
    for (const layer of masked) {
      const mask = masks[layer.name];
      const need = count * size(layer.extent);
      if (!(mask instanceof Float32Array) || mask.length !== need) {
        throw new ArgumentError(
          `dropoutMasks["${layer.name}"]`,
          mask === undefined ? mask : `${mask.length} values`,
          `a Float32Array of ${need} values [${count}, ${shapeOf(layer.extent).join(", ")}]`,
        );
      }
      const bad = mask.findIndex((x) => !Number.isFinite(x) || x < 0);
      if (bad >= 0)
        throw new ArgumentError(`dropoutMasks["${layer.name}"][${bad}]`, mask[bad], "0 or 1/(1-p)");
    }
  }

  #loadMasks(lowered: Lowered, masks: Readonly<Record<string, Float32Array>>, count: number): void {
    for (const layer of this.#model.layers) {
      const address = lowered.ports.masks.get(layer.name);
      if (address === undefined) continue;
      const layout = new Layout(layer.extent, true);
      const positions = layout.positions();
      const stored = this.#live.f32(address, count * layout.length);
      const mask = masks[layer.name];
      for (let s = 0; s < count; s++) {
        for (let i = 0; i < positions.length; i++)
          stored[s * layout.length + positions[i]] = mask[s * positions.length + i];
      }
    }
  }

  #readRecords(lowered: Lowered, count: number): Record<string, Tensor> {
    const records: Record<string, Tensor> = {};
    for (const port of lowered.ports.records) records[port.name] = readRecord(this.#live, port, count);
    return records;
  }

  /**
   * An optimizer for a loop of the user's own.
   *
   * @throws ArgumentError for settings out of range
   */
  optimizer(descriptor: OptimizerDescriptor): Optimizer {
    const checked = checkOptimizer(descriptor);
    const state = new OptimizerState(this.#live, checked);
    let rate = checked.rate;
    return {
      get rate() {
        return rate;
      },
      set rate(value: number) {
        rate = positive("optimizer.rate", value);
      },
      step: (gradients) => {
        const engine = this.#live;
        if (!engine.gradients) engine.takeGradients(1);
        putGradients(engine, gradients);
        state.step(rate);
      },
      dispose: () => state.dispose(),
    };
  }

  // ---- files ---------------------------------------------------------------------------------------------------------

  /** The network as a safetensors file: parameters in PyTorch's layout, everything else in `__metadata__`. */
  save(): Uint8Array {
    return writeModel({
      network: this.description,
      epoch: this.#epoch,
      step: this.#step,
      parameters: new Map(this.parameters.entries()),
      state: new Map(),
    });
  }

  /**
   * What `save` writes, and the state of the last `fit`: optimizer, settings, position. Training resumed from it ends with
   * the same bits as training that was never stopped.
   *
   * @throws StateError if the network has not been trained since it was made
   */
  checkpoint(): Uint8Array {
    const training = this.#training;
    if (!training)
      throw new StateError("checkpoint needs a fit before it; save() keeps a network that was not trained");
    const { settings, state, epoch, step, loss, correct, seen } = training;
    const engine = this.#live;
    const tensors = new Map<string, Tensor>();
    for (const [kind, stored] of state.tensors()) {
      engine.model.parameters.forEach((spec, i) => {
        const at = engine.offset(i) / 4;
        tensors.set(`${kind}.${spec.name}`, {
          shape: spec.shape,
          data: engine.gather(i, stored.subarray(at, at + spec.length)),
        });
      });
    }
    return writeModel({
      network: this.description,
      epoch: this.#epoch,
      step: this.#step,
      parameters: new Map(this.parameters.entries()),
      training: { ...settings, epoch, step, loss, correct, seen, taken: state.taken },
      state: tensors,
    });
  }

  #checkSame(file: ModelFile): void {
    const mine = JSON.stringify(this.description);
    if (JSON.stringify(file.network) !== mine) {
      throw new FormatError(
        "resume",
        file.network,
        "a checkpoint of this very network: same input, encoder, method, layers, loss and seed",
      );
    }
  }

  #restoreParameters(file: ModelFile): void {
    const engine = this.#live;
    const names = new Set(file.parameters.keys());
    const arrays = this.#model.parameters.map((spec) => {
      const tensor = file.parameters.get(spec.name);
      names.delete(spec.name);
      return checkTensor(spec.name, tensor, spec.shape);
    });
    for (const name of names)
      throw new FormatError(
        `tensor "${name}"`,
        "an unknown tensor",
        `only ${this.parameters.names().join(", ")}`,
      );
    arrays.forEach((array, i) => {
      engine.scatter(i, array, engine.parameter(i));
    });
  }

  #restoreState(state: OptimizerState, file: ModelFile): void {
    const engine = this.#live;
    for (const [kind, stored] of state.tensors()) {
      engine.model.parameters.forEach((spec, i) => {
        const name = `${kind}.${spec.name}`;
        const array = checkTensor(`optimizer.${name}`, file.state.get(name), spec.shape);
        const at = engine.offset(i) / 4;
        engine.scatter(i, array, stored.subarray(at, at + spec.length));
      });
    }
    this.#epoch = file.epoch;
    this.#step = file.step;
  }

  /** Drops the network's memory. Anything but `disposed` and `dispose` throws afterwards. */
  dispose(): void {
    this.#engine = undefined;
    this.#training = undefined;
    this.#forwarded = undefined;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

function checkTensor(name: string, tensor: Tensor | undefined, shape: readonly number[]): Float32Array {
  if (
    tensor === undefined ||
    tensor.shape.length !== shape.length ||
    tensor.shape.some((n, i) => n !== shape[i])
  ) {
    throw new FormatError(
      `tensor "${name}"`,
      tensor && `shape [${tensor.shape.join(", ")}]`,
      `shape [${shape.join(", ")}]`,
    );
  }
  const bad = tensor.data.findIndex((x) => !Number.isFinite(x));
  if (bad >= 0) throw new FormatError(`tensor "${name}"[${bad}]`, tensor.data[bad], "a finite number");
  return tensor.data;
}

/** An iterator that calls `done` once, however it ends: by itself, by an error, by `return` before or after it began. */
function guarded(inner: AsyncGenerator<Progress>, done: () => void): AsyncIterableIterator<Progress> {
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      try {
        const result = await inner.next();
        if (result.done) done();
        return result;
      } catch (error) {
        done();
        throw error;
      }
    },
    async return() {
      try {
        return await inner.return(undefined);
      } finally {
        done();
      }
    },
  };
}

function product(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

function argmax(values: Float32Array, first: number, count: number): number {
  let best = 0;
  for (let k = 1; k < count; k++) if (values[first + k] > values[first + best]) best = k;
  return best;
}

/** How many answers rank before class `k`: larger ones, and equal ones of lower index. */
function rankOf(values: Float32Array, first: number, count: number, k: number): number {
  let rank = 0;
  for (let j = 0; j < count; j++) {
    if (values[first + j] > values[first + k] || (values[first + j] === values[first + k] && j < k)) rank++;
  }
  return rank;
}

function countNonZero(values: Float32Array | Uint8Array): number {
  let n = 0;
  for (let i = 0; i < values.length; i++) if (values[i] !== 0) n++;
  return n;
}
