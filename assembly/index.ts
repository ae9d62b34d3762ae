// What the core exports. It allocates nothing and keeps nothing: all state is in the memory that the wrapper lays out.

import { ABI_VERSION } from "./abi";
import { fillNormal as normal, fillUniform as uniform, shuffle as permute } from "./math/normal";
export { scatter } from "./math/scatter";
export { run } from "./run";

export function abiVersion(): i32 {
  return ABI_VERSION;
}

export function fillNormal(out: usize, first: i32, count: i32, mean: f64, deviation: f64, c1: u32, c2: u32, c3: u32, key0: u32, key1: u32, scratch: usize): void {
  normal(out, first, count, mean, deviation, c1, c2, c3, key0, key1, scratch);
}

export function fillUniform(out: usize, first: i32, count: i32, low: f64, high: f64, c1: u32, c2: u32, c3: u32, key0: u32, key1: u32, scratch: usize): void {
  uniform(out, first, count, low, high, c1, c2, c3, key0, key1, scratch);
}

export function shuffle(list: usize, count: i32, epoch: u32, key0: u32, key1: u32, scratch: usize): void {
  permute(list, count, epoch, key0, key1, scratch);
}

/** Largest magnitude of `count` numbers, a multiple of 4; NaN is larger than all. */
export function largest(numbers: usize, count: usize): f32 {
  const end = numbers + (count << 2);
  let most: u32 = 0;
  // Without the sign, bits of f32 are in order of magnitude.
  if (ASC_FEATURE_SIMD) {
    let mosts = i32x4.splat(0);
    for (; numbers < end; numbers += 16)
      mosts = i32x4.max_u(mosts, v128.and(v128.load(numbers), i32x4.splat(0x7fffffff)));
    for (let lane = 0; lane < 4; ++lane) {
      most = max(most, i32x4.extract_lane(mosts, 0) as u32);
      mosts = v128.shuffle<i32>(mosts, mosts, 1, 2, 3, 0);
    }
  } else {
    for (; numbers < end; numbers += 4) most = max(most, load<u32>(numbers) & 0x7fffffff);
  }
  return reinterpret<f32>(most);
}

/** Natural logarithm, the core's own: the host's differs between engines. */
export function ln(x: f64): f64 {
  return NativeMath.log(x);
}
