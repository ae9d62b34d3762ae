import {
  BackwardFlags,
  Bias,
  Deliver,
  Derivative,
  DIRECT_GROUP,
  DIRECT_PARTS,
  Direct,
  FieldPool,
  Op,
  StepLoss,
  StepLossKind,
  Surrogate,
} from "../../assembly/abi.ts";
import type { FanoutGeometry, Layout } from "../core/geometry.ts";
import type { Plan } from "../core/plan.ts";
import type { EncoderDescriptor } from "../encoders.ts";
import type { LossDescriptor } from "../losses.ts";
import { lossScale, SteppedStem } from "./common.ts";
import type { Bindings, Ports, Purpose } from "./method.ts";
import type { SurrogateDescriptor } from "./surrogate.ts";

/** A weight layer, the pool behind it if any, and its neurons. */
export interface Stage {
  /** Name of the neurons and of what is recorded of them. */
  readonly name: string;
  readonly kind: "conv2d" | "dense";
  /** Where the weights lead, and how. */
  readonly layout: Layout;
  readonly geometry: FanoutGeometry;
  /** Parameters. */
  readonly weight: number;
  readonly bias: number;
  /** From the neurons to themselves, one step later. */
  readonly recurrent: { readonly geometry: FanoutGeometry; readonly weight: number } | undefined;
  readonly pool: { readonly average: boolean; readonly window: number; readonly layout: Layout } | undefined;
  readonly neurons: Layout;
  readonly threshold: number;
  /** Parameters, where they are learned. */
  readonly learnedDecay: number | undefined;
  readonly learnedThreshold: number | undefined;
  /** How often the current is computed: at every step, or, being the same at all, once a sample or for a whole batch. */
  readonly current: "step" | "sample" | "batch";
  probability: number;
}

export interface SurrogateNetwork {
  readonly stages: readonly Stage[];
  readonly input: Layout;
  readonly descriptor: SurrogateDescriptor;
  readonly encoder: EncoderDescriptor;
  readonly loss: LossDescriptor;
}

/** Derivative, and the two coefficients that the core takes: k and 1, or π k / 2 and k / 2. */
function derivativeOf({ derivative, slope }: SurrogateDescriptor): {
  kind: Derivative;
  a: number;
  b: number;
} {
  if (derivative === "atan") return { kind: Derivative.Atan, a: (Math.PI / 2) * slope, b: slope / 2 };
  return { kind: derivative === "boxcar" ? Derivative.Boxcar : Derivative.FastSigmoid, a: slope, b: 1 };
}

/** Derivative and slope of its primitive. */
function slopeOf(descriptor: SurrogateDescriptor): { kind: Derivative; slope: number } {
  const { kind, a } = derivativeOf(descriptor);
  return { kind, slope: a };
}

/** Fields of a neuron record for the derivative; `one`: the neuron's membrane itself is read. */
function derivativeFields(descriptor: SurrogateDescriptor, one: boolean) {
  const { kind, a, b } = derivativeOf(descriptor);
  return {
    [Surrogate.Derivative]: one ? Derivative.One : kind,
    [Surrogate.Slope]: { f32: a },
    [Surrogate.Height]: { f32: b },
  };
}

/**
 * The program: forward layer by layer, each all its steps, keeping bits and u; backward likewise from the last layer, so that
 * all G of a dense layer are one product. What is constant over the steps of direct input is computed once.
 */
export function lowerSurrogate(
  { stages, input, descriptor, encoder, loss }: SurrogateNetwork,
  plan: Plan,
  purpose: Purpose,
  bindings: Bindings,
): Ports {
  const train = SPIKEGRAD_TRAINING && purpose.mode === "train";
  const live = purpose.mode === "step";
  const last = stages.length - 1;
  const classes = stages[last].neurons.extent.channels;
  const stem = new SteppedStem(plan, purpose, bindings, input, encoder, classes, stages.length + 1);
  const { steps } = stem;
  const onRate = loss.on === "rate";
  const synaptic = descriptor.synapticDecay !== undefined;
  /** Memory of the rank's, one piece of `bytes` a step. */
  const everyStep = (bytes: number, more = 0) => plan.perRank(bytes * (steps + more), { step: bytes });
  /** Memory of each sample of the batch. */
  const everySample = (bytes: number) =>
    plan.view(plan.take(Math.ceil(bytes / 64) * 64 * purpose.capacity, 64), {
      sample: Math.ceil(bytes / 64) * 64,
    });

  const learned = (parameter: number | undefined) =>
    parameter === undefined ? 0 : stem.parameter(parameter);

  const parts = stages.map((stage, i) => {
    const { layout, neurons, pool, geometry, name, current } = stage;
    const { target } = geometry;
    const bytes = neurons.length * 4;
    const once = current !== "step";
    const field = current === "batch" ? everySample(target.bytes) : plan.perRank(target.bytes);
    // Where a constant current is joined by one that is not, it is copied at every step.
    const joined = once && stage.recurrent ? plan.perRank(target.bytes) : 0;
    const fieldOrigin = plan.shift(joined || field, target.origin);
    const pooled = pool ? plan.perRank(bytes) : 0;
    const index = pool && !pool.average && train ? (once ? plan.perRank(bytes) : everyStep(bytes)) : 0;
    // One row before the first step stays 0. The last layer's membranes are the answer's even when not training.
    const kept = (train || i === last) && !live;
    const previous = kept ? everyStep(bytes, 1) : plan.perRank(bytes);
    const membrane = kept ? plan.shift(previous, bytes) : previous;
    const trace = synaptic ? plan.perRank(bytes) : 0;
    const bits = stem.bits(neurons);
    let amplitude = 0;
    let amplitudes = 0;
    if (train && stage.probability > 0) {
      if (purpose.record.spikes) {
        amplitudes = plan.take(purpose.capacity * bytes);
        amplitude = plan.view(amplitudes, { sample: bytes });
      } else amplitude = plan.perRank(bytes);
    }
    if (SPIKEGRAD_TRAINING && bits.address) {
      stem.records.push({
        name: `${name}.spikes`,
        address: bits.address,
        kind: "bits",
        layout: neurons,
        steps,
        amplitude: amplitudes,
      });
    }
    const membranes =
      SPIKEGRAD_TRAINING && purpose.record.membranes ? stem.recorded(`${name}.membranes`, neurons, true) : 0;

    // Backward. D of a pool's field or of a convolution is held for one step, D of a dense layer for all.
    const delivered = train ? everyStep(bytes) : 0;
    const carried = train ? plan.perRank(bytes) : 0;
    const deltaTrace = train && synaptic ? plan.perRank(bytes) : 0;
    const sum = train && once ? (current === "batch" ? everySample(bytes) : plan.perRank(bytes)) : 0;
    const pooledDelta = train && pool && !once ? plan.perRank(bytes) : 0;
    const fieldDelta =
      train && (current !== "batch" || stage.recurrent)
        ? stage.kind === "dense"
          ? everyStep(target.bytes)
          : plan.perRank(target.bytes)
        : 0;
    const deltaOrigin = fieldDelta ? plan.shift(fieldDelta, target.origin) : 0;

    const row = { [Surrogate.Rows]: neurons.rows, [Surrogate.RowLength]: neurons.rowLength };
    const neuron = plan.record(Surrogate.Size, {
      ...row,
      [Surrogate.RowWords]: neurons.rowWords,
      [Surrogate.Current]: pool ? pooled : fieldOrigin,
      [Surrogate.CurrentStride]: pool ? neurons.rowLength * 4 : target.stride,
      [Surrogate.Previous]: previous,
      [Surrogate.Synaptic]: trace,
      [Surrogate.Bits]: bits.view,
      [Surrogate.Spikes]: stem.counter(i + 1),
      [Surrogate.Threshold]: { f32: stage.threshold },
      [Surrogate.Decay]: { f32: descriptor.decay },
      [Surrogate.SynapticDecay]: { f32: descriptor.synapticDecay ?? 0 },
      [Surrogate.ResetToZero]: descriptor.reset === "zero" ? 1 : 0,
      [Surrogate.LearnedDecay]: learned(stage.learnedDecay),
      [Surrogate.LearnedThreshold]: learned(stage.learnedThreshold),
      ...(train && {
        ...derivativeFields(descriptor, i === last && !onRate),
        [Surrogate.Delivered]: delivered,
        [Surrogate.Carried]: carried,
        [Surrogate.Trace]: deltaTrace,
        [Surrogate.Delta]: once && !stage.recurrent ? 0 : pool ? pooledDelta : deltaOrigin,
        [Surrogate.DeltaStride]: pool ? neurons.rowLength * 4 : target.stride,
        [Surrogate.Sum]: sum,
        [Surrogate.Amplitude]: amplitude,
        [Surrogate.DecayGradient]: stage.learnedDecay === undefined ? 0 : stem.gradient(stage.learnedDecay),
        [Surrogate.ThresholdGradient]:
          stage.learnedThreshold === undefined ? 0 : stem.gradient(stage.learnedThreshold),
      }),
    });
    const pooling = (from: number) =>
      pool
        ? plan.record(FieldPool.Size, {
            [FieldPool.From]: fieldOrigin,
            [FieldPool.Stride]: target.stride,
            [FieldPool.Channels]: neurons.channels,
            [FieldPool.Window]: pool.window,
            [FieldPool.Rows]: neurons.extent.height,
            [FieldPool.Columns]: neurons.extent.width,
            [FieldPool.Scale]: { f32: pool.average ? 1 / (pool.window * pool.window) : 0 },
            [FieldPool.To]: pooled,
            ...(train && {
              [FieldPool.Index]: index,
              [FieldPool.Pooled]: from,
              [FieldPool.Delta]: deltaOrigin,
              [FieldPool.DeltaStride]: target.stride,
            }),
          })
        : 0;
    const bias = plan.record(Bias.Size, {
      [Bias.Field]: fieldOrigin,
      [Bias.Stride]: target.stride,
      [Bias.Rows]: layout.rows,
      [Bias.RowLength]: layout.rowLength,
      [Bias.Channels]: layout.channels,
      [Bias.Bias]: stem.parameter(stage.bias),
    });
    const biasBackward =
      train && current !== "batch"
        ? plan.record(Bias.Size, {
            [Bias.Field]: deltaOrigin,
            [Bias.Stride]: target.stride,
            [Bias.Rows]: layout.rows,
            [Bias.RowLength]: layout.rowLength,
            [Bias.Channels]: layout.channels,
            [Bias.Gradient]: stem.gradient(stage.bias),
          })
        : 0;
    const smooth =
      SPIKEGRAD_TRAINING && purpose.smooth && i < last
        ? stem.smoothed(
            neurons,
            {
              view: membrane,
              stride: neurons.rowLength * 4,
              threshold: stage.threshold,
              learned: learned(stage.learnedThreshold),
            },
            slopeOf(descriptor),
            amplitude,
          )
        : undefined;
    return {
      stage,
      smooth,
      bytes,
      once,
      field,
      joined,
      fieldDelta,
      deltaOrigin,
      sum,
      membrane,
      previous,
      kept,
      trace,
      bits: bits.view,
      amplitude,
      membranes,
      delivered,
      carried,
      deltaTrace,
      neuron,
      pooling: pooling(once ? sum : pooledDelta),
      bias,
      biasBackward,
      activity: smooth?.activity ?? stem.activityOf(neurons, bits.view, amplitude),
    };
  });
  type Part = (typeof parts)[number];

  const synapses = parts.map(({ stage, field, fieldDelta }, i) => {
    const before = i > 0 ? parts[i - 1] : undefined;
    const activity = before?.activity ?? stem.activity;
    const forward = stem.fanout(activity, stage.geometry, stage.weight, field, 0);
    if (!train || stage.current === "batch") return { forward, weight: 0, deliver: 0 };
    const weight = stem.fanout(activity, stage.geometry, stage.weight, fieldDelta, 0);
    if (!before) return { forward, weight, deliver: 0 };
    const deliver =
      stage.kind === "dense"
        ? plan.record(Deliver.Size, {
            [Deliver.Weight]: stem.parameter(stage.weight),
            [Deliver.WeightStride]: stage.geometry.weightStride,
            [Deliver.Neurons]: before.stage.neurons.length,
            [Deliver.Outputs]: stage.layout.extent.channels,
            [Deliver.Delta]: fieldDelta,
            [Deliver.Delivered]: before.delivered,
            [Deliver.Steps]: steps,
          })
        : stem.fanout(
            stem.everything(before.stage.neurons),
            stage.geometry,
            stage.weight,
            fieldDelta,
            before.delivered,
          );
    return { forward, weight, deliver };
  });

  // The spikes of the step before lie one step in front; a live network's are those not yet overwritten.
  const recurrences = parts.map((part) => {
    const { recurrent, neurons } = part.stage;
    if (!recurrent) return undefined;
    const before = plan.shift(part.bits, live ? 0 : -neurons.bitBytes);
    const activity = part.smooth?.before ?? stem.activityOf(neurons, before, part.amplitude);
    const { geometry, weight } = recurrent;
    return {
      forward: stem.fanout(activity, geometry, weight, part.joined || part.field, 0),
      weight: train ? stem.fanout(activity, geometry, weight, part.fieldDelta, 0) : 0,
      deliver: train
        ? stem.fanout(
            stem.everything(neurons),
            geometry,
            weight,
            part.fieldDelta,
            plan.shift(part.delivered, -part.bytes),
          )
        : 0,
    };
  });
  /** Emits what needs a step before: all steps of a live network, all but the first otherwise. */
  const later = (body: () => void) => (live ? body() : plan.loop(Op.AfterFirst, [], body));

  const direct = stages[0].current === "batch" ? directOf(stem, stages[0], parts[0], input) : 0;

  const readout = parts[last];
  const total = plan.perRank(readout.bytes);
  const stepLoss = plan.record(StepLoss.Size, {
    [StepLoss.Kind]: StepLossKind.Given,
    [StepLoss.OnRate]: onRate ? 1 : 0,
    [StepLoss.Steps]: steps,
    [StepLoss.Classes]: classes,
    [StepLoss.Membrane]: readout.membrane,
    [StepLoss.Bits]: readout.bits,
    [StepLoss.Sum]: total,
    [StepLoss.Outputs]: stem.outputs,
    [StepLoss.Labels]: stem.labels,
    ...(SPIKEGRAD_TRAINING && stepLossFields(stem, loss, readout.delivered)),
  });

  const current = (part: Part, i: number) => {
    if (part.stage.current !== "batch") {
      plan.emit(Op.BiasForward, part.bias);
      plan.emit(Op.FanoutForward, synapses[i].forward);
    }
    if (SPIKEGRAD_TRAINING && purpose.count)
      plan.emit(Op.CountOperations, synapses[i].forward, stem.operationCounter);
    if (part.pooling) plan.emit(Op.FieldPoolForward, part.pooling);
  };

  const forward = () => {
    stem.encode();
    if (!live) stem.clear(total, readout.bytes);
    parts.forEach((part, i) => {
      const { stage } = part;
      const { layout, geometry } = stage;
      // Borders take what falls outside; it must not pile up. Without one the biases write every place.
      if (geometry.target.bytes > layout.length * 4) stem.clear(part.field, geometry.target.bytes);
      if (!live) {
        if (!part.kept) stem.clear(part.previous, part.bytes);
        if (part.trace) stem.clear(part.trace, part.bytes);
      }
      if (train && part.amplitude)
        stem.drawMask(stage.name, stage.neurons, part.amplitude, stage.probability, i);
      if (part.once) current(part, i);
      // Nothing waits for a step before but the neurons themselves, and nobody looks at a step.
      const looks = SPIKEGRAD_TRAINING && (part.smooth !== undefined || part.membranes > 0);
      if (part.once && !part.joined && !looks && !live) {
        plan.emit(Op.SurrogateForward, part.neuron, steps);
        return;
      }
      plan.loop(Op.ForSteps, [steps, 1], () => {
        if (!part.once) current(part, i);
        if (part.joined) plan.emit(Op.Copy, part.joined, part.field, 1, geometry.target.bytes, 0, 0);
        const recurrence = recurrences[i];
        if (recurrence) {
          later(() => {
            plan.emit(Op.FanoutForward, recurrence.forward);
            if (SPIKEGRAD_TRAINING && purpose.count)
              plan.emit(Op.CountOperations, recurrence.forward, stem.operationCounter);
          });
        }
        plan.emit(Op.SurrogateForward, part.neuron, 1);
        if (SPIKEGRAD_TRAINING && part.smooth) plan.emit(Op.SmoothSpikes, part.smooth.record);
        if (SPIKEGRAD_TRAINING && part.membranes)
          plan.emit(Op.Copy, part.membranes, part.membrane, 1, part.bytes, 0, 0);
      });
    });
    plan.emit(Op.StepLoss, stepLoss);
  };

  if (direct) {
    plan.loop(Op.ForBatch, [0], () => {
      plan.emit(Op.DirectGather, direct);
      plan.barrier();
      plan.emit(Op.DirectForward, direct);
    });
    plan.barrier();
  }
  if (!train) {
    stem.forEachSample(forward);
    return stem.ports;
  }

  const gradients = (part: Part, i: number) => {
    if (part.pooling) plan.emit(Op.FieldPoolBackward, part.pooling);
    plan.emit(Op.BiasBackward, part.biasBackward);
    plan.emit(Op.FanoutBackward, synapses[i].weight, BackwardFlags.Weight);
  };

  const backward = () => {
    for (let i = last; i >= 0; i--) {
      const part = parts[i];
      const { stage } = part;
      stem.clear(part.carried, part.bytes);
      if (part.deltaTrace) stem.clear(part.deltaTrace, part.bytes);
      if (part.sum) stem.clear(part.sum, part.bytes);
      plan.loop(Op.ForSteps, [steps, 0], () => {
        plan.emit(Op.SurrogateBackward, part.neuron);
        if (stage.learnedDecay !== undefined || stage.learnedThreshold !== undefined)
          plan.emit(Op.SurrogateLearn, part.neuron);
        const recurrence = recurrences[i];
        if (recurrence) {
          later(() => {
            plan.emit(Op.FanoutBackward, recurrence.weight, BackwardFlags.Weight);
            const flags = BackwardFlags.Deliver | BackwardFlags.Accumulate;
            plan.emit(Op.FanoutBackward, recurrence.deliver, flags);
          });
        }
        if (part.once) return;
        gradients(part, i);
        if (i > 0 && stage.kind === "conv2d")
          plan.emit(Op.FanoutBackward, synapses[i].deliver, BackwardFlags.Deliver);
      });
      if (stage.current === "sample") {
        if (!part.pooling) {
          const { stride } = stage.geometry.target;
          const rowBytes = stage.layout.rowLength * 4;
          plan.emit(Op.Copy, part.deltaOrigin, part.sum, stage.layout.rows, rowBytes, stride, rowBytes);
        }
        gradients(part, i);
      }
      if (i > 0 && stage.kind === "dense") plan.emit(Op.Deliver, synapses[i].deliver);
    }
  };

  stem.forEachSample(() => {
    forward();
    backward();
  });
  if (direct) {
    plan.barrier();
    plan.loop(Op.ForBatch, [1], () => plan.emit(Op.DirectBackward, direct));
  }
  return stem.ports;
}

/** Fields of the record of a loss over the steps, whose gradient goes to the view `delta`. */
function stepLossFields(stem: SteppedStem, loss: LossDescriptor, delta: number) {
  const { scale, mean } = lossScale(loss, "mean", stem.classes);
  const kind = loss.kind === "crossEntropy" ? StepLossKind.CrossEntropy : StepLossKind.SquaredError;
  return {
    [StepLoss.Kind]: stem.purpose.given ? StepLossKind.Given : kind,
    [StepLoss.Losses]: stem.losses,
    [StepLoss.Given]: stem.givenGradients,
    [StepLoss.Delta]: delta,
    [StepLoss.LossScale]: scale,
    [StepLoss.Mean]: mean,
  };
}

/** The record of a dense layer that takes the constant currents of a whole batch. */
function directOf(
  stem: SteppedStem,
  stage: Stage,
  { field, sum }: { field: number; sum: number },
  input: Layout,
): number {
  const { plan, purpose } = stem;
  const group = Math.min(purpose.capacity, DIRECT_GROUP);
  const groups = Math.ceil(purpose.capacity / group);
  const rowsBytes = (input.length + 2 * DIRECT_PARTS) * 8;
  return plan.record(Direct.Size, {
    [Direct.Input]: stem.frames,
    [Direct.Count]: input.length,
    [Direct.Entries]: plan.take(groups * input.length * group * 8),
    [Direct.EntriesBytes]: group * 8,
    [Direct.Rows]: plan.take(groups * rowsBytes),
    [Direct.RowsBytes]: rowsBytes,
    [Direct.Weight]: stem.parameter(stage.weight),
    [Direct.WeightStride]: stage.geometry.weightStride,
    [Direct.Outputs]: stage.layout.channels,
    [Direct.Bias]: stem.parameter(stage.bias),
    [Direct.Current]: field,
    ...(SPIKEGRAD_TRAINING && {
      [Direct.Sum]: sum,
      [Direct.Gradient]: stem.gradient(stage.weight, true),
      [Direct.BiasGradient]: stem.gradient(stage.bias, true),
    }),
  });
}
