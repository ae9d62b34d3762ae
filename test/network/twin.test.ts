// The core against a second, plain reading of the method's equations (twin.ts), on random networks.
import type { Gradients, Network, Tensor } from "spikegrad";
import { describe, expect, it } from "vitest";
import { check } from "../kept.ts";
import { anyCase, type Case, type Prepared, prepare, trainOf } from "./cases.ts";
import { backward, type Forward, forward, type Stage, squaredError, stagesOf } from "./twin.ts";

const RUNS = 300;

interface Answer extends Prepared {
  readonly found: Gradients;
}

async function run(c: Case, build: "simd" | "scalar"): Promise<Answer> {
  const prepared = await prepare(c, { build });
  const { network, inputs, labels, masks } = prepared;
  const found = await network.gradients(inputs, labels, {
    record: ["spikes", "membranes"],
    dropoutMasks: Object.keys(masks).length ? masks : undefined,
  });
  return { ...prepared, found };
}

/** `[T, B, n]` of a recorded tensor at step t, sample b. */
function slice({ data }: Tensor, t: number, b: number, batch: number, n: number): Float32Array {
  return data.subarray((t * batch + b) * n, (t * batch + b + 1) * n);
}

function masksOf(masks: Record<string, Float32Array>, b: number, stages: readonly Stage[]) {
  return Object.fromEntries(
    stages
      .filter(({ name }) => masks[name])
      .map(({ name, neurons }) => [name, masks[name].subarray(b * neurons, (b + 1) * neurons)]),
  );
}

function bits(data: Float32Array): Uint32Array {
  return new Uint32Array(data.buffer, data.byteOffset, data.length);
}

function expectSameBits(a: Record<string, Tensor>, b: Record<string, Tensor>): void {
  expect(Object.keys(a)).toEqual(Object.keys(b));
  for (const name of Object.keys(a)) {
    expect(a[name].shape, name).toEqual(b[name].shape);
    const [x, y] = [bits(a[name].data), bits(b[name].data)];
    const at = x.findIndex((word, i) => word !== y[i]);
    expect(at, `${name}[${at}]: ${a[name].data[at]} and ${b[name].data[at]}`).toBe(-1);
  }
}

/** Largest error over the largest entry. */
function relative(found: ArrayLike<number>, wanted: ArrayLike<number>): number {
  let error = 0;
  let scale = 0;
  for (let i = 0; i < wanted.length; i++) {
    error = Math.max(error, Math.abs(found[i] - wanted[i]));
    scale = Math.max(scale, Math.abs(wanted[i]));
    if (!Number.isFinite(found[i])) return Number.POSITIVE_INFINITY;
  }
  return scale < 1e-12 ? error : error / scale;
}

function dispose(...networks: Network[]): void {
  for (const network of networks) network.dispose();
}

describe("random networks", () => {
  const seen = { spikes: 0, silent: 0, all: 0, compared: 0, skipped: 0 };

  it("agree with the equations: spikes and membranes bit for bit, gradients to 1e-4; both builds give the same bits", async () => {
    await check(
      "lee",
      anyCase,
      async (c) => {
        const simd = await run(c, "simd");
        const scalar = await run(c, "scalar");
        const { twin, weights, inputs, labels, masks, found, network } = simd;
        expectSameBits(found.gradients, scalar.found.gradients);
        expectSameBits(found.records, scalar.found.records);
        expectSameBits({ outputs: found.outputs }, { outputs: scalar.found.outputs });
        expect(found.loss).toBe(scalar.found.loss);

        const stages = stagesOf(twin);
        const size = c.input.reduce((a, b) => a * b, 1);
        const gradients = Object.fromEntries(
          Object.entries(weights).map(([name, w]) => [name, new Float64Array(w.length)]),
        );
        let loss = 0;
        for (let b = 0; b < c.batch; b++) {
          const train = trainOf(inputs, b, c.steps, size);
          const mask = masksOf(masks, b, stages);
          const single = forward(twin, stages, weights, train, mask, Math.fround);
          compareForward(c, stages, single, found, b);
          const double = forward(twin, stages, weights, train, mask);
          if (double.margin > 1e-5) {
            seen.compared++;
            expect(double.spikes).toEqual(single.spikes);
          } else seen.skipped++;
          const error = squaredError(single.outputs, labels[b]);
          loss += error.loss;
          backward(twin, stages, weights, train, mask, single, error.delta, gradients);
        }
        expect(Math.abs(found.loss - loss)).toBeLessThanOrEqual(1e-5 * Math.max(1, loss));
        for (const [name, wanted] of Object.entries(gradients)) {
          expect(relative(found.gradients[name].data, wanted), name).toBeLessThanOrEqual(1e-4);
        }
        dispose(network, scalar.network);
      },
      { numRuns: RUNS },
    );
    // The cases must have been worth the while.
    expect(seen.spikes).toBeGreaterThan(0);
    expect(seen.silent).toBeGreaterThan(0);
    expect(seen.all).toBeGreaterThan(0);
    expect(seen.compared).toBeGreaterThan(seen.skipped / 4);
  });

  function compareForward(
    c: Case,
    stages: readonly Stage[],
    wanted: Forward,
    found: Gradients,
    b: number,
  ): void {
    const { classes, batch, steps } = c;
    expect([...found.outputs.data.subarray(b * classes, (b + 1) * classes)]).toEqual([...wanted.outputs]);
    stages.forEach((stage, i) => {
      let spikes = 0;
      for (let t = 0; t < steps; t++) {
        const membranes = slice(found.records[`${stage.name}.membranes`], t, b, batch, stage.neurons);
        expect(relative(membranes, wanted.membranes[i][t]), `${stage.name}.membranes at ${t}`).toBe(0);
        if (stage.readout) continue;
        const train = slice(found.records[`${stage.name}.spikes`], t, b, batch, stage.neurons);
        expect([...train], `${stage.name}.spikes at ${t}`).toEqual([...wanted.spikes[i][t]]);
        for (const o of train) if (o !== 0) spikes++;
      }
      if (stage.readout) return;
      seen.spikes += spikes;
      if (spikes === 0) seen.silent++;
      if (spikes === stage.neurons * steps) seen.all++;
    });
  }
});
