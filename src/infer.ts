/**
 * Inference alone, for the edge: loads what `network.save()` wrote, and answers with the same bits. Its core has no training in it.
 *
 * @module spikegrad/infer
 */
import { Engine } from "./core/engine.ts";
import type { WasmSource } from "./core/wasm.ts";
import { modelInFile } from "./description.ts";
import { type Prediction, type PredictOptions, predict } from "./evaluation.ts";
import { Live, type LiveStep } from "./live.ts";
import { coreOf } from "./methods/cores.ts";
import { type NetworkDescription, readModel } from "./model-file.ts";
import { restoreParameters } from "./parameters.ts";
import { Runner } from "./runner.ts";
import type { Tensor } from "./tensor.ts";
import { options } from "./validate.ts";

export type { WasmSource } from "./core/wasm.ts";
export {
  ArgumentError,
  FileError,
  FormatError,
  MemoryError,
  MissingError,
  SpikegradError,
  StateError,
} from "./errors.ts";
export type { Prediction, PredictOptions } from "./evaluation.ts";
export type { LiveStep } from "./live.ts";
export type { NetworkDescription } from "./model-file.ts";
export type { Tensor } from "./tensor.ts";

/** What `loadNetwork` of `spikegrad/infer` takes beside bytes. */
export interface InferOptions {
  /**
   * The core from elsewhere, where bytes may not be compiled at run time: a module, its bytes, a response or a URL. Any core of
   * the package does; `spikegrad/spikegrad.infer.wasm` is the small one.
   */
  readonly wasm?: WasmSource;
}

/**
 * A network for inference from the bytes of `save()` or `checkpoint()` of the whole library.
 *
 * @param bytes the whole file
 * @param option where the core comes from: see `InferOptions`
 * @returns the network; it answers with the same bits as the one that was saved
 * @throws ArgumentError if `bytes` is no `Uint8Array` (an `ArrayBuffer` goes into `new Uint8Array(buffer)`), for an unknown option
 * @throws FormatError for bytes that are truncated, inconsistent, of another program or version; for a `wasm` that is no core of
 *   this version
 * @throws MemoryError if the parameters do not fit
 * @throws MissingError where WebAssembly is not to be had, or a policy forbids to compile it
 * @throws FileError for a `wasm` address that cannot be fetched
 */
export async function loadNetwork(bytes: Uint8Array, option: InferOptions = {}): Promise<InferenceNetwork> {
  const { wasm } = options("loadNetwork options", option, ["wasm"]);
  const file = readModel(bytes);
  // Both files of the method are asked for at once.
  const [own, { description, model }] = await Promise.all([
    wasm === undefined ? coreOf(file.network.method?.kind) : undefined,
    modelInFile(file),
  ]);
  const runner = new Runner(description, await Engine.create(model, description.seed, { wasm, own }));
  restoreParameters(runner, file);
  return new InferenceNetwork(runner);
}

/** A network that answers and does not learn. Made by `loadNetwork` of `spikegrad/infer`. */
export class InferenceNetwork {
  /** Everything but the weights, as plain data. */
  readonly description: NetworkDescription;
  /** Number of classes: of answers a sample. */
  readonly classes: number;
  readonly #runner: Runner;
  readonly #live: Live;

  /** @internal */
  constructor(runner: Runner) {
    this.description = runner.description;
    this.classes = runner.classes;
    this.#runner = runner;
    this.#live = new Live(runner);
  }

  /** Shape of one input, `[channels, height, width]` or `[features]`. */
  get inputShape(): readonly number[] {
    return this.description.input;
  }

  /** Time steps T a sample; 1 where time is continuous (`stdbp`). */
  get steps(): number {
    return this.description.encoder.steps;
  }

  /** Whether `dispose` was called. */
  get disposed(): boolean {
    return this.#runner.disposed;
  }

  /**
   * Answers for a batch of any size.
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

  /** Drops the network's memory. Anything but `disposed` and `dispose` throws afterwards. */
  dispose(): void {
    this.#runner.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
