import { Stream } from "../assembly/abi.ts";
import type { Lowered } from "./core/engine.ts";
import { size } from "./core/geometry.ts";
import type { Dataset } from "./data/dataset.ts";
import { NonFiniteError } from "./errors.ts";
import { evaluate } from "./evaluation.ts";
import { readRecords } from "./gradients.ts";
import type { Samples } from "./inputs.ts";
import type { Purpose } from "./methods/method.ts";
import type { TrainingPosition, TrainingSettings } from "./model-file.ts";
import { OptimizerState } from "./optimizer.ts";
import { scheduleFactor } from "./optimizers.ts";
import { couldOverflow, largestInput } from "./overflow.ts";
import type { Runner } from "./runner.ts";
import type { Tensor } from "./tensor.ts";
import { rateScales } from "./training-settings.ts";

/** One step of training. */
export interface Progress {
  /** Epoch, counted from 0. */
  readonly epoch: number;
  /** How many there are. */
  readonly epochs: number;
  /** Batches done in this epoch, this one included. */
  readonly step: number;
  /** How many it has. */
  readonly steps: number;
  /** Samples done in this epoch. */
  readonly samples: number;
  /** Mean loss a sample of this batch, before its step; NaN if it was skipped. */
  readonly loss: number;
  /** Share of right answers in this batch, in [0, 1], as training computes them (dropout on); NaN if it was skipped. */
  readonly accuracy: number;
  /** Mean loss a sample over the epoch so far, skipped batches left out. */
  readonly epochLoss: number;
  /** Share of right answers over the epoch so far, skipped batches left out. */
  readonly epochAccuracy: number;
  /** Batches skipped so far in all epochs: `onNonFinite: "skip"`. */
  readonly skipped: number;
  /** Mean spikes of a neuron in a sample, of this batch. */
  readonly spikesPerNeuron: number;
  /** Learning rate of this step, the schedule's factor included, the layers' `rates` not. */
  readonly rate: number;
  /** Samples a second over this run so far, validations left out. */
  readonly samplesPerSecond: number;
  /** Estimate to the end of the run, validations left out. */
  readonly secondsLeft: number;
  /** What a validation after this batch found. */
  readonly validation?: Validation;
  /** What `record` asked for, of this batch. */
  readonly records?: Record<string, Tensor>;
}

/** A validation while training. */
export interface Validation {
  /** Mean loss a sample. */
  readonly loss: number;
  /** Share of right answers. */
  readonly accuracy: number;
  /** Whether it is the best so far. */
  readonly best: boolean;
}

/** Batches and epochs of all training of a network. */
export interface TrainingCounts {
  epoch: number;
  step: number;
}

interface Batch {
  readonly count: number;
  readonly skipped: boolean;
  readonly loss: number;
  readonly correct: number;
  readonly spikes: number;
  /** Over the epoch so far. */
  readonly seen: number;
  readonly counted: number;
  readonly epochLoss: number;
  readonly epochCorrect: number;
  readonly records?: Record<string, Tensor>;
}

/** One call of `fit`: settings, position, optimizer, and the loop over batches. */
export class TrainingRun {
  readonly settings: TrainingSettings;
  readonly state: OptimizerState;
  readonly position: TrainingPosition;
  /** All stored parameters at the best validation so far. */
  best: Float32Array | undefined;
  readonly #runner: Runner;
  readonly #samples: Samples;
  readonly #labels: ArrayLike<number>;
  readonly #validation: Dataset | undefined;
  readonly #capacity: number;
  readonly #steps: number;
  readonly #scales: readonly number[];
  readonly #keep: Purpose["record"];
  readonly #largestInput: number;
  /** Whether membranes are looked at before each batch of the epoch. */
  #watched: { readonly epoch: number; readonly needed: boolean } | undefined;
  /** The parameters before the batch in work, while a program changes them within it. */
  #before: Float32Array | undefined;
  /** Where that and the optimizer's state are copied to: fresh memory would cost more than copying. */
  #kept: Float32Array[] | undefined;
  #order: { readonly epoch: number; readonly list: Uint32Array } | undefined;

  /** Takes all memory that the run needs: what does not fit is refused here. */
  constructor(
    runner: Runner,
    settings: TrainingSettings,
    position: TrainingPosition,
    samples: Samples,
    labels: ArrayLike<number>,
    validation: Dataset | undefined,
    keep: Purpose["record"],
  ) {
    this.#runner = runner;
    this.settings = settings;
    this.position = position;
    this.#samples = samples;
    this.#labels = labels;
    this.#validation = validation;
    this.#keep = keep;
    this.#largestInput = largestInput(samples);
    this.#capacity = Math.min(settings.batchSize, samples.count);
    this.#steps = Math.ceil(samples.count / settings.batchSize);
    const { engine } = runner;
    this.#scales = rateScales(settings, runner);
    const stepping = { scales: this.#scales, clip: settings.clip };
    this.state = new OptimizerState(engine, settings.optimizer, stepping);
    try {
      // Another run's program holds the addresses of its state, if it learns by itself, and may record something else.
      engine.drop("train");
      engine.lower("train", this.#purpose());
      if (settings.validation !== null) {
        runner.reserve("evaluate", { count: true }, settings.validation, settings.batchSize);
      }
    } catch (error) {
      this.state.dispose();
      throw error;
    }
  }

  #purpose(): Purpose {
    const record = this.#keep;
    const bypass = this.settings.bypassNeurons;
    return this.#runner.purpose(
      "train",
      this.#capacity,
      this.#runner.model.online ? { record, learn: this.state } : { record, bypass },
    );
  }

  /**
   * All stored parameters as of one moment; undefined if they are so in the core's memory.
   *
   * @throws StateError if threads do not come to the end of a step
   */
  parameters(): Float32Array | undefined {
    this.state.settle();
    return this.#before;
  }

  get #ended(): boolean {
    const { epoch, stale } = this.position;
    const { epochs, patience } = this.settings;
    return epoch >= epochs || (patience !== null && stale >= patience);
  }

  /** Trains to the end, or until `signal` says stop; gives a record after every batch. */
  async *steps(counts: TrainingCounts, signal: AbortSignal | undefined): AsyncGenerator<Progress> {
    const { position, settings } = this;
    const { epochs } = settings;
    const layers = this.#runner.model.layers.filter((layer) => layer.spiking);
    const neurons = layers.reduce((sum, layer) => sum + size(layer.extent), 0);
    let spent = 0;
    let done = 0;
    // A checkpoint was taken between the last batch of an epoch and its validation.
    if (position.validates) await this.#validate();
    while (!this.#ended) {
      if (signal?.aborted) return;
      const began = performance.now();
      const { epoch, step } = position;
      const batch = await this.#batch(counts);
      const { count, skipped, seen, counted } = batch;
      spent += (performance.now() - began) / 1000;
      done += count;
      const samplesPerSecond = done / spent;
      const validation = position.validates ? await this.#validate() : undefined;
      yield {
        epoch,
        epochs,
        step: step + 1,
        steps: this.#steps,
        samples: seen,
        loss: skipped ? Number.NaN : batch.loss / count,
        accuracy: skipped ? Number.NaN : batch.correct / count,
        epochLoss: counted ? batch.epochLoss / counted : 0,
        epochAccuracy: counted ? batch.epochCorrect / counted : 0,
        skipped: position.skipped,
        spikesPerNeuron: neurons ? batch.spikes / (neurons * count) : 0,
        rate: this.state.rate,
        samplesPerSecond,
        secondsLeft: ((epochs - epoch) * this.#samples.count - seen) / samplesPerSecond,
        ...(validation ? { validation } : {}),
        ...(batch.records ? { records: batch.records } : {}),
      };
    }
    const { best } = this;
    if (settings.keepBest && best)
      await this.#runner.alone(async () => this.#runner.engine.allParameters().set(best));
  }

  /** The batch at the position, and the rate of its step. */
  #choose(): { order: Uint32Array; rate: number } {
    const { engine } = this.#runner;
    const { shuffle, batchSize, epochs, schedule, optimizer } = this.settings;
    const { epoch, step } = this.position;
    const { count } = this.#samples;
    if (this.#order?.epoch !== epoch) {
      const list = shuffle
        ? engine.permutation(count, epoch, Stream.Shuffle)
        : Uint32Array.from({ length: count }, (_, i) => i);
      this.#order = { epoch, list };
    }
    const order = this.#order.list.subarray(step * batchSize, Math.min((step + 1) * batchSize, count));
    const factor = scheduleFactor(schedule ?? undefined, epoch * this.#steps + step, this.#steps, epochs);
    return { order, rate: optimizer.rate * factor };
  }

  /**
   * One batch and one step of the optimizer. Parameters and position change at once, so that no checkpoint finds them out of
   * tune; after the last batch of an epoch the position is the beginning of the next.
   */
  async #batch(counts: TrainingCounts): Promise<Batch> {
    const runner = this.#runner;
    return await runner.alone(async () => {
      const { engine, model } = runner;
      const { order, rate } = this.#choose();
      const { epoch, step } = this.position;
      this.state.rate = rate;
      const lowered = engine.lower("train", this.#purpose());
      const before = model.online ? this.#remember() : undefined;
      this.#before = before?.parameters;
      const where = `epoch ${epoch}, step ${step}`;
      const suspect = {
        samples: this.#samples,
        labels: this.#labels,
        order,
        epoch,
        bypass: this.settings.bypassNeurons,
      };
      const fault = this.#watches() ? await (await diagnosis()).diagnose(runner, suspect, true) : undefined;
      runner.load(lowered, this.#samples, order, this.#labels, epoch, 0);
      const found = () => ({
        count: order.length,
        correct: runner.countCorrect(runner.outputs(lowered, order.length), order, this.#labels),
        spikes: runner.sumSpikes(lowered, order.length),
      });
      const records = () =>
        Object.values(this.#keep).includes(true) ? readRecords(runner, lowered, order.length) : undefined;
      let batch: Batch | undefined;
      const learned = (loss: number) => {
        before?.restoreFrozen();
        this.#before = undefined;
        const learned = { ...found(), skipped: false, loss };
        batch = { ...learned, ...this.#moveOn(learned, counts), records: records() };
      };
      const lossOf = () => runner.sumLosses(lowered, order.length, where, order);
      // Threads take the step at once, if nothing speaks against it.
      const end = fault !== undefined || model.online ? undefined : this.state.afterBatch(lowered);
      let committed: boolean | undefined;
      try {
        committed = await this.state.follow(runner.runBatch(lowered, end), () => learned(lossOf()));
      } catch (error) {
        if (!runner.disposed) before?.restore();
        this.#before = undefined;
        throw error;
      }
      if (batch) return batch;
      const skipped = { ...found(), skipped: true, loss: 0 };
      try {
        if (fault !== undefined) throw new NonFiniteError(unfit(where, fault));
        await this.#learn(lowered, lossOf(), where, committed === undefined || end === undefined, learned);
      } catch (error) {
        if (!(error instanceof NonFiniteError)) throw error;
        before?.restore();
        this.#before = undefined;
        if (this.settings.onNonFinite === "throw") {
          const found =
            fault === undefined ? await (await diagnosis()).diagnose(runner, suspect, false) : undefined;
          if (found === undefined) throw error;
          throw new NonFiniteError(unfit(where, found), { value: error.value, cause: error });
        }
      }
      return batch ?? { ...skipped, ...this.#moveOn(skipped, counts), records: records() };
    });
  }

  /** Whether weights or inputs are so large that membranes have to be looked at: found out once an epoch. */
  #watches(): boolean {
    const { epoch } = this.position;
    if (this.#watched?.epoch !== epoch)
      this.#watched = { epoch, needed: couldOverflow(this.#runner, this.#largestInput) };
    return this.#watched.needed;
  }

  /**
   * What remains to be done of a batch that was run: the optimizer's step, unless the program took it, and before it the sum of the
   * gradients, if `parts` says that they are in parts. `done` gets the loss as soon as parameters have changed, before anyone else
   * has a turn.
   */
  async #learn(
    lowered: Lowered,
    loss: number,
    where: string,
    parts: boolean,
    done: (loss: number) => void,
  ): Promise<void> {
    const { engine, model } = this.#runner;
    if (model.online) {
      engine.checkParameters(where);
      return done(loss);
    }
    if (parts) await engine.reduceGradients(lowered);
    engine.checkStatistics(where);
    this.state.step(where);
    engine.takeStatistics((i) => this.#scales[i] !== 0);
    done(loss);
  }

  /** Takes the position past a batch; gives the epoch's sums with it. */
  #moveOn(
    { count, skipped, loss, correct }: Pick<Batch, "count" | "skipped" | "loss" | "correct">,
    counts: TrainingCounts,
  ): Pick<Batch, "seen" | "counted" | "epochLoss" | "epochCorrect"> {
    const { position, settings } = this;
    position.seen += count;
    position.step++;
    if (skipped) position.skipped++;
    else {
      position.loss += loss;
      position.correct += correct;
      position.counted += count;
      counts.step++;
    }
    const { epoch, step, seen, counted, loss: epochLoss, correct: epochCorrect } = position;
    if (step === this.#steps) {
      const due = (epoch + 1) % settings.validateEvery === 0 || epoch + 1 === settings.epochs;
      const validates = settings.validation !== null && due;
      Object.assign(position, {
        epoch: epoch + 1,
        step: 0,
        loss: 0,
        correct: 0,
        counted: 0,
        seen: 0,
        validates,
      });
      counts.epoch++;
    }
    return { seen, counted, epochLoss, epochCorrect };
  }

  /** Copies what a program that learns by itself changes. */
  #remember(): { readonly parameters: Float32Array; restore(): void; restoreFrozen(): void } {
    const { engine, model } = this.#runner;
    const changed = () => [engine.allParameters(), ...this.state.regions()];
    this.#kept ??= changed().map(({ length }) => new Float32Array(length));
    const kept = this.#kept;
    for (const [i, values] of changed().entries()) kept[i].set(values);
    const [parameters] = kept;
    return {
      parameters,
      restore: () => {
        for (const [i, values] of changed().entries()) values.set(kept[i]);
      },
      restoreFrozen: () => {
        model.parameters.forEach((spec, i) => {
          const at = engine.offset(i) / 4;
          if (this.#scales[i] === 0) engine.parameter(i).set(parameters.subarray(at, at + spec.length));
        });
      },
    };
  }

  /** Validates the epoch before the position. */
  async #validate(): Promise<Validation | undefined> {
    const { settings, position } = this;
    if (!this.#validation) return undefined;
    const { loss, accuracy } = await evaluate(this.#runner, this.#validation, {
      batchSize: settings.batchSize,
    });
    const { best } = position;
    const better =
      best === null ||
      accuracy > best.accuracy ||
      (accuracy === best.accuracy && loss < (best.loss ?? Number.POSITIVE_INFINITY));
    if (better) {
      position.best = { epoch: position.epoch - 1, loss: Number.isFinite(loss) ? loss : null, accuracy };
      position.stale = 0;
      if (settings.keepBest) this.best = this.#runner.engine.allParameters().slice();
    } else position.stale++;
    position.validates = false;
    return { loss, accuracy, best: better };
  }
}

function unfit(where: string, found: string): string {
  return `${where}, ${found}; the parameters are those before this step`;
}

/** Rarely needed, so fetched when it is. */
function diagnosis(): Promise<typeof import("./diagnosis.ts")> {
  return import("./diagnosis.ts");
}
