import { BackwardFlags, Bpsta, MaxPool, Op } from "../../assembly/abi.ts";
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

/**
 * Currents in front of batch normalisation are needed twice. As long as those of a batch fit in this many bytes they are
 * kept, beyond it computed again from the spikes: same order, same bits.
 */
const CURRENT_BUDGET = 2 ** 28;

/**
 * The stages at the end that are dense, without batch normalisation: their steps can be taken together, so that each
 * weight is fetched once a sample. The first under direct input computes its current only once anyway.
 */
function firstSwept({ stages, encoder }: BpstaNetwork, purpose: Purpose): number {
  if (purpose.mode === "step") return stages.length;
  let first = stages.length;
  while (first > 0 && stages[first - 1].kind === "dense" && !stages[first - 1].norm) first--;
  return first === 0 && encoder.kind === "direct" ? 1 : first;
}

/**
 * Without batch normalisation, or when evaluating, a rank takes one sample at a time through all layers and steps. Batch
 * statistics need all samples of a step at once: then layers are outermost forward, steps backward, and samples innermost.
 */
export function lower(network: BpstaNetwork, plan: Plan, purpose: Purpose, bindings: Bindings): Ports {
  const train = SPIKEGRAD_TRAINING && purpose.mode === "train";
  const batched = train && network.stages.some(({ norm }) => norm);
  const { stages, encoder, classes } = network;
  const schedule = batched ? "batch" : "sample";
  const counters = stages.length + 1;
  const stem = new SteppedStem(plan, purpose, bindings, network.input, encoder, classes, counters, schedule);
  const budget = { bytes: batched ? CURRENT_BUDGET : 0 };
  const swept = firstSwept(network, purpose);
  const parts: Part[] = [];
  stages.forEach((stage, i) => {
    const sweeps = { own: i >= swept, next: i + 1 >= swept && i + 1 < stages.length };
    parts.push(new Part(stem, network, stage, i, parts[i - 1], batched, sweeps, budget));
  });
  const last = parts[parts.length - 1];
  const answer = answerOf(network, stem, last.bits, last.delivered);
  const alone = (body: () => void) => body();
  const work = batched ? teamwork(stem) : { samples: alone, once: alone, begin: () => {} };
  const { samples, once } = work;
  const up = (body: () => void) => plan.loop(Op.ForSteps, [stem.steps, 1], body);

  const fire = (part: Part) => {
    plan.emit(Op.BpstaForward, part.neuron);
    for (const step of part.onward) step();
    if (part === last) plan.emit(Op.Vote, answer.vote);
  };
  const forward = (part: Part) => {
    if (batched && part.norm) {
      const statistics = () => {
        samples(() => {
          part.currents();
          plan.emit(Op.NormSum, part.norm);
        });
        once(() => plan.emit(Op.NormMean, part.norm));
        samples(() => plan.emit(Op.NormSquares, part.norm));
        once(() => plan.emit(Op.NormFinish, part.norm));
      };
      if (part.constant) statistics();
      else if (part.kept) up(statistics);
      samples(() => {
        part.rest();
        if (part.constant || part.kept) up(() => fire(part));
      });
      if (part.constant || part.kept) return;
      up(() => {
        statistics();
        samples(() => fire(part));
      });
      return;
    }
    samples(() => {
      if (part.norm) plan.emit(Op.NormFixed, part.norm);
      part.rest();
      if (part.swept) {
        part.sweep();
        up(() => fire(part));
        return;
      }
      if (part.constant) part.currents();
      up(() => {
        if (!part.constant) part.currents();
        fire(part);
      });
    });
  };

  const whole = () => {
    if (batched) {
      work.begin();
      once(() => {
        for (const part of parts) part.prepare();
      });
    }
    samples(() => {
      stem.encode();
      for (const part of parts) part.draw();
      if (purpose.mode !== "step") stem.clear(answer.counts, answer.bytes);
    });
    for (const part of parts) forward(part);
    samples(() => plan.emit(answer.loss, answer.output));
    if (train) emitBackward(stem, parts, answer.vote, work, batched);
  };
  if (batched) whole();
  else stem.forEachSample(whole);
  return stem.ports;
}

/** Emits the way back through all layers, when all steps have been forward. */
function emitBackward(
  stem: SteppedStem,
  parts: readonly Part[],
  vote: number,
  work: { readonly samples: Adder; readonly once: Adder },
  batched: boolean,
): void {
  const { plan } = stem;
  const last = parts[parts.length - 1];
  /** From the deltas of a layer's currents to its gradients and the G of the layer before. */
  const spread = (part: Part) => {
    if (!part.norm) plan.emit(Op.BiasBackward, part.bias.backward);
    const before = parts[part.index - 1];
    if (before && part.stage.geometry.gaps) stem.clear(before.delivered, before.out.length * 4);
    const flags = BackwardFlags.Weight | (before ? BackwardFlags.Deliver : 0);
    plan.emit(Op.FanoutBackward, part.synapse.backward, flags);
    for (const step of before?.back ?? []) step();
  };
  /** The same of all steps of a sample. */
  const sweepBack = (part: Part) => {
    const down = (body: () => void) => plan.loop(Op.ForSteps, [stem.steps, 0], body);
    const before = parts[part.index - 1];
    down(() => {
      if (part === last) plan.emit(Op.VoteBackward, vote);
      else for (const step of part.back) step();
      plan.emit(Op.BpstaBackward, part.neuron);
      plan.emit(Op.BiasBackward, part.bias.backward);
    });
    const flags = BackwardFlags.Weight | (before ? BackwardFlags.Deliver : 0);
    plan.emit(Op.SweepBackward, part.synapse.backward, stem.steps, flags);
  };
  const normalised = (part: Part, add: Adder, cut: Adder) => {
    if (!part.norm) return;
    add(() => plan.emit(Op.NormBackwardSum, part.norm));
    cut(() => plan.emit(Op.NormBackwardFinish, part.norm));
    add(() => plan.emit(Op.NormBackwardApply, part.norm));
  };
  const stepwise = parts.filter((part) => !part.swept);
  const backwardStep = (add: Adder, cut: Adder) => {
    if (stepwise.length === parts.length) add(() => plan.emit(Op.VoteBackward, vote));
    for (const part of [...stepwise].reverse()) {
      if (parts[part.index + 1]?.swept) {
        add(() => {
          for (const step of part.back) step();
        });
      }
      add(() => plan.emit(Op.BpstaBackward, part.neuron));
      if (part.constant) return;
      if (batched && part.norm && !part.kept) add(() => part.currents());
      normalised(part, add, cut);
      add(() => spread(part));
    }
  };
  work.samples(() => {
    for (const part of parts) part.still();
    for (const part of [...parts].reverse()) if (part.swept) sweepBack(part);
  });
  if (stepwise.length) plan.loop(Op.ForSteps, [stem.steps, 0], () => phases(work, backwardStep));
  if (!parts[0].constant) return;
  phases(work, (add, cut) => {
    normalised(parts[0], add, cut);
    add(() => spread(parts[0]));
  });
}

/** One stage laid out in memory, and what it emits. */
class Part {
  readonly stage: Stage;
  readonly index: number;
  /** The current is the same at every step: computed once, its deltas summed. */
  readonly constant: boolean;
  /** Currents of every step are kept. */
  readonly kept: boolean = false;
  /** Currents of all steps are computed together. */
  readonly swept: boolean;
  readonly neuron: number;
  readonly norm: number;
  readonly bits: number;
  /** Layout, activity and G of what the next synapse sees, after pools and dropout. */
  readonly out: Layout;
  readonly activity: number;
  readonly delivered: number;
  readonly synapse: { readonly forward: number; readonly backward: number };
  readonly bias: { readonly forward: number; readonly backward: number };
  /** What follows the neuron at each step, and its way back in reverse. */
  readonly onward: (() => void)[] = [];
  readonly back: (() => void)[] = [];
  readonly #stem: SteppedStem;
  readonly #setup: (() => void)[] = [];
  readonly #field: number;
  readonly #membrane: number;
  /** The next synapse sweeps over all steps: it delivers G for all of them. */
  readonly #stepped: boolean;
  readonly #carry: number;
  readonly #delta: number;

  constructor(
    stem: SteppedStem,
    network: BpstaNetwork,
    stage: Stage,
    index: number,
    before: Part | undefined,
    batched: boolean,
    sweeps: { readonly own: boolean; readonly next: boolean },
    budget: { bytes: number },
  ) {
    const train = SPIKEGRAD_TRAINING && stem.purpose.mode === "train";
    const { plan, purpose, steps } = stem;
    const { layout, geometry, norm, relu } = stage;
    const field = geometry.target;
    const bytes = layout.length * 4;
    this.#stem = stem;
    this.stage = stage;
    this.index = index;
    this.swept = sweeps.own;
    this.#stepped = sweeps.next;
    this.constant = index === 0 && network.encoder.kind === "direct" && purpose.mode !== "step";
    if (train) {
      const needed = field.bytes * steps * purpose.capacity;
      this.kept = batched && norm !== undefined && !this.constant && needed <= budget.bytes;
      if (this.kept) budget.bytes -= needed;
    }

    // Between the passes of a batch normalisation a sample's values must stay; elsewhere the rank's memory will do.
    const own = train && batched && (norm !== undefined || this.constant);
    const stepped = this.swept ? field.bytes : 0;
    const rank = (bytes: number, step: number) => plan.perRank(step ? bytes * steps : bytes, { step });
    this.#field = own ? stem.scratch(field.bytes, this.kept ? field.bytes : 0) : rank(field.bytes, stepped);
    const waiting = train && batched && norm !== undefined && !this.constant && !this.kept;
    this.#membrane = waiting ? stem.scratch(bytes) : plan.perRank(bytes);
    this.#carry = train ? stem.scratch(bytes) : 0;
    this.#delta = train ? (own ? stem.scratch(field.bytes) : rank(field.bytes, stepped)) : 0;
    const bits = stem.bits(layout);
    this.bits = bits.view;
    if (SPIKEGRAD_TRAINING && bits.address) {
      const name = `${stage.name}.spikes`;
      stem.records.push({ name, address: bits.address, kind: "bits", layout, steps, amplitude: 0 });
    }
    const affine = norm ? affineView(stem, layout, batched, this.constant) : 0;
    const delivered = train
      ? this.#delivery(
          bytes,
          stage.transits.every(({ kind }) => kind === "dropout"),
        )
      : 0;
    this.neuron = plan.record(Bpsta.Size, {
      [Bpsta.Rows]: layout.rows,
      [Bpsta.RowLength]: layout.rowLength,
      [Bpsta.RowWords]: layout.rowWords,
      [Bpsta.Channels]: layout.channels,
      [Bpsta.Field]: plan.shift(this.#field, field.origin),
      [Bpsta.Stride]: field.stride,
      [Bpsta.Affine]: affine,
      [Bpsta.Relu]: relu ? 1 : 0,
      [Bpsta.Membrane]: this.#membrane,
      [Bpsta.Bits]: bits.view,
      [Bpsta.Spikes]: stem.counter(index + 1),
      [Bpsta.Threshold]: { f32: stage.threshold },
      [Bpsta.Decay]: { f32: network.descriptor.decay },
      [Bpsta.Constant]: this.constant ? 1 : 0,
      ...(SPIKEGRAD_TRAINING && {
        [Bpsta.Recorded]: purpose.record.membranes
          ? stem.recorded(`${stage.name}.membranes`, layout, true)
          : 0,
      }),
      ...(train && {
        [Bpsta.Kappa]: { f32: network.descriptor.kappa },
        [Bpsta.Positive]: relu ? stem.scratch(layout.bitBytes, this.constant ? 0 : layout.bitBytes) : 0,
        [Bpsta.Potentials]: stem.scratch(bytes, this.constant ? 0 : bytes),
        [Bpsta.Carry]: this.#carry,
        [Bpsta.Delivered]: delivered,
        [Bpsta.Delta]: plan.shift(this.#delta, field.origin),
        [Bpsta.Sum]: this.constant ? 1 : 0,
      }),
    });
    const places = { field: this.#field, delta: this.#delta, affine, batched };
    const updates = this.constant ? steps : 1;
    this.norm = norm ? normRecord(stem, stage, norm, { ...places, updates }) : 0;
    if (train && norm && batched) this.#setup.push(() => keepStatistics(stem, norm, layout));
    this.bias = {
      forward: biasRecord(stem, stage, this.#field),
      backward: train ? biasRecord(stem, stage, this.#delta) : 0,
    };

    const source = before?.activity ?? stem.activity;
    const send = (target: number) =>
      stem.fanout(source, geometry, stage.weight, target, before?.delivered ?? 0, sweeps.own);
    this.synapse = { forward: send(this.#field), backward: train ? send(this.#delta) : 0 };

    const end = this.#transits(stem.activityOf(layout, bits.view, 0), delivered, bits.view);
    this.out = end.layout;
    this.activity = end.activity;
    this.delivered = end.delivered;
  }

  /** Memory for G: of every step, where the next synapse sweeps over them and nothing lies between. */
  #delivery(bytes: number, end: boolean): number {
    const stem = this.#stem;
    if (!end || !this.#stepped) return stem.plan.perRank(bytes);
    return stem.scratch(bytes, bytes);
  }

  /** Pools and dropout behind the neuron. */
  #transits(activity: number, delivered: number, bits: number) {
    const train = SPIKEGRAD_TRAINING && this.#stem.purpose.mode === "train";
    const stem = this.#stem;
    const { plan } = stem;
    let at = { layout: this.stage.layout, activity, delivered, bits, values: 0 };
    const { transits } = this.stage;
    const ends = train ? transits.reduce((last, { kind }, i) => (kind === "dropout" ? last : i), -1) : -1;
    for (const [i, transit] of transits.entries()) {
      const from = at;
      const { layout } = transit;
      const bytes = layout.length * 4;
      if (transit.kind === "dropout") {
        if (!train) continue;
        const mask = stem.scratch(bytes);
        const { name, probability, index } = transit;
        this.#masks.push(() => stem.drawMask(name, layout, mask, probability, index));
        if (from.values) this.onward.push(() => plan.emit(Op.Multiply, from.values, mask, layout.length));
        else at = { ...from, activity: stem.activityOf(layout, from.bits, mask) };
        if (train) this.back.unshift(() => plan.emit(Op.Multiply, from.delivered, mask, layout.length));
        continue;
      }
      const to = train ? this.#delivery(bytes, i === ends) : 0;
      if (transit.kind === "maxPool") {
        const pooled = stem.bits(layout, false).view;
        const pool = plan.record(MaxPool.Size, {
          [MaxPool.Window]: transit.window,
          [MaxPool.Channels]: layout.channels,
          [MaxPool.Rows]: layout.rows,
          [MaxPool.Columns]: layout.extent.width,
          [MaxPool.RowWords]: layout.rowWords,
          [MaxPool.Bits]: pooled,
          [MaxPool.SourceRowWords]: from.layout.rowWords,
          [MaxPool.SourceBits]: from.bits,
          ...(train && {
            [MaxPool.Delivered]: to,
            [MaxPool.SourceRowLength]: from.layout.rowLength,
            [MaxPool.SourceDelivered]: from.delivered,
          }),
        });
        this.onward.push(() => plan.emit(Op.MaxPoolForward, pool));
        if (train) this.back.unshift(() => plan.emit(Op.MaxPoolBackward, pool));
        at = { layout, activity: stem.activityOf(layout, pooled, 0), delivered: to, bits: pooled, values: 0 };
        continue;
      }
      const values = stem.scratch(bytes, bytes);
      const cells = transit.window * transit.window;
      const sum = stem.route(from.activity, transit.geometry, values, 0, 1);
      this.onward.push(() => {
        stem.clear(values, bytes);
        plan.emit(Op.RouteForward, sum);
        plan.emit(Op.Divide, values, layout.length, { f32: cells });
      });
      if (train) {
        const scale = Math.fround(1 / cells);
        const share = stem.route(from.activity, transit.geometry, to, from.delivered, scale);
        this.back.unshift(() => plan.emit(Op.RouteBackward, share, 0));
      }
      at = { layout, activity: stem.valuesOf(layout, values), delivered: to, bits: 0, values };
    }
    return at;
  }

  readonly #masks: (() => void)[] = [];

  /** Once a batch. */
  prepare(): void {
    for (const step of this.#setup) step();
  }

  /** Once a sample, before its first step. */
  draw(): void {
    for (const step of this.#masks) step();
  }

  /** Membranes at rest; those of a live network stay as they are. */
  rest(): void {
    if (this.#stem.purpose.mode !== "step") this.#stem.clear(this.#membrane, this.stage.layout.length * 4);
  }

  /** Nothing comes back from behind the last step. */
  still(): void {
    this.#stem.clear(this.#carry, this.stage.layout.length * 4);
    if (this.constant) this.#stem.clear(this.#delta, this.stage.geometry.target.bytes);
  }

  /** I = b + Σ w x, of all steps of a sample. */
  sweep(): void {
    const { plan, purpose, steps } = this.#stem;
    plan.loop(Op.ForSteps, [steps, 1], () => {
      plan.emit(Op.BiasForward, this.bias.forward);
      if (SPIKEGRAD_TRAINING && purpose.count)
        plan.emit(Op.CountOperations, this.synapse.forward, this.#stem.operationCounter);
    });
    plan.emit(Op.SweepForward, this.synapse.forward, steps);
  }

  /** I = b + Σ w x, of one sample and step. */
  currents(): void {
    const { plan, purpose } = this.#stem;
    const { bytes } = this.stage.geometry.target;
    if (bytes > this.stage.layout.length * 4) this.#stem.clear(this.#field, bytes);
    plan.emit(Op.BiasForward, this.bias.forward);
    plan.emit(Op.FanoutForward, this.synapse.forward);
    if (SPIKEGRAD_TRAINING && purpose.count)
      plan.emit(Op.CountOperations, this.synapse.forward, this.#stem.operationCounter);
  }
}
