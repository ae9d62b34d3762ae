// What the time-stepped methods share: parameters, the batch's ports, the encoder, and records for synapses.

import {
  Activity,
  ActivityKind,
  Control,
  type Derivative,
  Dropout,
  EVENT_SCRATCH,
  Fanout,
  Frame,
  Latency,
  MATRIX_SCRATCH,
  Op,
  Output,
  Poisson,
  PoissonGroup,
  Route,
  Smooth,
  Stream,
  Window,
} from "../../assembly/abi.ts";
import {
  convGeometry,
  convolved,
  denseGeometry,
  type Extent,
  type FanoutGeometry,
  Layout,
  padded,
  type RouteGeometry,
  size,
} from "../core/geometry.ts";
import type { Places } from "../core/places.ts";
import type { Field, Plan } from "../core/plan.ts";
import { streamKey } from "../core/random.ts";
import type { ContinuousEncoder, EncoderDescriptor } from "../encoders.ts";
import { ArgumentError } from "../errors.ts";
import { type InitializerDescriptor, initialOf } from "../initializers.ts";
import type { Conv2dLayer, DenseLayer } from "../layers.ts";
import type { LossDescriptor, LossReduction } from "../losses.ts";
import type {
  Bindings,
  Initial,
  Model,
  ParameterSpec,
  PlainPort,
  Ports,
  Purpose,
  RecordPort,
} from "./method.ts";

/** `[C, H, W]` of an extent, for messages. */
export function describeExtent({ channels, height, width }: Extent): string {
  return `[${channels}, ${height}, ${width}]`;
}

/** The tensors of a network, collected while its layers are built. */
export class ParameterList {
  readonly specs: ParameterSpec[] = [];

  /** Weights of a fanout synapse; gives the parameter's number. */
  weight(
    name: string,
    shape: readonly number[],
    geometry: Pick<FanoutGeometry, "weightLength" | "places">,
    initial: InitializerDescriptor | Initial,
    option: ParameterOptions = {},
  ): number {
    const fanIn = shape.slice(1).reduce((a, b) => a * b, 1);
    return this.#push(name, shape, geometry.weightLength, geometry.places, fanIn, initial, option);
  }

  /** One value a channel, padded to whole vectors: biases, scales, running statistics (which are not learned). */
  vector(
    name: string,
    channels: number,
    fanIn: number,
    initial: InitializerDescriptor | Initial,
    option: ParameterOptions = {},
  ): number {
    return this.#push(name, [channels], padded(channels), { first: () => [0] }, fanIn, initial, option);
  }

  #push(
    name: string,
    shape: readonly number[],
    length: number,
    places: Places,
    fanIn: number,
    initial: InitializerDescriptor | Initial,
    option: ParameterOptions,
  ): number {
    const stored = { name, shape, length, places };
    // Without training nothing starts, and nothing is learned.
    if (!SPIKEGRAD_TRAINING) return this.specs.push(stored as ParameterSpec) - 1;
    const { statistic = false, trainable = !statistic, whole = false } = option;
    const spec = { ...stored, fanIn, initial: initialOf(initial, fanIn), whole, trainable, statistic };
    return this.specs.push(spec) - 1;
  }
}

interface ParameterOptions {
  readonly trainable?: boolean;
  readonly statistic?: boolean;
  readonly whole?: boolean;
}

/** Most neurons of one layer, as of the input. */
const MOST_NEURONS = 2 ** 24;

/** Geometry of a weight layer on top of `from`; refuses kernels that do not fit. `argument` names the layer in errors. */
export function weightGeometry(
  from: Layout,
  layer: Conv2dLayer | DenseLayer,
  argument: string,
): { layout: Layout; geometry: FanoutGeometry; shape: readonly number[] } {
  const e = from.extent;
  if (layer.kind === "dense") {
    const layout = new Layout({ channels: layer.out, height: 1, width: 1 }, true);
    return { layout, geometry: denseGeometry(from, layout), shape: [layer.out, size(e)] };
  }
  const { kernel, stride, padding } = layer;
  const height = convolved(e.height, kernel, stride, padding);
  const width = convolved(e.width, kernel, stride, padding);
  if (height < 1 || width < 1) {
    throw new ArgumentError(
      `${argument}.kernel`,
      kernel,
      `at most ${Math.min(e.height, e.width) + 2 * padding}, the padded side of its input ${describeExtent(e)}`,
    );
  }
  // Before any table is made: a file may ask for anything.
  if (layer.out * height * width > MOST_NEURONS) {
    throw new ArgumentError(
      `${argument}.out`,
      layer.out,
      `at most ${Math.floor(MOST_NEURONS / (height * width))} channels of ${height}×${width}: ${MOST_NEURONS} neurons a layer`,
    );
  }
  const layout = new Layout({ channels: layer.out, height, width }, true);
  const geometry = convGeometry(from, layout, kernel, stride, padding);
  return { layout, geometry, shape: [layer.out, e.channels, kernel, kernel] };
}

/** Layout after pooling with windows of `window`×`window`; refuses windows that do not fit. */
export function pooledLayout(from: Layout, window: number, argument: string): Layout {
  const { channels, height, width } = from.extent;
  const pooled = { channels, height: Math.floor(height / window), width: Math.floor(width / window) };
  if (pooled.height < 1 || pooled.width < 1) {
    throw new ArgumentError(
      `${argument}.size`,
      window,
      `at most ${Math.min(height, width)}, the side of its input ${describeExtent(from.extent)}`,
    );
  }
  return new Layout(pooled, true);
}

/** What a model tells of training, where there is none. */
export const UNTRAINED: Pick<Model, "masks" | "meanLoss"> = { masks: [], meanLoss: false };

/** Whether a loss is averaged over the batch; `usual` is the method's choice where the user made none. */
export function meanLoss(loss: LossDescriptor, usual: LossReduction): boolean {
  return (loss.reduction ?? usual) === "mean";
}

/** The instruction that gives an answer, and its loss unless what comes back is given. */
export function lossOp({ kind }: LossDescriptor, { given }: Purpose): Op {
  if (!SPIKEGRAD_TRAINING || given) return Op.GivenGradient;
  return kind === "squaredError" ? Op.SquaredError : Op.CrossEntropy;
}

/** Fields of an output record for its loss, whose gradient goes to the view `delta`. */
export function lossFields(
  stem: Stem,
  loss: LossDescriptor,
  usual: LossReduction,
  delta: number,
): Readonly<Record<number, Field>> {
  const { scale, mean } = lossScale(loss, usual, stem.classes);
  return {
    [Output.Losses]: stem.losses,
    [Output.Labels]: stem.labels,
    [Output.Delta]: delta,
    [Output.Given]: stem.givenGradients,
    [Output.LossScale]: scale,
    [Output.Mean]: mean,
  };
}

/** What a sample's loss is multiplied by, and 1 if the loss is a mean over the batch. */
export function lossScale(
  loss: LossDescriptor,
  usual: LossReduction,
  classes: number,
): { scale: Field; mean: number } {
  const mean = meanLoss(loss, usual);
  return { scale: { f32: mean && loss.kind === "squaredError" ? 1 / classes : 1 }, mean: mean ? 1 : 0 };
}

/** Where a layer's bits are: the view of a step, and the address if they are kept a sample. */
export interface Bits {
  readonly view: number;
  readonly address: number;
}

/**
 * What every program begins with: control record, frames and the batch's ports.
 * `schedule` "sample": scratch belongs to the rank and holds one sample at a time; "batch": it belongs to the sample.
 * `stepwise`: bits of the step in work alone are kept, unless recorded. `lanes`: samples of a
 * group, by whose place in it the rank's scratch is told apart (`Op.ForLanes`).
 */
export class Stem {
  readonly plan: Plan;
  readonly purpose: Purpose;
  readonly bindings: Bindings;
  /** Steps of the program: T, or 1 for a live network. */
  readonly steps: number;
  readonly classes: number;
  readonly records: (RecordPort | PlainPort)[] = [];
  readonly masks = new Map<string, number>();
  readonly answers = new Map<string, number>();
  readonly ports: Ports;
  readonly #schedule: "sample" | "batch";
  readonly #stepwise: boolean;
  readonly #lanes: number;
  readonly #counters: number;
  /** View of the frames of a sample as given. */
  readonly frames: number;

  /** `counters`: spike counters a sample, the input's first. */
  constructor(
    plan: Plan,
    purpose: Purpose,
    bindings: Bindings,
    input: Layout,
    encoder: EncoderDescriptor,
    classes: number,
    counters: number,
    schedule: "sample" | "batch" = "sample",
    stepwise = false,
    lanes = 1,
  ) {
    this.plan = plan;
    this.purpose = purpose;
    this.bindings = bindings;
    this.classes = classes;
    this.#schedule = schedule;
    this.#stepwise = stepwise;
    this.#lanes = lanes;
    const live = purpose.mode === "step";
    this.steps = live || purpose.bypass ? 1 : encoder.steps;
    const { capacity } = purpose;
    this.#counters = counters;
    // Explicit spikes are one frame a step; everything else is one frame a sample.
    const frameBytes = input.length * 4;
    const moving = encoder.kind === "spikes" && !live;
    const inputLength = input.length * (moving ? encoder.steps : 1);
    const control = plan.take(Control.Size);
    const frames = plan.take(Frame.Size * plan.ranks, Frame.Size);
    const sampleIds = plan.take(capacity * 4);
    this.ports = {
      control,
      frames,
      sampleIds,
      inputs: plan.take(capacity * inputLength * 4, 64),
      inputLength,
      labels: plan.take(capacity * 4),
      outputs: plan.take(capacity * classes * 4),
      losses: plan.take(capacity * 4),
      given: SPIKEGRAD_TRAINING && purpose.given ? plan.take(capacity * classes * 4) : 0,
      spikes: plan.take(capacity * counters * 4),
      operations: plan.take(capacity * 8),
      masks: this.masks,
      records: this.records,
      answers: this.answers,
    };
    const events = plan.take(EVENT_SCRATCH * plan.ranks, 64);
    for (let rank = 0; rank < plan.ranks; rank++)
      plan.preset(frames + rank * Frame.Size + Frame.Events, [events + rank * EVENT_SCRATCH, control]);
    plan.preset(control + Control.SampleIds, [sampleIds]);

    const sampleBytes = inputLength * 4;
    this.frames = plan.view(this.ports.inputs, { sample: sampleBytes, step: moving ? frameBytes : 0 });
  }

  /** View of scratch memory: the rank's or the sample's, by schedule. */
  scratch(bytes: number, stepBytes = 0): number {
    const { plan } = this;
    const whole = stepBytes ? stepBytes * this.steps : bytes;
    const stride = Math.ceil(whole / 64) * 64;
    if (this.#schedule === "sample") {
      const block = this.#lanes > 1 ? stride : 0;
      return plan.perRank(stride * this.#lanes, { block, step: stepBytes });
    }
    // Samples a multiple of 1 KiB apart would meet in the same cache sets.
    const apart = stride % 1024 === 0 ? stride + 64 : stride;
    return plan.view(plan.take(apart * this.purpose.capacity, 64), { sample: apart, step: stepBytes });
  }

  /** A layer's bits for every step; `kept`, which `record` asks for, holds those of every sample. */
  bits(layout: Layout, kept = SPIKEGRAD_TRAINING && this.purpose.record.spikes): Bits {
    const { plan, steps, purpose } = this;
    const step = layout.bitBytes;
    if (!SPIKEGRAD_TRAINING || purpose.mode === "step" || !kept) {
      const once = purpose.mode === "step" || this.#stepwise;
      return { view: this.scratch(step, once ? 0 : step), address: 0 };
    }
    const address = plan.take(purpose.capacity * step * steps, 64);
    return { view: plan.view(address, { step, sample: step * steps }), address };
  }

  /** Values of every sample (and step) that `record` gives out; gives their view. */
  recorded(name: string, layout: Layout, perStep: boolean): number {
    const steps = perStep ? this.steps : 0;
    const bytes = layout.length * 4;
    const address = this.plan.take(this.purpose.capacity * bytes * Math.max(steps, 1), 64);
    this.records.push({ name, address, kind: "values", layout, steps, amplitude: 0 });
    return this.plan.view(address, { sample: bytes * Math.max(steps, 1), step: perStep ? bytes : 0 });
  }

  /**
   * The primitive of a surrogate at `membrane` in place of a layer's spikes, for checking gradients: the record of the op
   * that fills it in at every step, its activity, and that of the step before. `slope`: k, or π k / 2 for atan.
   */
  smoothed(
    layout: Layout,
    membrane: { view: number; stride: number; threshold: number; learned?: number },
    surrogate: { kind: Derivative; slope: number },
    mask: number,
  ): { record: number; activity: number; before: number } {
    const bytes = layout.length * 4;
    const values = this.scratch(bytes, bytes);
    const record = this.plan.record(Smooth.Size, {
      [Smooth.Rows]: layout.rows,
      [Smooth.RowLength]: layout.rowLength,
      [Smooth.Channels]: layout.channels,
      [Smooth.RealChannels]: layout.extent.channels,
      [Smooth.Membrane]: membrane.view,
      [Smooth.Stride]: membrane.stride,
      [Smooth.Threshold]: { f32: membrane.threshold },
      [Smooth.Derivative]: surrogate.kind,
      [Smooth.Slope]: { f32: surrogate.slope },
      [Smooth.Mask]: mask,
      [Smooth.Values]: values,
      [Smooth.Learned]: membrane.learned ?? 0,
    });
    const before = this.valuesOf(layout, this.plan.shift(values, -bytes));
    return { record, activity: this.valuesOf(layout, values), before };
  }

  /** Activity record of real values. */
  valuesOf(layout: Layout, data: number): number {
    return this.plan.record(Activity.Size, {
      [Activity.Kind]: ActivityKind.Values,
      [Activity.Rows]: layout.rows,
      [Activity.RowLength]: layout.rowLength,
      [Activity.Data]: data,
    });
  }

  /** Activity record of a spiking layer. */
  activityOf(layout: Layout, bits: number, amplitude: number): number {
    return this.plan.record(Activity.Size, {
      [Activity.Kind]: ActivityKind.Bits,
      [Activity.Rows]: layout.rows,
      [Activity.RowLength]: layout.rowLength,
      [Activity.RowWords]: layout.rowWords,
      [Activity.Data]: bits,
      [Activity.Amplitude]: amplitude,
    });
  }

  /** Activity record of every place of a layer, spiking or not. */
  everything(layout: Layout): number {
    return this.plan.record(Activity.Size, {
      [Activity.Kind]: ActivityKind.All,
      [Activity.Rows]: layout.rows,
      [Activity.RowLength]: layout.rowLength,
    });
  }

  /** View of a spike counter. */
  counter(i: number): number {
    return this.plan.view(this.ports.spikes + i * 4, { sample: this.#counters * 4 });
  }

  /** View of the counter of synaptic operations. */
  get operationCounter(): number {
    return this.plan.view(this.ports.operations, { sample: 8 });
  }

  /** Views of a sample's answer, loss, label and given dL/dy. */
  get outputs(): number {
    return this.#answer(this.ports.outputs);
  }

  get losses(): number {
    return this.plan.view(this.ports.losses, { sample: 4 });
  }

  get labels(): number {
    return this.plan.view(this.ports.labels, { sample: 4 });
  }

  get givenGradients(): number {
    return this.ports.given ? this.#answer(this.ports.given) : 0;
  }

  #answer(address: number): number {
    return this.plan.view(address, { sample: this.classes * 4 });
  }

  /** Answers of every sample from the layer `name`; gives their view. */
  answersOf(name: string): number {
    const address = this.plan.take(this.purpose.capacity * this.classes * 4);
    this.answers.set(name, address);
    return this.#answer(address);
  }

  /** Emits the drawing (or copying) of a dropout mask into the view `mask`. `index` keys its random numbers. */
  drawMask(name: string, layout: Layout, mask: number, probability: number, index: number): void {
    const { plan, purpose } = this;
    let given = 0;
    if (purpose.masks) {
      const address = plan.take(purpose.capacity * layout.length * 4);
      this.masks.set(name, address);
      given = plan.view(address, { sample: layout.length * 4 });
    }
    const [key0, key1] = streamKey(this.bindings, Stream.Dropout + index);
    const record = plan.record(Dropout.Size, {
      [Dropout.Count]: layout.length,
      [Dropout.Mask]: mask,
      [Dropout.Given]: given,
      [Dropout.Probability]: { f32: probability },
      [Dropout.Keep]: { f32: 1 / (1 - probability) },
      [Dropout.Key0]: key0,
      [Dropout.Key1]: key1,
    });
    plan.emit(Op.Dropout, record);
  }

  /** View of a parameter. */
  parameter(i: number): number {
    return this.plan.view(this.bindings.parameters[i]);
  }

  /** View of a parameter's gradient: the block's, or the one of the whole batch. 0 when not training. */
  gradient(i: number, whole = false): number {
    if (this.purpose.mode !== "train") return 0;
    const { gradients, gradientOffsets, blockBytes } = this.bindings;
    return this.plan.view(gradients + gradientOffsets[i], { block: whole ? 0 : blockBytes });
  }

  /**
   * Fanout record: `target` is a view of accumulators or deltas, `delivered` of the presynaptic G (0 if not needed).
   * `sweeps`: its instructions take all steps at once.
   */
  fanout(
    activity: number,
    geometry: FanoutGeometry,
    parameter: number,
    target: number,
    delivered: number,
    sweeps = false,
  ): number {
    const { plan } = this;
    const record = plan.record(Fanout.Size, {
      [Fanout.Activity]: activity,
      [Fanout.Columns]: plan.table(geometry.columns),
      [Fanout.RowTable]: plan.table(geometry.rows),
      [Fanout.Weight]: this.parameter(parameter),
      ...(SPIKEGRAD_TRAINING && {
        [Fanout.Gradient]: this.gradient(parameter),
        [Fanout.Delivered]: delivered,
      }),
      [Fanout.Target]: target,
      [Fanout.TargetStride]: geometry.target.stride,
      [Fanout.WeightStride]: geometry.weightStride,
      [Fanout.Narrow]: geometry.narrow ?? 0,
      [Fanout.Window]: this.#window(geometry),
    });
    const { scratch = sweeps ? MATRIX_SCRATCH : 0 } = geometry;
    if (scratch) plan.shareScratch(record + Fanout.Scratch, scratch);
    return record;
  }

  #window({ window }: FanoutGeometry): number {
    if (!window) return 0;
    const places = this.plan.table(window.places);
    return this.plan.record(Window.Size, { ...window.fields, [Window.Places]: places });
  }

  /** Route record, likewise. */
  route(activity: number, geometry: RouteGeometry, target: number, delivered: number, scale: number): number {
    const { plan } = this;
    return plan.record(Route.Size, {
      [Route.Activity]: activity,
      [Route.Columns]: plan.table(geometry.columns),
      [Route.RowTable]: plan.table(geometry.rows),
      [Route.Target]: target,
      ...(SPIKEGRAD_TRAINING && { [Route.Delivered]: delivered }),
      [Route.Scale]: { f32: scale },
    });
  }

  clear(view: number, bytes: number, share = false): void {
    this.plan.emit(Op.Clear, view, bytes, share ? 1 : 0);
  }

  /** Emits `body` for every block of this rank; gradients start at 0 in each. */
  forEachBlock(body: () => void): void {
    this.plan.loop(Op.ForBlocks, [], () => {
      if (SPIKEGRAD_TRAINING && this.purpose.mode === "train") {
        const { blockGradients, blockBytes } = this.bindings;
        this.clear(this.plan.view(blockGradients, { block: blockBytes }), blockBytes);
      }
      body();
    });
  }

  /** Emits `body` for every sample of every block of this rank. */
  forEachSample(body: () => void): void {
    this.forEachBlock(() => this.plan.loop(Op.ForSamples, [], body));
  }
}

/** A program in time steps: the encoded input too. */
export class SteppedStem extends Stem {
  /** Activity record of the input. */
  readonly activity: number;
  /** Instruction and record of what the encoding of a sample needs once. */
  #setup: [Op, number] | undefined;
  #poisson = 0;

  constructor(...parts: ConstructorParameters<typeof Stem>) {
    super(...parts);
    const [plan, purpose, bindings, input, , , , , stepwise] = parts;
    const encoder = parts[4] as Exclude<EncoderDescriptor, ContinuousEncoder>;
    const [key0, key1] = streamKey(bindings, Stream.Encoder);
    if (encoder.kind === "spikes" || encoder.kind === "direct") {
      this.activity = this.valuesOf(input, this.frames);
      return;
    }
    const count = input.length;
    // All spikes of a latency code are placed at once.
    const whole = encoder.kind === "latency" && stepwise && purpose.mode !== "step";
    const bits = whole ? this.scratch(0, input.bitBytes) : this.bits(input, false).view;
    if (encoder.kind === "latency") {
      const record = plan.record(Latency.Size, {
        [Latency.Rows]: input.rows,
        [Latency.RowLength]: input.rowLength,
        [Latency.RowWords]: input.rowWords,
        [Latency.Input]: this.frames,
        [Latency.Bits]: bits,
        [Latency.Steps]: this.steps,
        [Latency.Last]: encoder.steps - 1,
        [Latency.Threshold]: { f32: encoder.threshold },
        [Latency.Noise]: { f32: encoder.noise },
        [Latency.Key0]: key0,
        [Latency.Key1]: key1,
        [Latency.Spikes]: this.counter(0),
      });
      this.#setup = [Op.Latency, record];
      this.activity = this.activityOf(input, bits, 0);
      return;
    }
    const signs = encoder.signed ? this.scratch(count * 4) : 0;
    this.#poisson = plan.record(Poisson.Size, {
      [Poisson.Count]: count,
      [Poisson.Rows]: input.rows,
      [Poisson.RowLength]: input.rowLength,
      [Poisson.RowWords]: input.rowWords,
      [Poisson.Input]: this.frames,
      [Poisson.Groups]: this.scratch(16 + Math.ceil(count / 16) * PoissonGroup.Size),
      [Poisson.Bits]: bits,
      [Poisson.Amplitude]: signs,
      [Poisson.Scratch]: plan.perRank(64),
      [Poisson.Gain]: { f32: encoder.gain },
      [Poisson.Key0]: key0,
      [Poisson.Key1]: key1,
      [Poisson.Spikes]: this.counter(0),
    });
    this.#setup = [Op.PoissonSetup, this.#poisson];
    this.activity = this.activityOf(input, bits, signs);
  }

  /** Emits the encoding of a sample, all its steps. */
  encode(): void {
    this.encodeSetup();
    if (this.#poisson) this.plan.loop(Op.ForSteps, [this.steps, 1], () => this.encodeStep());
  }

  /** Emits what the encoding of a sample needs once. */
  encodeSetup(): void {
    if (this.#setup) this.plan.emit(...this.#setup);
  }

  /** Emits the encoding of one step, after `encodeSetup`. */
  encodeStep(): void {
    if (this.#poisson) this.plan.emit(Op.PoissonStep, this.#poisson);
  }
}
