// Zhang, Wang, Amornpaisannon et al., arXiv 2003.11837 (2020), IEEE TNNLS (2021).
import { firstSpike } from "../encoders.ts";
import { conv2d, dense, earliestPool2d, type LayerDescriptor } from "../layers.ts";
import { stdbp } from "../methods/stdbp.ts";
import { adam, cosine } from "../optimizers.ts";
import type { Recipe, Settings } from "./recipe.ts";

/** How long to train, and against how much noise on the input times: more neurons need more of both. */
interface Tuned {
  readonly epochs: number;
  readonly noise: number;
}

const USUAL: Tuned = { epochs: 12, noise: 0.1 };

/** The network of `layers`, trained by the recipe seen to work on MNIST. */
function recipe(about: string, layers: (settings: Settings) => LayerDescriptor[], tuned = USUAL) {
  const { epochs, noise } = tuned;
  return {
    about,
    epochs,
    classes: 10,
    network: (settings) => ({
      input: [1, 28, 28],
      encoder: firstSpike({ silentBelow: 0.02, noise }),
      method: stdbp({
        temperature: 0.05,
        weightSumPenalty: 1,
        inverseBound: 10,
        silentDelay: 0.5,
        labelNudge: 10,
      }),
      layers: layers(settings),
    }),
    fit: () => ({ batchSize: 64, optimizer: adam({ rate: 1e-3 }), schedule: cosine() }),
  } satisfies Recipe;
}

/** Presets of `stdbp`. */
export const stdbpRecipes = {
  "stdbp-400": recipe("784-400-10, single spikes, of Zhang et al. 2020, for MNIST", ({ wide, classes }) => [
    dense(wide(400)),
    dense(classes),
  ]),
  "stdbp-800": recipe(
    "784-800-10, single spikes, of Zhang et al. 2020, for MNIST",
    ({ wide, classes }) => [dense(wide(800)), dense(classes)],
    { epochs: 15, noise: 0.2 },
  ),
  "stdbp-cnn": recipe(
    "16C5-2P-32C5-2P-800-128-10, single spikes, of Zhang et al. 2020, for MNIST",
    ({ wide, classes }) => [
      conv2d(wide(16), 5),
      earliestPool2d(2),
      conv2d(wide(32), 5),
      earliestPool2d(2),
      dense(wide(800)),
      dense(wide(128)),
      dense(classes),
    ],
  ),
};
