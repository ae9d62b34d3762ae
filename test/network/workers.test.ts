// Workers that die, networks that go away while they compute, and processes that end while workers wait.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";
import {
  adam,
  createNetwork,
  dense,
  direct,
  init,
  type Network,
  type NetworkOptions,
  StateError,
  sgd,
  surrogate,
  WorkerError,
} from "spikegrad";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { Op, Team, TeamStep } from "../../assembly/abi.ts";
import { bits, slowData as data, dataset, drain, failure, slowNetwork } from "./support.ts";

const execute = promisify(execFile);
const root = new URL("../../dist/", import.meta.url);
/** Runs a module in a Node of its own; what it printed, when it ended by itself. */
async function process(script: string): Promise<string> {
  const whole = `import { createNetwork, dense, lee, poisson, sgd } from ${JSON.stringify(new URL("index.js", root).href)};
    ${script}`;
  const { stdout } = await execute(
    globalThis.process.execPath,
    ["--expose-gc", "--input-type=module", "-e", whole],
    {
      timeout: 50_000,
    },
  );
  return stdout;
}

/** The package's worker, and one that watches it. */
const SCRIPT = new URL("worker.js", root).href;
const WATCHED = fileURLToPath(new URL("watched-worker.mjs", import.meta.url));

const OPTION = `{ input: [64], encoder: poisson({ steps: 20 }), method: lee(), layers: [dense(300), dense(4)], threads: 2 }`;

describe("workers", () => {
  const workers: Worker[] = [];

  beforeAll(async () => {
    // The package's file; kept, to be ended from outside.
    await init({
      worker: () => {
        const worker = new Worker(fileURLToPath(new URL("worker.js", root)));
        workers.push(worker);
        return worker;
      },
    });
  });

  afterAll(async () => {
    await Promise.all(workers.map((worker) => worker.terminate()));
  });

  it("that are ended while they compute are an error within a second; the network computes on with others", async () => {
    const [network, one] = [await slowNetwork(2, 400), await slowNetwork(1, 400)];
    expect(workers.length).toBe(2);
    const wanted = await one.predict(data.inputs);
    for (const victim of [0, 1]) {
      const computing = network.predict(data.inputs);
      const caught = failure(() => computing);
      await new Promise((later) => setTimeout(later, 30));
      const began = performance.now();
      workers[workers.length - 2 + victim].terminate();
      const error = await caught;
      expect(performance.now() - began).toBeLessThan(1000);
      expect(error).toBeInstanceOf(WorkerError);
      expect(error.code).toBe("ERR_WORKER");
      const { outputs } = await network.predict(data.inputs);
      expect(bits(outputs.data)).toEqual(bits(wanted.outputs.data));
    }
    network.dispose();
    const again = await slowNetwork(2, 400);
    expect(bits((await again.predict(data.inputs)).outputs.data)).toEqual(bits(wanted.outputs.data));
    again.dispose();
  });

  it("that are idle may be ended, too", async () => {
    const network = await slowNetwork(2, 20);
    await network.predict(data.inputs);
    await Promise.all(workers.map((worker) => worker.terminate()));
    await network.predict(data.inputs);
    expect(network.threads.count).toBe(2);
    network.dispose();
  });

  it("give up when the network is disposed of, and serve the next", async () => {
    // Many seconds, if they went on.
    const network = await slowNetwork(2, 8000);
    const computing = failure(() => network.predict(data.inputs));
    await new Promise((later) => setTimeout(later, 30));
    const began = performance.now();
    network.dispose();
    expect(await computing).toBeInstanceOf(StateError);
    expect(performance.now() - began).toBeLessThan(1000);
    const before = workers.length;
    const next = await slowNetwork(2, 20);
    await next.predict(data.inputs);
    expect(workers.length).toBe(before);
    next.dispose();
  });

  it("let go of a network's memory when it is disposed of", async () => {
    const posted = workers.map((worker) => vi.spyOn(worker, "postMessage"));
    const network = await slowNetwork(2, 100);
    await network.predict(data.inputs);
    network.dispose();
    const ids = (kind: string) =>
      posted.flatMap(({ mock }) => mock.calls.flatMap(([order]) => (order.kind === kind ? [order.id] : [])));
    expect(ids("open").length).toBe(2);
    expect(ids("close")).toEqual(expect.arrayContaining(ids("open")));
    for (const spy of posted) spy.mockRestore();
  });

  it("are not held up by a loop that is broken off", async () => {
    const network = await slowNetwork(2, 20);
    for await (const _ of network.fit(data, { batchSize: 16, optimizer: sgd({ rate: 1e-3 }) })) break;
    const rest = await drain(network.fit(data, { batchSize: 16, optimizer: sgd({ rate: 1e-3 }) }));
    expect(rest.length).toBe(3);
    network.dispose();
  });

  it("serve networks that compute at the same time", async () => {
    const networks = await Promise.all([slowNetwork(2, 30), slowNetwork(3, 30), slowNetwork(1, 30)]);
    const answers = await Promise.all(networks.map((network) => network.predict(data.inputs)));
    for (const { outputs } of answers) expect(bits(outputs.data)).toEqual(bits(answers[2].outputs.data));
    for (const network of networks) network.dispose();
  });

  it("that do not start leave one thread, with the reason", async () => {
    await init({ worker: () => new Worker("throw new Error('refused by the policy')", { eval: true }) });
    await Promise.all(workers.map((worker) => worker.terminate()));
    const network = await slowNetwork(2, 5);
    expect(network.threads.count).toBe(1);
    expect(network.threads.reason).toMatch(/refused by the policy/);
    await network.predict(data.inputs);
    expect(await failure(() => init({ worker: 3 as never }))).toMatchObject({ argument: "worker" });
  });
});

describe("a worker that dies while it trains", () => {
  const option: NetworkOptions = {
    input: [512],
    encoder: direct({ steps: 2 }),
    method: surrogate(),
    layers: [dense(700), dense(4)],
    seed: 5,
  };
  const data = dataset(64, [512], 4);
  const settings = { batchSize: 16, optimizer: adam({ rate: 1e-3 }), shuffle: false };
  const watch = new Int32Array(new SharedArrayBuffer(12));
  const all = ({ parameters }: Network) =>
    Uint32Array.from([...parameters.entries()].flatMap(([, { data }]) => [...bits(data)]));
  /** The parameters after each step. */
  const states: Uint32Array[] = [];

  beforeAll(async () => {
    const [next, done, step] = [Team.Next / 4, Team.Done / 4, Team.Step / 4];
    const abi = { commit: Op.Commit, barrier: Op.Barrier, next, done, step, begun: TeamStep.Begun };
    await init({ worker: () => new Worker(WATCHED, { workerData: { script: SCRIPT, watch, abi } }) });
    const one = await createNetwork(option);
    for await (const _ of one.fit(data, settings)) states.push(all(one));
  });

  /** Trains; rank 1 takes `steps` steps and then dies, before the next one or when others have begun it. */
  async function train(steps: number, fate: number): Promise<{ error: Error; parameters: Uint32Array }> {
    const network = await createNetwork({ ...option, threads: 2 });
    expect(network.threads).toEqual({ count: 2 });
    watch.set([0, steps, fate]);
    const error = await failure(() => drain(network.fit(data, settings)));
    expect(watch[2], "it died").toBe(0);
    expect(error).toBeInstanceOf(WorkerError);
    const parameters = all(network);
    network.dispose();
    return { error, parameters };
  }

  it("before the step leaves the parameters as they were", async () => {
    const { error, parameters } = await train(2, 1);
    expect(error.message).toMatch(/^a worker stopped: /);
    expect(parameters.every((word, i) => word === states[1][i])).toBe(true);
  });

  it("in the midst of the step leaves it half taken, which the error says", async () => {
    const [before, after] = [states[1], states[2]];
    // If the system holds it up, the others may have taken all of the step.
    for (let attempt = 0, left = 0; attempt < 5 && left === 0; attempt++) {
      const { error, parameters } = await train(2, 2);
      expect(error.message).toMatch(
        /^a worker stopped, in the midst of a step, which some parameters have taken and others not: /,
      );
      const changed = [...parameters.keys()].filter((i) => before[i] !== after[i]);
      const taken = changed.filter((i) => parameters[i] === after[i]).length;
      left = changed.filter((i) => parameters[i] === before[i]).length;
      expect(taken).toBeGreaterThan(1000);
      expect(taken + left).toBe(changed.length);
      if (attempt === 4) expect(left).toBeGreaterThan(0);
    }
  });

  it("is replaced for the next network", async () => {
    const network = await createNetwork({ ...option, threads: 2 });
    await drain(network.fit(data, settings));
    expect(all(network).every((word, i) => word === states[3][i])).toBe(true);
    network.dispose();
  });
});

describe("a process", () => {
  it("ends by itself while workers wait", async () => {
    const printed = await process(`
      const network = await createNetwork(${OPTION});
      await network.predict(new Float32Array(64 * 200).fill(0.5));
      const before = process.cpuUsage();
      await new Promise((later) => setTimeout(later, 1000));
      const { user, system } = process.cpuUsage(before);
      console.log(network.threads.count, (user + system) / 1000 < 100 ? "idle" : user + system);`);
    expect(printed.trim()).toBe("2 idle");
  });

  it("ends while they compute", async () => {
    const printed = await process(`
      const network = await createNetwork(${OPTION});
      network.predict(new Float32Array(64 * 60000).fill(0.5)).catch(() => {});
      setTimeout(() => { console.log("end"); process.exit(); }, 200);`);
    expect(printed.trim()).toBe("end");
  });

  it("can make and drop a thousand networks, disposed of or not, each of which workers computed for", async () => {
    const printed = await process(`
      import { readFileSync } from "node:fs";
      import { Worker } from "node:worker_threads";
      import { init } from ${JSON.stringify(new URL("index.js", root).href)};

      const watch = new Int32Array(new SharedArrayBuffer(12));
      let [made, ended, held, idle] = [0, 0, 0, 0];
      await init({ worker: () => {
        made++;
        const workerData = { script: ${JSON.stringify(SCRIPT)}, watch };
        const worker = new Worker(${JSON.stringify(WATCHED)}, { workerData, execArgv: [] });
        worker.on("exit", () => ended++);
        return worker;
      } });
      const collected = new FinalizationRegistry(() => held--);
      WebAssembly.Memory = class extends WebAssembly.Memory {
        constructor(descriptor) {
          super(descriptor);
          held++;
          collected.register(this);
        }
      };
      /** What there is when the collector is done: MB, and GB of addresses, 10 for each memory that anyone holds. */
      async function settled() {
        for (let i = 0; i < 5; i++) {
          gc();
          await new Promise((later) => setTimeout(later, 20));
        }
        const status = process.platform === "linux" ? readFileSync("/proc/self/status", "utf8") : "";
        const addresses = Number(/VmSize:\\s+(\\d+)/.exec(status)?.[1] ?? 0) / 2 ** 20;
        return { alive: made - ended, held, resident: process.memoryUsage().rss / 2 ** 20, addresses };
      }

      const samples = 32;
      const inputs = new Float32Array(64 * samples).fill(0.5);
      const data = { inputs, labels: new Int32Array(samples), shape: [64], classes: 4 };
      let first;
      for (let i = 0; i < 1000; i++) {
        const network = await createNetwork(${OPTION});
        if (network.threads.count !== 2) throw new Error(network.threads.reason);
        const before = watch[0];
        if (i % 4 > 0) await network.predict(inputs);
        else for await (const _ of network.fit(data, { batchSize: samples, optimizer: sgd({ rate: 1e-3 }) }));
        if (watch[0] < before + 2) idle++;
        if (i % 2) network.dispose();
        if (i === 200) first = await settled();
      }
      console.log(JSON.stringify({ idle, first, last: await settled() }));`);
    const { idle, first, last } = JSON.parse(printed);
    expect(idle).toBe(0);
    expect(last.alive).toBeLessThan(10);
    expect(last.held).toBeLessThan(10);
    expect(last.resident - first.resident).toBeLessThan(100);
    expect(last.addresses).toBeLessThan(2000);
  });
});
