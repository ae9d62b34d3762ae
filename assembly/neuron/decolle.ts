// `decolle`: deep continuous local learning. Kaiser, Mostafa, Neftci, Frontiers in Neuroscience 14:424 (2020).
//
// Input spikes x, all states 0 at the start:
//   P = α P + (1-α) Q              (the old Q: an input at t reaches U at t + 1)
//   Q = β Q + (1-β) x
//   R = ρ R - (1-ρ) w S            (the old S)
//   U = W·P + b + R ;  S = U > 0
// Max pooling acts on U: U' = max over the window, S' = U' > 0; R sees the S before the pool.
// With fixed weights the same filter may follow the synapse: I = W·x event by event, then P, Q of I, U = (P + b) + R.
//
// Traces below TINY count as nothing: they would end as denormals, which cost many times as much. Bound by loads and stores.

import { Activity, ActivityKind, Decolle, Trace } from "../abi";
import { at } from "../view";

const TINY: f32 = 1e-30;

@inline
function settle(x: f32): f32 {
  return Mathf.abs(x) > TINY ? x : 0;
}

@inline
export function settle4(x: v128): v128 {
  return v128.and(x, f32x4.gt(f32x4.abs(x), f32x4.splat(TINY)));
}

/** Four places of the double filter: P, then Q with input x; gives P. */
@inline
export function filter4(p: usize, q: usize, x: v128, a: f32, a1: f32, b: f32, b1: f32): v128 {
  const old = v128.load(q);
  const trace = settle4(f32x4.add(f32x4.mul(f32x4.splat(a), v128.load(p)), f32x4.mul(f32x4.splat(a1), old)));
  v128.store(p, trace);
  v128.store(q, settle4(f32x4.add(f32x4.mul(f32x4.splat(b), old), f32x4.mul(f32x4.splat(b1), x))));
  return trace;
}

@inline
export function filter1(p: usize, q: usize, x: f32, a: f32, a1: f32, b: f32, b1: f32): f32 {
  const old = load<f32>(q);
  const trace = settle(a * load<f32>(p) + a1 * old);
  store<f32>(p, trace);
  store<f32>(q, settle(b * old + b1 * x));
  return trace;
}

/** Four places of R, with the spikes of the step before as four bits; gives R. */
@inline
export function refract4(r: usize, fired: u32, rho: f32, kick: f32): v128 {
  const s = i32x4.ne(v128.and(i32x4.splat(fired), i32x4(1, 2, 4, 8)), i32x4.splat(0));
  const rest = settle4(f32x4.sub(f32x4.mul(f32x4.splat(rho), v128.load(r)), v128.and(f32x4.splat(kick), s)));
  v128.store(r, rest);
  return rest;
}

@inline
export function refract1(r: usize, fired: u32, rho: f32, kick: f32): f32 {
  const rest = settle(rho * load<f32>(r) - (fired & 1 ? kick : 0));
  store<f32>(r, rest);
  return rest;
}

/** One step of the traces in front of a synapse. */
export function decolleTrace(trace: usize, frame: usize): void {
  const activity = load<u32>(trace, Trace.Activity) as usize;
  const rows = load<u32>(activity, Activity.Rows) as usize;
  const rowLength = load<u32>(activity, Activity.RowLength) as usize;
  const rowWords = load<u32>(activity, Activity.RowWords) as usize;
  const stride = load<u32>(trace, Trace.Stride) as usize;
  const a = load<f32>(trace, Trace.Alpha);
  const a1 = load<f32>(trace, Trace.AlphaRest);
  const b = load<f32>(trace, Trace.Beta);
  const b1 = load<f32>(trace, Trace.BetaRest);
  const bits = load<u32>(activity, Activity.Kind) == ActivityKind.Bits;
  const amplitudeView = load<u32>(activity, Activity.Amplitude) as usize;
  const amplitude = amplitudeView ? at(amplitudeView, frame) : 0;
  const data = at(load<u32>(activity, Activity.Data), frame);
  let p = at(load<u32>(trace, Trace.P), frame);
  let q = at(load<u32>(trace, Trace.Q), frame);
  const bytes = rowLength << 2;
  for (let row: usize = 0; row < rows; ++row, p += stride, q += bytes) {
    const values = data + row * bytes;
    let k: usize = 0;
    if (ASC_FEATURE_SIMD) {
      for (; k + 16 <= bytes; k += 16) filter4(p + k, q + k, bits ? f32x4.splat(0) : v128.load(values + k), a, a1, b, b1);
    }
    for (; k < bytes; k += 4) filter1(p + k, q + k, bits ? 0 : load<f32>(values + k), a, a1, b, b1);
    if (!bits) continue;
    for (let j: usize = 0; j < rowWords; ++j) {
      let word = load<u32>(data + ((row * rowWords + j) << 2));
      while (word) {
        const place = ((j << 5) + ctz(word)) << 2;
        word &= word - 1;
        const x: f32 = amplitude ? load<f32>(amplitude + row * bytes + place) : 1;
        store<f32>(q + place, load<f32>(q + place) + b1 * x);
      }
    }
  }
}

/** U and S of one step, in the synapse's field. */
export function decolleForward(neuron: usize, frame: usize): void {
  const rows = load<u32>(neuron, Decolle.Rows);
  const rowLength = load<u32>(neuron, Decolle.RowLength);
  const rowWords = load<u32>(neuron, Decolle.RowWords);
  const stride = load<u32>(neuron, Decolle.Stride) as usize;
  const field = at(load<u32>(neuron, Decolle.Field), frame);
  const refractory = at(load<u32>(neuron, Decolle.Refractory), frame);
  const own = at(load<u32>(neuron, Decolle.Own), frame);
  const bitsView = load<u32>(neuron, Decolle.Bits) as usize;
  const bits = bitsView ? at(bitsView, frame) : 0;
  const filtered = load<u32>(neuron, Decolle.P) as usize;
  const p = filtered ? at(filtered, frame) : 0;
  const q = filtered ? at(load<u32>(neuron, Decolle.Q), frame) : 0;
  const bias = filtered ? at(load<u32>(neuron, Decolle.Bias), frame) : 0;
  const period = (load<u32>(neuron, Decolle.Channels) as usize) << 2;
  const a = load<f32>(neuron, Decolle.Alpha);
  const a1 = load<f32>(neuron, Decolle.AlphaRest);
  const b = load<f32>(neuron, Decolle.Beta);
  const b1 = load<f32>(neuron, Decolle.BetaRest);
  const rho = load<f32>(neuron, Decolle.Rho);
  const kick = load<f32>(neuron, Decolle.Kick);
  let spikes: u32 = 0;
  for (let row: u32 = 0; row < rows; ++row) {
    const to = field + (row as usize) * stride;
    let c: usize = 0; // byte offset of the channel
    for (let j: u32 = 0; j < rowWords; ++j) {
      const at = (row * rowWords + j) << 2;
      const old = load<u32>(own + at);
      let word: u32 = 0;
      const vectors = min((rowLength - (j << 5)) >> 2, 8);
      for (let k: u32 = 0; k < vectors; ++k) {
        const place = ((j << 5) + (k << 2)) << 2;
        const dense = ((row * rowLength) << 2) + place;
        const u = to + place;
        const r = refractory + dense;
        const fired = old >> (k << 2);
        if (ASC_FEATURE_SIMD) {
          const rest = refract4(r, fired, rho, kick);
          const current = filtered
            ? f32x4.add(filter4(p + dense, q + dense, v128.load(u), a, a1, b, b1), v128.load(bias + c))
            : v128.load(u);
          const membrane = f32x4.add(current, rest);
          v128.store(u, membrane);
          word |= i32x4.bitmask(f32x4.gt(membrane, f32x4.splat(0))) << (k << 2);
        } else {
          for (let lane: usize = 0; lane < 16; lane += 4) {
            const rest = refract1(r + lane, fired >> ((lane as u32) >> 2), rho, kick);
            const current = filtered
              ? filter1(p + dense + lane, q + dense + lane, load<f32>(u + lane), a, a1, b, b1) + load<f32>(bias + c + lane)
              : load<f32>(u + lane);
            const membrane = current + rest;
            store<f32>(u + lane, membrane);
            word |= (membrane > 0 ? 1 : 0) << ((k << 2) + ((lane as u32) >> 2));
          }
        }
        c += 16;
        if (c == period) c = 0;
      }
      store<u32>(own + at, word);
      if (bits) store<u32>(bits + at, word);
      spikes += popcnt(word);
    }
  }
  if (!bits) return; // the pool counts
  const counter = at(load<u32>(neuron, Decolle.Spikes), frame);
  store<u32>(counter, load<u32>(counter) + spikes);
}

/** U' and S' of one step, and what each maximum saw; of equal ones the first in row-major order. */
export function decollePool(neuron: usize, frame: usize): void {
  const window = load<u32>(neuron, Decolle.Window) as usize;
  const rows = load<u32>(neuron, Decolle.PooledRows) as usize;
  const rowLength = load<u32>(neuron, Decolle.PooledRowLength) as usize;
  const rowWords = load<u32>(neuron, Decolle.PooledRowWords) as usize;
  const stride = load<u32>(neuron, Decolle.Stride) as usize;
  const cell = (load<u32>(neuron, Decolle.Channels) as usize) << 2;
  const field = at(load<u32>(neuron, Decolle.Field), frame);
  const pooled = at(load<u32>(neuron, Decolle.Pooled), frame);
  const bits = at(load<u32>(neuron, Decolle.PooledBits), frame);
  const argmaxView = load<u32>(neuron, Decolle.Argmax) as usize;
  const argmax = argmaxView ? at(argmaxView, frame) : 0;
  const patchRow = load<u32>(neuron, Decolle.PatchRow) as usize;
  const patchColumn = load<u32>(neuron, Decolle.PatchColumn) as usize;
  let spikes: u32 = 0;
  for (let row: usize = 0; row < rows; ++row) {
    const line = field + row * window * stride;
    let patch = row * window * patchRow; // offset of the window's first patch
    let x: usize = 0; // byte offset of the window's first column
    let c: usize = 0; // byte offset of the channel
    for (let j: usize = 0; j < rowWords; ++j) {
      let word: u32 = 0;
      const vectors = min((rowLength - (j << 5)) >> 2, 8);
      for (let k: usize = 0; k < vectors; ++k) {
        const place = (row * rowLength + (j << 5) + (k << 2)) << 2;
        const corner = line + x + c;
        if (ASC_FEATURE_SIMD) {
          let top = v128.load(corner);
          let where = i32x4.splat(patch as i32);
          for (let dy: usize = 0; dy < window; ++dy) {
            for (let dx: usize = 0; dx < window; ++dx) {
              const u = v128.load(corner + dy * stride + dx * cell);
              const above = f32x4.gt(u, top);
              top = v128.bitselect(u, top, above);
              if (argmax) {
                const here = (patch + dy * patchRow + dx * patchColumn) as i32;
                where = v128.bitselect(i32x4.splat(here), where, above);
              }
            }
          }
          v128.store(pooled + place, top);
          if (argmax) v128.store(argmax + place, where);
          word |= i32x4.bitmask(f32x4.gt(top, f32x4.splat(0))) << ((k as i32) << 2);
        } else {
          for (let lane: usize = 0; lane < 16; lane += 4) {
            let top = load<f32>(corner + lane);
            let where = patch;
            for (let dy: usize = 0; dy < window; ++dy) {
              for (let dx: usize = 0; dx < window; ++dx) {
                const u = load<f32>(corner + dy * stride + dx * cell + lane);
                if (u > top) {
                  top = u;
                  where = patch + dy * patchRow + dx * patchColumn;
                }
              }
            }
            store<f32>(pooled + place + lane, top);
            if (argmax) store<u32>(argmax + place + lane, where as u32);
            word |= (top > 0 ? 1 : 0) << (((k as u32) << 2) + ((lane as u32) >> 2));
          }
        }
        c += 16;
        if (c == cell) {
          c = 0;
          x += window * cell;
          patch += window * patchColumn;
        }
      }
      store<u32>(bits + ((row * rowWords + j) << 2), word);
      spikes += popcnt(word);
    }
  }
  const counter = at(load<u32>(neuron, Decolle.Spikes), frame);
  store<u32>(counter, load<u32>(counter) + spikes);
}
