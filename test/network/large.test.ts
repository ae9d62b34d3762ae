// Where lists, addresses and counts run past what fits in one piece.
import {
  conv2d,
  createNetwork,
  dense,
  dropout,
  type LayerDescriptor,
  lee,
  type Network,
  poisson,
  residual,
  spikes,
} from "spikegrad";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Arena } from "../../src/core/memory.ts";
import * as source from "../../src/index.ts";
import { generator } from "./cases.ts";
import { bits, bitsOf, dataset, drain } from "./support.ts";
import { backward, forward, poissonTrain, squaredError, stagesOf, type TwinNetwork } from "./twin.ts";

const STEPS = 3;

interface Setting {
  input: number[];
  layers: LayerDescriptor[];
  pixels: Float32Array;
  signed?: boolean;
  explicit?: boolean;
  masks?: Record<string, Float32Array>;
  weights?: (name: string, i: number) => number;
}

/** Both builds against the equations on one sample. */
async function compare({
  input,
  layers,
  pixels,
  signed = false,
  explicit,
  masks,
  weights,
}: Setting): Promise<number[]> {
  const encoder = explicit ? spikes({ steps: STEPS }) : poisson({ steps: STEPS, signed });
  const found = [];
  let network: Network | undefined;
  for (const build of ["simd", "scalar"] as const) {
    network = await createNetwork({ input, encoder, method: lee({ leak: 0.9 }), layers, seed: 6, build });
    if (weights) {
      for (const [name, { data }] of network.parameters.entries())
        network.parameters.set(
          name,
          data.map((_, i) => weights(name, i)),
        );
    }
    found.push(await network.gradients(pixels, [1], { record: ["spikes"], dropoutMasks: masks }));
  }
  if (!network) throw new Error("no build");
  const [simd, scalar] = found;
  expect(bits(scalar.outputs.data)).toEqual(bits(simd.outputs.data));
  expect(bitsOf(Object.entries(scalar.gradients))).toEqual(bitsOf(Object.entries(simd.gradients)));
  const twin: TwinNetwork = { input, layers: network.layers, leak: 0.9, threshold: 1, steps: STEPS };
  const stages = stagesOf(twin);
  const size = input.reduce((a, b) => a * b, 1);
  const train = explicit
    ? Array.from({ length: STEPS }, (_, t) => pixels.subarray(t * size, (t + 1) * size))
    : poissonTrain(pixels, input, STEPS, 1, { seed: 6 });
  const values = Object.fromEntries(network.parameters.entries().map(([name, { data }]) => [name, data]));
  const wanted = forward(twin, stages, values, train, masks, Math.fround);
  expect([...simd.outputs.data]).toEqual([...wanted.outputs]);
  const gradients = Object.fromEntries(
    Object.entries(values).map(([name, w]) => [name, new Float64Array(w.length)]),
  );
  const { delta } = squaredError(wanted.outputs, 1);
  backward(twin, stages, values, train, masks ?? {}, wanted, delta, gradients);
  for (const [name, g] of Object.entries(gradients)) {
    const scale = Math.max(1e-12, ...g.map(Math.abs));
    g.forEach((x, i) => {
      if (!(Math.abs(x - simd.gradients[name].data[i]) <= 1e-4 * scale))
        expect(simd.gradients[name].data[i], `${name}[${i}]`).toBe(x);
    });
  }
  return wanted.spikes.map((stage) => Math.max(...stage.map((o) => o.filter((s) => s !== 0).length)));
}

/** `count` ones among `size` zeros, here and there. */
function ones(size: number, count: number): Float32Array {
  const places = Float32Array.from({ length: size }, (_, i) => (i < count ? 1 : 0));
  const random = generator(size + count);
  for (let i = size - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [places[i], places[j]] = [places[j], places[i]];
  }
  return places;
}

describe("more events than are handled in one go (256)", () => {
  const random = generator(1);
  const noise = Array.from({ length: 4096 }, () => random());

  it.each([0, 1, 255, 256, 257, 511, 512, 513, 768, 1024])("%i input spikes a step, dense", async (count) => {
    await compare({ input: [1030], layers: [dense(5), dense(3)], pixels: ones(1030, count) });
  });

  it.each([
    255, 256, 257, 512, 600,
  ])("%i input spikes a step, in rows that are not whole words, convolved", async (count) => {
    await compare({
      input: [3, 13, 17],
      layers: [conv2d(3, 3, { stride: 2 }), dense(3)],
      pixels: ones(663, count),
    });
  });

  it("with signs", async () => {
    const pixels = ones(700, 600).map((x, i) => (i % 3 ? x : -x));
    await compare({ input: [7, 10, 10], signed: true, layers: [conv2d(4, 3), dense(3)], pixels });
  });

  it.each([256, 511, 512])("%i real values a step", async (count) => {
    const pixels = Float32Array.from({ length: STEPS }, () => 0).fill(0);
    const frames = Array.from(pixels, (_, t) =>
      ones(520, count).map((x, i) => x * (noise[(i * 7 + t) % 4096] - 0.5)),
    );
    const explicit = Float32Array.from(frames.flatMap((frame) => [...frame]));
    await compare({ input: [520], explicit: true, layers: [dense(6), dense(3)], pixels: explicit });
  });

  it.each([256, 257, 512, 515])("%i hidden neurons that all spike at every step", async (count) => {
    const weights = (name: string, i: number) => (name === "layer0.weight" ? 2 : noise[i % 4096] - 0.5);
    const spiking = await compare({
      input: [4],
      layers: [dense(count), dense(5), dense(3)],
      pixels: new Float32Array(4).fill(1),
      weights,
    });
    expect(spiking[0]).toBe(count);
  });

  it("a hidden map of 8 × 8 × 8 that all spikes, through a residual block with gaps and a mask", async () => {
    const weights = (name: string, i: number) => (name === "layer0.weight" ? 3 : noise[(i * 5) % 4096] - 0.4);
    const masks = { layer0: Float32Array.from({ length: 512 }, (_, i) => (i % 5 ? 1.25 : 0)) };
    const spiking = await compare({
      input: [1, 8, 8],
      layers: [
        conv2d(8, 1),
        dropout(0.2),
        residual([conv2d(6, 3, { stride: 2, padding: 1 }), conv2d(7, 3, { padding: 1 })]),
        dense(3),
      ],
      pixels: new Float32Array(64).fill(1),
      weights,
      masks,
    });
    expect(spiking[0]).toBe(409);
  });

  it("counts the operations of all of them", async () => {
    const network = await createNetwork({
      input: [1030],
      encoder: poisson({ steps: 2 }),
      method: lee(),
      layers: [dense(3)],
    });
    for (const count of [255, 256, 257, 512, 1024, 1030]) {
      const labels = Int32Array.of(0);
      const { synapticOperations } = await network.evaluate({
        inputs: ones(1030, count),
        labels,
        shape: [1030],
        classes: 3,
      });
      expect(synapticOperations).toBe(2 * 3 * count);
    }
  });
});

describe("many samples", () => {
  it("in one batch: 70,000, whose square is past 32 bits", async () => {
    const network = await createNetwork({
      input: [1],
      encoder: spikes({ steps: 1 }),
      method: lee({ leak: 1 }),
      layers: [dense(2)],
    });
    network.parameters.set("layer0.weight", Float32Array.of(1, 0.5));
    const count = 70000;
    const inputs = Float32Array.from({ length: count }, (_, i) => (i % 2 ? 1 : -1));
    const labels = Int32Array.from({ length: count }, (_, i) => (i % 2 ? 0 : 1));
    const { accuracy, layers } = await network.evaluate(
      { inputs, labels, shape: [1, 1], classes: 2 },
      { batchSize: count },
    );
    expect(accuracy).toBe(1);
    expect(layers[0].spikes).toBe(1);
  });
});

describe("addresses past 2 GiB", () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it.each([
    2 ** 31 - 2 ** 20,
    2 ** 31 + 64,
    2 ** 32 - 2 ** 21 - 2 ** 20,
  ])("a network at %i computes the same bits", async (base) => {
    const data = dataset(12, [2, 9, 9], 4);
    const build = async (each: "simd" | "scalar") => {
      const network = await source.createNetwork({
        input: [2, 9, 9],
        encoder: source.poisson({ steps: 6, gain: 0.9 }),
        method: source.lee(),
        layers: [
          source.conv2d(9, 3),
          source.avgPool2d(2),
          source.residual([source.conv2d(8, 3, { padding: 1 })]),
          source.dropout(0.2),
          source.dense(40),
          source.dense(4),
        ],
        seed: 3,
        build: each,
      });
      await drain(
        network.fit(data, {
          epochs: 2,
          batchSize: 5,
          optimizer: source.sgd({ rate: 0.01, momentum: 0.9 }),
        }),
      );
      const { outputs } = await network.predict(data.inputs);
      const { synapticOperations } = await network.evaluate(data);
      return {
        parameters: bitsOf(network.parameters.entries()),
        outputs: bits(outputs.data),
        synapticOperations,
      };
    };
    const low = await build("simd");
    // The arena begins high up; what lies below is never touched, so that the machine need not have it.
    const { take } = Arena.prototype;
    const begun = new WeakSet<Arena>();
    const skip = vi.spyOn(Uint8Array.prototype, "fill");
    vi.spyOn(Arena.prototype, "take").mockImplementation(function (this: Arena, bytes, purpose) {
      if (!begun.has(this)) {
        begun.add(this);
        skip.mockImplementationOnce(function (this: Uint8Array<ArrayBuffer>) {
          return this;
        });
        take.call(this, base - 2 ** 14, "nothing");
      }
      const address = take.call(this, bytes, purpose);
      expect(address).toBeGreaterThanOrEqual(base);
      return address;
    });
    for (const each of ["simd", "scalar"] as const) expect(await build(each)).toEqual(low);
  });
});
