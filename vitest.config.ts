import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vitest/config";
import manifest from "./package.json" with { type: "json" };

const dist = (file: string) => fileURLToPath(new URL(`./dist/${file}`, import.meta.url));

/** What esbuild's binary loader does in the build, for tests that import from src/. */
const wasmBytes: Plugin = {
  name: "wasm-bytes",
  enforce: "pre",
  async load(id) {
    if (!id.endsWith(".wasm")) return null;
    const base64 = (await readFile(id)).toString("base64");
    return `export default new Uint8Array(Buffer.from("${base64}", "base64"));`;
  },
};

export default defineConfig({
  plugins: [wasmBytes],
  define: { SPIKEGRAD_VERSION: JSON.stringify(manifest.version) },
  resolve: {
    // Tests use the package as it is shipped.
    alias: [
      { find: /^spikegrad$/, replacement: dist("index.js") },
      { find: /^spikegrad\/data$/, replacement: dist("data.js") },
      { find: /^spikegrad\/data\/node$/, replacement: dist("data-node.js") },
      { find: /^spikegrad\/io$/, replacement: dist("io.js") },
    ],
  },
  test: {
    setupFiles: ["test/seed.ts"],
    include: ["test/**/*.test.ts"],
    reporters: ["./test/reporter.ts"],
    testTimeout: 60_000,
    // What Node loads itself is what users run; Vite would transform it.
    server: { deps: { external: [/\/dist\/.*\.js$/] } },
  },
});
