// Alternating measurement: one step of every side a round.
import { cpus } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

const WARM_UP_ROUNDS = 3;
const MIN_ROUNDS = 5;
const MAX_ROUNDS = 50;
/** Idle threads of a peer's pool spin for a moment after their work; they must not do it in the next side's time. */
const PAUSE_MS = 20;

/**
 * Runs the sides in turn for about `seconds`, after rounds that do not count.
 *
 * @param sides each with `run`, which does one step and answers `{ ms }`, with `cpu_ms` where another process does it
 * @returns `timed`: the sides, each with its `times`; `others`: share of the processors that other processes took
 */
export async function measure(sides, seconds) {
  const timed = sides.map((side) => ({ ...side, times: [] }));
  let peers = 0;
  const once = async (keep) => {
    for (const side of timed) {
      await sleep(PAUSE_MS);
      const { ms, cpu_ms = 0 } = await side.run();
      if (!keep) continue;
      side.times.push(ms);
      peers += cpu_ms;
    }
  };
  for (let round = 0; round < WARM_UP_ROUNDS; round++) await once(false);
  const start = performance.now();
  const own = process.cpuUsage();
  const before = processorTimes();
  for (let round = 0; round < MAX_ROUNDS; round++) {
    if (round >= MIN_ROUNDS && performance.now() - start > seconds * 1e3) break;
    await once(true);
  }
  const after = processorTimes();
  const { user, system } = process.cpuUsage(own);
  const others = after.busy - before.busy - (user + system) / 1e3 - peers;
  return { timed, others: Math.max(0, others / (after.all - before.all)) };
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
