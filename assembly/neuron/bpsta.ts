// `bpsta`: backpropagation with spatio-temporal adjustment.
// Shen, Zhao, Zeng, Patterns 3(6) (2022), arXiv 2110.08858.
//
// Threshold θ, with z the current, normalised and rectified where the layer says so (z = max(0, γ (I - μ) / σ + β)):
//   u_t = v + z_t
//   s_t = u_t >= θ
//   v   = decay · (s_t ? 0 : u_t)
// Backward, with C = D_{t+1} (0 at T):
//   D_t = (G_t + κ · (decay · C)) / u_t      where s_t: 1/u in space, the error crosses the reset in time
//         decay · C                          elsewhere
//   dL/dI_t = D_t where z_t > 0 (everywhere without rectification)
// Answer: spikes of the last layer, counted in groups of neighbouring neurons; one G for all voters of a class.
//
// Scans over neurons, bound by loads and stores of I, v, u and D. Under a current that never changes u is kept once a
// neuron: v starts from 0 after every spike, and so the neuron fires at the same u each time.

import { Bpsta, Vote } from "../abi";
import { at } from "../view";

export function bpstaForward(layer: usize, frame: usize): void {
  const rows = load<u32>(layer, Bpsta.Rows);
  const rowLength = load<u32>(layer, Bpsta.RowLength);
  const rowWords = load<u32>(layer, Bpsta.RowWords);
  const period = (load<u32>(layer, Bpsta.Channels) << 2) as usize;
  const stride = load<u32>(layer, Bpsta.Stride);
  const field = at(load<u32>(layer, Bpsta.Field), frame);
  const bits = at(load<u32>(layer, Bpsta.Bits), frame);
  const threshold = load<f32>(layer, Bpsta.Threshold);
  const decay = load<f32>(layer, Bpsta.Decay);
  const relu = load<u32>(layer, Bpsta.Relu) != 0;
  const constant = load<u32>(layer, Bpsta.Constant) != 0;
  const affineView = load<u32>(layer, Bpsta.Affine) as usize;
  const affine = affineView ? at(affineView, frame) : 0;
  const positiveView = load<u32>(layer, Bpsta.Positive) as usize;
  const positive = positiveView ? at(positiveView, frame) : 0;
  const potentialView = load<u32>(layer, Bpsta.Potentials) as usize;
  const potentials = potentialView ? at(potentialView, frame) : 0;
  const recordedView = load<u32>(layer, Bpsta.Recorded) as usize;
  const recorded = recordedView ? at(recordedView, frame) : 0;
  let v = at(load<u32>(layer, Bpsta.Membrane), frame);
  let spikes: u32 = 0;
  for (let row: u32 = 0; row < rows; ++row) {
    let p = field + row * stride;
    let c: usize = 0;
    let left = rowLength >> 2;
    for (let j: u32 = 0; j < rowWords; ++j) {
      const vectors = min<u32>(left, 8);
      left -= vectors;
      const place = (row * rowLength + (j << 5)) << 2;
      let word: u32 = 0;
      let above: u32 = 0;
      for (let k: u32 = 0; k < vectors; ++k) {
        if (ASC_FEATURE_SIMD) {
          let z = v128.load(p);
          if (affine) {
            z = f32x4.add(
              f32x4.mul(f32x4.sub(z, v128.load(affine + c)), v128.load(affine + c + period)),
              v128.load(affine + c + 2 * period),
            );
          }
          if (relu) {
            const over = f32x4.gt(z, f32x4.splat(0));
            z = v128.and(z, over);
            if (positive) above |= i32x4.bitmask(over) << (k << 2);
          }
          const u = f32x4.add(v128.load(v), z);
          const s = f32x4.ge(u, f32x4.splat(threshold));
          v128.store(v, f32x4.mul(v128.andnot(u, s), f32x4.splat(decay)));
          if (potentials) {
            const kept = potentials + place + (k << 4);
            v128.store(kept, constant ? v128.bitselect(u, v128.load(kept), s) : u);
          }
          if (recorded) v128.store(recorded + place + (k << 4), u);
          word |= i32x4.bitmask(s) << (k << 2);
        } else {
          for (let lane: u32 = 0; lane < 4; ++lane) {
            const o = (lane << 2) as usize;
            let z = load<f32>(p + o);
            if (affine) {
              z =
                (z - load<f32>(affine + c + o)) * load<f32>(affine + c + o + period) +
                load<f32>(affine + c + o + 2 * period);
            }
            if (relu) {
              const over = z > 0;
              z = over ? z : 0;
              above |= (over as u32) << ((k << 2) + lane);
            }
            const u = load<f32>(v + o) + z;
            const s = u >= threshold;
            store<f32>(v + o, (s ? 0 : u) * decay);
            const offset = place + (k << 4) + o;
            if (potentials && (s || !constant)) store<f32>(potentials + offset, u);
            if (recorded) store<f32>(recorded + offset, u);
            word |= (s as u32) << ((k << 2) + lane);
          }
        }
        p += 16;
        v += 16;
        c += 16;
        if (c == period) c = 0;
      }
      const at32 = (row * rowWords + j) << 2;
      store<u32>(bits + at32, word);
      if (positive) store<u32>(positive + at32, above);
      spikes += popcnt(word);
    }
  }
  const counter = at(load<u32>(layer, Bpsta.Spikes), frame);
  store<u32>(counter, load<u32>(counter) + spikes);
}

/** All bits of lane i where bit i is set. */
@inline
function lanes(bits: u32): v128 {
  const each = i32x4(1, 2, 4, 8);
  return i32x4.eq(v128.and(i32x4.splat(bits as i32), each), each);
}

/** Above this many spikes of 32 neurons dividing all of them is faster than picking those that spiked. */
const DENSE: i32 = 5;

export function bpstaBackward(layer: usize, frame: usize): void {
  const rows = load<u32>(layer, Bpsta.Rows);
  const rowLength = load<u32>(layer, Bpsta.RowLength);
  const rowWords = load<u32>(layer, Bpsta.RowWords);
  const stride = load<u32>(layer, Bpsta.Stride);
  const bits = at(load<u32>(layer, Bpsta.Bits), frame);
  const decay = load<f32>(layer, Bpsta.Decay);
  const kappa = load<f32>(layer, Bpsta.Kappa);
  const sum = load<u32>(layer, Bpsta.Sum) != 0;
  const positiveView = load<u32>(layer, Bpsta.Positive) as usize;
  const positive = positiveView ? at(positiveView, frame) : 0;
  const delta = at(load<u32>(layer, Bpsta.Delta), frame);
  let u = at(load<u32>(layer, Bpsta.Potentials), frame);
  let g = at(load<u32>(layer, Bpsta.Delivered), frame);
  let carry = at(load<u32>(layer, Bpsta.Carry), frame);
  for (let row: u32 = 0; row < rows; ++row) {
    let to = delta + row * stride;
    let left = rowLength >> 2;
    for (let j: u32 = 0; j < rowWords; ++j) {
      const vectors = min<u32>(left, 8);
      left -= vectors;
      const place = (row * rowWords + j) << 2;
      const word = load<u32>(bits + place);
      const above = positive ? load<u32>(positive + place) : 0xffffffff;
      if (ASC_FEATURE_SIMD) {
        if (popcnt<i32>(word) > DENSE) {
          for (let k: usize = 0; k < vectors; ++k) {
            const p = k << 4;
            const c = f32x4.mul(v128.load(carry + p), f32x4.splat(decay));
            const fired = f32x4.div(
              f32x4.add(v128.load(g + p), f32x4.mul(f32x4.splat(kappa), c)),
              v128.load(u + p),
            );
            const d = v128.bitselect(fired, c, lanes(word >> ((k as u32) << 2)));
            v128.store(carry + p, d);
            const i = v128.and(d, lanes(above >> ((k as u32) << 2)));
            v128.store(to + p, sum ? f32x4.add(v128.load(to + p), i) : i);
          }
        } else {
          for (let k: usize = 0; k < vectors; ++k) {
            const p = k << 4;
            v128.store(carry + p, f32x4.mul(v128.load(carry + p), f32x4.splat(decay)));
          }
          for (let rest = word; rest; rest &= rest - 1) {
            const n = (ctz(rest) << 2) as usize;
            store<f32>(carry + n, (load<f32>(g + n) + kappa * load<f32>(carry + n)) / load<f32>(u + n));
          }
          for (let k: usize = 0; k < vectors; ++k) {
            const p = k << 4;
            const i = v128.and(v128.load(carry + p), lanes(above >> ((k as u32) << 2)));
            v128.store(to + p, sum ? f32x4.add(v128.load(to + p), i) : i);
          }
        }
      } else {
        for (let n: u32 = 0; n < vectors << 2; ++n) {
          const p = (n << 2) as usize;
          const c = load<f32>(carry + p) * decay;
          const d: f32 = (word >> n) & 1 ? (load<f32>(g + p) + kappa * c) / load<f32>(u + p) : c;
          store<f32>(carry + p, d);
          const i: f32 = (above >> n) & 1 ? d : 0;
          store<f32>(to + p, sum ? load<f32>(to + p) + i : i);
        }
      }
      const bytes = vectors << 4;
      u += bytes;
      g += bytes;
      carry += bytes;
      to += bytes;
    }
  }
}

/** Adds the spikes of a step to the counts of the classes. */
export function vote(record: usize, frame: usize): void {
  const bits = at(load<u32>(record, Vote.Bits), frame);
  const classes = load<u32>(record, Vote.Classes);
  const voters = load<u32>(record, Vote.Voters);
  const counts = at(load<u32>(record, Vote.Counts), frame);
  for (let k: u32 = 0, n: u32 = 0; k < classes; ++k) {
    let count: u32 = 0;
    for (const end = n + voters; n < end; ++n) count += (load<u32>(bits + ((n >> 5) << 2)) >> (n & 31)) & 1;
    store<f32>(counts + (k << 2), load<f32>(counts + (k << 2)) + (count as f32));
  }
}

export function voteBackward(record: usize, frame: usize): void {
  const classes = load<u32>(record, Vote.Classes);
  const voters = load<u32>(record, Vote.Voters);
  const delta = at(load<u32>(record, Vote.Delta), frame);
  const delivered = at(load<u32>(record, Vote.Delivered), frame);
  for (let k: u32 = 0, n: u32 = 0; k < classes; ++k) {
    const g = load<f32>(delta + (k << 2));
    for (const end = n + voters; n < end; ++n) store<f32>(delivered + (n << 2), g);
  }
}
