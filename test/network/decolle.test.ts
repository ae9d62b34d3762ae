import {
  ArgumentError,
  adamax,
  avgPool2d,
  conv2d,
  createNetwork,
  type Dataset,
  decolle,
  dense,
  dropout,
  loadNetwork,
  maxPool2d,
  type Network,
  NonFiniteError,
  neuron,
  poisson,
  residual,
  StateError,
  sgd,
  spikes,
  squaredError,
} from "spikegrad";
import { describe, expect, it } from "vitest";
import { generator } from "./cases.ts";
import { drain } from "./support.ts";

const OPTIMIZER = adamax({ rate: 5e-3, betas: [0, 0.95] });

/** Four classes, each with its own quarter of sixteen pixels lit. */
function quarters(count: number): Dataset {
  const labels = Uint8Array.from({ length: count }, (_, i) => i % 4);
  const inputs = new Float32Array(count * 16);
  for (let i = 0; i < count; i++)
    for (let k = 0; k < 16; k++) inputs[i * 16 + k] = k >> 2 === labels[i] ? 0.9 : 0.1 * ((i + k) % 3);
  return { inputs, shape: [16], labels, classes: 4 };
}

async function mlp(option: Partial<Parameters<typeof decolle>[0]> = {}, steps = 20): Promise<Network> {
  return await createNetwork({
    input: [16],
    encoder: poisson({ steps, gain: 0.5 }),
    method: decolle({ classes: 4, alpha: 0.8, beta: 0.7, burnIn: 5, readoutScale: 1, ...option }),
    layers: [dense(24), dense(20)],
    seed: 3,
  });
}

async function fitted(network: Network, data: Dataset, epochs = 1, batchSize = 64): Promise<number[]> {
  const losses: number[] = [];
  for await (const { loss } of network.fit(data, { epochs, batchSize, shuffle: false, optimizer: OPTIMIZER }))
    losses.push(loss);
  return losses;
}

describe("decolle", () => {
  it("takes the memory of one step, however many there are", async () => {
    const bytes: number[] = [];
    for (const steps of [10, 1000]) {
      const network = await mlp({}, steps);
      const data = quarters(8);
      const before = network.memory.bytes;
      const run = network.fit(data, { batchSize: 8, optimizer: OPTIMIZER });
      bytes.push(network.memory.bytes - before);
      await run.return?.();
      expect(network.memory.training(8)).toBeGreaterThan(bytes[bytes.length - 1] / 2);
      network.dispose();
    }
    expect(bytes[1]).toBe(bytes[0]);
  });

  it.each([true, false])("learns a fixed batch, online %s", async (online) => {
    const network = await mlp({ online }, 30);
    const data = quarters(32);
    await network.normalizeActivity(data.inputs);
    const losses = await fitted(network, data, online ? 30 : 300);
    expect(losses[losses.length - 1]).toBeLessThan(losses[0] * 0.8);
    const { accuracy, layers } = await network.evaluate(data);
    expect(accuracy).toBeGreaterThan(0.8);
    expect(layers.map(({ name }) => name)).toEqual(["input", "layer0", "layer1"]);
    expect(layers[0].accuracy).toBeUndefined();
    expect(layers[1].accuracy).toBeGreaterThan(0.5);
    expect(layers[2].accuracy).toBe(accuracy);
    network.dispose();
  });

  it("gives the same bits in both builds, online, with pools, dropout and regulariser", async () => {
    const found: Float32Array[] = [];
    for (const build of ["simd", "scalar"] as const) {
      const network = await createNetwork({
        input: [2, 9, 9],
        encoder: poisson({ steps: 12, gain: 0.7, signed: true }),
        method: decolle({ classes: 3, burnIn: 2, regularizer: 0.2, prediction: "mostCommon" }),
        layers: [
          conv2d(5, 3, { padding: 1 }),
          maxPool2d(2),
          dropout(0.3),
          conv2d(6, 3, { stride: 2 }),
          dense(21),
        ],
        seed: 9,
        build,
      });
      const inputs = Float32Array.from({ length: 6 * 162 }, (_, i) => ((i * 37) % 101) / 50 - 1);
      const data = { inputs, shape: [2, 9, 9], labels: Uint8Array.of(0, 1, 2, 0, 1, 2), classes: 3 };
      await fitted(network, data, 2, 4);
      const { outputs } = await network.predict(inputs);
      found.push(outputs.data, ...network.parameters.entries().map(([, { data }]) => data));
      network.dispose();
    }
    const half = found.length / 2;
    for (let i = 0; i < half; i++) expect(found[i]).toEqual(found[i + half]);
  });

  it("answers with the same bits in training programs, inference and step by step", async () => {
    const network = await mlp({ online: false });
    const data = quarters(3);
    await network.normalizeActivity(data.inputs);
    const { outputs } = await network.gradients(data.inputs, data.labels);
    const predicted = await network.predict(data.inputs);
    expect(predicted.outputs.data).toEqual(outputs.data);
    const frame = Float32Array.from(data.inputs.slice(0, 16));
    let last: Float32Array | undefined;
    for (let t = 0; t < 20; t++) last = network.step(frame).outputs;
    expect(last).toEqual(outputs.data.slice(0, 4));
    network.dispose();
  });

  it("keeps the readouts as they were drawn, and saves them", async () => {
    const network = await mlp({ readoutScale: 2 });
    const fixed = network.parameters.names().filter((name) => name.includes("readout"));
    expect(fixed).toEqual([
      "layer0.readout_weight",
      "layer0.readout_bias",
      "layer1.readout_weight",
      "layer1.readout_bias",
    ]);
    const before = fixed.map((name) => network.parameters.get(name).data);
    expect(Math.max(...before[0].map(Math.abs))).toBeLessThanOrEqual(2 / Math.sqrt(24));
    expect(Math.max(...before[0].map(Math.abs))).toBeGreaterThan(1 / Math.sqrt(24));
    const weight = network.parameters.get("layer0.weight").data;
    await fitted(network, quarters(16), 2);
    expect(fixed.map((name) => network.parameters.get(name).data)).toEqual(before);
    expect(network.parameters.get("layer0.weight").data).not.toEqual(weight);
    const again = await loadNetwork(network.save());
    expect(fixed.map((name) => again.parameters.get(name).data)).toEqual(before);
    network.dispose();
    again.dispose();
  });

  it("is finite with one step, one sample and one neuron", async () => {
    const network = await createNetwork({
      input: [1],
      encoder: spikes({ steps: 1 }),
      method: decolle({ classes: 1, regularizer: 1 }),
      layers: [dense(1)],
    });
    const data = { inputs: Float32Array.of(1), shape: [1, 1], labels: Uint8Array.of(0), classes: 1 };
    const [loss] = await fitted(network, data);
    expect(Number.isFinite(loss)).toBe(true);
    expect([...network.parameters.get("layer0.weight").data].every(Number.isFinite)).toBe(true);
    network.dispose();
  });

  it("begins orthogonal, and brings every layer's membranes to mean 0 and variance 1", async () => {
    const network = await mlp();
    const { data } = network.parameters.get("layer1.weight");
    for (let i = 0; i < 20; i++) {
      for (let j = 0; j <= i; j++) {
        let dot = 0;
        for (let k = 0; k < 24; k++) dot += data[i * 24 + k] * data[j * 24 + k];
        expect(dot).toBeCloseTo(i === j ? 1 : 0, 5);
      }
    }
    const found = await network.normalizeActivity(quarters(32).inputs);
    for (const { mean, variance } of found) {
      expect(Math.abs(mean)).toBeLessThanOrEqual(0.2);
      expect(Math.abs(variance - 1)).toBeLessThanOrEqual(0.1);
    }
    network.dispose();
  });

  it("has the gradient of its loss with the spike replaced by the primitive of the surrogate", async () => {
    const [inputs, hidden, steps, burnIn] = [3, 4, 9, 2];
    const network = await createNetwork({
      input: [inputs],
      encoder: spikes({ steps }),
      method: decolle({ classes: 2, burnIn, alpha: 0.8, beta: 0.7, refractoryWeight: 0, online: false }),
      layers: [dense(hidden)],
      seed: 5,
    });
    const x = Float32Array.from({ length: steps * inputs }, (_, i) => ((i * 7) % 5 < 2 ? 1 : 0));
    const w = network.parameters.get("layer0.weight").data.map((v) => 3 * v);
    network.parameters.set("layer0.weight", w);
    const a = network.parameters.get("layer0.readout_weight").data;
    const c = network.parameters.get("layer0.readout_bias").data;
    const { gradients, records } = await network.gradients(x, [1], { record: ["readouts", "membranes"] });
    // dL/dr as the network has it, from its own readout; then r depends on W through the smooth spike alone.
    const r = records["layer0.readout"].data;
    const smooth = (weights: Float64Array): number => {
      const p = new Float64Array(inputs);
      const q = new Float64Array(inputs);
      let sum = 0;
      for (let t = 0; t < steps; t++) {
        for (let i = 0; i < inputs; i++) {
          p[i] = 0.8 * p[i] + (1 - 0.8) * q[i];
          q[i] = 0.7 * q[i] + (1 - 0.7) * x[t * inputs + i];
        }
        if (t < burnIn) continue;
        for (let j = 0; j < hidden; j++) {
          let u = 0;
          for (let i = 0; i < inputs; i++) u += weights[j * inputs + i] * p[i];
          const s = u / (1 + 10 * Math.abs(u)); // its derivative is 1 / (10 |u| + 1)²
          for (let k = 0; k < 2; k++) {
            const e = Math.max(-1, Math.min(1, r[t * 2 + k] - (k === 1 ? 1 : 0))) / 2;
            sum += e * (a[k * hidden + j] * s + c[k]);
          }
        }
      }
      return sum;
    };
    const exact = gradients["layer0.weight"].data;
    const top = Math.max(...exact.map(Math.abs));
    expect(top).toBeGreaterThan(0);
    for (let i = 0; i < w.length; i++) {
      const [up, down] = [Float64Array.from(w), Float64Array.from(w)];
      up[i] += 1e-6;
      down[i] -= 1e-6;
      const difference = (smooth(up) - smooth(down)) / 2e-6;
      expect(Math.abs(difference - exact[i])).toBeLessThan(1e-4 * top);
    }
    network.dispose();
  });

  it.each([
    [1, 5, 1, 6, 2, 1],
    [2, 3, 2, 7, 3, 1],
    [3, 4, 3, 5, 3, 0],
    [1, 6, 3, 1, 1, 0],
  ])("has it in convolutions too, of %i, %i and %i channels", async (input, first, k1, second, k2, padding) => {
    const option = {
      input: [input, 6, 6],
      layers: [conv2d(first, k1, { padding: 1 }), maxPool2d(2), conv2d(second, k2, { padding })],
      seed: 11,
    };
    const method = { classes: 3, alpha: 0.8, beta: 0.7, burnIn: 2, regularizer: 0.1 };
    const count = 3;
    const random = generator(input + 8 * second);
    const values = Float32Array.from({ length: count * input * 36 }, random);
    const labels = [0, 2, 1];
    const once = await createNetwork({
      ...option,
      encoder: poisson({ steps: 3 }),
      method: decolle({ ...method, online: false }),
    });
    const check = await once.checkGradients(values, labels, { samples: 6 });
    expect(check.parameters.map(({ name, ok, differences }) => [name, ok, differences])).toEqual(
      check.parameters.map(({ name, differences }) => [name, true, differences]),
    );
    expect(check.parameters.some(({ differences }) => (differences?.samples ?? 0) > 2)).toBe(true);

    // Learning at the last step alone, online takes the step that its gradients say, by another way through the core.
    const online = await createNetwork({
      ...option,
      encoder: poisson({ steps: 3 }),
      method: decolle(method),
    });
    const { gradients } = await once.gradients(values, labels);
    const data = { inputs: values, shape: option.input, labels: Int32Array.from(labels), classes: 3 };
    await drain(online.fit(data, { batchSize: count, shuffle: false, optimizer: sgd({ rate: 1 }) }));
    for (const [name, { data: gradient }] of Object.entries(gradients)) {
      const [before, after] = [once, online].map((network) => network.parameters.get(name).data);
      const top = Math.max(...gradient.map(Math.abs));
      expect([name, top > 0]).toEqual([name, true]);
      gradient.forEach((g, i) => {
        expect(Math.abs(before[i] - after[i] - g)).toBeLessThan(1e-4 * top + 1e-6);
      });
    }
  });

  it("goes on from a checkpoint with the same bits", async () => {
    const data = quarters(24);
    const settings = { epochs: 2, batchSize: 8, optimizer: OPTIMIZER };
    const whole = await mlp();
    for await (const _ of whole.fit(data, settings));
    const first = await mlp();
    let bytes: Uint8Array = new Uint8Array();
    for await (const { step } of first.fit(data, settings)) {
      if (step === 2) {
        bytes = first.checkpoint();
        break;
      }
    }
    const second = await loadNetwork(bytes);
    for await (const _ of second.fit(data, { resume: bytes }));
    expect(second.parameters.entries()).toEqual(whole.parameters.entries());
    for (const network of [whole, first, second]) network.dispose();
  });

  it("refuses what makes no sense, with the reason", async () => {
    const make = (layers: Parameters<typeof createNetwork>[0]["layers"], more: object = {}) =>
      createNetwork({
        input: [1, 8, 8],
        encoder: poisson({ steps: 10 }),
        method: decolle({ classes: 4 }),
        layers,
        ...more,
      });
    await expect(make([conv2d(4, 3), avgPool2d(2)])).rejects.toThrow(ArgumentError);
    await expect(make([maxPool2d(2), dense(4)])).rejects.toThrow("maxPool2d directly after conv2d");
    await expect(make([dense(4), maxPool2d(2)])).rejects.toThrow("maxPool2d directly after conv2d");
    await expect(make([conv2d(4, 3), residual([conv2d(4, 3, { padding: 1 })])])).rejects.toThrow("shortcut");
    await expect(make([dense(4), neuron({ readout: true })])).rejects.toThrow(
      "every layer of decolle has a readout",
    );
    await expect(make([dense(4), neuron({ threshold: 2 })])).rejects.toThrow("fire above 0");
    await expect(make([dense(4)], { loss: squaredError() })).rejects.toThrow("smoothL1, which decolle knows");
    await expect(make([dense(4)], { method: decolle({ classes: 4, burnIn: 10 }) })).rejects.toThrow(
      "less than the 10 steps",
    );
    expect(() => decolle({ classes: 0 })).toThrow("decolle.classes");
    expect(() => decolle({ classes: 4, alpha: 1 })).toThrow("decolle.alpha");
    expect(() => decolle({ classes: 4, prediction: "last" as never })).toThrow("decolle.prediction");
    const network = await make([dense(4)]);
    await expect(network.forward(new Float32Array(64))).rejects.toThrow(StateError);
    network.dispose();
  });

  it("leaves a batch undone whose loss is not finite", async () => {
    const network = await mlp();
    const data = quarters(4);
    network.parameters.set("layer0.readout_bias", new Float32Array(4).fill(3e38));
    const before = network.parameters.entries();
    const run = network.fit(data, { optimizer: sgd({ rate: 1e30 }) });
    await expect(run.next()).rejects.toThrow(NonFiniteError);
    expect(network.parameters.entries()).toEqual(before);
    network.dispose();
  });

  /** One step of learning: what it takes from each parameter, and the gradient. */
  async function firstStep(clip: { value?: number; norm?: number }) {
    const network = await mlp({ burnIn: 5 }, 6);
    const data = quarters(8);
    await network.normalizeActivity(data.inputs);
    const names = network.parameters.names().filter((name) => !name.includes("readout"));
    const { gradients } = await network.gradients(data.inputs, data.labels);
    const before = names.map((name) => network.parameters.get(name).data);
    for await (const _ of network.fit(data, {
      batchSize: 8,
      shuffle: false,
      optimizer: sgd({ rate: 1 }),
      clip,
    }));
    const taken = names.map((name, i) => network.parameters.get(name).data.map((x, k) => before[i][k] - x));
    network.dispose();
    return { gradients: names.map((name) => gradients[name].data), taken };
  }

  it("takes the same steps with weights in panels, by part of the gradient or with all of it, in both builds", async () => {
    const found: Float32Array[][] = [];
    // Clipping wants the whole gradient first; this bound clips nothing.
    for (const [build, clip] of [
      ["simd", {}],
      ["simd", { value: 1e30 }],
      ["scalar", {}],
    ] as const) {
      const network = await createNetwork({
        input: [2, 6, 6],
        encoder: poisson({ steps: 12, gain: 0.7 }),
        method: decolle({ classes: 3, burnIn: 2, readoutScale: 1 }),
        layers: [conv2d(3, 3), dense(64), dense(32), dense(33)],
        seed: 9,
        build,
      });
      const inputs = Float32Array.from({ length: 6 * 72 }, (_, i) => ((i * 37) % 101) / 100);
      const data = { inputs, shape: [2, 6, 6], labels: Uint8Array.of(0, 1, 2, 0, 1, 2), classes: 3 };
      const optimizer = adamax({ rate: 0.01, betas: [0.5, 0.95], weightDecay: 0.01 });
      const before = network.parameters.get("layer1.weight").data;
      await drain(network.fit(data, { epochs: 2, batchSize: 4, shuffle: false, optimizer, clip }));
      const { outputs } = await network.predict(inputs);
      found.push([outputs.data, ...network.parameters.entries().map(([, { data }]) => data)]);
      expect(network.parameters.get("layer1.weight").data).not.toEqual(before);
      network.dispose();
    }
    expect(found[1]).toEqual(found[0]);
    expect(found[2]).toEqual(found[0]);
  });

  it("answers from weights in panels with the same bits at once, in training programs and step by step", async () => {
    const steps = 15;
    const network = await createNetwork({
      input: [9],
      encoder: poisson({ steps, gain: 0.9 }),
      method: decolle({ classes: 3, burnIn: 2, online: false }),
      layers: [dense(96), dense(64)],
      seed: 2,
    });
    const inputs = Float32Array.from({ length: 5 * 9 }, (_, i) => ((i * 7) % 10) / 10);
    const whole = await network.predict(inputs);
    const { outputs } = await network.gradients(inputs, [0, 1, 2, 0, 1]);
    expect(outputs.data).toEqual(whole.outputs.data);
    let last: Float32Array | undefined;
    for (let t = 0; t < steps; t++) last = network.step(inputs.slice(0, 9)).outputs;
    expect(last).toEqual(whole.outputs.data.slice(0, 3));
    expect(whole.outputs.data.some((x) => x !== whole.outputs.data[0])).toBe(true);
    network.dispose();
  });

  it("clips the gradients of every step, by value and by norm", async () => {
    const { gradients, taken: whole } = await firstStep({});
    const all = gradients.flatMap((g) => [...g]);
    const top = Math.max(...all.map(Math.abs));
    expect(top).toBeGreaterThan(0);
    const close = (taken: readonly Float32Array[], expected: (g: number) => number) => {
      taken.forEach((t, i) => {
        for (let k = 0; k < t.length; k++)
          expect(Math.abs(t[k] - expected(gradients[i][k]))).toBeLessThan(1e-3 * top);
      });
    };
    close(whole, (g) => g);
    const value = top / 3;
    close((await firstStep({ value })).taken, (g) => Math.max(-value, Math.min(value, g)));
    const norm = Math.hypot(...all);
    close((await firstStep({ norm: norm / 4 })).taken, (g) => g / 4);
  });

  it("skips a batch whose loss is not finite: parameters and the optimizer are as before it", async () => {
    // Explicit spikes, so that a batch is the same wherever it stands.
    const steps = 12;
    const make = () =>
      createNetwork({
        input: [6],
        encoder: spikes({ steps }),
        method: decolle({ classes: 2, alpha: 0.8, beta: 0.7, burnIn: 2, readoutScale: 1 }),
        layers: [dense(9)],
        seed: 4,
      });
    const inputs = Float32Array.from({ length: 8 * steps * 6 }, (_, i) => ((i * 13) % 7 < 2 ? 1 : 0));
    const labels = Uint8Array.of(0, 1, 1, 0, 1, 0, 0, 1);
    const data = (from: number): Dataset => ({
      inputs: inputs.slice(from * steps * 6),
      shape: [steps, 6],
      labels: labels.slice(from),
      classes: 2,
    });
    // With β1 above 0 a step depends on those before it, and on their number.
    const optimizer = adamax({ rate: 0.01, betas: [0.5, 0.95] });
    const settings = { batchSize: 4, shuffle: false, optimizer, onNonFinite: "skip" } as const;

    const disturbed = await make();
    const bias = disturbed.parameters.get("layer0.readout_bias").data;
    const before = disturbed.parameters.entries();
    disturbed.parameters.set("layer0.readout_bias", new Float32Array(2).fill(3e38));
    const found: { loss: number; skipped: number }[] = [];
    for await (const { loss, skipped } of disturbed.fit(data(0), settings)) {
      found.push({ loss, skipped });
      if (found.length > 1) continue;
      disturbed.parameters.set("layer0.readout_bias", bias);
      expect(disturbed.parameters.entries()).toEqual(before);
    }
    expect(found.map(({ skipped }) => skipped)).toEqual([1, 1]);
    expect(found[0].loss).toBeNaN();

    const undisturbed = await make();
    for await (const { loss } of undisturbed.fit(data(4), settings)) expect(loss).toBe(found[1].loss);
    expect(undisturbed.parameters.entries()).toEqual(disturbed.parameters.entries());
    expect(undisturbed.parameters.entries()).not.toEqual(before);
    disturbed.dispose();
    undisturbed.dispose();
  });
});
