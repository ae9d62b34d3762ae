// Dense layer of `decolle` with fixed weights, all steps of a sample (equations in decolle.ts).
//
//   I = Σ_i W_i over the spikes of the step, ascending ;  P, Q filter I ;  U = (P + b) + R ;  S = U > 0
//
// Sixteen outputs take all steps before the next sixteen: their weights and states stay in the nearest cache, and their
// currents never leave the registers. Bound by the latency of the chain of additions, one spike after the other.

import { Activity, Decolle, DecolleDense, DENSE_STEPS, View } from "../abi";
import { at } from "../view";
import { filter1, filter4, refract1, refract4 } from "./decolle";

/** Row offsets of the spikes of one step, ascending; gives the end of the list. */
function expand(bits: usize, activity: usize, stride: usize, entry: usize): usize {
  const rows = load<u32>(activity, Activity.Rows) as usize;
  const rowLength = load<u32>(activity, Activity.RowLength) as usize;
  const rowWords = load<u32>(activity, Activity.RowWords) as usize;
  for (let row: usize = 0; row < rows; ++row) {
    for (let j: usize = 0; j < rowWords; ++j) {
      let word = load<u32>(bits + ((row * rowWords + j) << 2));
      const first = row * rowLength + (j << 5);
      while (word) {
        store<u32>(entry, ((first + ctz(word)) * stride) as u32);
        word &= word - 1;
        entry += 4;
      }
    }
  }
  return entry;
}

export function decolleDense(record: usize, frame: usize): void {
  const neuron = load<u32>(record, DecolleDense.Neuron) as usize;
  const activity = load<u32>(record, DecolleDense.Activity) as usize;
  const weight = at(load<u32>(record, DecolleDense.Weight), frame);
  const stride = load<u32>(record, DecolleDense.Stride) as usize;
  const steps = load<u32>(record, DecolleDense.Steps) as i32;
  const list = at(load<u32>(record, DecolleDense.List), frame);
  const starts = at(load<u32>(record, DecolleDense.Starts), frame);
  const inputBytes = (load<u32>(activity, Activity.Rows) * load<u32>(activity, Activity.RowLength)) << 2;
  const last = list + load<u32>(record, DecolleDense.ListBytes) - inputBytes;
  const inputView = load<u32>(activity, Activity.Data) as usize;
  const input = at(inputView, frame);
  const inputStep = load<u32>(inputView, View.PerStep) as usize;
  const bitsView = load<u32>(neuron, Decolle.Bits) as usize;
  const bits = at(bitsView, frame);
  const bitsStep = load<u32>(bitsView, View.PerStep) as usize;
  const bitBytes = (load<u32>(neuron, Decolle.RowWords) as usize) << 2;
  const bytes = (load<u32>(neuron, Decolle.RowLength) as usize) << 2;
  let spikes: u32 = 0;
  let events: u64 = 0;
  for (let first = 0; first < steps; ) {
    let entry = list;
    let count = 0;
    for (; first + count < steps && count < DENSE_STEPS && entry <= last; ++count) {
      store<u32>(starts + ((count as usize) << 2), entry as u32);
      entry = expand(input + ((first + count) as usize) * inputStep, activity, stride, entry);
      memory.fill(bits + ((first + count) as usize) * bitsStep, 0, bitBytes);
    }
    store<u32>(starts + ((count as usize) << 2), entry as u32);
    events += ((entry - list) >> 2) as u64;
    const out = bits + (first as usize) * bitsStep;
    for (let p: usize = 0; p < bytes; ) {
      const wide = bytes - p >= 64;
      spikes += wide
        ? panel(neuron, weight + p, starts, count, p, out, bitsStep, 4, frame)
        : panel(neuron, weight + p, starts, count, p, out, bitsStep, 1, frame);
      p += wide ? 64 : 16;
    }
    first += count;
  }
  const counter = at(load<u32>(neuron, Decolle.Spikes), frame);
  store<u32>(counter, load<u32>(counter) + spikes);
  const operationsView = load<u32>(record, DecolleDense.Operations) as usize;
  if (!operationsView) return;
  const operations = at(operationsView, frame);
  store<u64>(operations, load<u64>(operations) + events * load<u32>(record, DecolleDense.Outputs));
}

/** `vectors` (4 or 1) vectors of outputs at byte offset p for `count` steps; gives their spikes. */
@inline
function panel(neuron: usize, weight: usize, starts: usize, count: i32, offset: usize, out: usize, bitsStep: usize, vectors: i32, frame: usize): u32 {
  const p = at(load<u32>(neuron, Decolle.P), frame) + offset;
  const q = at(load<u32>(neuron, Decolle.Q), frame) + offset;
  const r = at(load<u32>(neuron, Decolle.Refractory), frame) + offset;
  const bias = at(load<u32>(neuron, Decolle.Bias), frame) + offset;
  const own = at(load<u32>(neuron, Decolle.Own), frame);
  const a = load<f32>(neuron, Decolle.Alpha);
  const a1 = load<f32>(neuron, Decolle.AlphaRest);
  const b = load<f32>(neuron, Decolle.Beta);
  const b1 = load<f32>(neuron, Decolle.BetaRest);
  const rho = load<f32>(neuron, Decolle.Rho);
  const kick = load<f32>(neuron, Decolle.Kick);
  // The panel's bits lie within one 32-bit word: panels begin at multiples of 4 outputs and never cross.
  const word = (offset >> 7) << 2;
  const shift = ((offset >> 2) & 31) as u32;
  const mask: u32 = vectors == 4 ? 0xffff : 0xf;
  let fired = (load<u32>(own + word) >> shift) & mask;
  let spikes: u32 = 0;
  for (let s = 0; s < count; ++s) {
    let entry = load<u32>(starts + ((s as usize) << 2)) as usize;
    const end = load<u32>(starts + ((s as usize) << 2), 4) as usize;
    let now: u32 = 0;
    if (ASC_FEATURE_SIMD) {
      let i0 = f32x4.splat(0);
      let i1 = i0;
      let i2 = i0;
      let i3 = i0;
      for (; entry < end; entry += 4) {
        const row = weight + load<u32>(entry);
        i0 = f32x4.add(i0, v128.load(row));
        if (vectors == 4) {
          i1 = f32x4.add(i1, v128.load(row, 16));
          i2 = f32x4.add(i2, v128.load(row, 32));
          i3 = f32x4.add(i3, v128.load(row, 48));
        }
      }
      now = fire4(i0, p, q, r, bias, fired, a, a1, b, b1, rho, kick);
      if (vectors == 4) {
        now |= fire4(i1, p + 16, q + 16, r + 16, bias + 16, fired >> 4, a, a1, b, b1, rho, kick) << 4;
        now |= fire4(i2, p + 32, q + 32, r + 32, bias + 32, fired >> 8, a, a1, b, b1, rho, kick) << 8;
        now |= fire4(i3, p + 48, q + 48, r + 48, bias + 48, fired >> 12, a, a1, b, b1, rho, kick) << 12;
      }
    } else {
      for (let k: usize = 0; k < (vectors as usize) << 4; k += 4) {
        let current: f32 = 0;
        for (let e = entry; e < end; e += 4) current += load<f32>(weight + load<u32>(e) + k);
        const lane = (k as u32) >> 2;
        const rest = refract1(r + k, fired >> lane, rho, kick);
        const membrane = filter1(p + k, q + k, current, a, a1, b, b1) + load<f32>(bias + k) + rest;
        now |= (membrane > 0 ? 1 : 0) << lane;
      }
    }
    const to = out + (s as usize) * bitsStep + word;
    store<u32>(to, load<u32>(to) | (now << shift));
    spikes += popcnt(now);
    fired = now;
  }
  store<u32>(own + word, (load<u32>(own + word) & ~(mask << shift)) | (fired << shift));
  return spikes;
}

/** One step of four neurons with current i; their spikes as bits. */
@inline
function fire4(i: v128, p: usize, q: usize, r: usize, bias: usize, fired: u32, a: f32, a1: f32, b: f32, b1: f32, rho: f32, kick: f32): u32 {
  const rest = refract4(r, fired, rho, kick);
  const membrane = f32x4.add(f32x4.add(filter4(p, q, i, a, a1, b, b1), v128.load(bias)), rest);
  return i32x4.bitmask(f32x4.gt(membrane, f32x4.splat(0)));
}
