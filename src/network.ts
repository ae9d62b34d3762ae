/// <reference lib="esnext.disposable" preserve="true" />
import { Stream } from "../assembly/abi.ts";
import { Engine, type EngineOptions } from "./core/engine.ts";
import { shapeOf } from "./core/geometry.ts";
import type { Threads } from "./core/threads.ts";
import type { Build, WasmSource } from "./core/wasm.ts";
import type { Dataset } from "./data/dataset.ts";
import { describe, modelInFile, modelOf } from "./description.ts";
import type { EncoderDescriptor } from "./encoders.ts";
import { ArgumentError, StateError } from "./errors.ts";
import {
  type EvaluateOptions,
  type Evaluation,
  evaluate,
  type Prediction,
  type PredictOptions,
  predict,
} from "./evaluation.ts";
import type { GradientCheck, GradientCheckOptions } from "./gradient-check.ts";
import { differentiate, type Forward, type GradientOptions, type Gradients } from "./gradients.ts";
import { type InitializerDescriptor, initials } from "./initializers.ts";
import type { Samples } from "./inputs.ts";
import type { CanonicalLayer, LayerDescriptor } from "./layers.ts";
import { Live, type LiveStep } from "./live.ts";
import type { LossDescriptor } from "./losses.ts";
import { placeOf } from "./methods/flatten.ts";
import { type MethodDescriptor, methodOf } from "./methods/index.ts";
import type { Method, Model } from "./methods/method.ts";
import { type ModelFile, type NetworkDescription, readModel } from "./model-file.ts";
import type { LayerMembranes } from "./normalize.ts";
import { type Optimizer, OptimizerState, putGradients, stateTensors } from "./optimizer.ts";
import { checkOptimizer, type OptimizerDescriptor } from "./optimizers.ts";
import { openParameters, type Parameters } from "./parameters.ts";
import { Runner } from "./runner.ts";
import type { Tensor } from "./tensor.ts";
import { Trainer } from "./training.ts";
import type { Progress } from "./training-run.ts";
import type { FitOptions } from "./training-settings.ts";
import { findNonFinite, integer, options, positive } from "./validate.ts";

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
  /** How weights start, unless their layer says. Default: the method's way. */
  readonly initializer?: InitializerDescriptor;
  /**
   * Build of the core. Default `"auto"`: SIMD where the engine has it. All give the same bits. `"threads"` is that of `threads`; on one
   * thread it is as `"auto"`. `network.build` says which it is.
   */
  readonly build?: "auto" | Build;
  /** The core from elsewhere, where bytes may not be compiled at run time: a module, its bytes, a response or a URL. */
  readonly wasm?: WasmSource;
  /**
   * Threads that compute a batch, each in a worker of its own: a number, or `"auto"` for one a processor, at most eight. The
   * bits are the same with any number. Default 1: no workers, no shared memory. Where threads cannot be had it computes on one
   * and `network.threads` says why.
   */
  readonly threads?: "auto" | number;
}

/** What `loadNetwork` takes beside bytes. */
export type LoadOptions = Pick<NetworkOptions, "build" | "wasm" | "threads">;

/** Neurons of one layer. */
export interface LayerNeurons {
  /** The layer's name. */
  readonly name: string;
  /** Kind of the layer that feeds them, `"conv2d"`, `"dense"`, …, or of the pool that they are. */
  readonly kind: string;
  /** `[channels, height, width]`, or `[features]`. */
  readonly shape: readonly number[];
}

/** Linear memory that a network takes, and would take, in bytes. */
export interface MemoryUse {
  /** Taken now. */
  readonly bytes: number;
  /**
   * What training takes in all: parameters, gradients, the optimizer's state and what a batch needs.
   *
   * @param batchSize samples a batch
   * @param optimizer with its state; left out: one momentum
   * @throws ArgumentError for a batch size that is no positive integer, or settings out of range
   */
  training(batchSize: number, optimizer?: OptimizerDescriptor): number;
  /**
   * What inference takes in all.
   *
   * @param batchSize samples a batch
   * @throws ArgumentError for a batch size that is no positive integer
   */
  inference(batchSize: number): number;
}

/**
 * Makes a network with random weights. They, and everything random later on, are a function of `seed`.
 *
 * @param option input, encoder, method and layers; the rest has defaults: see `NetworkOptions`
 * @returns the network; `dispose()` gives its memory back, or the garbage collector does
 * @throws ArgumentError for layers that do not fit each other, any setting out of range, or an unknown option, before anything is
 *   computed
 * @throws MemoryError if the parameters do not fit
 * @throws MissingError where WebAssembly, or the build asked for, is not to be had, or a policy forbids to compile it
 * @throws FormatError, FileError for a `wasm` that is no core of this version, or cannot be fetched
 */
export async function createNetwork(option: NetworkOptions): Promise<Network> {
  const known = [
    "input",
    "encoder",
    "method",
    "layers",
    "seed",
    "loss",
    "initializer",
    "build",
    "wasm",
    "threads",
  ];
  const { description, method } = await describe(options("createNetwork", option, known));
  const network = await Network.open(description, modelAsListed(description, method), option);
  network[INITIALIZE]();
  return network;
}

/**
 * A network from the bytes of `save()` or `checkpoint()`: layers, method, encoder, seed and parameters are in them. It answers with
 * the same bits as the one that was saved.
 *
 * @param bytes the whole file
 * @param option where the core comes from: as in `NetworkOptions`
 * @returns the network; training goes on with `fit(data, { resume: bytes })` if they are a checkpoint's
 * @throws ArgumentError if `bytes` is no `Uint8Array` (an `ArrayBuffer` goes into `new Uint8Array(buffer)`), for an unknown option
 * @throws FormatError for bytes that are truncated, inconsistent, of another program or version; for a `wasm` that is no core of
 *   this version
 * @throws MemoryError if the parameters do not fit
 * @throws MissingError where WebAssembly, or the build asked for, is not to be had
 * @throws FileError for a `wasm` address that cannot be fetched
 */
export async function loadNetwork(bytes: Uint8Array, option: LoadOptions = {}): Promise<Network> {
  options("loadNetwork options", option, ["build", "wasm", "threads"]);
  const file = readModel(bytes);
  const { description, model } = await modelInFile(file);
  const network = await Network.open(description, model, option);
  try {
    network[RESTORE](file);
  } catch (error) {
    network.dispose();
    throw error;
  }
  return network;
}

/** The same, errors naming places in the list that the user gave. */
function modelAsListed(description: NetworkDescription, method: Method<MethodDescriptor>): Model {
  try {
    return modelOf(description, method);
  } catch (error) {
    if (!(error instanceof ArgumentError)) throw error;
    const [all, index, field] = /^layers\[(\d+)\](.*)$/.exec(error.argument ?? "") ?? [];
    if (!all) throw error;
    // A neuron that was put in belongs to the layer before it.
    const before = description.layers.slice(0, Number(index) + 1).reverse();
    const place = before.map(placeOf).find((found) => found !== undefined);
    if (place === undefined) throw error;
    throw new ArgumentError(place + field, error.value, error.expected ?? "", { cause: error });
  }
}

const INITIALIZE = Symbol("initialize");
const RESTORE = Symbol("restore");

/** A spiking network. Made by `createNetwork` or `loadNetwork`. */
export class Network {
  /** Everything but the weights, as plain data. */
  readonly description: NetworkDescription;
  /** Number of classes: of answers a sample. */
  readonly classes: number;
  /** Parameters by name, in PyTorch's layout. */
  readonly parameters: Parameters;
  readonly #runner: Runner;
  readonly #model: Model;
  readonly #trainer: Trainer;
  readonly #live: Live;
  #forwarded: { samples: Samples; option: GradientOptions } | undefined;

  private constructor(description: NetworkDescription, engine: Engine) {
    this.description = description;
    this.#runner = new Runner(description, engine);
    this.#model = engine.model;
    this.classes = engine.model.classes;
    this.parameters = openParameters(this.#runner);
    this.#trainer = new Trainer(this.#runner, this.parameters);
    this.#live = new Live(this.#runner);
  }

  /** @internal */
  static async open(description: NetworkDescription, model: Model, option: EngineOptions): Promise<Network> {
    return new Network(description, await Engine.create(model, description.seed, option));
  }

  /** @internal */
  [INITIALIZE](): void {
    const { layers, initializer } = this.description;
    this.#runner.engine.initialize(Stream.Init, initials(this.#model.parameters, layers, initializer));
  }

  /** @internal */
  [RESTORE](file: ModelFile): void {
    this.#trainer.restore(file);
  }

  /** Shape of one input, `[channels, height, width]` or `[features]`, as `createNetwork` was given it. */
  get inputShape(): readonly number[] {
    return this.description.input;
  }

  /** Time steps T a sample; 1 where time is continuous (`stdbp`). */
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
    return this.#runner.engine.build;
  }

  /** Threads that compute its batches, and why it is one where more were asked for. */
  get threads(): Threads {
    return this.#runner.engine.threads;
  }

  /** Whether `dispose` was called. */
  get disposed(): boolean {
    return this.#runner.disposed;
  }

  /** Neurons by layer, the input left out. */
  get neurons(): readonly LayerNeurons[] {
    return this.#model.layers.map((layer) => ({
      name: layer.name,
      kind: layer.kind,
      shape: shapeOf(layer.extent),
    }));
  }

  /**
   * Linear memory in bytes: taken now, and what training or inference on batches of a size takes, announced before it is taken.
   *
   * @throws ArgumentError from its functions
   * @throws StateError if the network was disposed
   */
  get memory(): MemoryUse {
    const engine = this.#runner.engine;
    const parameters = engine.gradientBytes;
    return {
      bytes: engine.bytesUsed,
      training: (batchSize, optimizer) => {
        integer("batchSize", batchSize, 1);
        const state = optimizer === undefined ? 1 : stateTensors(checkOptimizer(optimizer));
        return (1 + state) * parameters + engine.measure(this.#runner.purpose("train", batchSize));
      },
      inference: (batchSize) =>
        parameters + engine.measure(this.#runner.purpose("infer", integer("batchSize", batchSize, 1))),
    };
  }

  // ---- training ------------------------------------------------------------------------------------------------------

  /**
   * Trains on `data`: an async iterable with a record after every batch. It can be broken off; it lets the event loop turn.
   * Nothing happens until it is iterated. The result depends on network, data, seed and settings alone.
   *
   * @param data samples `[…input]` (with `spikes()` `[T, …input]`) and their classes
   * @param option optimizer, epochs, batches, validation and more: see `FitOptions`
   * @throws ArgumentError for settings or data out of range, before anything is computed
   * @throws FormatError for a `resume` that is no checkpoint of this very network
   * @throws MemoryError if a batch does not fit: a smaller `batchSize` may
   * @throws StateError if the network is training already, computes what was asked of it before, or was disposed
   * @throws NonFiniteError if a loss or gradient becomes NaN or infinite, or a step so large that parameters would; the
   *   parameters are those before that step
   */
  fit(data: Dataset, option: FitOptions = {}): AsyncIterableIterator<Progress> {
    return this.#trainer.start(data, option);
  }

  // ---- evaluation ----------------------------------------------------------------------------------------------------

  /**
   * Runs `data` through the network without learning: no dropout, running statistics, the random numbers of epoch 0.
   *
   * @param data samples `[…input]` (with `spikes()` `[T, …input]`) and their classes
   * @param option batches, k, progress: see `EvaluateOptions`
   * @throws ArgumentError for data that do not fit the network, or an option out of range
   * @throws MemoryError if a batch does not fit
   * @throws NonFiniteError if a loss is NaN or infinite (`stdbp` alone may have infinite ones)
   * @throws StateError if the network was disposed
   */
  async evaluate(data: Dataset, option: EvaluateOptions = {}): Promise<Evaluation> {
    return await evaluate(this.#runner, data, option);
  }

  /**
   * Answers for a batch of any size, without labels and without learning.
   *
   * @param inputs samples one after another: `[B, …input]`, bytes standing for value / 255; with `spikes()` `[B, T, …input]`
   * @param option keys of the random numbers: see `PredictOptions`
   * @throws ArgumentError for inputs of another shape or range, or an option out of range
   * @throws MemoryError if a batch does not fit
   * @throws StateError if the network was disposed
   */
  async predict(
    inputs: Float32Array | Uint8Array | Tensor,
    option: PredictOptions = {},
  ): Promise<Prediction> {
    return await predict(this.#runner, inputs, option);
  }

  /**
   * One time step of a live network: the membranes stay as they are between calls, for as many steps as you like; `reset` sets
   * them back. The first T steps on one sample's frames give the spikes that `predict` has.
   *
   * @param input one frame `[…input]`: what to encode (`poisson`, `direct`, `latency`) or the spikes of this step (`spikes`)
   * @throws ArgumentError for a frame of another length or range
   * @throws MemoryError if the network's state does not fit
   * @throws StateError if the method has no time steps (`stdbp`), or the network was disposed
   */
  step(input: Float32Array): LiveStep {
    return this.#live.step(input);
  }

  /**
   * Sets a live network back to rest: what `step` has done is forgotten.
   *
   * @throws StateError if the network was disposed
   */
  reset(): void {
    this.#live.reset();
  }

  // ---- gradients -----------------------------------------------------------------------------------------------------

  /**
   * Loss, answers and the gradient of every parameter for a batch as training computes them (dropout on); the parameters stay as
   * they are.
   *
   * @param inputs samples one after another, as `predict` takes them
   * @param labels one class a sample, `[B]`
   * @param option records, masks, keys of the random numbers: see `GradientOptions`
   * @throws ArgumentError for inputs, labels or masks that do not fit
   * @throws MemoryError if the batch does not fit; there is no smaller one than was asked for
   * @throws NonFiniteError if the loss is NaN or infinite
   * @throws StateError if the network was disposed
   */
  async gradients(
    inputs: Float32Array | Uint8Array | Tensor,
    labels: ArrayLike<number>,
    option: GradientOptions = {},
  ): Promise<Gradients> {
    const samples = this.#runner.checkInputs(inputs);
    this.#runner.checkLabels("labels", labels, samples.count);
    return await differentiate(this.#runner, samples, labels, undefined, option);
  }

  /**
   * Rescales the layers of a `decolle` network, input side first, until the membranes U of each have mean 0 ± 0.2 and
   * variance 1 ± 0.1 over steps, samples and units of `inputs`: a batch of some dozens of the training data. Once, before the
   * first `fit`: random weights alone leave deep layers silent. Weights and biases change, nothing else; memory grows with T.
   *
   * (As Mishkin and Matas 2016 for ordinary networks.)
   *
   * @param inputs samples one after another, as `predict` takes them
   * @returns what mean and variance each layer has come to, over at most 20 rounds
   * @throws ArgumentError for inputs of another shape or range
   * @throws MemoryError if the membranes of all steps do not fit: a smaller batch may
   * @throws NonFiniteError if a loss becomes NaN or infinite
   * @throws StateError for other methods, if a layer gets no spikes at all, while the network computes, or if it was disposed
   */
  async normalizeActivity(inputs: Float32Array | Uint8Array | Tensor): Promise<LayerMembranes[]> {
    const { normalizeActivity } = await import("./normalize.ts");
    this.#runner.requireIdle("normalizeActivity");
    return await normalizeActivity(this.#runner, this.parameters, this.#runner.checkInputs(inputs));
  }

  /**
   * A network of its own that answers as `evaluate` and `predict` do here, with every batch normalisation taken into the
   * layer before it: `W' = W · γ / sqrt(σ² + ε)`, `b' = (b - μ) · γ / sqrt(σ² + ε) + β` with the running mean μ and variance
   * σ². For inference: smaller and faster. Weights are rounded anew, so a membrane that all but equals its threshold may
   * spike in one network and not in the other. Training the result goes on without normalisation, on one thread.
   *
   * @throws StateError if there is no batch normalisation, the network computes, or was disposed
   * @throws MemoryError if its parameters do not fit
   */
  async foldBatchNorm(): Promise<Network> {
    const { foldNorms } = await import("./fold.ts");
    this.#runner.requireIdle("foldBatchNorm");
    const { description, values } = foldNorms(this.description, this.parameters);
    const { build, module } = this.#runner.engine;
    const model = modelOf(description, await methodOf(description.method));
    const network = await Network.open(description, model, { build, wasm: module });
    for (const [name, data] of values) network.parameters.set(name, data);
    return network;
  }

  /**
   * Checks the gradients that this network gives for a batch, on a copy: against the other build of the core, bit by bit;
   * and, where the method's gradient is a derivative, against central finite differences: of the loss (`stdbp`), or of the
   * loss of the network in which each spike is the primitive of its surrogate (`surrogate` on membranes, `decolle`). Takes two
   * forward passes for each element and step size tried: for small batches.
   *
   * @param inputs samples one after another, as `predict` takes them
   * @param labels one class a sample, `[B]`
   * @param option elements, tolerance, masks, keys of the random numbers: see `GradientCheckOptions`
   * @throws ArgumentError for inputs, labels or settings that do not fit
   * @throws MemoryError if the batch does not fit, for the copy too
   * @throws MissingError, FormatError, FileError where the other build is not to be had
   * @throws NonFiniteError if the loss is NaN or infinite
   * @throws StateError if the network was disposed
   */
  async checkGradients(
    inputs: Float32Array | Uint8Array | Tensor,
    labels: ArrayLike<number>,
    option: GradientCheckOptions = {},
  ): Promise<GradientCheck> {
    const samples = this.#runner.checkInputs(inputs);
    this.#runner.checkLabels("labels", labels, samples.count);
    const { checkGradients } = await import("./gradient-check.ts");
    return await checkGradients(this.#runner, samples, labels, option);
  }

  /**
   * Answers for a batch as training computes them (dropout on), remembered for `backward`: for losses of your own.
   *
   * @param inputs samples one after another, as `predict` takes them
   * @param option records, masks, keys of the random numbers: see `GradientOptions`
   * @throws ArgumentError for inputs or masks that do not fit
   * @throws MemoryError if the batch does not fit
   * @throws NonFiniteError if an answer is NaN or infinite
   * @throws StateError for `decolle`, whose layers have losses of their own; if the network was disposed
   */
  async forward(inputs: Float32Array | Uint8Array | Tensor, option: GradientOptions = {}): Promise<Forward> {
    const samples = this.#runner.checkInputs(inputs);
    const copy = { ...samples, values: samples.values.slice() };
    const none = new Float32Array(samples.count * this.classes);
    const { outputs, records } = await differentiate(this.#runner, samples, undefined, none, option);
    this.#forwarded = { samples: copy, option: { ...option, record: [] } };
    return { outputs, records };
  }

  /**
   * Gradients of a loss of the user's own, by the method's rule from the answers down.
   *
   * @param dLdOutput `[B, classes]`: the loss's derivative with respect to the answers of the last `forward`
   * @returns dL/dw of every trainable parameter, by its name; `optimizer(…).step` takes it
   * @throws ArgumentError for another number of values, NaN and infinities
   * @throws MemoryError if the batch does not fit
   * @throws NonFiniteError if something becomes NaN or infinite on the way
   * @throws StateError without a `forward` before, or if the network was disposed
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
    const bad = findNonFinite(data);
    if (bad >= 0) throw new ArgumentError(`dLdOutput[${bad}]`, data[bad], "a finite number");
    return (await differentiate(this.#runner, samples, undefined, data, option)).gradients;
  }

  /**
   * An optimizer for a loop of the user's own; its state is zero at first.
   *
   * @param descriptor `sgd(…)`, `adam(…)`, `adamw(…)` or `adamax(…)`
   * @throws ArgumentError for settings out of range
   * @throws MemoryError if its state does not fit
   * @throws NonFiniteError from `step`
   * @throws StateError if the network was disposed
   */
  optimizer(descriptor: OptimizerDescriptor): Optimizer {
    const checked = checkOptimizer(descriptor);
    const state = new OptimizerState(this.#runner.engine, checked);
    return {
      get rate() {
        return state.rate;
      },
      set rate(value: number) {
        state.rate = positive("optimizer.rate", value);
      },
      step: (gradients) => {
        const engine = this.#runner.engine;
        this.#runner.requireIdle("optimizer.step");
        if (!engine.gradients) engine.takeGradients(1);
        putGradients(engine, gradients);
        state.step("optimizer.step");
      },
      dispose: () => state.dispose(),
    };
  }

  // ---- files ---------------------------------------------------------------------------------------------------------

  /**
   * The network as a safetensors file: parameters in PyTorch's layout, everything else in `__metadata__`. Equal networks give
   * equal bytes.
   *
   * @throws MemoryError if the runtime refuses the memory for the file
   * @throws StateError if the network was disposed, and of one whose weights change within a batch (`decolle`, `stdbp` with
   *   `silentNudge`) while it learns; between batches never
   */
  save(): Uint8Array {
    return this.#trainer.save(false);
  }

  /**
   * What `save` writes, and the state of the last `fit`: optimizer, settings, position. Training resumed from it ends with
   * the same bits as training that was never stopped.
   *
   * @throws MemoryError if the runtime refuses the memory for the file
   * @throws StateError if the network has not been trained since it was made, or was disposed; while it learns: see `save`
   */
  checkpoint(): Uint8Array {
    return this.#trainer.save(true);
  }

  /** Drops the network's memory. Anything but `disposed` and `dispose` throws afterwards. */
  dispose(): void {
    this.#runner.dispose();
    this.#trainer.dispose();
    this.#forwarded = undefined;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
