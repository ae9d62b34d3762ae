import type { Dataset } from "./data/dataset.ts";
import { FormatError, StateError } from "./errors.ts";
import { recordsOf } from "./gradients.ts";
import {
  inFile,
  type ModelFile,
  readModel,
  type TrainingPosition,
  type TrainingRecord,
  type TrainingSettings,
  trainingOf,
  writeModel,
} from "./model-file.ts";
import { type OptimizerState, stateNames } from "./optimizer.ts";
import { checkParameters, checkTensor, type Parameters, restoreParameters } from "./parameters.ts";
import type { Runner } from "./runner.ts";
import type { Tensor } from "./tensor.ts";
import { type Progress, type TrainingCounts, TrainingRun } from "./training-run.ts";
import { checkFitOptions, type FitOptions, fitSettings } from "./training-settings.ts";

/** Trains a network, one `fit` at a time; keeps how far it has come. */
export class Trainer {
  readonly #runner: Runner;
  readonly #parameters: Parameters;
  /** Epochs and steps of all training so far. */
  readonly #counts: TrainingCounts = { epoch: 0, step: 0 };
  #run: TrainingRun | undefined;
  #running = false;

  constructor(runner: Runner, parameters: Parameters) {
    this.#runner = runner;
    this.#parameters = parameters;
    runner.stored = () => this.#run?.parameters();
  }

  /**
   * Trains on `data`: an async iterable with a record after every batch. It can be broken off; it lets the event loop turn.
   * The result depends on network, data, seed and settings alone.
   *
   * @throws ArgumentError for settings or data out of range, before anything is computed
   * @throws StateError if the network is training already, computes what was asked of it before, or was disposed
   * @throws NonFiniteError if a loss or gradient becomes NaN or infinite, or a step so large that parameters would; the
   *   parameters are those before that step
   */
  start(data: Dataset, option: FitOptions = {}): AsyncIterableIterator<Progress> {
    checkFitOptions(option);
    const runner = this.#runner;
    const samples = runner.checkData("data", data);
    const { validation, resume, signal } = option;
    const held = validation === undefined ? null : runner.checkData("validation", validation).count;
    if (this.#running)
      throw new StateError("the network is training already; break off or finish the other fit first");
    const file = resume === undefined ? undefined : readModel(resume);
    const record = file && trainingOf(file);
    if (file) this.#checkSame(file);
    if (record)
      inFile("__metadata__.training", () =>
        fitSettings({}, record, runner, record.samples, record.validation),
      );
    const settings = fitSettings(option, record, runner, samples.count, held);
    if (file) this.#checkTensors(file, settings);
    const keep = recordsOf(option.record ?? [], runner.model);
    runner.requireIdle("fit");
    this.dispose();
    const run = new TrainingRun(runner, settings, start(record), samples, data.labels, validation, keep);
    if (file && record) {
      try {
        this.#restoreState(run.state, file);
        run.state.taken = record.taken;
        if (record.best !== null && settings.keepBest) run.best = this.#readBest(file);
        this.restore(file);
      } catch (error) {
        run.state.dispose();
        throw error;
      }
    }
    this.#run = run;
    this.#running = true;
    return guarded(run.steps(this.#counts, signal), () => {
      this.#running = false;
    });
  }

  /** Parameters and counts from a file. */
  restore(file: ModelFile): void {
    restoreParameters(this.#runner, file);
    this.#counts.epoch = file.epoch;
    this.#counts.step = file.step;
  }

  /** The network as a file; with the state of the last `fit` if `state` says so. */
  save(state: boolean): Uint8Array {
    // Weights that change within a batch are no state to go on from.
    const what = state ? "checkpoint" : "save";
    if (this.#runner.model.online) this.#runner.requireIdle(what);
    const run = this.#run;
    run?.state.settle();
    if (state && !run)
      throw new StateError("checkpoint needs a fit before it; save() keeps a network that was not trained");
    const training: TrainingRecord | undefined =
      state && run ? { ...run.settings, ...run.position, taken: run.state.taken } : undefined;
    return writeModel({
      network: this.#runner.description,
      ...this.#counts,
      parameters: new Map(this.#parameters.entries()),
      training,
      state: new Map(training && run ? this.#stateTensors(run.state) : []),
      best: new Map(training && run?.best ? this.#tensors("", run.best) : []),
    });
  }

  /** A tensor in the core's layout, `prefix` and the parameter's name before each of its parts in the user's. */
  #tensors(prefix: string, stored: Float32Array): [string, Tensor][] {
    const { engine, model } = this.#runner;
    return model.parameters.map((spec, i) => {
      const at = engine.offset(i) / 4;
      const data = engine.gather(i, stored.subarray(at, at + spec.length));
      return [prefix + spec.name, { shape: spec.shape, data }];
    });
  }

  #stateTensors(state: OptimizerState): [string, Tensor][] {
    return [...state.tensors()].flatMap(([kind, stored]) => this.#tensors(`${kind}.`, stored));
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

  /** Refuses a checkpoint whose tensors are not those that `settings` ask for, before anything is changed. */
  #checkTensors(file: ModelFile, { optimizer }: TrainingSettings): void {
    checkParameters(this.#runner.model.parameters, file);
    const specs = this.#runner.model.parameters;
    const check = (group: string, tensors: ReadonlyMap<string, Tensor>, prefixes: readonly string[]) => {
      const known = new Map(
        prefixes.flatMap((prefix) => specs.map((spec) => [prefix + spec.name, spec.shape])),
      );
      for (const [name, shape] of known) checkTensor(`${group}/${name}`, tensors.get(name), shape);
      for (const name of tensors.keys()) {
        if (!known.has(name))
          throw new FormatError(`tensor "${group}/${name}"`, "an unknown tensor", "none of this name");
      }
    };
    check(
      "optimizer",
      file.state,
      stateNames(optimizer).map((kind) => `${kind}.`),
    );
    check("best", file.best, file.best.size > 0 ? [""] : []);
  }

  #restoreState(state: OptimizerState, file: ModelFile): void {
    for (const [kind, stored] of state.tensors())
      this.#readTensors(`${kind}.`, file.state, "optimizer", stored);
  }

  #readBest(file: ModelFile): Float32Array {
    const best = new Float32Array(this.#runner.engine.parameterLength);
    this.#readTensors("", file.best, "best", best);
    return best;
  }

  /** The tensors that `#tensors` wrote, into the core's layout. */
  #readTensors(
    prefix: string,
    tensors: ReadonlyMap<string, Tensor>,
    group: string,
    stored: Float32Array,
  ): void {
    const { engine, model } = this.#runner;
    model.parameters.forEach((spec, i) => {
      const name = prefix + spec.name;
      const array = checkTensor(`${group}/${name}`, tensors.get(name), spec.shape);
      const at = engine.offset(i) / 4;
      engine.arrange(i, array, stored.subarray(at, at + spec.length));
    });
  }

  /** Forgets the last `fit`. */
  dispose(): void {
    if (!this.#runner.disposed) this.#run?.state.dispose();
    this.#run = undefined;
  }
}

/** Where a run begins. */
function start(record: TrainingRecord | undefined): TrainingPosition {
  return {
    epoch: record?.epoch ?? 0,
    step: record?.step ?? 0,
    loss: record?.loss ?? 0,
    correct: record?.correct ?? 0,
    counted: record?.counted ?? 0,
    seen: record?.seen ?? 0,
    skipped: record?.skipped ?? 0,
    best: record?.best ?? null,
    stale: record?.stale ?? 0,
    validates: record?.validates ?? false,
  };
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
