// Dense layer of `decolle` with fixed weights, all steps of some samples (equations in decolle.ts).
//
//   I = Σ_i W_i over the spikes of the step, ascending ;  P, Q filter I ;  U = (P + b) + R ;  S = U > 0
//
// Thirty-two outputs take many steps of all samples before the next ones: first their currents, eight sums in registers while the spikes of
// a step go by, then their neurons, whose states stay in registers while the steps go by. Bound by loads, one an addition.

import { Activity, Decolle, DecolleDense, DENSE_STEPS, Frame, View } from "../abi";
import { at, enterLane } from "../view";
import { filter1, refract1, settle4 } from "./decolle";

/** Place of the addresses in Starts. */
const ADDRESSES: usize = 8;

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

/** Fills the list of the lane in work with its next steps; gives the number of its events. */
function refill(record: usize, list: usize, starts: usize, frame: usize): u32 {
  const activity = load<u32>(record, DecolleDense.Activity) as usize;
  const stride = load<u32>(record, DecolleDense.Stride) as usize;
  const steps = load<u32>(record, DecolleDense.Steps);
  const inputBytes = (load<u32>(activity, Activity.Rows) * load<u32>(activity, Activity.RowLength)) << 2;
  const last = list + load<u32>(record, DecolleDense.ListBytes) - inputBytes;
  const inputView = load<u32>(activity, Activity.Data) as usize;
  const inputStep = load<u32>(inputView, View.PerStep) as usize;
  const done = load<u32>(starts) + load<u32>(starts, 4);
  let input = at(inputView, frame) + (done as usize) * inputStep;
  let entry = list;
  let count: u32 = 0;
  for (; done + count < steps && count < (DENSE_STEPS as u32) && entry <= last; ++count, input += inputStep) {
    store<u32>(starts + ((count as usize) << 2), entry as u32, ADDRESSES);
    entry = expand(input, activity, stride, entry);
  }
  store<u32>(starts + ((count as usize) << 2), entry as u32, ADDRESSES);
  store<u32>(starts, done);
  store<u32>(starts, count, 4);
  return ((entry - list) >> 2) as u32;
}

export function decolleDense(record: usize, frame: usize): void {
  const neuron = load<u32>(record, DecolleDense.Neuron) as usize;
  const weight = at(load<u32>(record, DecolleDense.Weight), frame);
  const panel = load<u32>(record, DecolleDense.Panel) as usize;
  const currents = at(load<u32>(record, DecolleDense.Currents), frame);
  const listView = load<u32>(record, DecolleDense.List) as usize;
  const startsView = load<u32>(record, DecolleDense.Starts) as usize;
  const bitsView = load<u32>(neuron, Decolle.Bits) as usize;
  const bitsStep = load<u32>(bitsView, View.PerStep) as usize;
  const bitBytes = (load<u32>(neuron, Decolle.RowWords) as usize) << 2;
  const bytes = (load<u32>(neuron, Decolle.RowLength) as usize) << 2;
  const spikes = load<u32>(neuron, Decolle.Spikes) as usize;
  const operations = load<u32>(record, DecolleDense.Operations) as usize;
  const outputs = load<u32>(record, DecolleDense.Outputs) as u64;
  const lanes = load<u32>(frame, Frame.GroupEnd) - load<u32>(frame, Frame.GroupFirst);
  for (let lane: u32 = 0; lane < lanes; ++lane) {
    enterLane(lane, frame);
    store<u64>(at(startsView, frame), 0);
  }
  for (;;) {
    let busy: u32 = 0;
    for (let lane: u32 = 0; lane < lanes; ++lane) {
      enterLane(lane, frame);
      const starts = at(startsView, frame);
      const events = refill(record, at(listView, frame), starts, frame);
      const count = load<u32>(starts, 4) as usize;
      if (!count) continue;
      busy |= 1;
      memory.fill(at(bitsView, frame) + (load<u32>(starts) as usize) * bitsStep, 0, (count - 1) * bitsStep + bitBytes);
      if (!operations) continue;
      const counter = at(operations, frame);
      store<u64>(counter, load<u64>(counter) + events * outputs);
    }
    if (!busy) break;
    // The lanes share a panel while it is in cache.
    for (let p: usize = 0; p < bytes; ) {
      const left = bytes - p;
      const width: usize = left >= 128 ? 128 : left >= 32 ? 32 : 16;
      const columns = weight + (p >> 7) * panel + (p & 127);
      for (let lane: u32 = 0; lane < lanes; ++lane) {
        enterLane(lane, frame);
        const starts = at(startsView, frame);
        const addresses = starts + ADDRESSES;
        const count = load<u32>(starts, 4) as i32;
        const out = at(bitsView, frame) + (load<u32>(starts) as usize) * bitsStep;
        if (width == 128) gather8(currents, columns, addresses, count);
        else if (width == 32) gather2(currents, columns, addresses, count);
        else gather1(currents, columns, addresses, count);
        for (let k: usize = 0; k < width; k += 32) {
          fire(neuron, currents + k, width, p + k, count, out, bitsStep, width > 16, frame);
        }
      }
      p += width;
    }
    for (let lane: u32 = 0; lane < lanes; ++lane) {
      enterLane(lane, frame);
      const starts = at(startsView, frame);
      const count = load<u32>(starts, 4) as usize;
      if (!count) continue;
      const out = at(bitsView, frame) + (load<u32>(starts) as usize) * bitsStep;
      const end = out + (count - 1) * bitsStep + bitBytes;
      let sum: u32 = 0;
      for (let word = out; word < end; word += 4) sum += popcnt(load<u32>(word));
      const counter = at(spikes, frame);
      store<u32>(counter, load<u32>(counter) + sum);
    }
  }
}

/** Currents of eight vectors of outputs for `count` steps. */
function gather8(to: usize, weight: usize, starts: usize, count: i32): void {
  if (!ASC_FEATURE_SIMD) {
    gather(to, weight, starts, count, 128);
    return;
  }
  for (let s = 0; s < count; ++s, starts += 4, to += 128) {
    let entry = load<u32>(starts) as usize;
    const end = load<u32>(starts, 4) as usize;
    let a = f32x4.splat(0);
    let b = a;
    let c = a;
    let d = a;
    let e = a;
    let f = a;
    let g = a;
    let h = a;
    for (; entry < end; entry += 4) {
      const row = weight + load<u32>(entry);
      a = f32x4.add(a, v128.load(row));
      b = f32x4.add(b, v128.load(row, 16));
      c = f32x4.add(c, v128.load(row, 32));
      d = f32x4.add(d, v128.load(row, 48));
      // Never so; ends the block of loads that engines move together, more than there are registers.
      if (!row) break;
      e = f32x4.add(e, v128.load(row, 64));
      f = f32x4.add(f, v128.load(row, 80));
      g = f32x4.add(g, v128.load(row, 96));
      h = f32x4.add(h, v128.load(row, 112));
    }
    v128.store(to, a);
    v128.store(to, b, 16);
    v128.store(to, c, 32);
    v128.store(to, d, 48);
    v128.store(to, e, 64);
    v128.store(to, f, 80);
    v128.store(to, g, 96);
    v128.store(to, h, 112);
  }
}

/** The same of two vectors. */
function gather2(to: usize, weight: usize, starts: usize, count: i32): void {
  if (!ASC_FEATURE_SIMD) {
    gather(to, weight, starts, count, 32);
    return;
  }
  for (let s = 0; s < count; ++s, starts += 4, to += 32) {
    const end = load<u32>(starts, 4) as usize;
    let a = f32x4.splat(0);
    let b = a;
    for (let entry = load<u32>(starts) as usize; entry < end; entry += 4) {
      const row = weight + load<u32>(entry);
      a = f32x4.add(a, v128.load(row));
      b = f32x4.add(b, v128.load(row, 16));
    }
    v128.store(to, a);
    v128.store(to, b, 16);
  }
}

/** The same of one vector. */
function gather1(to: usize, weight: usize, starts: usize, count: i32): void {
  if (!ASC_FEATURE_SIMD) {
    gather(to, weight, starts, count, 16);
    return;
  }
  for (let s = 0; s < count; ++s, starts += 4, to += 16) {
    const end = load<u32>(starts, 4) as usize;
    let a = f32x4.splat(0);
    for (let entry = load<u32>(starts) as usize; entry < end; entry += 4) {
      a = f32x4.add(a, v128.load(weight + load<u32>(entry)));
    }
    v128.store(to, a);
  }
}

/** The same of `bytes` of outputs, one by one. */
function gather(to: usize, weight: usize, starts: usize, count: i32, bytes: usize): void {
  for (let s = 0; s < count; ++s, starts += 4, to += bytes) {
    const first = load<u32>(starts) as usize;
    const end = load<u32>(starts, 4) as usize;
    for (let k: usize = 0; k < bytes; k += 4) {
      let sum: f32 = 0;
      for (let entry = first; entry < end; entry += 4) sum += load<f32>(weight + load<u32>(entry) + k);
      store<f32>(to + k, sum);
    }
  }
}

/** Neurons at byte offset `offset` for `count` steps, whose currents lie `stride` bytes apart: eight if `two`, else four. */
function fire(
  neuron: usize, currents: usize, stride: usize, offset: usize, count: i32, out: usize, bitsStep: usize, two: bool, frame: usize,
): void {
  const p = at(load<u32>(neuron, Decolle.P), frame) + offset;
  const q = at(load<u32>(neuron, Decolle.Q), frame) + offset;
  const r = at(load<u32>(neuron, Decolle.Refractory), frame) + offset;
  const bias = at(load<u32>(neuron, Decolle.Bias), frame) + offset;
  const own = at(load<u32>(neuron, Decolle.Own), frame) + (offset >> 5);
  const a = load<f32>(neuron, Decolle.Alpha);
  const a1 = load<f32>(neuron, Decolle.AlphaRest);
  const b = load<f32>(neuron, Decolle.Beta);
  const b1 = load<f32>(neuron, Decolle.BetaRest);
  const rho = load<f32>(neuron, Decolle.Rho);
  const kick = load<f32>(neuron, Decolle.Kick);
  // Eight neurons are a byte of bits, four the lower half of a layer's last one.
  out += offset >> 5;
  let fired = load<u8>(own) as u32;
  if (ASC_FEATURE_SIMD) {
    const va = f32x4.splat(a);
    const va1 = f32x4.splat(a1);
    const vb = f32x4.splat(b);
    const vb1 = f32x4.splat(b1);
    const vr = f32x4.splat(rho);
    const vk = f32x4.splat(kick);
    let p0 = v128.load(p);
    let q0 = v128.load(q);
    let r0 = v128.load(r);
    let s0 = spread(fired);
    const bias0 = v128.load(bias);
    if (two) {
      let p1 = v128.load(p, 16);
      let q1 = v128.load(q, 16);
      let r1 = v128.load(r, 16);
      let s1 = spread(fired >> 4);
      const bias1 = v128.load(bias, 16);
      for (let s = 0; s < count; ++s, currents += stride, out += bitsStep) {
        p0 = settle4(f32x4.add(f32x4.mul(va, p0), f32x4.mul(va1, q0)));
        q0 = settle4(f32x4.add(f32x4.mul(vb, q0), f32x4.mul(vb1, v128.load(currents))));
        r0 = settle4(f32x4.sub(f32x4.mul(vr, r0), v128.and(vk, s0)));
        s0 = f32x4.gt(f32x4.add(f32x4.add(p0, bias0), r0), f32x4.splat(0));
        p1 = settle4(f32x4.add(f32x4.mul(va, p1), f32x4.mul(va1, q1)));
        q1 = settle4(f32x4.add(f32x4.mul(vb, q1), f32x4.mul(vb1, v128.load(currents, 16))));
        r1 = settle4(f32x4.sub(f32x4.mul(vr, r1), v128.and(vk, s1)));
        s1 = f32x4.gt(f32x4.add(f32x4.add(p1, bias1), r1), f32x4.splat(0));
        store<u8>(out, i32x4.bitmask(s0) | (i32x4.bitmask(s1) << 4));
      }
      v128.store(p, p1, 16);
      v128.store(q, q1, 16);
      v128.store(r, r1, 16);
      fired = i32x4.bitmask(s0) | (i32x4.bitmask(s1) << 4);
    } else {
      for (let s = 0; s < count; ++s, currents += stride, out += bitsStep) {
        p0 = settle4(f32x4.add(f32x4.mul(va, p0), f32x4.mul(va1, q0)));
        q0 = settle4(f32x4.add(f32x4.mul(vb, q0), f32x4.mul(vb1, v128.load(currents))));
        r0 = settle4(f32x4.sub(f32x4.mul(vr, r0), v128.and(vk, s0)));
        s0 = f32x4.gt(f32x4.add(f32x4.add(p0, bias0), r0), f32x4.splat(0));
        store<u8>(out, i32x4.bitmask(s0));
      }
      fired = i32x4.bitmask(s0);
    }
    v128.store(p, p0);
    v128.store(q, q0);
    v128.store(r, r0);
  } else {
    const lanes: u32 = two ? 8 : 4;
    for (let s = 0; s < count; ++s, currents += stride, out += bitsStep) {
      let now: u32 = 0;
      for (let lane: u32 = 0; lane < lanes; ++lane) {
        const k = (lane as usize) << 2;
        const rest = refract1(r + k, fired >> lane, rho, kick);
        const membrane = filter1(p + k, q + k, load<f32>(currents + k), a, a1, b, b1) + load<f32>(bias + k) + rest;
        now |= (membrane > 0 ? 1 : 0) << lane;
      }
      fired = now;
      store<u8>(out, now);
    }
  }
  store<u8>(own, fired);
}

/** Four bits to four lanes of all ones or none. */
@inline
function spread(bits: u32): v128 {
  return i32x4.ne(v128.and(i32x4.splat(bits), i32x4(1, 2, 4, 8)), i32x4.splat(0));
}
