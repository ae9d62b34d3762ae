// C += A · B, dense, f32. Every element of C is one chain: from the value that stands there, k ascending, one rounding for
// each product and each sum. That is the order of fanout.ts, and an input of 0 adds nothing: the same bits, as long as
// the weights are finite.
//
// Both factors are packed: A in tiles of four rows (k: a0 a1 a2 a3), B in panels of eight columns (k: b0 … b7). A tile of
// 4 × 8 sums stays in eight registers; each k costs three loads and four splats for sixteen operations. Bound by arithmetic.

/** Most of k and of the rows that are packed at a time: a panel of B fits the first-level cache, A the second. */
export const DEPTH: u32 = 256;
export const HEIGHT: u32 = 128;

// The rank's scratch, by byte offset: what packs fills the tables of a block.
export const ROWS: usize = 0; // u32 [HEIGHT]: address of each row of C; whole tiles, those behind the last at SPILL
export const VALUES: usize = 512; // u32 [HEIGHT]: address of each row of A
export const COLUMNS: usize = 1024; // u32 [DEPTH]: byte offset of each k within a row of A
export const WEIGHTS: usize = 2048; // u32 [DEPTH]: address of each row of B
export const SPILL: usize = 3072; // f32 [4][8]
const PANEL: usize = 3328; // f32 [DEPTH][8]
export const TILES: usize = 11520; // f32 [HEIGHT / 4][DEPTH][4]

/** Packs A through the tables VALUES and COLUMNS. */
export function packValues(scratch: usize, rows: u32, depth: u32): void {
  let to = scratch + TILES;
  for (let row: usize = 0; row < rows; row += 4) {
    const values = scratch + VALUES + (row << 2);
    const a = load<u32>(values);
    const b = load<u32>(values, 4);
    const c = load<u32>(values, 8);
    const d = load<u32>(values, 12);
    for (let column = scratch + COLUMNS, end = column + (depth << 2); column < end; column += 4) {
      const k = load<u32>(column);
      store<f32>(to, load<f32>(a + k));
      store<f32>(to, load<f32>(b + k), 4);
      store<f32>(to, load<f32>(c + k), 8);
      store<f32>(to, load<f32>(d + k), 12);
      to += 16;
    }
  }
}

/** Packs A from bits: VALUES holds the address of each row's words. */
export function packBits(scratch: usize, rows: u32, depth: u32): void {
  let to = scratch + TILES;
  for (let row: usize = 0; row < rows; row += 4) {
    const values = scratch + VALUES + (row << 2);
    for (let k: u32 = 0; k < depth; k += 32) {
      const word = (k >> 3) as usize;
      const a = load<u32>(load<u32>(values) + word);
      const b = load<u32>(load<u32>(values, 4) + word);
      const c = load<u32>(load<u32>(values, 8) + word);
      const d = load<u32>(load<u32>(values, 12) + word);
      const count = min<u32>(32, depth - k);
      for (let i: u32 = 0; i < count; ++i, to += 16) {
        store<f32>(to, ((a >> i) & 1) as f32);
        store<f32>(to, ((b >> i) & 1) as f32, 4);
        store<f32>(to, ((c >> i) & 1) as f32, 8);
        store<f32>(to, ((d >> i) & 1) as f32, 12);
      }
    }
  }
}

/** C [rows][bytes / 4] += packed A · B, through the tables ROWS and WEIGHTS. */
export function product(scratch: usize, rows: u32, depth: u32, bytes: usize): void {
  const last = scratch + WEIGHTS + (depth << 2);
  for (let column: usize = 0; column < bytes; column += 32) {
    const whole = column + 32 <= bytes;
    let to = scratch + PANEL;
    for (let row = scratch + WEIGHTS; row < last; row += 4) {
      const from = load<u32>(row) + column;
      copy16(to, from);
      if (whole) copy16(to + 16, from + 16);
      to += 32;
    }
    let a = scratch + TILES;
    const spill = scratch + SPILL;
    for (let row: usize = 0; row < rows; row += 4) {
      const table = scratch + ROWS + (row << 2);
      const c0 = load<u32>(table) + column;
      const c1 = load<u32>(table, 4) + column;
      const c2 = load<u32>(table, 8) + column;
      const c3 = load<u32>(table, 12) + column;
      if (whole && row + 4 <= rows) {
        tile(a, scratch + PANEL, depth, c0, c1, c2, c3);
      } else {
        // Half a panel, or fewer than four rows: what lies behind belongs to others.
        const left = rows - (row as u32);
        const wide: usize = whole ? 32 : 16;
        memory.copy(spill, c0, wide);
        if (left > 1) memory.copy(spill + 32, c1, wide);
        if (left > 2) memory.copy(spill + 64, c2, wide);
        if (left > 3) memory.copy(spill + 96, c3, wide);
        tile(a, scratch + PANEL, depth, spill, spill + 32, spill + 64, spill + 96);
        memory.copy(c0, spill, wide);
        if (left > 1) memory.copy(c1, spill + 32, wide);
        if (left > 2) memory.copy(c2, spill + 64, wide);
        if (left > 3) memory.copy(c3, spill + 96, wide);
      }
      a += (depth as usize) << 4;
    }
  }
}

@inline
function copy16(to: usize, from: usize): void {
  store<u64>(to, load<u64>(from));
  store<u64>(to, load<u64>(from, 8), 8);
}

/** C [4][8] += A · B, `depth` products each. */
function tile(a: usize, b: usize, depth: u32, c0: usize, c1: usize, c2: usize, c3: usize): void {
  if (ASC_FEATURE_SIMD) {
    let s0 = v128.load(c0);
    let t0 = v128.load(c0, 16);
    let s1 = v128.load(c1);
    let t1 = v128.load(c1, 16);
    let s2 = v128.load(c2);
    let t2 = v128.load(c2, 16);
    let s3 = v128.load(c3);
    let t3 = v128.load(c3, 16);
    // The exits keep the loads of one k apart from those of the next: hoisted together they would spill.
    while (true) {
      let x = v128.load(a);
      let p = v128.load(b);
      let q = v128.load(b, 16);
      let y = v128.shuffle<i32>(x, x, 0, 0, 0, 0);
      s0 = f32x4.add(s0, f32x4.mul(y, p));
      t0 = f32x4.add(t0, f32x4.mul(y, q));
      y = v128.shuffle<i32>(x, x, 1, 1, 1, 1);
      s1 = f32x4.add(s1, f32x4.mul(y, p));
      t1 = f32x4.add(t1, f32x4.mul(y, q));
      y = v128.shuffle<i32>(x, x, 2, 2, 2, 2);
      s2 = f32x4.add(s2, f32x4.mul(y, p));
      t2 = f32x4.add(t2, f32x4.mul(y, q));
      y = v128.shuffle<i32>(x, x, 3, 3, 3, 3);
      s3 = f32x4.add(s3, f32x4.mul(y, p));
      t3 = f32x4.add(t3, f32x4.mul(y, q));
      if (!--depth) break;
      x = v128.load(a, 16);
      p = v128.load(b, 32);
      q = v128.load(b, 48);
      y = v128.shuffle<i32>(x, x, 0, 0, 0, 0);
      s0 = f32x4.add(s0, f32x4.mul(y, p));
      t0 = f32x4.add(t0, f32x4.mul(y, q));
      y = v128.shuffle<i32>(x, x, 1, 1, 1, 1);
      s1 = f32x4.add(s1, f32x4.mul(y, p));
      t1 = f32x4.add(t1, f32x4.mul(y, q));
      y = v128.shuffle<i32>(x, x, 2, 2, 2, 2);
      s2 = f32x4.add(s2, f32x4.mul(y, p));
      t2 = f32x4.add(t2, f32x4.mul(y, q));
      y = v128.shuffle<i32>(x, x, 3, 3, 3, 3);
      s3 = f32x4.add(s3, f32x4.mul(y, p));
      t3 = f32x4.add(t3, f32x4.mul(y, q));
      if (!--depth) break;
      x = v128.load(a, 32);
      p = v128.load(b, 64);
      q = v128.load(b, 80);
      y = v128.shuffle<i32>(x, x, 0, 0, 0, 0);
      s0 = f32x4.add(s0, f32x4.mul(y, p));
      t0 = f32x4.add(t0, f32x4.mul(y, q));
      y = v128.shuffle<i32>(x, x, 1, 1, 1, 1);
      s1 = f32x4.add(s1, f32x4.mul(y, p));
      t1 = f32x4.add(t1, f32x4.mul(y, q));
      y = v128.shuffle<i32>(x, x, 2, 2, 2, 2);
      s2 = f32x4.add(s2, f32x4.mul(y, p));
      t2 = f32x4.add(t2, f32x4.mul(y, q));
      y = v128.shuffle<i32>(x, x, 3, 3, 3, 3);
      s3 = f32x4.add(s3, f32x4.mul(y, p));
      t3 = f32x4.add(t3, f32x4.mul(y, q));
      if (!--depth) break;
      x = v128.load(a, 48);
      p = v128.load(b, 96);
      q = v128.load(b, 112);
      y = v128.shuffle<i32>(x, x, 0, 0, 0, 0);
      s0 = f32x4.add(s0, f32x4.mul(y, p));
      t0 = f32x4.add(t0, f32x4.mul(y, q));
      y = v128.shuffle<i32>(x, x, 1, 1, 1, 1);
      s1 = f32x4.add(s1, f32x4.mul(y, p));
      t1 = f32x4.add(t1, f32x4.mul(y, q));
      y = v128.shuffle<i32>(x, x, 2, 2, 2, 2);
      s2 = f32x4.add(s2, f32x4.mul(y, p));
      t2 = f32x4.add(t2, f32x4.mul(y, q));
      y = v128.shuffle<i32>(x, x, 3, 3, 3, 3);
      s3 = f32x4.add(s3, f32x4.mul(y, p));
      t3 = f32x4.add(t3, f32x4.mul(y, q));
      if (!--depth) break;
      a += 64;
      b += 128;
    }
    v128.store(c0, s0);
    v128.store(c0, t0, 16);
    v128.store(c1, s1);
    v128.store(c1, t1, 16);
    v128.store(c2, s2);
    v128.store(c2, t2, 16);
    v128.store(c3, s3);
    v128.store(c3, t3, 16);
    return;
  }
  for (let j: usize = 0; j < 32; j += 4) {
    let s0 = load<f32>(c0 + j);
    let s1 = load<f32>(c1 + j);
    let s2 = load<f32>(c2 + j);
    let s3 = load<f32>(c3 + j);
    let p = a;
    let q = b + j;
    for (let k = depth; k; --k) {
      const x = load<f32>(q);
      s0 += load<f32>(p) * x;
      s1 += load<f32>(p, 4) * x;
      s2 += load<f32>(p, 8) * x;
      s3 += load<f32>(p, 12) * x;
      p += 16;
      q += 32;
    }
    store<f32>(c0 + j, s0);
    store<f32>(c1 + j, s1);
    store<f32>(c2 + j, s2);
    store<f32>(c3 + j, s3);
  }
}
