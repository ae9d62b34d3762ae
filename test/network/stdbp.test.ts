// stdbp against its equations: exact properties, a plain reading of the potential in f64, finite differences, corner cases.
import fc from "fast-check";
import {
  adam,
  avgPool2d,
  batchNorm,
  conv2d,
  createNetwork,
  crossEntropy,
  dense,
  dropout,
  earliestPool2d,
  firstSpike,
  lee,
  loadNetwork,
  maxPool2d,
  type Network,
  type NetworkOptions,
  NonFiniteError,
  neuron,
  poisson,
  residual,
  StateError,
  sgd,
  squaredError,
  stdbp,
  type Tensor,
  times,
} from "spikegrad";
import { describe, expect, it } from "vitest";
import { generator } from "./cases.ts";
import { bits, bitsOf, dataset, drain, failure } from "./support.ts";

const never = Number.POSITIVE_INFINITY;

/** A network of spike times with weights set by hand. */
async function made(
  option: Partial<NetworkOptions> & Pick<NetworkOptions, "input" | "layers">,
  weights: Readonly<Record<string, readonly number[]>> = {},
): Promise<Network> {
  const network = await createNetwork({ encoder: times(), method: stdbp(), ...option });
  for (const [name, values] of Object.entries(weights))
    network.parameters.set(name, Float32Array.from(values));
  return network;
}

async function timesOf(network: Network, inputs: readonly number[] | Float32Array): Promise<number[]> {
  return [...(await network.predict(Float32Array.from(inputs))).outputs.data];
}

describe("one neuron", () => {
  const one = (weights: readonly number[], threshold = 1) =>
    made(
      { input: [weights.length], layers: [dense(1, { name: "d" })], method: stdbp({ threshold }) },
      { "d.weight": weights },
    );

  it("fires where the line reaches the threshold", async () => {
    expect(await timesOf(await one([2]), [0.25])).toEqual([0.75]);
    expect(await timesOf(await one([2, 2]), [0, 0.25])).toEqual([0.375]);
    expect(await timesOf(await one([1, 7]), [-3, 5])).toEqual([-2]);
    expect(await timesOf(await one([1], 4), [1])).toEqual([5]);
  });

  it("does not hear what comes after its spike", async () => {
    expect(await timesOf(await one([2, -9]), [0, 0.5])).toEqual([0.5]);
    expect(await timesOf(await one([2, -9]), [0, 0.25])).toEqual([never]);
  });

  it("stays silent without a rising line", async () => {
    expect(await timesOf(await one([-1]), [0])).toEqual([never]);
    expect(await timesOf(await one([0]), [0])).toEqual([never]);
    expect(await timesOf(await one([1]), [never])).toEqual([never]);
    // The last line rises too slowly for any number.
    expect(await timesOf(await one([1e-40]), [0])).toEqual([never]);
  });

  it("hears inputs at the same time together, whatever their order", async () => {
    expect(await timesOf(await one([8, -8, 2]), [0.5, 0.5, 0.5])).toEqual([1]);
    expect(await timesOf(await one([-8, 2, 8]), [0.5, 0.5, 0.5])).toEqual([1]);
    expect(await timesOf(await one([8, -8, 2]), [0, -0, 0])).toEqual([0.5]);
  });

  it("has the gradients of its equation", async () => {
    const network = await one([1, 3, 5]);
    const { outputs } = await network.forward(Float32Array.of(0, 0.5, 9));
    // A = 4, t = (1 + 1.5) / 4
    expect(outputs.data[0]).toBe(0.625);
    const { "d.weight": gradient } = await network.backward(Float32Array.of(2));
    expect([...gradient.data]).toEqual([(2 * -0.625) / 4, (2 * -0.125) / 4, 0]);
  });
});

/** A random network: weights, input times with ties and silence, layers. */
const anyNetwork = fc.record({
  seed: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
  batch: fc.integer({ min: 1, max: 3 }),
  conv: fc.boolean(),
  side: fc.integer({ min: 3, max: 7 }),
  channels: fc.integer({ min: 1, max: 3 }),
  kernel: fc.integer({ min: 1, max: 3 }),
  stride: fc.integer({ min: 1, max: 2 }),
  padding: fc.integer({ min: 0, max: 1 }),
  out: fc.integer({ min: 1, max: 18 }),
  pool: fc.boolean(),
  hidden: fc.integer({ min: 1, max: 40 }),
  classes: fc.integer({ min: 1, max: 17 }),
  silent: fc.double({ min: 0, max: 0.9, noNaN: true }),
});
type Case = typeof anyNetwork extends fc.Arbitrary<infer T> ? T : never;

async function build(c: Case, build: "simd" | "scalar", scale = 1, threshold = 1) {
  const random = generator(c.seed);
  const size = (c.side + 2 * c.padding - c.kernel) / c.stride + 1;
  const pooled = c.pool && size >= 2;
  const network = await createNetwork({
    input: [c.channels, c.side, c.side],
    encoder: times(),
    method: stdbp({ threshold, silentDelay: 1 }),
    layers: [
      ...(c.conv ? [conv2d(c.out, c.kernel, { stride: c.stride, padding: c.padding })] : []),
      ...(c.conv && pooled ? [earliestPool2d(2)] : []),
      dense(c.hidden),
      dense(c.classes),
    ],
    seed: c.seed,
    build,
  });
  for (const [name, { data }] of network.parameters.entries()) {
    network.parameters.set(
      name,
      data.map((w) => w * 2 * scale),
    );
  }
  const inputs = Float32Array.from({ length: c.batch * c.channels * c.side * c.side }, () =>
    random() < c.silent ? never : Math.floor(random() * 16) / 16,
  );
  const labels = Int32Array.from({ length: c.batch }, () => Math.floor(random() * c.classes));
  return { network, inputs, labels };
}

const answersOf = async ({
  network,
  inputs,
  labels,
}: {
  network: Network;
  inputs: Float32Array;
  labels: Int32Array;
}) => network.gradients(inputs, labels, { record: ["spikeTimes"] });

function sameBits(a: Record<string, Tensor>, b: Record<string, Tensor>) {
  expect(bitsOf(Object.entries(a))).toEqual(bitsOf(Object.entries(b)));
}

describe("any network", () => {
  it("gives the same bits in both builds", async () => {
    await fc.assert(
      fc.asyncProperty(anyNetwork, async (c) => {
        const [a, b] = [await answersOf(await build(c, "simd")), await answersOf(await build(c, "scalar"))];
        sameBits({ ...a.records, ...a.gradients }, { ...b.records, ...b.gradients });
        expect(a.loss).toBe(b.loss);
      }),
      { numRuns: 100 },
    );
  });

  it("does not see weights and thresholds doubled", async () => {
    await fc.assert(
      fc.asyncProperty(anyNetwork, async (c) => {
        const [a, b] = [
          await answersOf(await build(c, "simd")),
          await answersOf(await build(c, "simd", 2, 2)),
        ];
        sameBits(a.records, b.records);
      }),
      { numRuns: 50 },
    );
  });

  it("doubles all times with the input times and thresholds", async () => {
    await fc.assert(
      fc.asyncProperty(anyNetwork, async (c) => {
        const a = await answersOf(await build(c, "simd"));
        const slow = await build(c, "simd", 1, 2);
        const b = await answersOf({ ...slow, inputs: slow.inputs.map((t) => 2 * t) });
        for (const [name, { data }] of Object.entries(a.records)) {
          expect(bits(b.records[name].data)).toEqual(bits(data.map((t) => 2 * t)));
        }
      }),
      { numRuns: 50 },
    );
  });

  it("shifts the first layer's times with the input times", async () => {
    await fc.assert(
      fc.asyncProperty(anyNetwork, fc.integer({ min: -8, max: 8 }), async (c, shift) => {
        const a = await build(c, "simd");
        const first = async (inputs: Float32Array) =>
          (await answersOf({ ...a, inputs })).records["layer0.spikeTimes"].data;
        const [before, after] = [await first(a.inputs), await first(a.inputs.map((t) => t + shift))];
        before.forEach((t, i) => {
          if (t === never) expect(after[i]).toBe(never);
          else expect(Math.abs(after[i] - t - shift)).toBeLessThanOrEqual(1e-6 * (Math.abs(t) + 8));
        });
      }),
      { numRuns: 50 },
    );
  });

  it("fires when its potential says so, read in f64", async () => {
    await fc.assert(
      fc.asyncProperty(anyNetwork, async (c) => {
        const made = await build({ ...c, conv: false }, "simd");
        const { records } = await answersOf(made);
        let before: Float32Array = made.inputs;
        for (const name of ["layer0", "layer1"]) {
          const { shape, data: w } = made.network.parameters.get(`${name}.weight`);
          const [outputs, inputs] = shape;
          const fired = records[`${name}.spikeTimes`].data;
          for (let b = 0; b < c.batch; b++) {
            for (let j = 0; j < outputs; j++) {
              const t = fired[b * outputs + j];
              const heard = [...before.subarray(b * inputs, (b + 1) * inputs)];
              checkTime(heard, [...w.subarray(j * inputs, (j + 1) * inputs)], t);
            }
          }
          before = fired;
        }
      }),
      { numRuns: 100 },
    );
  });
});

/** The potential at t is the threshold, below it before, and never reaches it if the neuron is silent. */
function checkTime(inputs: readonly number[], w: readonly number[], t: number): void {
  const potential = (at: number) => inputs.reduce((sum, ti, i) => sum + (ti < at ? w[i] * (at - ti) : 0), 0);
  const tolerance = (at: number) =>
    1e-5 * (1 + inputs.reduce((sum, ti, i) => sum + (ti < at ? Math.abs(w[i]) * (at - ti) : 0), 0));
  if (t < never) expect(Math.abs(potential(t) - 1)).toBeLessThanOrEqual(tolerance(t));
  for (const ti of inputs) {
    if (ti < t && ti < never) expect(potential(ti)).toBeLessThanOrEqual(1 + tolerance(ti));
  }
  if (t === never) {
    const slope = inputs.reduce((sum, ti, i) => sum + (ti < never ? w[i] : 0), 0);
    expect(slope).toBeLessThanOrEqual(1e-5);
  }
}

describe("gradients", () => {
  const options = [
    stdbp(),
    stdbp({ temperature: 0.25 }),
    stdbp({ weightSumPenalty: 3, threshold: 2 }),
    stdbp({ temperature: 0.5, threshold: 0.5 }),
  ];

  it.each(
    options,
  )("are those of finite differences, temperature $temperature, threshold $threshold, penalty $weightSumPenalty", async (method) => {
    const random = generator(7);
    const network = await createNetwork({
      input: [1, 6, 6],
      encoder: times(),
      method,
      layers: [conv2d(3, 3, { padding: 1 }), earliestPool2d(2), dense(12), dense(4)],
      seed: 3,
    });
    for (const [name, { data }] of network.parameters.entries()) {
      network.parameters.set(
        name,
        data.map((w) => 2 * w + (name === "layer3.weight" ? 0.5 : 0.15)),
      );
    }
    const inputs = Float32Array.from({ length: 2 * 36 }, () => (random() < 0.3 ? never : random()));
    const labels = [0, 2];
    const { gradients, records } = await network.gradients(inputs, labels, { record: ["spikeTimes"] });
    expect([...records["layer2.spikeTimes"].data].some((t) => t < never)).toBe(true);
    for (const name of network.parameters.names()) {
      const { data } = network.parameters.get(name);
      const scale = gradients[name].data.reduce((top, g) => Math.max(top, Math.abs(g)), 0);
      expect(scale).toBeGreaterThan(0);
      let far = 0;
      for (let i = 0; i < data.length; i++) {
        const h = 2 ** -11;
        const lossAt = async (w: number) => {
          const moved = data.slice();
          moved[i] = w;
          network.parameters.set(name, moved);
          return (await network.gradients(inputs, labels)).loss;
        };
        const slope = ((await lossAt(data[i] + h)) - (await lossAt(data[i] - h))) / (2 * h);
        if (Math.abs(slope - gradients[name].data[i]) > 0.03 * scale) far++;
      }
      network.parameters.set(name, data);
      // A step may carry a spike over the next input, or a neuron into silence: there the loss has a kink or a jump.
      expect(far / data.length).toBeLessThan(0.05);
    }
  });

  it("go to the first of equal times in a pool", async () => {
    const network = await made(
      { input: [1, 1, 4], layers: [conv2d(1, 1, { name: "c" }), dense(1, { name: "d" })] },
      { "c.weight": [2], "d.weight": [1, 1, 1, 1] },
    );
    await expect(timesOf(network, [0, 0, 0, 0])).resolves.toEqual([0.75]);
    const pooled = await made(
      { input: [1, 2, 2], layers: [conv2d(1, 1, { name: "c" }), earliestPool2d(2), dense(1, { name: "d" })] },
      { "c.weight": [2], "d.weight": [1] },
    );
    await expect(timesOf(pooled, [0.5, 0.25, 0.25, 1])).resolves.toEqual([1.75]);
    await pooled.forward(Float32Array.of(0.5, 0.25, 0.25, 1));
    // One route only: dt/dw = -(0.5) / 2 of one tap.
    expect((await pooled.backward(Float32Array.of(1)))["c.weight"].data[0]).toBe(-0.25);
  });

  it("are bounded and dropped on demand", async () => {
    const steep = async (method: ReturnType<typeof stdbp>) => {
      const network = await made(
        { input: [1], layers: [dense(1, { name: "d" })], method },
        { "d.weight": [0.0625] },
      );
      await network.forward(Float32Array.of(0));
      return (await network.backward(Float32Array.of(1)))["d.weight"].data[0];
    };
    expect(await steep(stdbp())).toBe(-16 * 16);
    expect(await steep(stdbp({ inverseBound: 4 }))).toBe(-16 * 4);
    expect(await steep(stdbp({ gradientLimit: 15 }))).toBe(0);
    expect(await steep(stdbp({ gradientLimit: 16 }))).toBe(-16 * 16);
  });
});

describe("silence", () => {
  const mute = (method = stdbp()) =>
    made(
      { input: [2], layers: [dense(3, { name: "a" }), dense(2, { name: "b" })], method },
      { "a.weight": [-1, -1, -1, -1, -1, -1], "b.weight": [1, 1, 1, 1, 1, 1] },
    );

  it("of all neurons is an answer, and an infinite loss", async () => {
    const network = await mute();
    const { outputs, classes } = await network.predict(Float32Array.of(0, 1));
    expect([...outputs.data]).toEqual([never, never]);
    expect([...classes]).toEqual([0]);
    const data = { inputs: Float32Array.of(0, 1), labels: Int32Array.of(1), shape: [2], classes: 2 };
    const evaluation = await network.evaluate(data);
    expect(evaluation.loss).toBe(never);
    expect(evaluation.layers.map(({ rate }) => rate)).toEqual([1, 0, 0]);
    await expect(network.gradients(data.inputs, [1])).rejects.toThrow(NonFiniteError);
    await expect(drain(network.fit(data, { optimizer: sgd({ rate: 1 }) }))).rejects.toThrow(NonFiniteError);
  });

  it("stands in for a late spike with a delay", async () => {
    const network = await mute(stdbp({ silentDelay: 0.5 }));
    const { loss, gradients } = await network.gradients(Float32Array.of(0, 1), [1]);
    expect(loss).toBeCloseTo(Math.log(2), 6);
    for (const { data } of Object.values(gradients)) expect([...data].every((g) => g === 0)).toBe(true);
  });

  it("of the label's output is nudged on demand", async () => {
    const network = await made(
      {
        input: [2],
        layers: [dense(2, { name: "d" })],
        method: stdbp({ silentDelay: 1, labelNudge: 2 }),
      },
      { "d.weight": [1, 0, -1, 0] },
    );
    // Outputs 1 and silence, which stands at 2: p = softmax(-1, -2), dL/dt_1 = 1 - p_1, dw = dL/dt · 2 (t_i - 2).
    const { gradients, outputs } = await network.gradients(Float32Array.of(0, 0.5), [1]);
    expect([...outputs.data]).toEqual([1, never]);
    const p = 1 / (1 + Math.exp(1));
    const wanted = [p - 1, (p - 1) * 0.5, (1 - p) * 2 * -2, (1 - p) * 2 * -1.5];
    // The first output: dL/dt_0 = -p_0 = p - 1, A = 1, t = 1.
    gradients["d.weight"].data.forEach((g, i) => {
      expect(g).toBeCloseTo(i < 2 ? -wanted[i] : wanted[i], 5);
    });
  });

  it("for a whole batch adds a nudge to the weights, twice as much each time", async () => {
    const network = await mute(stdbp({ silentDelay: 1, silentNudge: 0.125 }));
    const data = { inputs: Float32Array.of(0, 1), labels: Int32Array.of(1), shape: [2], classes: 2 };
    const optimizer = sgd({ rate: 1e-30 });
    const seen: number[] = [];
    for await (const _ of network.fit(data, { epochs: 5, optimizer })) {
      seen.push(network.parameters.get("a.weight").data[0]);
    }
    // Weights of 0.875 let the neurons fire in the fifth batch.
    expect(seen).toEqual([-0.875, -0.625, -0.125, 0.875, 0.875]);
    expect([...network.parameters.get("a.nudge").data]).toEqual([0, 0, 0]);
    expect(Object.keys((await network.gradients(data.inputs, [1])).gradients)).toEqual([
      "a.weight",
      "b.weight",
    ]);
  });
});

describe("training", () => {
  const data = { ...dataset(48, [1, 6, 6], 3, { seed: 5 }) };
  const options = (seed = 1): NetworkOptions => ({
    input: [1, 6, 6],
    encoder: firstSpike({ noise: 0.02 }),
    method: stdbp({
      temperature: 0.1,
      weightSumPenalty: 1,
      inverseBound: 10,
      silentDelay: 0.5,
      silentNudge: 0.01,
    }),
    layers: [conv2d(4, 3), earliestPool2d(2), dense(24), dense(3)],
    seed,
  });

  it("makes the loss of a fixed batch fall", async () => {
    const network = await createNetwork(options());
    const epochs = await drain(
      network.fit(data, { epochs: 60, batchSize: 48, optimizer: adam({ rate: 1e-2 }) }),
    );
    expect(epochs[epochs.length - 1].loss).toBeLessThan(0.5 * epochs[0].loss);
    expect(epochs[0].spikesPerNeuron).toBeGreaterThan(0);
    expect(epochs[0].spikesPerNeuron).toBeLessThanOrEqual(1);
  });

  it("resumes with the same bits, also the nudges", async () => {
    const setting = { epochs: 3, batchSize: 16, optimizer: adam({ rate: 1e-2 }) };
    const whole = await createNetwork(options());
    await drain(whole.fit(data, setting));
    const first = await createNetwork(options());
    let bytes: Uint8Array = new Uint8Array();
    for await (const { epoch, step } of first.fit(data, setting)) {
      if (epoch === 1 && step === 1) {
        bytes = first.checkpoint();
        break;
      }
    }
    const second = await loadNetwork(bytes);
    await drain(second.fit(data, { resume: bytes }));
    expect(bitsOf(second.parameters.entries())).toEqual(bitsOf(whole.parameters.entries()));
  });

  it("puts noise on times only while training", async () => {
    const noisy = await createNetwork(options());
    const still = await createNetwork({ ...options(), encoder: firstSpike() });
    const inputs = data.inputs.subarray(0, 36);
    expect((await noisy.predict(inputs)).outputs).toEqual((await still.predict(inputs)).outputs);
    const of = async (network: Network, epoch: number) =>
      (await network.gradients(inputs, [0], { epoch })).outputs;
    expect(await of(noisy, 0)).not.toEqual(await of(still, 0));
    expect(await of(noisy, 0)).not.toEqual(await of(noisy, 1));
    expect(await of(noisy, 1)).toEqual(await of(noisy, 1));
  });

  it("of a batch is the mean over its samples, or their sum", async () => {
    const labels = data.labels.subarray(0, 2);
    const of = async (reduction: "mean" | "sum") =>
      (
        await createNetwork({ ...options(), encoder: firstSpike(), loss: crossEntropy({ reduction }) })
      ).gradients(data.inputs.subarray(0, 72), labels);
    const [mean, sum] = [await of("mean"), await of("sum")];
    const penalty = 2 * mean.loss - sum.loss; // counted once in each
    expect(penalty).toBeGreaterThan(0);
    expect(penalty).toBeLessThan(mean.loss);
  });

  it("encodes brightness as earliness, darkness as silence", async () => {
    const network = await createNetwork({
      input: [3],
      encoder: firstSpike({ silentBelow: 0.5 }),
      method: stdbp(),
      layers: [dense(3, { name: "d" })],
    });
    network.parameters.set("d.weight", Float32Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1));
    expect(await timesOf(network, [1, 0.5, 0.25])).toEqual([1, 1.5, never]);
    const bytes = await network.predict(Uint8Array.of(255, 255, 0));
    expect([...bytes.outputs.data]).toEqual([1, 1, never]);
  });
});

describe("what stdbp refuses", () => {
  const net = (option: Partial<NetworkOptions>) =>
    createNetwork({ input: [1, 4, 4], encoder: times(), method: stdbp(), layers: [dense(2)], ...option });

  it.each([
    ["avgPool2d", [avgPool2d(2), dense(2)], "earliestPool2d"],
    ["maxPool2d", [maxPool2d(2), dense(2)], "earliestPool2d"],
    ["dropout", [dense(4), dropout(0.5), dense(2)], "noise on the input times"],
    ["batchNorm", [conv2d(2, 3), batchNorm(), neuron(), dense(2), neuron()], "no current"],
    ["residual", [conv2d(2, 1), residual([conv2d(2, 1)]), dense(2)], "cannot be added"],
    ["a convolution at the end", [conv2d(2, 3)], "a dense layer as the last one"],
    ["a readout", [dense(2), neuron({ readout: true })], "the time of a spike"],
    ["windows too large", [earliestPool2d(5), dense(2)], "at most 4"],
    ["kernels too large", [conv2d(2, 5), dense(2)], "at most 4"],
  ] as const)("%s, and says why", async (_, layers, reason) => {
    const error = await failure(() => net({ layers }));
    expect(error.code).toBe("ERR_ARGUMENT");
    expect(error.message).toContain(reason);
  });

  it("time steps: their encoders, and step()", async () => {
    expect((await failure(() => net({ encoder: poisson({ steps: 3 }) }))).message).toContain(
      "times() or firstSpike()",
    );
    expect((await failure(() => net({ method: lee() }))).message).toContain("continuous time");
    const network = await net({});
    expect(network.steps).toBe(1);
    expect(() => network.step(new Float32Array(16))).toThrow(StateError);
  });

  it("times that are no times, and records of steps", async () => {
    const network = await net({});
    for (const bad of [Number.NaN, Number.NEGATIVE_INFINITY]) {
      const error = await failure(() => network.predict(new Float32Array(16).fill(bad)));
      expect(error.message).toContain("Infinity for no spike");
    }
    const error = await failure(() => network.gradients(new Float32Array(16), [0], { record: ["spikes"] }));
    expect(error.message).toContain("spikeTimes");
  });

  it("settings out of range", async () => {
    expect(() => stdbp({ threshold: 0 })).toThrow("greater than 0");
    expect(() => stdbp({ temperature: -1 })).toThrow("greater than 0");
    expect(() => stdbp({ labelNudge: 1 })).toThrow("silentDelay");
    expect(() => stdbp({ inverseBound: Number.NaN })).toThrow("from 0");
    expect(() => stdbp({ weights: 1 } as never)).toThrow("no such option");
    expect(() => firstSpike({ silentBelow: 2 })).toThrow("from 0 to 1");
    expect(() => times({ steps: 4 as never })).toThrow("continuous");
    expect((await failure(() => net({ loss: squaredError() }))).message).toContain("crossEntropy");
  });
});

describe("a network of spike times", () => {
  it("survives its file", async () => {
    const network = await createNetwork({
      input: [2, 5, 5],
      encoder: firstSpike({ silentBelow: 0.1, noise: 0.05 }),
      method: stdbp({ temperature: 0.3 }),
      layers: [conv2d(3, 3), earliestPool2d(2), dense(4)],
      seed: 9,
    });
    const copy = await loadNetwork(network.save());
    expect(copy.description).toEqual(network.description);
    const inputs = dataset(3, [2, 5, 5], 4).inputs;
    expect(await copy.predict(inputs)).toEqual(await network.predict(inputs));
  });

  it("counts spikes and operations", async () => {
    const network = await made(
      { input: [1, 3, 3], layers: [conv2d(2, 2, { name: "c" }), dense(1, { name: "d" })] },
      { "c.weight": [1, 1, 1, 1, -1, -1, -1, -1], "d.weight": [1, 1, 1, 1, 1, 1, 1, 1] },
    );
    const inputs = Float32Array.of(0, never, never, never, 0, never, never, never, never);
    const found = await network.evaluate({ inputs, labels: Int32Array.of(0), shape: [1, 3, 3], classes: 1 });
    // A corner reaches 1 position, the centre 4, of 2 channels each; the 4 spikes of channel 0 reach 1 neuron.
    expect(found.synapticOperations).toBe(2 * (1 + 4) + 4);
    expect(found.denseOperations).toBe(4 * 2 * 4 + 8);
    expect(found.layers.map(({ spikes }) => spikes)).toEqual([2, 4, 1]);
  });

  it("gives the same answers one by one and in a batch", async () => {
    const network = await createNetwork({
      input: [40],
      encoder: firstSpike(),
      method: stdbp(),
      layers: [dense(33), dense(5)],
    });
    const { inputs } = dataset(37, [40], 5);
    const together = (await network.predict(inputs)).outputs.data;
    for (const i of [0, 17, 36]) {
      const alone = (await network.predict(inputs.subarray(i * 40, (i + 1) * 40))).outputs.data;
      expect(bits(alone)).toEqual(bits(together.slice(i * 5, (i + 1) * 5)));
    }
  });
});
