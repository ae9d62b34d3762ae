// Workers that die, networks that go away while they compute, and processes that end while workers wait.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";
import {
  conv2d,
  createNetwork,
  dense,
  init,
  lee,
  type Network,
  poisson,
  StateError,
  sgd,
  WorkerError,
} from "spikegrad";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { bits, dataset, drain, failure } from "./support.ts";

const execute = promisify(execFile);
const root = new URL("../../dist/", import.meta.url);
const SHAPE = [1, 16, 16];
const data = dataset(48, SHAPE, 4);

/** Takes a while a batch. */
function create(threads: number, steps = 400): Promise<Network> {
  return createNetwork({
    input: SHAPE,
    encoder: poisson({ steps }),
    method: lee(),
    layers: [conv2d(16, 5), conv2d(16, 5), dense(4)],
    seed: 5,
    threads,
  });
}

/** Runs a module in a Node of its own; what it printed, when it ended by itself. */
async function process(script: string): Promise<string> {
  const whole = `import { createNetwork, dense, lee, poisson, sgd } from ${JSON.stringify(new URL("index.js", root).href)};
    ${script}`;
  const { stdout } = await execute(globalThis.process.execPath, ["--input-type=module", "-e", whole], {
    timeout: 50_000,
  });
  return stdout;
}

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
    const [network, one] = [await create(2), await create(1)];
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
    const again = await create(2);
    expect(bits((await again.predict(data.inputs)).outputs.data)).toEqual(bits(wanted.outputs.data));
    again.dispose();
  });

  it("that are idle may be ended, too", async () => {
    const network = await create(2, 20);
    await network.predict(data.inputs);
    await Promise.all(workers.map((worker) => worker.terminate()));
    await network.predict(data.inputs);
    expect(network.threads.count).toBe(2);
    network.dispose();
  });

  it("give up when the network is disposed of, and serve the next", async () => {
    // Many seconds, if they went on.
    const network = await create(2, 8000);
    const computing = failure(() => network.predict(data.inputs));
    await new Promise((later) => setTimeout(later, 30));
    const began = performance.now();
    network.dispose();
    expect(await computing).toBeInstanceOf(StateError);
    expect(performance.now() - began).toBeLessThan(1000);
    const before = workers.length;
    const next = await create(2, 20);
    await next.predict(data.inputs);
    expect(workers.length).toBe(before);
    next.dispose();
  });

  it("let go of a network's memory when it is disposed of", async () => {
    const posted = workers.map((worker) => vi.spyOn(worker, "postMessage"));
    const network = await create(2, 100);
    await network.predict(data.inputs);
    network.dispose();
    const ids = (kind: string) =>
      posted.flatMap(({ mock }) => mock.calls.flatMap(([order]) => (order.kind === kind ? [order.id] : [])));
    expect(ids("open").length).toBe(2);
    expect(ids("close")).toEqual(expect.arrayContaining(ids("open")));
    for (const spy of posted) spy.mockRestore();
  });

  it("are not held up by a loop that is broken off", async () => {
    const network = await create(2, 20);
    for await (const _ of network.fit(data, { batchSize: 16, optimizer: sgd({ rate: 1e-3 }) })) break;
    const rest = await drain(network.fit(data, { batchSize: 16, optimizer: sgd({ rate: 1e-3 }) }));
    expect(rest.length).toBe(3);
    network.dispose();
  });

  it("serve networks that compute at the same time", async () => {
    const networks = await Promise.all([create(2, 30), create(3, 30), create(1, 30)]);
    const answers = await Promise.all(networks.map((network) => network.predict(data.inputs)));
    for (const { outputs } of answers) expect(bits(outputs.data)).toEqual(bits(answers[2].outputs.data));
    for (const network of networks) network.dispose();
  });

  it("that do not start leave one thread, with the reason", async () => {
    await init({ worker: () => new Worker("throw new Error('refused by the policy')", { eval: true }) });
    await Promise.all(workers.map((worker) => worker.terminate()));
    const network = await create(2, 5);
    expect(network.threads.count).toBe(1);
    expect(network.threads.reason).toMatch(/refused by the policy/);
    await network.predict(data.inputs);
    expect(await failure(() => init({ worker: 3 as never }))).toMatchObject({ argument: "worker" });
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

  it("can make and drop a thousand networks, disposed of or not", async () => {
    const printed = await process(`
      const inputs = new Float32Array(64 * 16).fill(0.5);
      for (let i = 0; i < 1000; i++) {
        const network = await createNetwork(${OPTION});
        if (network.threads.count !== 2) throw new Error(network.threads.reason);
        if (i % 10 === 0) await network.predict(inputs);
        if (i % 2) network.dispose();
      }
      console.log("done");`);
    expect(printed.trim()).toBe("done");
  });
});
