// Benchmarks: npm run bench -- [TOPIC...] [--threads N] [--json] [--seconds S] [--peer P] [--latency]
//   [--no-chart]
// A topic is a workload, whose throughput is timed beside its peers', or one of the other measurements.
import { existsSync } from "node:fs";
import { CHART, drawChart } from "./chart/draw.mjs";
import { coldStartTable, measureColdStart } from "./cold-start.mjs";
import { KERNEL_TOPICS, runTopic } from "./kernels/topics.mjs";
import { compare } from "./lib/compare.mjs";
import { writeSections } from "./lib/document.mjs";
import { environment } from "./lib/environment.mjs";
import { readOptions } from "./lib/options.mjs";
import { merge, readResults, undisturbed, writeResults } from "./lib/results.mjs";
import { speedTables } from "./lib/tables.mjs";
import { measureMemory, memoryTable } from "./memory.mjs";
import { targetTable } from "./targets.mjs";
import { MODES, WORKLOADS } from "./workloads.mjs";

const OTHERS = {
  "cold-start": {
    title: "from a fresh process to the first answer of a LeNet",
    run: async () => [await measureColdStart({ here, say })],
  },
  memory: {
    title: "linear memory of the workloads' networks",
    run: () => measureMemory({ library: modules.library, say }),
  },
};

const topics = Object.entries({ ...WORKLOADS, ...OTHERS }).map(([name, { title }]) => [name, title]);
const { names, json, latency, chart, ...settings } = readOptions({
  ...Object.fromEntries(topics),
  ...KERNEL_TOPICS,
});
const modules = await load();
const here = await environment();
const say = json ? (text) => console.error(text) : (text) => console.log(text);
const results = [];

for (const name of names) {
  try {
    if (Object.hasOwn(KERNEL_TOPICS, name))
      await runTopic(name, { ...modules, ...settings, json, chart, here, say });
    else if (Object.hasOwn(OTHERS, name)) await runOther(name, OTHERS[name]);
    else await runWorkload(name, WORKLOADS[name]);
  } catch (error) {
    // Not left to Node, which would print a line of the minified bundle in front of it.
    say(`${name}: ${error.stack}`);
    process.exitCode = 1;
  }
}
if (!json) {
  if (undisturbed(results).length > 0) {
    await writeResults("speed", merge(await readResults("speed"), undisturbed(results)));
    if (chart) await drawChart(say);
  }
  await writeDocument();
}

async function writeDocument() {
  const topics = ["speed", "cold-start", "memory", "kernels", "curves"];
  const [speed, start, memory, kernels, curves] = await Promise.all(topics.map(readResults));
  const picture = existsSync(CHART) ? "![How many times as fast as the peers](results/ratios.svg)\n\n" : "";
  await writeSections({
    ...(speed.length > 0 ? { speed: picture + speedTables(speed) } : {}),
    ...(start.length > 0 ? { "cold start": coldStartTable(start) } : {}),
    ...(memory.length > 0 ? { memory: memoryTable(memory) } : {}),
    targets: targetTable({ speed, start, memory, kernels, curves }),
  });
}

async function runOther(name, { run }) {
  const entries = await run();
  if (json) for (const entry of entries) console.log(JSON.stringify({ topic: name, ...entry }));
  else if (undisturbed(entries).length > 0) await writeResults(name, undisturbed(entries));
}

async function runWorkload(name, workload) {
  const missing = workload.needs.filter((need) => typeof modules.library[need] !== "function");
  if (missing.length > 0) {
    say(`${name}: skipped, the library has no ${missing.join(", ")}`);
    return;
  }
  const modes = latency ? MODES : (workload.modes ?? ["train", "infer"]);
  const found = await compare(modules, name, workload, modes, { ...settings, here, say });
  if (json) for (const result of found) console.log(JSON.stringify(result));
  results.push(...found);
}

async function load() {
  try {
    return { library: await import("spikegrad"), io: await import("spikegrad/io") };
  } catch (error) {
    if (error.code !== "ERR_MODULE_NOT_FOUND") throw error;
    console.error(`${error.message}\nbuild the library first: npm run build`);
    return process.exit(2);
  }
}
