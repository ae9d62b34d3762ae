// fit against the same steps taken by hand and against a plain reading of the equations.
import {
  conv2d,
  cosine,
  createNetwork,
  dense,
  dropout,
  lee,
  type Network,
  type Parameters,
  poisson,
  sgd,
  stepDecay,
} from "spikegrad";
import { describe, expect, it } from "vitest";
import { bits, bitsOf, dataset, drain } from "./support.ts";
import {
  backward,
  dropoutMask,
  forward,
  poissonTrain,
  sgdStep,
  squaredError,
  stagesOf,
  type TwinNetwork,
} from "./twin.ts";

const SHAPE = [2, 6, 6];
const SIZE = 72;
const STEPS = 5;
const SEED = 21;
const data = dataset(11, SHAPE, 3);

function create(build: "simd" | "scalar" = "simd"): Promise<Network> {
  return createNetwork({
    input: SHAPE,
    encoder: poisson({ steps: STEPS }),
    method: lee({ leak: 0.9 }),
    layers: [conv2d(5, 3), dropout(0.25), dense(12), dense(3)],
    seed: SEED,
    build,
  });
}

function values(parameters: Parameters): Record<string, Float32Array> {
  return Object.fromEntries(parameters.entries().map(([name, { data: w }]) => [name, w]));
}

describe("backward", () => {
  it("with the derivative of the squared error gives the gradients of the squared error, bit for bit", async () => {
    const network = await create();
    const option = { epoch: 2, firstSample: 7 };
    const { gradients, outputs, loss } = await network.gradients(data.inputs, data.labels, option);
    const found = await network.forward(data.inputs, option);
    expect(bits(found.outputs.data)).toEqual(bits(outputs.data));
    const slope = outputs.data.map(
      (y, i) => 2 * Math.fround(y - (i % 3 === data.labels[Math.floor(i / 3)] ? 1 : 0)),
    );
    expect(bitsOf(Object.entries(await network.backward(slope)))).toEqual(bitsOf(Object.entries(gradients)));
    const tensor = { shape: [11, 3], data: slope };
    expect(bitsOf(Object.entries(await network.backward(tensor)))).toEqual(bitsOf(Object.entries(gradients)));
    expect(loss).toBeCloseTo(
      slope.reduce((sum, s) => sum + (s / 2) ** 2, 0),
      5,
    );
  });

  it("is linear in what it is given", async () => {
    const network = await create();
    await network.forward(data.inputs);
    const one = Float32Array.from({ length: 33 }, (_, i) => Math.sin(i));
    const g = await network.backward(one);
    const twice = await network.backward(one.map((x) => 2 * x));
    for (const name of network.parameters.names())
      expect(bits(twice[name].data)).toEqual(bits(g[name].data.map((x) => 2 * x)));
    const none = await network.backward(new Float32Array(33));
    for (const name of network.parameters.names()) expect(none[name].data.every((x) => x === 0)).toBe(true);
  });

  it("remembers the inputs as they were", async () => {
    const network = await create();
    const inputs = data.inputs.slice();
    await network.forward(inputs);
    const before = await network.backward(new Float32Array(33).fill(1));
    inputs.fill(0);
    const after = await network.backward(new Float32Array(33).fill(1));
    expect(bitsOf(Object.entries(after))).toEqual(bitsOf(Object.entries(before)));
  });

  it("records the same in forward as in gradients", async () => {
    const network = await create();
    const record = ["spikes", "membranes"] as const;
    const a = await network.forward(data.inputs, { record });
    const b = await network.gradients(data.inputs, data.labels, { record });
    expect(bitsOf(Object.entries(a.records))).toEqual(bitsOf(Object.entries(b.records)));
    expect(a.records["layer0.spikes"].shape).toEqual([STEPS, 11, 5, 4, 4]);
    expect(a.records["layer3.membranes"].shape).toEqual([STEPS, 11, 3]);
  });
});

describe("fit", () => {
  it.each([
    "simd",
    "scalar",
  ] as const)("takes the steps that gradients and an optimizer take by hand, %s", async (build) => {
    const optimizer = sgd({ rate: 0.01, momentum: 0.9, weightDecay: 1e-2 });
    const trained = await create(build);
    const schedule = stepDecay({ at: [1], factor: 0.3 });
    const records = await drain(
      trained.fit(data, { epochs: 2, batchSize: 4, shuffle: false, optimizer, schedule }),
    );
    const network = await create(build);
    const hand = network.optimizer(optimizer);
    const losses: number[] = [];
    for (let epoch = 0; epoch < 2; epoch++) {
      for (let first = 0; first < 11; first += 4) {
        const end = Math.min(first + 4, 11);
        const inputs = data.inputs.subarray(first * SIZE, end * SIZE);
        const labels = data.labels.subarray(first, end);
        const { gradients, loss } = await network.gradients(inputs, labels, { epoch, firstSample: first });
        losses.push(loss / (end - first));
        hand.rate = epoch === 0 ? 0.01 : 0.01 * 0.3;
        hand.step(gradients);
      }
    }
    expect(records.map(({ loss }) => loss)).toEqual(losses);
    expect(bitsOf(network.parameters.entries())).toEqual(bitsOf(trained.parameters.entries()));
  });

  it("follows the equations: Poisson trains, masks, forward, backward and descent written down a second time", async () => {
    const option = { rate: 0.02, momentum: 0.8, weightDecay: 5e-3 };
    const network = await create();
    const twin: TwinNetwork = { input: SHAPE, layers: network.layers, leak: 0.9, threshold: 1, steps: STEPS };
    const stages = stagesOf(twin);
    const velocity = Object.fromEntries(
      Object.entries(values(network.parameters)).map(([n, w]) => [n, w.map(() => 0)]),
    );
    let before = values(network.parameters);
    let first = 0;
    for await (const { epoch, loss, step } of network.fit(data, {
      epochs: 3,
      batchSize: 4,
      shuffle: false,
      optimizer: sgd(option),
    })) {
      first = (step - 1) * 4;
      const count = Math.min(4, 11 - first);
      const gradients = Object.fromEntries(
        Object.entries(before).map(([n, w]) => [n, new Float64Array(w.length)]),
      );
      let sum = 0;
      for (let sample = first; sample < first + count; sample++) {
        const key = { seed: SEED, epoch, sample };
        const train = poissonTrain(
          data.inputs.subarray(sample * SIZE, (sample + 1) * SIZE),
          SHAPE,
          STEPS,
          1,
          key,
        );
        const masks = { layer0: dropoutMask([5, 4, 4], 0.25, 0, key) };
        const found = forward(twin, stages, before, train, masks, Math.fround);
        const { loss: error, delta } = squaredError(found.outputs, data.labels[sample]);
        sum += error;
        backward(twin, stages, before, train, masks, found, delta, gradients);
      }
      expect(loss).toBeCloseTo(sum / count, 5);
      const after = values(network.parameters);
      for (const [name, w] of Object.entries(before)) {
        const wanted = w.slice();
        sgdStep(wanted, gradients[name], velocity[name], option);
        const moved = Math.max(...wanted.map((x, i) => Math.abs(x - w[i])));
        expect(moved).toBeGreaterThan(0);
        const error = Math.max(...wanted.map((x, i) => Math.abs(x - after[name][i])));
        expect(error, `${name} at ${epoch}.${step}`).toBeLessThan(1e-4 * moved);
      }
      before = after;
    }
  });

  it("tells how far it has come", async () => {
    const network = await create();
    const records = await drain(
      network.fit(data, { epochs: 2, batchSize: 4, optimizer: sgd({ rate: 0.01 }), schedule: cosine() }),
    );
    expect(records.map(({ epoch, step, samples }) => [epoch, step, samples])).toEqual([
      [0, 1, 4],
      [0, 2, 8],
      [0, 3, 11],
      [1, 1, 4],
      [1, 2, 8],
      [1, 3, 11],
    ]);
    const [a, b, c] = records;
    expect(c.epochLoss).toBeCloseTo((4 * a.loss + 4 * b.loss + 3 * c.loss) / 11, 12);
    expect(c.epochAccuracy).toBeCloseTo((4 * a.accuracy + 4 * b.accuracy + 3 * c.accuracy) / 11, 12);
    records.forEach(({ epochs, steps, rate, samplesPerSecond, secondsLeft, spikesPerNeuron }, i) => {
      expect([epochs, steps]).toEqual([2, 3]);
      expect(rate).toBeCloseTo((0.01 * (1 + Math.cos((Math.PI * i) / 6))) / 2, 15);
      expect(samplesPerSecond).toBeGreaterThan(0);
      expect(secondsLeft).toBeGreaterThanOrEqual(0);
      expect(spikesPerNeuron).toBeGreaterThan(0);
      expect(spikesPerNeuron).toBeLessThanOrEqual(STEPS);
    });
    expect(records[5].secondsLeft).toBe(0);
  });

  it("gives the same bits in both builds, and in one run as in two of a network", async () => {
    const option = { epochs: 2, batchSize: 5, optimizer: sgd({ rate: 0.02, momentum: 0.9 }) };
    const all = [];
    for (const build of ["simd", "simd", "scalar"] as const) {
      const network = await create(build);
      await drain(network.fit(data, option));
      all.push(bitsOf(network.parameters.entries()));
    }
    expect(all[1]).toEqual(all[0]);
    expect(all[2]).toEqual(all[0]);
  });

  it("learns", async () => {
    const network = await createNetwork({
      input: [16],
      encoder: poisson({ steps: 20 }),
      method: lee(),
      layers: [dense(40), dense(4)],
      seed: 2,
    });
    const count = 200;
    const labels = Int32Array.from({ length: count }, (_, i) => i % 4);
    const inputs = Float32Array.from({ length: count * 16 }, (_, i) =>
      (i % 16) >> 2 === Math.floor(i / 16) % 4 ? 0.8 : 0.2,
    );
    const set = { inputs, labels, shape: [16], classes: 4 };
    const before = await network.evaluate(set);
    await drain(
      network.fit(set, { epochs: 6, batchSize: 10, optimizer: sgd({ rate: 0.005, momentum: 0.9 }) }),
    );
    const after = await network.evaluate(set);
    expect(before.accuracy).toBeLessThan(0.7);
    expect(after.accuracy).toBeGreaterThan(0.95);
    expect(after.loss).toBeLessThan(before.loss / 2);
  });
});
