// Many samples on threads: a batch each, the next one ready.
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import fc from "fast-check";
import * as spikegrad from "spikegrad";
import {
  createNetwork,
  dense,
  direct,
  type Evaluation,
  init,
  lee,
  type Network,
  type NetworkOptions,
  NonFiniteError,
  poisson,
  StateError,
  sgd,
  surrogate,
  WorkerError,
} from "spikegrad";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { CASES } from "../delivery/digest.mjs";
import { bits, slowData as data, dataset, drain, failure, slowNetwork } from "./support.ts";

const SCRIPT = new URL("../../dist/worker.js", import.meta.url).href;
const WATCHED = fileURLToPath(new URL("watched-worker.mjs", import.meta.url));
/** How many programs workers have run comes first. */
const watch = new Int32Array(new SharedArrayBuffer(12));
const workers: Worker[] = [];

beforeAll(() =>
  init({
    worker: () => {
      const worker = new Worker(WATCHED, { workerData: { script: SCRIPT, watch } });
      workers.push(worker);
      return worker;
    },
  }),
);

afterAll(async () => {
  await Promise.all(workers.map((worker) => worker.terminate()));
});

afterEach(() => {
  vi.restoreAllMocks();
});

/** What `work` gives, and how many programs workers ran for it. */
async function counted<T>(work: () => Promise<T>): Promise<[T, number]> {
  const before = Atomics.load(watch, 0);
  return [await work(), Atomics.load(watch, 0) - before];
}

const cases = Object.entries(CASES).map(([name, make]): [string, NetworkOptions] => [
  name,
  (make(spikegrad as never) as unknown as { network: NetworkOptions }).network,
]);

describe("a stream on 2 and 3 threads", () => {
  it.each(cases)("has the bits of one: %s", async (_, option) => {
    const many = dataset(400, [...option.input], 4);
    const few = { ...many, inputs: many.inputs.subarray(0, 47 * 144), labels: many.labels.subarray(0, 47) };
    const training = {
      ...many,
      inputs: many.inputs.subarray(0, 16 * 144),
      labels: many.labels.subarray(0, 16),
    };
    const all = async (network: Network, solo: boolean) => {
      const progress: number[] = [];
      const onProgress = (done: number) => void progress.push(done);
      const [prediction, predicted] = await counted(() => network.predict(many.inputs, { firstSample: 3 }));
      const [evaluation, evaluated] = await counted(() =>
        network.evaluate(few, { batchSize: 5, topK: 2, onProgress }),
      );
      // At least until it is known that they are not worth it.
      if (solo) expect(Math.min(predicted, evaluated)).toBeGreaterThan(0);
      // Short ones between.
      const one = await network.predict(many.inputs.subarray(0, 144));
      const again = await network.evaluate(training, { batchSize: 7 });
      const settings = { epochs: 1, batchSize: 6, optimizer: sgd({ rate: 1e-3 }), validation: few };
      const records = await drain(network.fit(training, settings));
      return {
        outputs: bits(prediction.outputs.data),
        classes: prediction.classes,
        evaluation,
        progress,
        one: bits(one.outputs.data),
        again,
        validation: records.at(-1)?.validation,
      };
    };
    const wanted = await all(await createNetwork({ ...option, seed: 3 }), false);
    expect(wanted.progress).toEqual([5, 10, 15, 20, 25, 30, 35, 40, 45, 47]);
    expect(wanted.validation?.loss).toBeTypeOf("number");
    for (const threads of [2, 3]) {
      const network = await createNetwork({ ...option, seed: 3, threads });
      expect(network.threads).toEqual({ count: threads });
      expect(await all(network, true)).toEqual(wanted);
      network.dispose();
    }
  });

  it.each([
    [2, 4, 12],
    [3, 4, 12],
    [2, 10, 4 + 2],
    [3, 10, 3 + 2 * 3],
  ])("is a batch a thread, what is left over all threads' (%i threads, batches of %i)", async (threads, batchSize, runs) => {
    const network = await slowNetwork(threads, 100);
    const [, ran] = await counted(() => network.evaluate(data, { batchSize }));
    expect(ran).toBe(runs);
    network.dispose();
  });

  it("goes on beside another and beside training, with the same bits", async () => {
    const [one, trainedAlone] = [await slowNetwork(1, 30), await slowNetwork(1, 10)];
    const settings = { batchSize: 4, shuffle: false, optimizer: sgd({ rate: 1e-3 }) };
    const wanted = await one.evaluate(data, { batchSize: 2 });
    await drain(trainedAlone.fit(data, settings));
    const [first, second, third] = [
      await slowNetwork(3, 30),
      await slowNetwork(3, 30),
      await slowNetwork(3, 10),
    ];
    const happened: string[] = [];
    const stream = (network: Network, name: string) =>
      network.evaluate(data, { batchSize: 2, onProgress: () => void happened.push(name) });
    const train = async () => {
      for await (const _ of third.fit(data, settings)) happened.push("step");
    };
    const [a, b] = await Promise.all([stream(first, "a"), stream(second, "b"), train()]);
    expect([a, b]).toEqual([wanted, wanted]);
    expect(third.save()).toEqual(trainedAlone.save());
    // None waits for the end of another.
    const places = (name: string) => happened.flatMap((what, i) => (what === name ? [i] : []));
    for (const name of ["a", "b", "step"]) {
      for (const other of ["a", "b", "step"])
        expect(places(name)[3], `${name} in ${happened}`).toBeLessThan(places(other).at(-1) ?? 0);
    }
    for (const network of [first, second, third]) network.dispose();
  });
});

describe("in the midst of a stream", () => {
  let wanted: Evaluation;

  beforeAll(async () => {
    wanted = await (await slowNetwork(1, 20)).evaluate(data, { batchSize: 2 });
  });

  /** Begins to evaluate, and ends when some batches are done; `ending` then throws or settles. */
  async function begin(network: Network, batchSize = 2): Promise<{ ending: Promise<Error> }> {
    let started = () => {};
    const under = new Promise<void>((resolve) => {
      started = resolve;
    });
    const ending = failure(() => network.evaluate(data, { batchSize, onProgress: () => started() }));
    await under;
    return { ending };
  }

  async function expectUsable(network: Network): Promise<void> {
    expect(network.threads.count).toBe(2);
    expect(await network.evaluate(data, { batchSize: 2 })).toEqual(wanted);
  }

  it("a network may be disposed of: workers let go of it and serve the next", async () => {
    const posted = workers.map((worker) => vi.spyOn(worker, "postMessage"));
    const before = workers.length;
    const network = await slowNetwork(2, 1000);
    const { ending } = await begin(network, 1);
    const began = performance.now();
    network.dispose();
    expect(await ending).toBeInstanceOf(StateError);
    expect(performance.now() - began).toBeLessThan(500);
    const ids = (kind: string) =>
      posted.flatMap(({ mock }) => mock.calls.flatMap(([order]) => (order.kind === kind ? [order.id] : [])));
    expect(ids("open").length).toBe(2);
    expect(ids("close")).toEqual(expect.arrayContaining(ids("open")));
    await expectUsable(await slowNetwork(2, 20));
    expect(workers.length).toBe(before);
  });

  it("a worker may die: the error does not wait for the batches of others", async () => {
    const network = await slowNetwork(2, 20);
    await expectUsable(network);
    // All three workers are at work, for long.
    const slow = await slowNetwork(3, 8000);
    for (const victim of [0, 1]) {
      const ending = failure(() => slow.evaluate(data, { batchSize: 7 }));
      await pause(50);
      const began = performance.now();
      workers.slice(-3)[1 + victim].terminate();
      expect(await ending).toBeInstanceOf(WorkerError);
      expect(performance.now() - began).toBeLessThan(1000);
      const ran = Atomics.load(watch, 0);
      await pause(20);
      expect(Atomics.load(watch, 0)).toBe(ran);
      await expectUsable(network);
    }
  });

  it("a loss may not be finite: the error names the sample, and nothing runs on", async () => {
    const option: NetworkOptions = {
      input: [64],
      encoder: direct({ steps: 50 }),
      method: surrogate(),
      layers: [dense(4)],
      seed: 5,
      threads: 2,
    };
    const data = dataset(60, [64], 4);
    const network = await createNetwork(option);
    const before = await network.evaluate(data, { batchSize: 3 });
    const bad = { ...data, inputs: data.inputs.slice() };
    for (const i of [23, 24, 40]) bad.inputs.fill(3e38, i * 64, i * 64 + 64);
    const error = await failure(() => network.evaluate(bad, { batchSize: 3 }));
    expect(error).toBeInstanceOf(NonFiniteError);
    expect(error.message).toMatch(/sample 23:/);
    const ran = Atomics.load(watch, 0);
    await pause(20);
    expect(Atomics.load(watch, 0)).toBe(ran);
    expect(await network.evaluate(data, { batchSize: 3 })).toEqual(before);
    network.dispose();
  });

  it("what is told of progress may throw, and dispose of the network", async () => {
    const network = await slowNetwork(2, 20);
    const thrown = new RangeError("enough");
    let calls = 0;
    const stop = () => {
      if (++calls === 5) throw thrown;
    };
    await expect(network.evaluate(data, { batchSize: 2, onProgress: stop })).rejects.toBe(thrown);
    expect(calls).toBe(5);
    await expectUsable(network);
    const error = failure(() =>
      network.evaluate(data, { batchSize: 2, onProgress: () => network.dispose() }),
    );
    expect(await error).toBeInstanceOf(StateError);
  });
});

describe("where memory is short", () => {
  const option: NetworkOptions = {
    input: [20_000],
    encoder: direct({ steps: 2 }),
    method: surrogate(),
    layers: [dense(10)],
    seed: 5,
  };
  const many = dataset(60, [20_000], 10);
  const size = { batchSize: 10 };

  it.each([
    ["all programs that there is a use for", 10, 4],
    ["as many as threads", 2.5, 2],
    ["one for all threads", 1.5, 1],
  ])("%s serve", async (_, room, programs) => {
    const wanted = await (await createNetwork(option)).evaluate(many, size);
    const network = await createNetwork({ ...option, threads: 2 });
    const one = network.memory.inference(10) - network.memory.bytes;
    const { grow } = WebAssembly.Memory.prototype;
    let left = Math.ceil((room * one) / 65536);
    vi.spyOn(WebAssembly.Memory.prototype, "grow").mockImplementation(function (
      this: WebAssembly.Memory,
      pages,
    ) {
      if (pages > left) throw new RangeError("no more");
      left -= pages;
      return grow.call(this, pages);
    });
    const before = network.memory.bytes;
    const [found, ran] = await counted(() => network.evaluate(many, size));
    expect(found).toEqual(wanted);
    expect(ran).toBeGreaterThan(0);
    expect(Math.round((network.memory.bytes - before) / one)).toBe(programs);
    network.dispose();
  });
});

describe("many networks on few workers", () => {
  // More than a worker holds at once, so that they come and go between batches.
  const NETWORKS = 6;
  const many = dataset(70, [60], 4);
  const option = (i: number): NetworkOptions => ({
    input: [60],
    encoder: poisson({ steps: 20 + i }),
    method: i % 2 ? lee() : surrogate(),
    layers: [dense(120), dense(4)],
    seed: i,
  });
  /** What one can be asked for, by samples and samples a batch. */
  const WORK: Record<string, (network: Network, samples: number, size: number) => Promise<unknown>> = {
    evaluate: (network, samples, batchSize) => network.evaluate(head(samples), { batchSize }),
    train: async (network, samples, batchSize) => {
      const settings = { epochs: 1, batchSize: 5 * batchSize, optimizer: sgd({ rate: 0.01 }) };
      return (await drain(network.fit(head(samples), settings))).map(({ loss }) => loss);
    },
    predict: async (network, samples) => bits((await network.predict(head(samples).inputs)).outputs.data),
    gradients: async (network, samples) => {
      const { gradients } = await network.gradients(head(samples).inputs, head(samples).labels);
      return Object.values(gradients).map(({ data }) => bits(data as Float32Array));
    },
    replace: async (network) => network.save(),
  };
  const head = (samples: number) => ({
    ...many,
    inputs: many.inputs.subarray(0, samples * 60),
    labels: many.labels.subarray(0, samples),
  });
  interface Order {
    readonly network: number;
    readonly work: string;
    readonly samples: number;
    readonly size: number;
  }
  const order: fc.Arbitrary<Order> = fc.record({
    network: fc.nat(NETWORKS - 1),
    work: fc.constantFrom(...Object.keys(WORK), "evaluate", "evaluate"),
    samples: fc.integer({ min: 1, max: 70 }),
    size: fc.integer({ min: 1, max: 6 }),
  });

  it("do all that is asked of them, whatever comes when", async () => {
    /** Every network does what it is asked for in turn, all of them at once. */
    async function play(orders: readonly Order[], manyThreads: boolean) {
      return Promise.all(
        Array.from({ length: NETWORKS }, async (_, i) => {
          const answers: unknown[] = [];
          const make = () => createNetwork({ ...option(i), threads: manyThreads ? 2 + (i % 2) : 1 });
          let network = await make();
          for (const { work, samples, size } of orders.filter((order) => order.network === i)) {
            answers.push(await WORK[work](network, samples, size));
            if (work !== "replace") continue;
            network.dispose();
            network = await make();
          }
          answers.push(network.save());
          network.dispose();
          return answers;
        }),
      );
    }
    await fc.assert(
      fc.asyncProperty(fc.array(order, { minLength: 30, maxLength: 40 }), async (orders) => {
        expect(await play(orders, true)).toEqual(await play(orders, false));
      }),
      { numRuns: 3, seed: 1, endOnFailure: true },
    );
  });
});
