// Alternating measurement: the sides by turns, round after round.
import { cpus } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

const WARM_UP_ROUNDS = 3;
const MIN_ROUNDS = 3;
const MAX_ROUNDS = 1000;
/** Idle threads of a peer's pool spin for a moment after their work; they must not do it in the next side's time. */
const PAUSE_MS = 20;

/**
 * Runs the sides in turn for about `seconds`, after rounds that do not count. Slow ones warm up for one round.
 *
 * @param sides each with `run`, which does as many steps as it is told, one after the other, and answers `{ ms }`, with `cpu_ms` where
 *   another process does it; and `rounds`, if it is so slow that more would not be worth the wait
 * @param least what a side takes a round, in ms: it does as many steps as that takes, going by the rounds that do not count. One
 *   step unless given
 * @returns `timed`: the sides, each with its `times`, the mean a step of every round; `others`: share of the processors that
 *   other processes took
 */
export async function measure(sides, seconds, least = 0) {
  const timed = sides.map((side) => ({ ...side, times: [], warm: 0, steps: 1 }));
  for (let round = 0; round < WARM_UP_ROUNDS; round++) {
    for (const side of timed) {
      if (round > 0 && (side.rounds !== undefined || side.warm > Math.max(2, seconds / 4) * 1e3)) continue;
      await sleep(PAUSE_MS);
      const { ms } = await side.run(side.steps);
      side.warm += ms;
      side.steps = Math.max(1, Math.ceil((least * side.steps) / ms));
    }
  }
  let peers = 0;
  const start = performance.now();
  const own = process.cpuUsage();
  const before = processorTimes();
  for (let round = 0; round < MAX_ROUNDS; round++) {
    if (round >= MIN_ROUNDS && performance.now() - start > seconds * 1e3) break;
    for (const side of timed) {
      if (side.times.length === side.rounds) continue;
      await sleep(PAUSE_MS);
      const { ms, cpu_ms = 0 } = await side.run(side.steps);
      side.times.push(ms / side.steps);
      peers += cpu_ms;
    }
  }
  const after = processorTimes();
  const { user, system } = process.cpuUsage(own);
  const others = after.busy - before.busy - (user + system) / 1e3 - peers;
  return { timed, others: Math.max(0, others / (after.all - before.all)) };
}

/** Share of the processors that is in use while this process waits: before measurements in processes of their own. */
export async function busyShare(milliseconds = 1000) {
  const before = processorTimes();
  await sleep(milliseconds);
  const after = processorTimes();
  return (after.busy - before.busy) / (after.all - before.all);
}

/** Milliseconds of all processors since they started. */
function processorTimes() {
  let [busy, all] = [0, 0];
  for (const { times } of cpus()) {
    const sum = Object.values(times).reduce((total, ms) => total + ms, 0);
    all += sum;
    busy += sum - times.idle;
  }
  return { busy, all };
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The smallest value that at least `share` of all do not exceed. */
export function percentile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}
