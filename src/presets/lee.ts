// Lee, Sarwar, Panda, Srinivasan, Roy, Frontiers in Neuroscience 14:119 (2020).
import { poisson } from "../encoders.ts";
import { scaledNormal } from "../initializers.ts";
import { avgPool2d, conv2d, dense, type LayerDescriptor, residual } from "../layers.ts";
import { lee } from "../methods/lee.ts";
import { cosine, sgd, stepDecay } from "../optimizers.ts";
import { dropped, type Recipe, type Settings } from "./recipe.ts";

const EPOCHS = 150;
/** Epochs of 150 at which the rate falls to a fifth. */
const FALLS = [70, 100, 125];

/** A convolution of 3×3 that keeps the size. */
const same = (out: number, stride = 1) => conv2d(out, 3, { padding: 1, stride });

/** What the networks for CIFAR-10 have in common. */
function cifar(about: string, layers: (settings: Settings) => LayerDescriptor[]) {
  return {
    about,
    steps: 100,
    epochs: EPOCHS,
    classes: 10,
    network: (settings: Settings) => ({
      input: [3, 32, 32],
      encoder: poisson({ steps: settings.steps, signed: true }),
      method: lee(),
      layers: layers(settings),
    }),
    fit: (rate: number, epochs: number) => {
      // Of a very short run the falls are at its end, or fall together.
      const at = [...new Set(FALLS.map((epoch) => Math.ceil((epoch * epochs) / EPOCHS)))];
      return {
        batchSize: 16,
        optimizer: sgd({ rate, weightDecay: 5e-4 }),
        schedule: stepDecay({ at, factor: 0.2 }),
      };
    },
  };
}

const vgg9 = cifar(
  "64C3-64C3-2A-128C3-128C3-2A-256C3-256C3-256C3-2A-1024-10 of Lee et al. 2020, for CIFAR-10",
  ({ wide, dropout: p, classes }) => [
    ...[64, 64].flatMap((out) => dropped(same(wide(out)), p)),
    avgPool2d(2),
    ...[128, 128].flatMap((out) => dropped(same(wide(out)), p)),
    avgPool2d(2),
    ...[256, 256, 256].flatMap((out) => dropped(same(wide(out)), p)),
    avgPool2d(2),
    ...dropped(dense(wide(1024)), p),
    dense(classes),
  ],
);

/** @param last whether the block that ResNet9 leaves out is there */
function resnet(name: string, last: boolean) {
  return cifar(`${name} of Lee et al. 2020, for CIFAR-10`, ({ wide, dropout: p, classes }) => {
    const block = (out: number, stride: number, conv = true) => [
      residual([...dropped(same(wide(out)), p), same(wide(out), stride)], { conv }),
      ...dropped(same(wide(out)), p).slice(1),
    ];
    return [
      ...dropped(same(wide(64)), p),
      avgPool2d(2),
      ...block(128, 1),
      ...block(256, 2),
      ...block(512, 1),
      ...(last ? block(512, 2, false) : []),
      ...dropped(dense(wide(1024)), p),
      dense(classes),
    ];
  });
}

const resnet9 = resnet("ResNet9", false);
const resnet11 = resnet("ResNet11", true);
/** Weights of the residual networks: N(0, 1 / fan-in). */
const narrow = scaledNormal();

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
  vgg9: { ...vgg9, dropout: 0.2, fit: ({ epochs }) => vgg9.fit(0.0033, epochs) },
  resnet9: {
    ...resnet9,
    dropout: 0.25,
    network: (settings) => ({ ...resnet9.network(settings), initializer: narrow }),
    fit: ({ epochs }) => resnet9.fit(0.0025, epochs),
  },
  resnet11: {
    ...resnet11,
    dropout: 0.25,
    network: (settings) => ({ ...resnet11.network(settings), initializer: narrow }),
    fit: ({ epochs }) => resnet11.fit(0.0025, epochs),
  },
} satisfies Record<string, Recipe>;
