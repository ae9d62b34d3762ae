import {
  Activity,
  ActivityKind,
  BackwardFlags,
  Control,
  Dropout,
  EVENT_SCRATCH,
  Fanout,
  Frame,
  Lee,
  Op,
  Output,
  Poisson,
  Route,
  Stream,
} from "../../assembly/abi.ts";
import {
  convGeometry,
  convolved,
  denseGeometry,
  type Extent,
  type FanoutGeometry,
  Layout,
  pointGeometry,
  poolGeometry,
  type RouteGeometry,
  size,
  subsampleGeometry,
  type TargetField,
} from "../core/geometry.ts";
import type { Plan } from "../core/plan.ts";
import { streamKey } from "../core/random.ts";
import type { EncoderDescriptor } from "../encoders.ts";
import { ArgumentError } from "../errors.ts";
import type { CanonicalLayer, Conv2dLayer, LayerDescriptor, Shortcut } from "../layers.ts";
import { type LossDescriptor, squaredError } from "../losses.ts";
import { number, options, positive } from "../validate.ts";
import { flatten } from "./flatten.ts";
import type { Bindings, LayerInfo, Method, Model, ParameterSpec, Ports, Purpose } from "./method.ts";

/** Spike-based backpropagation of Lee et al. 2020. */
export interface LeeDescriptor {
  readonly kind: "lee";
  readonly leak: number;
  readonly threshold: number;
}

/**
 * Spike-based backpropagation with a leak-corrected derivative: Lee, Sarwar, Panda, Srinivasan, Roy, "Enabling
 * spike-based backpropagation for training deep neural network architectures", Frontiers in Neuroscience 14:119 (2020).
 *
 * Forward: `u = v + I`, `s = u > threshold`, `v = leak · (s ? 0 : u)`. Backward:
 * `f = [F > 1e-3] + ln(leak) · F / N` with F and N the leaky and plain spike counts of the sample, and the gradient at the
 * current is `G · f / threshold` at the neuron's next spike. The last `dense` layer never spikes: the answer is its
 * membrane after T steps over `threshold · T`.
 *
 * @param option `leak` (0.99) in (0, 1]; `threshold` (1) greater than 0
 * @throws ArgumentError for values out of range
 */
export function lee(option?: { leak?: number; threshold?: number }): LeeDescriptor {
  const { leak = 0.99, threshold = 1 } = options("lee", option, ["leak", "threshold"]);
  number("lee.leak", leak, "a number greater than 0 and at most 1", (v) => v > 0 && v <= 1);
  positive("lee.threshold", threshold);
  return { kind: "lee", leak, threshold };
}

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

function buildStages(input: Extent, layers: readonly CanonicalLayer[], descriptor: LeeDescriptor) {
  const stages: Stage[] = [];
  const specs: ParameterSpec[] = [];
  let from = new Layout(input, false);
  const where = (i: number): string => `layers[${i}]`;
  const parameter = (name: string, shape: readonly number[], geometry: FanoutGeometry): number => {
    const fanIn = shape.slice(1).reduce((a, b) => a * b, 1);
    specs.push({ name, shape, length: geometry.weightLength, index: geometry.weightIndex, fanIn });
    return specs.length - 1;
  };
  const shortcutSynapse = (
    layer: Conv2dLayer,
    shortcut: Shortcut,
    to: Layout,
    field: TargetField,
    argument: string,
  ) => {
    const source = stages.findIndex((stage) => stage.name === shortcut.from);
    if (source < 0) {
      const known = stages.map((stage) => stage.name).join(", ");
      throw new ArgumentError(`${argument}.from`, shortcut.from, `the name of an earlier layer: ${known}`);
    }
    const origin = stages[source].layout;
    const height = convolved(origin.extent.height, 1, shortcut.stride, 0);
    const width = convolved(origin.extent.width, 1, shortcut.stride, 0);
    if (height !== to.extent.height || width !== to.extent.width) {
      throw new ArgumentError(
        `${argument}.stride`,
        shortcut.stride,
        `a stride that takes ${origin.extent.height}×${origin.extent.width} of ${shortcut.from} to ${to.extent.height}×${to.extent.width} of ${layer.name}`,
      );
    }
    if (shortcut.conv) {
      const geometry = pointGeometry(origin, to, field, shortcut.stride);
      const shape = [to.extent.channels, origin.extent.channels, 1, 1];
      return {
        from: source,
        synapse: {
          kind: "fanout",
          geometry,
          parameter: parameter(`${layer.name}.shortcut.weight`, shape, geometry),
        } as Synapse,
      };
    }
    if (origin.extent.channels !== to.extent.channels) {
      throw new ArgumentError(
        `${argument}.conv`,
        false,
        `true, since ${shortcut.from} has ${origin.extent.channels} channels and ${layer.name} has ${to.extent.channels}`,
      );
    }
    return {
      from: source,
      synapse: {
        kind: "route",
        geometry: subsampleGeometry(origin, to, field, shortcut.stride),
        scale: 1,
      } as Synapse,
    };
  };

  for (let i = 0; i < layers.length; i++) {
    const layer = layers[i];
    const previous = stages[stages.length - 1];
    if (layer.kind === "dropout") {
      if (previous === undefined || previous.kind === "avgPool2d" || previous.readout) {
        throw new ArgumentError(where(i), "dropout", "dropout after a spiking conv2d or dense layer");
      }
      previous.probability = layer.probability;
      continue;
    }
    if (layer.kind === "neuron")
      throw new ArgumentError(where(i), "neuron", "conv2d or dense in front of every neuron");
    if (previous?.readout) throw new ArgumentError(where(i), layer.kind, "nothing after the readout");
    const name = layer.name ?? `layer${i}`;
    if (stages.some((stage) => stage.name === name))
      throw new ArgumentError(`${where(i)}.name`, name, "a name that no other layer has");
    const at = stages.length - 1;
    const e = from.extent;
    if (layer.kind === "avgPool2d") {
      const height = Math.floor(e.height / layer.size);
      const width = Math.floor(e.width / layer.size);
      if (height < 1 || width < 1) {
        throw new ArgumentError(
          `${where(i)}.size`,
          layer.size,
          `at most ${Math.min(e.height, e.width)}, the side of its input [${e.channels}, ${e.height}, ${e.width}]`,
        );
      }
      if (previous === undefined)
        throw new ArgumentError(where(i), "avgPool2d", "a conv2d layer in front of a spiking pool");
      const layout = new Layout({ channels: e.channels, height, width }, true);
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
    const next = layers[i + 1];
    if (next?.kind !== "neuron")
      throw new ArgumentError(where(i + 1), next?.kind, `neuron after ${layer.kind}`);
    i++;
    const readout = next.readout === true;
    const threshold = next.threshold ?? descriptor.threshold;
    if (layer.kind === "dense") {
      const layout = new Layout({ channels: layer.out, height: 1, width: 1 }, true);
      const geometry = denseGeometry(from, layout);
      stages.push({
        name,
        kind: "dense",
        layout,
        synapses: [
          {
            from: at,
            synapse: {
              kind: "fanout",
              geometry,
              parameter: parameter(`${name}.weight`, [layer.out, size(e)], geometry),
            },
          },
        ],
        field: geometry.target,
        threshold,
        readout,
        probability: 0,
      });
      from = layout;
      continue;
    }
    if (readout) throw new ArgumentError(where(i), "readout", "a dense layer as the last one");
    const height = convolved(e.height, layer.kernel, layer.stride, layer.padding);
    const width = convolved(e.width, layer.kernel, layer.stride, layer.padding);
    if (height < 1 || width < 1) {
      throw new ArgumentError(
        `${where(i - 1)}.kernel`,
        layer.kernel,
        `at most ${Math.min(e.height, e.width) + 2 * layer.padding}, the padded side of its input [${e.channels}, ${e.height}, ${e.width}]`,
      );
    }
    const layout = new Layout({ channels: layer.out, height, width }, true);
    const geometry = convGeometry(from, layout, layer.kernel, layer.stride, layer.padding);
    const shape = [layer.out, e.channels, layer.kernel, layer.kernel];
    const synapses: Stage["synapses"] = [
      {
        from: at,
        synapse: { kind: "fanout", geometry, parameter: parameter(`${name}.weight`, shape, geometry) },
      },
    ];
    if (layer.shortcut) {
      synapses.push(
        shortcutSynapse(
          { ...layer, name },
          layer.shortcut,
          layout,
          geometry.target,
          `${where(i - 1)}.shortcut`,
        ),
      );
    }
    stages.push({
      name,
      kind: "conv2d",
      layout,
      synapses,
      field: geometry.target,
      threshold,
      readout: false,
      probability: 0,
    });
    from = layout;
  }
  if (!stages.length || !stages[stages.length - 1].readout) {
    throw new ArgumentError(
      "layers",
      layers[layers.length - 1]?.kind,
      "a dense layer as the last one: its membranes are the answer",
    );
  }
  return { stages, specs };
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
  const train = purpose.mode === "train";
  const live = purpose.mode === "step";
  const steps = live ? 1 : encoder.steps;
  const { capacity } = purpose;
  const leak = { f32: descriptor.leak };
  const control = plan.take(Control.Size);
  const frames = plan.take(Frame.Size * plan.ranks);
  const events = plan.take(EVENT_SCRATCH * plan.ranks, 64);
  for (let rank = 0; rank < plan.ranks; rank++)
    plan.preset(frames + rank * Frame.Size + Frame.Events, [events + rank * EVENT_SCRATCH, control]);
  const counters = stages.length; // the input, and every stage but the readout
  const spikeCounts = plan.take(capacity * counters * 4);
  const operations = plan.take(capacity * 8);
  const labels = plan.take(capacity * 4);
  const sampleIds = plan.take(capacity * 4);
  plan.preset(control + Control.SampleIds, [sampleIds]);
  const classes = stages[stages.length - 1].layout.extent.channels;
  const outputs = plan.take(capacity * classes * 4);
  const losses = plan.take(capacity * 4);
  const given = purpose.given ? plan.take(capacity * classes * 4) : 0;

  // Activity of the input.
  const frameBytes = input.length * 4;
  const poisson = encoder.kind === "poisson";
  const inputFrames = poisson || live ? 1 : encoder.steps;
  const inputLength = input.length * inputFrames;
  const inputs = plan.take(capacity * inputLength * 4, 64);
  const inputView = plan.view(inputs, { sample: inputLength * 4, step: poisson || live ? 0 : frameBytes });
  const counter = (i: number) => plan.view(spikeCounts + i * 4, { sample: counters * 4 });
  const bitsOf = (layout: Layout, kept: boolean): { view: number; address: number } => {
    if (live) return { view: plan.perRank(layout.bitBytes), address: 0 };
    const strides = { step: layout.bitBytes };
    if (!kept) return { view: plan.perRank(layout.bitBytes * steps, strides), address: 0 };
    const address = plan.take(capacity * layout.bitBytes * steps, 64);
    return { view: plan.view(address, { ...strides, sample: layout.bitBytes * steps }), address };
  };
  let poissonRecord = 0;
  let inputActivity: number;
  if (encoder.kind === "poisson") {
    const bits = bitsOf(input, false).view;
    const signs = encoder.signed ? plan.perRank(frameBytes) : 0;
    const count = input.length;
    const [key0, key1] = streamKey(bindings, Stream.Encoder);
    poissonRecord = plan.record(Poisson.Size, {
      [Poisson.Count]: count,
      [Poisson.Rows]: input.rows,
      [Poisson.RowLength]: input.rowLength,
      [Poisson.RowWords]: input.rowWords,
      [Poisson.Input]: inputView,
      [Poisson.Limits]: plan.perRank(Math.ceil(count / 16) * 64),
      [Poisson.Bits]: bits,
      [Poisson.Amplitude]: signs,
      [Poisson.Scratch]: plan.perRank(64 + Math.ceil(count / 8) + 16),
      [Poisson.Gain]: { f32: encoder.gain },
      [Poisson.Key0]: key0,
      [Poisson.Key1]: key1,
      [Poisson.Spikes]: counter(0),
    });
    inputActivity = plan.record(Activity.Size, {
      [Activity.Kind]: ActivityKind.Bits,
      [Activity.Rows]: input.rows,
      [Activity.RowLength]: input.rowLength,
      [Activity.RowWords]: input.rowWords,
      [Activity.Data]: bits,
      [Activity.Amplitude]: signs,
    });
  } else {
    inputActivity = plan.record(Activity.Size, {
      [Activity.Kind]: ActivityKind.Values,
      [Activity.Rows]: input.rows,
      [Activity.RowLength]: input.rowLength,
      [Activity.Data]: inputView,
    });
  }

  const pow = train ? leakPowers(plan, descriptor.leak, steps) : 0;
  const masks = new Map<string, number>();
  const bitPorts = new Map<string, number>();
  const membranePorts = new Map<string, number>();
  const amplitudePorts = new Map<string, number>();

  const parts = stages.map((stage, i) => {
    const { layout, field } = stage;
    const pool = stage.kind === "avgPool2d";
    const { synapse } = stage.synapses[0];
    const scale = synapse.kind === "route" ? synapse.scale : 1;
    // Membranes of the forward pass and deltas of the backward pass are never needed at once.
    const membrane = pool ? plan.perRank(layout.length * 4) : plan.perRank(field.bytes);
    const sums = pool ? plan.perRank(layout.length * 4) : 0;
    const bits = stage.readout ? undefined : bitsOf(layout, purpose.record.spikes);
    const masked = train && stage.probability > 0;
    let amplitude = 0;
    if (masked) {
      if (purpose.record.spikes) {
        const address = plan.take(capacity * layout.length * 4);
        amplitude = plan.view(address, { sample: layout.length * 4 });
        amplitudePorts.set(stage.name, address);
      } else amplitude = plan.perRank(layout.length * 4);
    }
    if (bits?.address) bitPorts.set(stage.name, bits.address);
    const membranes = purpose.record.membranes ? plan.take(capacity * steps * layout.length * 4) : 0;
    if (membranes) membranePorts.set(stage.name, membranes);
    const traced = train && !pool && !stage.readout;
    const filtered = traced ? plan.perRank(layout.length * 4) : 0;
    const total = traced ? plan.perRank(layout.length * 4) : 0;
    const delivered = train && !stage.readout ? plan.perRank(layout.length * 4) : 0;
    const activity = bits
      ? plan.record(Activity.Size, {
          [Activity.Kind]: ActivityKind.Bits,
          [Activity.Rows]: layout.rows,
          [Activity.RowLength]: layout.rowLength,
          [Activity.RowWords]: layout.rowWords,
          [Activity.Data]: bits.view,
          [Activity.Amplitude]: amplitude,
        })
      : 0;
    return {
      stage,
      i,
      pool,
      scale,
      membrane,
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

  const records = parts.map((part) => {
    const { stage } = part;
    const { layout, field } = stage;
    const synapses = stage.synapses.map(({ from: source, synapse }) => {
      const activity = source < 0 ? inputActivity : parts[source].activity;
      const delivered = source < 0 ? 0 : parts[source].delivered;
      const target = part.pool ? part.sums : part.membrane;
      if (synapse.kind === "route") {
        const { columns, rows } = synapse.geometry;
        const make = (to: number) =>
          plan.record(Route.Size, {
            [Route.Activity]: activity,
            [Route.Columns]: plan.table(columns),
            [Route.RowTable]: plan.table(rows),
            [Route.Target]: to,
            [Route.Delivered]: delivered,
            [Route.Scale]: { f32: synapse.scale },
          });
        // Backward, a pool's deltas live where its membranes were.
        const forward = make(target);
        return { source, synapse, forward, backward: part.pool && train ? make(part.membrane) : forward };
      }
      const { geometry, parameter } = synapse;
      const record = plan.record(Fanout.Size, {
        [Fanout.Activity]: activity,
        [Fanout.Columns]: plan.table(geometry.columns),
        [Fanout.RowTable]: plan.table(geometry.rows),
        [Fanout.Weight]: plan.view(bindings.parameters[parameter]),
        [Fanout.Gradient]: train
          ? plan.view(bindings.gradients + bindings.gradientOffsets[parameter], {
              block: bindings.gradientBytes,
            })
          : 0,
        [Fanout.Target]: target,
        [Fanout.TargetStride]: geometry.target.stride,
        [Fanout.WeightStride]: geometry.weightStride,
        [Fanout.Delivered]: delivered,
      });
      return { source, synapse, forward: record, backward: record };
    });
    const membraneAt = plan.shift(part.membrane, part.pool ? 0 : field.origin);
    const rows = {
      [Lee.Rows]: layout.rows,
      [Lee.RowLength]: layout.rowLength,
      [Lee.RowWords]: layout.rowWords,
      [Lee.Stride]: part.pool ? layout.rowLength * 4 : field.stride,
      [Lee.Bits]: part.bits?.view ?? 0,
      [Lee.Delivered]: part.delivered,
    };
    const neuron = stage.readout
      ? plan.record(Output.Size, {
          [Output.Membrane]: part.membrane,
          [Output.Length]: layout.length,
          [Output.Classes]: classes,
          [Output.Leak]: leak,
          [Output.Scale]: { f32: 1 / (stage.threshold * encoder.steps) },
          [Output.Outputs]: plan.view(outputs, { sample: classes * 4 }),
          [Output.Losses]: plan.view(losses, { sample: 4 }),
          [Output.Labels]: plan.view(labels, { sample: 4 }),
          [Output.Delta]: train ? part.membrane : 0,
          [Output.Given]: given ? plan.view(given, { sample: classes * 4 }) : 0,
          [Output.LossScale]: { f32: 1 },
        })
      : plan.record(Lee.Size, {
          ...rows,
          [Lee.Membrane]: membraneAt,
          [Lee.Spikes]: counter(part.i + 1),
          [Lee.Threshold]: { f32: stage.threshold },
          [Lee.Leak]: leak,
          [Lee.LogLeak]: { f32: bindings.ln(descriptor.leak) },
          [Lee.Amplitude]: part.amplitude,
          [Lee.Filtered]: part.filtered,
          [Lee.Total]: part.total,
          [Lee.Decay]: pow,
          [Lee.Delta]: part.pool ? part.sums : membraneAt,
          [Lee.Scale]: { f32: part.scale },
        });
    // A pool's deltas live where its membranes were, and take no factor.
    const backward =
      part.pool && train ? plan.record(Lee.Size, { ...rows, [Lee.Delta]: part.membrane }) : neuron;
    return { synapses, neuron, backward, membraneAt };
  });

  const clear = (view: number, bytes: number) => plan.emit(Op.Clear, view, bytes);
  const membraneBytes = (part: Part) => (part.pool ? part.stage.layout.length * 4 : part.stage.field.bytes);

  const forwardStep = (part: Part) => {
    const record = records[part.i];
    const { layout, field } = part.stage;
    for (const { synapse, forward } of record.synapses) {
      plan.emit(synapse.kind === "route" ? Op.RouteForward : Op.FanoutForward, forward);
      if (purpose.count && synapse.kind === "fanout")
        plan.emit(Op.CountOperations, forward, plan.view(operations, { sample: 8 }));
    }
    if (part.membranes) {
      const to = plan.view(part.membranes, { sample: steps * layout.length * 4, step: layout.length * 4 });
      const stride = part.pool ? layout.rowLength * 4 : field.stride;
      plan.emit(
        Op.Copy,
        to,
        record.membraneAt,
        layout.rows,
        layout.rowLength * 4,
        layout.rowLength * 4,
        stride,
      );
    }
    plan.emit(
      part.stage.readout ? Op.LeeOutput : part.pool ? Op.LeePoolForward : Op.LeeForward,
      record.neuron,
    );
  };

  const forward = () => {
    if (poissonRecord) {
      plan.emit(Op.PoissonSetup, poissonRecord);
      plan.loop(Op.ForSteps, [steps, 1], () => plan.emit(Op.PoissonStep, poissonRecord));
    }
    for (const part of parts) {
      const { layout, probability } = part.stage;
      if (!live) {
        clear(part.membrane, membraneBytes(part));
        if (part.sums) clear(part.sums, layout.length * 4);
      }
      if (part.filtered) {
        clear(part.filtered, layout.length * 4);
        clear(part.total, layout.length * 4);
      }
      if (part.amplitude) {
        let source = 0;
        if (purpose.masks) {
          const address = plan.take(capacity * layout.length * 4);
          masks.set(part.stage.name, address);
          source = plan.view(address, { sample: layout.length * 4 });
        }
        const [key0, key1] = streamKey(bindings, Stream.Dropout + part.i);
        const record = plan.record(Dropout.Size, {
          [Dropout.Count]: layout.length,
          [Dropout.Mask]: part.amplitude,
          [Dropout.Given]: source,
          [Dropout.Probability]: { f32: probability },
          [Dropout.Keep]: { f32: 1 / (1 - probability) },
          [Dropout.Key0]: key0,
          [Dropout.Key1]: key1,
        });
        plan.emit(Op.Dropout, record);
      }
      plan.loop(Op.ForSteps, [steps, 1], () => forwardStep(part));
    }
    const output = records[records.length - 1].neuron;
    plan.emit(
      purpose.given ? Op.GivenGradient : loss.kind === "squaredError" ? Op.SquaredError : Op.CrossEntropy,
      output,
    );
  };

  const backward = () => {
    for (const part of parts) {
      if (part.filtered) plan.emit(Op.LeeFactor, records[part.i].neuron);
      if (!part.stage.readout) clear(part.membrane, membraneBytes(part));
    }
    plan.loop(Op.ForSteps, [steps, 0], () => {
      const delivered = new Set<number>();
      for (let i = parts.length - 1; i >= 0; i--) {
        if (!parts[i].stage.readout) plan.emit(Op.LeeBackward, records[i].backward);
        for (const { source, synapse, backward: record } of records[i].synapses) {
          let flags = synapse.kind === "fanout" ? BackwardFlags.Weight : 0;
          if (source >= 0) {
            flags |= BackwardFlags.Deliver;
            // Neurons that a synapse does not reach must not keep the G of an earlier step.
            if (!delivered.has(source) && synapse.kind === "fanout" && synapse.geometry.gaps) {
              clear(parts[source].delivered, parts[source].stage.layout.length * 4);
              delivered.add(source);
            }
            if (delivered.has(source)) flags |= BackwardFlags.Accumulate;
            delivered.add(source);
          }
          plan.emit(synapse.kind === "route" ? Op.RouteBackward : Op.FanoutBackward, record, flags);
        }
      }
    });
  };

  if (live) {
    plan.loop(Op.ForBlocks, [], () => plan.loop(Op.ForSamples, [], forward));
  } else {
    plan.loop(Op.ForBlocks, [], () => {
      if (train)
        clear(plan.view(bindings.gradients, { block: bindings.gradientBytes }), bindings.gradientBytes);
      plan.loop(Op.ForSamples, [], () => {
        forward();
        if (train) backward();
      });
    });
  }
  return {
    control,
    frames,
    inputs,
    inputLength,
    labels,
    sampleIds,
    outputs,
    losses,
    given,
    spikes: spikeCounts,
    operations,
    masks,
    bits: bitPorts,
    membranes: membranePorts,
    amplitudes: amplitudePorts,
  };
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

/** `lee`, as the library sees it. */
export const leeMethod: Method<LeeDescriptor> = {
  kind: "lee",
  loss: squaredError(),
  check: (descriptor) => {
    options("method", descriptor, ["kind", "leak", "threshold"]);
    return lee({ leak: descriptor.leak, threshold: descriptor.threshold });
  },
  expand,
  deviation: (spec) => Math.sqrt(2 / spec.fanIn),
  model(input, layers, descriptor, encoder, loss): Model {
    const { stages, specs } = buildStages(input, layers, descriptor);
    const layout = new Layout(input, false);
    const infos = stages.map(
      (stage): LayerInfo => ({
        name: stage.name,
        kind: stage.kind,
        extent: stage.layout.extent,
        spiking: !stage.readout,
        masked: stage.probability > 0,
        operations: stage.synapses.reduce(
          (sum, { synapse }) => sum + (synapse.kind === "fanout" ? synapse.geometry.operations : 0),
          0,
        ),
      }),
    );
    return {
      parameters: specs,
      layers: infos,
      input,
      classes: stages[stages.length - 1].layout.extent.channels,
      inputIndex: input.channels > 1 && input.height * input.width > 1 ? layout.positions() : undefined,
      lower: (plan, purpose, bindings) =>
        lower(stages, layout, descriptor, encoder, loss, plan, purpose, bindings),
    };
  },
};
