// Standard normal numbers by inversion: Wichura, "Algorithm AS 241: the percentage points of the normal distribution",
// Applied Statistics 37 (1988), routine PPND7, relative accuracy about 1e-7; evaluated in f64.

import { philox } from "./philox";

/** x with P(N(0,1) < x) = p, 0 < p < 1. */
export function normalQuantile(p: f64): f64 {
  const q = p - 0.5;
  if (Math.abs(q) <= 0.425) {
    const r = 0.180625 - q * q;
    return (
      (q * (((59.109374720 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179)) /
      (((67.187563600 * r + 78.757757664) * r + 17.895169469) * r + 1.0)
    );
  }
  let r = NativeMath.sqrt(-NativeMath.log(q < 0 ? p : 1.0 - p));
  let x: f64;
  if (r <= 5.0) {
    r -= 1.6;
    x =
      (((0.17023821103 * r + 1.3067284816) * r + 2.7568153900) * r + 1.4234372777) /
      ((0.12021132975 * r + 0.73700164250) * r + 1.0);
  } else {
    r -= 5.0;
    x =
      (((0.017337203997 * r + 0.42868294337) * r + 3.0812263860) * r + 6.6579051150) /
      ((0.012258202635 * r + 0.24197894225) * r + 1.0);
  }
  return q < 0 ? -x : x;
}

/** `count` normal numbers (mean, deviation) at `out`; number i comes from counter (i >> 2, c1, c2, c3). `scratch`: 16 bytes. */
export function fillNormal(out: usize, count: i32, mean: f64, deviation: f64, c1: u32, c2: u32, c3: u32, key0: u32, key1: u32, scratch: usize): void {
  for (let i = 0; i < count; ++i) {
    if ((i & 3) == 0) philox(scratch, i >> 2, c1, c2, c3, key0, key1);
    const p = ((load<u32>(scratch + ((i & 3) << 2)) as f64) + 0.5) * 2.3283064365386963e-10;
    store<f32>(out + ((i as usize) << 2), (mean + deviation * normalQuantile(p)) as f32);
  }
}

/** `count` uniform numbers in [low, high) at `out`, counters as in `fillNormal`. */
export function fillUniform(out: usize, count: i32, low: f64, high: f64, c1: u32, c2: u32, c3: u32, key0: u32, key1: u32, scratch: usize): void {
  for (let i = 0; i < count; ++i) {
    if ((i & 3) == 0) philox(scratch, i >> 2, c1, c2, c3, key0, key1);
    const p = ((load<u32>(scratch + ((i & 3) << 2)) as f64) + 0.5) * 2.3283064365386963e-10;
    store<f32>(out + ((i as usize) << 2), (low + (high - low) * p) as f32);
  }
}

/** Fisher–Yates shuffle of `count` u32 at `list`; position i draws from counter (i, 0, 0, epoch). `scratch`: 16 bytes. */
export function shuffle(list: usize, count: i32, epoch: u32, key0: u32, key1: u32, scratch: usize): void {
  for (let i = count - 1; i > 0; --i) {
    philox(scratch, i, 0, 0, epoch, key0, key1);
    const j = (((load<u32>(scratch) as u64) * ((i as u64) + 1)) >> 32) as usize;
    const a = list + ((i as usize) << 2);
    const b = list + (j << 2);
    const kept = load<u32>(a);
    store<u32>(a, load<u32>(b));
    store<u32>(b, kept);
  }
}
