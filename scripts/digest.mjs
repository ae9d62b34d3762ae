// The bits contract: every method's small network, trained in every runtime with either build and with one, two or three
// threads, comes to the same bits.
//   npm run digest [-- --update]
// Prints one line a runtime and build or number of threads; exit 1 if a hash differs from the committed ones in test/digests.json.
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Installation } from "./lib/delivery.mjs";
import { findRuntimes } from "./runtimes.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const file = join(root, "test/digests.json");
const update = process.argv.includes("--update");

const scripts = ["train.mjs", "digest.mjs", "print-digest.mjs", "page.html"];
const installation = await Installation.make(scripts.map((name) => join(root, "test/delivery", name)));
let failed = false;
try {
  const expected = JSON.parse(await readFile(file, "utf8"));
  const { newestNode, deno, bun, chromium, firefox } = await findRuntimes();
  /** @type {[string, { path?: string, version?: string, missing?: string }, (path: string) => Promise<any>][]} */
  const rows = [
    [
      "node",
      { path: process.execPath, version: process.version },
      (path) => installation.run("node", path, "print-digest.mjs"),
    ],
    ["node (newest)", newestNode, (path) => installation.run("node", path, "print-digest.mjs")],
    ["deno", deno, (path) => installation.run("deno", path, "print-digest.mjs")],
    ["bun", bun, (path) => installation.run("bun", path, "print-digest.mjs")],
    [
      "chromium",
      chromium,
      (path) => installation.evaluate(path, "", 'import("/digest.mjs").then((m) => m.digests())', true),
    ],
    [
      "firefox",
      firefox,
      (path) => installation.report(path, 'import("/digest.mjs").then((m) => m.digests())'),
    ],
  ];
  let reference = expected.hashes;
  for (const [name, runtime, run] of rows) {
    if (runtime.path === undefined) {
      const required = process.env.SPIKEGRAD_REQUIRE_RUNTIMES === "1" && name !== "firefox";
      if (required) failed = true;
      console.log(`${name}: ${required ? "missing" : "skipped"}: ${runtime.missing}`);
      continue;
    }
    const results = await run(runtime.path).catch((error) => {
      failed = true;
      console.log(`${name} ${runtime.version}: FAILED: ${error.message}`);
      return {};
    });
    if (update && name === "node" && results.simd) reference = results.simd;
    for (const [build, hashes] of Object.entries(results)) {
      const differing = [...new Set([...Object.keys(reference), ...Object.keys(hashes)])].filter(
        (method) => hashes[method] !== reference[method],
      );
      if (differing.length > 0) failed = true;
      const whole = createHash("sha256").update(JSON.stringify(hashes)).digest("hex");
      const verdict = differing.length > 0 ? `DIFFERS in ${differing.join(", ")}` : "ok";
      console.log(`${name} ${runtime.version} ${build}: ${whole} ${verdict}`);
    }
  }
  if (update && !failed) {
    await writeFile(
      file,
      `${JSON.stringify({ contract: expected.contract, hashes: reference }, undefined, 2)}\n`,
    );
    console.log(
      `written to test/digests.json; a change of bits raises "contract" there and is noted in CHANGELOG.md`,
    );
  }
} finally {
  await installation.remove();
}
process.exitCode = failed ? 1 : 0;
