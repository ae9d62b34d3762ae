import { Frame, Team } from "./abi";
import { execute } from "./program";
import { resetTickets } from "./team";

/** Runs `words` 32-bit words of program as rank `rank` of `ranks`; `frames` holds one frame a rank, `team` what they share. */
export function run(program: usize, words: usize, frames: usize, rank: u32, ranks: u32, team: usize): void {
  const frame = frames + rank * Frame.Size;
  store<u32>(frame, 0, Frame.Step);
  store<u32>(frame, 0, Frame.Sample);
  store<u32>(frame, 0, Frame.Block);
  store<u32>(frame, rank, Frame.Rank);
  store<u32>(frame, ranks, Frame.Ranks);
  store<u32>(frame, team, Frame.Team);
  resetTickets(frame);
  execute(program, program + (words << 2), frame);
  if (ASC_FEATURE_THREADS) atomic.add<u32>(team, 1, Team.Done);
}
