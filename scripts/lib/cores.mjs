// How a core gets into a JavaScript file.
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { constants, deflate } from "node:zlib";

/**
 * A core's bytes in base64; deflated ones need a quarter less after a server has compressed the file they are in.
 *
 * @param {string} path
 * @param {boolean} deflated
 */
export async function coreText(path, deflated) {
  const bytes = await readFile(path);
  const settings = { level: constants.Z_BEST_COMPRESSION };
  return (deflated ? await promisify(deflate)(bytes, settings) : bytes).toString("base64");
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
      contents: await coreText(path, suffix !== ""),
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
