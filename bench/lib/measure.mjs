// Alternating measurement: one step of every side a round.
import { setTimeout as sleep } from "node:timers/promises";

const WARM_UP_ROUNDS = 3;
const MIN_ROUNDS = 5;
const MAX_ROUNDS = 50;
/** Idle threads of a peer's pool spin for a moment after their work; they must not do it in the next side's time. */
const PAUSE_MS = 20;

/**
 * Runs the sides in turn for about `seconds`, after rounds that do not count.
 *
 * @param sides each with `run`, which does one step and answers its milliseconds
 * @returns the sides, each with its `times`
 */
export async function measure(sides, seconds) {
  const timed = sides.map((side) => ({ ...side, times: [] }));
  const once = async (keep) => {
    for (const side of timed) {
      await sleep(PAUSE_MS);
      const ms = await side.run();
      if (keep) side.times.push(ms);
    }
  };
  for (let round = 0; round < WARM_UP_ROUNDS; round++) await once(false);
  const end = performance.now() + seconds * 1e3;
  for (let round = 0; round < MIN_ROUNDS || (round < MAX_ROUNDS && performance.now() < end); round++)
    await once(true);
  return timed;
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
