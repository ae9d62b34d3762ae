import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Dataset, subset, take, validateDataset } from "../../src/data/index.ts";
import { ArgumentError } from "../../src/errors.ts";
import { thrown } from "../io/shared.ts";

const valid: Dataset = {
  inputs: Float32Array.of(0, 1, 2, 3, 4, 5),
  shape: [1, 1, 2],
  labels: Uint8Array.of(0, 1, 2),
  classes: 3,
};

function message(call: () => unknown): string {
  const error = thrown(call);
  expect(error).toBeInstanceOf(ArgumentError);
  return (error as ArgumentError).message;
}

describe("validateDataset", () => {
  test("takes what is right, explicit trains included", () => {
    validateDataset(valid);
    validateDataset({ ...valid, inputs: new Uint8Array(6), labels: Int32Array.of(2, 0, 1) });
    validateDataset({ ...valid, inputs: new Float32Array(3 * 4 * 2), shape: [4, 1, 1, 2] });
  });

  test.each<[string, object, string]>([
    ["inputs", { inputs: [0, 1] }, "data.inputs"],
    ["inputs of doubles", { inputs: new Float64Array(6) }, "a Float32Array or a Uint8Array"],
    ["inputs too few", { inputs: new Float32Array(5) }, "data.inputs.length: got 5"],
    ["inputs too many", { inputs: new Float32Array(7) }, "3 labels × 2 values of shape [1,1,2] = 6"],
    ["NaN", { inputs: Float32Array.of(0, 1, 2, Number.NaN, 4, 5) }, "data.inputs[3]: got NaN"],
    ["infinity", { inputs: Float32Array.of(0, 1, 2, 3, 4, Number.NEGATIVE_INFINITY) }, "(sample 2)"],
    ["no shape", { shape: undefined }, "data.shape"],
    ["an empty shape", { shape: [] }, "data.shape"],
    ["a size of 0", { shape: [1, 0, 2] }, "data.shape"],
    ["a fraction", { shape: [1.5] }, "data.shape"],
    ["a shape past 2^53", { shape: [2 ** 40, 2 ** 40] }, "data.shape"],
    ["labels", { labels: [0, 1, 2] }, "data.labels"],
    ["no labels", { labels: undefined }, "data.labels"],
    ["no samples", { inputs: new Float32Array(0), labels: new Uint8Array(0) }, "at least one sample"],
    [
      "a label too large",
      { labels: Uint8Array.of(0, 3, 1) },
      "data.labels[1]: got 3; expected a class, 0 … 2",
    ],
    ["a negative label", { labels: Int32Array.of(0, 1, -1) }, "data.labels[2]: got -1"],
    ["no classes", { classes: 0 }, "data.classes"],
    ["classes as text", { classes: "3" }, "data.classes"],
  ])("%s", (_, change, expected) => {
    expect(message(() => validateDataset({ ...valid, ...change }))).toContain(expected);
  });

  test("names the argument that it is told", () => {
    expect(message(() => validateDataset(null, "test"))).toContain("test: got null");
    expect(message(() => validateDataset({ ...valid, classes: 1 }, "test"))).toContain("test.labels[1]");
  });
});

describe("subset", () => {
  test("shares memory", () => {
    const part = subset(valid, 1, 2);
    validateDataset(part);
    expect(part).toEqual({ ...valid, inputs: Float32Array.of(2, 3), labels: Uint8Array.of(1) });
    expect(part.inputs.buffer).toBe(valid.inputs.buffer);
    expect(subset(valid, 1).labels).toEqual(Uint8Array.of(1, 2));
  });

  test.each([
    [-1, 2],
    [3, 3],
    [1, 1],
    [2, 1],
    [0, 4],
    [0.5, 2],
    [Number.NaN, 2],
  ])("refuses %s … %s", (start, end) => {
    expect(message(() => subset(valid, start, end))).toMatch(/^(start|end): /);
  });
});

describe("take", () => {
  const many: Dataset = {
    inputs: Uint8Array.from({ length: 200 }, (_, i) => i >> 1),
    shape: [2],
    labels: Uint8Array.from({ length: 100 }, (_, i) => i),
    classes: 100,
  };

  test("draws the same samples for the same seed, everywhere", () => {
    expect([...take(many, 8, { seed: 1 }).labels]).toEqual([...take(many, 8, { seed: 1 }).labels]);
    // Pinned: a change of these changes what users' seeds mean.
    expect([...take(many, 8).labels]).toEqual([13, 27, 55, 74, 54, 42, 85, 94]);
    expect([...take(many, 8, { seed: 1 }).labels]).toEqual([73, 37, 30, 41, 7, 27, 15, 71]);
  });

  test("without replacement, inputs with their labels", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 100 }),
        fc.integer({ min: 0, max: 2 ** 32 - 1 }),
        (count, seed) => {
          const drawn = take(many, count, { seed });
          validateDataset(drawn);
          expect(new Set(drawn.labels).size).toBe(count);
          drawn.labels.forEach((label, i) => {
            expect([drawn.inputs[2 * i], drawn.inputs[2 * i + 1]]).toEqual([label, label]);
          });
        },
      ),
    );
  });

  test("every sample is about equally likely in every place", () => {
    const counts = new Uint32Array(100);
    for (let seed = 0; seed < 5000; seed++) counts[take(many, 1, { seed }).labels[0]!]!++;
    const chiSquared = counts.reduce((sum, n) => sum + (n - 50) ** 2 / 50, 0);
    // 99 degrees of freedom: mean 99, deviation 14.
    expect(chiSquared).toBeLessThan(160);
  });

  test("arguments", () => {
    expect(message(() => take(undefined as never, 1))).toContain("data: got undefined");
    expect(message(() => subset({ ...many, shape: [3] }, 0))).toContain("data.inputs.length");
    expect(message(() => take(many, 0))).toContain("count: got 0");
    expect(message(() => take(many, 101))).toContain("1 … 100");
    expect(message(() => take(many, 1, { seed: -1 }))).toContain("seed: got -1");
    expect(message(() => take(many, 1, { seed: 2 ** 32 }))).toContain("seed");
  });
});
