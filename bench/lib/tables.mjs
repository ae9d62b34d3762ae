// Tables of RESULTS.md from the results of workloads.
import { figure, percent, table } from "./figures.mjs";
import { shared } from "./lines.mjs";

/** Times, ratios and what they were measured with. */
export function speedTables(results) {
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
      times(result.ours_ms, result.ours_min_ms, result.ours_p99_ms),
      result.peer,
      times(result.peer_ms, result.peer_min_ms, result.peer_p99_ms),
      `**${figure(result.ratio)}×** (${figure(result.min_ratio)}×)`,
      `${Math.round(result.others * 100)} %`,
      runs.indexOf(run) + 1,
    ];
  });
  return [
    "Milliseconds a sample, median of all rounds (minimum; of single samples also the 99th percentile). The ratio is the peer's",
    "time over ours, above 1 where ours is faster, for the medians and (in brackets) the minima.",
    "",
    table(["workload", "mode", "threads", "ours", "peer", "peer", "ratio", "others", "run"], rows),
    "",
    ...runs.map((run, i) => `${i + 1}. ${run}`),
    "",
    "Spikes a neuron and step with the weights that both sides were handed, the check that they do the same work, and (in",
    "brackets) when the timing was over.",
    "",
    table(["workload", "threads", "layer", "ours", "peer", "peer"], rateRows(results)),
  ].join("\n");
}

function times(ms, min, p99) {
  return `${figure(ms)} (${figure(min)}${p99 === undefined ? "" : `; 99 %: ${figure(p99)}`})`;
}

function rateRows(results) {
  const rows = new Map();
  for (const { workload, threads, peer, rates, first_rates } of results) {
    const cell = (side, name) =>
      first_rates
        ? `${percent(first_rates[side][name])} (${percent(rates[side][name])})`
        : `(${percent(rates[side][name])})`;
    for (const name of shared(rates.ours, rates.peer)) {
      const row = [workload, threads, name, cell("ours", name), peer, cell("peer", name)];
      rows.set([workload, threads, peer, name].join(), row);
    }
  }
  return [...rows.values()];
}
