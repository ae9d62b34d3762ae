import { BackwardFlags, Lee, Op, Output } from "../../assembly/abi.ts";
import {
  convolved,
  type Extent,
  type FanoutGeometry,
  Layout,
  pointGeometry,
  poolGeometry,
  type RouteGeometry,
  subsampleGeometry,
  type TargetField,
} from "../core/geometry.ts";
import type { Plan } from "../core/plan.ts";
import type { EncoderDescriptor } from "../encoders.ts";
import { ArgumentError } from "../errors.ts";
import type { CanonicalLayer, Conv2dLayer, LayerDescriptor, Shortcut } from "../layers.ts";
import { type LossDescriptor, squaredError } from "../losses.ts";
import {
  lossFields,
  lossOp,
  meanLoss,
  ParameterList,
  pooledLayout,
  SteppedStem,
  UNTRAINED,
  weightGeometry,
} from "./common.ts";
import { flatten } from "./flatten.ts";
import { type LeeDescriptor, lee } from "./lee.ts";
import type { Bindings, LayerInfo, MaskInfo, Method, Model, Ports, Purpose } from "./method.ts";

type Synapse =
  | { kind: "fanout"; geometry: FanoutGeometry; parameter: number }
  | { kind: "route"; geometry: RouteGeometry; scale: number };

interface Stage {
  readonly name: string;
  readonly kind: "conv2d" | "dense" | "avgPool2d";
  readonly layout: Layout;
  /** Where its current comes from: index of a stage, or -1 for the input. First the main synapse. */
  readonly synapses: { from: number; synapse: Synapse }[];
  readonly field: TargetField;
  readonly threshold: number;
  readonly readout: boolean;
  probability: number;
}

function expand(layers: readonly LayerDescriptor[], descriptor: LeeDescriptor): CanonicalLayer[] {
  const list = flatten(layers);
  if (list.some((layer) => layer.kind === "neuron")) return list;
  const last = list.length - 1;
  return list.flatMap((layer, i): CanonicalLayer[] =>
    layer.kind === "conv2d" || layer.kind === "dense"
      ? [
          layer,
          i === last
            ? { kind: "neuron", readout: true }
            : { kind: "neuron", threshold: descriptor.threshold },
        ]
      : [layer],
  );
}

const START = { kind: "heNormal" } as const;

function buildStages(input: Extent, layers: readonly CanonicalLayer[], descriptor: LeeDescriptor) {
  const stages: Stage[] = [];
  const parameters = new ParameterList();
  let from = new Layout(input, false);
  for (let i = 0; i < layers.length; i++) {
    const layer = layers[i];
    const argument = `layers[${i}]`;
    const previous = stages[stages.length - 1];
    if (layer.kind === "dropout") {
      if (previous === undefined || previous.kind === "avgPool2d" || previous.readout) {
        throw new ArgumentError(argument, "dropout", "dropout after a spiking conv2d or dense layer");
      }
      previous.probability = layer.probability;
      continue;
    }
    if (layer.kind === "neuron")
      throw new ArgumentError(argument, "neuron", "conv2d or dense in front of every neuron");
    if (previous?.readout) throw new ArgumentError(argument, layer.kind, "nothing after the readout");
    const name = layer.name ?? `layer${i}`;
    if (stages.some((stage) => stage.name === name)) {
      throw new ArgumentError(`${argument}.name`, name, "a name that no other layer has");
    }
    const at = stages.length - 1;
    if (layer.kind === "avgPool2d") {
      if (previous === undefined)
        throw new ArgumentError(argument, "avgPool2d", "a conv2d layer in front of a spiking pool");
      const layout = pooledLayout(from, layer.size, argument);
      const geometry = poolGeometry(from, layout, layer.size);
      const scale = Math.fround(1 / (layer.size * layer.size));
      stages.push({
        name,
        kind: "avgPool2d",
        layout,
        synapses: [{ from: at, synapse: { kind: "route", geometry, scale } }],
        field: { bytes: layout.length * 4, stride: layout.rowLength * 4, origin: 0 },
        threshold: layer.threshold,
        readout: false,
        probability: 0,
      });
      from = layout;
      continue;
    }
    if (layer.kind === "maxPool2d" || layer.kind === "earliestPool2d")
      throw new ArgumentError(argument, layer.kind, "avgPool2d: the pools of lee spike at a mean");
    if (layer.kind === "batchNorm" || layer.kind === "relu")
      throw new ArgumentError(
        argument,
        layer.kind,
        "no such layer under lee: its currents reach the neuron as they are",
      );
    const next = layers[i + 1];
    if (next?.kind !== "neuron")
      throw new ArgumentError(`layers[${i + 1}]`, next?.kind, `neuron after ${layer.kind}`);
    i++;
    const readout = next.readout === true;
    if (readout && layer.kind !== "dense")
      throw new ArgumentError(`layers[${i}]`, "readout", "a dense layer as the last one");
    const { layout, geometry, shape } = weightGeometry(from, layer, argument);
    const parameter = parameters.weight(`${name}.weight`, shape, geometry, START);
    const synapses: Stage["synapses"] = [{ from: at, synapse: { kind: "fanout", geometry, parameter } }];
    if (layer.kind === "conv2d" && layer.shortcut) {
      const target = { name, layout, field: geometry.target };
      synapses.push(shortcut(layer, layer.shortcut, stages, target, parameters, `${argument}.shortcut`));
    }
    const threshold = next.threshold ?? descriptor.threshold;
    stages.push({
      name,
      kind: layer.kind,
      layout,
      synapses,
      field: geometry.target,
      threshold,
      readout,
      probability: 0,
    });
    from = layout;
  }
  if (!stages.length || !stages[stages.length - 1].readout) {
    const last = layers[layers.length - 1]?.kind;
    throw new ArgumentError("layers", last, "a dense layer as the last one: its membranes are the answer");
  }
  return { stages, specs: parameters.specs };
}

/** The synapse of a shortcut into `target`. */
function shortcut(
  layer: Conv2dLayer,
  { from, conv, stride }: Shortcut,
  stages: readonly Stage[],
  target: { name: string; layout: Layout; field: TargetField },
  parameters: ParameterList,
  argument: string,
): Stage["synapses"][number] {
  const source = stages.findIndex((stage) => stage.name === from);
  if (source < 0) {
    const known = stages.map((stage) => stage.name).join(", ");
    throw new ArgumentError(`${argument}.from`, from, `the name of an earlier layer: ${known}`);
  }
  const origin = stages[source].layout;
  const to = target.layout.extent;
  const { channels, height, width } = origin.extent;
  if (convolved(height, 1, stride, 0) !== to.height || convolved(width, 1, stride, 0) !== to.width) {
    throw new ArgumentError(
      `${argument}.stride`,
      stride,
      `a stride that takes ${height}×${width} of ${from} to ${to.height}×${to.width} of ${target.name}`,
    );
  }
  if (conv) {
    const geometry = pointGeometry(origin, target.layout, target.field, stride);
    const parameter = parameters.weight(
      `${target.name}.shortcut.weight`,
      [to.channels, channels, 1, 1],
      geometry,
      START,
    );
    return { from: source, synapse: { kind: "fanout", geometry, parameter } };
  }
  if (channels !== layer.out) {
    throw new ArgumentError(
      `${argument}.conv`,
      false,
      `true, since ${from} has ${channels} channels and ${target.name} has ${layer.out}`,
    );
  }
  const geometry = subsampleGeometry(origin, target.layout, target.field, stride);
  return { from: source, synapse: { kind: "route", geometry, scale: 1 } };
}

function lower(
  stages: readonly Stage[],
  input: Layout,
  descriptor: LeeDescriptor,
  encoder: EncoderDescriptor,
  loss: LossDescriptor,
  plan: Plan,
  purpose: Purpose,
  bindings: Bindings,
): Ports {
  const train = SPIKEGRAD_TRAINING && purpose.mode === "train";
  const live = purpose.mode === "step";
  const leak = { f32: descriptor.leak };
  const classes = stages[stages.length - 1].layout.extent.channels;
  const stem = new SteppedStem(plan, purpose, bindings, input, encoder, classes, stages.length);
  const { steps } = stem;
  const decay = train ? leakPowers(plan, descriptor.leak, steps) : 0;

  const parts = stages.map((stage, i) => {
    const { layout, field, name } = stage;
    const bytes = layout.length * 4;
    const pool = stage.kind === "avgPool2d";
    const { synapse } = stage.synapses[0];
    const scale = synapse.kind === "route" ? synapse.scale : 1;
    // Membranes of the forward pass and deltas of the backward pass are never needed at once.
    const membraneBytes = pool ? bytes : field.bytes;
    const membrane = plan.perRank(membraneBytes);
    const sums = pool ? plan.perRank(bytes) : 0;
    const bits = stage.readout ? undefined : stem.bits(layout);
    let amplitude = 0;
    let amplitudes = 0;
    if (train && stage.probability > 0) {
      if (purpose.record.spikes) {
        amplitudes = plan.take(purpose.capacity * bytes);
        amplitude = plan.view(amplitudes, { sample: bytes });
      } else amplitude = plan.perRank(bytes);
    }
    if (SPIKEGRAD_TRAINING && bits?.address) {
      stem.records.push({
        name: `${name}.spikes`,
        address: bits.address,
        kind: "bits",
        layout,
        steps,
        amplitude: amplitudes,
      });
    }
    const membranes =
      SPIKEGRAD_TRAINING && purpose.record.membranes ? stem.recorded(`${name}.membranes`, layout, true) : 0;
    const filtered = train && !pool && !stage.readout ? plan.perRank(bytes) : 0;
    const total = train && filtered ? plan.perRank(bytes) : 0;
    const delivered = train && !stage.readout ? plan.perRank(bytes) : 0;
    const activity = bits ? stem.activityOf(layout, bits.view, amplitude) : 0;
    const stride = pool ? layout.rowLength * 4 : field.stride;
    const origin = plan.shift(membrane, pool ? 0 : field.origin);
    return {
      stage,
      i,
      pool,
      scale,
      bytes,
      membrane,
      membraneBytes,
      origin,
      stride,
      sums,
      bits,
      amplitude,
      membranes,
      filtered,
      total,
      delivered,
      activity,
    };
  });
  type Part = (typeof parts)[number];

  const synapsesOf = (part: Part) =>
    part.stage.synapses.map(({ from: source, synapse }) => {
      const activity = source < 0 ? stem.activity : parts[source].activity;
      const delivered = source < 0 ? 0 : parts[source].delivered;
      if (synapse.kind === "fanout") {
        const record = stem.fanout(activity, synapse.geometry, synapse.parameter, part.membrane, delivered);
        return { source, synapse, forward: record, backward: record };
      }
      const to = part.pool ? part.sums : part.membrane;
      const forward = stem.route(activity, synapse.geometry, to, delivered, synapse.scale);
      // Backward, a pool's deltas live where its membranes were.
      const backward =
        part.pool && train
          ? stem.route(activity, synapse.geometry, part.membrane, delivered, synapse.scale)
          : forward;
      return { source, synapse, forward, backward };
    });

  const synapses = parts.map(synapsesOf);
  const neuronOf = (part: Part) => {
    const { stage } = part;
    const { layout } = stage;
    if (stage.readout) {
      const neuron = plan.record(Output.Size, {
        [Output.Membrane]: part.membrane,
        [Output.Length]: layout.length,
        [Output.Classes]: classes,
        [Output.Leak]: leak,
        [Output.Scale]: { f32: 1 / (stage.threshold * encoder.steps) },
        [Output.Outputs]: stem.outputs,
        ...(SPIKEGRAD_TRAINING && lossFields(stem, loss, "sum", train ? part.membrane : 0)),
      });
      return { neuron, backward: 0 };
    }
    const rows = {
      [Lee.Rows]: layout.rows,
      [Lee.RowLength]: layout.rowLength,
      [Lee.RowWords]: layout.rowWords,
      [Lee.Stride]: part.stride,
      [Lee.Bits]: part.bits?.view ?? 0,
      ...(train && { [Lee.Delivered]: part.delivered }),
    };
    const neuron = plan.record(Lee.Size, {
      ...rows,
      [Lee.Membrane]: part.origin,
      [Lee.Spikes]: stem.counter(part.i + 1),
      [Lee.Threshold]: { f32: stage.threshold },
      [Lee.Leak]: leak,
      [Lee.Delta]: part.pool ? part.sums : part.origin,
      [Lee.Scale]: { f32: part.scale },
      ...(SPIKEGRAD_TRAINING && { [Lee.Trace]: part.pool ? part.membranes : 0 }),
      ...(train && {
        [Lee.LogLeak]: { f32: bindings.ln(descriptor.leak) },
        [Lee.Amplitude]: part.amplitude,
        [Lee.Filtered]: part.filtered,
        [Lee.Total]: part.total,
        [Lee.Decay]: decay,
        [Lee.Route]: pooledBy(parts, synapses, part),
      }),
    });
    // A pool's deltas live where its membranes were, and take no factor.
    const backward =
      part.pool && train ? plan.record(Lee.Size, { ...rows, [Lee.Delta]: part.membrane }) : neuron;
    return { neuron, backward };
  };

  const records = parts.map((part) => ({ synapses: synapses[part.i], ...neuronOf(part) }));

  const forwardStep = (part: Part) => {
    const { synapses, neuron } = records[part.i];
    const { layout, readout } = part.stage;
    for (const { synapse, forward } of synapses) {
      plan.emit(synapse.kind === "route" ? Op.RouteForward : Op.FanoutForward, forward);
      if (SPIKEGRAD_TRAINING && purpose.count && synapse.kind === "fanout")
        plan.emit(Op.CountOperations, forward, stem.operationCounter);
    }
    // A pool has its u only as it compares, and keeps it itself.
    if (SPIKEGRAD_TRAINING && part.membranes && !part.pool) {
      const rowBytes = layout.rowLength * 4;
      plan.emit(Op.Copy, part.membranes, part.origin, layout.rows, rowBytes, rowBytes, part.stride);
    }
    plan.emit(readout ? Op.LeeOutput : part.pool ? Op.LeePoolForward : Op.LeeForward, neuron);
  };

  const forward = () => {
    stem.encode();
    for (const part of parts) {
      const { layout, probability, name } = part.stage;
      if (!live) {
        stem.clear(part.membrane, part.membraneBytes);
        if (part.sums) stem.clear(part.sums, part.bytes);
      }
      if (train && part.filtered) {
        stem.clear(part.filtered, part.bytes);
        stem.clear(part.total, part.bytes);
      }
      if (SPIKEGRAD_TRAINING && part.amplitude)
        stem.drawMask(name, layout, part.amplitude, probability, part.i);
      plan.loop(Op.ForSteps, [steps, 1], () => forwardStep(part));
    }
    plan.emit(lossOp(loss, purpose), records[records.length - 1].neuron);
  };

  if (!train) {
    stem.forEachSample(forward);
    return stem.ports;
  }
  const backwardStep = () => {
    const delivered = new Set<number>();
    for (let i = parts.length - 1; i >= 0; i--) {
      if (!parts[i].stage.readout) plan.emit(Op.LeeBackward, records[i].backward);
      for (const { source, synapse, backward } of records[i].synapses) {
        if (source >= 0 && pooledBy(parts, synapses, parts[source])) continue;
        let flags = synapse.kind === "fanout" ? BackwardFlags.Weight : 0;
        if (source >= 0) {
          flags |= BackwardFlags.Deliver;
          // Neurons that a synapse does not reach must not keep the G of an earlier step.
          if (!delivered.has(source) && synapse.kind === "fanout" && synapse.geometry.gaps) {
            stem.clear(parts[source].delivered, parts[source].bytes);
            delivered.add(source);
          }
          if (delivered.has(source)) flags |= BackwardFlags.Accumulate;
          delivered.add(source);
        }
        plan.emit(synapse.kind === "route" ? Op.RouteBackward : Op.FanoutBackward, backward, flags);
      }
    }
  };

  stem.forEachSample(() => {
    forward();
    for (const part of parts) {
      if (part.filtered) plan.emit(Op.LeeFactor, records[part.i].neuron);
      if (!part.stage.readout) stem.clear(part.membrane, part.membraneBytes);
    }
    plan.loop(Op.ForSteps, [steps, 0], backwardStep);
  });
  return stem.ports;
}

/** The route record of the pool that alone listens to a layer: its G need not be delivered. */
function pooledBy<P extends { readonly i: number; readonly pool: boolean }>(
  parts: readonly P[],
  synapses: readonly (readonly { readonly source: number; readonly backward: number }[])[],
  part: P,
): number {
  if (part.pool) return 0;
  const listeners = parts.flatMap((to) =>
    synapses[to.i].filter(({ source }) => source === part.i).map(({ backward }) => ({ to, backward })),
  );
  return listeners.length === 1 && listeners[0].to.pool ? listeners[0].backward : 0;
}

/** Table of leak^(T - 1 - t), repeated multiplication in f64, one rounding to f32; its view. */
function leakPowers(plan: Plan, leak: number, steps: number): number {
  const table = new Float32Array(Math.ceil(steps / 4) * 4);
  let power = 1;
  for (let t = steps - 1; t >= 0; t--) {
    table[t] = power;
    power *= leak;
  }
  return plan.view(plan.table(new Uint32Array(table.buffer)), { step: 4 });
}

function operationsOf({ synapses }: Stage): number {
  return synapses.reduce(
    (sum, { synapse }) => sum + (synapse.kind === "fanout" ? synapse.geometry.operations : 0),
    0,
  );
}

function masksOf(stages: readonly Stage[]): MaskInfo[] {
  return stages
    .filter((stage) => stage.probability > 0)
    .map(({ name, layout: { extent } }) => ({ name, extent }));
}

/** `lee`, as the library sees it. */
export const leeMethod: Method<LeeDescriptor> = {
  kind: "lee",
  loss: squaredError(),
  check: ({ kind: _, ...rest }) => lee(rest),
  expand: SPIKEGRAD_TRAINING ? expand : flatten,
  model(input, layers, descriptor, encoder, loss): Model {
    const { stages, specs } = buildStages(input, layers, descriptor);
    const layout = new Layout(input, false);
    const infos = stages.map(
      (stage): LayerInfo => ({
        name: stage.name,
        kind: stage.kind,
        extent: stage.layout.extent,
        spiking: !stage.readout,
        operations: SPIKEGRAD_TRAINING ? operationsOf(stage) : 0,
      }),
    );
    return {
      parameters: specs,
      layers: infos,
      ...(SPIKEGRAD_TRAINING ? { masks: masksOf(stages), meanLoss: meanLoss(loss, "sum") } : UNTRAINED),
      input,
      classes: stages[stages.length - 1].layout.extent.channels,
      inputIndex: input.channels > 1 && input.height * input.width > 1 ? layout.positions() : undefined,
      lower: (plan, purpose, bindings) =>
        lower(stages, layout, descriptor, encoder, loss, plan, purpose, bindings),
    };
  },
};
