// The program of a `bpsta` network with its neurons bypassed: an ordinary network of one step, for the paper's warm-up.

import { Activity, ActivityKind, BackwardFlags, Bpsta, MaxPool, Op } from "../../assembly/abi.ts";
import type { Layout } from "../core/geometry.ts";
import type { Plan } from "../core/plan.ts";
import type { Stage } from "./bpsta-model.ts";
import {
  type Adder,
  affineView,
  answerOf,
  type BpstaNetwork,
  biasRecord,
  keepStatistics,
  normRecord,
  phases,
  teamwork,
} from "./bpsta-parts.ts";
import { SteppedStem } from "./common.ts";
import type { Bindings, Ports, Purpose } from "./method.ts";

/** What a synapse sees of the layer in front of it. */
interface Source {
  readonly layout: Layout;
  /** View of the values, and the activity record of those that are not 0. */
  readonly values: number;
  readonly activity: number;
  /** View of their G; 0 of the input. */
  readonly delivered: number;
}

/** Training only: evaluation is of the spiking network. */
export function lowerBypassed(
  network: BpstaNetwork,
  plan: Plan,
  purpose: Purpose,
  bindings: Bindings,
): Ports {
  const { stages, encoder, input, classes } = network;
  const batched = stages.some(({ norm }) => norm);
  const counters = stages.length + 1;
  const stem = new SteppedStem(
    plan,
    purpose,
    bindings,
    input,
    encoder,
    classes,
    counters,
    batched ? "batch" : "sample",
  );
  const team = teamwork(stem);
  const alone: Adder = (body) => body();
  const frameBytes = input.length * 4;
  const mean = encoder.kind === "spikes" ? stem.scratch(frameBytes) : 0;
  const seen = mean ? valuesOf(stem, input, mean) : stem.activity;
  let source: Source = { layout: input, values: mean, activity: seen, delivered: 0 };
  const parts = stages.map((stage) => {
    const part = layOut(stem, stage, source, batched);
    source = part.out;
    return part;
  });
  const last = parts[parts.length - 1];
  const answer = answerOf(network, stem, last.out.values, last.out.delivered);

  const currents = (part: Part) => {
    const { bytes } = part.stage.geometry.target;
    stem.clear(part.field, bytes);
    plan.emit(Op.BiasForward, part.bias.forward);
    plan.emit(Op.FanoutForward, part.synapse.forward);
  };
  const forward = (add: Adder, cut: Adder) => {
    if (mean) add(() => plan.emit(Op.MeanFrame, mean, stem.frames, input.length, encoder.steps, frameBytes));
    for (const part of parts) {
      for (const step of part.draw) add(step);
      add(() => currents(part));
      if (part.norm) {
        add(() => plan.emit(Op.NormSum, part.norm));
        cut(() => plan.emit(Op.NormMean, part.norm));
        add(() => plan.emit(Op.NormSquares, part.norm));
        cut(() => plan.emit(Op.NormFinish, part.norm));
      }
      add(() => plan.emit(Op.BypassForward, part.neuron));
      for (const step of part.onward) add(step);
    }
    add(() => plan.emit(Op.VoteValues, answer.vote));
    add(() => plan.emit(answer.loss, answer.output));
    add(() => plan.emit(Op.VoteBackward, answer.vote));
  };
  const backward = (add: Adder, cut: Adder) => {
    for (const part of [...parts].reverse()) {
      for (const step of part.back) add(step);
      add(() => plan.emit(Op.BypassBackward, part.neuron));
      if (part.norm) {
        add(() => plan.emit(Op.NormBackwardSum, part.norm));
        cut(() => plan.emit(Op.NormBackwardFinish, part.norm));
        add(() => plan.emit(Op.NormBackwardApply, part.norm));
      } else add(() => plan.emit(Op.BiasBackward, part.bias.backward));
      add(() => plan.emit(Op.FanoutBackward, part.synapse.backward, BackwardFlags.Weight));
      if (part.synapse.deliver) {
        if (part.stage.geometry.gaps) add(() => stem.clear(part.from.delivered, part.from.layout.length * 4));
        add(() => plan.emit(Op.FanoutBackward, part.synapse.deliver, BackwardFlags.Deliver));
      }
    }
  };
  const whole = () => {
    if (batched) {
      team.begin();
      team.once(() => {
        for (const { stage } of parts) if (stage.norm) keepStatistics(stem, stage.norm, stage.layout);
      });
    }
    phases(batched ? team : { samples: alone, once: alone }, (add, cut) => {
      forward(add, cut);
      backward(add, cut);
    });
  };
  if (batched) whole();
  else stem.forEachSample(whole);
  return stem.ports;
}

type Part = ReturnType<typeof layOut>;

/** One stage laid out in memory, and what follows it. */
function layOut(stem: SteppedStem, stage: Stage, from: Source, batched: boolean) {
  const { plan } = stem;
  const { layout, geometry, norm, relu } = stage;
  const { bytes, origin, stride } = geometry.target;
  const field = stem.scratch(bytes);
  const delta = stem.scratch(bytes);
  const values = stem.scratch(layout.length * 4);
  const delivered = plan.perRank(layout.length * 4);
  const affine = norm ? affineView(stem, layout, batched, true) : 0;
  const neuron = plan.record(Bpsta.Size, {
    [Bpsta.Rows]: layout.rows,
    [Bpsta.RowLength]: layout.rowLength,
    [Bpsta.Channels]: layout.channels,
    [Bpsta.Field]: plan.shift(field, origin),
    [Bpsta.Stride]: stride,
    [Bpsta.Affine]: affine,
    [Bpsta.Relu]: relu ? 1 : 0,
    [Bpsta.Membrane]: values,
    [Bpsta.Delivered]: delivered,
    [Bpsta.Delta]: plan.shift(delta, origin),
  });
  // G is needed at every value: what is 0 without rectification may grow.
  const every = from.delivered
    ? plan.record(Activity.Size, {
        [Activity.Kind]: ActivityKind.All,
        [Activity.Rows]: from.layout.rows,
        [Activity.RowLength]: from.layout.rowLength,
      })
    : 0;
  const synapse = {
    forward: stem.fanout(from.activity, geometry, stage.weight, field, 0),
    backward: stem.fanout(from.activity, geometry, stage.weight, delta, 0),
    deliver: every ? stem.fanout(every, geometry, stage.weight, delta, from.delivered) : 0,
  };
  const places = { field, delta, affine, batched, updates: 1 };
  return {
    stage,
    from,
    field,
    neuron,
    synapse,
    bias: { forward: biasRecord(stem, stage, field), backward: biasRecord(stem, stage, delta) },
    norm: norm ? normRecord(stem, stage, norm, places) : 0,
    ...transitsOf(stem, stage, {
      layout,
      values,
      activity: valuesOf(stem, layout, values),
      delivered,
    }),
  };
}

/** Pools and dropout behind a layer: once a sample, and back in reverse. */
function transitsOf(stem: SteppedStem, stage: Stage, first: Source) {
  const { plan } = stem;
  const draw: (() => void)[] = [];
  const onward: (() => void)[] = [];
  const back: (() => void)[] = [];
  let out = first;
  for (const transit of stage.transits) {
    const from = out;
    const { layout } = transit;
    const bytes = layout.length * 4;
    if (transit.kind === "dropout") {
      const mask = stem.scratch(bytes);
      const { name, probability, index } = transit;
      draw.push(() => stem.drawMask(name, layout, mask, probability, index));
      onward.push(() => plan.emit(Op.Multiply, from.values, mask, layout.length));
      back.unshift(() => plan.emit(Op.Multiply, from.delivered, mask, layout.length));
      continue;
    }
    const values = stem.scratch(bytes);
    const delivered = plan.perRank(bytes);
    out = { layout, values, activity: valuesOf(stem, layout, values), delivered };
    if (transit.kind === "maxPool") {
      const pool = plan.record(MaxPool.Size, {
        [MaxPool.Window]: transit.window,
        [MaxPool.Channels]: layout.channels,
        [MaxPool.Rows]: layout.rows,
        [MaxPool.Columns]: layout.extent.width,
        [MaxPool.Bits]: values,
        [MaxPool.SourceBits]: from.values,
        [MaxPool.Delivered]: delivered,
        [MaxPool.SourceRowLength]: from.layout.rowLength,
        [MaxPool.SourceDelivered]: from.delivered,
      });
      onward.push(() => plan.emit(Op.MaxValuesForward, pool));
      back.unshift(() => {
        stem.clear(from.delivered, from.layout.length * 4);
        plan.emit(Op.MaxValuesBackward, pool);
      });
      continue;
    }
    const cells = transit.window * transit.window;
    const sum = stem.route(from.activity, transit.geometry, values, 0, 1);
    const share = stem.route(
      from.activity,
      transit.geometry,
      delivered,
      from.delivered,
      Math.fround(1 / cells),
    );
    onward.push(() => {
      stem.clear(values, bytes);
      plan.emit(Op.RouteForward, sum);
      plan.emit(Op.Divide, values, layout.length, { f32: cells });
    });
    back.unshift(() => plan.emit(Op.RouteBackward, share, 0));
  }
  return { out, draw, onward, back };
}

/** Activity record of values. */
function valuesOf(stem: SteppedStem, layout: Layout, values: number): number {
  return stem.plan.record(Activity.Size, {
    [Activity.Kind]: ActivityKind.Values,
    [Activity.Rows]: layout.rows,
    [Activity.RowLength]: layout.rowLength,
    [Activity.Data]: values,
  });
}
