// Kaiser, Mostafa, Neftci, Frontiers in Neuroscience 14:424 (2020).
import { poisson, spikes } from "../encoders.ts";
import { conv2d, dense, type LayerDescriptor, maxPool2d } from "../layers.ts";
import { decolle } from "../methods/decolle.ts";
import { adamax, cosine, stepDecay } from "../optimizers.ts";
import { dropped, type Recipe, type Settings } from "./recipe.ts";

/** β1 and β2 of Adamax: no momentum. */
const BETAS = [0, 0.95] as const;
/** Samples that the layers are rescaled on. */
const NORMALIZE = 64;
/** Epochs from one fall of the rate, to a fifth, to the next. */
const FALL = 30;

/** Burn-in is a share of the sample, so that fewer steps stay possible. */
const burnIn = (steps: number, share: number) => Math.round(steps * share);

/** What of the recipe for MNIST depends on the network: few weights that share much learn at a higher rate. */
interface Tuned {
  readonly steps: number;
  readonly readoutScale: number;
  readonly batchSize: number;
  readonly rate: number;
}

/** What the networks for MNIST have in common. */
function digits(
  about: string,
  { steps: usual, readoutScale, batchSize, rate }: Tuned,
  layers: (settings: Settings) => LayerDescriptor[],
) {
  return {
    about,
    steps: usual,
    dropout: 0,
    epochs: 3,
    classes: 10,
    network: (settings) => ({
      input: [1, 28, 28],
      encoder: poisson({ steps: settings.steps }),
      method: decolle({
        classes: settings.classes,
        alpha: 0.9,
        beta: 0.85,
        burnIn: burnIn(settings.steps, 10 / usual),
        readoutScale,
      }),
      layers: layers(settings),
    }),
    fit: () => ({ batchSize, optimizer: adamax({ rate, betas: BETAS }), schedule: cosine() }),
    normalize: NORMALIZE,
  } satisfies Recipe;
}

/** Presets of `decolle`. */
export const decolleRecipes = {
  "decolle-mlp": digits(
    "784-512-512-512, local learning after Kaiser et al. 2020, for MNIST",
    { steps: 40, readoutScale: 1, batchSize: 64, rate: 5e-4 },
    ({ wide, dropout: p }) => [512, 512, 512].flatMap((out) => dropped(dense(wide(out)), p)),
  ),
  "decolle-conv": digits(
    "16C5p2-MP2-32C5p2-MP2-32C3p1, local learning after Kaiser et al. 2020, for MNIST",
    { steps: 50, readoutScale: 0.5, batchSize: 32, rate: 0.002 },
    ({ wide, dropout: p }) => [
      conv2d(wide(16), 5, { padding: 2 }),
      ...dropped(maxPool2d(2), p),
      conv2d(wide(32), 5, { padding: 2 }),
      ...dropped(maxPool2d(2), p),
      ...dropped(conv2d(wide(32), 3, { padding: 1 }), p),
    ],
  ),
  "decolle-dvs": {
    about: "64C7-MP2-128C7-128C7-MP2, local learning of Kaiser et al. 2020, for DVS-Gesture",
    steps: 500,
    dropout: 0.5,
    epochs: 200,
    classes: 11,
    network: ({ steps, classes, dropout: p, wide }) => ({
      input: [2, 32, 32],
      encoder: spikes({ steps }),
      method: decolle({ classes, burnIn: burnIn(steps, 0.2) }),
      layers: [
        conv2d(wide(64), 7, { padding: 3 }),
        ...dropped(maxPool2d(2), p),
        ...dropped(conv2d(wide(128), 7, { padding: 3 }), p),
        conv2d(wide(128), 7, { padding: 3 }),
        ...dropped(maxPool2d(2), p),
      ],
    }),
    fit: ({ epochs }) => {
      const at = Array.from({ length: Math.ceil(epochs / FALL) - 1 }, (_, i) => (i + 1) * FALL);
      return {
        batchSize: 72,
        optimizer: adamax({ rate: 3.6e-4, betas: BETAS }),
        schedule: stepDecay({ at, factor: 0.2 }),
      };
    },
    normalize: NORMALIZE,
  },
} satisfies Record<string, Recipe>;
