// Builds dist/: the core with asc, the entry points with esbuild, the declarations with tsc.
//   --force      compile the core even when nothing in assembly/ changed
//   --no-types   leave the declarations as they are
import { spawn } from "node:child_process";
import { cp, mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build as bundle } from "esbuild";
import { inlinedCores, methodCores, moduleCores } from "./lib/cores.mjs";
import { takeSources, withoutUnused } from "./lib/unused.mjs";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const dist = join(root, "dist");
const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));

// The core keeps sign extension, saturating conversions and bulk memory, also in the scalar build: every engine that runs
// the wrapper's ES2022 has had them for longer (bulk memory: Chromium 75, Firefox 79, Safari 15). What the scalar
// build is for are engines without SIMD: Safari before 16.4 and processors without SSE 4.1.
const CORES = [
  { target: "simd", file: "spikegrad.wasm" },
  { target: "infer", file: "spikegrad.infer.wasm", entry: "assembly/infer.ts" },
  { target: "scalar", file: "spikegrad.scalar.wasm" },
  { target: "threads", file: "spikegrad.threads.wasm" },
];

// One bundle for all of them, so that they share chunks: an ArgumentError is the same class in each.
const ENTRIES = {
  index: { source: "src/index.ts", browser: true },
  data: { source: "src/data/index.ts", browser: true },
  io: { source: "src/io/index.ts", browser: true },
  "data-node": { source: "src/data/node.ts", browser: false },
};
/** Bundled by itself: the same sources without what trains. */
const INFER = "src/infer.ts";
const CLI = "src/cli/main.ts";
const WORKER = "src/core/worker.ts";

// CDN workers may not compile bytes: there the same entry points import the core as a module. What the import is called
// differs between their bundlers; those of Cloudflare's know both.
const EDGES = { workerd: "", "edge-light": "?module" };

// Small as shipped: pages load these files as they are. Source maps go along for whoever debugs.
const COMMON = {
  absWorkingDir: root,
  outdir: "dist",
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  sourcemap: "linked",
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
  define: { SPIKEGRAD_VERSION: JSON.stringify(version), SPIKEGRAD_TRAINING: "true" },
};

const LIBRARY = {
  ...COMMON,
  platform: "neutral",
  mainFields: ["module", "main"],
  conditions: ["import"],
  external: ["node:*"],
};

/** Sources with what `additions` say of each path at its end. `read` gives a source's text. */
const sources = (additions, read = (path) => readFile(path, "utf8")) => ({
  name: "sources",
  setup(build) {
    takeSources(build, async (path) => [await read(path), ...additions.map((add) => add(path))].join("\n"));
    build.onResolve({ filter: /^kept:/ }, ({ path }) => ({
      path: join(root, "src", path.slice("kept:".length)),
      sideEffects: true,
    }));
  },
});

// What comes by import() comes after the default entry. esbuild does not know that, and would cut what both use into a
// file for each set of users; told that the one imports the other, it leaves most of it in one file. Small files compress badly.
const LATER =
  /[\\/]src[\\/].*(-model|normalize|gradient-check|diagnosis|fold|core[\\/]workers|builds[\\/](scalar|threads))\.ts$/;
const afterEntry = (entry, name) => (path) =>
  LATER.test(path) ? `export { ${name} as _ } from ${JSON.stringify(join(root, entry))};` : "";
const afterIndex = sources([afterEntry(ENTRIES.index.source, "createNetwork")]);
/** For the same reason what all methods share goes into the file of the entry that infers. */
const sharedByMethods = (path) =>
  path === join(root, INFER) ? 'import "kept:methods/common.ts"; import "kept:methods/flatten.ts";' : "";

/** The script of the workers: a file of the package, and text inside the chunk that starts them. */
const workerSource = {
  name: "worker-source",
  setup(build) {
    build.onResolve({ filter: /^worker-source$/ }, ({ path }) => ({ path, namespace: path }));
    build.onLoad({ filter: /./, namespace: "worker-source" }, async () => {
      const { outputFiles } = await bundle({
        ...COMMON,
        entryPoints: { worker: WORKER },
        format: "iife",
        platform: "neutral",
        external: ["node:*"],
        sourcemap: false,
        write: false,
      });
      const [{ text }] = outputFiles;
      await writeFile(join(dist, "worker.js"), text);
      return { contents: text.trim(), loader: "text", watchFiles: [join(root, WORKER)] };
    });
  },
};

/** Where each method brings a core of its own, there is none for all. */
const withoutCore = {
  name: "without-core",
  setup(build) {
    build.onResolve({ filter: /spikegrad\.wasm\?deflated$/ }, ({ path }) => ({
      path,
      namespace: "without-core",
    }));
    build.onLoad({ filter: /./, namespace: "without-core" }, () => ({ contents: 'export default ""' }));
  },
};
/** The core that only infers in place of the SIMD one, as a module. */
const inferringModule = (query) => ({
  name: "inferring-module",
  setup(build) {
    build.onResolve({ filter: /spikegrad\.wasm\?module$/ }, () => ({
      path: `../spikegrad.infer.wasm${query}`,
      external: true,
    }));
  },
});

/** Threads would make a page's one file half as large again. */
const withoutThreads = {
  name: "without-threads",
  setup(build) {
    build.onResolve({ filter: /workers\.ts$|builds\/threads\.ts$/ }, ({ path }) => ({
      path,
      namespace: "without-threads",
    }));
    build.onLoad({ filter: /./, namespace: "without-threads" }, () => ({
      contents: `throw new Error("bundle.js has no threads; index.js has");`,
    }));
  },
};

const options = new Set(process.argv.slice(2));
await mkdir(dist, { recursive: true });
const parts = [buildJavaScript(), options.has("--no-types") ? undefined : buildTypes()];
// A type error must not leave dist/ without its JavaScript, nor the other way round.
for (const { reason } of await Promise.allSettled(parts)) {
  if (reason === undefined) continue;
  console.error(`build: ${reason.message}`);
  process.exitCode = 1;
}

async function buildJavaScript() {
  await Promise.all(CORES.map(buildCore));
  const entries = {};
  for (const [name, { source }] of Object.entries(ENTRIES)) {
    if (await exists(join(root, source))) entries[name] = source;
    else console.log(`skipped ${name}: no ${source}`);
  }
  // The core has AssemblyScript's standard library compiled in.
  const packages = new Set(["node_modules/assemblyscript"]);
  if (Object.keys(entries).length > 0) {
    collect(await bundleLibrary(entries), packages);
    for (const [folder, query] of Object.entries(EDGES)) await bundleForEdge(entries, folder, query);
    refuseNodeImports(
      await bundleForInference("infer", [
        withoutCore,
        methodCores(join(dist, "spikegrad.infer.wasm")),
        inlinedCores,
      ]),
      "dist/infer/index.js",
    );
    for (const [folder, query] of Object.entries(EDGES))
      await bundleForInference(`infer-${folder}`, [
        inferringModule(query),
        methodCores(undefined),
        moduleCores(query),
      ]);
    await bundleOneFile();
    await writeCommonJs([...Object.keys(entries), "bundle"]);
  }
  if (await exists(join(root, CLI))) collect(await bundleCli(), packages);
  else console.log(`skipped cli: no ${CLI}`);
  await writeNotices(packages);
}

// ---- core

async function buildCore({ target, file, entry = "assembly/index.ts" }) {
  const out = join(dist, file);
  const inputs = [
    "assembly",
    "asconfig.json",
    "package.json",
    "scripts/build.mjs",
    "node_modules/assemblyscript/package.json",
  ];
  if (
    !options.has("--force") &&
    (await newest(inputs.map((path) => join(root, path)))) < (await modified(out))
  )
    return;
  const started = performance.now();
  const fresh = `${out}.${process.pid}.new`;
  try {
    await run("node_modules/assemblyscript/bin/asc.js", [
      entry,
      "--target",
      target,
      "--outFile",
      relative(root, fresh),
    ]);
    const wasm = stamp(await reordered(await readFile(fresh)), { build: target, version });
    await writeFile(fresh, wasm);
    await rename(fresh, out);
    console.log(`asc ${target}: ${wasm.length} bytes, ${seconds(started)}`);
  } finally {
    await rm(fresh, { force: true });
  }
}

/** Locals in an order that packs better. All of Binaryen's passes once more would inline kernels, and cost a fifth of their speed. */
async function reordered(wasm) {
  const { default: binaryen } = await import("assemblyscript/binaryen");
  const core = binaryen.readBinary(wasm);
  core.setFeatures(binaryen.Features.All);
  core.runPasses(["reorder-locals", "coalesce-locals", "reorder-locals", "vacuum"]);
  const binary = core.emitBinary();
  core.dispose();
  return binary;
}

/** Appends a custom section that tells the wrapper which core this is. */
function stamp(wasm, content) {
  const name = Buffer.from("spikegrad");
  const text = Buffer.from(JSON.stringify(content));
  const size = 1 + name.length + text.length;
  if (size > 127) throw new Error(`stamp of ${size} bytes: its length no longer fits in one LEB128 byte`);
  return Buffer.concat([wasm, Buffer.of(0, size, name.length), name, text]);
}

/** The latest modification among files and, for what was removed or renamed, folders. */
async function newest(paths) {
  let latest = 0;
  for (const path of paths) {
    const info = await stat(path);
    latest = Math.max(latest, info.mtimeMs);
    if (!info.isDirectory()) continue;
    for (const entry of await readdir(path, { recursive: true, withFileTypes: true })) {
      latest = Math.max(latest, await modified(join(entry.parentPath ?? entry.path, entry.name)));
    }
  }
  return latest;
}

async function modified(path) {
  return stat(path).then(
    (info) => info.mtimeMs,
    () => -1,
  );
}

// ---- JavaScript

async function bundleLibrary(entryPoints) {
  const { metafile } = await bundle({
    ...LIBRARY,
    entryPoints,
    splitting: true,
    chunkNames: "chunks/[name]-[hash]",
    plugins: [workerSource, inlinedCores, afterIndex],
  });
  await removeStale("dist/chunks", metafile);
  for (const name of Object.keys(entryPoints)) {
    if (ENTRIES[name].browser) refuseNodeImports(metafile, `dist/${name}.js`);
  }
  return metafile;
}

/** The browser-safe entry points with the core imported as a module, all in one folder: `../` leads to the core from each. */
async function bundleForEdge(entryPoints, folder, query) {
  const { metafile } = await bundle({
    ...LIBRARY,
    entryPoints: Object.fromEntries(Object.entries(entryPoints).filter(([name]) => ENTRIES[name].browser)),
    outdir: `dist/${folder}`,
    splitting: true,
    chunkNames: "[name]-[hash]",
    sourcemap: false,
    plugins: [workerSource, moduleCores(query), afterIndex],
  });
  await removeStale(`dist/${folder}`, metafile);
}

/** `spikegrad/infer`: an entry with chunks of its own, in a folder of its own. */
async function bundleForInference(folder, cores) {
  const common = {
    ...LIBRARY,
    define: { ...COMMON.define, SPIKEGRAD_TRAINING: "false" },
    entryPoints: { index: INFER },
    sourcemap: false,
    // What only cut code imports.
    logOverride: { "ignored-bare-import": "silent" },
    plugins: cores,
  };
  const read = await withoutUnused(common);
  const { metafile } = await bundle({
    ...common,
    outdir: `dist/${folder}`,
    splitting: true,
    chunkNames: "[name]-[hash]",
    plugins: [...cores, sources([afterEntry(INFER, "loadNetwork"), sharedByMethods], read)],
  });
  await removeStale(`dist/${folder}`, metafile);
  return metafile;
}

/** For require(): the same modules, not a second copy of them, so that an error is of one class everywhere. */
async function writeCommonJs(names) {
  await mkdir(join(root, "dist/cjs"), { recursive: true });
  await writeFile(join(root, "dist/cjs/package.json"), '{ "type": "commonjs" }\n');
  for (const name of names)
    await writeFile(join(root, `dist/cjs/${name}.js`), `module.exports = require("../${name}.js");\n`);
  await writeFile(join(root, "dist/cjs/infer.js"), 'module.exports = require("../infer/index.js");\n');
}

/** All of the default entry in one file, for a page without a bundler that is to fetch one. */
async function bundleOneFile() {
  const plugins = [withoutThreads, inlinedCores];
  await bundle({ ...LIBRARY, entryPoints: { bundle: ENTRIES.index.source }, plugins });
}

/** Node's modules do not exist in a page, so a browser-safe entry point must not reach one, not even on demand. */
function refuseNodeImports(metafile, output) {
  const seen = new Set();
  const visit = (path) => {
    if (seen.has(path)) return;
    seen.add(path);
    for (const imported of metafile.outputs[path].imports) {
      if (imported.external)
        throw new Error(`${output} imports ${imported.path} through ${path}: it must run in a page`);
      visit(imported.path);
    }
  };
  visit(output);
}

async function removeStale(folder, metafile) {
  if (!(await exists(join(root, folder)))) return;
  for (const file of await readdir(join(root, folder))) {
    if (!(`${folder}/${file}` in metafile.outputs)) await rm(join(root, folder, file), { recursive: true });
  }
}

/** The command line is a program on top of the published entry points; its own packages stay inside it. */
async function bundleCli() {
  const published = new Map(
    Object.entries(ENTRIES).map(([name, { source }]) => [join(root, source), `./${name}.js`]),
  );
  published.set(join(root, "src/errors.ts"), "./index.js");
  const { metafile } = await bundle({
    ...COMMON,
    entryPoints: { cli: CLI },
    platform: "node",
    // What is CommonJS among the bundled packages requires Node's modules.
    banner: {
      js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);',
    },
    plugins: [
      {
        name: "published-entry-points",
        setup(build) {
          build.onResolve({ filter: /^\.|^spikegrad/ }, async (args) => {
            if (args.pluginData === "resolving") return undefined;
            const { path, importer, kind, namespace, resolveDir } = args;
            const found = await build.resolve(path, {
              importer,
              kind,
              namespace,
              resolveDir,
              pluginData: "resolving",
            });
            const entry = published.get(found.path);
            if (entry !== undefined) return { path: entry, external: true };
            const inside = relative(join(root, "src"), found.path);
            if (!inside.startsWith("..") && !inside.startsWith("cli")) {
              return {
                errors: [{ text: `the command line imports src/${inside}, which is no entry point` }],
              };
            }
            return found;
          });
        },
      },
    ],
  });
  return metafile;
}

// ---- licences of what is bundled

function collect(metafile, packages) {
  for (const path of Object.keys(metafile.inputs)) {
    const match = /^(?:.*\/)?node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path);
    if (match) packages.add(match[0].replace(/\/$/, ""));
  }
}

async function writeNotices(packages) {
  let text = "Parts of these packages are inside the files of this folder.\n";
  for (const folder of [...packages].sort()) {
    const { name, version, license } = JSON.parse(await readFile(join(root, folder, "package.json"), "utf8"));
    text += `\n${"-".repeat(80)}\n${name} ${version}, ${license}\n`;
    for (const file of (await readdir(join(root, folder))).sort()) {
      if (!/^(licen[cs]e|notice)/i.test(file)) continue;
      text += `\n${(await readFile(join(root, folder, file), "utf8")).trim()}\n`;
    }
  }
  await writeFile(join(dist, "THIRD-PARTY.txt"), text);
}

// ---- declarations

async function buildTypes() {
  const started = performance.now();
  await run("node_modules/typescript/bin/tsc", ["-p", "tsconfig.types.json"]);
  // Under the package.json of dist/cjs the same declarations are those of what require() gives.
  await rm(join(root, "dist/cjs/types"), { recursive: true, force: true });
  await cp(join(root, "dist/types"), join(root, "dist/cjs/types"), {
    recursive: true,
    filter: (path) => !path.endsWith(".tsbuildinfo"),
  });
  console.log(`tsc: ${seconds(started)}`);
}

// ---- helpers

function run(script, args) {
  return new Promise((done, failed) => {
    const child = spawn(process.execPath, [script, ...args], { cwd: root, stdio: "inherit" });
    child.on("error", failed);
    child.on("exit", (code) =>
      code === 0 ? done() : failed(new Error(`${script} ${args.join(" ")} failed`)),
    );
  });
}

async function exists(path) {
  return (await modified(path)) >= 0;
}

function seconds(started) {
  return `${((performance.now() - started) / 1000).toFixed(1)} s`;
}
