import { dropout, type LayerDescriptor } from "../layers.ts";
import type { NetworkOptions } from "../network.ts";
import type { OptimizerDescriptor, ScheduleDescriptor } from "../optimizers.ts";

/** Settings of a training run, for `network.fit`. */
export interface PresetFit {
  /** Passes over the data. */
  readonly epochs: number;
  /** Samples a batch. */
  readonly batchSize: number;
  /** How gradients become steps. */
  readonly optimizer: OptimizerDescriptor;
  /** How the rate changes; left out: not at all. */
  readonly schedule?: ScheduleDescriptor;
  /** Whether it trains as an ordinary network: the warm-up of `bpsta`. */
  readonly bypassNeurons?: boolean;
}

/** How a preset is made. */
export interface Recipe {
  readonly about: string;
  /** Time steps; none where time is continuous. */
  readonly steps?: number;
  /** Probability of dropout; none where the method knows no dropout. */
  readonly dropout?: number;
  readonly epochs: number;
  readonly classes: number;
  readonly network: (settings: Settings) => Omit<NetworkOptions, "seed" | "build" | "wasm">;
  readonly fit: (settings: Settings) => Omit<PresetFit, "epochs">;
  readonly normalize?: number;
  readonly warmUp?: PresetFit;
}

/** The options of a preset, with its defaults filled in. */
export interface Settings {
  readonly steps: number;
  readonly epochs: number;
  readonly classes: number;
  readonly dropout: number;
  /** A number of channels or hidden neurons at the width asked for. */
  readonly wide: (count: number) => number;
}

/** Fills in the defaults of a recipe. */
export function settingsOf(
  recipe: Recipe,
  { width, steps, epochs, classes, dropout }: Partial<Omit<Settings, "wide">> & { readonly width: number },
): Settings {
  return {
    steps: steps ?? recipe.steps ?? 1,
    epochs: epochs ?? recipe.epochs,
    classes: classes ?? recipe.classes,
    dropout: dropout ?? recipe.dropout ?? 0,
    wide: (count) => Math.max(1, Math.round(count * width)),
  };
}

/** A layer and the dropout behind it, if there is to be any. */
export function dropped(layer: LayerDescriptor, probability: number): LayerDescriptor[] {
  return probability > 0 ? [layer, dropout(probability)] : [layer];
}
