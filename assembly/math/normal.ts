// Standard normal numbers by inversion: Wichura, "Algorithm AS 241: the percentage points of the normal distribution",
// Applied Statistics 37 (1988), routine PPND7, relative accuracy about 1e-7; evaluated in f64.

import { philox, philox16 } from "./philox";

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

/** ((a r + b) r + c) r + d */
@inline
function cubic(r: v128, a: f64, b: f64, c: f64, d: f64): v128 {
  return plus(f64x2.mul(plus(f64x2.mul(plus(f64x2.mul(f64x2.splat(a), r), b), r), c), r), d);
}

@inline
function plus(x: v128, a: f64): v128 {
  return f64x2.add(x, f64x2.splat(a));
}

@inline
function times(x: v128, a: f64): v128 {
  return f64x2.mul(x, f64x2.splat(a));
}

/** `NativeMath.log` of two normal numbers between 0 and 1, operation by operation, so that the bits are the same. */
@inline
function logs(x: v128): v128 {
  const u = i64x2.add(x, i64x2.splat(0x00095f6200000000));
  const k = i64x2.sub(i64x2.shr_u(u, 52), i64x2.splat(0x3ff));
  const dk = f64x2.convert_low_i32x4_s(v128.shuffle<i32>(k, k, 0, 2, 0, 2));
  const m = i64x2.add(v128.and(u, i64x2.splat(0x000fffffffffffff)), i64x2.splat(0x3fe6a09e00000000));
  const f = plus(m, -1.0);
  const hfsq = f64x2.mul(times(f, 0.5), f);
  const s = f64x2.div(f, plus(f, 2.0));
  const z = f64x2.mul(s, s);
  const w = f64x2.mul(z, z);
  let t1 = plus(times(w, 1.531383769920937332e-1), 2.222219843214978396e-1);
  t1 = f64x2.mul(w, plus(f64x2.mul(w, t1), 3.999999999940941908e-1));
  let t2 = plus(times(w, 1.479819860511658591e-1), 1.818357216161805012e-1);
  t2 = plus(f64x2.mul(w, t2), 2.857142874366239149e-1);
  t2 = f64x2.mul(z, plus(f64x2.mul(w, t2), 6.666666666666735130e-1));
  const r = f64x2.add(f64x2.mul(s, f64x2.add(hfsq, f64x2.add(t2, t1))), times(dk, 1.90821492927058770002e-10));
  return f64x2.add(f64x2.add(f64x2.sub(r, hfsq), f), times(dk, 6.93147180369123816490e-1));
}

/** `normalQuantile` of two p that are drawn from 32 bits, for which r stays below 5. */
function normalQuantiles(p: v128): v128 {
  const q = plus(p, -0.5);
  let r = f64x2.sub(f64x2.splat(0.180625), f64x2.mul(q, q));
  const x = f64x2.div(
    f64x2.mul(q, cubic(r, 59.109374720, 159.29113202, 50.434271938, 3.3871327179)),
    cubic(r, 67.187563600, 78.757757664, 17.895169469, 1.0),
  );
  const tail = f64x2.gt(f64x2.abs(q), f64x2.splat(0.425));
  if (!v128.any_true(tail)) return x;
  const low = f64x2.lt(q, f64x2.splat(0.0));
  r = v128.bitselect(p, f64x2.sub(f64x2.splat(1.0), p), low);
  r = plus(f64x2.sqrt(f64x2.neg(logs(r))), -1.6);
  const y = f64x2.div(
    cubic(r, 0.17023821103, 1.3067284816, 2.7568153900, 1.4234372777),
    plus(f64x2.mul(plus(times(r, 0.12021132975), 0.73700164250), r), 1.0),
  );
  return v128.bitselect(v128.bitselect(f64x2.neg(y), y, low), x, tail);
}

/** Two normal numbers of the words in the low half of `words`, in the low half of the result. */
@inline
function normals(words: v128, mean: f64, deviation: f64): v128 {
  const p = times(plus(f64x2.convert_low_i32x4_u(words), 0.5), 2.3283064365386963e-10);
  return f32x4.demote_f64x2_zero(plus(times(normalQuantiles(p), deviation), mean));
}

/**
 * Normal numbers (mean, deviation) at `out`, `count` from number `first` on, a multiple of four; number i comes from counter
 * (i >> 2, c1, c2, c3). `scratch`: 64 bytes. What lies behind the last number, up to a multiple of sixteen, is overwritten.
 */
export function fillNormal(out: usize, first: i32, count: i32, mean: f64, deviation: f64, c1: u32, c2: u32, c3: u32, key0: u32, key1: u32, scratch: usize): void {
  if (ASC_FEATURE_SIMD) {
    for (let i = 0; i < count; i += 16) {
      philox16(scratch, (first + i) >> 2, c1, c2, c3, key0, key1);
      for (let lane: usize = 0; lane < 16; lane += 4) {
        // The words of one counter lie sixteen bytes apart.
        const low = v128.load32_lane(scratch + lane, v128.load32_zero(scratch + lane, 0), 1, 16);
        const high = v128.load32_lane(scratch + lane, v128.load32_zero(scratch + lane, 32), 1, 48);
        v128.store(out, v128.shuffle<i64>(normals(low, mean, deviation), normals(high, mean, deviation), 0, 2));
        out += 16;
      }
    }
    return;
  }
  for (let i = 0; i < count; ++i) {
    if ((i & 3) == 0) philox(scratch, (first + i) >> 2, c1, c2, c3, key0, key1);
    const p = ((load<u32>(scratch + ((i & 3) << 2)) as f64) + 0.5) * 2.3283064365386963e-10;
    store<f32>(out + ((i as usize) << 2), (mean + deviation * normalQuantile(p)) as f32);
  }
}

/** Uniform numbers in [low, high), as in `fillNormal`. */
export function fillUniform(out: usize, first: i32, count: i32, low: f64, high: f64, c1: u32, c2: u32, c3: u32, key0: u32, key1: u32, scratch: usize): void {
  for (let i = 0; i < count; ++i) {
    if ((i & 3) == 0) philox(scratch, (first + i) >> 2, c1, c2, c3, key0, key1);
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
