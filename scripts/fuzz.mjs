// Fuzzes the readers of safetensors, IDX, gzip, tar and N-MNIST files and of checkpoints (test/io/fuzz.ts) and stops at the first wrong answer.
//   node scripts/fuzz.mjs [inputs=100000] [seed=now] [first=0]
// The seed is printed; seed and first repeat an input.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const [count = 100_000, seed = Date.now() % 2 ** 32, first = 0] = process.argv.slice(2).map((text) => {
  const number = Number(text);
  if (text.trim() === "" || !Number.isSafeInteger(number) || number < 0) {
    console.error(`fuzz: ${JSON.stringify(text)} is no number; usage: fuzz.mjs [inputs] [seed] [first]`);
    process.exit(2);
  }
  return number;
});

const folder = await mkdtemp(join(tmpdir(), "spikegrad-fuzz-"));
try {
  const bundle = join(folder, "fuzz.mjs");
  await build({
    entryPoints: [join(root, "test/io/fuzz.ts")],
    outfile: bundle,
    bundle: true,
    platform: "node",
    format: "esm",
    sourcemap: "inline",
  });
  const { fuzz, fuzzSeeds } = await import(pathToFileURL(bundle).href);
  const seeds = await fuzzSeeds(root);
  console.log(`${count} inputs from ${seeds.length} files, seed ${seed}`);
  const started = performance.now();
  let next = started + 10_000;
  const onProgress = (done) => {
    if (performance.now() < next) return;
    next += 10_000;
    console.log(`  ${done} done`);
  };
  const summary = await fuzz(seeds, { count, seed, first, onProgress });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(
    `${summary.refused} refused, ${summary.accepted} read right, in ${seconds} s; ` +
      `slowest ${summary.slowest.toFixed(1)} ms, memory grew by ${(summary.growth / 2 ** 20).toFixed(0)} MB at most`,
  );
} catch (error) {
  console.error(`fuzz: ${error.message}`);
  process.exitCode = 1;
} finally {
  await rm(folder, { recursive: true });
}
