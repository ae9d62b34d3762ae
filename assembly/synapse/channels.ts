// The backward pass of a convolution of spikes, channel by channel.
//
//   G_i    = Σ_j w_ij · D_j      two positions of a channel that see all their taps share the loads of w and dw;
//   dw_ij += D_j                 the second adds to what the first left in a register
//
// Events are dealt out to bins, one a channel, and a bin that is full is emptied. A channel's events stay in the order of
// fanout.ts, so every sum does.

import { Activity, ActivityKind, BIN_BYTES, Fanout, FanoutColumn, FanoutRow, Window } from "../abi";
import { at } from "../view";
import { dotAdd, give, tree } from "./fanout";
import { countBits } from "./window";

/** Spikes a channel from which dealing them out pays. */
const MANY: u32 = 3;

/** An event in a bin: address of its weights, of its target, its extent, address of its G. */
const ENTRY: usize = 16;

/** G and dw of one step, if this way is the better one; false if nothing has been done. */
export function channelsBackward(fanout: usize, window: usize, accumulate: i32, frame: usize): bool {
  const activity = load<u32>(fanout, Fanout.Activity) as usize;
  if (load<u32>(activity, Activity.Kind) != ActivityKind.Bits || load<u32>(activity, Activity.Amplitude)) return false;
  const rows = load<u32>(activity, Activity.Rows);
  const rowWords = load<u32>(activity, Activity.RowWords);
  const rowLength = load<u32>(activity, Activity.RowLength);
  const channels = load<u32>(window, Window.Channels);
  let bits = at(load<u32>(activity, Activity.Data), frame);
  if (countBits(bits, rows * rowWords) < channels * MANY) return false;

  const width = load<u32>(window, Window.Columns);
  const columns = load<u32>(fanout, Fanout.Columns) as usize;
  const weights = at(load<u32>(fanout, Fanout.Weight), frame);
  const target = at(load<u32>(fanout, Fanout.Target), frame);
  const shift = at(load<u32>(fanout, Fanout.Gradient), frame) - weights;
  const delivered = at(load<u32>(fanout, Fanout.Delivered), frame);
  const ts = load<u32>(fanout, Fanout.TargetStride) as usize;
  const ws = load<u32>(fanout, Fanout.WeightStride) as usize;
  const ends = at(load<u32>(fanout, Fanout.Scratch), frame);
  const bins = (ends + (channels << 2) + BIN_BYTES - 1) & ~(BIN_BYTES - 1);
  for (let c: usize = 0; c < channels; ++c) store<u32>(ends + (c << 2), (bins + c * BIN_BYTES) as u32);

  let info = load<u32>(fanout, Fanout.RowTable) as usize;
  let place = delivered;
  for (let row: u32 = 0; row < rows; ++row, info += FanoutRow.Size, bits += rowWords << 2, place += rowLength << 2) {
    const runs = load<u32>(info, FanoutRow.Runs);
    if (!runs) continue;
    const rowTarget = target + load<u32>(info, FanoutRow.Target);
    const rowWeight = weights + load<u32>(info, FanoutRow.Weight);
    for (let x: u32 = 0; x < width; ++x) {
      const first = x * channels;
      const cell = columns + first * FanoutColumn.Size;
      const vectors = load<u32>(cell, FanoutColumn.Vectors);
      if (!vectors) continue;
      const cellTarget = rowTarget + load<u32>(cell, FanoutColumn.Target);
      const extent = vectors | (runs << 24);
      for (let c: u32 = 0; c < channels; ) {
        const from = (first + c) & 31;
        const count = min<u32>(32 - from, channels - c);
        let word = load<u32>(bits + (((first + c) >> 5) << 2)) >> from;
        if (count < 32) word &= (1 << count) - 1;
        for (; word; word &= word - 1) {
          const channel = c + ctz(word);
          const end = ends + (channel << 2);
          const entry = load<u32>(end) as usize;
          const column = cell + channel * FanoutColumn.Size;
          store<u32>(entry, (rowWeight + load<u32>(column, FanoutColumn.Weight)) as u32);
          store<u32>(entry, cellTarget as u32, 4);
          store<u32>(entry, extent, 8);
          store<u32>(entry, (place + ((first + channel) << 2)) as u32, 12);
          let next = entry + ENTRY;
          if (!(next & (BIN_BYTES - 1))) {
            next -= BIN_BYTES;
            empty(next, entry + ENTRY, shift, ts, ws, accumulate);
          }
          store<u32>(end, next as u32);
        }
        c += count;
      }
    }
  }
  for (let c: usize = 0; c < channels; ++c) {
    empty(bins + c * BIN_BYTES, load<u32>(ends + (c << 2)), shift, ts, ws, accumulate);
  }
  return true;
}

/** Follows the events of [entry, end), all of one channel. */
function empty(entry: usize, end: usize, shift: usize, ts: usize, ws: usize, accumulate: i32): void {
  while (entry < end) {
    const w = load<u32>(entry) as usize;
    const t = load<u32>(entry, 4) as usize;
    const extent = load<u32>(entry, 8);
    const place = load<u32>(entry, 12) as usize;
    const vectors = (extent & 0xffffff) as i32;
    const runs = (extent >> 24) as i32;
    const next = entry + ENTRY;
    if (next < end && (load<u32>(next) as usize) == w && load<u32>(next, 8) == extent) {
      const g = two(t, load<u32>(next, 4), w, shift, vectors, runs, ts, ws, place, accumulate);
      give(load<u32>(next, 12), accumulate, g);
      entry += 2 * ENTRY;
    } else {
      give(place, accumulate, dotAdd(t, w, shift, vectors, runs, ts, ws));
      entry = next;
    }
  }
}

/** Σ w · D of two events of one input, and dw += D of both on the way; stores the first sum at `place`, returns the second. */
export function two(
  t: usize,
  t2: usize,
  w: usize,
  shift: usize,
  vectors: i32,
  runs: i32,
  ts: usize,
  ws: usize,
  place: usize,
  accumulate: i32,
): f32 {
  if (!ASC_FEATURE_SIMD) {
    give(place, accumulate, dotAdd(t, w, shift, vectors, runs, ts, ws));
    return dotAdd(t2, w, shift, vectors, runs, ts, ws);
  }
  let even = f32x4.splat(0);
  let odd = even;
  let even2 = even;
  let odd2 = even;
  ts -= (vectors as usize) << 4;
  ws -= (vectors as usize) << 4;
  do {
    let n = vectors;
    let g = w + shift;
    for (; n >= 2; n -= 2) {
      let x = v128.load(w);
      let d = v128.load(t);
      let sum = f32x4.add(v128.load(g), d);
      even = f32x4.add(even, f32x4.mul(x, d));
      d = v128.load(t2);
      even2 = f32x4.add(even2, f32x4.mul(x, d));
      v128.store(g, f32x4.add(sum, d));
      x = v128.load(w, 16);
      d = v128.load(t, 16);
      sum = f32x4.add(v128.load(g, 16), d);
      odd = f32x4.add(odd, f32x4.mul(x, d));
      d = v128.load(t2, 16);
      odd2 = f32x4.add(odd2, f32x4.mul(x, d));
      v128.store(g, f32x4.add(sum, d), 16);
      t += 32;
      t2 += 32;
      w += 32;
      g += 32;
    }
    if (n) {
      const x = v128.load(w);
      const d = v128.load(t);
      const d2 = v128.load(t2);
      even = f32x4.add(even, f32x4.mul(x, d));
      even2 = f32x4.add(even2, f32x4.mul(x, d2));
      v128.store(g, f32x4.add(f32x4.add(v128.load(g), d), d2));
      t += 16;
      t2 += 16;
      w += 16;
    }
    t += ts;
    t2 += ts;
    w += ws;
  } while (--runs);
  give(place, accumulate, tree(even, odd));
  return tree(even2, odd2);
}
