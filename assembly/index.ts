// What the core exports. It allocates nothing and keeps nothing: all state is in the memory that the wrapper lays out.

import { ABI_VERSION, Frame } from "./abi";
import { fillNormal as normal, fillUniform as uniform, shuffle as permute } from "./math/normal";
import { execute } from "./program";

export function abiVersion(): i32 {
  return ABI_VERSION;
}

/** Runs `words` 32-bit words of program as rank `rank` of `ranks`; `frames` holds one frame a rank, `team` what they share. */
export function run(program: usize, words: usize, frames: usize, rank: u32, ranks: u32, team: usize): void {
  const frame = frames + rank * Frame.Size;
  store<u32>(frame, 0, Frame.Step);
  store<u32>(frame, 0, Frame.Sample);
  store<u32>(frame, 0, Frame.Block);
  store<u32>(frame, rank, Frame.Rank);
  store<u32>(frame, ranks, Frame.Ranks);
  store<u32>(frame, team, Frame.Team);
  execute(program, program + (words << 2), frame);
}

export function fillNormal(out: usize, count: i32, mean: f64, deviation: f64, c1: u32, c2: u32, c3: u32, key0: u32, key1: u32, scratch: usize): void {
  normal(out, count, mean, deviation, c1, c2, c3, key0, key1, scratch);
}

export function fillUniform(out: usize, count: i32, low: f64, high: f64, c1: u32, c2: u32, c3: u32, key0: u32, key1: u32, scratch: usize): void {
  uniform(out, count, low, high, c1, c2, c3, key0, key1, scratch);
}

export function shuffle(list: usize, count: i32, epoch: u32, key0: u32, key1: u32, scratch: usize): void {
  permute(list, count, epoch, key0, key1, scratch);
}

/** Natural logarithm, the core's own: the host's differs between engines. */
export function ln(x: f64): f64 {
  return NativeMath.log(x);
}
