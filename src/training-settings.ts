import type { Dataset } from "./data/dataset.ts";
import { ArgumentError } from "./errors.ts";
import { checkBypass } from "./gradients.ts";
import { layerOf } from "./initializers.ts";
import type { RecordKind } from "./methods/method.ts";
import type { TrainingRecord, TrainingSettings } from "./model-file.ts";
import type { ClipBounds } from "./optimizer.ts";
import {
  checkOptimizer,
  checkSchedule,
  type OptimizerDescriptor,
  type ScheduleDescriptor,
} from "./optimizers.ts";
import type { Runner } from "./runner.ts";
import { choice, integer, options, positive } from "./validate.ts";

/** What `fit` takes. */
export interface FitOptions {
  /** Passes over the data. Default 1. */
  readonly epochs?: number;
  /** Samples a batch. Default 64. */
  readonly batchSize?: number;
  /** How gradients become steps. Needed unless `resume` brings it. */
  readonly optimizer?: OptimizerDescriptor;
  /** How the rate changes. Default: not at all. */
  readonly schedule?: ScheduleDescriptor;
  /** New random order every epoch. Default true. */
  readonly shuffle?: boolean;
  /** Multipliers of the rate by layer name. Default: 1 for all. */
  readonly rates?: Readonly<Record<string, number>>;
  /** Names of layers whose parameters stay as they are; no momentum or mean of theirs is kept up either. */
  readonly frozen?: readonly string[];
  /**
   * Bounds on the gradients before each step: `value`, of each; then `norm`, Euclidean, of all that are trained. Default:
   * none.
   */
  readonly clip?: ClipBounds;
  /** Data to evaluate on while training. */
  readonly validation?: Dataset;
  /** Epochs from one validation to the next; the last epoch ends with one too. Default 1. */
  readonly validateEvery?: number;
  /**
   * When training ends (not when it is broken off or aborted) the parameters become those of the best validation: the most
   * accurate, of equals the one with the smaller loss. Default false.
   */
  readonly keepBest?: boolean;
  /** Training ends after so many validations in a row without a new best. Default: never. */
  readonly patience?: number;
  /**
   * What to do when a loss or a gradient becomes NaN or infinite: `"throw"` a NonFiniteError, or `"skip"` the batch and count
   * it. In both cases parameters, running statistics and optimizer are those before the batch. Default `"throw"`.
   */
  readonly onNonFinite?: "throw" | "skip";
  /**
   * `bpsta` with `direct()` or `spikes()` only: trains the same weights as an ordinary network, neurons handing on their
   * current, in one step (on the mean of a sample's frames). A short run of this first gives each class voters that spike
   * when the neurons come back: those silent from the start get no gradient. Validation is of the spiking network.
   * Default false.
   */
  readonly bypassNeurons?: boolean;
  /** Bytes of `checkpoint()`: go on from there. Settings left out are the checkpoint's; only `epochs` may differ. */
  readonly resume?: Uint8Array;
  /** What to keep of every layer of each batch, as `gradients` does, for `Progress.records`: memory that grows with T. */
  readonly record?: readonly RecordKind[];
  /** Ends the run after the batch in work when aborted. */
  readonly signal?: AbortSignal;
}

const KNOWN = [
  "epochs",
  "batchSize",
  "optimizer",
  "schedule",
  "shuffle",
  "rates",
  "frozen",
  "clip",
  "validation",
  "validateEvery",
  "keepBest",
  "patience",
  "onNonFinite",
  "bypassNeurons",
  "resume",
  "record",
  "signal",
];

/** Whether `option` has the keys of fit options and no others. */
export function checkFitOptions(option: FitOptions): void {
  options("fit options", option, KNOWN);
}

/**
 * The settings of a run: what the user gives, else what the checkpoint has, else the default.
 *
 * @param samples samples of the data and of the validation data
 */
export function fitSettings(
  option: FitOptions,
  record: TrainingRecord | undefined,
  runner: Runner,
  samples: number,
  validation: number | null,
): TrainingSettings {
  const layers = trainedLayers(runner);
  const settings: TrainingSettings = {
    optimizer: checkOptimizer(option.optimizer ?? record?.optimizer),
    schedule: checkSchedule(option.schedule ?? record?.schedule),
    epochs: integer("epochs", option.epochs ?? record?.epochs ?? 1, 1),
    batchSize: integer("batchSize", option.batchSize ?? record?.batchSize ?? 64, 1),
    shuffle: flag("shuffle", option.shuffle ?? record?.shuffle ?? true),
    samples,
    validation,
    rates: checkRates(option.rates ?? record?.rates ?? {}, layers),
    frozen: checkFrozen(option.frozen ?? record?.frozen ?? [], layers),
    clip: checkClip(option.clip ?? record?.clip ?? null),
    validateEvery: integer("validateEvery", option.validateEvery ?? record?.validateEvery ?? 1, 1),
    keepBest: flag("keepBest", option.keepBest ?? record?.keepBest ?? false),
    patience: option.patience ?? record?.patience ?? null,
    onNonFinite: choice("onNonFinite", option.onNonFinite ?? record?.onNonFinite ?? "throw", [
      "throw",
      "skip",
    ]),
    bypassNeurons: checkBypass(
      option.bypassNeurons ?? record?.bypassNeurons ?? false,
      runner.model,
      option.record ?? [],
    ),
  };
  if (settings.patience !== null) integer("patience", settings.patience, 1);
  if (record) checkSame(settings, record);
  if (validation === null) {
    for (const key of ["validateEvery", "keepBest", "patience"] as const) {
      const value = option[key];
      if (value !== undefined && value !== false)
        throw new ArgumentError(key, value, "nothing, unless validation data are given");
    }
  }
  return settings;
}

/** Other settings than the checkpoint's would give other bits; more epochs go on further. */
function checkSame(settings: TrainingSettings, record: TrainingRecord): void {
  for (const key of Object.keys(settings) as (keyof TrainingSettings)[]) {
    if (key === "epochs") continue;
    const was = JSON.stringify(record[key]);
    if (JSON.stringify(settings[key]) === was) continue;
    const expected =
      key === "samples"
        ? `data of ${was} samples`
        : key === "validation" && record.validation !== null
          ? `a data set of ${was} samples`
          : was;
    throw new ArgumentError(key, settings[key], `${expected}, as in the checkpoint: other bits would follow`);
  }
}

/** Names of the layers with parameters to train. */
function trainedLayers(runner: Runner): string[] {
  const names = new Set<string>();
  for (const spec of runner.model.parameters) {
    const layer = layerOf(spec.name, runner.description.layers);
    if (spec.trainable && layer !== undefined) names.add(layer);
  }
  return [...names];
}

function checkRates(rates: Readonly<Record<string, number>>, layers: readonly string[]) {
  options("rates", rates, layers);
  for (const [name, rate] of Object.entries(rates)) {
    if (typeof rate !== "number" || !(Math.fround(rate) > 0) || !Number.isFinite(Math.fround(rate))) {
      throw new ArgumentError(
        `rates["${name}"]`,
        rate,
        "a number greater than 0; `frozen` for a layer at rest",
      );
    }
  }
  // In the order of the layers: a record compares as text.
  return Object.fromEntries(layers.filter((name) => name in rates).map((name) => [name, rates[name]]));
}

function checkFrozen(frozen: readonly string[], layers: readonly string[]): string[] {
  if (!Array.isArray(frozen)) throw new ArgumentError("frozen", frozen, "a list of layer names");
  frozen.forEach((name, i) => {
    choice(`frozen[${i}]`, name, layers);
  });
  if (layers.every((name) => frozen.includes(name)))
    throw new ArgumentError("frozen", frozen, "a list that leaves a layer to train");
  return layers.filter((name) => frozen.includes(name));
}

function checkClip(clip: ClipBounds | null): ClipBounds | null {
  if (clip === null) return null;
  const { value, norm } = options("clip", clip, ["value", "norm"]);
  return {
    ...(value === undefined ? {} : { value: bound("clip.value", value) }),
    ...(norm === undefined ? {} : { norm: bound("clip.norm", norm) }),
  };
}

/** A bound that is a number greater than 0 in the core's f32 too. */
function bound(argument: string, value: number): number {
  positive(argument, Math.fround(positive(argument, value)));
  return value;
}

function flag(argument: string, value: boolean): boolean {
  if (typeof value !== "boolean") throw new ArgumentError(argument, value, "true or false");
  return value;
}

/** What each parameter's rate is multiplied by: 0 in frozen layers. */
export function rateScales(settings: TrainingSettings, runner: Runner): number[] {
  const { rates, frozen } = settings;
  return runner.model.parameters.map(({ name }) => {
    const layer = layerOf(name, runner.description.layers);
    if (layer === undefined) return 1;
    return frozen.includes(layer) ? 0 : (rates[layer] ?? 1);
  });
}
