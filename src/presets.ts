import { ArgumentError } from "./errors.ts";
import type { NetworkOptions } from "./network.ts";
import { bpstaRecipes } from "./presets/bpsta.ts";
import { decolleRecipes } from "./presets/decolle.ts";
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
  /** The name it goes by. */
  readonly name: PresetName;
  /** One line: layers, and whose they are. */
  readonly about: string;
  /** What `createNetwork` takes. */
  readonly network: NetworkOptions;
  /** Number of training samples for `network.normalizeActivity` before all training (`decolle`). */
  readonly normalize?: number;
  /** A `fit` of its own before the other (`bpsta`: as an ordinary network). */
  readonly warmUp?: PresetFit;
  /** What `fit` takes. */
  readonly fit: PresetFit;
}

const RECIPES = {
  ...leeRecipes,
  ...bpstaRecipes,
  ...decolleRecipes,
  ...stdbpRecipes,
  ...surrogateRecipes,
};

/** Name of a preset. */
export type PresetName = keyof typeof RECIPES;

/** Names that `preset` knows. */
export const presetNames = Object.keys(RECIPES) as readonly PresetName[];

/**
 * A published network with the settings that train it, as plain data: change what you like before you pass it on.
 *
 * ```ts
 * const { network: options, normalize, warmUp, fit } = preset("decolle-mlp");
 * const network = await createNetwork(options);
 * if (normalize) await network.normalizeActivity(take(train, normalize).inputs);
 * for (const settings of [warmUp, fit]) {
 *   if (settings) for await (const progress of network.fit(train, settings)) show(progress);
 * }
 * ```
 *
 * `nC` is a convolution of n channels, `Ck` one with k×k kernels, `pN` its padding (none if left out for `stdbp`, that which
 * keeps the size elsewhere), `A` average, `MP` largest and `2P` earliest pooling. Sizes at width 1:
 *
 * - `lenet`: `[1, 28, 28]`, `20C5p2-2A-50C5p2-2A-200-10`, method `lee` (Lee et al. 2020). A quicker recipe than the paper's: spikes with
 *   the grey as their probability, T 20, batches of 32, rate 0.002 with momentum 0.9 and a cosine, 10 epochs (paper: half the
 *   grey, T 100, batches of 64, rate 0.0085, from epoch 75 of 125 on a fifth of it, no momentum).
 * - `vgg9`: `[3, 32, 32]` in [-1, 1], `64C3-64C3-2A-128C3-128C3-2A-256C3-256C3-256C3-2A-1024-10`, `lee`; `resnet9`, `resnet11`: `64C3-2A`,
 *   residual blocks `128C3-128C3`, `256C3-256C3/2`, `512C3-512C3` with 1×1 convolutions around them, in `resnet11` also
 *   `512C3-512C3/2` with every second pixel around it, then `1024-10`. As in the paper: dropout 0.2 (`vgg9`) and 0.25, batches
 *   of 16, rate 0.0033 and 0.0025, a fifth of it from epochs 70, 100 and 125 of 150 on (in proportion for other `epochs`).
 * - `bpsta-mnist`: `[1, 28, 28]`, `128C-MP2-128C-256C-MP2-2048-10×10`, method `bpsta` (Shen et al. 2022), T 8, rate 5e-4 after one epoch of
 *   warm-up (paper: T 16). `bpsta-cifar10`: `[3, 32, 32]`, `128C-128C-MP2-128C-MP2-256C-MP2-512C-AP4-10×10`, T 8. `bpsta-nmnist`: frames
 *   `[16, 2, 34, 34]`, `128C-MP2-128C-MP2-256C-AP2-512C-AP4-10×10`; `bpsta-dvs`: frames `[16, 2, 64, 64]` cut by event count,
 *   `128C-128C-MP2-128C-MP2-256C-MP2-512C-AP2-1024C-AP4-10×11`, both with dropout 0.5 before the last layer. As in the paper: AdamW 1e-3,
 *   weight decay 1e-4, five epochs of warm-up at a fifth to the whole of the rate, then a cosine. Batches of 128, 300 epochs
 *   and the probability of dropout are not from the paper. `epochs` does not count the warm-up.
 * - `decolle-mlp`: `[1, 28, 28]`, `784-512-512-512`, T 40; `decolle-conv`: `16C5p2-MP2-32C5p2-MP2-32C3p1`, T 50, method `decolle` (after
 *   Kaiser et al. 2020): small networks with alpha 0.9, beta 0.85, burn-in of 10 steps, Adamax with a cosine. The first one by
 *   a recipe seen to reach 94 % after 25,600 images, readouts within 1/sqrt(n), rate 5e-4; the second one with readouts within
 *   0.5/sqrt(n) and rate 0.02, seen to reach 92 % after 3,200. `decolle-dvs`: frames `[500, 2, 32, 32]` of a millisecond each,
 *   `64C7-MP2-128C7-128C7-MP2`, burn-in of 100 steps, batches of 72, Adamax 3.6e-4, a fifth of it from every 30th epoch of 200 on,
 *   dropout 0.5 in front of the readouts. Burn-in stays in proportion to `steps`.
 * - `stdbp-400`, `stdbp-800`: `[1, 28, 28]`, `784-400-10` and `784-800-10`, `stdbp-cnn`: `16C5-2P-32C5-2P-800-128-10`, method `stdbp` (Zhang et al.
 *   2020). The paper's scales are unknown; these are of a recipe seen to reach 98 % with `784-400-10`: see `stdbp`.
 * - `surrogate-mlp`: `[1, 28, 28]`, `784-1000-10`, method `surrogate`, as snnTorch's tutorials have it: decay 0.95, T 25, the grey as constant
 *   current, Adam 5e-4, batches of 128; 10 epochs instead of one.
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
    ...(recipe.normalize === undefined ? {} : { normalize: recipe.normalize }),
    ...(recipe.warmUp === undefined ? {} : { warmUp: recipe.warmUp }),
    fit: { epochs: settings.epochs, ...recipe.fit(settings) },
  };
}
