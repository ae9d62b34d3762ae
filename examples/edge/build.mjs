// @ts-check
// Makes a folder that workerd serves, as the bundlers of CDNs do: one script, and beside it, as modules, what it imports that is
// no script: cores and trained files.
//   node examples/edge/build.mjs && npx workerd serve examples/edge/built/config.capnp
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { basename, isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

/**
 * @param {string} entry path of the worker's script
 * @param {string} folder to fill
 */
export async function buildForWorkerd(entry, folder) {
  await mkdir(folder, { recursive: true });
  const modules = ['(name = "worker.js", esModule = embed "worker.js")'];
  await build({
    entryPoints: { worker: entry },
    outdir: folder,
    bundle: true,
    format: "esm",
    target: "es2022",
    conditions: ["workerd", "worker"],
    logLevel: "error",
    plugins: [
      {
        name: "modules-that-are-no-scripts",
        setup({ onResolve }) {
          onResolve({ filter: /\.(wasm|safetensors)$/ }, async ({ path, resolveDir }) => {
            const name = basename(path);
            await copyFile(isAbsolute(path) ? path : join(resolveDir, path), join(folder, name));
            const kind = name.endsWith(".wasm") ? "wasm" : "data";
            const module = `(name = "${name}", ${kind} = embed "${name}")`;
            if (!modules.includes(module)) modules.push(module);
            return { path: name, external: true };
          });
        },
      },
    ],
  });
  const config = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .worker)],
  sockets = [(name = "http", address = "127.0.0.1:8080", http = (), service = "main")]
);
const worker :Workerd.Worker = (modules = [${modules.join(", ")}], compatibilityDate = "2026-01-01");
`;
  await writeFile(join(folder, "config.capnp"), config);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const at = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));
  await buildForWorkerd(at("worker.mjs"), at("built"));
}
