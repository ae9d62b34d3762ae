import { conv2d, createNetwork, dense, lee, spikes } from "spikegrad";
import { beforeAll, describe, expect, it } from "vitest";
import { philox as exact, randomWord, streamKey } from "../network/twin.ts";
import { compile } from "./compile.ts";

interface Harness {
  one(out: number, c0: number, c1: number, c2: number, c3: number, k0: number, k1: number): void;
  sixteen(out: number, first: number, c1: number, c2: number, c3: number, k0: number, k1: number): void;
  quantile(p: number): number;
  normals(
    out: number,
    count: number,
    mean: number,
    deviation: number,
    c1: number,
    k0: number,
    k1: number,
  ): void;
  uniforms(out: number, count: number, low: number, high: number, c1: number, k0: number, k1: number): void;
  permute(list: number, count: number, epoch: number, k0: number, k1: number): void;
}

const SOURCE = `
import { philox, philox16 } from "./assembly/math/philox";
import { fillNormal, fillUniform, normalQuantile, shuffle } from "./assembly/math/normal";
export function one(out: usize, c0: u32, c1: u32, c2: u32, c3: u32, k0: u32, k1: u32): void {
  philox(out, c0, c1, c2, c3, k0, k1);
}
export function sixteen(out: usize, first: u32, c1: u32, c2: u32, c3: u32, k0: u32, k1: u32): void {
  philox16(out, first, c1, c2, c3, k0, k1);
}
export function quantile(p: f64): f64 { return normalQuantile(p); }
export function normals(out: usize, count: i32, mean: f64, deviation: f64, c1: u32, k0: u32, k1: u32): void {
  fillNormal(out, 0, count, mean, deviation, c1, 0, 0, k0, k1, 32768);
}
export function uniforms(out: usize, count: i32, low: f64, high: f64, c1: u32, k0: u32, k1: u32): void {
  fillUniform(out, 0, count, low, high, c1, 0, 0, k0, k1, 32768);
}
export function permute(list: usize, count: i32, epoch: u32, k0: u32, k1: u32): void {
  shuffle(list, count, epoch, k0, k1, 32768);
}`;

const OUT = 40000;
const ONES = 0xffffffff;

describe.each([
  ["SIMD", true],
  ["scalar", false],
])("random numbers of the %s core", (_, simd) => {
  let core: Harness;
  let memory: WebAssembly.Memory;
  const words = (count: number): number[] => [...new Uint32Array(memory.buffer, OUT, count)];
  const floats = (count: number): number[] => [...new Float32Array(memory.buffer, OUT, count)];

  beforeAll(async () => {
    const compiled = await compile<Harness>(SOURCE, simd);
    core = compiled.exports;
    memory = compiled.memory;
  });

  // Random123's known answers (kat_vectors, philox4x32 with 10 rounds).
  it.each([
    [
      [0, 0, 0, 0],
      [0, 0],
      [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
    ],
    [
      [ONES, ONES, ONES, ONES],
      [ONES, ONES],
      [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    ],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    ],
  ])("Philox4x32-10 of %j under %j is %j", (counter, key, answer) => {
    const [c0, c1, c2, c3] = counter;
    core.one(OUT, c0, c1, c2, c3, key[0], key[1]);
    expect(words(4)).toEqual(answer);
    core.sixteen(OUT, c0, c1, c2, c3, key[0], key[1]);
    expect([0, 4, 8, 12].map((i) => words(16)[i])).toEqual(answer);
    expect(exact(counter, key)).toEqual(answer);
  });

  it("sixteen words are those of four counters in a row, past the end of 32 bits too", () => {
    for (const first of [0, 4, 0x7ffffffe, 0xfffffffe, 0xffffffff]) {
      core.sixteen(OUT, first, 7, 0xdeadbeef, 3, 0x12345678, 0xfedcba98);
      const found = words(16);
      for (let lane = 0; lane < 4; lane++) {
        const wanted = exact([(first + lane) >>> 0, 7, 0xdeadbeef, 3], [0x12345678, 0xfedcba98]);
        expect([0, 1, 2, 3].map((w) => found[4 * w + lane])).toEqual(wanted);
      }
    }
  });

  it("position i holds word (i >> 2) & 3 of counter 4 (i >> 4) + (i & 3)", () => {
    const found: number[] = [];
    for (let i = 0; i < 48; i += 16) {
      core.sixteen(OUT, i >> 2, 5, 6, 7, 8, 9);
      found.push(...words(16));
    }
    expect(found).toEqual(found.map((_, i) => randomWord([8, 9], i, 5, 6, 7)));
  });

  // (word + 1/2) / 2^32 of a random word; the quantiles from mpmath.
  it.each([
    [0, -6.33795775455],
    [1, -6.16642951781],
    [7, -5.90659734398],
    [1000, -5.03985112596],
    [123456, -4.0228876958],
    [16777216, -2.66006745857],
    [268435456, -1.5341205434],
    [322122547, -1.43953147044],
    [322122548, -1.4395314688],
    [536870912, -1.15034937981],
    [1000000000, -0.72955655307],
    [2147483647, -2.918099372917e-10],
    [2147483648, 2.918099372917e-10],
    [3000000000, 0.52006806184],
    [3972844748, 1.43953147044],
    [3972844749, 1.43953147208],
    [4000000000, 1.48571375589],
    [4294967286, 5.86751379107],
    [4294967295, 6.33795775455],
  ])("the normal quantile at word %i is %d to 2e-7", (word, wanted) => {
    const found = core.quantile((word + 0.5) / 2 ** 32);
    expect(Math.abs(found / wanted - 1)).toBeLessThan(2e-7);
  });

  it.each([
    [1e-12, -7.0344838253],
    [1e-20, -9.26234008979],
    [1e-100, -21.27345356096],
    [1e-300, -37.0470962994],
  ])("the normal quantile far out, at %d", (p, wanted) => {
    expect(Math.abs(core.quantile(p) / wanted - 1)).toBeLessThan(2e-7);
  });

  it("normal numbers are quantiles of the words, counted through", () => {
    const count = 1001;
    core.normals(OUT, count, 0.25, 0.5, 3, 11, 12);
    const found = floats(count);
    const word = (i: number) => exact([i >> 2, 3, 0, 0], [11, 12])[i & 3];
    expect(found).toEqual(
      found.map((_, i) => Math.fround(0.25 + 0.5 * core.quantile((word(i) + 0.5) / 2 ** 32))),
    );
  });

  it("normal numbers have their mean and deviation", () => {
    const count = 5000;
    core.normals(OUT - 30000, count, 0, 1, 0, 1, 0);
    const list = [...new Float32Array(memory.buffer, OUT - 30000, count)];
    const mean = list.reduce((a, b) => a + b) / count;
    expect(Math.abs(mean)).toBeLessThan(4 / Math.sqrt(count));
    const variance = list.reduce((sum, x) => sum + (x - mean) ** 2, 0) / count;
    expect(Math.abs(variance - 1)).toBeLessThan(4 * Math.sqrt(2 / count));
  });

  it("uniform numbers keep to their range", () => {
    core.uniforms(OUT, 1001, -0.5, 2, 0, 4, 5);
    const word = (i: number) => exact([i >> 2, 0, 0, 0], [4, 5])[i & 3];
    const found = floats(1001);
    expect(found).toEqual(found.map((_, i) => Math.fround(-0.5 + 2.5 * ((word(i) + 0.5) / 2 ** 32))));
    for (const x of found) expect(x >= -0.5 && x <= 2).toBe(true);
  });

  it("a shuffle is a permutation, another each epoch, and pinned", () => {
    const shuffled = (count: number, epoch: number): number[] => {
      new Uint32Array(memory.buffer, OUT, count).forEach((_, i, list) => {
        list[i] = i;
      });
      core.permute(OUT, count, epoch, 1, 2 ** 22);
      return words(count);
    };
    const first = shuffled(1000, 0);
    expect([...first].sort((a, b) => a - b)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect(shuffled(1000, 0)).toEqual(first);
    expect(shuffled(1000, 1)).not.toEqual(first);
    expect(shuffled(1, 0)).toEqual([0]);
    const plain = Array.from({ length: 1000 }, (_, i) => i);
    for (let i = 999; i > 0; i--) {
      const j = Number((BigInt(exact([i, 0, 0, 0], [1, 2 ** 22])[0]) * BigInt(i + 1)) >> 32n);
      [plain[i], plain[j]] = [plain[j], plain[i]];
    }
    expect(first).toEqual(plain);
    expect(shuffled(8, 0)).toEqual([4, 3, 0, 6, 7, 2, 5, 1]);
  });

  it("initial weights are normal numbers of the stream of their seed, in the order of PyTorch's tensors", async () => {
    const seed = 2 ** 53 - 12345;
    const network = await createNetwork({
      input: [3, 6, 5],
      encoder: spikes({ steps: 1 }),
      method: lee(),
      layers: [conv2d(5, 3), conv2d(2, 2, { stride: 2 }), dense(7)],
      seed,
      build: simd ? "simd" : "scalar",
    });
    const [key0, key1] = streamKey(seed, 1);
    network.parameters.entries().forEach(([name, { shape, data }], tensor) => {
      const fanIn = shape.slice(1).reduce((a, b) => a * b, 1);
      core.normals(OUT, data.length, 0, Math.sqrt(2 / fanIn), tensor, key0, key1);
      expect([...data], name).toEqual(floats(data.length));
    });
  });
});
