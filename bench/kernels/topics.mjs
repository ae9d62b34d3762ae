// The two measurements that are no workload: kernels alone, and cost curves.
import { existsSync } from "node:fs";
import { drawCurves, drawKernels } from "../chart/curves.mjs";
import { writeSections } from "../lib/document.mjs";
import { undisturbed, writeResults } from "../lib/results.mjs";
import { curveTables, runCurves } from "./curves.mjs";
import { kernelTables, runKernels } from "./run.mjs";

export const KERNEL_TOPICS = {
  kernels: "dense product beside OpenBLAS, spikes beside the dense product, neuron scan",
  curves: "training against spike density and network size",
};

/** Share of a workload's time that one figure of a kernel gets. */
const SHARE = 1 / 20;

const TOPICS = {
  kernels: { run: runKernels, tables: kernelTables, draw: drawKernels, charts: ["kernels"] },
  curves: {
    run: runCurves,
    tables: curveTables,
    draw: drawCurves,
    charts: ["curve-synapse", "curve-network", "curve-size"],
  },
};

/** Runs a topic, prints a line a result, and saves it if nothing else kept the machine busy. */
export async function runTopic(name, { json, chart, say, ...settings }) {
  const { run, tables, draw, charts } = TOPICS[name];
  const results = [];
  await run({ ...settings, seconds: settings.seconds * SHARE, say }, (result, text) => {
    results.push(result);
    if (json) console.log(JSON.stringify(result));
    else say(text);
  });
  if (json) return;
  if (undisturbed(results).length < results.length) {
    say(`${name}: other processes ran meanwhile; nothing is saved`);
    return;
  }
  await writeResults(name, results);
  if (chart) await draw(results, say);
  const pictures = charts
    .filter((file) => existsSync(new URL(`../results/${file}.svg`, import.meta.url)))
    .map((file) => `![${file}](results/${file}.svg)\n\n`);
  const { version, runtime, processor, date } = results[0];
  await writeSections({
    [name]: `${pictures.join("")}${tables(results)}\n\n${version}, ${runtime}; ${processor}; ${date}.`,
  });
}
