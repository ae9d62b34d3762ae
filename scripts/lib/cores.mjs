// How a core gets into a JavaScript file.
import { readFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { constants, deflate } from "node:zlib";
import { build as bundle } from "esbuild";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

const byZlib = (bytes) => promisify(deflate)(bytes, { level: constants.Z_BEST_COMPRESSION });

/**
 * A core's bytes in base64; deflated ones need a quarter less after a server has compressed the file they are in.
 *
 * @param {string} path
 * @param {boolean} deflated
 */
export async function coreText(path, deflated) {
  const bytes = await readFile(path);
  return (deflated ? await byZlib(bytes) : bytes).toString("base64");
}

/** Zopfli packs a twentieth tighter than zlib. A checkout whose packages are older builds without it. */
let zopfli;
const loadZopfli = () =>
  import("@gfx/zopfli").catch(() => {
    console.warn("build: @gfx/zopfli is not installed, cores will be larger; npm install");
  });
const packed = new Map();

/** `coreText` for what is shipped. Zopfli is slow, so each core is packed once; `key` names it. */
function packedText(key, read) {
  if (!packed.has(key)) packed.set(key, pack(read()));
  return packed.get(key);
}

async function pack(reading) {
  const bytes = await reading;
  zopfli ??= loadZopfli();
  const better = await zopfli;
  const small = better
    ? Buffer.from(await better.zlibAsync(bytes, { numiterations: 15 }))
    : await byZlib(bytes);
  return small.toString("base64");
}

/**
 * For esbuild: cores as text inside the JavaScript.
 *
 * @type {import("esbuild").Plugin}
 */
export const inlinedCores = {
  name: "inlined-cores",
  setup(build) {
    build.onResolve({ filter: /\.wasm(\?deflated)?$/ }, ({ path, resolveDir }) => {
      const [file, suffix = ""] = path.split(/(?=\?)/);
      return { path: join(resolveDir, file), suffix };
    });
    build.onLoad({ filter: /\.wasm$/ }, async ({ path, suffix }) => ({
      contents: suffix ? await packedText(path, () => readFile(path)) : await coreText(path, false),
      loader: "text",
      watchFiles: [path],
    }));
  },
};

/**
 * For esbuild: cores as modules that the host has compiled, imports that stay, of the files beside the folder.
 *
 * @param {string} query behind the file's name
 * @returns {import("esbuild").Plugin}
 */
export const moduleCores = (query) => ({
  name: "module-cores",
  setup(build) {
    build.onResolve({ filter: /builds\/\w+\.ts$/ }, ({ path, resolveDir }) =>
      path.endsWith("inlined.ts") ? undefined : { path: join(resolveDir, path.replace(".ts", ".module.ts")) },
    );
    build.onResolve({ filter: /\.wasm\?module$/ }, ({ path }) => ({
      path: `../${basename(path).replace("?module", query)}`,
      external: true,
    }));
  },
});

/**
 * For esbuild: what is imported as a method's own core.
 *
 * @param {string | undefined} path the core that only infers, from which each method's is cut; undefined where methods have none
 * @returns {import("esbuild").Plugin}
 */
export const methodCores = (path) => ({
  name: "method-cores",
  setup(build) {
    build.onResolve({ filter: /\.wasm\?method$/ }, (args) => ({
      path: path === undefined ? "no-core" : basename(args.path, ".wasm?method").concat("-core"),
      namespace: "method-core",
    }));
    build.onLoad({ filter: /./, namespace: "method-core" }, async ({ path: name }) => {
      if (path === undefined) return { contents: "export default undefined" };
      const method = name.replace("-core", "");
      return {
        contents: await packedText(`${path} ${method}`, async () => cutCore(await readFile(path), method)),
        loader: "text",
        watchFiles: [path],
      };
    });
  },
});

/** Names of the instructions that programs of a method may have: those that its files name, in code that does not train. */
async function instructionsOf(method) {
  const { metafile, outputFiles } = await bundle({
    absWorkingDir: root,
    entryPoints: [`src/methods/${method}-model.ts`],
    bundle: true,
    format: "esm",
    minifySyntax: true,
    write: false,
    metafile: true,
    define: { SPIKEGRAD_TRAINING: "false" },
    logLevel: "error",
  });
  const files = Object.keys(metafile.inputs).filter((path) => path.startsWith("src/"));
  const texts = await Promise.all(files.map((path) => readFile(join(root, path), "utf8")));
  const named = texts.flatMap((text) => Array.from(text.matchAll(/\bOp\.(\w+)/g), ([, name]) => name));
  // esbuild writes the name of a number behind it.
  const left = new Set(Array.from(outputFiles[0].text.matchAll(/\/\* (\w+) \*\//g), ([, name]) => name));
  return new Set(named.filter((name) => left.has(name)));
}

/** Numbers of all instructions by their names. */
async function instructionNumbers() {
  const { outputFiles } = await bundle({
    absWorkingDir: root,
    entryPoints: ["assembly/abi.ts"],
    write: false,
    format: "esm",
  });
  const { Op } = await import(`data:text/javascript,${encodeURIComponent(outputFiles[0].text)}`);
  return Op;
}

/** A core without the instructions that no program of `method` has, and without what only they called. */
async function cutCore(wasm, method) {
  const { default: binaryen } = await import("assemblyscript/binaryen");
  const numbers = await instructionNumbers();
  const names = await instructionsOf(method);
  const kept = new Set([...names].map((name) => numbers[name]));
  if (kept.size < 2 || kept.has(undefined)) throw new Error(`${method}: what are its instructions?`);
  const whole = binaryen.readBinary(wasm);
  const text = whole.emitText();
  // The instruction loop jumps by number; the last target is for those that are none.
  const tables = Array.from(text.matchAll(/\(br_table((?: \$\w+)+)/g)).filter(
    ([, list]) => list.split(" ").length > kept.size,
  );
  if (tables.length !== 1)
    throw new Error(`${method}: ${tables.length} tables that could be the instruction loop's`);
  const [{ 0: table, 1: list, index }] = tables;
  const targets = list.trim().split(" ");
  const none = targets[targets.length - 1];
  const cut = targets.map((target, i) => (kept.has(i) ? target : none)).join(" ");
  const [, loop] = Array.from(text.slice(0, index).matchAll(/\(func \$(\w+)/g)).at(-1);
  const core = binaryen.parseText(
    `${text.slice(0, index)}(br_table ${cut}${text.slice(index + table.length)}`,
  );
  core.setFeatures(binaryen.Features.All);
  core.runPassesOnFunction(loop, [
    "dce",
    "remove-unused-brs",
    "remove-unused-names",
    "merge-blocks",
    "vacuum",
  ]);
  core.runPasses(["remove-unused-module-elements"]);
  // For size; no pass changes a result. Nothing is inlined any more: kernels that have one caller left would all go into the
  // instruction loop, and an engine that optimizes that in one piece keeps the first answer waiting for 50 ms. The second
  // time settles the order of functions.
  binaryen.setOptimizeLevel(2);
  binaryen.setShrinkLevel(2);
  binaryen.setAlwaysInlineMaxSize(0);
  binaryen.setFlexibleInlineMaxSize(0);
  binaryen.setOneCallerInlineMaxSize(0);
  for (let i = 0; i < 2; i++) core.optimize();
  if (!core.validate()) throw new Error(`${method}: the core that was cut is not valid`);
  const binary = core.emitBinary();
  core.dispose();
  whole.dispose();
  return binary;
}
