// Philox4x32-10, a counter-based generator: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3"
// (SC 2011). Key (key0, key1), counter (index, step, sample, epoch). No state: any number can be had in any order.

const M0: u32 = 0xd2511f53;
const M1: u32 = 0xcd9e8d57;
const W0: u32 = 0x9e3779b9;
const W1: u32 = 0xbb67ae85;

/** Four random words of one counter, stored at `out`. */
export function philox(out: usize, c0: u32, c1: u32, c2: u32, c3: u32, key0: u32, key1: u32): void {
  for (let round = 0; round < 10; ++round) {
    const p0 = (M0 as u64) * c0;
    const p1 = (M1 as u64) * c2;
    c0 = ((p1 >> 32) as u32) ^ c1 ^ key0;
    c1 = p1 as u32;
    c2 = ((p0 >> 32) as u32) ^ c3 ^ key1;
    c3 = p0 as u32;
    key0 += W0;
    key1 += W1;
  }
  store<u32>(out, c0);
  store<u32>(out, c1, 4);
  store<u32>(out, c2, 8);
  store<u32>(out, c3, 12);
}

/**
 * Sixteen random words: word w of counter `first + lane` lands at position 4 w + lane, so that four counters
 * travel in the four lanes of a vector without a transposition.
 */
export function philox16(out: usize, first: u32, c1: u32, c2: u32, c3: u32, key0: u32, key1: u32): void {
  if (ASC_FEATURE_SIMD) {
    lanes(out, i32x4.add(i32x4.splat(first), i32x4(0, 1, 2, 3)), c1, c2, c3, key0, key1);
  } else {
    for (let lane: u32 = 0; lane < 4; ++lane) lane1(out + (lane << 2), first + lane, c1, c2, c3, key0, key1);
  }
}

/** The same of the four counters at `list`. */
export function philoxOf(out: usize, list: usize, c1: u32, c2: u32, c3: u32, key0: u32, key1: u32): void {
  if (ASC_FEATURE_SIMD) {
    lanes(out, v128.load(list), c1, c2, c3, key0, key1);
  } else {
    for (let lane: u32 = 0; lane < 16; lane += 4) lane1(out + lane, load<u32>(list + lane), c1, c2, c3, key0, key1);
  }
}

@inline
function lanes(out: usize, x0: v128, c1: u32, c2: u32, c3: u32, key0: u32, key1: u32): void {
  let x1 = i32x4.splat(c1);
  let x2 = i32x4.splat(c2);
  let x3 = i32x4.splat(c3);
  let k0 = i32x4.splat(key0);
  let k1 = i32x4.splat(key1);
  const m0 = i32x4.splat(M0);
  const m1 = i32x4.splat(M1);
  for (let round = 0; round < 10; ++round) {
    const a = i64x2.extmul_low_i32x4_u(x0, m0);
    const b = i64x2.extmul_high_i32x4_u(x0, m0);
    const c = i64x2.extmul_low_i32x4_u(x2, m1);
    const d = i64x2.extmul_high_i32x4_u(x2, m1);
    x0 = v128.xor(v128.xor(v128.shuffle<i32>(c, d, 1, 3, 5, 7), x1), k0);
    x1 = v128.shuffle<i32>(c, d, 0, 2, 4, 6);
    x2 = v128.xor(v128.xor(v128.shuffle<i32>(a, b, 1, 3, 5, 7), x3), k1);
    x3 = v128.shuffle<i32>(a, b, 0, 2, 4, 6);
    k0 = i32x4.add(k0, i32x4.splat(W0));
    k1 = i32x4.add(k1, i32x4.splat(W1));
  }
  v128.store(out, x0);
  v128.store(out, x1, 16);
  v128.store(out, x2, 32);
  v128.store(out, x3, 48);
}

/** The four words of one counter, sixteen bytes apart. */
function lane1(out: usize, x0: u32, x1: u32, x2: u32, x3: u32, key0: u32, key1: u32): void {
  for (let round = 0; round < 10; ++round) {
    const p0 = (M0 as u64) * x0;
    const p1 = (M1 as u64) * x2;
    x0 = ((p1 >> 32) as u32) ^ x1 ^ key0;
    x1 = p1 as u32;
    x2 = ((p0 >> 32) as u32) ^ x3 ^ key1;
    x3 = p0 as u32;
    key0 += W0;
    key1 += W1;
  }
  store<u32>(out, x0);
  store<u32>(out, x1, 16);
  store<u32>(out, x2, 32);
  store<u32>(out, x3, 48);
}
