// What evaluate counts, against counting by brute force; the losses; live networks step by step.
import {
  avgPool2d,
  conv2d,
  createNetwork,
  crossEntropy,
  dense,
  lee,
  type Network,
  neuron,
  poisson,
  residual,
  spikes,
} from "spikegrad";
import { describe, expect, it } from "vitest";
import { generator, trainOf } from "./cases.ts";
import { bits, dataset } from "./support.ts";
import {
  crossEntropy as crossEntropyOf,
  type Forward,
  forward,
  squaredError,
  stagesOf,
  type TwinNetwork,
} from "./twin.ts";

const SHAPE = [2, 7, 6];
const SIZE = 84;
const STEPS = 6;
const COUNT = 10;
const CLASSES = 5;
const LAYERS = [
  conv2d(5, 3, { stride: 2, padding: 1 }),
  residual([conv2d(6, 3, { padding: 1 })]),
  avgPool2d(2),
  conv2d(4, 1, { stride: 2 }),
  dense(11),
  dense(CLASSES),
];

async function setUp() {
  const network = await createNetwork({
    input: SHAPE,
    encoder: spikes({ steps: STEPS }),
    method: lee({ leak: 0.8, threshold: 0.4 }),
    layers: LAYERS,
    seed: 12,
  });
  const twin: TwinNetwork = { input: SHAPE, layers: network.layers, leak: 0.8, threshold: 0.4, steps: STEPS };
  const random = generator(3);
  const inputs = Float32Array.from({ length: COUNT * STEPS * SIZE }, () => (random() < 0.4 ? 1 : 0));
  const labels = Int32Array.from({ length: COUNT }, () => Math.floor(random() * CLASSES));
  const stages = stagesOf(twin);
  const weights = Object.fromEntries(network.parameters.entries().map(([name, { data }]) => [name, data]));
  const found = Array.from(
    { length: COUNT },
    (_, b): Forward => forward(twin, stages, weights, trainOf(inputs, b, STEPS, SIZE), {}, Math.fround),
  );
  const data = { inputs, labels, shape: [STEPS, ...SHAPE], classes: CLASSES };
  return { network, stages, inputs, labels, found, data };
}

describe("evaluate", () => {
  it("counts synaptic operations exactly: one for each spike and each weight it meets", async () => {
    const { network, stages, inputs, found, data } = await setUp();
    let operations = 0;
    let dense_ = 0;
    stages.forEach((stage) => {
      for (const { source, parameter, connections } of stage.synapses) {
        if (parameter === undefined) continue;
        dense_ += connections.length * STEPS;
        found.forEach(({ spikes: trains }, b) => {
          const input = trainOf(inputs, b, STEPS, SIZE);
          for (let t = 0; t < STEPS; t++) {
            const x = source < 0 ? input[t] : trains[source][t];
            for (const { from } of connections) if (x[from] !== 0) operations++;
          }
        });
      }
    });
    const result = await network.evaluate(data, { batchSize: 4 });
    expect(operations).toBeGreaterThan(10000);
    expect(result.synapticOperations).toBe(operations / COUNT);
    expect(result.denseOperations).toBe(dense_);
  });

  it("counts spikes, answers, ranks and losses", async () => {
    const { network, stages, inputs, labels, found, data } = await setUp();
    const result = await network.evaluate(data, { topK: 2 });
    const answers = found.map(({ outputs }) => outputs.indexOf(Math.max(...outputs)));
    const confusion = new Int32Array(CLASSES * CLASSES);
    answers.forEach((answer, b) => {
      confusion[labels[b] * CLASSES + answer]++;
    });
    expect(result.confusion).toEqual(confusion);
    expect(result.samples).toBe(COUNT);
    expect(result.accuracy).toBe(answers.filter((answer, b) => answer === labels[b]).length / COUNT);
    const among = found.filter(({ outputs }, b) => {
      const ranked = [...outputs.keys()].sort((i, j) => outputs[j] - outputs[i] || i - j);
      return ranked.indexOf(labels[b]) < 2;
    });
    expect(result.topK).toEqual({ k: 2, accuracy: among.length / COUNT });
    const loss = found.reduce((sum, { outputs }, b) => sum + squaredError(outputs, labels[b]).loss, 0);
    expect(result.loss).toBeCloseTo(loss / COUNT, 6);
    expect(result.layers.map(({ name, neurons }) => [name, neurons])).toEqual([
      ["input", SIZE],
      ...stages.filter(({ readout }) => !readout).map(({ name, neurons }) => [name, neurons]),
    ]);
    result.layers.forEach(({ name, spikes: mean, rate, neurons }, i) => {
      const sum =
        i === 0
          ? inputs.filter((x) => x !== 0).length
          : found.reduce(
              (n, { spikes: trains }) =>
                n + trains[i - 1].reduce((m, o) => m + o.filter((s) => s !== 0).length, 0),
              0,
            );
      expect(mean, name).toBeCloseTo(sum / COUNT, 9);
      expect(rate, name).toBeCloseTo(sum / (COUNT * neurons * STEPS), 9);
    });
  });

  it("tells equal answers apart by their index", async () => {
    const network = await createNetwork({
      input: [3],
      encoder: poisson({ steps: 1 }),
      method: lee(),
      layers: [dense(4)],
    });
    network.parameters.set("layer0.weight", new Float32Array(12));
    const data = { inputs: new Float32Array(12), labels: Int32Array.of(0, 1, 2, 3), shape: [3], classes: 4 };
    const { accuracy, topK, confusion } = await network.evaluate(data, { topK: 3 });
    expect(accuracy).toBe(0.25);
    expect(topK.accuracy).toBe(0.75);
    expect([...confusion]).toEqual([1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]);
  });

  it("reports its progress", async () => {
    const { network, data } = await setUp();
    const seen: number[][] = [];
    await network.evaluate(data, { batchSize: 4, onProgress: (done, all) => seen.push([done, all]) });
    expect(seen).toEqual([
      [4, 10],
      [8, 10],
      [10, 10],
    ]);
  });
});

describe("cross-entropy", () => {
  it("is that of the softmax, in value and gradient", async () => {
    const data = dataset(6, [8], 4);
    const network = await createNetwork({
      input: [8],
      encoder: poisson({ steps: 5 }),
      method: lee(),
      layers: [dense(4)],
      loss: crossEntropy(),
    });
    const { loss, outputs, gradients } = await network.gradients(data.inputs, data.labels);
    const expected = Array.from(data.labels, (label, b) =>
      crossEntropyOf(outputs.data.subarray(b * 4, b * 4 + 4), label),
    );
    expect(loss).toBeCloseTo(
      expected.reduce((sum, e) => sum + e.loss, 0),
      5,
    );
    await network.forward(data.inputs);
    const slope = Float32Array.from(expected.flatMap(({ delta }) => [...delta]));
    const again = await network.backward(slope);
    const scale = Math.max(...again["layer0.weight"].data.map(Math.abs));
    gradients["layer0.weight"].data.forEach((g, i) => {
      expect(Math.abs(g - again["layer0.weight"].data[i])).toBeLessThan(1e-6 * scale);
    });
    expect((await network.evaluate(data)).loss).toBeCloseTo(loss / 6, 6);
  });

  it("stays finite where answers are far apart", async () => {
    const network = await createNetwork({
      input: [1],
      encoder: spikes({ steps: 1 }),
      method: lee({ leak: 1 }),
      layers: [dense(2)],
      loss: crossEntropy(),
    });
    network.parameters.set("layer0.weight", Float32Array.of(500, -500));
    const right = await network.gradients(Float32Array.of(1), [0]);
    const wrong = await network.gradients(Float32Array.of(1), [1]);
    expect(right.loss).toBe(0);
    expect(wrong.loss).toBe(1000);
    expect([...wrong.gradients["layer0.weight"].data]).toEqual([1, -1]);
  });
});

describe("a live network", () => {
  const train = (network: Network) =>
    Array.from({ length: STEPS }, (_, t) => {
      const random = generator(t + network.seed);
      return Float32Array.from({ length: SIZE }, () => (random() < 0.4 ? 1 : 0));
    });

  it("fed step by step answers as predict does on the whole train; reset begins anew", async () => {
    const { network, found, inputs, stages } = await setUp();
    const wanted = bits((await network.predict(inputs.subarray(0, STEPS * SIZE))).outputs.data);
    for (let turn = 0; turn < 2; turn++) {
      trainOf(inputs, 0, STEPS, SIZE).forEach((frame, t) => {
        const { outputs, spikes: count } = network.step(frame);
        const spoken = stages.reduce(
          (n, { readout }, i) => n + (readout ? 0 : found[0].spikes[i][t].filter((s) => s !== 0).length),
          0,
        );
        expect(count).toBe(spoken);
        if (t === STEPS - 1) expect(bits(outputs)).toEqual(wanted);
        else expect(outputs).toHaveLength(CLASSES);
      });
      network.reset();
    }
    const frames = train(network);
    for (const frame of frames) network.step(frame);
    network.reset();
    network.reset();
    const [first] = trainOf(inputs, 0, STEPS, SIZE);
    const fresh = (await setUp()).network;
    expect(bits(network.step(first).outputs)).toEqual(bits(fresh.step(first).outputs));
  });

  it("under poisson draws the numbers of sample 0, step by step", async () => {
    const network = await createNetwork({
      input: SHAPE,
      encoder: poisson({ steps: STEPS, gain: 0.6 }),
      method: lee(),
      layers: LAYERS,
      seed: 4,
    });
    const { inputs } = dataset(1, SHAPE, CLASSES);
    const wanted = bits((await network.predict(inputs)).outputs.data);
    let outputs = new Float32Array();
    for (let t = 0; t < STEPS; t++) outputs = network.step(inputs).outputs as typeof outputs;
    expect(bits(outputs)).toEqual(wanted);
  });

  it("goes on past T, and is not disturbed by what else is asked", async () => {
    const { network, inputs, data } = await setUp();
    const quiet = (await setUp()).network;
    const frames = [...trainOf(inputs, 0, STEPS, SIZE), ...trainOf(inputs, 1, STEPS, SIZE)];
    for (const frame of frames) {
      await network.evaluate(data);
      await network.gradients(inputs.subarray(0, STEPS * SIZE), [1]);
      expect(bits(network.step(frame).outputs)).toEqual(bits(quiet.step(frame).outputs));
    }
  });
});

describe("thresholds", () => {
  it("of a layer and of the readout are those of the list", async () => {
    const network = await createNetwork({
      input: [1],
      encoder: spikes({ steps: 4 }),
      method: lee({ leak: 1, threshold: 9 }),
      layers: [dense(1), neuron({ threshold: 2 }), dense(1), neuron({ readout: true, threshold: 5 })],
    });
    network.parameters.set("layer0.weight", Float32Array.of(1));
    network.parameters.set("layer2.weight", Float32Array.of(1));
    // u = 1, 2 (not above 2), 3: a spike, 1; the answer is 1 / (5 · 4).
    const { outputs } = await network.predict(new Float32Array(4).fill(1));
    expect(outputs.data[0]).toBe(Math.fround(1 / 20));
  });
});
