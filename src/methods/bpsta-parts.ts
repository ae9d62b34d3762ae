// What the spiking program of `bpsta` and the one with its neurons bypassed share.

import { Bias, Norm, Op, Output, Vote } from "../../assembly/abi.ts";
import type { Layout } from "../core/geometry.ts";
import type { EncoderDescriptor } from "../encoders.ts";
import type { LossDescriptor } from "../losses.ts";
import type { BpstaDescriptor } from "./bpsta.ts";
import type { NormStage, Stage } from "./bpsta-model.ts";
import { lossFields, lossOp, type SteppedStem } from "./common.ts";

/** What a `bpsta` program is made from. */
export interface BpstaNetwork {
  readonly stages: readonly Stage[];
  readonly input: Layout;
  readonly classes: number;
  readonly descriptor: BpstaDescriptor;
  readonly encoder: EncoderDescriptor;
  readonly loss: LossDescriptor;
}

/** Records of the vote and the loss: `bits` (or values) and G of the last layer. */
export function answerOf(
  { classes, descriptor, encoder, loss }: BpstaNetwork,
  stem: SteppedStem,
  bits: number,
  delivered: number,
) {
  const train = SPIKEGRAD_TRAINING && stem.purpose.mode === "train";
  const { plan, purpose } = stem;
  // A live network takes one step a program, but its answer is over the steps of a sample.
  const steps = purpose.bypass ? 1 : encoder.steps;
  const bytes = Math.ceil(classes / 4) * 16;
  const counts = stem.scratch(bytes);
  const delta = train ? stem.scratch(bytes) : 0;
  const vote = plan.record(Vote.Size, {
    [Vote.Bits]: bits,
    [Vote.Classes]: classes,
    [Vote.Voters]: descriptor.vote,
    [Vote.Counts]: counts,
    ...(train && { [Vote.Delta]: delta, [Vote.Delivered]: delivered }),
  });
  const output = plan.record(Output.Size, {
    [Output.Membrane]: counts,
    [Output.Length]: bytes / 4,
    [Output.Classes]: classes,
    [Output.Scale]: { f32: 1 / (descriptor.vote * steps) },
    [Output.Outputs]: stem.outputs,
    ...(SPIKEGRAD_TRAINING && lossFields(stem, loss, "mean", delta)),
  });
  return { vote, output, counts, bytes, loss: lossOp(loss, purpose) };
}

/** Mean, γ/σ, β and 1/σ: of each step, where they differ. */
export function affineView(
  stem: SteppedStem,
  { channels }: Layout,
  batched: boolean,
  constant: boolean,
): number {
  const { plan, steps } = stem;
  const bytes = channels * 16;
  if (!SPIKEGRAD_TRAINING || !batched) return plan.perRank(bytes);
  return plan.view(plan.take(constant ? bytes : bytes * steps), { step: constant ? 0 : bytes });
}

/** Emits the copy of the running statistics to where their next values grow: the old stay until the step is taken. */
export function keepStatistics(stem: SteppedStem, norm: NormStage, { channels }: Layout): void {
  for (const parameter of [norm.mean, norm.variance]) {
    const [to, from] = [stem.gradient(parameter), stem.parameter(parameter)];
    stem.plan.emit(Op.Copy, to, from, 1, channels * 4, 0, 0);
  }
}

/** Record of a batch normalisation; `updates` of the running statistics each time it is run. */
export function normRecord(
  stem: SteppedStem,
  { layout, geometry }: Stage,
  norm: NormStage,
  place: {
    readonly field: number;
    readonly delta: number;
    readonly affine: number;
    readonly batched: boolean;
    readonly updates: number;
  },
): number {
  const batched = SPIKEGRAD_TRAINING && place.batched;
  const { plan, purpose } = stem;
  const { field, delta, affine, updates } = place;
  const { origin, stride } = geometry.target;
  const sums = layout.channels * 8;
  const running = batched
    ? (parameter: number) => stem.gradient(parameter)
    : (parameter: number) => stem.parameter(parameter);
  return plan.record(Norm.Size, {
    [Norm.Field]: plan.shift(field, origin),
    [Norm.Stride]: stride,
    [Norm.Rows]: layout.rows,
    [Norm.Width]: layout.extent.width,
    [Norm.Channels]: layout.channels,
    [Norm.Weight]: stem.parameter(norm.weight),
    [Norm.Bias]: stem.parameter(norm.bias),
    [Norm.RunningMean]: running(norm.mean),
    [Norm.RunningVariance]: running(norm.variance),
    [Norm.Affine]: affine,
    [Norm.Epsilon]: { f32: norm.epsilon },
    ...(batched && {
      [Norm.Updates]: updates,
      [Norm.Partial]: plan.view(plan.take(sums * purpose.capacity), { sample: sums }),
      [Norm.PartialStride]: sums,
      [Norm.Delta]: plan.shift(delta, origin),
      [Norm.WeightGradient]: stem.gradient(norm.weight),
      [Norm.BiasGradient]: stem.gradient(norm.bias),
      [Norm.Means]: plan.view(plan.take(sums)),
      [Norm.Momentum]: { f32: norm.momentum },
    }),
  });
}

/** Record of a layer's biases over the field of its currents or their deltas. */
export function biasRecord(stem: SteppedStem, { layout, geometry, bias }: Stage, field: number): number {
  return stem.plan.record(Bias.Size, {
    [Bias.Field]: stem.plan.shift(field, geometry.target.origin),
    [Bias.Stride]: geometry.target.stride,
    [Bias.Rows]: layout.rows,
    [Bias.RowLength]: layout.rowLength,
    [Bias.Channels]: layout.channels,
    [Bias.Bias]: stem.parameter(bias),
    ...(SPIKEGRAD_TRAINING && { [Bias.Gradient]: stem.gradient(bias) }),
  });
}

/** Takes a piece of a program to be emitted in its turn. */
export type Adder = (step: () => void) => void;

/**
 * Where batch statistics cut the work of a step: work of each sample, by the ranks in turn, each taking whole blocks with
 * gradients of their own; and work on the batch, by rank 0. Barriers stand between.
 */
export function teamwork(stem: SteppedStem): { samples: Adder; once: Adder; begin: () => void } {
  const { plan, bindings } = stem;
  const blocks: Adder = (body) => {
    plan.loop(Op.ForBlocks, [], body);
    plan.barrier();
  };
  return {
    samples: (body) => blocks(() => plan.loop(Op.ForSamples, [], body)),
    once: (body) => {
      plan.loop(Op.RankZero, [], body);
      plan.barrier();
    },
    begin: () => {
      plan.together = true;
      const { blockGradients, blockBytes } = bindings;
      blocks(() => stem.clear(plan.view(blockGradients, { block: blockBytes }), blockBytes));
    },
  };
}

/** Work of each sample is collected, and emitted inside `samples`; batch statistics, emitted in `once`, cut it into phases. */
export function phases(
  { samples, once }: { samples: Adder; once: Adder },
  body: (add: Adder, cut: Adder) => void,
): void {
  let steps: (() => void)[] = [];
  const flush = () => {
    const now = steps;
    steps = [];
    if (now.length === 0) return;
    samples(() => {
      for (const step of now) step();
    });
  };
  body(
    (step) => steps.push(step),
    (step) => {
      flush();
      once(step);
    },
  );
  flush();
}
