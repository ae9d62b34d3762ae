import { ArgumentError } from "./errors.ts";
import type { NetworkOptions } from "./network.ts";
import { leeRecipes } from "./presets/lee.ts";
import { type PresetFit, type Recipe, settingsOf } from "./presets/recipe.ts";
import { stdbpRecipes } from "./presets/stdbp.ts";
import { surrogateRecipes } from "./presets/surrogate.ts";
import { choice, integer, number, options, within } from "./validate.ts";

export type { PresetFit } from "./presets/recipe.ts";

/** What `preset` takes. */
export interface PresetOptions {
  /** Factor for the numbers of channels and hidden neurons, in (0, 16]; at least one is left. Default 1. */
  readonly width?: number;
  /** Time steps a sample; not for `stdbp`, whose time is continuous. Default: the preset's. */
  readonly steps?: number;
  /** Seed of all random numbers. Default 0. */
  readonly seed?: number;
  /** Passes over the data; the epochs of a step schedule move with them. Default: the preset's. */
  readonly epochs?: number;
  /** Number of classes. Default: the data set's. */
  readonly classes?: number;
  /** Probability of dropout, for presets whose method knows dropout. Default: the preset's. */
  readonly dropout?: number;
}

/** A network and how to train it, as plain data. */
export interface Preset {
  readonly name: PresetName;
  /** One line: layers, and whose they are. */
  readonly about: string;
  /** What `createNetwork` takes. */
  readonly network: NetworkOptions;
  /** What `fit` takes. */
  readonly fit: PresetFit;
}

const RECIPES = { ...leeRecipes, ...stdbpRecipes, ...surrogateRecipes };

/** Name of a preset. */
export type PresetName = keyof typeof RECIPES;

/** Names that `preset` knows. */
export const presetNames = Object.keys(RECIPES) as readonly PresetName[];

/**
 * A published network with the settings that train it, as plain data: change what you like before you pass it on.
 *
 * ```ts
 * const { network: options, fit } = preset("lenet");
 * const network = await createNetwork(options);
 * for await (const progress of network.fit(train, fit)) show(progress);
 * ```
 *
 * | name | input | network | source | not as in the source |
 * |---|---|---|---|---|
 * | `lenet` | `[1, 28, 28]` | `20C5p2-2A-50C5p2-2A-200-10`, `lee` | Lee et al. 2020 | a quicker recipe: probability of a spike the grey itself, T 20, batches of 32, rate 0.002 with momentum 0.9 and a cosine, 10 epochs (paper: half the grey, T 100, batches of 64, rate 0.0085, a fifth of it from epoch 75 of 125 on) |
 * | `stdbp-400`, `stdbp-800` | `[1, 28, 28]` | `784-400-10`, `784-800-10`, `stdbp` | Zhang et al. 2020 | the paper's scales are unknown; those of a recipe seen to reach 98 % of MNIST's test set: see `stdbp` |
 * | `stdbp-cnn` | `[1, 28, 28]` | `16C5-2P-32C5-2P-800-128-10`, `stdbp` | Zhang et al. 2020 | the same recipe |
 * | `surrogate-mlp` | `[1, 28, 28]` | `784-1000-10`, `surrogate` | snnTorch's tutorials | 10 epochs instead of 1 |
 *
 * @param name one of `presetNames`
 * @param option see `PresetOptions`
 * @throws ArgumentError for a name that is none, values out of range, and options that the preset has no use for
 */
export function preset(name: PresetName, option?: PresetOptions): Preset {
  choice("preset.name", name, presetNames);
  const known = ["width", "steps", "seed", "epochs", "classes", "dropout"];
  const { width = 1, steps, seed = 0, epochs, classes, dropout } = options("preset", option, known);
  const recipe: Recipe = RECIPES[name];
  number("preset.width", width, "a number greater than 0 and at most 16", (v) => v > 0 && v <= 16);
  if (steps !== undefined && recipe.steps === undefined) {
    throw new ArgumentError("preset.steps", steps, `nothing: ${name} has continuous time, no steps`);
  }
  if (dropout !== undefined && recipe.dropout === undefined) {
    throw new ArgumentError("preset.dropout", dropout, `nothing: ${name} has no dropout`);
  }
  integer("preset.steps", steps ?? 1, 1, 1_000_000);
  integer("preset.epochs", epochs ?? 1, 1);
  integer("preset.classes", classes ?? 1, 1, 65536);
  within("preset.dropout", dropout ?? 0, 0, 0.99);
  integer("preset.seed", seed, 0, 2 ** 53 - 1);
  const settings = settingsOf(recipe, { width, steps, epochs, classes, dropout });
  return {
    name,
    about: recipe.about,
    network: { ...recipe.network(settings), seed },
    fit: { epochs: settings.epochs, ...recipe.fit(settings) },
  };
}
