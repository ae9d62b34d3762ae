// Every preset learns: a few batches of a narrow copy on made-up patterns, one a class.
import {
  ArgumentError,
  createNetwork,
  type NetworkOptions,
  type PresetName,
  type PresetOptions,
  preset,
  presetNames,
} from "spikegrad";
import { type Dataset, subset } from "spikegrad/data";
import { expect, test } from "vitest";

const BATCHES = 20;

const BATCH = 8;

/** What makes each preset small; the classes are those of the test. */
const SMALL: Record<PresetName, PresetOptions> = {
  lenet: { width: 0.5, steps: 10 },
  vgg9: { width: 0.125, steps: 20 },
  resnet9: { width: 0.125, steps: 20 },
  resnet11: { width: 0.125, steps: 20 },
  "bpsta-mnist": { width: 0.0625, steps: 4 },
  "bpsta-cifar10": { width: 0.0625, steps: 4 },
  "bpsta-nmnist": { width: 0.0625, steps: 4 },
  "bpsta-dvs": { width: 0.0625, steps: 4 },
  "decolle-mlp": { width: 0.25, steps: 10 },
  "decolle-conv": { width: 0.25, steps: 10 },
  "decolle-dvs": { width: 0.03125, steps: 10 },
  "stdbp-400": { width: 0.5 },
  "stdbp-800": { width: 0.25 },
  "stdbp-cnn": { width: 0.5 },
  "surrogate-mlp": { width: 0.2, steps: 10 },
};

/** Numbers in [0, 1), the same ones always. */
function generator(seed: number): () => number {
  let x = seed;
  return () => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return x / 2 ** 32;
  };
}

/**
 * A blot a class, moved and dimmed a little from sample to sample: for `spikes` drawn anew at each step, for signed encoders
 * bright before dark, in [-1, 1].
 */
function patterns({ input, encoder }: NetworkOptions, classes: number, samples: number): Dataset {
  const [channels, height, width] = input as [number, number, number];
  const random = generator(7);
  const pixels = channels * height * width;
  const drawn = encoder.kind === "spikes";
  const signed = encoder.kind === "poisson" && encoder.signed;
  const frames = drawn ? encoder.steps : 1;
  const inputs = new Float32Array(samples * frames * pixels);
  const labels = Uint8Array.from({ length: samples }, (_, i) => i % classes);
  let at = 0;
  for (const label of labels) {
    const angle = (2 * Math.PI * label) / classes;
    const row = height * (0.5 + 0.25 * Math.sin(angle) + 0.05 * (random() - 0.5));
    const column = width * (0.5 + 0.25 * Math.cos(angle) + 0.05 * (random() - 0.5));
    const light = 0.7 + 0.3 * random();
    for (let frame = 0; frame < frames; frame++) {
      for (let i = 0; i < pixels; i++) {
        const [y, x] = [Math.floor(i / width) % height, i % width];
        const value = ((y - row) / height) ** 2 + ((x - column) / width) ** 2 < 0.04 ? light : 0;
        inputs[at++] = drawn ? Number(random() < value / 2) : signed ? 2 * value - 1 : value;
      }
    }
  }
  return { inputs, shape: drawn ? [frames, ...input] : input, labels, classes };
}

const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;

test.each(presetNames)("%s learns", async (name) => {
  const classes = 4;
  const { network: options, fit, normalize } = preset(name, { ...SMALL[name], classes, epochs: 1, seed: 3 });
  const data = patterns(options, classes, BATCHES * BATCH);
  const network = await createNetwork(options);
  if (normalize) await network.normalizeActivity(subset(data, 0, BATCH).inputs);
  const losses: number[] = [];
  for await (const { loss } of network.fit(data, { ...fit, batchSize: BATCH })) losses.push(loss);
  network.dispose();
  expect(losses).toHaveLength(BATCHES);
  const [first, last] = [losses.slice(0, BATCHES / 4), losses.slice(-BATCHES / 4)];
  expect(mean(last)).toBeLessThan(mean(first));
});

test("are plain data", () => {
  for (const name of presetNames) {
    const made = preset(name);
    expect(JSON.parse(JSON.stringify(made))).toEqual(made);
  }
});

test("take options", () => {
  const { network, fit } = preset("vgg9", {
    width: 0.5,
    steps: 7,
    seed: 9,
    epochs: 75,
    classes: 3,
    dropout: 0,
  });
  expect(network).toMatchObject({ encoder: { steps: 7 }, seed: 9 });
  expect(network.layers).toHaveLength(12);
  expect(network.layers[0]).toMatchObject({ kind: "conv2d", out: 32 });
  expect(network.layers.at(-1)).toMatchObject({ kind: "dense", out: 3 });
  expect(fit).toMatchObject({ epochs: 75, schedule: { at: [35, 50, 63] } });
});

test.each<[string, string, object, string]>([
  ["an unknown name", "alexnet", {}, "preset.name"],
  ["a name of every object", "toString", {}, "preset.name"],
  ["an unknown option", "lenet", { depth: 2 }, "preset.depth"],
  ["no width", "lenet", { width: 0 }, "preset.width"],
  ["no classes", "lenet", { classes: 0 }, "preset.classes"],
  ["half an epoch", "lenet", { epochs: 0.5 }, "preset.epochs"],
  ["a negative seed", "lenet", { seed: -1 }, "preset.seed"],
  ["dropout of everything", "lenet", { dropout: 1 }, "preset.dropout"],
  ["steps of continuous time", "stdbp-400", { steps: 5 }, "preset.steps"],
  ["dropout that the method lacks", "stdbp-400", { dropout: 0.1 }, "preset.dropout"],
])("refuse %s", (_, name, options, argument) => {
  const make = () => preset(name as PresetName, options);
  expect(make).toThrow(ArgumentError);
  expect(make).toThrow(`${argument}: got`);
});
