// Dense synapses, all steps of a sample in one sweep over the weights.
//
//   forward   I_t,j += w_ij · x_t,i       inputs ascending in every chain, as in fanout.ts: the same bits
//   backward  G_t,i  = Σ_j w_ij · D_t,j   where x_t,i is not 0
//             dw_ij += D_t,j · x_t,i      steps descending
// Large matrices are bound by the memory that holds them. Forward, the active inputs of many steps are listed and meet a
// panel of 32 outputs, whose sums are in registers, while its weights are in the second-level cache; where most inputs are
// active, the product of matrix.ts takes over. Backward, 32 rows of weights at a time meet every step.

import { Activity, ActivityKind, BackwardFlags, Fanout, FanoutColumn, Frame, SWEEP_INPUTS, SWEEP_STEPS, View } from "../abi";
import { at } from "../view";
import { panel } from "./direct";
import { two } from "./channels";
import { add1, addScaled, dotAdd, dotAddScaled, tree } from "./fanout";
import { COLUMNS, DEPTH, HEIGHT, packBits, packValues, product, ROWS, VALUES, WEIGHTS } from "./matrix";
import { countBits, countValues, DENSE_BITS, DENSE_VALUES, walk128, walk16, walk64 } from "./window";

/** Bytes between steps of a view. */
@inline
function perStep(view: usize): usize {
  return view ? (load<u32>(view, View.PerStep) as usize) : 0;
}

/** Address of a view at step 0. */
@inline
function origin(view: usize, frame: usize): usize {
  return view ? at(view, frame) : 0;
}

export function sweepForward(fanout: usize, steps: i32, frame: usize): void {
  store<u32>(frame, 0, Frame.Step);
  const activity = load<u32>(fanout, Fanout.Activity) as usize;
  const dataView = load<u32>(activity, Activity.Data) as usize;
  const dataStep = perStep(dataView);
  const data = at(dataView, frame);
  const rows = load<u32>(activity, Activity.Rows);
  const rowLength = load<u32>(activity, Activity.RowLength);
  const bits = load<u32>(activity, Activity.Kind) == ActivityKind.Bits;
  const amplitude = origin(load<u32>(activity, Activity.Amplitude), frame);
  let active: u64 = 0;
  for (let step = 0; step < steps; ++step) {
    const from = data + (step as usize) * dataStep;
    active += bits ? countBits(from, rows * load<u32>(activity, Activity.RowWords)) : countValues(from, rows * rowLength);
  }
  const all = (rows as u64) * rowLength * steps;
  if (!amplitude && active * 100 >= all * (bits ? DENSE_BITS : DENSE_VALUES)) sweepProduct(fanout, steps, frame);
  else sweepLists(fanout, steps, frame);
}

/** Every input, active or not. */
export function sweepProduct(fanout: usize, steps: i32, frame: usize): void {
  const activity = load<u32>(fanout, Fanout.Activity) as usize;
  const dataView = load<u32>(activity, Activity.Data) as usize;
  const targetView = load<u32>(fanout, Fanout.Target) as usize;
  const scratch = at(load<u32>(fanout, Fanout.Scratch), frame);
  const weights = at(load<u32>(fanout, Fanout.Weight), frame);
  const ws = load<u32>(fanout, Fanout.WeightStride) as usize;
  const bytes = load<u32>(load<u32>(fanout, Fanout.Columns), FanoutColumn.Vectors) << 4;
  const rows = load<u32>(activity, Activity.Rows);
  const rowLength = load<u32>(activity, Activity.RowLength);
  const rowWords = load<u32>(activity, Activity.RowWords);
  const bits = load<u32>(activity, Activity.Kind) == ActivityKind.Bits;
  const data = at(dataView, frame);
  const target = at(targetView, frame);
  for (let row: u32 = 0; row < rows; ++row) {
    for (let first: u32 = 0; first < rowLength; first += DEPTH) {
      const index = row * rowLength + first;
      const depth = min<u32>(DEPTH, rowLength - first);
      for (let k: usize = 0; k < depth; ++k) {
        store<u32>(scratch + (k << 2), (k << 2) as u32, COLUMNS);
        store<u32>(scratch + (k << 2), (weights + ((index as usize) + k) * ws) as u32, WEIGHTS);
      }
      const from = data + (bits ? (row * rowWords + (first >> 5)) << 2 : index << 2);
      for (let done: u32 = 0; done < (steps as u32); done += HEIGHT) {
        const count = min<u32>(HEIGHT, steps - done);
        for (let i: u32 = 0; i < ((count + 3) & ~3); ++i) {
          const step = (done + min<u32>(i, count - 1)) as usize;
          store<u32>(scratch + (i << 2), (target + step * perStep(targetView)) as u32, ROWS);
          store<u32>(scratch + (i << 2), (from + step * perStep(dataView)) as u32, VALUES);
        }
        if (bits) packBits(scratch, count, depth);
        else packValues(scratch, count, depth);
        product(scratch, count, depth, bytes);
      }
    }
  }
}

/** Active inputs alone. */
export function sweepLists(fanout: usize, steps: i32, frame: usize): void {
  const activity = load<u32>(fanout, Fanout.Activity) as usize;
  const dataView = load<u32>(activity, Activity.Data) as usize;
  const targetView = load<u32>(fanout, Fanout.Target) as usize;
  const amplitude = origin(load<u32>(activity, Activity.Amplitude), frame);
  const weights = at(load<u32>(fanout, Fanout.Weight), frame);
  const ws = load<u32>(fanout, Fanout.WeightStride) as usize;
  const bytes = (load<u32>(load<u32>(fanout, Fanout.Columns), FanoutColumn.Vectors) << 4) as usize;
  const rows = load<u32>(activity, Activity.Rows);
  const rowLength = load<u32>(activity, Activity.RowLength);
  const rowWords = load<u32>(activity, Activity.RowWords);
  const bits = load<u32>(activity, Activity.Kind) == ActivityKind.Bits;
  const plain = bits && !amplitude;
  const dataStep = perStep(dataView);
  const targetStep = perStep(targetView);
  const data = at(dataView, frame);
  const target = at(targetView, frame);
  const ends = at(load<u32>(fanout, Fanout.Scratch), frame);
  const lists = ends + (SWEEP_STEPS << 2);
  const listBytes: usize = SWEEP_INPUTS << 3;
  for (let start: u32 = 0; start < (steps as u32); start += SWEEP_STEPS) {
    const count = min<u32>(SWEEP_STEPS, steps - start) as usize;
    const to = target + start * targetStep;
    for (let row: u32 = 0; row < rows; ++row) {
      for (let first: u32 = 0; first < rowLength; first += SWEEP_INPUTS) {
        const index = (row * rowLength + first) as usize;
        const width = min<u32>(SWEEP_INPUTS, rowLength - first);
        let from = data + start * dataStep + (bits ? (row * rowWords + (first >> 5)) << 2 : index << 2);
        let entry = lists;
        for (let step: usize = 0; step < count; ++step, from += dataStep) {
          entry = lists + step * listBytes;
          if (bits) {
            for (let j: u32 = 0; j < width; j += 32) {
              for (let word = load<u32>(from + (j >> 3)); word; word &= word - 1) {
                const k = (j + ctz(word)) as usize;
                store<u32>(entry, (k * ws) as u32);
                if (plain) {
                  entry += 4;
                } else {
                  store<f32>(entry, load<f32>(amplitude + ((index + k) << 2)), 4);
                  entry += 8;
                }
              }
            }
          } else {
            for (let k: usize = 0; k < width; ++k) {
              const x = load<f32>(from + (k << 2));
              store<u32>(entry, (k * ws) as u32);
              store<f32>(entry, x, 4);
              entry += x != 0 ? 8 : 0;
            }
          }
          store<u32>(ends + (step << 2), entry as u32);
        }
        const chunk = weights + index * ws;
        for (let o: usize = 0; o < bytes; ) {
          const rest = bytes - o;
          const wide: usize = rest >= 128 ? 128 : plain ? (rest >= 64 ? 64 : 16) : rest;
          for (let step: usize = 0; step < count; ++step) {
            const list = lists + step * listBytes;
            const end = load<u32>(ends + (step << 2)) as usize;
            const t = to + step * targetStep + o;
            if (!plain) panel(list, end, chunk + o, t, t, wide);
            else if (wide == 128) walk128(list, end, chunk + o, t);
            else if (wide == 64) walk64(list, end, chunk + o, t);
            else walk16(list, end, chunk + o, t);
          }
          o += wide;
        }
      }
    }
  }
}

export function sweepBackward(fanout: usize, steps: i32, flags: i32, frame: usize): void {
  store<u32>(frame, 0, Frame.Step);
  const activity = load<u32>(fanout, Fanout.Activity) as usize;
  const dataView = load<u32>(activity, Activity.Data) as usize;
  const targetView = load<u32>(fanout, Fanout.Target) as usize;
  const deliver = flags & BackwardFlags.Deliver;
  const deliveredView = deliver ? (load<u32>(fanout, Fanout.Delivered) as usize) : 0;
  const amplitude = origin(load<u32>(activity, Activity.Amplitude), frame);
  const weights = at(load<u32>(fanout, Fanout.Weight), frame);
  const shift = at(load<u32>(fanout, Fanout.Gradient), frame) - weights;
  const ws = load<u32>(fanout, Fanout.WeightStride) as usize;
  const vectors = load<u32>(load<u32>(fanout, Fanout.Columns) as usize, FanoutColumn.Vectors) as i32;
  const rows = load<u32>(activity, Activity.Rows);
  const rowLength = load<u32>(activity, Activity.RowLength);
  const rowWords = load<u32>(activity, Activity.RowWords);
  const bits = load<u32>(activity, Activity.Kind) == ActivityKind.Bits;
  const dataStep = perStep(dataView);
  const targetStep = perStep(targetView);
  const deliveredStep = perStep(deliveredView);
  const last = (steps - 1) as usize;
  const data = at(dataView, frame) + last * dataStep;
  const target = at(targetView, frame) + last * targetStep;
  const delivered = origin(deliveredView, frame) + last * deliveredStep;
  const plain = bits && !amplitude;
  for (let row: u32 = 0; row < rows; ++row) {
    for (let first: u32 = 0; first < rowLength; first += 32) {
      const words = data + ((row * rowWords + (first >> 5)) << 2);
      const count = min<u32>(rowLength - first, 32);
      for (let k: u32 = 0; k < count; ++k) {
        const index = (row * rowLength + first + k) as usize;
        const w = weights + index * ws;
        let value = bits ? amplitude + (index << 2) : data + (index << 2);
        let word = words;
        let t = target;
        let g = delivered + (index << 2);
        // The active step that waits for another, to share the loads of w and dw with it.
        let waits = false;
        let t1: usize = 0;
        let g1: usize = 0;
        let x1: f32 = 1;
        for (let step = 0; step < steps; ++step) {
          const x: f32 = plain ? 1 : load<f32>(value);
          if (bits ? (load<u32>(word) >> k) & 1 : x != 0) {
            if (!deliver) {
              if (plain) add1(w + shift, t, vectors, 1, 0, 0);
              else addScaled(w + shift, t, x, vectors, 1, 0, 0);
            } else if (waits) {
              if (plain) store<f32>(g, two(t1, t, w, shift, vectors, 1, 0, 0, g1, 0));
              else twoScaled(t1, t, w, shift, x1, x, vectors, g1, g);
              waits = false;
            } else {
              waits = true;
              t1 = t;
              g1 = g;
              x1 = x;
            }
          }
          if (bits) word -= dataStep;
          else value -= dataStep;
          t -= targetStep;
          g -= deliveredStep;
        }
        if (waits) store<f32>(g1, plain ? dotAdd(t1, w, shift, vectors, 1, 0, 0) : dotAddScaled(t1, w, shift, x1, vectors, 1, 0, 0));
      }
    }
  }
}

/** Σ w · D of two steps, to g1 and g2, and dw += x · D of both on the way. */
function twoScaled(t1: usize, t2: usize, w: usize, shift: usize, x1: f32, x2: f32, vectors: i32, g1: usize, g2: usize): void {
  if (!ASC_FEATURE_SIMD) {
    store<f32>(g1, dotAddScaled(t1, w, shift, x1, vectors, 1, 0, 0));
    store<f32>(g2, dotAddScaled(t2, w, shift, x2, vectors, 1, 0, 0));
    return;
  }
  const a = f32x4.splat(x1);
  const b = f32x4.splat(x2);
  let even1 = f32x4.splat(0);
  let odd1 = even1;
  let even2 = even1;
  let odd2 = even1;
  let dw = w + shift;
  let n = vectors;
  for (; n >= 2; n -= 2) {
    let y = v128.load(w);
    let d = v128.load(t1);
    let sum = f32x4.add(v128.load(dw), f32x4.mul(d, a));
    even1 = f32x4.add(even1, f32x4.mul(y, d));
    d = v128.load(t2);
    even2 = f32x4.add(even2, f32x4.mul(y, d));
    v128.store(dw, f32x4.add(sum, f32x4.mul(d, b)));
    y = v128.load(w, 16);
    d = v128.load(t1, 16);
    sum = f32x4.add(v128.load(dw, 16), f32x4.mul(d, a));
    odd1 = f32x4.add(odd1, f32x4.mul(y, d));
    d = v128.load(t2, 16);
    odd2 = f32x4.add(odd2, f32x4.mul(y, d));
    v128.store(dw, f32x4.add(sum, f32x4.mul(d, b)), 16);
    t1 += 32;
    t2 += 32;
    w += 32;
    dw += 32;
  }
  if (n) {
    const y = v128.load(w);
    const d1 = v128.load(t1);
    const d2 = v128.load(t2);
    even1 = f32x4.add(even1, f32x4.mul(y, d1));
    even2 = f32x4.add(even2, f32x4.mul(y, d2));
    v128.store(dw, f32x4.add(f32x4.add(v128.load(dw), f32x4.mul(d1, a)), f32x4.mul(d2, b)));
  }
  store<f32>(g1, tree(even1, odd1));
  store<f32>(g2, tree(even2, odd2));
}
