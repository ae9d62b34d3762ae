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
  TimesEncoder,
  Window,
} from "../../assembly/abi.ts";
import {
  convGeometry,
  convolved,
  denseGeometry,
  type Extent,
  type FanoutGeometry,
  Layout,
  type RouteGeometry,
  size,
} from "../core/geometry.ts";
import type { Field, Plan } from "../core/plan.ts";
import { streamKey } from "../core/random.ts";
import { type EncoderDescriptor, isContinuous } from "../encoders.ts";
import { ArgumentError } from "../errors.ts";
import type { Conv2dLayer, DenseLayer } from "../layers.ts";
import type { LossDescriptor, LossReduction } from "../losses.ts";
import type { Bindings, Initial, ParameterSpec, PlainPort, Ports, Purpose, RecordPort } from "./method.ts";

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
    initial: (fanIn: number) => Initial,
    option: { readonly trainable?: boolean; readonly whole?: boolean } = {},
  ): number {
    const { trainable = true, whole = false } = option;
    const fanIn = shape.slice(1).reduce((a, b) => a * b, 1);
    return this.#push({
      name,
      shape,
      length: geometry.weightLength,
      places: geometry.places,
      fanIn,
      initial: initial(fanIn),
      whole,
      trainable,
    });
  }

  /** One value a channel, padded to whole vectors: biases, scales, running statistics (which are not learned). */
  vector(
    name: string,
    channels: number,
    fanIn: number,
    initial: Initial,
    option: { readonly trainable?: boolean; readonly statistic?: boolean; readonly whole?: boolean } = {},
  ): number {
    const { statistic = false, trainable = !statistic, whole = false } = option;
    const length = Math.ceil(channels / 4) * 4;
    return this.#push({
      name,
      shape: [channels],
      length,
      places: { first: () => [0] },
      fanIn,
      initial,
      whole,
      trainable,
      statistic,
    });
  }

  #push(spec: ParameterSpec): number {
    this.specs.push(spec);
    return this.specs.length - 1;
  }
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

/** Whether a loss is averaged over the batch; `usual` is the method's choice where the user made none. */
export function meanLoss(loss: LossDescriptor, usual: LossReduction): boolean {
  return (loss.reduction ?? usual) === "mean";
}

/** Fields of an output record that scale its loss. */
export function lossFields(
  loss: LossDescriptor,
  usual: LossReduction,
  classes: number,
): Readonly<Record<number, Field>> {
  const { scale, mean } = lossScale(loss, usual, classes);
  return { [Output.LossScale]: scale, [Output.Mean]: mean };
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
 * What every time-stepped program begins with: control record, frames, the batch's ports and the encoded input.
 * `schedule` "sample": scratch belongs to the rank and holds one sample at a time; "batch": it belongs to the sample.
 * `stepwise`: bits of the step in work alone are kept, unless recorded; `encodeStep` makes the input's. `lanes`: samples of a
 * group, by whose place in it the rank's scratch is told apart (`Op.ForLanes`).
 */
export class Stem {
  readonly plan: Plan;
  readonly purpose: Purpose;
  readonly bindings: Bindings;
  /** Steps of the program: T, or 1 for a live network. */
  readonly steps: number;
  /** Activity record of the input. */
  readonly activity: number;
  readonly classes: number;
  readonly records: (RecordPort | PlainPort)[] = [];
  readonly masks = new Map<string, number>();
  readonly answers = new Map<string, number>();
  readonly #schedule: "sample" | "batch";
  readonly #stepwise: boolean;
  readonly #lanes: number;
  readonly #control: number;
  readonly #frames: number;
  readonly #counters: number;
  readonly #spikes: number;
  readonly #operations: number;
  readonly #labels: number;
  readonly #sampleIds: number;
  readonly #outputs: number;
  readonly #losses: number;
  readonly #given: number;
  /** View of the frames of a sample as given. */
  readonly frames: number;
  readonly #inputs: number;
  readonly #inputLength: number;
  readonly #poisson: number;
  readonly #latency: number;
  readonly #times: number;
  /** View of the input's spike times, f32 in the input's layout; 0 with an encoder in time steps. */
  readonly times: number;

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
    this.#control = plan.take(Control.Size);
    this.#frames = plan.take(Frame.Size * plan.ranks);
    const events = plan.take(EVENT_SCRATCH * plan.ranks, 64);
    for (let rank = 0; rank < plan.ranks; rank++) {
      const frame = this.#frames + rank * Frame.Size;
      plan.preset(frame + Frame.Events, [events + rank * EVENT_SCRATCH, this.#control]);
    }
    this.#counters = counters;
    this.#spikes = plan.take(capacity * counters * 4);
    this.#operations = plan.take(capacity * 8);
    this.#labels = plan.take(capacity * 4);
    this.#sampleIds = plan.take(capacity * 4);
    plan.preset(this.#control + Control.SampleIds, [this.#sampleIds]);
    this.#outputs = plan.take(capacity * classes * 4);
    this.#losses = plan.take(capacity * 4);
    this.#given = purpose.given ? plan.take(capacity * classes * 4) : 0;

    // Explicit spikes are one frame a step; everything else is one frame a sample.
    const frameBytes = input.length * 4;
    const moving = encoder.kind === "spikes" && !live;
    this.#inputLength = input.length * (moving ? encoder.steps : 1);
    this.#inputs = plan.take(capacity * this.#inputLength * 4, 64);
    this.frames = plan.view(this.#inputs, { sample: this.#inputLength * 4, step: moving ? frameBytes : 0 });
    this.#poisson = 0;
    this.#latency = 0;
    this.#times = 0;
    this.times = 0;
    if (isContinuous(encoder)) {
      const [key0, key1] = streamKey(bindings, Stream.Encoder);
      this.times = this.scratch(frameBytes);
      this.#times = plan.record(TimesEncoder.Size, {
        [TimesEncoder.Count]: input.length,
        [TimesEncoder.Input]: this.frames,
        [TimesEncoder.Times]: this.times,
        [TimesEncoder.Intensity]: encoder.kind === "firstSpike" ? 1 : 0,
        [TimesEncoder.SilentBelow]: { f32: encoder.kind === "firstSpike" ? encoder.silentBelow : 0 },
        [TimesEncoder.Noise]: { f32: SPIKEGRAD_TRAINING && purpose.mode === "train" ? encoder.noise : 0 },
        [TimesEncoder.Key0]: key0,
        [TimesEncoder.Key1]: key1,
        [TimesEncoder.Spikes]: this.counter(0),
      });
      this.activity = 0;
      return;
    }
    if (encoder.kind === "spikes" || encoder.kind === "direct") {
      this.activity = plan.record(Activity.Size, {
        [Activity.Kind]: ActivityKind.Values,
        [Activity.Rows]: input.rows,
        [Activity.RowLength]: input.rowLength,
        [Activity.Data]: this.frames,
      });
      return;
    }
    const count = input.length;
    // All spikes of a latency code are placed at once.
    const whole = encoder.kind === "latency" && stepwise && !live;
    const bits = whole ? this.scratch(0, input.bitBytes) : this.bits(input, false).view;
    if (encoder.kind === "latency") {
      const [key0, key1] = streamKey(bindings, Stream.Encoder);
      this.#latency = plan.record(Latency.Size, {
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
      this.activity = this.activityOf(input, bits, 0);
      return;
    }
    const signs = encoder.signed ? this.scratch(frameBytes) : 0;
    const [key0, key1] = streamKey(bindings, Stream.Encoder);
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
    this.activity = this.activityOf(input, bits, signs);
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

  /** A layer's bits for every step; `kept` holds those of every sample for `record`. */
  bits(layout: Layout, kept: boolean): Bits {
    const { plan, steps, purpose } = this;
    const step = layout.bitBytes;
    if (purpose.mode === "step") return { view: this.scratch(step), address: 0 };
    if (!kept) return { view: this.scratch(step, this.#stepwise ? 0 : step), address: 0 };
    const address = plan.take(purpose.capacity * step * steps, 64);
    return { view: plan.view(address, { step, sample: step * steps }), address };
  }

  /** Values of every sample (and step) that `record` gives out; gives their view. */
  values(name: string, layout: Layout, perStep: boolean): number {
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
  smooth(
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
    const activity = (data: number) =>
      this.plan.record(Activity.Size, {
        [Activity.Kind]: ActivityKind.Values,
        [Activity.Rows]: layout.rows,
        [Activity.RowLength]: layout.rowLength,
        [Activity.Data]: data,
      });
    return { record, activity: activity(values), before: activity(this.plan.shift(values, -bytes)) };
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
    return this.plan.view(this.#spikes + i * 4, { sample: this.#counters * 4 });
  }

  /** View of the counter of synaptic operations. */
  get operations(): number {
    return this.plan.view(this.#operations, { sample: 8 });
  }

  /** Views of a sample's answer, loss, label and given dL/dy. */
  get outputs(): number {
    return this.plan.view(this.#outputs, { sample: this.classes * 4 });
  }

  get losses(): number {
    return this.plan.view(this.#losses, { sample: 4 });
  }

  get labels(): number {
    return this.plan.view(this.#labels, { sample: 4 });
  }

  get given(): number {
    return this.#given ? this.plan.view(this.#given, { sample: this.classes * 4 }) : 0;
  }

  /** Emits the encoding of a sample, all its steps. */
  encode(): void {
    this.encodeSetup();
    if (this.#poisson) this.plan.loop(Op.ForSteps, [this.steps, 1], () => this.encodeStep());
  }

  /** Emits what the encoding of a sample needs once. */
  encodeSetup(): void {
    if (this.#times) this.plan.emit(Op.TimesEncode, this.#times);
    if (this.#latency) this.plan.emit(Op.Latency, this.#latency);
    if (this.#poisson) this.plan.emit(Op.PoissonSetup, this.#poisson);
  }

  /** Emits the encoding of one step, after `encodeSetup`. */
  encodeStep(): void {
    if (this.#poisson) this.plan.emit(Op.PoissonStep, this.#poisson);
  }

  /** Answers of every sample from the layer `name`; gives their view. */
  answersOf(name: string): number {
    const address = this.plan.take(this.purpose.capacity * this.classes * 4);
    this.answers.set(name, address);
    return this.plan.view(address, { sample: this.classes * 4 });
  }

  /** Emits the drawing (or copying) of a dropout mask into the view `mask`. `index` keys its random numbers. */
  dropout(name: string, layout: Layout, mask: number, probability: number, index: number): void {
    if (!SPIKEGRAD_TRAINING) return;
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
    if (!SPIKEGRAD_TRAINING || this.purpose.mode !== "train") return 0;
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
      [Fanout.Gradient]: this.gradient(parameter),
      [Fanout.Target]: target,
      [Fanout.TargetStride]: geometry.target.stride,
      [Fanout.WeightStride]: geometry.weightStride,
      [Fanout.Delivered]: delivered,
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
      [Route.Delivered]: delivered,
      [Route.Scale]: { f32: scale },
    });
  }

  clear(view: number, bytes: number, share = false): void {
    this.plan.emit(Op.Clear, view, bytes, share ? 1 : 0);
  }

  /** Emits `body` for every block of this rank; gradients start at 0 in each. */
  forEachBlock(body: () => void): void {
    const { plan, purpose, bindings } = this;
    plan.loop(Op.ForBlocks, [], () => {
      if (SPIKEGRAD_TRAINING && purpose.mode === "train") {
        this.clear(plan.view(bindings.blockGradients, { block: bindings.blockBytes }), bindings.blockBytes);
      }
      body();
    });
  }

  /** Emits `body` for every sample of every block of this rank. */
  forEachSample(body: () => void): void {
    this.forEachBlock(() => this.plan.loop(Op.ForSamples, [], body));
  }

  get ports(): Ports {
    return {
      control: this.#control,
      frames: this.#frames,
      inputs: this.#inputs,
      inputLength: this.#inputLength,
      labels: this.#labels,
      sampleIds: this.#sampleIds,
      outputs: this.#outputs,
      losses: this.#losses,
      given: this.#given,
      spikes: this.#spikes,
      operations: this.#operations,
      masks: this.masks,
      records: this.records,
      answers: this.answers,
    };
  }
}
