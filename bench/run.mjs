// Benchmarks: npm run bench -- [WORKLOAD...] [--threads N] [--json] [--seconds S] [--latency] [--no-chart]
// Ours and every peer begin with the same weights and the same batch, and take turns within one run, so that what else
// the machine does hits all alike.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { drawChart } from "./chart/draw.mjs";
import { environment } from "./lib/environment.mjs";
import { measure, median } from "./lib/measure.mjs";
import { Ours } from "./lib/ours.mjs";
import { startPeer } from "./lib/peer.mjs";
import { rateLines, resultLine, saveResults, writeDocument } from "./lib/report.mjs";
import { WORKLOADS } from "./workloads.mjs";

const USAGE = `usage: npm run bench -- [WORKLOAD...] [--threads N] [--json] [--seconds S] [--latency] [--no-chart]
  WORKLOAD    ${Object.keys(WORKLOADS).join(", ")}; all of them if none is named
  --threads   threads of ours and of the peers, 1 unless given
  --json      one JSON object a line instead of text; writes no file
  --seconds   time for each workload and mode, 20 unless given
  --latency   also a single sample at a time
  --no-chart  do not draw bench/results/ratios.svg`;

const { names, threads, json, seconds, modes, chart } = options();
const { library, io } = await load();
const here = await environment();
const say = json ? (text) => console.error(text) : (text) => console.log(text);
const results = [];

for (const name of names) {
  const workload = WORKLOADS[name];
  const missing = workload.needs.filter((need) => typeof library[need] !== "function");
  if (missing.length > 0) {
    say(`${name}: skipped, the library has no ${missing.join(", ")}`);
    continue;
  }
  try {
    await runWorkload(name, workload);
  } catch (error) {
    // Not left to Node, which would print a line of the minified bundle in front of it.
    say(`${name}: ${error.stack}`);
    process.exitCode = 1;
  }
}
if (!json && (await saveResults(results)) > 0) {
  if (chart) await drawChart(say);
  await writeDocument();
}

async function runWorkload(name, workload) {
  const ours = await Ours.create(library, workload, threads);
  if (ours.threads !== threads) say(`${name}: ours has no ${threads} threads and runs on ${ours.threads}`);
  const peers = [];
  const folder = await mkdtemp(join(tmpdir(), "spikegrad-bench-"));
  try {
    const start = join(folder, "start.safetensors");
    await writeFile(start, ours.start(io));
    for (const [label, peer] of Object.entries(workload.peers)) {
      const started = await startPeer(peer, threads, start);
      if (started.skip === undefined) peers.push({ label, process: started });
      else say(`${name}: peer ${label} skipped: ${started.skip}`);
    }
    if (peers.length === 0) say(`${name}: no peer to compare with`);
    const found = [];
    for (const mode of modes) found.push(...(await runMode(name, mode, ours, peers)));
    const rates = { ours: await ours.rates() };
    for (const { label, process } of peers) rates[label] = (await process.ask("rates")).rates;
    for (const result of found) {
      result.rates = { ours: rates.ours, peer: rates[result.peer] };
      if (json) console.log(JSON.stringify(result));
    }
    results.push(...found);
    if (!json) for (const line of rateLines(name, rates)) say(line);
  } finally {
    await ours.close();
    for (const { process } of peers) await process.close();
    await rm(folder, { recursive: true });
  }
}

async function runMode(name, mode, ours, peers) {
  const sides = [
    { label: "ours", batch: mode === "latency" ? 1 : ours.batch, run: () => ours[mode]() },
    ...peers.map(({ label, process }) => ({
      label,
      batch: mode === "latency" ? 1 : process.ready.batch,
      run: () => process.ask(mode),
    })),
  ];
  const { timed, others } = await measure(sides, seconds);
  const [mine, ...rest] = timed;
  if (rest.length === 0)
    say(`${name} ${mode}: ours ${(median(mine.times) / mine.batch).toPrecision(3)} ms a sample`);
  return rest.map((other, i) => {
    const result = {
      workload: name,
      mode,
      threads,
      peer: other.label,
      ours_ms: median(mine.times) / mine.batch,
      peer_ms: median(other.times) / other.batch,
      ratio: median(other.times) / other.batch / (median(mine.times) / mine.batch),
      ours_min_ms: Math.min(...mine.times) / mine.batch,
      peer_min_ms: Math.min(...other.times) / other.batch,
      min_ratio: Math.min(...other.times) / other.batch / (Math.min(...mine.times) / mine.batch),
      ours_batch: mine.batch,
      peer_batch: other.batch,
      ours_threads: ours.threads,
      rounds: mine.times.length,
      others,
      peer_version: peers[i].process.ready.peer,
      ...here,
    };
    if (!json) say(resultLine(result));
    return result;
  });
}

function options() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        threads: { type: "string", default: "1" },
        json: { type: "boolean", default: false },
        seconds: { type: "string", default: "20" },
        latency: { type: "boolean", default: false },
        "no-chart": { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    if (values.help) {
      console.log(USAGE);
      process.exit(0);
    }
    const unknown = positionals.find((name) => !Object.hasOwn(WORKLOADS, name));
    if (unknown !== undefined) throw new Error(`unknown workload "${unknown}"`);
    const threads = Number(values.threads);
    if (!Number.isInteger(threads) || threads < 1)
      throw new Error(`--threads ${values.threads}: expected 1, 2, …`);
    const seconds = Number(values.seconds);
    if (!(seconds > 0)) throw new Error(`--seconds ${values.seconds}: expected a positive number`);
    return {
      names: positionals.length > 0 ? positionals : Object.keys(WORKLOADS),
      threads,
      json: values.json,
      seconds,
      modes: values.latency ? ["train", "infer", "latency"] : ["train", "infer"],
      chart: !values["no-chart"],
    };
  } catch (error) {
    console.error(`${error.message}\n${USAGE}`);
    return process.exit(2);
  }
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
