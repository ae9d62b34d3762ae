import { Control } from "../assembly/abi.ts";
import { blockCount, type Engine, type Lowered } from "./core/engine.ts";
import { size } from "./core/geometry.ts";
import type { Program } from "./core/plan.ts";
import type { Dataset } from "./data/dataset.ts";
import { ArgumentError, NonFiniteError, StateError } from "./errors.ts";
import { checkRange, copySample, readSamples, type Samples, sampleShape } from "./inputs.ts";
import type { Model, Purpose } from "./methods/method.ts";
import type { NetworkDescription } from "./model-file.ts";
import type { Tensor } from "./tensor.ts";
import { breathe } from "./yield.ts";

/** Nothing but the answer and its loss. Programs of a bundle that only infers do not ask. */
const PLAIN = {
  record: { spikes: false, membranes: false, spikeTimes: false, readouts: false },
  masks: false,
  given: false,
  count: false,
};

/** A batch that was begun. */
export interface Batch {
  readonly ran: Promise<unknown>;
  /** Reads what it gave, when it has run. */
  take(): void;
}

/** A network's engine with its description: checks what comes in, runs batches, reads what comes out. */
export class Runner {
  readonly description: NetworkDescription;
  readonly model: Model;
  readonly classes: number;
  /** All stored parameters as of one moment, where they may be changing; set by who changes them. */
  stored: (() => Float32Array | undefined) | undefined;
  #engine: Engine | undefined;
  #last: Promise<void> = Promise.resolve();
  #computing = 0;

  constructor(description: NetworkDescription, engine: Engine) {
    this.description = description;
    this.#engine = engine;
    this.model = engine.model;
    this.classes = engine.model.classes;
  }

  /** The engine, if the network was not disposed. */
  get engine(): Engine {
    if (!this.#engine) throw new StateError("the network was disposed");
    return this.#engine;
  }

  get disposed(): boolean {
    return this.#engine === undefined;
  }

  dispose(): void {
    this.#engine?.dispose();
    this.#engine = undefined;
  }

  /** Runs `work` when all that was asked for earlier is done: programs, gradients and scratch memory are shared. */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#last;
    let done = (): void => {};
    this.#last = new Promise((resolve) => {
      done = resolve;
    });
    if (SPIKEGRAD_TRAINING) this.#computing++;
    try {
      await before;
      return await work();
    } finally {
      if (SPIKEGRAD_TRAINING) this.#computing--;
      done();
    }
  }

  /** Refuses what would change the result of a computation under way. */
  requireIdle(what: string): void {
    if (this.#computing > 0)
      throw new StateError(`${what}: the network is computing; wait for what was asked of it before`);
  }

  purpose(mode: Purpose["mode"], capacity: number, more: Partial<Purpose> = {}): Purpose {
    return {
      mode,
      capacity,
      blocks: this.#blocks(capacity),
      ...(SPIKEGRAD_TRAINING ? PLAIN : (undefined as unknown as typeof PLAIN)),
      ...more,
    };
  }

  #blocks(samples: number): number {
    return Math.min(
      blockCount(samples, this.engine.blockLength),
      this.model.blocks ?? Number.POSITIVE_INFINITY,
    );
  }

  /** Puts a batch into a program's ports. `order[i]` is the place of sample i in `samples`. */
  load(
    lowered: Lowered,
    samples: Samples,
    order: ArrayLike<number>,
    labels: ArrayLike<number> | undefined,
    epoch: number,
    firstId: number,
  ): void {
    const engine = this.engine;
    const { ports, purpose } = lowered;
    const count = order.length;
    const control = engine.u32(ports.control, Control.Size / 4);
    control[Control.Samples / 4] = count;
    const train = SPIKEGRAD_TRAINING && purpose.mode === "train";
    // Inference has one block; it is run sample by sample, or a few together, so that the event loop can turn.
    const parts = Math.max(lowered.ranks, Math.ceil(count / (this.model.together ?? 1)));
    control[Control.Blocks / 4] = Math.min(train ? this.#blocks(count) : parts, count);
    control[Control.Epoch / 4] = epoch;
    const { inputIndex } = this.model;
    const frame = size(this.model.input);
    const ids = engine.u32(ports.sampleIds, count);
    const targets = engine.u32(ports.labels, count);
    const inputs = engine.f32(ports.inputs, count * ports.inputLength);
    for (let i = 0; i < count; i++) {
      copySample(samples, order[i], inputs, i * ports.inputLength, inputIndex, frame);
      ids[i] = firstId + order[i];
      targets[i] = labels?.[order[i]] ?? -1;
    }
    engine.u32(ports.spikes, count * this.counters).fill(0);
    engine.u32(ports.operations, count * 2).fill(0);
  }

  /** The input and every spiking layer. */
  get counters(): number {
    return 1 + this.model.layers.filter((layer) => layer.spiking).length;
  }

  /**
   * Runs a batch: in workers, or block by block, so that the event loop can turn. Where `end` is given, workers run it, too, if there
   * are any; says whether it changed parameters.
   */
  async runBatch(lowered: Lowered, end?: Program): Promise<boolean | undefined> {
    const { engine } = this;
    const check = () => {
      if (this.#engine !== engine) throw new StateError("the network was disposed while it computed");
    };
    const control = engine.u32(lowered.ports.control, Control.Size / 4);
    const blocks = control[Control.Blocks / 4];
    if (SPIKEGRAD_TRAINING) {
      const committed = await engine.crew?.runBatch(lowered, control, blocks, end);
      check();
      if (committed !== undefined) return committed;
    }
    const stride = lowered.together ? blocks : 1;
    for (let block = 0; block < blocks; block += stride) {
      engine.run(lowered, block, block + stride);
      await breathe();
      check();
    }
    return undefined;
  }

  outputs(lowered: Lowered, count: number): Float32Array {
    return this.engine.f32(lowered.ports.outputs, count * this.classes).slice();
  }

  /** Sum of the losses of a batch, samples ascending; `infinite` losses may pass. */
  sumLosses(
    lowered: Lowered,
    count: number,
    where: string,
    order: ArrayLike<number>,
    infinite = false,
  ): number {
    const losses = this.engine.f32(lowered.ports.losses, count);
    let sum = 0;
    for (let i = 0; i < count; i++) {
      if (!Number.isFinite(losses[i]) && !(infinite && losses[i] === Number.POSITIVE_INFINITY)) {
        const kept = lowered.purpose.mode === "train" ? "; the parameters are those before this step" : "";
        throw new NonFiniteError(`${where}, sample ${order[i]}: the loss is ${losses[i]}${kept}`, {
          value: losses[i],
        });
      }
      sum += losses[i];
    }
    return sum;
  }

  /** Programs that infer `count` samples in batches of at most `size`; several where threads take a batch each. */
  reserve(key: string, more: Partial<Purpose>, count: number, size: number): Lowered[] {
    const { engine } = this;
    const purpose = this.purpose("infer", Math.min(size, count), more);
    const slots = SPIKEGRAD_TRAINING && engine.crew?.reserve(engine, key, purpose, count);
    return slots || [engine.lower(key, purpose)];
  }

  /** Infers `samples` in batches with what `reserve` gives; `take` gets the answers of one after the other, and its first sample. */
  async stream(
    key: string,
    more: Partial<Purpose>,
    size: number,
    samples: Samples,
    labels: ArrayLike<number> | undefined,
    epoch: number,
    firstId: number,
    take: (lowered: Lowered, order: Uint32Array, first: number) => void,
  ): Promise<void> {
    const slots = this.reserve(key, more, samples.count, size);
    const begin = (first: number, lowered: Lowered): Batch => {
      const length = Math.min(size, samples.count - first);
      const order = Uint32Array.from({ length }, (_, i) => first + i);
      this.load(lowered, samples, order, labels, epoch, firstId);
      return { ran: this.runBatch(lowered), take: () => take(lowered, order, first) };
    };
    if (SPIKEGRAD_TRAINING && slots.length > 1)
      return this.engine.crew?.stream(slots, samples.count, size, begin);
    for (let first = 0; first < samples.count; first += size) {
      const batch = begin(first, slots[0]);
      await batch.ran;
      batch.take();
    }
  }

  countCorrect(outputs: Float32Array, order: ArrayLike<number>, labels: ArrayLike<number>): number {
    let correct = 0;
    for (let i = 0; i < order.length; i++) if (this.answer(outputs, i) === labels[order[i]]) correct++;
    return correct;
  }

  /** The class that sample `i` of `outputs` is taken for: the largest answer, or the earliest; of equal ones the first. */
  answer(outputs: Float32Array, i: number): number {
    let best = 0;
    for (let k = 1; k < this.classes; k++) if (this.#better(outputs, i, k, best)) best = k;
    return best;
  }

  /** How many classes rank before class `k` in sample `i` of `outputs`. */
  rankOf(outputs: Float32Array, i: number, k: number): number {
    let rank = 0;
    for (let j = 0; j < this.classes; j++) {
      if (this.#better(outputs, i, j, k) || (j < k && !this.#better(outputs, i, k, j))) rank++;
    }
    return rank;
  }

  #better(outputs: Float32Array, i: number, a: number, b: number): boolean {
    const [x, y] = [outputs[i * this.classes + a], outputs[i * this.classes + b]];
    return this.model.earliest ? x < y : x > y;
  }

  /** Spikes of all layers, the input left out. */
  sumSpikes(lowered: Lowered, count: number): number {
    const counters = this.engine.u32(lowered.ports.spikes, count * this.counters);
    let sum = 0;
    for (let i = 0; i < counters.length; i++) if (i % this.counters) sum += counters[i];
    return sum;
  }

  checkData(argument: string, data: Dataset): Samples {
    if (typeof data !== "object" || data === null)
      throw new ArgumentError(argument, data, "a data set { inputs, shape, labels, classes }");
    const shape = sampleShape(this.description.input, this.description.encoder);
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
    this.checkLabels(`${argument}.labels`, labels, samples.count);
    return samples;
  }

  checkLabels(argument: string, labels: ArrayLike<number>, count: number): void {
    if (typeof labels !== "object" || labels === null || labels.length !== count) {
      const oneHot =
        labels?.length === count * this.classes ? ": the number of the class, no one-hot row" : "";
      throw new ArgumentError(
        argument,
        labels?.length === undefined ? labels : `${labels.length} labels`,
        `${count} labels, one a sample${oneHot}`,
      );
    }
    for (let i = 0; i < count; i++) {
      if (!Number.isInteger(labels[i]) || labels[i] < 0 || labels[i] >= this.classes) {
        const more = labels[i] >= this.classes ? `: the network has ${this.classes}, counted from 0` : "";
        throw new ArgumentError(
          `${argument}[${i}]`,
          labels[i],
          `a class from 0 to ${this.classes - 1}${more}`,
        );
      }
    }
  }

  checkInputs(inputs: Float32Array | Uint8Array | Tensor): Samples {
    const samples = readSamples(
      "inputs",
      inputs,
      sampleShape(this.description.input, this.description.encoder),
    );
    checkRange("inputs", samples, this.description.encoder);
    return samples;
  }
}
