// Trains a small network of every method on the command line, kills it at random moments, and resumes: the file at the end
// must have the bytes of a run that was never killed.
//   node scripts/kills.mjs [kills=20] [seed=now]
// One line a method; exit 1 if a file differs.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NETWORKS, survive } from "./lib/kills.mjs";

const [kills = 20, seed = Date.now() % 2 ** 32] = process.argv.slice(2).map(Number);
const folder = await mkdtemp(join(tmpdir(), "spikegrad-kills-"));
console.log(`${kills} kills a method, seed ${seed}; one checkpoint each is cut off`);
try {
  for (const method of /** @type {(keyof typeof NETWORKS)[]} */ (Object.keys(NETWORKS))) {
    const spoil = (bytes) => bytes.subarray(0, 3000);
    const found = await survive(method, { folder, kills, seed, spoil });
    if (!found.same) process.exitCode = 1;
    const verdict = found.same ? "the same bytes" : "OTHER BYTES";
    console.log(
      `${method}: ${found.kills} kills, ${found.resumed} starts from a checkpoint, ${found.fallbacks.length} of them from the one before: ${verdict}`,
    );
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
