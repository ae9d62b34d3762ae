// Shen, Zhao, Zeng, Patterns 3(6) (2022), arXiv 2110.08858.
import { direct, type EncoderDescriptor, spikes } from "../encoders.ts";
import { avgPool2d, conv2d, dense, type LayerDescriptor, maxPool2d } from "../layers.ts";
import { bpsta } from "../methods/bpsta.ts";
import { adamw, cosine } from "../optimizers.ts";
import { dropped, type PresetFit, type Recipe, type Settings } from "./recipe.ts";

const VOTE = 10;
const WARM_UP = 5;

/** A number is a convolution of 3×3 with that many channels; the method adds batch normalisation, ReLU and neurons. */
function layersOf(list: readonly (number | LayerDescriptor)[], { wide }: Settings): LayerDescriptor[] {
  return list.map((layer) => (typeof layer === "number" ? conv2d(wide(layer), 3, { padding: 1 }) : layer));
}

/** The ordinary network first, its rate 1/5, 1/4 … 1 of the full one in its five epochs. */
const warmUp: PresetFit = {
  epochs: WARM_UP,
  batchSize: 128,
  optimizer: adamw({ rate: 1e-3, weightDecay: 1e-4 }),
  schedule: cosine({ warmup: WARM_UP, ramp: "reciprocal" }),
  bypassNeurons: true,
};

/** What all of them have in common. */
function recipe(
  about: string,
  input: readonly number[],
  encoder: (option: { steps: number }) => EncoderDescriptor,
  list: (settings: Settings) => (number | LayerDescriptor)[],
) {
  return {
    about,
    steps: 16,
    epochs: 300 - WARM_UP,
    classes: 10,
    network: (settings: Settings) => ({
      input,
      encoder: encoder({ steps: settings.steps }),
      method: bpsta({ vote: VOTE }),
      layers: [...layersOf(list(settings), settings), dense(settings.classes * VOTE)],
    }),
    fit: () => ({
      batchSize: 128,
      optimizer: adamw({ rate: 1e-3, weightDecay: 1e-4 }),
      schedule: cosine(),
    }),
    warmUp,
  };
}

/** Presets of `bpsta`. */
export const bpstaRecipes = {
  "bpsta-mnist": {
    ...recipe(
      "128C-MP2-128C-256C-MP2-2048-10x10 of Shen et al. 2022, for MNIST",
      [1, 28, 28],
      direct,
      ({ wide }) => [128, maxPool2d(2), 128, 256, maxPool2d(2), dense(wide(2048))],
    ),
    steps: 8,
    epochs: 10,
    fit: () => ({
      batchSize: 64,
      optimizer: adamw({ rate: 5e-4, weightDecay: 1e-4 }),
      schedule: cosine(),
    }),
    warmUp: {
      epochs: 1,
      batchSize: 64,
      optimizer: adamw({ rate: 1e-3, weightDecay: 1e-4 }),
      schedule: cosine(),
      bypassNeurons: true,
    },
  },
  "bpsta-cifar10": {
    ...recipe(
      "128C-128C-MP2-128C-MP2-256C-MP2-512C-AP4-10x10 of Shen et al. 2022, for CIFAR-10",
      [3, 32, 32],
      direct,
      () => [128, 128, maxPool2d(2), 128, maxPool2d(2), 256, maxPool2d(2), 512, avgPool2d(4)],
    ),
    steps: 8,
  },
  "bpsta-nmnist": {
    ...recipe(
      "128C-MP2-128C-MP2-256C-AP2-512C-AP4-10x10 of Shen et al. 2022, for N-MNIST",
      [2, 34, 34],
      spikes,
      ({ dropout: p }) => [
        128,
        maxPool2d(2),
        128,
        maxPool2d(2),
        256,
        avgPool2d(2),
        512,
        ...dropped(avgPool2d(4), p),
      ],
    ),
    dropout: 0.5,
  },
  "bpsta-dvs": {
    ...recipe(
      "128C-128C-MP2-128C-MP2-256C-MP2-512C-AP2-1024C-AP4-10x11 of Shen et al. 2022, for DVS-Gesture",
      [2, 64, 64],
      spikes,
      ({ dropout: p }) => [
        128,
        128,
        maxPool2d(2),
        128,
        maxPool2d(2),
        256,
        maxPool2d(2),
        512,
        avgPool2d(2),
        1024,
        ...dropped(avgPool2d(4), p),
      ],
    ),
    dropout: 0.5,
    classes: 11,
  },
} satisfies Record<string, Recipe>;
