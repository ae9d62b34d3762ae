// The condition edge-light, run for what it is: a realm of web globals in which no code is made from bytes or strings, as the edge
// runtimes of frameworks are. Cores come as modules that the host has compiled outside of it.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { createContext, runInContext } from "node:vm";
import { build } from "esbuild";

/**
 * @param {string} entry path of the program, which leaves an async function in `globalThis.answer`
 * @param {string} folder to fill with one script and the cores that it imports
 */
export async function buildForEdgeLight(entry, folder) {
  await mkdir(folder, { recursive: true });
  await build({
    entryPoints: [entry],
    outfile: join(folder, "program.js"),
    bundle: true,
    format: "iife",
    target: "es2022",
    conditions: ["edge-light"],
    logLevel: "error",
    plugins: [
      {
        name: "modules-of-the-host",
        setup({ onResolve, onLoad }) {
          onResolve({ filter: /\.wasm\?module$/ }, ({ path, resolveDir }) => ({
            path: join(resolveDir, path.replace("?module", "")),
            namespace: "host",
          }));
          onLoad({ filter: /./, namespace: "host" }, async ({ path }) => {
            const name = basename(path);
            await writeFile(join(folder, name), await readFile(path));
            return { contents: `export default globalThis.modules["${name}"];`, resolveDir: dirname(path) };
          });
        },
      },
    ],
  });
}

/**
 * Runs what `buildForEdgeLight` made; what `answer()` comes to, parsed as JSON.
 *
 * @param {string} folder
 * @returns {Promise<any>}
 */
export async function runAtEdgeLight(folder) {
  /** @type {Record<string, WebAssembly.Module>} */
  const modules = {};
  const script = await readFile(join(folder, "program.js"), "utf8");
  for (const [, name] of script.matchAll(/globalThis\.modules\["([\w.]+)"\]/g))
    modules[name] = await WebAssembly.compile(await readFile(join(folder, name)));
  const { atob, performance, setTimeout, TextDecoder, TextEncoder, MessageChannel } = globalThis;
  const globals = { modules, atob, performance, setTimeout, TextDecoder, TextEncoder, MessageChannel };
  const realm = createContext(globals, { codeGeneration: { strings: false, wasm: false } });
  runInContext("globalThis.self = globalThis;", realm);
  runInContext(script, realm);
  return JSON.parse(await runInContext("answer()", realm));
}
