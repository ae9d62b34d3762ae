import type { Lowered } from "./core/engine.ts";
import { Layout, shapeOf, size } from "./core/geometry.ts";
import { ArgumentError, StateError } from "./errors.ts";
import type { Samples } from "./inputs.ts";
import type { Model, Purpose, RecordKind } from "./methods/method.ts";
import { readRecord } from "./records.ts";
import type { Runner } from "./runner.ts";
import type { Tensor } from "./tensor.ts";
import { choice, integer, options } from "./validate.ts";

/** What `gradients` finds. */
export interface Gradients {
  /** The loss as it is defined: summed over the batch, or its mean. */
  readonly loss: number;
  /** Answers, `[B, classes]`. */
  readonly outputs: Tensor;
  /** dL/dw of every trainable parameter, by its name, in its shape. */
  readonly gradients: Record<string, Tensor>;
  /** Running statistics as this batch leaves them, by name; `parameters.set` takes them over. */
  readonly statistics: Record<string, Tensor>;
  /**
   * As asked for: `"<layer>.spikes"`, `"<layer>.membranes"`, `[T, B, …layer shape]`; `"<layer>.spikeTimes"`,
   * `[B, …layer shape]`; of layers with a readout of their own `"<layer>.readout"`, `[T, B, classes]`, and
   * `"<layer>.loss"`, one number a step that counts.
   */
  readonly records: Record<string, Tensor>;
}

/** What `forward` and `gradients` take beside inputs and labels. */
export interface GradientOptions {
  /**
   * What to keep of every layer: spikes (after dropout), membranes u_t before the reset; with `stdbp` times of spikes;
   * with `decolle` local readouts and their losses.
   */
  readonly record?: readonly RecordKind[];
  /** Masks `[B, …layer shape]` of 0 and 1/(1-p) by layer name, instead of random ones. */
  readonly dropoutMasks?: Readonly<Record<string, Float32Array>>;
  /** `bpsta` only: of the ordinary network that is left without the neurons, as in `fit`. Default false. */
  readonly bypassNeurons?: boolean;
  /** Epoch in the key of the random numbers (encoder, dropout), 0 or more. Default 0. */
  readonly epoch?: number;
  /** Index of the first sample in that key, 0 or more. Default 0. */
  readonly firstSample?: number;
}

/** What `forward` gives. */
export interface Forward {
  /** Answers `[B, classes]`. */
  readonly outputs: Tensor;
  /** As asked for, as in `Gradients`. */
  readonly records: Record<string, Tensor>;
}

/** The kinds of records in a list that came from outside. */
export function recordsOf(record: readonly RecordKind[], model: Model): Purpose["record"] {
  if (!Array.isArray(record)) throw new ArgumentError("record", record, "a list of what to keep");
  const kinds: RecordKind[] = model.earliest ? ["spikeTimes"] : ["spikes", "membranes"];
  if (model.local) kinds.push("readouts");
  for (const what of record) choice("record", what, kinds);
  return {
    spikes: record.includes("spikes"),
    membranes: record.includes("membranes"),
    spikeTimes: record.includes("spikeTimes"),
    readouts: record.includes("readouts"),
  };
}

/** Whether the model's neurons are to be bypassed, if they can be. */
export function checkBypass(bypass: boolean, model: Model, record: readonly RecordKind[]): boolean {
  if (typeof bypass !== "boolean") throw new ArgumentError("bypassNeurons", bypass, "true or false");
  if (bypass && !model.bypass) {
    throw new ArgumentError(
      "bypassNeurons",
      true,
      "false: only bpsta() with direct() or spikes() makes an ordinary network without its neurons",
    );
  }
  if (bypass && record.length > 0)
    throw new ArgumentError("record", record, "nothing where neurons are bypassed: they have no spikes");
  return bypass;
}

/**
 * Loss, answers and gradients of a batch: of the network's loss, or of the caller's by `given` = dL/dy. `smooth`: of the
 * network whose spikes are the primitives of their surrogates.
 */
export async function differentiate(
  runner: Runner,
  samples: Samples,
  labels: ArrayLike<number> | undefined,
  given: Float32Array | undefined,
  option: GradientOptions,
  smooth = false,
): Promise<Gradients> {
  options("gradients options", option, ["record", "dropoutMasks", "bypassNeurons", "epoch", "firstSample"]);
  const { record = [], dropoutMasks, bypassNeurons = false, epoch = 0, firstSample = 0 } = option;
  integer("epoch", epoch, 0);
  integer("firstSample", firstSample, 0);
  if (given && runner.model.local) {
    throw new StateError(
      `${runner.description.method.kind} has no gradient of the answer: every layer learns from a loss of its own; use gradients()`,
    );
  }
  const { count } = samples;
  const keep = recordsOf(record, runner.model);
  const bypass = checkBypass(bypassNeurons, runner.model, record);
  if (dropoutMasks) checkMasks(runner, dropoutMasks, count);
  const purpose = runner.purpose("train", count, {
    record: keep,
    masks: dropoutMasks !== undefined,
    given: given !== undefined,
    bypass,
    smooth,
  });
  const key = `gradients ${Object.values(keep)} ${purpose.masks} ${purpose.given} ${bypass} ${smooth}`;
  return await runner.alone(async () => {
    const { engine } = runner;
    const lowered = engine.lower(key, purpose);
    const order = Uint32Array.from({ length: count }, (_, i) => i);
    runner.load(lowered, samples, order, labels, epoch, firstSample);
    if (given) engine.f32(lowered.ports.given, given.length).set(given);
    if (dropoutMasks) loadMasks(runner, lowered, dropoutMasks, count);
    await runner.runBatch(lowered);
    const sum = given ? 0 : runner.sumLosses(lowered, count, "gradients", order);
    const loss = runner.model.meanLoss ? sum / count : sum;
    await engine.reduceGradients(lowered);
    const gradients: Record<string, Tensor> = {};
    const statistics: Record<string, Tensor> = {};
    runner.model.parameters.forEach((spec, i) => {
      if (!spec.trainable && !spec.statistic) return;
      (spec.statistic ? statistics : gradients)[spec.name] = {
        shape: spec.shape,
        data: engine.gather(i, engine.gradient(i)),
      };
    });
    const outputs = { shape: [count, runner.classes], data: runner.outputs(lowered, count) };
    const records = readRecords(runner, lowered, count);
    // Records are large and rarely asked for twice.
    if (record.length > 0) engine.drop(key);
    return { loss, outputs, gradients, statistics, records };
  });
}

function checkMasks(runner: Runner, masks: Readonly<Record<string, Float32Array>>, count: number): void {
  const masked = runner.model.masks;
  for (const name of Object.keys(masks)) {
    if (!masked.some((layer) => layer.name === name)) {
      throw new ArgumentError(
        `dropoutMasks["${name}"]`,
        name,
        `a layer with dropout: ${masked.map((layer) => layer.name).join(", ") || "there is none"}`,
      );
    }
  }
  for (const layer of masked) {
    const mask = masks[layer.name];
    const need = count * size(layer.extent);
    if (!(mask instanceof Float32Array) || mask.length !== need) {
      throw new ArgumentError(
        `dropoutMasks["${layer.name}"]`,
        mask === undefined ? mask : `${mask.length} values`,
        `a Float32Array of ${need} values [${count}, ${shapeOf(layer.extent).join(", ")}]`,
      );
    }
    const bad = mask.findIndex((x) => !Number.isFinite(x) || x < 0);
    if (bad >= 0) throw new ArgumentError(`dropoutMasks["${layer.name}"][${bad}]`, mask[bad], "0 or 1/(1-p)");
  }
}

function loadMasks(
  runner: Runner,
  lowered: Lowered,
  masks: Readonly<Record<string, Float32Array>>,
  count: number,
): void {
  for (const layer of runner.model.masks) {
    const address = lowered.ports.masks.get(layer.name);
    if (address === undefined) continue;
    const layout = new Layout(layer.extent, true);
    const positions = layout.positions();
    const stored = runner.engine.f32(address, count * layout.length);
    const mask = masks[layer.name];
    for (let s = 0; s < count; s++) {
      for (let i = 0; i < positions.length; i++)
        stored[s * layout.length + positions[i]] = mask[s * positions.length + i];
    }
  }
}

export function readRecords(runner: Runner, lowered: Lowered, count: number): Record<string, Tensor> {
  const records: Record<string, Tensor> = {};
  for (const port of lowered.ports.records) records[port.name] = readRecord(runner.engine, port, count);
  return records;
}
