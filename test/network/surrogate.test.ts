// `surrogate` against a plain second reading of its equations (surrogate-twin.ts), itself against finite differences.
import fc from "fast-check";
import {
  adam,
  avgPool2d,
  type CanonicalLayer,
  conv2d,
  createNetwork,
  crossEntropy,
  dense,
  direct,
  dropout,
  type LayerDescriptor,
  latency,
  lee,
  loadNetwork,
  maxPool2d,
  type Network,
  type NetworkOptions,
  neuron,
  residual,
  sgd,
  spikes,
  squaredError,
  surrogate,
} from "spikegrad";
import { describe, expect, it } from "vitest";
import { check } from "../kept.ts";
import { generator } from "./cases.ts";
import { bits, bitsOf, dataset, drain, failure } from "./support.ts";
import { neuronsOf, type TwinAnswer, type TwinSettings, type TwinStage, twin } from "./surrogate-twin.ts";

const RUNS = 60;

interface Case {
  readonly shape: "mlp" | "deep" | "conv" | "strided" | "average" | "maximum" | "recurrent" | "learned";
  readonly derivative: "fastSigmoid" | "atan" | "boxcar";
  readonly reset: "subtract" | "zero";
  readonly synaptic: boolean;
  readonly threshold: number;
  readonly decay: number;
  readonly on: "membrane" | "rate";
  readonly loss: "crossEntropy" | "squaredError";
  readonly constant: boolean;
  readonly masked: boolean;
  readonly steps: number;
  readonly batch: number;
  readonly width: number;
  readonly seed: number;
}

const anyCase: fc.Arbitrary<Case> = fc.record({
  shape: fc.constantFrom("mlp", "deep", "conv", "strided", "average", "maximum", "recurrent", "learned"),
  derivative: fc.constantFrom("fastSigmoid", "atan", "boxcar"),
  reset: fc.constantFrom("subtract", "zero"),
  synaptic: fc.boolean(),
  threshold: fc.constantFrom(0.2, 0.5, 1),
  decay: fc.constantFrom(0, 0.5, 0.95, 1),
  on: fc.constantFrom("membrane", "rate"),
  loss: fc.constantFrom("crossEntropy", "squaredError"),
  constant: fc.boolean(),
  masked: fc.boolean(),
  steps: fc.integer({ min: 1, max: 6 }),
  batch: fc.integer({ min: 1, max: 4 }),
  width: fc.integer({ min: 1, max: 37 }),
  seed: fc.integer({ min: 0, max: 1e6 }),
});

function layersOf({ shape, width, masked }: Case): { input: number[]; layers: LayerDescriptor[] } {
  const drop = masked ? [dropout(0.3)] : [];
  const channels = (width % 7) + 1;
  switch (shape) {
    case "mlp":
      return { input: [9], layers: [dense(width), ...drop, dense(3)] };
    case "deep":
      return { input: [2, 3, 3], layers: [dense(width), ...drop, dense(width + 5), dense(18)] };
    case "conv":
      return { input: [2, 5, 4], layers: [conv2d(channels, 3, { padding: 1 }), ...drop, dense(3)] };
    case "strided":
      return {
        input: [1, 7, 7],
        layers: [conv2d(channels, 2), ...drop, conv2d(3, 3, { stride: 2 }), dense(3)],
      };
    case "recurrent":
      return {
        input: [9],
        layers: [dense(width, { recurrent: true }), ...drop, dense(7, { recurrent: true }), dense(3)],
      };
    case "learned": {
      const learn = { learnDecay: true, learnThreshold: true };
      const first = neuron({ threshold: 0.3, ...learn });
      const layers = [conv2d(channels, 2), maxPool2d(2), first, ...drop, dense(7), neuron(learn), dense(3)];
      return { input: [1, 5, 5], layers: [...layers, neuron(learn)] };
    }
    case "average":
      return { input: [2, 6, 7], layers: [conv2d(channels, 3), avgPool2d(2), ...drop, dense(3)] };
    case "maximum":
      return {
        input: [1, 7, 7],
        layers: [conv2d(channels, 2), maxPool2d(3), ...drop, conv2d(4, 2), maxPool2d(1), dense(3)],
      };
  }
}

function settingsOf(c: Case, smooth: boolean): TwinSettings {
  const method = surrogate({
    decay: c.decay,
    threshold: c.threshold,
    derivative: c.derivative,
    reset: c.reset,
    ...(c.synaptic ? { synapticDecay: 0.6 } : {}),
  });
  return { method, loss: c.loss, on: c.on, smooth };
}

/** The twin's stages of a network: shapes worked out again, parameters copied. */
function stagesOf(network: Network): TwinStage[] {
  const stages: TwinStage[] = [];
  const [channels, height = 1, width = 1] = network.inputShape;
  let from: readonly number[] = [channels, height, width];
  const list: readonly CanonicalLayer[] = network.layers;
  list.forEach((layer, i) => {
    if (layer.kind !== "dense" && layer.kind !== "conv2d") return;
    const after = list[i + 1];
    const pool =
      after.kind === "avgPool2d" || after.kind === "maxPool2d"
        ? { average: after.kind === "avgPool2d", size: after.size }
        : undefined;
    const conv = layer.kind === "conv2d" ? layer : undefined;
    const side = (n: number) =>
      conv ? Math.floor((n + 2 * conv.padding - conv.kernel) / conv.stride) + 1 : 1;
    const stage: TwinStage = {
      from,
      to: [layer.out, side(from[1]), side(from[2])],
      kernel: conv?.kernel ?? 0,
      padding: conv?.padding ?? 0,
      stride: conv?.stride ?? 1,
      pool,
      weight: Float64Array.from(network.parameters.get(`${layer.name}.weight`).data),
      ...learnedOf(network, (pool ? list[i + 2] : after).name),
      bias: Float64Array.from(network.parameters.get(`${layer.name}.bias`).data),
      recurrent:
        layer.kind === "dense" && layer.recurrent
          ? Float64Array.from(network.parameters.get(`${layer.name}.recurrent.weight`).data)
          : undefined,
    };
    stages.push(stage);
    from = neuronsOf(stage);
  });
  return stages;
}

function learnedOf(network: Network, name = ""): Partial<TwinStage> {
  const of = (key: string) =>
    network.parameters.names().includes(`${name}.${key}`)
      ? Float64Array.from(network.parameters.get(`${name}.${key}`).data)
      : undefined;
  return { decay: of("decay"), threshold: of("threshold") };
}

interface Prepared {
  readonly network: Network;
  readonly inputs: Float32Array;
  readonly labels: number[];
  readonly masks: Record<string, Float32Array>;
  /** `[sample][step]`. */
  readonly frames: Float32Array[][];
}

async function prepare(c: Case, build: "simd" | "scalar"): Promise<Prepared> {
  const random = generator(c.seed);
  const { input, layers } = layersOf(c);
  const { method } = settingsOf(c, false);
  const network = await createNetwork({
    input,
    encoder: c.constant ? direct({ steps: c.steps }) : spikes({ steps: c.steps }),
    method,
    layers,
    loss: { kind: c.loss, on: c.on },
    seed: c.seed,
    build,
  });
  const size = input.reduce((a, b) => a * b, 1);
  const given = c.constant ? 1 : c.steps;
  const inputs = Float32Array.from({ length: c.batch * given * size }, () =>
    random() < 0.4 ? 0 : c.constant ? 4 * random() - 1 : Math.ceil(3 * random()),
  );
  const frames = Array.from({ length: c.batch }, (_, b) =>
    Array.from({ length: c.steps }, (_, t) => {
      const first = (b * given + (c.constant ? 0 : t)) * size;
      return inputs.subarray(first, first + size);
    }),
  );
  const labels = Array.from({ length: c.batch }, () => Math.floor(random() * network.classes));
  const masks: Record<string, Float32Array> = {};
  network.layers.forEach((layer, i) => {
    if (layer.kind !== "dropout") return;
    const { name, shape } = network.neurons.find((n) => n.name === network.layers[i - 1].name)!;
    const n = shape.reduce((a, b) => a * b, 1);
    masks[name] = Float32Array.from({ length: c.batch * n }, () => (random() < 0.3 ? 0 : 1 / 0.7));
  });
  return { network, inputs, labels, masks, frames };
}

/** Largest difference over the largest entry. */
function error(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  let top = 0;
  let difference = 0;
  for (let i = 0; i < expected.length; i++) {
    top = Math.max(top, Math.abs(expected[i]));
    difference = Math.max(difference, Math.abs(found[i] - expected[i]));
  }
  // Terms of order 1 that cancel leave a rounding error of about 1e-7, whatever their sum.
  return difference / Math.max(top, 1e-3);
}

function twinsOf({ network, labels, masks, frames }: Prepared, settings: TwinSettings): TwinAnswer[] {
  const stages = stagesOf(network);
  return frames.map((steps, b) => {
    const masked = stages.map((stage, l) => {
      const mask = masks[network.neurons[l].name];
      const n = neuronsOf(stage).reduce((x, y) => x * y, 1);
      return mask ? { ...stage, mask: mask.subarray(b * n, (b + 1) * n) } : stage;
    });
    return twin(masked, settings, steps, labels[b]);
  });
}

describe("surrogate", () => {
  it("computes what a plain reading of its equations does, with the same bits in both builds", async () => {
    await check(
      "surrogate",
      anyCase,
      async (c) => {
        const prepared = await prepare(c, "simd");
        const { network, inputs, labels, masks } = prepared;
        const answers = twinsOf(prepared, settingsOf(c, false));
        // A membrane at its threshold may fall on either side in f32.
        fc.pre(answers.every(({ margin }) => margin > 1e-4));
        const option = {
          record: ["spikes", "membranes"] as const,
          dropoutMasks: Object.keys(masks).length ? masks : undefined,
        };
        const found = await network.gradients(inputs, labels, option);
        const { batch } = c;
        const loss = answers.reduce((sum, answer) => sum + answer.loss, 0) / batch;
        expect(Math.abs(found.loss - loss)).toBeLessThan(1e-4 * (1 + loss));
        expect(
          error(
            found.outputs.data,
            answers.flatMap(({ outputs }) => outputs),
          ),
        ).toBeLessThan(1e-4);
        const synapses = network.layers.filter(({ kind }) => kind === "dense" || kind === "conv2d");
        stagesOf(network).forEach(({ recurrent, decay, threshold }, l) => {
          const { name } = network.neurons[l];
          const at = (of: (a: TwinAnswer, t: number) => ArrayLike<number>) =>
            Array.from({ length: c.steps }, (_, t) => answers.flatMap((a) => Array.from(of(a, t)))).flat();
          const mask = masks[name];
          const fired = at((a, t) => a.spikes[t][l]).map((s, i) => (mask && s ? mask[i % mask.length] : s));
          expect(Array.from(found.records[`${name}.spikes`].data)).toEqual(fired);
          expect(
            error(
              found.records[`${name}.membranes`].data,
              at((a, t) => a.membranes[t][l]),
            ),
          ).toBeLessThan(1e-4);
          const mean = (of: (a: TwinAnswer) => Float64Array) =>
            Array.from(of(answers[0]), (_, i) => answers.reduce((sum, a) => sum + of(a)[i], 0) / batch);
          const weights = synapses[l].name;
          for (const [key, learned, of] of [
            ["decay", decay, (a: TwinAnswer) => a.decays[l]],
            ["threshold", threshold, (a: TwinAnswer) => a.thresholds[l]],
          ] as const) {
            if (!learned) continue;
            // One number, a sum that may cancel: measured against the largest of a sample.
            const scale = Math.max(...answers.map((a) => Math.abs(of(a)[0])), 1e-3);
            const difference = found.gradients[`${name}.${key}`].data[0] - mean(of)[0];
            expect(Math.abs(difference) / scale, key).toBeLessThan(1e-3);
          }
          if (recurrent) {
            const own = mean((a) => a.recurrents[l] ?? new Float64Array());
            expect(error(found.gradients[`${weights}.recurrent.weight`].data, own)).toBeLessThan(1e-3);
          }
          const weight = mean((a) => a.weights[l]);
          expect(error(found.gradients[`${weights}.weight`].data, weight)).toBeLessThan(1e-3);
          expect(
            error(
              found.gradients[`${weights}.bias`].data,
              mean((a) => a.biases[l]),
            ),
          ).toBeLessThan(1e-3);
        });

        const other = await prepare(c, "scalar");
        const twice = await other.network.gradients(inputs, labels, option);
        expect(bits(twice.outputs.data)).toEqual(bits(found.outputs.data));
        expect(bitsOf(Object.entries(twice.gradients))).toEqual(bitsOf(Object.entries(found.gradients)));
        network.dispose();
        other.network.dispose();
      },
      { numRuns: RUNS },
    );
  });

  it("has the gradient of the network whose spikes are the surrogate's primitive", () => {
    fc.assert(
      fc.property(anyCase, (c) => {
        const random = generator(c.seed);
        const stages: TwinStage[] = [
          {
            ...stage([1, 4, 4], [2, 3, 3], 2, random, { average: c.masked, size: 2 }),
            decay: Float64Array.of(0.8),
            threshold: Float64Array.of(0.4),
          },
          {
            ...stage([2, 1, 1], [3, 1, 1], 0, random),
            recurrent: Float64Array.from({ length: 9 }, () => random() - 0.5),
          },
          stage([3, 1, 1], [3, 1, 1], 0, random),
        ];
        const inputs = Array.from({ length: c.steps }, () => Array.from({ length: 16 }, () => 2 * random()));
        const settings = settingsOf({ ...c, threshold: 0.5 }, true);
        const answer = twin(stages, settings, inputs, 1);
        fc.pre(answer.margin > 1e-3);
        const epsilon = 1e-6;
        stages.forEach((s, l) => {
          for (const [values, gradient] of [
            [s.weight, answer.weights[l]],
            [s.bias, answer.biases[l]],
            [s.recurrent, answer.recurrents[l]],
            [s.decay, answer.decays[l]],
            [s.threshold, answer.thresholds[l]],
          ]) {
            if (!values || !gradient) continue;
            const i = Math.floor(random() * values.length);
            const at = (shift: number) => {
              const old = values[i];
              values[i] = old + shift;
              const { loss } = twin(stages, settings, inputs, 1);
              values[i] = old;
              return loss;
            };
            const slope = (at(epsilon) - at(-epsilon)) / (2 * epsilon);
            // A kink of a maximum or a boxcar within epsilon would show as a difference between the two sides.
            const kink = Math.abs(at(epsilon) - 2 * at(0) + at(-epsilon)) / epsilon;
            if (kink < 1e-4) expect(Math.abs(slope - gradient[i])).toBeLessThan(1e-4 * (1 + Math.abs(slope)));
          }
        });
      }),
      { numRuns: RUNS },
    );
  });

  it("learns a fixed batch", async () => {
    const options: Pick<NetworkOptions, "loss">[] = [
      {},
      { loss: crossEntropy({ on: "rate" }) },
      { loss: squaredError({ on: "rate" }) },
      { loss: squaredError({ on: "membrane" }) },
    ];
    for (const option of options) {
      const network = await createNetwork({
        input: [1, 8, 8],
        encoder: direct({ steps: 8 }),
        method: surrogate({ derivative: "atan" }),
        layers: [conv2d(4, 3), maxPool2d(2), dense(30), dense(4)],
        seed: 3,
        ...option,
      });
      const data = dataset(16, [1, 8, 8], 4);
      const records = await drain(
        network.fit(data, { epochs: 60, batchSize: 16, optimizer: adam({ rate: 0.01 }) }),
      );
      expect(records[records.length - 1].loss).toBeLessThan(0.7 * records[0].loss);
      expect(records[records.length - 1].accuracy).toBeGreaterThan(0.7);
    }
  });

  it("gives direct input the bits of the same frame shown at every step, and step() those of predict()", async () => {
    for (const layers of [
      [dense(70), dense(5)],
      [dense(40, { recurrent: true }), dense(9, { recurrent: true }), dense(5)],
      [conv2d(6, 3, { padding: 1 }), maxPool2d(2), dense(5)],
    ]) {
      const make = (encoder: NetworkOptions["encoder"]) =>
        createNetwork({ input: [2, 6, 6], encoder, method: surrogate({ threshold: 0.4 }), layers, seed: 5 });
      const shown = await make(direct({ steps: 4 }));
      const repeated = await make(spikes({ steps: 4 }));
      const { inputs } = dataset(3, [2, 6, 6], 5);
      const frames = new Float32Array(3 * 4 * 72);
      for (let i = 0; i < 12; i++)
        frames.set(inputs.subarray(Math.floor(i / 4) * 72, Math.floor(i / 4) * 72 + 72), i * 72);
      const answer = (await shown.predict(inputs)).outputs.data;
      expect(bits(answer)).toEqual(bits((await repeated.predict(frames)).outputs.data));
      let live = shown.step(inputs.subarray(0, 72));
      for (let t = 1; t < 4; t++) live = shown.step(inputs.subarray(0, 72));
      expect(bits(live.outputs)).toEqual(bits(answer.slice(0, 5)));
      const trained = await shown.gradients(inputs, [0, 1, 2]);
      expect(bits(trained.outputs.data)).toEqual(bits(answer));
    }
  });

  it("sums the gradient of direct input sample by sample, whatever samples go together", async () => {
    // Groups of 64, a last one of one sample or two; an input that none has, one that a single sample has; 40 and 3 outputs more.
    for (const count of [129, 130]) {
      const { inputs, labels } = dataset(count, [30], 4);
      for (let s = 0; s < count; s++) {
        inputs[s * 30 + 7] = 0;
        if (s !== 100) inputs[s * 30 + 8] = 0;
        for (let i = 0; i < 30; i++) if ((s + i) % 3 === 0) inputs[s * 30 + i] = 0;
      }
      for (const build of ["simd", "scalar"] as const) {
        const network = await createNetwork({
          input: [30],
          encoder: direct({ steps: 3 }),
          method: surrogate({ threshold: 0.2 }),
          loss: crossEntropy({ on: "membrane", reduction: "sum" }),
          layers: [dense(43), dense(4)],
          seed: 3,
          build,
        });
        const whole = await network.gradients(inputs, labels);
        const sums = [new Float32Array(43 * 30), new Float32Array(43)];
        for (let s = 0; s < count; s++) {
          const one = await network.gradients(
            inputs.subarray(s * 30, s * 30 + 30),
            labels.subarray(s, s + 1),
          );
          const own = [one.gradients["layer0.weight"], one.gradients["layer0.bias"]];
          for (const [k, { data }] of own.entries())
            for (let i = 0; i < data.length; i++) sums[k][i] += data[i];
          expect(bits(one.outputs.data)).toEqual(bits(whole.outputs.data.slice(s * 4, s * 4 + 4)));
        }
        expect(bits(whole.gradients["layer0.weight"].data)).toEqual(bits(sums[0]));
        expect(bits(whole.gradients["layer0.bias"].data)).toEqual(bits(sums[1]));
      }
    }
  });

  it("stays finite for one neuron, one step, one sample; silent and always spiking", async () => {
    for (const [scale, label] of [
      [0, "silent"],
      [50, "always"],
    ] as const) {
      for (const reset of ["subtract", "zero"] as const) {
        const network = await createNetwork({
          input: [1],
          encoder: direct({ steps: 1 }),
          method: surrogate({ reset, derivative: "boxcar" }),
          layers: [dense(1), dense(1)],
        });
        network.parameters.set("layer0.weight", Float32Array.of(scale));
        network.parameters.set("layer0.bias", Float32Array.of(0));
        const found = await network.gradients(Float32Array.of(1), [0], { record: ["spikes"] });
        expect(found.records["layer0.spikes"].data[0], label).toBe(scale ? 1 : 0);
        expect(found.loss).toBe(0);
        for (const { data } of Object.values(found.gradients)) expect(data.every(Number.isFinite)).toBe(true);
      }
    }
    const busy = await createNetwork({
      input: [4],
      encoder: direct({ steps: 20 }),
      method: surrogate({ decay: 1 }),
      layers: [dense(33), dense(2)],
    });
    busy.parameters.set("layer0.bias", new Float32Array(33).fill(100));
    const found = await busy.gradients(new Float32Array(8), [0, 1], { record: ["spikes"] });
    expect(found.records["layer0.spikes"].data.every((s) => s === 1)).toBe(true);
    for (const { data } of Object.values(found.gradients)) expect(data.every(Number.isFinite)).toBe(true);
  });

  it("names neurons after their own place where the user lists them, else after the weight layer", async () => {
    const make = (layers: LayerDescriptor[]) =>
      createNetwork({ input: [1, 6, 6], encoder: spikes({ steps: 2 }), method: surrogate(), layers });
    const implicit = await make([conv2d(2, 3), maxPool2d(2), dense(3)]);
    expect(implicit.neurons.map(({ name }) => name)).toEqual(["layer0", "layer2"]);
    const explicit = await make([
      conv2d(2, 3),
      maxPool2d(2),
      neuron({ threshold: 0.5 }),
      dense(3),
      neuron({ name: "out" }),
    ]);
    expect(explicit.neurons.map(({ name }) => name)).toEqual(["layer2", "out"]);
    expect(explicit.parameters.names()).toEqual([
      "layer0.weight",
      "layer0.bias",
      "layer3.weight",
      "layer3.bias",
    ]);
    const loaded = await loadNetwork(explicit.save());
    expect(loaded.neurons).toEqual(explicit.neurons);
    expect(loaded.layers).toEqual(explicit.layers);
    expect(bitsOf(loaded.parameters.entries())).toEqual(bitsOf(explicit.parameters.entries()));
  });

  it("starts weights and biases within ±1/sqrt(fan-in), both signs", async () => {
    const network = await createNetwork({
      input: [100],
      encoder: direct({ steps: 1 }),
      method: surrogate(),
      layers: [dense(300), dense(2)],
    });
    for (const name of ["layer0.weight", "layer0.bias"]) {
      const { data } = network.parameters.get(name);
      expect(Math.max(...data.map(Math.abs))).toBeLessThanOrEqual(0.1);
      expect(Math.max(...data)).toBeGreaterThan(0.09);
      expect(Math.min(...data)).toBeLessThan(-0.09);
    }
  });

  it("gives blocks of samples one result, whatever the batch is cut into", async () => {
    const network = await createNetwork({
      input: [6],
      encoder: direct({ steps: 3 }),
      method: surrogate({ threshold: 0.3 }),
      layers: [dense(20), dense(3)],
      loss: crossEntropy({ on: "membrane", reduction: "sum" }),
    });
    const { inputs, labels } = dataset(19, [6], 3);
    const all = await network.gradients(inputs, labels);
    const sum: Record<string, Float64Array> = {};
    for (let b = 0; b < 19; b++) {
      const { gradients } = await network.gradients(inputs.slice(b * 6, b * 6 + 6), [labels[b]]);
      for (const [name, { data }] of Object.entries(gradients)) {
        sum[name] ??= new Float64Array(data.length);
        data.forEach((g, i) => {
          sum[name][i] += g;
        });
      }
    }
    for (const [name, { data }] of Object.entries(all.gradients))
      expect(error(data, sum[name])).toBeLessThan(1e-5);
  });

  it("refuses what it cannot do, and says why", async () => {
    const make = (layers: LayerDescriptor[], more: Partial<NetworkOptions> = {}) =>
      failure(() =>
        createNetwork({
          input: [1, 6, 6],
          encoder: direct({ steps: 2 }),
          method: surrogate(),
          layers,
          ...more,
        }),
      );
    expect((await make([maxPool2d(2), dense(2)])).message).toContain("acts on currents");
    expect((await make([conv2d(2, 3), neuron(), maxPool2d(2), dense(2), neuron()])).message).toContain(
      "acts on currents",
    );
    expect((await make([conv2d(2, 3)])).message).toContain("a dense layer as the last one");
    expect((await make([dense(3), neuron({ readout: true })])).message).toContain(
      "all neurons of surrogate spike",
    );
    expect((await make([dense(3), dropout(0.5)])).message).toContain("no dropout on the answer");
    expect((await make([dropout(0.5), dense(3)])).message).toContain("after a neuron");
    expect((await make([conv2d(2, 3), residual([conv2d(2, 1)]), dense(2)])).message).toContain("residual");
    expect((await make([dense(3), dense(2, { name: "layer0" })])).message).toContain("no other layer has");
    expect((await make([dense(2, { recurrent: true })])).message).toContain("unless the loss reads its rate");
    const other = { method: lee() };
    expect((await make([dense(3, { recurrent: true }), dense(2)], other)).message).toContain(
      "no recurrent layers",
    );
    const learning = [dense(3), neuron({ learnDecay: true }), dense(2), neuron({ readout: true })];
    expect((await make(learning, other)).message).toContain("learns weights alone");
    const on = { method: lee(), loss: crossEntropy({ on: "rate" }) };
    expect((await make([dense(2)], on)).message).toContain("lee has one answer");
    expect((await failure(() => surrogate({ slope: 0 }))).message).toContain("slope");
    expect((await failure(() => surrogate({ derivative: "boxcar", slope: 3 }))).message).toContain(
      "no slope",
    );
    expect((await failure(() => surrogate({ synapticDecay: 1 }))).message).toContain("less than 1");
    expect((await failure(() => surrogate({ derivative: "tanh" as never }))).message).toContain(
      "fastSigmoid",
    );
  });
});

function stage(
  from: number[],
  to: number[],
  kernel: number,
  random: () => number,
  pool?: TwinStage["pool"],
): TwinStage {
  const count = kernel ? to[0] * from[0] * kernel * kernel : to[0] * from[0];
  return {
    from,
    to,
    kernel,
    padding: 0,
    stride: 1,
    pool,
    weight: Float64Array.from({ length: count }, () => 2 * random() - 0.7),
    bias: Float64Array.from({ length: to[0] }, () => random() - 0.5),
  };
}

describe("encoders", () => {
  const train = async (encoder: NetworkOptions["encoder"], x: number[], epoch = 0) => {
    // Each input drives a neuron of its own past its threshold.
    const n = x.length;
    const network = await createNetwork({
      input: [n],
      encoder,
      method: surrogate({ decay: 0, reset: "zero" }),
      layers: [dense(n), dense(2)],
      seed: 9,
    });
    const eye = new Float32Array(n * n);
    for (let i = 0; i < n; i++) eye[i * n + i] = 2;
    network.parameters.set("layer0.weight", eye);
    network.parameters.set("layer0.bias", new Float32Array(n));
    const { records } = await network.gradients(Float32Array.from(x), [0], { record: ["spikes"], epoch });
    const { data, shape } = records["layer0.spikes"];
    return Array.from({ length: n }, (_, i) => {
      const times: number[] = [];
      for (let t = 0; t < shape[0]; t++) if (data[t * n + i]) times.push(t);
      return times;
    });
  };

  it("latency: one spike, brighter earlier, none below the threshold", async () => {
    const times = await train(latency({ steps: 11, threshold: 0.05 }), [1, 0.9, 0.5, 0.05, 0.04, 0, 0.96]);
    expect(times).toEqual([[0], [1], [5], [10], [], [], [0]]);
    expect(await train(latency({ steps: 1 }), [1, 0.5, 0])).toEqual([[0], [0], []]);
  });

  it("latency: noise moves spikes by a few steps, the same for the same epoch and sample", async () => {
    const x = Array.from({ length: 40 }, () => 0.5);
    const encoder = latency({ steps: 21, noise: 3 });
    const first = await train(encoder, x);
    expect(first.every((times) => times.length === 1 && Math.abs(times[0] - 10) <= 3)).toBe(true);
    expect(new Set(first.flat()).size).toBeGreaterThan(3);
    expect(await train(encoder, x)).toEqual(first);
    expect(await train(encoder, x, 1)).not.toEqual(first);
  });

  it("latency and direct refuse values they cannot take", async () => {
    const network = await createNetwork({
      input: [2],
      encoder: latency({ steps: 3 }),
      method: surrogate(),
      layers: [dense(2)],
    });
    expect((await failure(() => network.predict(Float32Array.of(0, 1.5)))).message).toContain("0 to 1");
    expect((await failure(() => latency({ steps: 0 }))).message).toContain("latency.steps");
    expect((await failure(() => latency({ steps: 2, threshold: 2 }))).message).toContain("latency.threshold");
    expect((await failure(() => direct({ steps: 1.5 }))).message).toContain("direct.steps");
  });

  it("direct and latency serve lee too", async () => {
    for (const encoder of [direct({ steps: 6 }), latency({ steps: 6 })]) {
      const network = await createNetwork({
        input: [12],
        encoder,
        method: lee(),
        layers: [dense(20), dense(3)],
      });
      const records = await drain(
        network.fit(dataset(8, [12], 3), { epochs: 2, batchSize: 4, optimizer: sgd({ rate: 0.01 }) }),
      );
      expect(records.every(({ loss }) => Number.isFinite(loss))).toBe(true);
    }
  });
});
