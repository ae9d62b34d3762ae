import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as library from "spikegrad";
import * as io from "spikegrad/io";
import { describe, expect, it } from "vitest";
import {
  compareCase,
  differingBits,
  type GoldenAnswers,
  type GoldenCase,
  NotAvailable,
  readCase,
  runCase,
  UnusableFile,
} from "../scripts/lib/golden.mjs";

/** The cases are kept beside the repository: they are shared with other implementations. */
const FOLDER = fileURLToPath(new URL("../../shared/golden/", import.meta.url));
const METHODS = ["lee", "bpsta", "decolle", "optimizers", "stdbp", "surrogate"];
const OTHERS = ["optimizers.safetensors"];
const FILES = existsSync(FOLDER)
  ? readdirSync(FOLDER).filter((file) => OTHERS.includes(file) || METHODS.includes(file.split(/[-.]/, 1)[0]!))
  : [];

function load(file: string): GoldenCase {
  return readCase(readFileSync(FOLDER + file), io);
}

function failures(golden: GoldenCase, answers: GoldenAnswers): string[] {
  return compareCase(golden, answers)
    .filter(({ ok }) => !ok)
    .map(({ name, error, bound, note }) => `${name}: ${note ?? `${error} > ${bound}`}`);
}

describe("golden cases", () => {
  it("are there", (context) => {
    if (!existsSync(FOLDER)) context.skip(`no golden cases in ${FOLDER}`);
    expect(FILES.length).toBeGreaterThanOrEqual(METHODS.length + OTHERS.length);
  });

  describe.each(FILES)("%s", (file) => {
    const golden = load(file);
    it("is met by both builds, with the same bits", async () => {
      const simd = await runCase(golden, library, "simd");
      const scalar = await runCase(golden, library, "scalar");
      expect(failures(golden, simd)).toEqual([]);
      expect(failures(golden, scalar)).toEqual([]);
      expect(differingBits(simd, scalar)).toEqual([]);
    });
  });

  it("of a method the library lacks say so", async () => {
    const golden = { method: "telepathy", description: {}, tensors: {} };
    await expect(runCase(golden, library, "simd")).rejects.toThrow(NotAvailable);
    await expect(runCase(golden, library, "simd")).rejects.toThrow('method "telepathy" is not available');
  });
});

describe("what a case demands", () => {
  const tensor = (...values: number[]) => ({ shape: [values.length], data: Float32Array.from(values) });
  const golden = (tensors: GoldenCase["tensors"]): GoldenCase => ({
    method: "lee",
    description: {},
    tensors,
  });
  const wrong = (expected: GoldenCase["tensors"], answers: GoldenAnswers) =>
    failures(golden(expected), answers);

  it("every tensor that is not given, in its shape", () => {
    const expected = { input: tensor(1), "layer0.weight": tensor(1), output: tensor(1, 2) };
    expect(wrong(expected, { output: tensor(1, 2) })).toEqual([]);
    expect(wrong(expected, {})).toEqual(["output: no answer"]);
    expect(wrong(expected, { output: { shape: [1, 2], data: Float32Array.of(1, 2) } })).toHaveLength(1);
  });

  it("gradients within 1e-4 of the largest entry", () => {
    const expected = { "layer0.weight.grad": tensor(100, 0.001) };
    expect(wrong(expected, { "layer0.weight.grad": tensor(100, 0.01) })).toEqual([]);
    expect(wrong(expected, { "layer0.weight.grad": tensor(100, 0.02) })).toHaveLength(1);
    expect(wrong(expected, { "layer0.weight.grad": tensor(100, Number.NaN) })).toHaveLength(1);
  });

  it("a gradient of zero measured against the layer's weight gradient", () => {
    const expected = { "layer0.weight.grad": tensor(1), "layer0.bias.grad": tensor(1e-15) };
    const answer = (bias: number) => ({ "layer0.weight.grad": tensor(1), "layer0.bias.grad": tensor(bias) });
    expect(wrong(expected, answer(9e-5))).toEqual([]);
    expect(wrong(expected, answer(1.1e-4))).toHaveLength(1);
    expect(wrong(expected, answer(Number.NaN))).toHaveLength(1);
  });

  it("spikes exactly", () => {
    const expected = { "layer0.spikes": tensor(0, 1.25) };
    expect(wrong(expected, { "layer0.spikes": tensor(0, 1.25) })).toEqual([]);
    expect(wrong(expected, { "layer0.spikes": tensor(0, 1.2500001) })).toHaveLength(1);
  });

  it("infinite spike times where there is no spike, and only there", () => {
    const expected = { "layer0.spike_time": tensor(Number.POSITIVE_INFINITY, 2) };
    expect(wrong(expected, { "layer0.spike_time": tensor(Number.POSITIVE_INFINITY, 2.00001) })).toEqual([]);
    expect(wrong(expected, { "layer0.spike_time": tensor(3, 2) })).toHaveLength(1);
    expect(wrong(expected, { "layer0.spike_time": tensor(Number.POSITIVE_INFINITY, 2.0001) })).toHaveLength(
      1,
    );
  });

  it("the same bits: -0 is not 0", () => {
    expect(differingBits({ a: tensor(0, 1) }, { a: tensor(0, 1) })).toEqual([]);
    expect(differingBits({ a: tensor(0) }, { a: tensor(-0) })).toEqual(["a"]);
    expect(differingBits({ a: tensor(0) }, {})).toEqual(["a"]);
  });

  it("a file that holds a case", () => {
    expect(() => readCase(new Uint8Array(3), io)).toThrow(UnusableFile);
    const bare = io.writeSafetensors({ x: { dtype: "F32", shape: [1], data: Float32Array.of(1) } });
    expect(() => readCase(bare, io)).toThrow('no key "case"');
  });
});
