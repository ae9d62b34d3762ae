// Eshraghian et al., Proceedings of the IEEE 111 (2023), and the tutorials of snnTorch.
import { direct } from "../encoders.ts";
import { dense } from "../layers.ts";
import { crossEntropy } from "../losses.ts";
import { surrogate } from "../methods/surrogate.ts";
import { adam } from "../optimizers.ts";
import type { Recipe } from "./recipe.ts";

/** Presets of `surrogate`. */
export const surrogateRecipes = {
  "surrogate-mlp": {
    about: "784-1000-10 with surrogate derivatives, as in snnTorch's tutorials, for MNIST",
    steps: 25,
    epochs: 10,
    classes: 10,
    network: ({ steps, classes, wide }) => ({
      input: [1, 28, 28],
      encoder: direct({ steps }),
      method: surrogate({ decay: 0.95 }),
      loss: crossEntropy({ on: "membrane" }),
      layers: [dense(wide(1000)), dense(classes)],
    }),
    fit: () => ({ batchSize: 128, optimizer: adam({ rate: 5e-4 }) }),
  },
} satisfies Record<string, Recipe>;
