// The constants of the core's memory, and how positions lie in it.
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  convGeometry,
  convolved,
  denseGeometry,
  Layout,
  padded,
  pointGeometry,
  poolGeometry,
  size,
  subsampleGeometry,
} from "../../src/core/geometry.ts";
import { gather, scatter } from "../../src/core/places.ts";
import { Plan } from "../../src/core/plan.ts";
import { seedKey, streamKey } from "../../src/core/random.ts";
import { convSynapse, denseSynapse } from "../../src/methods/stdbp-program.ts";
import { cosPi, scheduleFactor } from "../../src/optimizers.ts";
import { streamKey as exactKey } from "../network/twin.ts";

const extents = fc.record({
  channels: fc.integer({ min: 1, max: 9 }),
  height: fc.integer({ min: 1, max: 9 }),
  width: fc.integer({ min: 1, max: 40 }),
});

describe("layouts", () => {
  it("give every neuron a place of its own, channels last, rows in whole words", () => {
    fc.assert(
      fc.property(extents, fc.boolean(), (extent, pad) => {
        const layout = new Layout(extent, pad);
        const positions = [...layout.positions()];
        expect(new Set(positions).size).toBe(size(extent));
        expect(Math.max(...positions)).toBeLessThan(layout.length);
        expect(layout.channels).toBe(pad ? padded(extent.channels) : extent.channels);
        expect(layout.rowWords * 32).toBeGreaterThanOrEqual(layout.rowLength);
        const { channels: c, height: h, width: w } = extent;
        positions.forEach((at, i) => {
          const [x, y, k] = [i % w, Math.floor(i / w) % h, Math.floor(i / (w * h))];
          expect(at).toBe((y * w + x) * layout.channels + k);
          expect(k).toBeLessThan(c);
        });
      }),
    );
  });

  it("place every weight of a synapse once, within its length", () => {
    const numbers = fc.tuple(
      fc.integer({ min: 1, max: 6 }),
      fc.integer({ min: 1, max: 5 }),
      fc.nat(4),
      fc.integer({ min: 1, max: 7 }),
    );
    fc.assert(
      fc.property(extents, numbers, (extent, [kernel, stride, padding, out]) => {
        const from = new Layout(extent, true);
        const side = (n: number) => convolved(n, kernel, stride, padding);
        if (side(extent.height) < 1 || side(extent.width) < 1) return;
        const to = new Layout(
          { channels: out, height: side(extent.height), width: side(extent.width) },
          true,
        );
        const conv = convGeometry(from, to, kernel, stride, padding);
        const flat = new Layout({ channels: out, height: 1, width: 1 }, true);
        const half = new Layout(
          {
            channels: out,
            height: convolved(extent.height, 1, stride, 0),
            width: convolved(extent.width, 1, stride, 0),
          },
          true,
        );
        const field = { bytes: half.length * 4, stride: half.rowLength * 4, origin: 0 };
        for (const [{ places, weightLength }, inputs] of [
          [conv, extent.channels * kernel * kernel],
          [denseGeometry(from, flat), size(extent)],
          [pointGeometry(from, half, field, stride), extent.channels],
          [denseSynapse(new Layout(extent, 16), out), size(extent)],
          [
            convSynapse(new Layout(extent, 16), to.extent, kernel, stride, padding),
            extent.channels * kernel * kernel,
          ],
        ] as const) {
          const values = Float32Array.from({ length: inputs * out }, (_, i) => 1 + i);
          const stored = new Float32Array(weightLength);
          scatter(places, out, values, stored);
          expect(stored.filter((x) => x > 0).length).toBe(values.length);
          const back = new Float32Array(values.length);
          gather(places, out, stored, back);
          expect(back).toEqual(values);
          expect(weightLength % 4).toBe(0);
        }
        // Every run of a convolution lies within its field, and the real positions within that.
        const { target, columns, rows } = conv;
        const cells = to.channels;
        for (let y = 0; y < rows.length / 4; y++) {
          for (let r = 0; r < columns.length / 4; r++) {
            const [runs, vectors] = [rows[4 * y + 2], columns[4 * r + 2]];
            if (!runs || !vectors) continue;
            const first = rows[4 * y] + columns[4 * r];
            expect(first + (runs - 1) * target.stride + vectors * 16).toBeLessThanOrEqual(target.bytes);
          }
        }
        const end = target.origin + (to.extent.height - 1) * target.stride + to.extent.width * cells * 4;
        expect(end).toBeLessThanOrEqual(target.bytes);
      }),
      { numRuns: 200 },
    );
  });

  it("route windows and every stride-th place, and nothing else", () => {
    const from = new Layout({ channels: 3, height: 5, width: 7 }, true);
    const pooled = new Layout({ channels: 3, height: 2, width: 3 }, true);
    const nowhere = 0xffffffff;
    const pool = poolGeometry(from, pooled, 2);
    expect([...pool.rows]).toEqual([0, 0, 48, 48, nowhere]);
    expect([...pool.columns.subarray(0, 8)]).toEqual([0, 4, 8, nowhere, 0, 4, 8, nowhere]);
    expect([...pool.columns.subarray(24)]).toEqual([nowhere, nowhere, nowhere, nowhere]);
    const to = new Layout({ channels: 3, height: 3, width: 4 }, true);
    const taken = subsampleGeometry(from, to, { stride: 100, origin: 8 }, 2);
    expect([...taken.rows]).toEqual([8, nowhere, 108, nowhere, 208]);
    expect([...taken.columns.subarray(4, 12)]).toEqual([
      nowhere,
      nowhere,
      nowhere,
      nowhere,
      16,
      20,
      24,
      nowhere,
    ]);
  });
});

describe("a plan", () => {
  it("takes the same room wherever it stands, and shares equal views", () => {
    const lay = (base: number) => {
      const plan = new Plan(base, 1);
      const a = plan.take(10);
      const view = plan.view(a, { sample: 4 });
      expect(plan.view(a, { sample: 4 })).toBe(view);
      expect(plan.view(a, { step: 4 })).not.toBe(view);
      expect(plan.shift(view, 0)).toBe(view);
      expect(plan.shift(view, 8)).toBe(plan.view(a + 8, { sample: 4 }));
      plan.perRank(100);
      plan.record(12, { 4: 7, 8: { f32: 0.5 } });
      plan.table(Uint32Array.of(1, 2, 3));
      plan.loop(1, [5], () => plan.emit(2, { f32: 1 }));
      return { bytes: plan.bytes, program: plan.finish(), plan };
    };
    const sizes = [64, 128, 2 ** 31, 2 ** 40].map((base) => lay(base).bytes);
    expect(new Set(sizes).size).toBe(1);
    const { plan, program } = lay(64);
    const memory = new ArrayBuffer(4096);
    plan.write(memory);
    const words = [...new Uint32Array(memory, program.address, program.words)];
    const body = [2, 3, 0x3f800000];
    expect(words).toEqual([1, 4, body.length, 5, ...body]);
  });
});

describe("keys", () => {
  it("hold seed and stream without overlap", () => {
    const seeds = fc.oneof(
      fc.integer({ min: 0, max: 2 ** 53 - 1 }),
      fc.constantFrom(0, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1),
    );
    fc.assert(
      fc.property(seeds, fc.integer({ min: 0, max: 2047 }), (seed, stream) => {
        const [a, b] = streamKey(seedKey(seed), stream);
        expect([a >>> 0, b >>> 0]).toEqual(exactKey(seed, stream));
      }),
    );
  });
});

describe("schedules", () => {
  it("take a cosine that is exact to the last places", () => {
    for (let i = 0; i <= 1000; i++)
      expect(Math.abs(cosPi(i / 1000) - Math.cos((Math.PI * i) / 1000))).toBeLessThan(1e-15);
    expect([cosPi(0), cosPi(0.5), cosPi(1)]).toEqual([1, 0, -1]);
  });

  it("fall from 1 to 0, after a warm-up from above 0 to 1", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 9 }),
        fc.constantFrom(0, 0.5, 1, 3),
        (steps, epochs, warmup) => {
          const factors = Array.from({ length: steps * epochs }, (_, i) =>
            scheduleFactor({ kind: "cosine", warmup, ramp: "linear" }, i, steps, epochs),
          );
          for (const factor of factors) expect(factor > 0 && factor <= 1).toBe(true);
          const warm = Math.ceil(warmup * steps);
          const after = factors.slice(warm);
          for (let i = 1; i < after.length; i++) expect(after[i]).toBeLessThan(after[i - 1]);
          for (let i = 1; i < Math.min(warm, factors.length); i++)
            expect(factors[i]).toBeGreaterThan(factors[i - 1]);
        },
      ),
    );
  });
});

describe("the core's own memory", () => {
  it.each([
    "spikegrad.wasm",
    "spikegrad.scalar.wasm",
  ])("%s keeps its constants below the arena, and nothing that changes", async (file) => {
    const bytes = await readFile(fileURLToPath(new URL(`../../dist/${file}`, import.meta.url)));
    const module = await WebAssembly.compile(bytes);
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536 });
    const { exports } = await WebAssembly.instantiate(module, { env: { memory, abort: () => {} } });
    const all = new Uint8Array(memory.buffer);
    expect(all.subarray(16384).every((byte) => byte === 0)).toBe(true);
    for (const [name, value] of Object.entries(exports)) expect(typeof value, name).toBe("function");
  });
});
