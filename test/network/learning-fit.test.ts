import {
  ArgumentError,
  adam,
  adamax,
  adamw,
  conv2d,
  cosine,
  createNetwork,
  type Dataset,
  dense,
  dropout,
  type FitOptions,
  lee,
  loadNetwork,
  type Network,
  NonFiniteError,
  type OptimizerDescriptor,
  type Progress,
  type ScheduleDescriptor,
  sgd,
  spikes,
  stepDecay,
} from "spikegrad";
import { readSafetensors, toFloat32 } from "spikegrad/io";
import { describe, expect, it } from "vitest";
import { generator } from "./cases.ts";

const STEPS = 4;
const SIDE = 4;
const CLASSES = 3;
const LENGTH = STEPS * SIDE * SIDE;

/** Spike trains in which a class is busy in its own rows. */
function data(samples: number, seed = 1): Dataset {
  const random = generator(seed);
  const inputs = new Float32Array(samples * LENGTH);
  const labels = new Uint8Array(samples);
  for (let i = 0; i < samples; i++) {
    labels[i] = Math.floor(random() * CLASSES);
    for (let k = 0; k < LENGTH; k++) {
      const row = Math.floor(k / SIDE) % SIDE;
      inputs[i * LENGTH + k] = random() < (row === labels[i] ? 0.8 : 0.2) ? 1 : 0;
    }
  }
  return { inputs, shape: [STEPS, 1, SIDE, SIDE], labels, classes: CLASSES };
}

function make(build: "simd" | "scalar" = "simd"): Promise<Network> {
  return createNetwork({
    input: [1, SIDE, SIDE],
    encoder: spikes({ steps: STEPS }),
    method: lee({ leak: 0.9, threshold: 0.7 }),
    layers: [conv2d(5, 3, { padding: 1 }), dropout(0.2), dense(9, { name: "hidden" }), dense(CLASSES)],
    seed: 11,
    build,
  });
}

async function run(network: Network, set: Dataset, option: FitOptions): Promise<Progress[]> {
  const records: Progress[] = [];
  for await (const record of network.fit(set, option)) records.push(record);
  return records;
}

const OPTIMIZERS: OptimizerDescriptor[] = [
  sgd({ rate: 0.02, momentum: 0.9, weightDecay: 1e-3 }),
  adam({ rate: 0.01, weightDecay: 1e-3 }),
  adamw({ rate: 0.01 }),
  adamax({ rate: 0.01, betas: [0, 0.95] }),
];

const train = data(23);
const validation = data(17, 2);

describe("fit", () => {
  it.each(OPTIMIZERS)("learns with $kind, to the same bits in both builds", async (optimizer) => {
    const option = { epochs: 6, batchSize: 5, optimizer, clip: { value: 0.5, norm: 1 } };
    const [simd, scalar] = [await make("simd"), await make("scalar")];
    const records = await run(simd, train, option);
    await run(scalar, train, option);
    expect(records[records.length - 1].epochLoss).toBeLessThan(0.9 * records[4].epochLoss);
    expect(simd.checkpoint()).toEqual(scalar.checkpoint());
  });

  it.each(OPTIMIZERS)("resumes with $kind and every setting to the same bits", async (optimizer) => {
    const option: FitOptions = {
      epochs: 5,
      batchSize: 5,
      optimizer,
      schedule: cosine({ warmup: 2, ramp: "reciprocal" }),
      rates: { hidden: 0.5 },
      frozen: ["layer0"],
      clip: { norm: 0.8 },
      validation,
      validateEvery: 2,
      keepBest: true,
      patience: 2,
      onNonFinite: "skip",
    };
    const whole = await make();
    const stops: Uint8Array[] = [];
    const records: Progress[] = [];
    for await (const record of whole.fit(train, option)) {
      records.push(record);
      stops.push(whole.checkpoint());
    }
    for (const at of [0, 7, 9, 14]) {
      const network = await loadNetwork(stops[at]);
      const rest = await run(network, train, { resume: stops[at], validation });
      const bare = ({ samplesPerSecond: _, secondsLeft: __, ...record }: Progress) => record;
      expect(rest.map(bare)).toEqual(records.slice(at + 1).map(bare));
      expect(network.checkpoint()).toEqual(whole.checkpoint());
    }
  });

  it("leaves frozen layers and their state alone", async () => {
    const network = await make();
    const before = network.parameters.get("hidden.weight");
    const other = network.parameters.get("layer0.weight");
    await run(network, train, { optimizer: adam({ rate: 0.01 }), frozen: ["hidden"] });
    expect(network.parameters.get("hidden.weight")).toEqual(before);
    expect(network.parameters.get("layer0.weight")).not.toEqual(other);
    const { tensors } = readSafetensors(network.checkpoint());
    const state = (name: string) => {
      const tensor = tensors.get(name);
      if (tensor === undefined) throw new Error(`no ${name}`);
      return toFloat32(tensor);
    };
    expect(state("optimizer/square.hidden.weight").every((x) => x === 0)).toBe(true);
    expect(state("optimizer/square.layer0.weight").every((x) => x === 0)).toBe(false);
  });

  it("multiplies the rate of a layer", async () => {
    const [plain, scaled] = [await make(), await make()];
    const option = { batchSize: 23, optimizer: sgd({ rate: 0.01 }) };
    const start = plain.parameters.get("hidden.weight").data;
    await run(plain, train, option);
    await run(scaled, train, { ...option, rates: { hidden: 4 } });
    expect(scaled.parameters.get("layer0.weight")).toEqual(plain.parameters.get("layer0.weight"));
    const [slow, fast] = [plain, scaled].map((network) => network.parameters.get("hidden.weight").data);
    for (let i = 0; i < start.length; i++)
      expect(fast[i] - start[i]).toBeCloseTo(4 * (slow[i] - start[i]), 6);
  });

  it("clips gradients by value, then by norm", async () => {
    const options = { batchSize: 23, shuffle: false, optimizer: sgd({ rate: 1 }) };
    const step = async (clip: FitOptions["clip"]) => {
      const network = await make();
      const before = network.parameters.entries();
      await run(network, train, { ...options, clip });
      return before.flatMap(([name, { data: from }]) => {
        const to = network.parameters.get(name).data;
        return Array.from(from, (w, i) => w - to[i]);
      });
    };
    const norm = (values: number[]) => Math.sqrt(values.reduce((a, b) => a + b * b, 0));
    const gradient = await step(undefined);
    const cut = await step({ value: 0.3 });
    cut.forEach((g, i) => {
      expect(g).toBeCloseTo(Math.max(-0.3, Math.min(0.3, gradient[i])), 5);
    });
    expect(norm(gradient)).toBeGreaterThan(1);
    const short = await step({ norm: 0.5 });
    short.forEach((g, i) => {
      expect(g).toBeCloseTo((gradient[i] * 0.5) / norm(gradient), 5);
    });
    expect(norm(await step({ value: 0.01, norm: 0.05 }))).toBeCloseTo(Math.min(0.05, norm(cut)), 4);
    expect(await step({ norm: 1e6 })).toEqual(gradient);
  });

  it("validates, keeps the best and stops when nothing gets better", async () => {
    const network = await make();
    const optimizer = sgd({ rate: 0.02 });
    const option = { epochs: 30, batchSize: 5, optimizer, validation, keepBest: true, patience: 3 };
    const found: NonNullable<Progress["validation"]>[] = [];
    const kept: Uint8Array[] = [];
    for await (const { validation: result } of network.fit(train, option)) {
      if (!result) continue;
      found.push(result);
      kept.push(network.save());
    }
    expect(found.length).toBeLessThan(30);
    expect(found.slice(-3).some(({ best }) => best)).toBe(false);
    const last = found.map(({ best }) => best).lastIndexOf(true);
    expect(last).toBe(found.length - 4);
    const { accuracy, loss } = await network.evaluate(validation);
    expect({ accuracy, loss }).toEqual({ accuracy: found[last].accuracy, loss: found[last].loss });
    expect(accuracy).toBe(Math.max(...found.map((result) => result.accuracy)));
    const then = await loadNetwork(kept[last]);
    expect(network.parameters.entries()).toEqual(then.parameters.entries());
  });

  it("validates every so many epochs, and after the last", async () => {
    const network = await make();
    const option = { epochs: 5, batchSize: 23, optimizer: sgd({ rate: 0.02 }), validation, validateEvery: 2 };
    const records = await run(network, train, option);
    expect(records.map((record) => record.validation !== undefined)).toEqual([
      false,
      true,
      false,
      true,
      true,
    ]);
  });

  describe("with a batch whose loss is not finite", () => {
    // Samples 5 to 9: currents that overflow.
    const broken = data(15);
    broken.inputs.fill(3e38, 5 * LENGTH, 10 * LENGTH);
    const pick = (from: number, to: number) => ({
      inputs: broken.inputs.slice(from * LENGTH, to * LENGTH) as Float32Array,
      labels: Uint8Array.from(broken.labels.slice(from, to)),
    });
    const whole = (): Dataset => {
      const [a, b] = [pick(0, 5), pick(10, 15)];
      const inputs = new Float32Array([...a.inputs, ...b.inputs]);
      return { ...broken, inputs, labels: new Uint8Array([...a.labels, ...b.labels]) };
    };
    const layers = [conv2d(5, 3), dense(CLASSES)];
    const plain = () =>
      createNetwork({
        input: [1, SIDE, SIDE],
        encoder: spikes({ steps: STEPS }),
        method: lee(),
        layers,
      });
    const option = { batchSize: 5, shuffle: false, optimizer: adam({ rate: 0.01 }) };

    it("throws with the parameters of before", async () => {
      const network = await plain();
      const reference = await plain();
      await run(reference, { ...broken, ...pick(0, 5) }, option);
      await expect(run(network, broken, option)).rejects.toThrow(NonFiniteError);
      expect(network.parameters.entries()).toEqual(reference.parameters.entries());
    });

    it("skips it as if it had not been there", async () => {
      const network = await plain();
      const reference = await plain();
      await run(reference, whole(), option);
      const records = await run(network, broken, { ...option, onNonFinite: "skip" });
      expect(records.map(({ skipped }) => skipped)).toEqual([0, 1, 1]);
      expect(records[1].loss).toBeNaN();
      expect(records[2].epochLoss).toBeLessThan(10);
      expect(network.parameters.entries()).toEqual(reference.parameters.entries());
    });
  });

  it("says how much memory an optimizer's state takes", async () => {
    const { memory } = await make();
    const [none, one, two] = [sgd({ rate: 1 }), sgd({ rate: 1, momentum: 0.9 }), adam({ rate: 1 })].map((o) =>
      memory.training(8, o),
    );
    expect(memory.training(8)).toBe(one);
    expect(two - one).toBe(one - none);
    expect(one - none).toBeGreaterThan(0);
  });

  it("refuses settings by name", () => {
    return make().then((network) => {
      const optimizer = sgd({ rate: 0.1 });
      const fails = (option: object, message: string) => {
        expect(() => network.fit(train, { optimizer, ...option } as FitOptions)).toThrow(ArgumentError);
        expect(() => network.fit(train, { optimizer, ...option } as FitOptions)).toThrow(message);
      };
      fails({ rates: { layer7: 1 } }, "rates.layer7");
      fails({ rates: { hidden: 0 } }, 'rates["hidden"]');
      fails({ frozen: ["layer7"] }, "frozen[0]");
      fails({ frozen: ["layer0", "hidden", "layer3"] }, "frozen");
      fails({ clip: { norm: -1 } }, "clip.norm");
      fails({ clip: { size: 1 } }, "clip.size");
      fails({ keepBest: true }, "keepBest");
      fails({ patience: 2 }, "patience");
      fails({ patience: 0, validation }, "patience");
      fails({ validateEvery: 0.5, validation }, "validateEvery");
      fails({ onNonFinite: "ignore" }, "onNonFinite");
      fails({ validation: { ...validation, shape: [2] } }, "validation.shape");
      fails({ optimizer: { kind: "lion" } }, "optimizer.kind");
      expect(() => adam({ rate: 0.1, betas: [0.9, 1] })).toThrow("adam.betas");
      expect(() => adamax({ rate: 0.1, epsilon: 0 })).toThrow("adamax.epsilon");
      expect(() => cosine({ warmup: 2.5, ramp: "reciprocal" })).toThrow("cosine.warmup");
    });
  });

  it("refuses other settings than the checkpoint's", async () => {
    const network = await make();
    const optimizer = sgd({ rate: 0.1 });
    await run(network, train, { optimizer, validation });
    const resume = network.checkpoint();
    expect(() => network.fit(train, { resume })).toThrow("validation");
    expect(() => network.fit(train, { resume, validation, frozen: ["hidden"] })).toThrow("frozen");
    expect(() => network.fit(train, { resume, validation: data(4) })).toThrow("validation");
    const more = await run(network, train, { resume, validation, epochs: 3 });
    expect(more).toHaveLength(2);
  });
});

describe("schedules", () => {
  const rates = async (schedule: ScheduleDescriptor, epochs: number) => {
    const network = await make();
    const option = { epochs, batchSize: 12, optimizer: sgd({ rate: 1e-3 }), schedule };
    return (await run(network, train, option)).map(({ rate }) => rate * 1e3);
  };

  it("drop the rate at epochs", async () => {
    const found = await rates(stepDecay({ at: [1, 3], factor: 0.5 }), 4);
    const expected = [1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25];
    found.forEach((rate, i) => {
      expect(rate).toBeCloseTo(expected[i], 12);
    });
  });

  it("follow a cosine after a linear or a reciprocal warm-up", async () => {
    const half = (i: number, n: number) => (1 + Math.cos((Math.PI * i) / n)) / 2;
    const linear = await rates(cosine({ warmup: 1 }), 3);
    [0.5, 1, half(0, 4), half(1, 4), half(2, 4), half(3, 4)].forEach((rate, i) => {
      expect(linear[i]).toBeCloseTo(rate, 12);
    });
    const reciprocal = await rates(cosine({ warmup: 3, ramp: "reciprocal" }), 5);
    [1 / 3, 1 / 3, 1 / 2, 1 / 2, 1, 1, half(0, 4), half(1, 4), half(2, 4), half(3, 4)].forEach((rate, i) => {
      expect(reciprocal[i]).toBeCloseTo(rate, 12);
    });
  });
});
