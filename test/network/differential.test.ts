// Every method and layer in random small networks: what one build makes of training, the others make bit for bit.
import { readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import fc from "fast-check";
import {
  adam,
  adamax,
  avgPool2d,
  type Build,
  bpsta,
  conv2d,
  createNetwork,
  decolle,
  dense,
  direct,
  dropout,
  earliestPool2d,
  type FitOptions,
  firstSpike,
  type LayerDescriptor,
  lee,
  maxPool2d,
  type NetworkOptions,
  neuron,
  poisson,
  residual,
  sgd,
  stdbp,
  surrogate,
} from "spikegrad";
import { expect, it } from "vitest";
import { check } from "../kept.ts";
import { bits, dataset } from "./support.ts";

const RUNS = 60;

const anyCase = fc.record({
  method: fc.constantFrom("lee", "bpsta", "decolle", "stdbp", "surrogate"),
  channels: fc.integer({ min: 1, max: 3 }),
  side: fc.integer({ min: 5, max: 9 }),
  convs: fc.integer({ min: 0, max: 2 }),
  out: fc.integer({ min: 1, max: 18 }),
  kernel: fc.integer({ min: 1, max: 3 }),
  stride: fc.integer({ min: 1, max: 2 }),
  padding: fc.integer({ min: 0, max: 2 }),
  pool: fc.constantFrom("none", "first", "second"),
  hidden: fc.integer({ min: 1, max: 70 }),
  classes: fc.integer({ min: 1, max: 19 }),
  steps: fc.integer({ min: 1, max: 6 }),
  samples: fc.integer({ min: 1, max: 11 }),
  batch: fc.integer({ min: 1, max: 9 }),
  /** Dropout; recurrence, a residual block, or learning online, by method. */
  masked: fc.boolean(),
  special: fc.boolean(),
  constant: fc.boolean(),
  gain: fc.constantFrom(0.5, 1, 3),
  optimizer: fc.constantFrom("sgd", "adam", "adamax"),
  seed: fc.integer({ min: 0, max: 1e6 }),
});
type Case = typeof anyCase extends fc.Arbitrary<infer T> ? T : never;

function convsOf(c: Case, first: LayerDescriptor[], second: LayerDescriptor[]): LayerDescriptor[] {
  if (c.convs === 0) return [];
  const conv = conv2d(c.out, c.kernel, { padding: c.padding, stride: c.stride });
  const pool = c.pool === "none" ? [] : c.pool === "first" ? first : second;
  return [conv, ...pool, ...(c.convs === 2 ? [conv2d(1 + (c.out % 7), 2, { padding: 1 })] : [])];
}

function networkOf(c: Case): NetworkOptions {
  const input = [c.channels, c.side, c.side];
  const drop = c.masked ? [dropout(0.3)] : [];
  const spiking = c.constant ? direct({ steps: c.steps }) : poisson({ steps: c.steps });
  const common = { input, seed: c.seed };
  const average = [avgPool2d(2)];
  const largest = [maxPool2d(2)];
  switch (c.method) {
    case "lee": {
      const block = c.special && c.convs ? [residual([conv2d(3, 3, { padding: 1 }), conv2d(4, 1)])] : [];
      const layers = [...convsOf(c, average, average), ...block, dense(c.hidden), ...drop, dense(c.classes)];
      return { ...common, encoder: poisson({ steps: c.steps }), method: lee({ leak: 0.9 }), layers };
    }
    case "bpsta": {
      const layers = [...convsOf(c, largest, average), dense(c.hidden), ...drop, dense(2 * c.classes)];
      return { ...common, encoder: spiking, method: bpsta({ vote: 2 }), layers };
    }
    case "decolle": {
      const method = decolle({
        classes: c.classes,
        burnIn: 0,
        online: c.special,
        regularizer: c.masked ? 0.1 : 0,
      });
      return {
        ...common,
        encoder: poisson({ steps: c.steps }),
        method,
        layers: [...convsOf(c, largest, largest), ...drop.slice(c.convs ? 0 : 1), dense(c.hidden)],
      };
    }
    case "stdbp": {
      const earliest = [earliestPool2d(2)];
      const layers = [...convsOf(c, earliest, earliest), dense(c.hidden), dense(c.classes)];
      return {
        ...common,
        encoder: firstSpike({ noise: c.masked ? 0.05 : 0 }),
        method: stdbp({ silentDelay: 1 }),
        layers,
      };
    }
    default: {
      const method = surrogate({
        decay: 0.9,
        ...(c.special ? { synapticDecay: 0.6 } : {}),
        derivative: "atan",
      });
      const hidden = [
        dense(c.hidden, { recurrent: c.special }),
        neuron({ learnDecay: c.masked, threshold: 0.5 }),
      ];
      const explicit = convsOf({ ...c, convs: Math.min(c.convs, 1) }, average, largest);
      const maps = explicit.length > 0 ? [...explicit, neuron()] : [];
      return {
        ...common,
        encoder: spiking,
        method,
        layers: [...maps, ...hidden, ...drop, dense(c.classes), neuron()],
      };
    }
  }
}

const OPTIMIZERS = {
  sgd: sgd({ rate: 0.01, momentum: 0.9, weightDecay: 1e-3 }),
  adam: adam({ rate: 0.01 }),
  adamax: adamax({ rate: 0.01 }),
};

/** Two epochs: the checkpoint (parameters, statistics, optimizer), answers together and one by one, spikes. */
async function outcome(c: Case, how: { build?: Build; threads?: number }) {
  const network = await createNetwork({ ...networkOf(c), ...how });
  for (const [name, { shape, data }] of network.parameters.entries())
    if (shape.length > 1)
      network.parameters.set(
        name,
        data.map((w) => w * c.gain),
      );
  const data = dataset(c.samples, [c.channels, c.side, c.side], c.classes, { seed: c.seed });
  const fit: FitOptions = {
    epochs: 2,
    batchSize: c.batch,
    optimizer: OPTIMIZERS[c.optimizer],
    onNonFinite: "skip",
  };
  let spikes = 0;
  for await (const { spikesPerNeuron } of network.fit(data, fit)) spikes += spikesPerNeuron;
  const { outputs } = await network.predict(data.inputs);
  const size = data.inputs.length / c.samples;
  const single: number[] = [];
  for (let i = 0; i < c.samples; i++) {
    const inputs = data.inputs.subarray(i * size, (i + 1) * size);
    single.push(...bits((await network.predict(inputs, { firstSample: i })).outputs.data));
  }
  const checkpoint = network.checkpoint();
  network.dispose();
  return {
    checkpoint: Buffer.from(checkpoint).toString("base64"),
    outputs: [...bits(outputs.data)],
    single,
    spikes,
  };
}

it("trains to the same bits in both builds; a sample's answer does not depend on its company", async () => {
  const seen: Record<string, number> = {};
  await check(
    "differential",
    anyCase,
    async (c) => {
      const simd = await outcome(c, { build: "simd" });
      expect(await outcome(c, { build: "scalar" })).toEqual(simd);
      expect(await outcome(c, { threads: 2 })).toEqual(simd);
      expect(simd.single).toEqual(simd.outputs);
      if (simd.spikes > 0) seen[c.method] = (seen[c.method] ?? 0) + 1;
    },
    { numRuns: RUNS },
  );
  // Every method has been there, and has spiked.
  expect(Object.keys(seen).length).toBe(5);
});

it("a counterexample is kept, and tried first", async () => {
  const file = pathToFileURL(join(tmpdir(), `spikegrad-kept-${process.pid}.json`));
  writeFileSync(file, "{}\n");
  const tried: number[] = [];
  const property = async (n: number) => {
    tried.push(n);
    expect(n).toBeLessThan(1000);
  };
  const numbers = fc.integer({ min: 0, max: 1e6 });
  await expect(check("numbers", numbers, property, { numRuns: 50, file })).rejects.toThrow('of "numbers"');
  expect(JSON.parse(readFileSync(file, "utf8"))).toEqual({ numbers: [1000] });
  tried.length = 0;
  await expect(check("numbers", numbers, property, { numRuns: 50, file })).rejects.toThrow();
  expect(tried[0]).toBe(1000);
});
