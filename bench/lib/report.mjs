// What a run leaves behind: a line a result, bench/results/results.json, and the table in RESULTS.md drawn from it.
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { WORKLOADS } from "../workloads.mjs";

const FOLDER = new URL("../results/", import.meta.url);
const RESULTS = new URL("results.json", FOLDER);
export const CHART = new URL("ratios.svg", FOLDER);
const DOCUMENT = new URL("../RESULTS.md", import.meta.url);
const BEGIN = "<!-- table: written by npm run bench -->";
const END = "<!-- end of table -->";

/** Share of the machine that other processes may take; beyond it a figure says more about them. */
const MAX_OTHERS = 0.1;

export function resultLine(result) {
  const {
    workload,
    mode,
    threads,
    peer,
    ours_ms,
    ours_min_ms,
    peer_ms,
    peer_min_ms,
    ratio,
    min_ratio,
    rounds,
    others,
  } = result;
  return (
    `${workload} ${mode}, ${threads} thread${threads === 1 ? "" : "s"}: ours ${figure(ours_ms)} ms a sample ` +
    `(min ${figure(ours_min_ms)}), ${peer} ${figure(peer_ms)} (min ${figure(peer_min_ms)}), ` +
    `ratio ${figure(ratio)} (of minima ${figure(min_ratio)}), ${rounds} rounds` +
    (others > MAX_OTHERS ? `; not saved: other processes took ${percent(others)} of the machine` : "")
  );
}

/** Spikes a neuron and step on both sides: equal rates are equal work. */
export function rateLines(workload, { ours, ...peers }) {
  return Object.entries(peers).map(([peer, rates]) => {
    const layers = Object.keys(rates)
      .filter((name) => name in ours)
      .map((name) => `${name} ${percent(ours[name])} / ${percent(rates[name])}`);
    return `${workload} spikes a neuron and step, ours / ${peer}: ${layers.join(", ")}`;
  });
}

/** Puts new results, if the machine was free, in place of those for the same workload, mode, threads and peer; how many. */
export async function saveResults(measured) {
  const fresh = measured.filter(({ others }) => others <= MAX_OTHERS);
  if (fresh.length === 0) return 0;
  await mkdir(FOLDER, { recursive: true });
  const kept = (await readResults()).filter((old) => !fresh.some((result) => key(result) === key(old)));
  const order = Object.keys(WORKLOADS);
  const modes = ["train", "infer", "latency"];
  const all = [...kept, ...fresh].sort(
    (a, b) =>
      order.indexOf(a.workload) - order.indexOf(b.workload) ||
      a.threads - b.threads ||
      modes.indexOf(a.mode) - modes.indexOf(b.mode) ||
      a.peer.localeCompare(b.peer),
  );
  await writeFile(RESULTS, `[\n${all.map((result) => `  ${JSON.stringify(result)}`).join(",\n")}\n]\n`);
  return fresh.length;
}

/** Draws the tables of RESULTS.md, between its markers, from the saved results. */
export async function writeDocument() {
  const all = await readResults();
  const text = await readFile(DOCUMENT, "utf8");
  const [from, to] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (from < 0 || to < from) throw new Error(`bench/RESULTS.md has lost its markers "${BEGIN}" and "${END}"`);
  const chart = existsSync(CHART) ? "![How many times as fast as the peers](results/ratios.svg)\n\n" : "";
  await writeFile(
    DOCUMENT,
    `${text.slice(0, from + BEGIN.length)}\n\n${chart}${tables(all)}\n${text.slice(to)}`,
  );
}

export async function readResults() {
  try {
    return JSON.parse(await readFile(RESULTS, "utf8"));
  } catch (error) {
    if (error.code === "ENOENT") return [];
    throw error;
  }
}

function key({ workload, mode, threads, peer }) {
  return [workload, mode, threads, peer].join();
}

function tables(results) {
  const runs = [];
  const rows = results.map((result) => {
    const { version, runtime, peer_version, processor, date } = result;
    const run = `${version}, ${runtime}; ${peer_version}; ${processor}; ${date}`;
    if (!runs.includes(run)) runs.push(run);
    return [
      result.workload,
      result.mode,
      result.ours_threads === result.threads
        ? result.threads
        : `${result.threads} (ours ${result.ours_threads})`,
      `${figure(result.ours_ms)} (${figure(result.ours_min_ms)})`,
      result.peer,
      `${figure(result.peer_ms)} (${figure(result.peer_min_ms)})`,
      `**${figure(result.ratio)}×** (${figure(result.min_ratio)}×)`,
      `${Math.round(result.others * 100)} %`,
      runs.indexOf(run) + 1,
    ];
  });
  const rates = new Map();
  for (const { workload, threads, peer, rates: found } of results) {
    for (const [name, rate] of Object.entries(found.peer)) {
      if (!(name in found.ours)) continue;
      rates.set([workload, threads, peer, name].join(), [
        workload,
        threads,
        name,
        percent(found.ours[name]),
        peer,
        percent(rate),
      ]);
    }
  }
  return [
    "Milliseconds a sample, median (minimum). The ratio is the peer's time over ours, above 1 where ours is faster, for the",
    "medians and (in brackets) the minima.",
    "",
    table(["workload", "mode", "threads", "ours", "peer", "peer", "ratio", "others", "run"], rows),
    "",
    ...runs.map((run, i) => `${i + 1}. ${run}`),
    "",
    "Spikes a neuron and step when the timing was over, the check that both sides did the same work:",
    "",
    table(["workload", "threads", "layer", "ours", "peer", "peer"], [...rates.values()]),
    "",
  ].join("\n");
}

function table(head, rows) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

/** Three significant digits. */
function figure(value) {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

function percent(rate) {
  return `${(rate * 100).toPrecision(3)} %`;
}
