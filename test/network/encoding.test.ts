// Random numbers end to end: spikes and masks are functions of seed, epoch, sample, step and index alone.
import { conv2d, createNetwork, dense, dropout, lee, type Network, poisson, sgd, spikes } from "spikegrad";
import { describe, expect, it } from "vitest";
import { generator } from "./cases.ts";
import { bits, bitsOf, dataset, drain } from "./support.ts";
import { dropoutMask, philox, poissonTrain, stagesOf, streamKey } from "./twin.ts";

const STEPS = 7;
const LEAK = 0.9;

describe("Poisson coding", () => {
  const shapes = [[1, 5, 7], [3, 4, 5], [2, 1, 33], [16], [17], [1, 1, 64], [5, 3, 11]];
  it.each(
    shapes.flatMap((shape) => [
      { shape, signed: false, gain: 1 },
      { shape, signed: true, gain: 0.37 },
      { shape, signed: true, gain: 2.5 },
    ]),
  )("draws the numbers it documents: $shape, signed $signed, gain $gain", async ({ shape, signed, gain }) => {
    const size = shape.reduce((a, b) => a * b, 1);
    const random = generator(size);
    const seed = 2 ** 53 - 1 - size;
    const pixels = Float32Array.from({ length: 3 * size }, (_, i) => {
      if (i % 11 === 0) return 0;
      if (i % 13 === 0) return signed ? -1 : 1;
      return signed ? 2 * random() - 1 : random();
    });
    const option = { input: shape, method: lee({ leak: LEAK }), layers: [dense(9), dense(4)], seed };
    const drawn = await createNetwork({ ...option, encoder: poisson({ steps: STEPS, gain, signed }) });
    const explicit = await createNetwork({ ...option, encoder: spikes({ steps: STEPS }) });
    const [epoch, firstSample] = [3, 2 ** 31 - 10];
    const trains = [0, 1, 2].flatMap((b) => {
      const sample = pixels.subarray(b * size, (b + 1) * size);
      return poissonTrain(sample, shape, STEPS, gain, { seed, epoch, sample: firstSample + b });
    });
    const given = Float32Array.from(trains.flatMap((frame) => [...frame]));
    const labels = [0, 3, 1];
    const a = await drawn.gradients(pixels, labels, { epoch, firstSample, record: ["spikes"] });
    const b = await explicit.gradients(given, labels, { record: ["spikes"] });
    expect(bits(a.outputs.data)).toEqual(bits(b.outputs.data));
    expect(bitsOf(Object.entries(a.records))).toEqual(bitsOf(Object.entries(b.records)));
    expect(bitsOf(Object.entries(a.gradients))).toEqual(bitsOf(Object.entries(b.gradients)));
    const answers = await drawn.predict(pixels, { epoch, firstSample });
    expect(bits(answers.outputs.data)).toEqual(bits(a.outputs.data));
    const evaluated = await drawn.evaluate({
      inputs: pixels,
      labels: Int32Array.from(labels),
      shape,
      classes: 4,
    });
    const zero = [0, 1, 2].flatMap((i) =>
      poissonTrain(pixels.subarray(i * size, (i + 1) * size), shape, STEPS, gain, { seed, sample: i }),
    );
    const sum = zero.reduce((n, frame) => n + frame.filter((x) => x !== 0).length, 0);
    expect(evaluated.layers[0].spikes * 3).toBeCloseTo(sum, 9);
  });

  it("an input of 1 spikes at every step, one of 0 never, others at their rate", async () => {
    const steps = 400;
    const inputs = Float32Array.from({ length: 64 }, (_, i) =>
      i < 16 ? 0 : i < 32 ? 1 : i < 48 ? 0.25 : 1e-9,
    );
    const train = poissonTrain(inputs, [64], steps, 1, { seed: 4 });
    const rate = (low: number) =>
      train.reduce((n, f) => n + f.subarray(low, low + 16).filter((x) => x).length, 0) / (16 * steps);
    expect([rate(0), rate(16), rate(48)]).toEqual([0, 1, 0]);
    expect(Math.abs(rate(32) - 0.25)).toBeLessThan(4 * Math.sqrt((0.25 * 0.75) / (16 * steps)));
    const network = await createNetwork({
      input: [64],
      encoder: poisson({ steps }),
      method: lee(),
      layers: [dense(2)],
      seed: 4,
    });
    const { layers } = await network.evaluate({ inputs, labels: Int32Array.of(0), shape: [64], classes: 2 });
    expect(layers[0].spikes).toBe(train.reduce((n, f) => n + f.filter((x) => x).length, 0));
  });

  it("bytes stand for value / 255", async () => {
    const network = await createNetwork({
      input: [2, 3, 5],
      encoder: poisson({ steps: STEPS }),
      method: lee(),
      layers: [conv2d(3, 2), dense(4)],
    });
    const bytes = Uint8Array.from({ length: 60 }, (_, i) => (i * 37) % 256);
    const a = await network.predict(bytes);
    const b = await network.predict(Float32Array.from(bytes, (x) => x / 255));
    expect(bits(a.outputs.data)).toEqual(bits(b.outputs.data));
  });

  it("seeds that differ in any bit give other spikes", () => {
    const drawn = [0, 1, 2 ** 31, 2 ** 32, 2 ** 52, 2 ** 53 - 1].map((seed) =>
      poissonTrain(new Float32Array(64).fill(0.5), [64], 3, 1, { seed }).join(),
    );
    expect(new Set(drawn).size).toBe(drawn.length);
  });
});

describe("dropout", () => {
  it("draws the masks it documents, one a sample, held over its steps", async () => {
    const seed = 77;
    const network = await createNetwork({
      input: [2, 6, 6],
      encoder: spikes({ steps: STEPS }),
      method: lee({ leak: LEAK }),
      layers: [conv2d(5, 3), dropout(0.2), conv2d(6, 2), dropout(0.7), dense(21), dropout(0.5), dense(3)],
      seed,
    });
    const random = generator(9);
    const inputs = Float32Array.from({ length: 4 * STEPS * 72 }, () => (random() < 0.6 ? 1 : 0));
    const labels = [0, 1, 2, 0];
    const [epoch, firstSample] = [5, 123];
    const stages = stagesOf({
      input: [2, 6, 6],
      layers: network.layers,
      leak: LEAK,
      threshold: 1,
      steps: STEPS,
    });
    const dropoutMasks: Record<string, Float32Array> = {};
    stages.forEach(({ name, shape, dropout: p }, index) => {
      if (!p) return;
      const masks = labels.map((_, b) =>
        dropoutMask(shape, p, index, { seed, epoch, sample: firstSample + b }),
      );
      dropoutMasks[name] = Float32Array.from(masks.flatMap((mask) => [...mask]));
      const zeros = dropoutMasks[name].filter((m) => m === 0).length / dropoutMasks[name].length;
      expect(Math.abs(zeros - p)).toBeLessThan(4 * Math.sqrt((p * (1 - p)) / dropoutMasks[name].length));
    });
    const drawn = await network.gradients(inputs, labels, { epoch, firstSample, record: ["spikes"] });
    const given = await network.gradients(inputs, labels, { dropoutMasks, record: ["spikes"] });
    expect(bitsOf(Object.entries(drawn.records))).toEqual(bitsOf(Object.entries(given.records)));
    expect(bitsOf(Object.entries(drawn.gradients))).toEqual(bitsOf(Object.entries(given.gradients)));
  });

  it("does nothing when predicting", async () => {
    const option = { input: [20], encoder: poisson({ steps: STEPS }), method: lee(), seed: 3 };
    const with_ = await createNetwork({ ...option, layers: [dense(30), dropout(0.9), dense(4)] });
    const without = await createNetwork({ ...option, layers: [dense(30), dense(4, { name: "layer2" })] });
    for (const [name, tensor] of with_.parameters.entries()) without.parameters.set(name, tensor);
    const inputs = new Float32Array(40).fill(0.7);
    const [a, b] = [await with_.predict(inputs), await without.predict(inputs)];
    expect(bits(a.outputs.data)).toEqual(bits(b.outputs.data));
  });
});

describe("the place in the data set is the key, not the place in the batch", () => {
  const SHAPE = [1, 6, 6];
  const data = dataset(150, SHAPE, 4);
  const create = (): Promise<Network> =>
    createNetwork({
      input: SHAPE,
      encoder: poisson({ steps: STEPS }),
      method: lee(),
      layers: [conv2d(4, 3), dropout(0.3), dense(4)],
      seed: 8,
    });

  it("predict on a batch is predict one by one", async () => {
    const network = await create();
    const all = bits((await network.predict(data.inputs, { epoch: 2, firstSample: 5 })).outputs.data);
    for (const i of [0, 1, 63, 64, 65, 127, 128, 149]) {
      const one = await network.predict(data.inputs.subarray(i * 36, (i + 1) * 36), {
        epoch: 2,
        firstSample: 5 + i,
      });
      expect(bits(one.outputs.data)).toEqual(all.subarray(i * 4, i * 4 + 4));
    }
    const other = await network.predict(data.inputs, { epoch: 2, firstSample: 6 });
    expect(bits(other.outputs.data)).not.toEqual(all);
  });

  it("evaluate gives the same whatever the batches", async () => {
    const network = await create();
    const whole = await network.evaluate(data);
    for (const batchSize of [1, 7, 64, 150, 1000]) {
      const found = await network.evaluate(data, { batchSize });
      expect({ ...found, loss: 0 }).toEqual({ ...whole, loss: 0 });
      expect(found.loss).toBeCloseTo(whole.loss, 12);
    }
  });

  it("gradients of a batch are the sum of those of its samples", async () => {
    const network = await create();
    const batch = await network.gradients(data.inputs.subarray(0, 13 * 36), data.labels.subarray(0, 13), {
      epoch: 1,
    });
    const sums = Object.fromEntries(
      network.parameters.entries().map(([name, t]) => [name, new Float64Array(t.data.length)]),
    );
    let loss = 0;
    for (let i = 0; i < 13; i++) {
      const [x, y] = [data.inputs.subarray(i * 36, (i + 1) * 36), data.labels.subarray(i, i + 1)];
      const one = await network.gradients(x, y, { epoch: 1, firstSample: i });
      expect(bits(one.outputs.data)).toEqual(bits(batch.outputs.data.subarray(i * 4, i * 4 + 4)));
      loss += one.loss;
      for (const [name, { data: g }] of Object.entries(one.gradients))
        g.forEach((x, k) => {
          sums[name][k] += x;
        });
    }
    expect(batch.loss).toBeCloseTo(loss, 9);
    for (const [name, { data: g }] of Object.entries(batch.gradients)) {
      const scale = Math.max(...sums[name].map(Math.abs));
      g.forEach((x, k) => {
        expect(Math.abs(x - sums[name][k])).toBeLessThanOrEqual(2e-6 * scale);
      });
    }
  });

  it("fit draws for a sample what gradients draws for its index, in the order of the shuffle", async () => {
    const few = dataset(9, SHAPE, 4, { seed: 3 });
    const optimizer = sgd({ rate: 0.05, momentum: 0.5 });
    const trained = await create();
    await drain(trained.fit(few, { epochs: 2, batchSize: 1, optimizer }));
    const byHand = await create();
    const hand = byHand.optimizer(optimizer);
    for (let epoch = 0; epoch < 2; epoch++) {
      const order = Array.from({ length: 9 }, (_, i) => i);
      for (let i = 8; i > 0; i--) {
        const [word] = philox([i, 0, 0, epoch], streamKey(8, 2));
        const j = Number((BigInt(word) * BigInt(i + 1)) >> 32n);
        [order[i], order[j]] = [order[j], order[i]];
      }
      for (const i of order) {
        const [x, y] = [few.inputs.subarray(i * 36, (i + 1) * 36), few.labels.subarray(i, i + 1)];
        hand.step((await byHand.gradients(x, y, { epoch, firstSample: i })).gradients);
      }
    }
    expect(bitsOf(byHand.parameters.entries())).toEqual(bitsOf(trained.parameters.entries()));
  });
});
