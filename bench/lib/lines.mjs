// What a run prints.
import { figure, percent } from "./figures.mjs";

/** Share of the machine that other processes may take; beyond it a figure says more about them. */
export const MAX_OTHERS = 0.1;

export function resultLine(result) {
  const { workload, mode, threads, peer, ours_ms, ours_min_ms, peer_ms, peer_min_ms } = result;
  const { ratio, min_ratio, ours_p99_ms, peer_p99_ms, rounds, peer_rounds, others } = result;
  const late = (ms) => (ms === undefined ? "" : `, 99 %: ${figure(ms)}`);
  return (
    `${workload} ${mode}, ${threads} thread${threads === 1 ? "" : "s"}: ours ${figure(ours_ms)} ms a sample ` +
    `(min ${figure(ours_min_ms)}${late(ours_p99_ms)}), ${peer} ${figure(peer_ms)} ` +
    `(min ${figure(peer_min_ms)}${late(peer_p99_ms)}), ratio ${figure(ratio)} (of minima ${figure(min_ratio)}), ` +
    `${rounds} rounds${peer_rounds === rounds ? "" : `, ${peer_rounds} of the peer`}` +
    disturbance(others)
  );
}

/** Why a figure is not saved, if it is not. */
export function disturbance(others) {
  return others > MAX_OTHERS ? `; not saved: other processes took ${percent(others)} of the machine` : "";
}

/** Spikes a neuron and step on both sides: equal rates are equal work. */
export function rateLines(workload, { ours, ...peers }) {
  return Object.entries(peers).map(([peer, rates]) => {
    const layers = shared(ours, rates).map(
      (name) => `${name} ${percent(ours[name])} / ${percent(rates[name])}`,
    );
    return `${workload} spikes a neuron and step, ours / ${peer}: ${layers.join(", ")}`;
  });
}

/** What speaks against both sides doing the same work: losses and rates with the first weights that are apart. */
export function differences(workload, losses, { ours, ...peers }) {
  const found = [];
  for (const [peer, loss] of Object.entries(losses)) {
    if (apart(loss.ours, loss.peer, 0.05, 0))
      found.push(`${workload}: NOT THE SAME WORK: loss at the start ${loss.ours}, ${peer} ${loss.peer}`);
  }
  for (const [peer, rates] of Object.entries(peers)) {
    for (const name of shared(ours, rates)) {
      if (apart(ours[name], rates[name], 0.1, 0.005))
        found.push(
          `${workload}: NOT THE SAME WORK: spikes of ${name} ${percent(ours[name])}, ${peer} ${percent(rates[name])}`,
        );
    }
  }
  return found;
}

/** Layers that both sides count. */
export function shared(ours, theirs) {
  return Object.keys(theirs).filter((name) => name in ours);
}

function apart(a, b, relative, absolute) {
  return !(Math.abs(a - b) <= absolute + relative * Math.max(Math.abs(a), Math.abs(b)));
}
