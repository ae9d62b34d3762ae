// Lee, Sarwar, Panda, Srinivasan, Roy, Frontiers in Neuroscience 14:119 (2020).
import { poisson } from "../encoders.ts";
import { avgPool2d, conv2d, dense, dropout, type LayerDescriptor } from "../layers.ts";
import { lee } from "../methods/lee.ts";
import { cosine, sgd } from "../optimizers.ts";
import type { Recipe } from "./recipe.ts";

/** Each hidden weight layer, and the dropout behind it. */
function dropped(layer: LayerDescriptor, probability: number): LayerDescriptor[] {
  return probability > 0 ? [layer, dropout(probability)] : [layer];
}

/** Presets of `lee`. */
export const leeRecipes = {
  lenet: {
    about: "20C5p2-2A-50C5p2-2A-200-10, the LeNet of Lee et al. 2020, for MNIST",
    steps: 20,
    dropout: 0,
    epochs: 10,
    classes: 10,
    network: ({ steps, classes, dropout: p, wide }) => ({
      input: [1, 28, 28],
      encoder: poisson({ steps }),
      method: lee(),
      layers: [
        ...dropped(conv2d(wide(20), 5, { padding: 2 }), p),
        avgPool2d(2),
        ...dropped(conv2d(wide(50), 5, { padding: 2 }), p),
        avgPool2d(2),
        ...dropped(dense(wide(200)), p),
        dense(classes),
      ],
    }),
    fit: () => ({
      batchSize: 32,
      optimizer: sgd({ rate: 0.002, momentum: 0.9, weightDecay: 5e-4 }),
      schedule: cosine(),
    }),
  },
} satisfies Record<string, Recipe>;
