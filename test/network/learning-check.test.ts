import {
  ArgumentError,
  avgPool2d,
  bpsta,
  conv2d,
  createNetwork,
  crossEntropy,
  decolle,
  dense,
  direct,
  dropout,
  type GradientCheck,
  lee,
  maxPool2d,
  type NetworkOptions,
  neuron,
  scaledNormal,
  spikes,
  squaredError,
  stdbp,
  surrogate,
  times,
} from "spikegrad";
import { describe, expect, it } from "vitest";
import { generator } from "./cases.ts";

const BATCH = 3;

async function check(option: NetworkOptions, tolerance?: number): Promise<GradientCheck> {
  const network = await createNetwork({ seed: 4, ...option });
  const random = generator(9);
  const trains = option.encoder.kind === "spikes";
  const length = option.input.reduce((a, b) => a * b, 1) * (trains ? option.encoder.steps : 1);
  const inputs = Float32Array.from({ length: BATCH * length }, () =>
    trains ? Number(random() < 0.4) : random(),
  );
  // A bias of 0 can hold a membrane exactly at its threshold, where nothing has a derivative.
  for (const [name, { data }] of network.parameters.entries()) {
    if (name.endsWith(".bias"))
      network.parameters.set(
        name,
        data.map(() => 0.1 * (random() - 0.5)),
      );
  }
  const before = network.save();
  const found = await network.checkGradients(inputs, [0, 1, 2], { tolerance });
  expect(network.save()).toEqual(before);
  network.dispose();
  return found;
}

const image = [1, 8, 8];
const train = spikes({ steps: 6 });

describe("checkGradients", () => {
  const derivatives: [string, NetworkOptions, "loss" | "smooth"][] = [
    [
      "surrogate, dense",
      {
        input: [12],
        encoder: train,
        method: surrogate({ slope: 4 }),
        layers: [dense(10), dropout(0.2), dense(3)],
      },
      "smooth",
    ],
    [
      "surrogate, synaptic, reset to zero",
      {
        input: [12],
        encoder: direct({ steps: 6 }),
        method: surrogate({ synapticDecay: 0.5, reset: "zero" }),
        layers: [dense(10), dense(3)],
      },
      "smooth",
    ],
    [
      "surrogate, recurrent, learned neurons",
      {
        input: [12],
        encoder: train,
        method: surrogate({ slope: 4, decay: 0.8 }),
        layers: [
          dense(10, { recurrent: true }),
          neuron({ learnDecay: true, learnThreshold: true }),
          dense(3),
          neuron(),
        ],
      },
      "smooth",
    ],
    [
      "surrogate, convolutions",
      {
        input: image,
        encoder: train,
        method: surrogate({ derivative: "atan", threshold: 0.5 }),
        layers: [conv2d(4, 3), maxPool2d(2), conv2d(4, 2), dense(3)],
        loss: squaredError({ on: "membrane" }),
      },
      "smooth",
    ],
    [
      "decolle",
      {
        input: image,
        encoder: spikes({ steps: 10 }),
        method: decolle({ classes: 3, burnIn: 3, regularizer: 0.1 }),
        layers: [conv2d(4, 3), maxPool2d(2), dense(8)],
      },
      "smooth",
    ],
    [
      "stdbp",
      {
        input: [20],
        encoder: times(),
        method: stdbp({ temperature: 0.5, weightSumPenalty: 1 }),
        layers: [dense(30), dense(3)],
        initializer: scaledNormal({ mean: 0.6 }),
      },
      "loss",
    ],
  ];

  it.each(derivatives)("finds the derivative in %s", async (_, option, of) => {
    const found = await check(option);
    expect(found.differences).toBe(of);
    expect(found.parameters.filter(({ ok }) => !ok)).toEqual([]);
    expect(found.ok).toBe(true);
    const compared = found.parameters.filter(({ differences }) => differences && differences.samples > 0);
    expect(compared.length).toBeGreaterThan(found.parameters.length / 2);
    expect((await check(option, 0)).ok).toBe(false);
  });

  const others: [string, NetworkOptions][] = [
    ["lee", { input: image, encoder: train, method: lee(), layers: [conv2d(4, 3), avgPool2d(2), dense(3)] }],
    ["bpsta", { input: image, encoder: train, method: bpsta(), layers: [conv2d(4, 3), dense(30)] }],
    [
      "surrogate on rates",
      {
        input: [12],
        encoder: train,
        method: surrogate(),
        layers: [dense(5), dense(3)],
        loss: crossEntropy({ on: "rate" }),
      },
    ],
  ];

  it.each(others)("compares builds where there is none: %s", async (_, option) => {
    const found = await check(option);
    expect(found.differences).toBeNull();
    expect(found.ok).toBe(true);
    expect(found.parameters.every(({ equalBits, differences }) => equalBits && !differences)).toBe(true);
  });

  it("finds the derivative of an ordinary network, where neurons are bypassed", async () => {
    const layers = [conv2d(4, 3), maxPool2d(2), dense(30)];
    const network = await createNetwork({
      input: image,
      encoder: direct({ steps: 2 }),
      method: bpsta(),
      layers,
    });
    const random = generator(1);
    const inputs = Float32Array.from({ length: 6 * 64 }, random);
    const found = await network.checkGradients(inputs, [0, 1, 2, 0, 1, 2], { bypassNeurons: true });
    expect(found.differences).toBe("loss");
    expect(found.parameters.filter(({ ok }) => !ok)).toEqual([]);
  });

  it("refuses settings by name", async () => {
    const network = await createNetwork(others[0][1]);
    const inputs = new Float32Array(6 * 64);
    await expect(network.checkGradients(inputs, [0], { samples: 0 })).rejects.toThrow(ArgumentError);
    await expect(network.checkGradients(inputs, [0], { tolerance: -1 })).rejects.toThrow("tolerance");
    await expect(network.checkGradients(inputs, [7])).rejects.toThrow("labels[0]");
  });
});
