// What a network takes of memory, and that it gives it back.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { avgPool2d, conv2d, createNetwork, dense, lee, type Network, poisson, sgd } from "spikegrad";
import { afterEach, describe, expect, it, vi } from "vitest";
import { dataset, drain } from "./support.ts";

const MEGABYTE = 2 ** 20;

/** To a hundredth, and a few records of the optimizer's. */
function expectAbout(bytes: number, announced: number): void {
  expect(Math.abs(bytes - announced)).toBeLessThan(announced / 100 + 1024);
}

afterEach(() => {
  vi.restoreAllMocks();
});

/** The LeNet of Lee et al. 2020. */
function leNet(): Promise<Network> {
  return createNetwork({
    input: [1, 28, 28],
    encoder: poisson({ steps: 100, gain: 0.5 }),
    method: lee(),
    layers: [
      conv2d(20, 5, { padding: 2 }),
      avgPool2d(2),
      conv2d(50, 5, { padding: 2 }),
      avgPool2d(2),
      dense(200),
      dense(10),
    ],
  });
}

describe("LeNet at T = 100", () => {
  it("trains on batches of 64 in less than 48 MB and infers in less than 6 MB, as announced", async () => {
    const network = await leNet();
    const training = network.memory.training(64);
    const inference = network.memory.inference(64);
    expect(training).toBeLessThan(48 * MEGABYTE);
    expect(inference).toBeLessThan(6 * MEGABYTE);
    const data = dataset(64, [1, 28, 28], 10);
    data.inputs.forEach((x, i) => {
      data.inputs[i] = x * 0.1;
    });
    await network.predict(data.inputs);
    expectAbout(network.memory.bytes, inference);
    const trained = await leNet();
    await drain(trained.fit(data, { batchSize: 64, optimizer: sgd({ rate: 1e-3, momentum: 0.9 }) }));
    expectAbout(trained.memory.bytes, training);
  });

  it("holds bits, not floats, over time: ten times the steps cost little", async () => {
    const network = await leNet();
    const neurons = network.neurons.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
    const bitsOnly = (100 * (neurons + 784)) / 8;
    expect(network.memory.inference(1)).toBeLessThan(network.memory.inference(64));
    const parameters = network.parameters.entries().reduce((sum, [, { data }]) => sum + data.byteLength, 0);
    expect(network.memory.inference(1) - parameters).toBeLessThan(bitsOnly + 0.8 * MEGABYTE);
  });
});

describe("memory", () => {
  const create = (): Promise<Network> =>
    createNetwork({
      input: [2, 8, 8],
      encoder: poisson({ steps: 5 }),
      method: lee(),
      layers: [conv2d(8, 3), dense(20), dense(3)],
    });

  it("does not grow from step to step, nor from call to call", async () => {
    const network = await create();
    const data = dataset(100, [2, 8, 8], 3);
    const round = async () => {
      await network.evaluate(data);
      await network.predict(data.inputs);
      await network.gradients(data.inputs, data.labels, { record: ["spikes", "membranes"] });
      await network.gradients(data.inputs, data.labels);
      await network.forward(data.inputs.subarray(0, 128));
      await network.backward(new Float32Array(3));
      network.step(data.inputs.subarray(0, 128));
      network.reset();
      const optimizer = network.optimizer(sgd({ rate: 0.1, momentum: 0.5 }));
      optimizer.step((await network.gradients(data.inputs, data.labels)).gradients);
      optimizer.dispose();
    };
    const option = { batchSize: 10, optimizer: sgd({ rate: 1e-4, momentum: 0.9 }) };
    const steps = network.fit(data, { ...option, epochs: 20 });
    await steps.next();
    const first = network.memory.bytes;
    const grow = vi.spyOn(WebAssembly.Memory.prototype, "grow");
    expect(await drain(steps)).toHaveLength(199);
    expect(network.memory.bytes).toBe(first);
    expect(grow).not.toHaveBeenCalled();
    const turn = async () => {
      await round();
      await drain(network.fit(data, option));
    };
    // Regions find their places in the first turns.
    for (let i = 0; i < 3; i++) await turn();
    const { bytes } = network.memory;
    grow.mockClear();
    for (let i = 0; i < 10; i++) {
      await turn();
      expect(network.memory.bytes).toBe(bytes);
    }
    expect(grow).not.toHaveBeenCalled();
  });

  it("of a hundred networks that were disposed is given back", async () => {
    setFlagsFromString("--expose-gc");
    const collect: () => void = runInNewContext("gc");
    // Memory of WebAssembly is let go some collections later.
    const held = async (enough: number) => {
      for (let i = 0; i < 100; i++) {
        collect();
        await new Promise((resolve) => setTimeout(resolve, 10));
        if (process.memoryUsage().external < enough) break;
      }
      return process.memoryUsage().external;
    };
    const use = async (keep: boolean) => {
      const network = await createNetwork({
        input: [500],
        encoder: poisson({ steps: 1 }),
        method: lee(),
        layers: [dense(500), dense(3)],
      });
      expect(network.memory.bytes).toBeGreaterThan(900_000);
      if (!keep) network.dispose();
      return network;
    };
    await use(false);
    const before = await held(0);
    const kept: Network[] = [];
    for (let i = 0; i < 100; i++) kept.push(await use(false));
    // Disposed networks hold nothing, even while they are held.
    const most = before + 20 * MEGABYTE;
    expect(await held(most)).toBeLessThan(most);
    expect(kept).toHaveLength(100);
  });

  it("announced for other batches follows the batch", async () => {
    const network = await create();
    const { memory } = network;
    expect(memory.training(1)).toBeLessThan(memory.training(2));
    expect(memory.training(64)).toBeLessThan(memory.training(640));
    expect(memory.inference(64)).toBeLessThan(memory.training(64));
    const data = dataset(640, [2, 8, 8], 3);
    for (const batchSize of [1, 7, 640]) {
      const fresh = await create();
      const announced = fresh.memory.training(batchSize);
      for await (const _ of fresh.fit(data, { batchSize, optimizer: sgd({ rate: 1e-9, momentum: 0.9 }) }))
        break;
      expectAbout(fresh.memory.bytes, announced);
    }
    expect(() => memory.training(0)).toThrow("batchSize");
    expect(() => memory.inference(1.5)).toThrow("batchSize");
  });
});
