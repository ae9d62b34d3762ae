import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vitest/config";
import manifest from "./package.json" with { type: "json" };
import { coreText } from "./scripts/lib/cores.mjs";

const dist = (file: string) => fileURLToPath(new URL(`./dist/${file}`, import.meta.url));

/** What the build makes of an imported core, for tests that import from src/. */
const wasmText: Plugin = {
  name: "wasm-text",
  enforce: "pre",
  async load(id) {
    const core = /^(.*\.wasm)(\?deflated)?$/.exec(id);
    return core && `export default ${JSON.stringify(await coreText(core[1], core[2] !== undefined))};`;
  },
};

export default defineConfig({
  plugins: [wasmText],
  define: { SPIKEGRAD_VERSION: JSON.stringify(manifest.version), SPIKEGRAD_TRAINING: "true" },
  resolve: {
    // Tests use the package as it is shipped.
    alias: [
      { find: /^spikegrad$/, replacement: dist("index.js") },
      { find: /^spikegrad\/data$/, replacement: dist("data.js") },
      { find: /^spikegrad\/data\/node$/, replacement: dist("data-node.js") },
      { find: /^spikegrad\/infer$/, replacement: dist("infer/index.js") },
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
