// Dense synapses onto few outputs (at most sixteen, a readout's), plain spikes: what fanout.ts computes, in the same order
// and with the same bits, but walking the bits themselves. Of short runs the list of events would be most of the cost.
//
// Forward the currents stay in registers: bound by the chain of adds, one a spike.

import { Activity, ActivityKind, BackwardFlags, Fanout } from "../abi";
import { at } from "../view";

export function narrowForward(fanout: usize, vectors: u32, frame: usize): void {
  if (vectors == 1) forward(fanout, 1, frame);
  else if (vectors == 2) forward(fanout, 2, frame);
  else if (vectors == 3) forward(fanout, 3, frame);
  else forward(fanout, 4, frame);
}

@inline
function forward(fanout: usize, vectors: u32, frame: usize): void {
  const activity = load<u32>(fanout, Fanout.Activity) as usize;
  const target = at(load<u32>(fanout, Fanout.Target), frame);
  const stride = load<u32>(fanout, Fanout.WeightStride) as usize;
  const rows = load<u32>(activity, Activity.Rows);
  const rowBytes = (load<u32>(activity, Activity.RowLength) as usize) * stride;
  const rowWords = load<u32>(activity, Activity.RowWords);
  let bits = at(load<u32>(activity, Activity.Data), frame);
  let weights = at(load<u32>(fanout, Fanout.Weight), frame);
  if (ASC_FEATURE_SIMD) {
    let a = v128.load(target);
    let b = vectors > 1 ? v128.load(target, 16) : a;
    let c = vectors > 2 ? v128.load(target, 32) : a;
    let d = vectors > 3 ? v128.load(target, 48) : a;
    for (let row: u32 = 0; row < rows; ++row, weights += rowBytes) {
      let group = weights;
      for (let j: u32 = 0; j < rowWords; j += 2, bits += 8, group += stride << 6) {
        let word = words(bits, j + 1 < rowWords);
        while (word) {
          const w = group + (ctz(word) as usize) * stride;
          word &= word - 1;
          a = f32x4.add(a, v128.load(w));
          if (vectors > 1) b = f32x4.add(b, v128.load(w, 16));
          if (vectors > 2) c = f32x4.add(c, v128.load(w, 32));
          if (vectors > 3) d = f32x4.add(d, v128.load(w, 48));
        }
      }
      if (rowWords & 1) bits -= 4;
    }
    v128.store(target, a);
    if (vectors > 1) v128.store(target, b, 16);
    if (vectors > 2) v128.store(target, c, 32);
    if (vectors > 3) v128.store(target, d, 48);
    return;
  }
  for (let row: u32 = 0; row < rows; ++row, weights += rowBytes) {
    for (let j: u32 = 0; j < rowWords; ++j, bits += 4) {
      let word = load<u32>(bits);
      const group = weights + (j << 5) * stride;
      while (word) {
        const w = group + ctz(word) * stride;
        word &= word - 1;
        for (let k: usize = 0; k < vectors << 4; k += 4) store<f32>(target + k, load<f32>(target + k) + load<f32>(w + k));
      }
    }
  }
}

/** dw += D at the spikes. */
export function narrowGradient(fanout: usize, vectors: u32, frame: usize): void {
  if (vectors == 1) gradient(fanout, 1, frame);
  else if (vectors == 2) gradient(fanout, 2, frame);
  else if (vectors == 3) gradient(fanout, 3, frame);
  else gradient(fanout, 4, frame);
}

@inline
function gradient(fanout: usize, vectors: u32, frame: usize): void {
  const activity = load<u32>(fanout, Fanout.Activity) as usize;
  const delta = at(load<u32>(fanout, Fanout.Target), frame);
  const stride = load<u32>(fanout, Fanout.WeightStride) as usize;
  const rows = load<u32>(activity, Activity.Rows);
  const rowBytes = (load<u32>(activity, Activity.RowLength) as usize) * stride;
  const rowWords = load<u32>(activity, Activity.RowWords);
  let bits = at(load<u32>(activity, Activity.Data), frame);
  let gradient = at(load<u32>(fanout, Fanout.Gradient), frame);
  if (ASC_FEATURE_SIMD) {
    const a = v128.load(delta);
    const b = vectors > 1 ? v128.load(delta, 16) : a;
    const c = vectors > 2 ? v128.load(delta, 32) : a;
    const d = vectors > 3 ? v128.load(delta, 48) : a;
    for (let row: u32 = 0; row < rows; ++row, gradient += rowBytes) {
      let group = gradient;
      for (let j: u32 = 0; j < rowWords; j += 2, bits += 8, group += stride << 6) {
        let word = words(bits, j + 1 < rowWords);
        while (word) {
          const g = group + (ctz(word) as usize) * stride;
          word &= word - 1;
          v128.store(g, f32x4.add(v128.load(g), a));
          if (vectors > 1) v128.store(g, f32x4.add(v128.load(g, 16), b), 16);
          if (vectors > 2) v128.store(g, f32x4.add(v128.load(g, 32), c), 32);
          if (vectors > 3) v128.store(g, f32x4.add(v128.load(g, 48), d), 48);
        }
      }
      if (rowWords & 1) bits -= 4;
    }
    return;
  }
  for (let row: u32 = 0; row < rows; ++row, gradient += rowBytes) {
    for (let j: u32 = 0; j < rowWords; ++j, bits += 4) {
      let word = load<u32>(bits);
      const group = gradient + (j << 5) * stride;
      while (word) {
        const g = group + ctz(word) * stride;
        word &= word - 1;
        for (let k: usize = 0; k < vectors << 4; k += 4) store<f32>(g + k, load<f32>(g + k) + load<f32>(delta + k));
      }
    }
  }
}

/** The word at `bits`, with the next one above it where there is one: leaving a loop over bits is a branch nobody foresees. */
@inline
function words(bits: usize, both: bool): u64 {
  return both ? load<u64>(bits) : (load<u32>(bits) as u64);
}

/** Vectors of a fanout that these kernels can take with this activity and these flags, or 0. */
export function narrow(fanout: usize, withValues: bool, flags: i32): u32 {
  if (withValues || flags & BackwardFlags.Deliver) return 0;
  const vectors = load<u32>(fanout, Fanout.Narrow);
  return load<u32>(load<u32>(fanout, Fanout.Activity), Activity.Kind) == ActivityKind.Bits ? vectors : 0;
}
