import { readFile } from "node:fs/promises";
import { cpus } from "node:os";

/** What a figure depends on besides the code. */
export async function environment() {
  const { version } = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8"));
  const processors = cpus();
  return {
    version: `spikegrad ${version}`,
    runtime: `Node ${process.versions.node}`,
    processor: `${processors.length} × ${processors[0]?.model.trim() ?? process.arch}`,
    date: new Date().toISOString().slice(0, 10),
  };
}
