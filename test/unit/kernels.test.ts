// Kernels that are chosen by density give the same bits: events, lists, dense products; with SIMD and without.
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { BackwardFlags, Deliver } from "../../assembly/abi.ts";
import { type Source, Synapse } from "../../bench/kernels/synapse.ts";
import {
  convGeometry,
  convolved,
  denseGeometry,
  type FanoutGeometry,
  Layout,
} from "../../src/core/geometry.ts";
import { Plan } from "../../src/core/plan.ts";
import { compile } from "./compile.ts";

const SOURCE = `
export { deliver } from "./assembly/synapse/deliver";
export { fanoutBackward, fanoutForward } from "./assembly/synapse/fanout";
export { sweepBackward, sweepForward, sweepLists, sweepProduct } from "./assembly/synapse/sweep";
export { gather, windowProduct } from "./assembly/synapse/window";
`;

interface Kernels {
  deliver(record: number, frame: number): void;
  fanoutBackward(fanout: number, flags: number, frame: number): void;
  fanoutForward(fanout: number, frame: number): void;
  sweepBackward(fanout: number, steps: number, flags: number, frame: number): void;
  sweepForward(fanout: number, steps: number, frame: number): void;
  sweepLists(fanout: number, steps: number, frame: number): void;
  sweepProduct(fanout: number, steps: number, frame: number): void;
  gather(fanout: number, window: number, data: number, frame: number): void;
  windowProduct(fanout: number, window: number, data: number, amplitude: number, frame: number): void;
}

type Core = Awaited<ReturnType<typeof compile<Kernels>>>;
let simd: Core;
let scalar: Core;
beforeAll(async () => {
  [simd, scalar] = await Promise.all([compile<Kernels>(SOURCE, true), compile<Kernels>(SOURCE, false)]);
}, 120_000);

const kinds = fc.constantFrom<Source["kind"]>("bits", "values", "amplitude");
const density = fc.constantFrom(0.02, 0.2, 0.5, 0.9, 1);

/** Uniform numbers from a seed. */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Currents after `run`, as bits, of the same weights, activity and first currents each time. */
function currents(
  core: Core,
  source: Source,
  geometry: FanoutGeometry,
  dense: number,
  seed: number,
  run: (exports: Kernels, synapse: Synapse) => void,
): Int32Array {
  const synapse = new Synapse(core.memory, source, geometry);
  const next = numbers(seed);
  synapse.fill(dense, next);
  if (synapse.amplitude) {
    const factors = new Float32Array(core.memory.buffer, synapse.amplitude, source.layout.length);
    for (let i = 0; i < factors.length; i++) factors[i] = next() - 0.5;
  }
  for (const array of [synapse.weights, synapse.target]) {
    for (let i = 0; i < array.length; i++) array[i] = next() - 0.5;
  }
  run(core.exports, synapse);
  return new Int32Array(synapse.target.slice().buffer);
}

/** G and weight gradient after `run`, as bits, likewise; both begin with numbers, where only real inputs count. */
function backward(
  core: Core,
  source: Source,
  geometry: FanoutGeometry,
  dense: number,
  seed: number,
  run: (exports: Kernels, synapse: Synapse) => void,
): { delivered: Int32Array; gradient: Int32Array } {
  let found = { delivered: new Int32Array(), gradient: new Int32Array() };
  currents(core, source, geometry, dense, seed, (exports, synapse) => {
    synapse.delivered.fill(0);
    synapse.gradient.fill(0.125);
    run(exports, synapse);
    found = {
      delivered: new Int32Array(synapse.delivered.slice().buffer),
      gradient: new Int32Array(synapse.gradient.slice().buffer),
    };
  });
  return found;
}

describe("kernels", () => {
  it("of a convolution", () => {
    const side = fc.integer({ min: 1, max: 9 });
    const cases = fc.record({
      kind: kinds,
      channels: fc.integer({ min: 1, max: 40 }),
      out: fc.integer({ min: 1, max: 70 }),
      height: side,
      width: side,
      kernel: fc.integer({ min: 1, max: 5 }),
      stride: fc.integer({ min: 1, max: 3 }),
      padding: fc.integer({ min: 0, max: 3 }),
      pad: fc.boolean(),
      density,
      seed: fc.nat(),
    });
    const property = fc.property(
      cases,
      ({ kind, channels, out, height, width, kernel, stride, padding, pad, density, seed }) => {
        fc.pre(kernel <= Math.min(height, width) + 2 * padding);
        const from = new Layout({ channels, height, width }, pad);
        const rows = convolved(height, kernel, stride, padding);
        const columns = convolved(width, kernel, stride, padding);
        const to = new Layout({ channels: out, height: rows, width: columns }, true);
        const geometry = convGeometry(from, to, kernel, stride, padding);
        const source: Source = { layout: from, steps: 1, kind };
        const ways: ((core: Kernels, synapse: Synapse) => void)[] = [
          (core, { events, frame }) => core.fanoutForward(events, frame),
          (core, { fanout, frame }) => core.fanoutForward(fanout, frame),
          (core, { fanout, window, data, amplitude, frame }) =>
            core.windowProduct(fanout, window, data, amplitude, frame),
        ];
        if (kind === "bits")
          ways.push((core, { fanout, window, data, frame }) => core.gather(fanout, window, data, frame));
        const found = ways.map((way) =>
          [simd, scalar].map((core) => inner(currents(core, source, geometry, density, seed, way))),
        );
        for (const one of found.flat()) expect(one).toEqual(found[0][0]);

        /** Real outputs: what lies in the border is of no meaning. */
        function inner(all: Int32Array): Int32Array {
          const { origin, stride: rowBytes } = geometry.target;
          return Int32Array.from({ length: to.length }, (_, i) => {
            const y = Math.floor(i / to.rowLength);
            return all[(origin + y * rowBytes) / 4 + (i % to.rowLength)];
          });
        }
      },
    );
    fc.assert(property, { numRuns: 60 });
  });

  it("of G, with the weight gradient on the way and without", () => {
    const side = fc.integer({ min: 1, max: 6 });
    const cases = fc.record({
      channels: fc.integer({ min: 1, max: 12 }),
      out: fc.integer({ min: 1, max: 20 }),
      height: side,
      width: side,
      kernel: fc.integer({ min: 1, max: 3 }),
      stride: fc.integer({ min: 1, max: 2 }),
      density,
      seed: fc.nat(),
    });
    const property = fc.property(cases, ({ channels, out, height, width, kernel, stride, density, seed }) => {
      const padding = 1;
      const from = new Layout({ channels, height, width }, true);
      const rows = convolved(height, kernel, stride, padding);
      const columns = convolved(width, kernel, stride, padding);
      const geometry = convGeometry(
        from,
        new Layout({ channels: out, height: rows, width: columns }, true),
        kernel,
        stride,
        padding,
      );
      const source: Source = { layout: from, steps: 1, kind: "bits" };
      const found = [
        BackwardFlags.Deliver,
        BackwardFlags.Deliver | BackwardFlags.Accumulate,
        BackwardFlags.Deliver | BackwardFlags.Weight,
      ].map((flags) =>
        [simd, scalar].map(
          (core) =>
            backward(core, source, geometry, density, seed, (exports, { fanout, frame }) =>
              exports.fanoutBackward(fanout, flags, frame),
            ).delivered,
        ),
      );
      for (const one of found.flat()) expect(one).toEqual(found[0][0]);
    });
    fc.assert(property, { numRuns: 60 });
  });

  it("of G and the weight gradient, event by event and channel by channel", () => {
    const cases = fc.record({
      kind: kinds,
      channels: fc.integer({ min: 1, max: 70 }),
      out: fc.integer({ min: 1, max: 20 }),
      height: fc.integer({ min: 1, max: 9 }),
      width: fc.integer({ min: 1, max: 9 }),
      kernel: fc.integer({ min: 1, max: 3 }),
      stride: fc.integer({ min: 1, max: 2 }),
      pad: fc.boolean(),
      accumulate: fc.constantFrom(0, BackwardFlags.Accumulate),
      density,
      seed: fc.nat(),
    });
    const property = fc.property(cases, (drawn) => {
      const { kind, channels, out, height, width, kernel, stride, pad, accumulate, density, seed } = drawn;
      const from = new Layout({ channels, height, width }, pad);
      const rows = convolved(height, kernel, stride, 1);
      const columns = convolved(width, kernel, stride, 1);
      const to = new Layout({ channels: out, height: rows, width: columns }, true);
      const geometry = convGeometry(from, to, kernel, stride, 1);
      const source: Source = { layout: from, steps: 1, kind };
      const flags = BackwardFlags.Deliver | BackwardFlags.Weight | accumulate;
      const found = (["events", "fanout"] as const).map((record) =>
        [simd, scalar].map((core) =>
          backward(core, source, geometry, density, seed, (exports, synapse) =>
            exports.fanoutBackward(synapse[record], flags, synapse.frame),
          ),
        ),
      );
      for (const one of found.flat()) expect(one).toEqual(found[0][0]);
    });
    fc.assert(property, { numRuns: 60 });
  });

  it("of a dense synapse over all steps, backward", () => {
    const cases = fc.record({
      kind: kinds,
      channels: fc.integer({ min: 1, max: 70 }),
      height: fc.integer({ min: 1, max: 3 }),
      out: fc.integer({ min: 1, max: 40 }),
      steps: fc.integer({ min: 1, max: 20 }),
      deliver: fc.constantFrom(0, BackwardFlags.Deliver),
      density,
      seed: fc.nat(),
    });
    const property = fc.property(cases, ({ kind, channels, height, out, steps, deliver, density, seed }) => {
      const layout = new Layout({ channels, height, width: 1 }, true);
      const geometry = denseGeometry(layout, new Layout({ channels: out, height: 1, width: 1 }, true));
      const flags = deliver | BackwardFlags.Weight;
      const ways: ((core: Kernels, synapse: Synapse) => void)[] = [
        (core, synapse) => {
          for (let step = steps - 1; step >= 0; step--) {
            synapse.step = step;
            core.fanoutBackward(synapse.events, flags, synapse.frame);
          }
          synapse.step = 0;
        },
        (core, { fanout, frame }) => core.sweepBackward(fanout, steps, flags, frame),
      ];
      const found = ways.map((way) =>
        [simd, scalar].map((core) => backward(core, { layout, steps, kind }, geometry, density, seed, way)),
      );
      for (const one of found.flat()) expect(one).toEqual(found[0][0]);
    });
    fc.assert(property, { numRuns: 60 });
  });

  it("of G of every neuron at every step", () => {
    const cases = fc.record({
      neurons: fc.integer({ min: 1, max: 10 }).map((n) => 4 * n),
      out: fc.integer({ min: 1, max: 20 }),
      steps: fc.integer({ min: 1, max: 6 }),
      seed: fc.nat(),
    });
    const property = fc.property(cases, ({ neurons, out, steps, seed }) => {
      const layout = new Layout({ channels: neurons, height: 1, width: 1 }, true);
      const to = new Layout({ channels: out, height: 1, width: 1 }, true);
      const geometry = denseGeometry(layout, to);
      const source: Source = { layout, steps, kind: "bits" };
      const ways: ((core: Core, synapse: Synapse) => void)[] = [
        ({ exports }, synapse) => {
          for (let step = 0; step < steps; step++) {
            synapse.step = step;
            exports.fanoutBackward(synapse.events, BackwardFlags.Deliver, synapse.frame);
          }
          synapse.step = 0;
        },
        ({ exports, memory }, synapse) => {
          const plan = new Plan(memory.buffer.byteLength, 1);
          const record = plan.record(Deliver.Size, {
            [Deliver.Weight]: plan.view(synapse.weights.byteOffset),
            [Deliver.WeightStride]: geometry.weightStride,
            [Deliver.Neurons]: layout.length,
            [Deliver.Delta]: plan.view(synapse.target.byteOffset, { step: geometry.target.bytes }),
            [Deliver.Delivered]: plan.view(synapse.delivered.byteOffset, { step: layout.length * 4 }),
            [Deliver.Steps]: steps,
            [Deliver.Outputs]: out,
          });
          plan.finish();
          memory.grow(Math.ceil(plan.bytes / 65536));
          plan.write(memory.buffer);
          exports.deliver(record, synapse.frame);
        },
      ];
      const found = ways.map((way) =>
        [simd, scalar].map(
          (core) =>
            backward(core, source, geometry, 1, seed, (_, synapse) => {
              // Weights and deltas of padding are 0, as the library's are.
              for (const [array, length] of [
                [synapse.target, to.length],
                [synapse.weights, geometry.weightStride / 4],
              ] as const) {
                for (let i = 0; i < array.length; i++) if (i % length >= out) array[i] = 0;
              }
              way(core, synapse);
            }).delivered,
        ),
      );
      for (const one of found.flat()) expect(one).toEqual(found[0][0]);
    });
    fc.assert(property, { numRuns: 60 });
  });

  it("of a dense synapse over all steps", () => {
    const cases = fc.record({
      kind: kinds,
      channels: fc.integer({ min: 1, max: 300 }),
      height: fc.integer({ min: 1, max: 3 }),
      width: fc.integer({ min: 1, max: 3 }),
      out: fc.integer({ min: 1, max: 90 }),
      steps: fc.integer({ min: 1, max: 40 }),
      density,
      seed: fc.nat(),
    });
    const property = fc.property(cases, ({ kind, channels, height, width, out, steps, density, seed }) => {
      const layout = new Layout({ channels, height, width }, true);
      const geometry = denseGeometry(layout, new Layout({ channels: out, height: 1, width: 1 }, true));
      const source: Source = { layout, steps, kind };
      const ways: ((core: Kernels, synapse: Synapse) => void)[] = [
        (core, synapse) => {
          for (let step = 0; step < steps; step++) {
            synapse.step = step;
            core.fanoutForward(synapse.events, synapse.frame);
          }
          synapse.step = 0;
        },
        (core, { fanout, frame }) => core.sweepForward(fanout, steps, frame),
        (core, { fanout, frame }) => core.sweepLists(fanout, steps, frame),
      ];
      if (kind !== "amplitude")
        ways.push((core, { fanout, frame }) => core.sweepProduct(fanout, steps, frame));
      const found = ways.map((way) =>
        [simd, scalar].map((core) => currents(core, source, geometry, density, seed, way)),
      );
      for (const one of found.flat()) expect(one).toEqual(found[0][0]);
    });
    fc.assert(property, { numRuns: 60 });
  });
});
