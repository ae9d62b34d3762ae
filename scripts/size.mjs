// Measures what is shipped: one line for each WebAssembly file and each entry point. Exits with 1 over a bound.
import { readdir, readFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");

const KILOBYTE = 1024;
/** Upper bounds, in bytes after gzip. The default entry carries all methods and the SIMD core inlined as text. */
export const BOUNDS = { wasm: 36 * KILOBYTE, entry: 88 * KILOBYTE };

/**
 * One result for every dist/*.wasm and for every JavaScript entry point of the package. An entry point's size is that of
 * all files it imports statically, itself included: what a page fetches before it can run.
 *
 * @returns {Promise<{ name: string, files: number, raw: number, gzip: number, bound: number | undefined }[]>}
 */
export async function measure() {
  const results = [];
  for (const file of (await readdir(join(root, "dist"))).sort()) {
    if (file.endsWith(".wasm")) results.push(await sum(`dist/${file}`, [`dist/${file}`], BOUNDS.wasm));
  }
  const { name, exports } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
  for (const [subpath, target] of Object.entries(exports)) {
    if (typeof target !== "object") continue;
    const entry = relative(root, join(root, target.default));
    const bound = subpath === "." ? BOUNDS.entry : undefined;
    results.push(await sum(name + subpath.slice(1), await staticClosure(entry), bound));
  }
  return results;
}

async function sum(name, paths, bound) {
  const files = await Promise.all(paths.map((path) => readFile(join(root, path))));
  // Servers compress each file by itself.
  const total = (sizes) => sizes.reduce((a, b) => a + b, 0);
  return {
    name,
    files: files.length,
    raw: total(files.map((bytes) => bytes.length)),
    gzip: total(files.map((bytes) => gzipSync(bytes, { level: 9 }).length)),
    bound,
  };
}

/** The entry and everything that it imports other than by import(). */
async function staticClosure(entry) {
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: [entry],
    bundle: true,
    write: false,
    metafile: true,
    format: "esm",
    platform: "neutral",
    external: ["node:*"],
    logLevel: "error",
  });
  const seen = new Set();
  const visit = (path) => {
    if (seen.has(path)) return;
    seen.add(path);
    for (const imported of metafile.inputs[path].imports) {
      if (imported.kind === "import-statement" && !imported.external) visit(imported.path);
    }
  };
  visit(entry);
  return [...seen];
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const { name, files, raw, gzip, bound } of await measure()) {
    const limit = bound === undefined ? "" : `, bound ${bound}${gzip > bound ? ": TOO BIG" : ""}`;
    console.log(`${name}: ${raw} bytes, ${gzip} gzip, ${files} ${files === 1 ? "file" : "files"}${limit}`);
    if (bound !== undefined && gzip > bound) process.exitCode = 1;
  }
}
