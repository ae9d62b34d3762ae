// Ranks of one program in workers of their own: who takes which block, and where they wait for each other. Results depend on
// neither. Other builds, and a program with one rank, have nothing to wait for.
//
// A barrier that spins costs 0.1 to 0.2 µs, so ranks spin for a while first. Where that was in vain, for want of free processors,
// they soon spin for a fourth of it. Then they take naps, from which nobody wakes them: a rank that another one wakes may find
// itself on that one's processor, and stay there for many ms, one waiting for the other. They do so in a function of the host's,
// not in memory.atomic.wait32, which corrupts locals in the baseline compiler of Node 20.

import { Frame, Team, TeamStep } from "./abi";

/** Sleeps for a moment while the word at `address` is `value`. */
// @ts-ignore: decorator
@external("env", "wait")
declare function wait(address: usize, value: u32): void;

/** Loads before a rank sleeps, about 1 ns each: most and fewest. */
const SPINS: i32 = 400000;
const FEWEST: i32 = 100000;

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
  } else {
    const fewer = atomic.load<u32>(team, Team.Spins) as i32;
    let spins = SPINS - fewer;
    while (atomic.load<u32>(team, Team.Passed) == passed) {
      if (--spins <= 0) wait(team + Team.Passed, passed);
    }
    // Half as long after a sleep, twice as long after none.
    const next = spins > 0 ? max(2 * fewer - SPINS, 0) : min((fewer + SPINS) >> 1, SPINS - FEWEST);
    if (next != fewer) atomic.store<u32>(team, next, Team.Spins);
  }
  goOn(frame);
}

/** Whether the ranks change parameters now: the first who asks decides for all, unless it was decided before. */
export function begins(frame: usize): bool {
  if (!ASC_FEATURE_THREADS) return false;
  return atomic.cmpxchg<u32>(teamOf(frame), TeamStep.Open, TeamStep.Begun, Team.Step) < TeamStep.Held;
}

/** The step is left to the wrapper, unless somebody reads the parameters, who has left it already. */
export function refuse(frame: usize): void {
  if (ASC_FEATURE_THREADS) atomic.cmpxchg<u32>(teamOf(frame), TeamStep.Open, TeamStep.Unsound, Team.Step);
}
