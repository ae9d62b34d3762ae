// SIGKILL at random moments, for every method; scripts/kills.mjs does it twenty times each.
import { afterAll, beforeAll, expect, test } from "vitest";
import { NETWORKS, survive } from "../../scripts/lib/kills.mjs";
import { temporaryFolder } from "./shared.ts";

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  folder = await temporaryFolder();
});
afterAll(() => folder.remove());

test.each(
  Object.keys(NETWORKS) as (keyof typeof NETWORKS)[],
)("%s, killed and resumed, ends with the bytes of a run that was not", {
  timeout: 240_000,
}, async (method) => {
  // Of the right length, but with pages that never reached the disk.
  const spoil = (bytes: Buffer) => bytes.fill(0, bytes.length - 1000, bytes.length - 400);
  const found = await survive(method, { folder: folder.path, kills: 2, seed: 11, spoil });
  expect(found).toMatchObject({ same: true, kills: 2 });
  for (const line of found.fallbacks) {
    expect(line).toMatch(
      new RegExp(
        `^${method}.checkpoint is refused \\(.*damaged.*\\); going on from ${method}.checkpoint.previous$`,
      ),
    );
  }
  // Again where it was killed before the next checkpoint.
  expect(found.fallbacks.length).toBeGreaterThan(0);
});
