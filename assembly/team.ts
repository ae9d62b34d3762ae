// Ranks of one program in workers of their own: who takes which block, and where they wait for each other. Results depend on
// neither. Other builds, and a program with one rank, have nothing to wait for.
//
// A barrier that spins costs 0.1 to 0.2 µs, one that sleeps 5 to 130: ranks spin for a while first. They sleep in a function of
// the host's, not in memory.atomic.wait32, which corrupts locals in the baseline compiler of Node 20.

import { Frame, Team } from "./abi";

/** Atomics.wait: sleeps while the word at `address` is `value`. */
// @ts-ignore: decorator
@external("env", "wait")
declare function wait(address: usize, value: u32): void;

/** Loads before a rank sleeps. */
const SPINS = 20000;

@inline
function teamOf(frame: usize): usize {
  return load<u32>(frame, Frame.Team) as usize;
}

/** Traps if the wrapper wants the ranks to give up. */
@inline
export function goOn(frame: usize): void {
  if (ASC_FEATURE_THREADS) {
    if (atomic.load<u32>(teamOf(frame), Team.Stop)) unreachable();
  }
}

/** The next block for this rank: `mine`, in turn, if it is alone; else one that nobody has taken. */
export function nextBlock(mine: u32, first: u32, frame: usize): u32 {
  if (ASC_FEATURE_THREADS) {
    if (load<u32>(frame, Frame.Ranks) > 1) return first + atomic.add<u32>(teamOf(frame), 1, Team.Next);
  }
  return mine;
}

/** Returns when all ranks have come here. What they wrote before is seen by all. */
export function barrier(frame: usize): void {
  if (!ASC_FEATURE_THREADS) return;
  const ranks = load<u32>(frame, Frame.Ranks);
  if (ranks < 2) return;
  const team = teamOf(frame);
  const passed = atomic.load<u32>(team, Team.Passed);
  if (atomic.add<u32>(team, 1, Team.Arrived) + 1 == ranks) {
    atomic.store<u32>(team, 0, Team.Arrived);
    atomic.store<u32>(team, 0, Team.Next);
    atomic.add<u32>(team, 1, Team.Passed);
    // Who counts itself after this sees that the barrier was passed, and does not fall asleep.
    if (atomic.load<u32>(team, Team.Sleepers)) atomic.notify(team + Team.Passed);
  } else {
    let spins = SPINS;
    while (atomic.load<u32>(team, Team.Passed) == passed) {
      if (--spins) continue;
      atomic.add<u32>(team, 1, Team.Sleepers);
      wait(team + Team.Passed, passed);
      atomic.sub<u32>(team, 1, Team.Sleepers);
      spins = 1;
    }
  }
  goOn(frame);
}
