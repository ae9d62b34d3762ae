// Calls that overlap: they share programs, gradients and scratch memory of one network.
import {
  conv2d,
  createNetwork,
  dense,
  type Gradients,
  lee,
  type Network,
  type Progress,
  poisson,
  StateError,
  sgd,
} from "spikegrad";
import { describe, expect, it } from "vitest";
import { bits, bitsOf, dataset, drain, failure } from "./support.ts";

const SHAPE = [1, 12, 12];

function create(): Promise<Network> {
  return createNetwork({
    input: SHAPE,
    encoder: poisson({ steps: 40 }),
    method: lee(),
    layers: [conv2d(12, 5), conv2d(12, 5), dense(4)],
    seed: 5,
  });
}

const data = dataset(48, SHAPE, 4);
const size = 144;
const half = (i: number) => data.inputs.subarray(i * 24 * size, (i + 1) * 24 * size);
const labels = (i: number) => data.labels.subarray(i * 24, (i + 1) * 24);

describe("calls that overlap", () => {
  it("predict answers each caller", async () => {
    const network = await create();
    const alone = [await network.predict(half(0)), await network.predict(half(1))];
    const together = await Promise.all([network.predict(half(0)), network.predict(half(1))]);
    together.forEach(({ outputs }, i) => {
      expect(bits(outputs.data)).toEqual(bits(alone[i].outputs.data));
    });
  });

  it("gradients answers each caller, however large the batches", async () => {
    const network = await create();
    const calls = [
      () => network.gradients(half(0).subarray(0, 3 * size), labels(0).subarray(0, 3)),
      () => network.gradients(half(1), labels(1)),
      () => network.gradients(half(0), labels(0), { record: ["spikes"] }),
    ];
    const alone: Gradients[] = [];
    for (const call of calls) alone.push(await call());
    const fresh = await create();
    const together = await Promise.all([
      fresh.gradients(half(0).subarray(0, 3 * size), labels(0).subarray(0, 3)),
      fresh.gradients(half(1), labels(1)),
      fresh.gradients(half(0), labels(0), { record: ["spikes"] }),
      fresh.evaluate(data),
    ]);
    alone.forEach(({ gradients, loss }, i) => {
      expect(together[i]).toHaveProperty("loss", loss);
      expect(bitsOf(Object.entries((together[i] as Gradients).gradients))).toEqual(
        bitsOf(Object.entries(gradients)),
      );
    });
  });

  it("forward and backward of one caller are not mixed up with another's gradients", async () => {
    const network = await create();
    const slope = new Float32Array(24 * 4).fill(0.25);
    await network.forward(half(0));
    const alone = await network.backward(slope);
    await network.forward(half(0));
    const [mixed] = await Promise.all([network.backward(slope), network.gradients(half(1), labels(1))]);
    expect(bitsOf(Object.entries(mixed))).toEqual(bitsOf(Object.entries(alone)));
  });

  it("fit gives the same bits while others ask", async () => {
    const option = { epochs: 1, batchSize: 8, optimizer: sgd({ rate: 0.002, momentum: 0.9 }) };
    const plain = await create();
    await drain(plain.fit(data, option));
    const asked = await create();
    const others: Promise<unknown>[] = [];
    let live = true;
    const pester = setInterval(() => {
      if (!live || others.length > 12) return;
      others.push(asked.gradients(half(1), labels(1)), asked.predict(half(0)));
    }, 1);
    try {
      for await (const _ of asked.fit(data, option)) others.push(asked.gradients(half(0), labels(0)));
    } finally {
      live = false;
      clearInterval(pester);
    }
    expect(others.length).toBeGreaterThan(6);
    await Promise.all(others);
    expect(bitsOf(asked.parameters.entries())).toEqual(bitsOf(plain.parameters.entries()));
  });

  it("what changes the network at once is refused while it computes", async () => {
    const network = await create();
    const weights = network.parameters.get("layer2.weight");
    const optimizer = network.optimizer(sgd({ rate: 0.1 }));
    const found = await network.gradients(half(0), labels(0));
    const busy = network.gradients(half(0), labels(0));
    for (const change of [
      () => network.parameters.set("layer2.weight", weights),
      () => optimizer.step(found.gradients),
      () => network.fit(data, { optimizer: sgd({ rate: 0.1 }) }),
    ]) {
      const error = await failure(change);
      expect(error).toBeInstanceOf(StateError);
      expect(error.message).toContain("computing");
    }
    const again = await busy;
    expect(bitsOf(Object.entries(again.gradients))).toEqual(bitsOf(Object.entries(found.gradients)));
    network.parameters.set("layer2.weight", weights);
    optimizer.step(found.gradients);
  });

  it("between the steps of fit everything may be asked and changed", async () => {
    const network = await create();
    const seen: Progress[] = [];
    for await (const step of network.fit(data, { batchSize: 16, optimizer: sgd({ rate: 0.002 }) })) {
      seen.push(step);
      const { data: w } = network.parameters.get("layer2.weight");
      network.parameters.set("layer2.weight", w);
      await network.predict(half(0));
      network.step(half(0).subarray(0, size));
      await network.gradients(half(1), labels(1));
    }
    expect(seen).toHaveLength(3);
  });

  it("a failed call does not hold up the next", async () => {
    const network = await create();
    const [bad, good] = await Promise.allSettled([
      network.predict(new Float32Array(5)),
      network.predict(half(0)),
    ]);
    expect(bad.status).toBe("rejected");
    expect(good.status).toBe("fulfilled");
  });

  it("dispose ends whatever is under way, and whatever waits, with a StateError", async () => {
    const network = await create();
    const calls = [network.predict(half(0)), network.evaluate(data), network.gradients(half(0), labels(0))];
    const ended = Promise.allSettled(calls);
    network.dispose();
    for (const result of await ended) {
      expect(result.status).toBe("rejected");
      if (result.status === "rejected") expect(result.reason).toBeInstanceOf(StateError);
    }
  });
});
