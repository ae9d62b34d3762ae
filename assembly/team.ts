// Ranks of one program in workers of their own: who takes which part of an instruction, and where they wait for each other.
// Results depend on neither. Other builds, and a program with one rank, have nothing to wait for.
//
// A barrier that spins costs 0.1 to 0.2 µs, so ranks spin for a while first. Where that was in vain, for want of free processors,
// they soon spin for a fourth of it. Then they take naps, from which nobody wakes them: a rank that another one wakes may find
// itself on that one's processor, and stay there for many ms, one waiting for the other. They do so in a function of the host's,
// not in memory.atomic.wait32, which corrupts locals in the baseline compiler of Node 20.

import { Frame, NO_TICKET, Team, TeamStep } from "./abi";

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

/**
 * The next of an instruction's `count` parts for this rank: `mine`, in turn, if it is alone; else one that nobody has taken.
 * `count` or more if there is none; then a ticket that was drawn in vain counts for the next instruction. All ranks have to ask
 * until there is none.
 */
export function nextPart(mine: usize, count: usize, frame: usize): usize {
  if (ASC_FEATURE_THREADS) {
    if (load<u32>(frame, Frame.Ranks) > 1) {
      let ticket = load<u32>(frame, Frame.Ticket);
      if (ticket == <u32>NO_TICKET) ticket = atomic.add<u32>(teamOf(frame), 1, Team.Next);
      const base = load<u32>(frame, Frame.Base);
      const part = (ticket - base) as usize;
      const taken = part < count;
      store<u32>(frame, taken ? NO_TICKET : ticket, Frame.Ticket);
      if (!taken) store<u32>(frame, base + (count as u32), Frame.Base);
      return part;
    }
  }
  return mine;
}

/** No ticket is drawn: at the beginning, and behind a barrier. */
export function resetTickets(frame: usize): void {
  if (!ASC_FEATURE_THREADS) return;
  store<u32>(frame, NO_TICKET, Frame.Ticket);
  store<u32>(frame, 0, Frame.Base);
}

/** Bytes of a tensor that a rank takes at a time. */
const STRETCH: usize = 32768;

/** The byte where the next stretch of a tensor for this rank begins, `bytes` or more if there is none. `mine` as above. */
export function nextStretch(mine: usize, bytes: usize, frame: usize): usize {
  if (ASC_FEATURE_THREADS) {
    if (load<u32>(frame, Frame.Ranks) > 1) return nextPart(0, (bytes + STRETCH - 1) / STRETCH, frame) * STRETCH;
  }
  return mine;
}

/** One behind its last. */
export function endOfStretch(first: usize, bytes: usize, frame: usize): usize {
  if (ASC_FEATURE_THREADS) {
    if (load<u32>(frame, Frame.Ranks) > 1) return min(first + STRETCH, bytes);
  }
  return bytes;
}

/** The frame of rank `rank`. */
@inline
function frameOf(rank: u32, frame: usize): usize {
  return frame - load<u32>(frame, Frame.Rank) * Frame.Size + rank * Frame.Size;
}

/** Returns when the word at `address`, which grows, is at least `least`. */
function waitFor(address: usize, least: u32, frame: usize): void {
  const team = teamOf(frame);
  const fewer = atomic.load<u32>(team, Team.Spins) as i32;
  let spins = SPINS - fewer;
  for (;;) {
    const value = atomic.load<u32>(address);
    if (((value - least) as i32) >= 0) break;
    if (--spins > 0) continue;
    wait(address, value);
    goOn(frame);
  }
  // Half as long after a sleep, twice as long after none.
  const next = spins > 0 ? max(2 * fewer - SPINS, 0) : min((fewer + SPINS) >> 1, SPINS - FEWEST);
  if (next != fewer) atomic.store<u32>(team, next, Team.Spins);
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
    for (let rank: u32 = 0; rank < ranks; ++rank) atomic.store<u32>(frameOf(rank, frame), 0, Frame.Points);
    atomic.add<u32>(team, 1, Team.Passed);
  } else waitFor(team + Team.Passed, passed + 1, frame);
  resetTickets(frame);
  goOn(frame);
}

/**
 * Passes `points` points, and returns when all ranks have passed all of this one's but `lag`; a barrier stands before the first.
 * What they wrote before theirs is seen.
 */
export function keepUp(lag: u32, points: u32, frame: usize): void {
  if (!ASC_FEATURE_THREADS) return;
  const ranks = load<u32>(frame, Frame.Ranks);
  if (ranks < 2) return;
  const mine = atomic.add<u32>(frame, points, Frame.Points) + points;
  for (let rank: u32 = 0; rank < ranks; ++rank) waitFor(frameOf(rank, frame) + Frame.Points, mine - lag, frame);
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
