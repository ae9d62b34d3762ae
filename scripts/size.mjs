// Measures what users download, raw and after gzip: each core, each entry point, what comes on demand. Exits with 1 over a bound.
import { readdir, readFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");

const KILOBYTE = 1024;
/**
 * Upper bounds, in bytes after gzip. The default entry is everything a page fetches before its first call: API, checks,
 * training, files, presets and the SIMD core. With a method it is all that training or predicting takes; with one of
 * `spikegrad/infer` the core that runs it, too.
 */
export const BOUNDS = {
  wasm: 36 * KILOBYTE,
  entry: 60 * KILOBYTE,
  withMethod: 72 * KILOBYTE,
  infer: 15.5 * KILOBYTE,
  inferWithMethod: 25 * KILOBYTE,
};

const METHODS = ["lee", "bpsta", "decolle", "stdbp", "surrogate"];

/**
 * Sizes of the cores, of the entry points and of what they load on demand. An entry point's size is that of all files it
 * imports statically, itself included; servers compress each file by itself.
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
    const graph = await importsOf(target.import.default.slice(2));
    const files = closure(graph, [graph.entry]);
    const bound = { ".": BOUNDS.entry, "./infer": BOUNDS.infer }[subpath];
    results.push(await sum(name + subpath.slice(1), files, bound));
    const later = [...new Set(files.flatMap((file) => graph.dynamic(file)))].sort();
    for (const file of later) {
      const more = closure(graph, [file]).filter((path) => !files.includes(path));
      results.push(
        await sum(`${name + subpath.slice(1)}, on demand: ${basename(file).replace(/-\w+\.js$/, "")}`, more),
      );
    }
    const most = { ".": BOUNDS.withMethod, "./infer": BOUNDS.inferWithMethod }[subpath];
    if (most === undefined) continue;
    for (const method of METHODS) {
      const parts = later.filter((path) => basename(path).startsWith(`${method}-`));
      if (parts.length === 0) throw new Error(`no file of the method ${method}`);
      results.push(
        await sum(
          `${name + subpath.slice(1)} with ${method}, in all`,
          closure(graph, [graph.entry, ...parts]),
          most,
        ),
      );
    }
  }
  return results;
}

async function sum(name, paths, bound) {
  const files = await Promise.all(paths.map((path) => readFile(join(root, path))));
  const total = (sizes) => sizes.reduce((a, b) => a + b, 0);
  return {
    name,
    files: files.length,
    raw: total(files.map((bytes) => bytes.length)),
    gzip: total(files.map((bytes) => gzipSync(bytes, { level: 9 }).length)),
    bound,
  };
}

/** What each file that an entry leads to imports, at once and on demand. */
async function importsOf(entry) {
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
  const imports = (kind) => (file) =>
    metafile.inputs[file].imports
      .filter((found) => found.kind === kind && !found.external)
      .map(({ path }) => path);
  return { entry, static: imports("import-statement"), dynamic: imports("dynamic-import") };
}

/** Files and all that they import statically. */
function closure(graph, files) {
  const seen = new Set();
  const visit = (path) => {
    if (seen.has(path)) return;
    seen.add(path);
    graph.static(path).forEach(visit);
  };
  files.forEach(visit);
  return [...seen];
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const { name, files, raw, gzip, bound } of await measure()) {
    const limit = bound === undefined ? "" : `, bound ${bound}${gzip > bound ? ": TOO BIG" : ""}`;
    console.log(`${name}: ${raw} bytes, ${gzip} gzip, ${files} ${files === 1 ? "file" : "files"}${limit}`);
    if (bound !== undefined && gzip > bound) process.exitCode = 1;
  }
}
