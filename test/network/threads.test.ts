// Batches on several threads: the same bits as on one.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import fc from "fast-check";
import * as spikegrad from "spikegrad";
import {
  adam,
  adamax,
  adamw,
  bpsta,
  conv2d,
  createNetwork,
  decolle,
  dense,
  direct,
  init,
  loadNetwork,
  type Network,
  type NetworkOptions,
  poisson,
  sgd,
  surrogate,
  type Tensor,
} from "spikegrad";
import { readSafetensors } from "spikegrad/io";
import { afterEach, describe, expect, it, vi } from "vitest";
import { CASES } from "../delivery/digest.mjs";
import { anyCase, type Case, prepare } from "./cases.ts";
import { bits, dataset, failure } from "./support.ts";

const RUNS = 60;

interface Settings {
  readonly network: NetworkOptions;
  readonly fit: object;
}

const settings = Object.entries(CASES).map(([name, make]): [string, Settings] => [
  name,
  make(spikegrad as never) as unknown as Settings,
]);

const PANELS: NetworkOptions = {
  input: [2, 7, 9],
  encoder: poisson({ steps: 9 }),
  method: decolle({ classes: 3, burnIn: 2 }),
  layers: [dense(96), dense(64), dense(33)],
};

const CONSTANT: NetworkOptions = {
  input: [2, 7, 9],
  encoder: direct({ steps: 3 }),
  method: surrogate(),
  layers: [dense(70), dense(3)],
};

async function withThreads(option: NetworkOptions, threads: number): Promise<Network> {
  const network = await createNetwork({ ...option, seed: 3, threads });
  expect(network.threads).toEqual({ count: threads });
  return network;
}

function expectSame(found: Uint32Array, wanted: Uint32Array, name: string): void {
  expect(found.length, name).toBe(wanted.length);
  const at = found.findIndex((word, i) => word !== wanted[i]);
  expect(at, `${name}[${at}]: ${found[at]} and ${wanted[at]}`).toBe(-1);
}

/** Every number that a network computes. */
async function everything(network: Network): Promise<Record<string, Uint32Array>> {
  const continuous = network.description.encoder.kind === "firstSpike";
  const data = dataset(21, [...network.inputShape], network.classes);
  const found: Record<string, Uint32Array> = {};
  const put = (prefix: string, tensors: Record<string, Tensor>) => {
    for (const [name, { data }] of Object.entries(tensors))
      found[`${prefix} ${name}`] = bits(data as Float32Array);
  };
  const answer = await network.gradients(data.inputs, data.labels, {
    record: continuous ? ["spikeTimes"] : ["spikes", "membranes"],
  });
  put("gradient", answer.gradients);
  put("statistic", answer.statistics);
  put("record", answer.records);
  put("training", { outputs: answer.outputs });
  const { outputs } = await network.predict(data.inputs);
  put("inference", { outputs });
  const evaluation = await network.evaluate(data);
  found.evaluation = bits(
    Float32Array.of(evaluation.loss, evaluation.accuracy, evaluation.synapticOperations, answer.loss),
  );
  found.rates = bits(Float32Array.from(evaluation.layers, ({ spikes }) => spikes));
  return found;
}

describe("the same bits on 1, 2 and 3 threads", () => {
  it.each(settings)("%s", async (_, { network: option }) => {
    const one = await withThreads(option, 1);
    const wanted = await everything(one);
    for (const threads of [2, 3]) {
      const many = await withThreads(option, threads);
      const found = await everything(many);
      expect(Object.keys(found)).toEqual(Object.keys(wanted));
      for (const [name, words] of Object.entries(wanted)) expectSame(found[name], words, name);
      many.dispose();
    }
  });

  // Large enough that ranks take parts of products and of steps by turns.
  it.each<[string, NetworkOptions, object]>([
    ["of a step that goes with its products", PANELS, { optimizer: adamax({ rate: 1e-3, betas: [0, 0.9] }) }],
    ["behind clipped gradients", PANELS, { optimizer: adamax({ rate: 1e-3 }), clip: { norm: 0.1 } }],
    ["of products and a step behind them", PANELS, { optimizer: adam({ rate: 1e-3 }) }],
    ["of a frozen layer", PANELS, { optimizer: adamax({ rate: 1e-3 }), frozen: ["layer1"] }],
    [
      "of convolution and products",
      { ...PANELS, layers: [conv2d(3, 3), ...PANELS.layers] },
      { optimizer: adamax({ rate: 1e-3 }) },
    ],
    ["of one product for all steps", CONSTANT, { optimizer: sgd({ rate: 1e-2, momentum: 0.9 }) }],
    ["of the same, samples one by one", CONSTANT, { batchSize: 1, optimizer: adamw({ rate: 1e-3 }) }],
  ])("%s", async (_, option, fit) => {
    const data = dataset(70, [...option.input], 3);
    let wanted: Record<string, Uint32Array> | undefined;
    for (const threads of [1, 2, 3]) {
      const network = await withThreads(option, threads);
      for await (const _ of network.fit(data, { epochs: 1, batchSize: 65, ...fit }));
      const found = Object.fromEntries(
        network.parameters.entries().map(([name, { data }]) => [name, bits(data as Float32Array)]),
      );
      wanted ??= found;
      for (const [name, words] of Object.entries(wanted)) expectSame(found[name], words, name);
      network.dispose();
    }
  });

  it("on random networks", async () => {
    await fc.assert(
      fc.asyncProperty(anyCase, fc.integer({ min: 2, max: 4 }), async (c: Case, threads) => {
        const [one, many] = [await prepare(c, { threads: 1 }), await prepare(c, { threads })];
        const [wanted, found] = await Promise.all(
          [one, many].map(({ network, inputs, labels, masks }) =>
            network.gradients(inputs, labels, {
              record: ["spikes", "membranes"],
              dropoutMasks: Object.keys(masks).length ? masks : undefined,
            }),
          ),
        );
        const tensors = (answer: typeof found): Record<string, Tensor> => ({
          ...answer.gradients,
          ...answer.records,
          outputs: answer.outputs,
        });
        for (const [name, { data }] of Object.entries(tensors(wanted)))
          expectSame(bits(tensors(found)[name].data), bits(data), name);
        expect(found.loss).toBe(wanted.loss);
        const answers = await Promise.all([one, many].map(({ network, inputs }) => network.predict(inputs)));
        expectSame(bits(answers[1].outputs.data), bits(answers[0].outputs.data), "outputs");
        one.network.dispose();
        many.network.dispose();
      }),
      { numRuns: RUNS },
    );
  });

  it("is a choice from 1 to 64, or auto", async () => {
    const [, { network: option }] = settings[0];
    for (const threads of [0, 65, 1.5, "many", Number.NaN]) {
      const error = await failure(() => createNetwork({ ...option, threads: threads as never }));
      expect(error).toMatchObject({ code: "ERR_ARGUMENT", argument: "threads" });
    }
    const network = await createNetwork({ ...option, threads: "auto" });
    expect(network.threads.count).toBeGreaterThanOrEqual(1);
    const again = await spikegrad.loadNetwork(network.save(), { threads: 2 });
    expect(again.threads).toEqual({ count: 2 });
    expect(again.build).toBe("threads");
  });

  it("says why there is one", async () => {
    const [, { network: option }] = settings[0];
    const scalar = await createNetwork({ ...option, build: "scalar", threads: 2 });
    expect(scalar.threads).toEqual({ count: 1, reason: "the scalar build has no threads" });
    expect((await createNetwork(option)).threads).toEqual({ count: 1 });
  });
});

describe("whoever reads while threads train", () => {
  /** What `read` gives in every turn of the event loop while a network trains. */
  async function readWhile<T>(training: AsyncIterable<unknown>, read: () => T): Promise<T[]> {
    const found: T[] = [];
    let pending = true;
    const ended = (async () => {
      for await (const _ of training);
    })().finally(() => {
      pending = false;
    });
    while (pending) {
      found.push(read());
      await new Promise((resolve) => setImmediate(resolve));
    }
    await ended;
    return found;
  }

  /** All parameters in one word. */
  function digest({ parameters }: Network): string {
    const hash = createHash("sha256");
    for (const [, { data }] of parameters.entries()) hash.update(data);
    return hash.digest("hex");
  }

  // Half a million parameters and more: steps that threads share. Batches are short, so that many turns come in the midst of one.
  const option: NetworkOptions = {
    input: [512],
    encoder: direct({ steps: 1 }),
    method: surrogate(),
    layers: [dense(1100), dense(4)],
  };
  const learnsInside: NetworkOptions = {
    input: [40],
    encoder: poisson({ steps: 40 }),
    method: decolle({ classes: 4, burnIn: 5 }),
    layers: [dense(90), dense(30)],
  };
  const data = (network: NetworkOptions) => dataset(40, [...network.input], 4);
  const settings = { epochs: 2, batchSize: 4, optimizer: adam({ rate: 1e-3 }) };

  it.each<[string, NetworkOptions]>([
    ["between batches", option],
    ["within the batch", learnsInside],
  ])("finds parameters of one moment, of a method that learns %s", { timeout: 120_000 }, async (_, made) => {
    const one = await withThreads(made, 1);
    const known = [digest(one)];
    for await (const _ of one.fit(data(made), settings)) known.push(digest(one));
    const many = await withThreads(made, 2);
    const found = await readWhile(many.fit(data(made), settings), () => digest(many));
    const places = found.map((state) => known.indexOf(state));
    expect(places).not.toContain(-1);
    expect(places).toEqual([...places].sort((a, b) => a - b));
    expect(new Set(places).size).toBeGreaterThan(3);
    expect(digest(many)).toBe(known.at(-1));
  });

  it("gets checkpoints from which training goes on to the same bits", { timeout: 120_000 }, async () => {
    const few = dataset(8, [512], 4);
    const network = await withThreads(option, 2);
    const taken = await readWhile(network.fit(few, settings), () => network.checkpoint());
    const wanted = network.save();
    const different = new Map(taken.map((file) => [readSafetensors(file).metadata.checksum, file]));
    expect(different.size).toBeGreaterThan(1);
    expect(different.size).toBeLessThanOrEqual(5);
    for (const file of different.values()) {
      const second = await loadNetwork(file);
      for await (const _ of second.fit(few, { resume: file }));
      expect(Buffer.compare(second.save(), wanted)).toBe(0);
    }
  });
});

describe("without workers", () => {
  const core = () => readFile(new URL("../../dist/spikegrad.threads.wasm", import.meta.url));
  const option: NetworkOptions = {
    input: [1, 8, 8],
    encoder: direct({ steps: 3 }),
    method: bpsta(),
    layers: [conv2d(4, 3), dense(40)],
  };
  const data = dataset(16, [1, 8, 8], 4);

  async function expectPlain(more: Partial<NetworkOptions>, reason?: string): Promise<void> {
    const wanted = await createNetwork({ ...option, build: "simd" });
    const network = await createNetwork({ ...option, ...more });
    expect(network.build).toBe("simd");
    expect(network.threads).toEqual(reason === undefined ? { count: 1 } : { count: 1, reason });
    const found = (await network.predict(data.inputs)).outputs;
    expectSame(bits(found.data), bits((await wanted.predict(data.inputs)).outputs.data), "outputs");
  }

  afterEach(() => vi.unstubAllGlobals());

  it("the build for threads is the plain one", async () => {
    await expectPlain({ build: "threads" });
    await expectPlain({ build: "threads", threads: 1 });
    vi.stubGlobal("crossOriginIsolated", false);
    await expectPlain(
      { build: "threads", threads: 2 },
      "the page is not cross-origin isolated: it must be served with Cross-Origin-Opener-Policy: same-origin and " +
        "Cross-Origin-Embedder-Policy: require-corp",
    );
  });

  it("so it is where that core was given", async () => {
    const wasm = await core();
    await expectPlain({ wasm });
    await expectPlain({ wasm, build: "threads" });
    await expectPlain({ wasm, threads: 2 }, "the core that was given has no threads");
  });

  it("a network of several threads has its gradients checked, and its normalisation folded", async () => {
    const network = await withThreads(option, 2);
    expect(await network.checkGradients(data.inputs, data.labels)).toMatchObject({ ok: true });
    const folded = await network.foldBatchNorm();
    expect([folded.build, folded.threads]).toEqual(["simd", { count: 1 }]);
    const one = await (await withThreads(option, 1)).foldBatchNorm();
    const answers = await Promise.all([folded, one].map((folded) => folded.predict(data.inputs)));
    expectSame(bits(answers[0].outputs.data), bits(answers[1].outputs.data), "outputs");
  });

  // Last: it stays for the whole file.
  it("init may have been given that core", async () => {
    await init({ wasm: await core() });
    await expectPlain({});
    await expectPlain({ build: "threads" });
    const network = await withThreads(option, 2);
    expect(network.build).toBe("threads");
    await network.predict(data.inputs);
  });
});
