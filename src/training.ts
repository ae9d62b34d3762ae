import { Stream } from "../assembly/abi.ts";
import { size } from "./core/geometry.ts";
import type { Plan } from "./core/plan.ts";
import type { Dataset } from "./data/dataset.ts";
import { ArgumentError, FormatError, StateError } from "./errors.ts";
import { readRecords, recordsOf } from "./gradients.ts";
import type { Samples } from "./inputs.ts";
import type { Purpose, RecordKind } from "./methods/method.ts";
import { type ModelFile, readModel, type TrainingRecord, writeModel } from "./model-file.ts";
import { OptimizerState } from "./optimizer.ts";
import {
  checkOptimizer,
  checkSchedule,
  type OptimizerDescriptor,
  type ScheduleDescriptor,
  scheduleFactor,
} from "./optimizers.ts";
import { checkTensor, type Parameters, restoreParameters } from "./parameters.ts";
import type { Runner } from "./runner.ts";
import type { Tensor } from "./tensor.ts";
import { integer, options } from "./validate.ts";

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
  /** What to keep of every layer of each batch, as `gradients` does, for `Progress.records`: memory that grows with T. */
  readonly record?: readonly RecordKind[];
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
  /** What `record` asked for, of this batch. */
  readonly records?: Record<string, Tensor>;
}

interface Training {
  readonly state: OptimizerState;
  readonly keep: Purpose["record"];
  readonly settings: Omit<TrainingRecord, "epoch" | "step" | "loss" | "correct" | "seen" | "taken">;
  epoch: number;
  step: number;
  loss: number;
  correct: number;
  seen: number;
}

/** Trains a network; keeps how far it has come. */
export class Trainer {
  /** Epochs and steps of all training so far. */
  epoch = 0;
  step = 0;
  readonly #runner: Runner;
  readonly #parameters: Parameters;
  #training: Training | undefined;
  #running = false;

  constructor(runner: Runner, parameters: Parameters) {
    this.#runner = runner;
    this.#parameters = parameters;
  }

  /** Parameters and counts from a file. */
  restore(file: ModelFile): void {
    restoreParameters(this.#runner, file);
    this.epoch = file.epoch;
    this.step = file.step;
  }

  /** The network as a file; with the state of the last `fit` if `state` says so. */
  save(state: boolean): Uint8Array {
    // Weights that change within a batch are no state to go on from.
    if (this.#runner.model.online) this.#runner.requireIdle(state ? "checkpoint" : "save");
    const tensors = new Map<string, Tensor>();
    let record: TrainingRecord | undefined;
    if (state) {
      const training = this.#training;
      if (!training)
        throw new StateError("checkpoint needs a fit before it; save() keeps a network that was not trained");
      const { settings, state: optimizer, epoch, step, loss, correct, seen } = training;
      record = { ...settings, epoch, step, loss, correct, seen, taken: optimizer.taken };
      const { engine } = this.#runner;
      for (const [kind, stored] of optimizer.tensors()) {
        engine.model.parameters.forEach((spec, i) => {
          const at = engine.offset(i) / 4;
          tensors.set(`${kind}.${spec.name}`, {
            shape: spec.shape,
            data: engine.gather(i, stored.subarray(at, at + spec.length)),
          });
        });
      }
    }
    return writeModel({
      network: this.#runner.description,
      epoch: this.epoch,
      step: this.step,
      parameters: new Map(this.#parameters.entries()),
      training: record,
      state: tensors,
    });
  }

  /**
   * Trains on `data`: an async iterable with a record after every batch. It can be broken off; it lets the event loop turn.
   * The result depends on network, data, seed and settings alone.
   *
   * @throws ArgumentError for settings or data out of range, before anything is computed
   * @throws StateError if the network is training already, or was disposed
   * @throws NonFiniteError if a loss becomes NaN or infinite; the parameters are those before that step
   */
  start(data: Dataset, option: FitOptions = {}): AsyncIterableIterator<Progress> {
    options("fit options", option, [
      "epochs",
      "batchSize",
      "optimizer",
      "schedule",
      "shuffle",
      "resume",
      "record",
      "signal",
    ]);
    const samples = this.#runner.checkData("data", data);
    const engine = this.#runner.engine;
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
    const keep = recordsOf(option.record ?? [], this.#runner.model);
    this.#runner.requireIdle("fit");
    const capacity = Math.min(settings.batchSize, samples.count);
    this.#training?.state.dispose();
    const state = new OptimizerState(engine, settings.optimizer);
    // A program that learns by itself holds the addresses of the state before; another may record something else.
    engine.drop("train");
    // All memory is taken before the first step: what does not fit is refused here.
    engine.lower("train", this.#purpose(capacity, state, keep));
    const training: Training = {
      settings,
      state,
      keep,
      epoch: record?.epoch ?? 0,
      step: record?.step ?? 0,
      loss: record?.loss ?? 0,
      correct: record?.correct ?? 0,
      seen: record?.seen ?? 0,
    };
    if (file && record) {
      this.restore(file);
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

  #purpose(capacity: number, state: OptimizerState, record: Purpose["record"]): Purpose {
    const learn = (plan: Plan) => state.emit(plan);
    return this.#runner.purpose(
      "train",
      capacity,
      this.#runner.model.online ? { record, learn } : { record },
    );
  }

  /** Copies what a batch changes while it runs; what is returned puts it back. */
  #snapshot(state: OptimizerState): () => void {
    const { engine } = this.#runner;
    const { taken } = state;
    const parameters = engine.allParameters().slice();
    const tensors = [...state.tensors().values()].map((tensor) => tensor.slice());
    return () => {
      engine.allParameters().set(parameters);
      [...state.tensors().values()].forEach((tensor, i) => {
        tensor.set(tensors[i]);
      });
      state.taken = taken;
    };
  }

  async *#train(
    training: Training,
    samples: Samples,
    labels: ArrayLike<number>,
    capacity: number,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Progress> {
    const { settings } = training;
    const { count } = samples;
    const { batchSize, epochs } = settings;
    const steps = Math.ceil(count / batchSize);
    const layers = this.#runner.model.layers.filter((layer) => layer.spiking);
    const neurons = layers.reduce((sum, layer) => sum + size(layer.extent), 0);
    let order: Uint32Array | undefined;
    let ordered = -1;
    let spent = 0;
    let done = 0;
    while (training.epoch < epochs) {
      if (signal?.aborted) return;
      const began = performance.now();
      const { epoch, step } = training;
      if (order === undefined || ordered !== epoch) {
        order = settings.shuffle
          ? this.#runner.engine.permutation(count, epoch, Stream.Shuffle)
          : Uint32Array.from({ length: count }, (_, i) => i);
        ordered = epoch;
      }
      const batch = order.subarray(step * batchSize, Math.min((step + 1) * batchSize, count));
      const rate =
        settings.optimizer.rate *
        scheduleFactor(settings.schedule ?? undefined, epoch * steps + step, steps, epochs);
      const found = await this.#learn(training, samples, labels, batch, capacity, rate, step + 1 === steps);
      spent += (performance.now() - began) / 1000;
      done += batch.length;
      const samplesPerSecond = done / spent;
      yield {
        epoch,
        epochs,
        step: step + 1,
        steps,
        samples: found.seen,
        loss: found.loss / batch.length,
        accuracy: found.correct / batch.length,
        epochLoss: found.epochLoss / found.seen,
        epochAccuracy: found.epochCorrect / found.seen,
        spikesPerNeuron: neurons ? found.spikes / (neurons * batch.length) : 0,
        rate,
        samplesPerSecond,
        secondsLeft: ((epochs - epoch) * count - found.seen) / samplesPerSecond,
        ...found.records,
      };
    }
  }

  /**
   * One batch and one step of the optimizer. Parameters and position change at once, so that no checkpoint finds them out
   * of tune; after the `last` batch of an epoch the position is the beginning of the next.
   */
  async #learn(
    training: Training,
    samples: Samples,
    labels: ArrayLike<number>,
    batch: Uint32Array,
    capacity: number,
    rate: number,
    last: boolean,
  ) {
    const runner = this.#runner;
    return await runner.alone(async () => {
      const { engine } = runner;
      const { epoch, step } = training;
      training.state.rate = rate;
      const lowered = engine.lower("train", this.#purpose(capacity, training.state, training.keep));
      const restore = runner.model.online ? this.#snapshot(training.state) : undefined;
      runner.load(lowered, samples, batch, labels, epoch, 0);
      await runner.run(lowered);
      let loss: number;
      try {
        loss = runner.sumLosses(lowered, batch.length, `epoch ${epoch}, step ${step}`, batch);
      } catch (error) {
        restore?.();
        throw error;
      }
      if (!runner.model.online) {
        engine.reduce(lowered);
        training.state.step();
        engine.takeStatistics();
      }
      const correct = runner.countCorrect(runner.outputs(lowered, batch.length), batch, labels);
      const spikes = runner.sumSpikes(lowered, batch.length);
      const epochLoss = training.loss + loss;
      const epochCorrect = training.correct + correct;
      const seen = training.seen + batch.length;
      const next = last ? [epoch + 1, 0, 0, 0, 0] : [epoch, step + 1, epochLoss, epochCorrect, seen];
      [training.epoch, training.step, training.loss, training.correct, training.seen] = next;
      this.step++;
      if (last) this.epoch++;
      const kept = Object.values(training.keep).includes(true);
      const records = kept ? { records: readRecords(runner, lowered, batch.length) } : {};
      return { loss, correct, spikes, epochLoss, epochCorrect, seen, records };
    });
  }

  #checkSame(file: ModelFile): void {
    const mine = JSON.stringify(this.#runner.description);
    if (JSON.stringify(file.network) !== mine) {
      throw new FormatError(
        "resume",
        file.network,
        "a checkpoint of this very network: same input, encoder, method, layers, loss and seed",
      );
    }
  }

  #restoreState(state: OptimizerState, file: ModelFile): void {
    const engine = this.#runner.engine;
    for (const [kind, stored] of state.tensors()) {
      engine.model.parameters.forEach((spec, i) => {
        const name = `${kind}.${spec.name}`;
        const array = checkTensor(`optimizer.${name}`, file.state.get(name), spec.shape);
        const at = engine.offset(i) / 4;
        engine.scatter(i, array, stored.subarray(at, at + spec.length));
      });
    }
  }

  dispose(): void {
    this.#training = undefined;
  }
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
