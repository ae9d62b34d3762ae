import {
  Bias,
  DENSE_STEPS,
  Decolle,
  DecolleDense,
  Derivative,
  Local,
  Op,
  Patch,
  PRODUCT_ROWS,
  PRODUCT_SCRATCH,
  Product,
  Trace,
} from "../../assembly/abi.ts";

import { Layout } from "../core/geometry.ts";
import { weightSteps } from "../core/panels.ts";
import type { Plan } from "../core/plan.ts";
import type { EncoderDescriptor } from "../encoders.ts";
import { SteppedStem } from "./common.ts";
import type { DecolleDescriptor } from "./decolle.ts";
import type { DecolleLayer } from "./decolle-model.ts";
import type { Bindings, Learner, Ports, Purpose } from "./method.ts";

/**
 * Lays out a program of `decolle`.
 *
 * Inference takes one sample at a time, layer by layer: currents follow the events, the filter follows the synapse. Training
 * has time outermost over the whole batch and keeps the step in work alone; each layer computes its δ as soon as it has
 * spiked. Where the weights change within the sample (`purpose.learn`), W·P is a product with the traces themselves; where
 * they do not, it is the filtered current, with the same bits as inference.
 */
export function lowerDecolle(
  layers: readonly DecolleLayer[],
  input: Layout,
  descriptor: DecolleDescriptor,
  encoder: EncoderDescriptor,
  plan: Plan,
  purpose: Purpose,
  bindings: Bindings,
): Ports {
  const train = SPIKEGRAD_TRAINING && purpose.mode === "train";
  const schedule = train ? "batch" : "sample";
  const { classes } = descriptor;
  let plain = isPlain(encoder);
  const lanes = purpose.mode === "infer" ? Math.min(lanesOf(layers, encoder), purpose.capacity) : 1;
  const counters = layers.length + 1;
  const stem = new SteppedStem(
    plan,
    purpose,
    bindings,
    input,
    encoder,
    classes,
    counters,
    schedule,
    train,
    lanes,
  );
  const context = { stem, descriptor, purpose, train };
  let activity = stem.activity;
  const parts = layers.map((layer, i) => {
    const part = new Part(context, layer, i, activity, plain, i === layers.length - 1);
    plain = true;
    activity = part.activity;
    return part;
  });
  const { steps } = stem;
  const live = purpose.mode === "step";
  if (train) {
    // Samples are shared out among ranks up to their δ, then inputs (or outputs) of the gradients, then elements of the step.
    plan.together = true;
    plan.loop(Op.ForShare, [], () => {
      stem.encodeSetup();
      stem.clear(stem.losses, 4);
      for (const part of parts) part.begin();
    });
    plan.loop(Op.RankZero, [], () => {
      stem.clear(plan.view(bindings.blockGradients), bindings.blockBytes);
      for (const part of parts) {
        part.turnReadout();
        if (!purpose.learn) part.clearSums();
      }
    });
    plan.barrier();
    const { learn } = purpose;
    const whole = learn?.fused && parts.every((part) => part.whole) && !meets(purpose, descriptor);
    plan.loop(Op.ForSteps, [steps, 1], () => {
      plan.loop(Op.ForShare, [], () => stem.encodeStep());
      if (learn && whole) return stepLayers(plan, parts, learn, descriptor.burnIn);
      for (const part of parts) part.trainStep();
      plan.loop(Op.FromStep, [descriptor.burnIn], () => {
        const rest = () => {
          for (const part of parts) part.gradients();
        };
        const emitters = new Map(parts.flatMap((part) => part.parts));
        if (learn) learn.emit(plan, rest, emitters);
        else {
          plan.barrier();
          rest();
          for (const emit of emitters.values()) emit(1);
        }
        plan.barrier();
      });
    });
    if (!purpose.learn) for (const part of parts) part.endGradients();
    return stem.ports;
  }
  plan.loop(Op.ForBlocks, [], () => {
    plan.loop(Op.ForGroups, [lanes], () => {
      plan.loop(Op.ForLanes, [], () => {
        stem.encode();
        if (live) return;
        stem.clear(stem.losses, 4);
        for (const part of parts) part.begin();
      });
      for (const part of parts) part.infer();
    });
  });
  return stem.ports;
}

/** Whether a step has a sum over all samples before δ. */
function meets({ record }: Purpose, { regularizer }: DecolleDescriptor): boolean {
  return regularizer > 0 || record.readouts;
}

/**
 * A step without barriers, of layers whose updates go with their gradients. No layer needs another's: a rank takes part in the
 * update of a layer when all ranks have its δ, and goes through it again when all are done with that. Between the two it has as
 * many points to pass as there are other layers, so that one held up for less than a layer's time keeps nobody waiting.
 */
function stepLayers(plan: Plan, parts: readonly Part[], learn: Learner, burnIn: number): void {
  const keepUp = (lag: number, points: number) => {
    if (plan.ranks > 1) plan.emit(Op.KeepUp, lag, points);
  };
  const pass = () => keepUp(parts.length - 1, 1);
  parts.forEach((part, i) => {
    part.trainStep();
    plan.loop(Op.FromStep, [burnIn], () => {
      if (i === 0) {
        // All updates of the step before are done.
        plan.loop(Op.RankZero, [], () => keepUp(0, 0));
        learn.emitAdvance(plan);
      }
      pass();
    });
  });
  plan.loop(Op.FromStep, [burnIn], () => {
    for (const part of parts) {
      for (const [parameter, emit] of part.parts) learn.emitUpdate(plan, parameter, emit);
      pass();
    }
  });
}

interface Context {
  readonly stem: SteppedStem;
  readonly descriptor: DecolleDescriptor;
  readonly purpose: Purpose;
  readonly train: boolean;
}

/** Scratch for the spikes of some steps of a dense layer's input: half of a first-level cache. */
const LIST_BYTES = 16384;

/** Samples that go through a dense network together, so that its weights are fetched once for all of them. */
const LANES = 8;

/** Whether all spikes count 1: they are walked as bits. */
function isPlain(encoder: EncoderDescriptor): boolean {
  return encoder.kind === "latency" || (encoder.kind === "poisson" && !encoder.signed);
}

/** Samples that inference takes at once. */
export function lanesOf(layers: readonly DecolleLayer[], encoder: EncoderDescriptor): number {
  return isPlain(encoder) && layers.every(({ kind }) => kind === "dense") ? LANES : 1;
}

/** One layer of a program: its memory, its records, and what is emitted for a step. */
class Part {
  /** What the next layer sees. */
  readonly activity: number;
  readonly #context: Context;
  readonly #layer: DecolleLayer;
  readonly #index: number;
  /** The product with the traces stands in for filtered currents. */
  readonly #traced: boolean = false;
  readonly #dense: boolean;
  readonly #field: number;
  readonly #fieldBytes: number;
  /** Bytes between its rows. */
  readonly #stride: number;
  readonly #origin: number;
  readonly #membranes: number;
  readonly #states: { view: number; bytes: number }[] = [];
  readonly #mask: number = 0;
  readonly #synapse: number;
  readonly #start: number;
  readonly #neuron: number;
  readonly #smooth: number | undefined = undefined;
  readonly #readout: { bias: number; synapse: number };
  readonly #score: number;
  readonly #wholeSample: number;
  readonly #scored: boolean;
  readonly #trace: number = 0;
  readonly #product: number = 0;
  readonly #patch: number = 0;
  readonly #sums: { view: number; bytes: number } = { view: 0, bytes: 0 };
  readonly #biasGradient: number = 0;
  readonly #turned: { from: number; to: number } = { from: 0, to: 0 };

  constructor(
    context: Context,
    layer: DecolleLayer,
    index: number,
    source: number,
    plain: boolean,
    last: boolean,
  ) {
    const train = SPIKEGRAD_TRAINING && context.train;
    const { stem, descriptor, purpose } = context;
    const { plan } = stem;
    const { layout, pooled, geometry } = layer;
    this.#context = context;
    this.#layer = layer;
    this.#index = index;
    this.#dense = layer.kind === "dense";
    if (train) this.#traced = purpose.learn !== undefined;
    const rowBytes = layout.rowLength * 4;
    // Patches need no border around the currents.
    const { stride, origin, bytes } =
      train && this.#traced && layer.patches
        ? { stride: rowBytes, origin: 0, bytes: layout.length * 4 }
        : geometry.target;
    this.#field = stem.scratch(bytes);
    this.#fieldBytes = bytes;
    this.#stride = stride;
    this.#origin = plan.shift(this.#field, origin);
    this.#membranes =
      SPIKEGRAD_TRAINING && purpose.record.membranes
        ? stem.recorded(`${layer.name}.membranes`, layout, true)
        : 0;
    const state = (n: number) => {
      const view = stem.scratch(n);
      this.#states.push({ view, bytes: n });
      return view;
    };
    const refractory = state(layout.length * 4);
    const own = state(layout.bitBytes);
    const filters = train && this.#traced ? [0, 0] : [state(layout.length * 4), state(layout.length * 4)];
    const pools = layer.window > 1;
    const bits = stem.bits(pooled);
    if (SPIKEGRAD_TRAINING && bits.address) {
      const port = {
        name: `${layer.name}.spikes`,
        address: bits.address,
        kind: "bits" as const,
        layout: pooled,
      };
      stem.records.push({ ...port, steps: stem.steps, amplitude: 0 });
    }
    this.activity = stem.activityOf(pooled, bits.view, 0);
    if (train && layer.probability > 0) this.#mask = stem.scratch(pooled.length * 4);
    const best = pools ? stem.scratch(pooled.length * 4) : 0;
    const argmax = pools && train ? stem.scratch(pooled.length * 4) : 0;
    const rest = (x: number) => ({ f32: 1 - x });
    const { alpha, beta, rho, refractoryWeight } = descriptor;
    const filter = { alpha: { f32: alpha }, beta: { f32: beta } };
    this.#neuron = plan.record(Decolle.Size, {
      [Decolle.Rows]: layout.rows,
      [Decolle.RowLength]: layout.rowLength,
      [Decolle.RowWords]: layout.rowWords,
      [Decolle.Field]: this.#origin,
      [Decolle.Stride]: stride,
      [Decolle.Refractory]: refractory,
      [Decolle.Own]: own,
      [Decolle.Bits]: pools ? 0 : bits.view,
      [Decolle.P]: filters[0],
      [Decolle.Q]: filters[1],
      [Decolle.Bias]: stem.parameter(layer.bias),
      [Decolle.Channels]: layout.channels,
      [Decolle.Alpha]: filter.alpha,
      [Decolle.AlphaRest]: rest(alpha),
      [Decolle.Beta]: filter.beta,
      [Decolle.BetaRest]: rest(beta),
      [Decolle.Rho]: { f32: rho },
      [Decolle.Kick]: { f32: (1 - rho) * refractoryWeight },
      [Decolle.Spikes]: stem.counter(index + 1),
      [Decolle.Window]: layer.window,
      [Decolle.PooledRows]: pooled.rows,
      [Decolle.PooledRowLength]: pooled.rowLength,
      [Decolle.PooledRowWords]: pooled.rowWords,
      [Decolle.Pooled]: best,
      [Decolle.PooledBits]: bits.view,
      ...(train && {
        [Decolle.Argmax]: argmax,
        [Decolle.PatchRow]: layer.patches?.patchRow ?? 0,
        [Decolle.PatchColumn]: layer.patches?.patchColumn ?? 0,
      }),
    });

    const { from } = layer;
    const { patches } = layer;
    const traces = train ? [state(patches?.bytes ?? from.length * 4), state(from.length * 4)] : [0, 0];
    if (train)
      this.#trace = plan.record(Trace.Size, {
        [Trace.Activity]: source,
        [Trace.P]: plan.shift(traces[0], patches?.origin ?? 0),
        [Trace.Stride]: patches?.rowBytes ?? from.rowLength * 4,
        [Trace.Q]: traces[1],
        [Trace.Alpha]: filter.alpha,
        [Trace.AlphaRest]: rest(alpha),
        [Trace.Beta]: filter.beta,
        [Trace.BetaRest]: rest(beta),
      });
    this.#wholeSample = !train && this.#dense && plain ? this.#wholeSampleOf(source) : 0;
    this.#start = plan.record(Bias.Size, {
      [Bias.Field]: this.#origin,
      [Bias.Stride]: stride,
      [Bias.Rows]: layout.rows,
      [Bias.RowLength]: layout.rowLength,
      [Bias.Channels]: layout.channels,
      ...(train && { [Bias.Bias]: this.#traced ? stem.parameter(layer.bias) : 0 }),
    });
    this.#synapse = stem.fanout(source, geometry, layer.weight, this.#field, 0);

    // Readout, answer and loss.
    const answer = new Layout({ channels: descriptor.classes, height: 1, width: 1 }, true);
    const kept = train && purpose.record.readouts;
    const readout =
      train && kept ? stem.recorded(`${layer.name}.readout`, answer, true) : stem.scratch(answer.length * 4);
    // What the readout sees; the surrogate's slope is 10.
    const smooth =
      SPIKEGRAD_TRAINING && purpose.smooth
        ? stem.smoothed(
            pooled,
            {
              view: pools ? best : this.#origin,
              stride: pools ? pooled.rowLength * 4 : stride,
              threshold: 0,
            },
            { kind: Derivative.FastSigmoid, slope: 10 },
            this.#mask,
          )
        : undefined;
    if (smooth) this.#smooth = smooth.record;
    const masked = train && this.#mask ? stem.activityOf(pooled, bits.view, this.#mask) : this.activity;
    const seen = smooth?.activity ?? masked;
    this.#readout = {
      bias: plan.record(Bias.Size, {
        [Bias.Field]: readout,
        [Bias.Stride]: answer.length * 4,
        [Bias.Rows]: 1,
        [Bias.RowLength]: answer.length,
        [Bias.Channels]: answer.length,
        [Bias.Bias]: stem.parameter(layer.readout.bias),
      }),
      synapse: stem.fanout(seen, layer.readout.geometry, layer.readout.weight, readout, 0),
    };
    this.#scored = train || (SPIKEGRAD_TRAINING && purpose.count) || last;
    const answers = last
      ? stem.outputs
      : SPIKEGRAD_TRAINING && this.#scored && !train
        ? stem.answersOf(layer.name)
        : 0;
    if (SPIKEGRAD_TRAINING && last && purpose.count) stem.answers.set(layer.name, stem.ports.outputs);
    const error = train ? stem.scratch(answer.length * 4) : 0;
    const weight = train ? plan.view(plan.take(descriptor.classes * pooled.length * 4)) : 0;
    if (train) this.#turned = { from: stem.parameter(layer.readout.weight), to: weight };
    const delta = train ? stem.scratch(pooled.length * 4) : 0;
    let means = 0;
    if (train && kept) {
      const count = stem.steps - descriptor.burnIn;
      const address = plan.take(count * 4);
      stem.records.push({ name: `${layer.name}.loss`, address, kind: "plain", shape: [count] });
      means = plan.view(address - descriptor.burnIn * 4, { step: 4 });
    }
    this.#score = plan.record(Local.Size, {
      [Local.Classes]: descriptor.classes,
      [Local.Readout]: readout,
      [Local.Answer]: answers,
      [Local.Common]: descriptor.prediction === "mostCommon" ? 1 : 0,
      [Local.Losses]: stem.losses,
      [Local.Labels]: stem.labels,
      ...(train && {
        [Local.StepLoss]: stem.scratch(4),
        [Local.Error]: error,
        [Local.Weight]: weight,
        [Local.Rows]: pooled.rows,
        [Local.RowLength]: pooled.rowLength,
        [Local.Pooled]: pools ? best : this.#origin,
        [Local.PooledStride]: pools ? pooled.rowLength * 4 : stride,
        [Local.Mask]: this.#mask,
        [Local.Delta]: delta,
        [Local.Channels]: pooled.channels,
        [Local.RealChannels]: pooled.extent.channels,
        [Local.Regularizer]: { f32: descriptor.regularizer },
        [Local.Gate]: plan.take(8),
        [Local.Means]: means,
      }),
    });
    if (answers) this.#states.push({ view: answers, bytes: descriptor.classes * 4 });

    // Gradients.
    if (!train) return;
    this.#biasGradient = plan.record(Bias.Size, {
      [Bias.Field]: delta,
      [Bias.Stride]: pooled.rowLength * 4,
      [Bias.Rows]: pooled.rows,
      [Bias.RowLength]: pooled.rowLength,
      [Bias.Channels]: pooled.channels,
      [Bias.Gradient]: stem.gradient(layer.bias),
    });
    if (!patches) {
      const { capacity } = purpose;
      const rows = weightSteps(geometry);
      // An odd number of cache lines, so that lists do not meet in the same sets.
      const turnedStride = (Math.ceil(capacity / 8) | 1) * 64;
      this.#product = plan.record(Product.Size, {
        [Product.Inputs]: from.length,
        [Product.Outputs]: layout.length,
        [Product.Values]: traces[0],
        [Product.Weight]: stem.parameter(layer.weight),
        [Product.Stride]: rows.stride,
        [Product.Panel]: rows.panel,
        [Product.Gradient]: stem.gradient(layer.weight),
        [Product.Bias]: stem.parameter(layer.bias),
        [Product.Target]: this.#field,
        [Product.Delta]: delta,
        [Product.Lists]: plan.take(capacity * from.length * 8, 64),
        [Product.Starts]: plan.take(capacity * (Math.ceil(from.length / PRODUCT_ROWS) + 1) * 4),
        [Product.Scratch]: plan.perRank(PRODUCT_SCRATCH + turnedStride * PRODUCT_ROWS),
        [Product.TurnedStride]: turnedStride,
      });
      return;
    }
    const { kernel } = patches;
    const run = kernel * from.channels;
    const runStride = Math.ceil(run / 4) * 4;
    const places = pooled.rows * pooled.extent.width;
    const sumBytes = layout.extent.channels * kernel * runStride * 4;
    this.#sums = { view: plan.view(plan.take(sumBytes, 64)), bytes: sumBytes };
    const packed = Math.ceil(layout.channels / 8) * kernel * run * 32;
    this.#patch = plan.record(Patch.Size, {
      [Patch.Kernel]: kernel,
      [Patch.Run]: run,
      [Patch.RunStride]: runStride,
      [Patch.RowBytes]: patches.rowBytes,
      [Patch.InputChannels]: from.channels,
      [Patch.RealInputs]: from.extent.channels,
      [Patch.Positions]: patches.offsets.length,
      [Patch.Offsets]: plan.table(patches.offsets),
      [Patch.Outputs]: layout.channels,
      [Patch.RealOutputs]: layout.extent.channels,
      [Patch.Input]: traces[0],
      [Patch.Weight]: stem.parameter(layer.weight),
      [Patch.Taps]: plan.table(patches.taps),
      [Patch.TapStride]: patches.tapStride,
      [Patch.Packed]: this.#traced ? plan.take(packed, 64) : 0,
      [Patch.Bias]: stem.parameter(layer.bias),
      [Patch.Target]: this.#field,
      [Patch.Places]: places,
      [Patch.Delta]: delta,
      [Patch.Argmax]: argmax,
      [Patch.List]: plan.perRank(Math.ceil(places / 4) * 4 * 8),
      [Patch.Sums]: this.#sums.view,
      [Patch.Gradient]: stem.gradient(layer.weight),
    });
  }

  /** A sample's states at rest; its mask. */
  begin(): void {
    const { stem } = this.#context;
    const { name, pooled, probability } = this.#layer;
    stem.clear(this.#field, this.#fieldBytes);
    for (const { view, bytes } of this.#states) stem.clear(view, bytes);
    if (SPIKEGRAD_TRAINING && this.#mask) stem.drawMask(name, pooled, this.#mask, probability, this.#index);
  }

  /** Aᵀ, classes outermost. */
  turnReadout(): void {
    const { stem, descriptor } = this.#context;
    const { pooled, readout } = this.#layer;
    const { from, to } = this.#turned;
    stem.plan.emit(Op.Transpose, to, from, pooled.length, descriptor.classes, readout.geometry.weightStride);
  }

  /** A dense layer that takes all steps of plain spikes of a group at once. */
  #wholeSampleOf(source: number): number {
    const { stem, purpose } = this.#context;
    const { plan } = stem;
    const { from, geometry, layout, weight } = this.#layer;
    const bytes = Math.max(from.length * 4, LIST_BYTES);
    const rows = weightSteps(geometry);
    return plan.record(DecolleDense.Size, {
      [DecolleDense.Neuron]: this.#neuron,
      [DecolleDense.Activity]: source,
      [DecolleDense.Weight]: stem.parameter(weight),
      [DecolleDense.Stride]: rows.stride,
      [DecolleDense.Panel]: rows.panel,
      [DecolleDense.Steps]: stem.steps,
      [DecolleDense.List]: stem.scratch(bytes),
      [DecolleDense.ListBytes]: bytes,
      [DecolleDense.Starts]: stem.scratch((DENSE_STEPS + 3) * 4),
      [DecolleDense.Currents]: plan.perRank(DENSE_STEPS * 128),
      [DecolleDense.Outputs]: layout.extent.channels,
      ...(SPIKEGRAD_TRAINING && { [DecolleDense.Operations]: purpose.count ? stem.operationCounter : 0 }),
    });
  }

  /** Emits all steps of a group's samples. */
  infer(): void {
    const { stem, purpose, descriptor } = this.#context;
    const { plan } = stem;
    if (this.#wholeSample) plan.emit(Op.DecolleDense, this.#wholeSample);
    if (this.#wholeSample && !this.#scored) return;
    plan.loop(Op.ForLanes, [], () => {
      plan.loop(Op.ForSteps, [stem.steps, 1], () => {
        if (!this.#wholeSample) {
          this.#current();
          if (SPIKEGRAD_TRAINING && purpose.count)
            plan.emit(Op.CountOperations, this.#synapse, stem.operationCounter);
          this.#spike();
        }
        if (!this.#scored) return;
        plan.loop(Op.FromStep, [descriptor.burnIn], () => {
          this.#read();
          plan.emit(Op.DecolleScore, this.#score);
        });
      });
    });
  }

  /** Up to δ of every sample. */
  trainStep(): void {
    const { stem, purpose, descriptor } = this.#context;
    const { plan } = stem;
    const each = (body: () => void) => plan.loop(Op.ForShare, [], body);
    each(() => plan.emit(Op.DecolleTrace, this.#trace));
    if (this.#traced && this.#patch) plan.emit(Op.PatchForward, this.#patch);
    else if (this.#traced) {
      plan.emit(Op.ProductGather, this.#product);
      plan.emit(Op.ProductForward, this.#product);
    }
    each(() => {
      if (!this.#traced) this.#current();
      this.#spike();
      if (purpose.record.readouts) this.#read();
    });
    plan.loop(Op.FromStep, [descriptor.burnIn], () => {
      each(() => {
        if (!purpose.record.readouts) this.#read();
        plan.emit(Op.DecolleScore, this.#score);
      });
      if (meets(purpose, descriptor)) {
        plan.barrier();
        plan.loop(Op.RankZero, [], () => plan.emit(Op.DecolleRegularize, this.#score));
        plan.barrier();
      }
      // Where the optimizer steps, the gradients are those of the step alone.
      if (this.#traced) plan.loop(Op.RankZero, [], () => this.clearSums());
      each(() => plan.emit(Op.DecolleDelta, this.#score));
      if (!this.#patch && !this.#traced) plan.emit(Op.ProductGather, this.#product);
    });
  }

  /** The gradients of a step, when δ of all samples are there, but for those of `parts`. */
  gradients(): void {
    const { plan } = this.#context.stem;
    if (this.#patch) {
      plan.emit(Op.PatchBackward, this.#patch);
      if (this.#traced) this.endGradients();
    } else if (!this.whole) plan.emit(Op.ProductBackward, this.#product, this.#traced ? 0 : 1);
  }

  /** Whether the optimizer's step can go with the product that gives the gradient: where rows of weights lie next to each other. */
  get whole(): boolean {
    return this.#product > 0 && this.#layer.geometry.panels === true;
  }

  /** Parameters with what emits their gradients, and the step. */
  get parts(): [number, (mode: number) => void][] {
    const { plan } = this.#context.stem;
    const { weight, bias } = this.#layer;
    const part = (parameter: number, op: Op, record: number): [number, (mode: number) => void] => [
      parameter,
      (mode) => plan.emit(op, record, mode),
    ];
    const ofBias = part(bias, Op.BiasGradient, this.#biasGradient);
    return this.whole ? [ofBias, part(weight, Op.ProductBackward, this.#product)] : [ofBias];
  }

  /** A convolution's sums at 0. */
  clearSums(): void {
    const { view, bytes } = this.#sums;
    if (bytes) this.#context.stem.clear(view, bytes);
  }

  /** A convolution's sums become the gradient. */
  endGradients(): void {
    if (this.#patch) this.#context.stem.plan.emit(Op.PatchGradient, this.#patch);
  }

  /** Currents of one step, on top of the bias or of 0. */
  #current(): void {
    const { plan } = this.#context.stem;
    plan.emit(Op.BiasForward, this.#start);
    plan.emit(Op.FanoutForward, this.#synapse);
  }

  #spike(): void {
    const { plan } = this.#context.stem;
    plan.emit(Op.DecolleForward, this.#neuron);
    if (SPIKEGRAD_TRAINING && this.#membranes) {
      const { layout } = this.#layer;
      const rowBytes = layout.rowLength * 4;
      plan.emit(Op.Copy, this.#membranes, this.#origin, layout.rows, rowBytes, rowBytes, this.#stride);
    }
    if (this.#layer.window > 1) plan.emit(Op.DecollePool, this.#neuron);
  }

  #read(): void {
    const { plan } = this.#context.stem;
    if (SPIKEGRAD_TRAINING && this.#smooth) plan.emit(Op.SmoothSpikes, this.#smooth);
    plan.emit(Op.BiasForward, this.#readout.bias);
    plan.emit(Op.FanoutForward, this.#readout.synapse);
  }
}
