import {
  ConvTimeline,
  Earliest,
  Nudge,
  Op,
  Stdbp,
  Stream,
  Timeline,
  TimelineSort,
  TimesEncoder,
  TimesLoss,
  WeightSum,
} from "../../assembly/abi.ts";
import { type Extent, Layout, size } from "../core/geometry.ts";
import type { Places } from "../core/places.ts";
import type { Plan } from "../core/plan.ts";
import { streamKey } from "../core/random.ts";
import type { ContinuousEncoder, EncoderDescriptor } from "../encoders.ts";
import type { LossDescriptor } from "../losses.ts";
import { meanLoss, Stem } from "./common.ts";
import type { Bindings, Ports, Purpose } from "./method.ts";
import type { StdbpDescriptor } from "./stdbp.ts";

/** Neurons that the core takes at once: channels are stored in multiples of it. */
export const PANEL = 16;

/** Weights in panels of sixteen neurons, `[panel][input row][16]`, and how spikes find their rows. */
export interface Synapse {
  readonly weightLength: number;
  readonly places: Places;
  /** Bytes of a panel. */
  readonly panelBytes: number;
  /** Connections of one neuron (dense) or of one channel at all its positions (convolution). */
  readonly reach: number;
  /** Dense: byte offset of each input position's row. */
  readonly rows?: Uint32Array;
  readonly conv?: ConvTables;
}

/** Which output positions an input row or column reaches; see `ConvTimeline` of the core. */
interface ConvTables {
  readonly rows: Uint32Array;
  readonly columns: Uint32Array;
  readonly entryBytes: number;
  readonly listBytes: number;
  readonly positions: number;
}

/** A layer of the network. */
export type Stage =
  | {
      readonly kind: "dense" | "conv2d";
      readonly name: string;
      readonly from: Layout;
      readonly layout: Layout;
      readonly synapse: Synapse;
      readonly parameter: number;
      /** Number of the parameter that holds the last nudges, -1 without. */
      readonly nudge: number;
      readonly threshold: number;
    }
  | {
      readonly kind: "earliestPool2d";
      readonly name: string;
      readonly from: Layout;
      readonly layout: Layout;
      readonly window: number;
    };

/** Storage of weights `[outputs][rows]` in panels; `row` gives the stored row of each of the user's. */
function panels(outputs: number, rows: number, row: (i: number) => number) {
  return {
    panelBytes: rows * PANEL * 4,
    weightLength: Math.ceil(outputs / PANEL) * rows * PANEL,
    places: { first: () => Array.from({ length: rows }, (_, i) => row(i) * PANEL), group: rows * PANEL },
  };
}

/** Fully connected: one row an input neuron, in the order y, x, channel. */
export function denseSynapse(from: Layout, outputs: number): Synapse {
  const compact = new Layout(from.extent, false).positions();
  const inputs = compact.length;
  const rows = new Uint32Array(from.length);
  from.positions().forEach((position, i) => {
    rows[position] = compact[i] * PANEL * 4;
  });
  return { ...panels(outputs, inputs, (i) => compact[i]), rows, reach: inputs };
}

/** Convolution: one row a tap, in the order ky, kx, channel. */
export function convSynapse(
  from: Layout,
  to: Extent,
  kernel: number,
  stride: number,
  padding: number,
): Synapse {
  const { channels, height, width } = from.extent;
  const taps = kernel * kernel;
  const listBytes = Timeline.Size * (1 + taps * channels);
  const entry = 1 + 2 * kernel;
  // Of each position along an axis: the outputs that it reaches, with the offsets of their lists and of the tap's weights.
  const axis = (inputs: number, outputs: number, listStep: number, weightStep: number) => {
    const table = new Uint32Array(inputs * entry);
    let reached = 0;
    for (let n = 0; n < inputs; n++) {
      let at = n * entry + 1;
      for (let k = kernel - 1; k >= 0; k--) {
        const place = n + padding - k;
        if (place < 0 || place % stride !== 0 || place / stride >= outputs) continue;
        table[at++] = (place / stride) * listStep;
        table[at++] = k * weightStep;
        table[n * entry]++;
        reached++;
      }
    }
    return { table, reached };
  };
  const rowBytes = channels * PANEL * 4;
  const rows = axis(height, to.height, to.width * listBytes, kernel * rowBytes);
  const columns = axis(width, to.width, listBytes, rowBytes);
  return {
    ...panels(to.channels, taps * channels, (i) => (i % taps) * channels + Math.floor(i / taps)),
    reach: rows.reached * columns.reached * channels,
    conv: {
      rows: rows.table,
      columns: columns.table,
      entryBytes: entry * 4,
      listBytes,
      positions: to.height * to.width,
    },
  };
}

/** Off is 0 for the user and no bound at all for the core. */
const LARGEST = 3.4028234663852886e38;

/** Lays out the program of a network: layer by layer, each over all samples of a block. */
export function lowerStdbp(
  stages: readonly Stage[],
  input: Layout,
  descriptor: StdbpDescriptor,
  encoder: EncoderDescriptor,
  loss: LossDescriptor,
  plan: Plan,
  purpose: Purpose,
  bindings: Bindings,
): Ports {
  const train = SPIKEGRAD_TRAINING && purpose.mode === "train";
  const classes = stages[stages.length - 1].layout.extent.channels;
  const stem = new Stem(plan, purpose, bindings, input, encoder, classes, stages.length + 1, "batch");
  const perSample = (layout: Layout) => stem.scratch(layout.length * 4);

  interface Part {
    readonly stage: Stage;
    readonly times: number;
    readonly delivered: number;
    readonly spikes: number;
  }
  const source: Part = {
    stage: { kind: "earliestPool2d", name: "input", from: input, layout: input, window: 1 },
    times: stem.scratch(input.length * 4),
    delivered: 0,
    spikes: stem.counter(0),
  };
  const encoding = encodingOf(stem, encoder as ContinuousEncoder, input, source.times);
  const parts = stages.map((stage, i): Part => {
    const { layout } = stage;
    return {
      stage,
      times: perSample(layout),
      delivered: train ? perSample(layout) : 0,
      spikes: stem.counter(i + 1),
    };
  });
  const layers = parts.map((part, i) => {
    const { stage, times, delivered, spikes } = part;
    const before = parts[i - 1] ?? source;
    const { from, layout } = stage;
    if (stage.kind === "earliestPool2d") {
      const record = plan.record(Earliest.Size, {
        [Earliest.Rows]: layout.extent.height,
        [Earliest.Columns]: layout.extent.width,
        [Earliest.Channels]: layout.extent.channels,
        [Earliest.Stored]: layout.channels,
        [Earliest.InputRowLength]: from.rowLength,
        [Earliest.InputStored]: from.channels,
        [Earliest.Window]: stage.window,
        [Earliest.Times]: before.times,
        [Earliest.Out]: times,
        [Earliest.Spikes]: spikes,
        ...(train && {
          [Earliest.Chosen]: perSample(layout),
          [Earliest.Delivered]: delivered,
          [Earliest.SourceDelivered]: before.delivered,
          [Earliest.SourceBytes]: from.length * 4,
        }),
      });
      return { part, before, record, sort: 0, list: 0, inverses: 0, counts: 0 };
    }
    const { synapse, parameter, threshold } = stage;
    const list = stem.scratch(Timeline.Size * (1 + from.length));
    const sort = plan.record(TimelineSort.Size, {
      [TimelineSort.Count]: from.length,
      [TimelineSort.Times]: before.times,
      [TimelineSort.List]: list,
      [TimelineSort.Scratch]: plan.perRank(4096 + 16 * from.length),
      [TimelineSort.Rows]: synapse.rows ? plan.table(synapse.rows) : 0,
    });
    const { conv } = synapse;
    const dealt = conv
      ? plan.record(ConvTimeline.Size, {
          [ConvTimeline.Channels]: from.channels,
          [ConvTimeline.RowLength]: from.rowLength,
          [ConvTimeline.Rows]: plan.table(conv.rows),
          [ConvTimeline.Columns]: plan.table(conv.columns),
          [ConvTimeline.EntryBytes]: conv.entryBytes,
          [ConvTimeline.ListBytes]: conv.listBytes,
          [ConvTimeline.Positions]: conv.positions,
          [ConvTimeline.Lists]: plan.perRank(conv.positions * conv.listBytes),
        })
      : 0;
    const lanesBytes = from.length * 16;
    const inverses = train ? perSample(layout) : 0;
    const counts = train ? perSample(layout) : 0;
    const record = plan.record(Stdbp.Size, {
      [Stdbp.Neurons]: layout.extent.channels,
      [Stdbp.PanelBytes]: synapse.panelBytes,
      [Stdbp.Conv]: dealt,
      [Stdbp.List]: list,
      [Stdbp.Weight]: stem.parameter(parameter),
      [Stdbp.Threshold]: { f32: threshold },
      [Stdbp.Times]: times,
      [Stdbp.Sources]: from.length,
      [Stdbp.Spikes]: spikes,
      [Stdbp.Scratch]: plan.perRank(128),
      ...(SPIKEGRAD_TRAINING && { [Stdbp.Operations]: purpose.count ? stem.operationCounter : 0 }),
      ...(train && {
        [Stdbp.Gradient]: gradientOf(stem, parameter),
        [Stdbp.Bound]: { f32: descriptor.inverseBound || LARGEST },
        [Stdbp.Limit]: { f32: descriptor.gradientLimit || LARGEST },
        [Stdbp.Inverses]: inverses,
        [Stdbp.Counts]: counts,
        [Stdbp.Delivered]: delivered,
        [Stdbp.Lanes]: !before.delivered ? 0 : conv ? plan.perRank(lanesBytes) : stem.scratch(lanesBytes),
        [Stdbp.SourceDelivered]: before.delivered,
      }),
    });
    return { part, before, record, sort, list, inverses, counts };
  });

  const last = layers[layers.length - 1];
  const answer = plan.record(TimesLoss.Size, {
    [TimesLoss.Classes]: classes,
    [TimesLoss.Times]: last.part.times,
    [TimesLoss.Outputs]: stem.outputs,
    ...(SPIKEGRAD_TRAINING && {
      [TimesLoss.Losses]: stem.losses,
      [TimesLoss.Labels]: stem.labels,
      [TimesLoss.Delivered]: last.part.delivered,
      [TimesLoss.Given]: stem.givenGradients,
      [TimesLoss.Temperature]: { f32: descriptor.temperature },
      [TimesLoss.Delay]: { f32: descriptor.silentDelay * descriptor.temperature },
      [TimesLoss.Nudge]: { f32: descriptor.labelNudge },
      [TimesLoss.Inverses]: last.inverses,
      [TimesLoss.Counts]: last.counts,
      [TimesLoss.List]: last.list,
      [TimesLoss.Mean]: meanOf(loss),
    }),
  });
  const kept =
    SPIKEGRAD_TRAINING && purpose.record.spikeTimes
      ? parts.map(({ stage, times }) => ({
          to: stem.recorded(`${stage.name}.spikeTimes`, stage.layout, false),
          times,
          bytes: stage.layout.length * 4,
        }))
      : [];

  // Ranks share out the samples of a batch that trains, of inference they take blocks.
  const eachSample = (body: () => void) => plan.loop(train ? Op.ForShare : Op.ForSamples, [], body);
  const forward = () => {
    eachSample(() => plan.emit(Op.TimesEncode, encoding));
    for (const { part, record, sort } of layers) {
      if (part.stage.kind === "earliestPool2d") eachSample(() => plan.emit(Op.EarliestForward, record));
      else {
        eachSample(() => plan.emit(Op.SortTimes, sort));
        plan.emit(Op.StdbpForward, record);
      }
    }
    eachSample(() => {
      if (SPIKEGRAD_TRAINING)
        for (const { to, times, bytes } of kept) plan.emit(Op.Copy, to, times, 1, bytes, bytes, bytes);
      plan.emit(Op.TimesLoss, answer, SPIKEGRAD_TRAINING && !purpose.given ? 0 : 1);
    });
  };
  if (!train) {
    stem.forEachBlock(forward);
    return stem.ports;
  }
  plan.together = true;
  stem.clear(plan.view(bindings.blockGradients), bindings.blockBytes, true);
  forward();
  for (const { part, before, record } of [...layers].reverse()) {
    if (part.stage.kind === "earliestPool2d") {
      if (before.delivered) eachSample(() => plan.emit(Op.EarliestBackward, record));
      continue;
    }
    // A panel's gradient hears all samples.
    plan.barrier();
    plan.emit(Op.StdbpBackward, record);
  }
  if (!descriptor.weightSumPenalty && !purpose.learn) return stem.ports;
  plan.barrier();
  plan.loop(Op.RankZero, [], () => {
    for (const { part } of layers) penalize(stem, part.stage, descriptor, loss);
  });
  if (!purpose.learn) return stem.ports;
  purpose.learn.emit(plan, () => {}, new Map());
  plan.barrier();
  plan.loop(Op.RankZero, [], () => {
    for (const { part } of layers) nudge(stem, part.stage, part.times, descriptor);
  });
  return stem.ports;
}

/** Record of the encoder, which writes the view `times`, f32 in the input's layout. */
function encodingOf(stem: Stem, encoder: ContinuousEncoder, input: Layout, times: number): number {
  const { plan, purpose, bindings } = stem;
  const [key0, key1] = streamKey(bindings, Stream.Encoder);
  const intensity = encoder.kind === "firstSpike";
  return plan.record(TimesEncoder.Size, {
    [TimesEncoder.Count]: input.length,
    [TimesEncoder.Input]: stem.frames,
    [TimesEncoder.Times]: times,
    [TimesEncoder.Intensity]: intensity ? 1 : 0,
    [TimesEncoder.SilentBelow]: { f32: intensity ? encoder.silentBelow : 0 },
    [TimesEncoder.Key0]: key0,
    [TimesEncoder.Key1]: key1,
    [TimesEncoder.Spikes]: stem.counter(0),
    ...(SPIKEGRAD_TRAINING && {
      [TimesEncoder.Noise]: { f32: purpose.mode === "train" ? encoder.noise : 0 },
    }),
  });
}

/** Whether a loss is averaged over the batch, for the core. */
function meanOf(loss: LossDescriptor): number {
  return meanLoss(loss, "mean") ? 1 : 0;
}

/** View of a parameter's gradient. */
function gradientOf({ plan, bindings }: Stem, parameter: number): number {
  return plan.view(bindings.gradients + bindings.gradientOffsets[parameter]);
}

function penalize(
  stem: Stem,
  stage: Stage,
  { weightSumPenalty }: StdbpDescriptor,
  loss: LossDescriptor,
): void {
  if (stage.kind === "earliestPool2d" || !weightSumPenalty || stem.purpose.given) return;
  const neurons = stage.layout.extent.channels;
  const record = stem.plan.record(WeightSum.Size, {
    [WeightSum.Neurons]: neurons,
    [WeightSum.PanelBytes]: stage.synapse.panelBytes,
    [WeightSum.Weight]: stem.parameter(stage.parameter),
    [WeightSum.Gradient]: gradientOf(stem, stage.parameter),
    [WeightSum.Threshold]: { f32: stage.threshold },
    [WeightSum.Scale]: { f32: weightSumPenalty / neurons },
    [WeightSum.Losses]: stem.losses,
    [WeightSum.Mean]: meanOf(loss),
  });
  stem.plan.emit(Op.WeightSumPenalty, record);
}

function nudge(stem: Stem, stage: Stage, times: number, { silentNudge }: StdbpDescriptor): void {
  if (stage.kind === "earliestPool2d" || stage.nudge < 0) return;
  const record = stem.plan.record(Nudge.Size, {
    [Nudge.Neurons]: stage.layout.extent.channels,
    [Nudge.PanelBytes]: stage.synapse.panelBytes,
    [Nudge.Weight]: stem.parameter(stage.parameter),
    [Nudge.State]: stem.parameter(stage.nudge),
    [Nudge.Times]: times,
    [Nudge.Length]: size({ ...stage.layout.extent, channels: stage.layout.channels }),
    [Nudge.Amount]: { f32: silentNudge },
    [Nudge.Most]: { f32: stage.threshold },
    [Nudge.Losses]: stem.losses,
  });
  stem.plan.emit(Op.NudgeSilent, record);
}
