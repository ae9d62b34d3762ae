// The benchmark: workloads that can be built, peers that compute what the library computes, tables from results.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as library from "spikegrad";
import * as io from "spikegrad/io";
import { afterAll, beforeAll, describe, expect, type TestContext, test } from "vitest";
import { loadKernels } from "../bench/kernels/run.mjs";
import { replaceSection } from "../bench/lib/document.mjs";
import { differences, resultLine } from "../bench/lib/lines.mjs";
import { measure } from "../bench/lib/measure.mjs";
import { Ours } from "../bench/lib/ours.mjs";
import { startPeer } from "../bench/lib/peer.mjs";
import { random } from "../bench/lib/random.mjs";
import { merge, undisturbed } from "../bench/lib/results.mjs";
import { speedTables } from "../bench/lib/tables.mjs";
import { measureMemory, memoryTable } from "../bench/memory.mjs";
import { Lee } from "../bench/peers/js/lee.mjs";
import { Stdbp } from "../bench/peers/js/stdbp.mjs";
import { Surrogate } from "../bench/peers/js/surrogate.mjs";
import { targetTable } from "../bench/targets.mjs";
import { RATE_SCALE, WORKLOADS } from "../bench/workloads.mjs";

type Name = keyof typeof WORKLOADS;
const NAMES = Object.keys(WORKLOADS) as Name[];

/** The workload on few samples. */
const small = (name: Name, batch: number) => ({ ...WORKLOADS[name], batch });

/** What a peer begins with, and the library's network with the same weights. */
async function begin(name: Name, batch: number) {
  const workload = WORKLOADS[name];
  const network = await library.createNetwork({ ...workload.network(library as never), seed: 1 });
  const data = workload.data(batch) as library.Dataset & { inputs: Float32Array; labels: Uint8Array };
  const tensors: Record<string, { shape: readonly number[]; data: Float32Array | Int32Array }> = {};
  for (const [key, { shape, data }] of network.parameters.entries())
    tensors[key] = { shape, data: data.slice() };
  tensors.input = { shape: [batch, ...data.shape], data: data.inputs.slice() };
  tensors.label = { shape: [batch], data: Int32Array.from(data.labels) };
  return { network, data, tensors, optimizer: workload.optimizer(library) };
}

describe("workloads", () => {
  test.each(NAMES)("%s is built, trains and answers", async (name) => {
    const ours = await Ours.create(library, small(name, 2), 1);
    try {
      expect(await ours.loss(2)).toBeGreaterThan(0);
      for (const mode of ["train", "infer", "latency"] as const) {
        expect((await ours[mode](2)).ms).toBeGreaterThan(0);
      }
      for (const rate of Object.values(await ours.rates())) expect(rate).toBeLessThanOrEqual(1);
    } finally {
      await ours.close();
    }
  });
});

describe("plain JavaScript", () => {
  const steps = 4;

  test.each([
    ["surrogate", Surrogate],
    ["stdbp", Stdbp],
  ] as const)("%s learns what the library learns", async (name, Peer) => {
    const { network, data, tensors, optimizer } = await begin(name, 8);
    const peer = new Peer(tensors);
    const before = (await network.gradients(data.inputs, data.labels)).loss;
    expect(peer.gradients() / before).toBeCloseTo(1, 4);
    for (let i = 0; i < steps; i++) peer.train();
    for await (const _ of network.fit(data, { epochs: steps, batchSize: 8, optimizer, shuffle: false }));
    const { loss, outputs } = await network.gradients(data.inputs, data.labels);
    expect(loss).toBeLessThan(0.97 * before);
    expect(peer.gradients() / loss).toBeCloseTo(1, 2);
    const theirs = peer.predict(8);
    const error = outputs.data.map((y, i) => Math.abs(y - theirs[i]));
    expect(Math.max(...error)).toBeLessThan(0.02 * Math.max(...outputs.data.map(Math.abs)));
    network.dispose();
  });

  test("lee has the library's loss, rates and gradients, as far as spikes drawn anew allow", async () => {
    const { network, data, tensors } = await begin("lee", 4);
    const peer = new Lee(tensors, 1, random(1));
    const [ours, again] = [
      await network.gradients(data.inputs, data.labels),
      await network.gradients(data.inputs, data.labels, { epoch: 1 }),
    ];
    expect(peer.gradients() / ours.loss).toBeCloseTo(1, 1);
    ["layer0", "layer2", "layer4", "layer5"].forEach((name, i) => {
      const { shape, data: mine } = ours.gradients[`${name}.weight`];
      const theirs = asOurs(peer.synapses[i].gradient, shape, name === "layer4" ? 49 : 1);
      const usual = cosine(mine, again.gradients[`${name}.weight`].data);
      expect(cosine(mine, theirs), name).toBeGreaterThan(0.6 * usual);
      expect(norm(theirs) / norm(mine), name).toBeCloseTo(1, 0);
    });
    const { layers } = await network.evaluate(data, { batchSize: 4 });
    const rates: Record<string, number> = peer.rates();
    expect(Object.keys(rates)).toEqual(["input", "layer0", "layer1", "layer2", "layer3", "layer4"]);
    for (const { name, rate } of layers) {
      if (name in rates) expect(Math.abs(rates[name] / rate - 1), name).toBeLessThan(0.15);
    }
    network.dispose();
  });

  /** From [in][y][x][out], mirrored, or [place][channel][out], to the order of the library's tensors. */
  function asOurs(values: Float32Array, [out, inputs, side = 1]: readonly number[], places: number) {
    const taps = side * side;
    const channels = inputs / places;
    return Float32Array.from({ length: values.length }, (_, n) => {
      const [o, i, tap] = [Math.floor(n / (inputs * taps)), Math.floor(n / taps) % inputs, n % taps];
      const at = places > 1 ? (i % places) * channels + Math.floor(i / places) : i;
      return values[(at * taps + taps - 1 - tap) * out + o];
    });
  }

  const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, x, i) => sum + x * b[i], 0);
  const norm = (a: Float32Array) => Math.sqrt(dot(a, a));
  const cosine = (a: Float32Array, b: Float32Array) => dot(a, b) / (norm(a) * norm(b));
});

describe("peers in processes", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "spikegrad-bench-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  async function agree(name: Name, label: string, batch: number, context?: TestContext) {
    const ours = await Ours.create(library, small(name, batch), 1);
    const start = join(folder, `${name}.safetensors`);
    await writeFile(start, ours.start(io));
    const peers: Record<string, { script: string; workload?: string }> = WORKLOADS[name].peers;
    const peer = await startPeer({ workload: name, rateScale: RATE_SCALE, ...peers[label] }, 1, start);
    try {
      if ("skip" in peer) {
        if (/cannot be (imported|loaded)|ENOENT/.test(peer.skip)) context?.skip(peer.skip);
        throw new Error(peer.skip);
      }
      expect(peer.ready).toMatchObject({ batch });
      const { loss } = await peer.ask("loss");
      const { rates } = await peer.ask("rates");
      const work = { ours: await ours.rates(), [label]: rates };
      expect(differences(name, { [label]: { ours: await ours.loss(batch), peer: loss } }, work)).toEqual([]);
      const { ms } = await peer.ask("infer");
      expect(ms).toBeGreaterThan(0);
      expect((await peer.ask("infer 20")).ms).toBeGreaterThan(ms);
      expect((await peer.ask("train 3")).ms).toBeGreaterThan(0);
      expect((await peer.ask("loss")).loss / loss, "nothing learned").toBeCloseTo(1, 1);
      await expect(peer.ask("fly")).rejects.toThrow("fly");
    } finally {
      await ours.close();
      if (!("skip" in peer)) await peer.close();
    }
  }

  test("plain JavaScript answers", () => agree("stdbp", "js", 4));

  test.for(
    NAMES.flatMap((name) =>
      Object.keys(WORKLOADS[name].peers)
        .filter((label) => label !== "js")
        .map((label) => [name, label] as const),
    ),
  )("%s: %s does the library's work", async ([name, label], context) => {
    await agree(name, label, 4, context);
  });

  test("one that is missing says why", async () => {
    const start = join(folder, "none.safetensors");
    await writeFile(start, io.writeSafetensors({ label: { shape: [1], data: Int32Array.of(1) } }));
    const { skip } = (await startPeer({ script: "js_peer.mjs", workload: "bpsta" }, 1, start)) as {
      skip: string;
    };
    expect(skip).toContain("no bpsta in plain JavaScript");
  });
});

describe("rounds", () => {
  test("are of as many steps as fill them, by the warm-up", async () => {
    const calls: Record<string, number[]> = { quick: [], slow: [], once: [] };
    const side = (name: string, ms: number, more = {}) => ({
      ...more,
      run: async (steps: number) => {
        // The first is slower, as compiling makes it.
        const first = calls[name].push(steps) === 1;
        return { ms: steps * ms + (first ? 30 : 0) };
      },
    });
    const sides = [side("quick", 4), side("slow", 250), side("once", 500, { rounds: 1 })];
    const { timed } = await measure(sides, 0.1, 100);
    expect(calls.quick.slice(0, 5)).toEqual([1, 3, 25, 25, 25]);
    expect(new Set(calls.slow)).toEqual(new Set([1]));
    expect(timed.map(({ times }: { times: number[] }) => [new Set(times), times.length > 1])).toEqual([
      [new Set([4]), true],
      [new Set([250]), true],
      [new Set([500]), false],
    ]);
  });

  test("are of one step each unless told otherwise", async () => {
    const seen = new Set<number>();
    await measure([{ run: async (steps: number) => ({ ms: seen.add(steps).size }) }], 0.1);
    expect([...seen]).toEqual([1]);
  });
});

describe("report", () => {
  const result = {
    workload: "lee",
    mode: "train",
    threads: 1,
    peer: "torch",
    ours_ms: 5,
    peer_ms: 50,
    ratio: 10,
    ours_min_ms: 4,
    peer_min_ms: 44,
    min_ratio: 11,
    ours_batch: 64,
    peer_batch: 64,
    ours_threads: 1,
    rounds: 9,
    peer_rounds: 9,
    others: 0.01,
    peer_version: "PyTorch 0",
    version: "spikegrad 0",
    runtime: "Node 0",
    processor: "1 × none",
    date: "2026-01-01",
    first_rates: { ours: { input: 0.05, layer0: 0.02 }, peer: { layer0: 0.021 } },
    rates: { ours: { input: 0.05, layer0: 0.03 }, peer: { layer0: 0.031 } },
  };

  test("says what was measured, and what is not to be saved", () => {
    expect(resultLine(result)).toBe(
      "lee train, 1 thread: ours 5.00 ms a sample (min 4.00), torch 50.0 (min 44.0), ratio 10.0 (of minima 11.0), 9 rounds",
    );
    const disturbed = { ...result, others: 0.5, peer_rounds: 3, ours_p99_ms: 7, peer_p99_ms: 70 };
    expect(resultLine(disturbed)).toMatch(
      /99 %: 7.00.*99 %: 70.0.*3 of the peer; not saved: other processes took 50.0 % /,
    );
    expect(undisturbed([result, disturbed])).toEqual([result]);
  });

  test("puts new results in the place of old ones, in one order", () => {
    const old = [
      { ...result, ratio: 9 },
      { ...result, peer: "js" },
      { ...result, mode: "infer" },
    ];
    const all = merge(old, [{ ...result, workload: "surrogate" }, result]);
    expect(all.map(({ workload, mode, peer, ratio }) => `${workload} ${mode} ${peer} ${ratio}`)).toEqual([
      "surrogate train torch 10",
      "lee train torch 10",
      "lee train js 10",
      "lee infer torch 10",
    ]);
  });

  test("draws tables between their markers", () => {
    const before = "# Text\n<!-- speed: written by npm run bench -->\nold\n<!-- end of speed -->\nafter\n";
    const text = replaceSection(before, "speed", speedTables([result]));
    expect(text).toContain(
      "| lee | train | 1 | 5.00 (4.00) | torch | 50.0 (44.0) | **10.0×** (11.0×) | 1 % | 1 |",
    );
    expect(text).toContain("1. spikegrad 0, Node 0; PyTorch 0; 1 × none; 2026-01-01");
    expect(text).toContain("| lee | 1 | layer0 | 2.00 % (3.00 %) | torch | 2.10 % (3.10 %) |");
    expect(text).not.toContain("old");
    expect(text).toMatch(/^# Text\n(.|\n)*<!-- end of speed -->\nafter\n$/);
    expect(() => replaceSection(before, "memory", "")).toThrow("lost its markers");
  });

  test("has every kernel to time", async () => {
    const cases = await loadKernels();
    const core = await cases.compileKernels(fileURLToPath(new URL("..", import.meta.url)), true);
    const next = random(1);
    const { training, product } = cases.convolution(
      core,
      { channels: 4, side: 6, out: 8, kernel: 3 },
      next,
    )(0.5);
    const { spikes } = cases.denseLayer(core, 20, 10, 3, next)(0.5);
    for (const { work, run } of [training, product, spikes, cases.neuronScan(core, 64, next)]) {
      expect(work).toBeGreaterThan(0);
      run();
    }
  }, 60_000);

  test("holds what was reached against what was aimed at", () => {
    const memory = [{ workload: "lee", steps: 100, training: 60e6, inference: 3e6 }];
    const kernels = [
      { kernel: "product", shape: "2×2×2", rates: { ours: 2, OpenBLAS: 10, scalar: 0.4, plain: 0.1 } },
      { kernel: "spikes", shape: "dense 2 → 2", density: 0.02, ratio: 16, rates: { spikes: 3 } },
      { kernel: "spikes", shape: "conv 2 → 2", density: 0.05, ratio: 0.8, rates: { spikes: 3 } },
    ];
    const curves = [
      { curve: "synapse", density: 0.05, ms: 1, dense: 5 },
      { curve: "synapse", density: 0.5, ms: 4, dense: 5 },
    ];
    const others = { start: [], memory, kernels, curves };
    const text = targetTable({ speed: [result], ...others });
    expect(text).toContain(
      "| dense product 2×2×2, of OpenBLAS | ≥ 25.0 % | 33.0 % | 20.0 % | **missed** by 20 % |",
    );
    expect(text).toContain("| dense products, over plain scalar loops | ≥ 10.0× |  | 20.0× | met |");
    expect(text).toContain("| spike-driven dense, 2 %, over the dense product | ≥ 15.0× |  | 16.0× | met |");
    expect(text).toContain(
      "| convolution, slowest at any density | ≥ 1.00× |  | 0.800× | **missed** by 20 % |",
    );
    expect(text).toContain("| training a convolution, 5 % over 50 % | ≤ 0.350 |  | 0.250 | met |");
    expect(text).toContain("| lee train, against torch | ≥ 6.00× | 10.0× | 10.0× | goal met |");
    expect(text).toContain("| memory, LeNet T 100, training | ≤ 48.0 MB |  | 60.0 MB | **missed** by 25 % |");
    expect(text).toContain("| cold start | ≤ 60.0 ms |  |  | not measured |");
    const short = targetTable({ speed: [{ ...result, ratio: 8 }], ...others });
    expect(short).toContain("| 8.00× | met; 20 % short of the goal |");
    const missed = targetTable({ speed: [{ ...result, ratio: 3 }], ...others });
    expect(missed).toContain("| 3.00× | **missed** by 50 % |");
  });

  test("asks the library for its memory", async () => {
    const entries = await measureMemory({ library, say: () => {} });
    expect(entries.map(({ workload, steps }) => `${workload} ${steps}`)).toEqual([
      "surrogate 25",
      "lee 50",
      "bpsta 8",
      "decolle 100",
      "stdbp 1",
      "lee 100",
    ]);
    for (const { training, inference, parameters } of entries) {
      expect(inference).toBeGreaterThan(parameters);
      expect(training).toBeGreaterThan(inference);
    }
    expect(memoryTable(entries).split("\n")).toHaveLength(12);
  });

  test("finds sides that do other work", () => {
    const rates = { ours: { layer0: 0.1 }, torch: { layer0: 0.12 } };
    expect(differences("lee", { torch: { ours: 2, peer: 2.05 } }, rates)).toEqual([
      "lee: NOT THE SAME WORK: spikes of layer0 10.0 %, torch 12.0 %",
    ]);
    expect(differences("lee", { torch: { ours: 2, peer: Number.NaN } }, { ours: {} })).toHaveLength(1);
  });
});
