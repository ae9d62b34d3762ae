import { resolve } from "node:path";
import { expect, test } from "vitest";
import { fuzz, fuzzSeeds } from "./fuzz.ts";

test("2,000 faulty files are refused with a typed error or read right", { timeout: 60_000 }, async () => {
  const seeds = await fuzzSeeds(resolve(import.meta.dirname, "../.."));
  const summary = await fuzz(seeds, { count: 2000, seed: 1 });
  expect(summary.inputs).toBe(2000 + seeds.length);
  // Both answers must come up, or the faults test nothing.
  expect(summary.refused).toBeGreaterThan(500);
  expect(summary.accepted).toBeGreaterThan(100);
});
