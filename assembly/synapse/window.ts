// A convolution by its outputs instead of its events: where activity is dense, sums in registers beat scattered ones.
// Every sum has the order of fanout.ts (input row, column, channel ascending), so what is chosen changes no bit.
//
//   gather   an input row's spikes are listed once, with where each column begins; the part of a row that an output sees
//            is one stretch of that list. 32 channels of an output stay in registers while a stretch is walked: one load
//            an addition. Kernel rows are outermost (descending runs: input rows ascending for every output), so that one
//            of them stays in the first-level cache.
//   product  the input, bordered, as the dense matrix of its windows; see matrix.ts.

import { Activity, ActivityKind, Fanout, FanoutColumn, FanoutRow, MATRIX_SCRATCH, Window } from "../abi";
import { at } from "../view";
import { COLUMNS, DEPTH, HEIGHT, packValues, product, ROWS, VALUES, WEIGHTS } from "./matrix";

/** Percent of the inputs, active, from which the dense product wins: spikes, each counting 1, and values. */
export const DENSE_BITS: u64 = 75;
export const DENSE_VALUES: u64 = 40;

/** Spikes in an output's part of an input row from which lists beat scattering; lists beat the dense product too. */
const STRETCH: u64 = 6;

/** Currents of one step, if this way is the better one; false if nothing has been done. */
export function windowForward(fanout: usize, window: usize, frame: usize): bool {
  const activity = load<u32>(fanout, Fanout.Activity) as usize;
  const kind = load<u32>(activity, Activity.Kind);
  const rows = load<u32>(activity, Activity.Rows);
  const rowLength = load<u32>(activity, Activity.RowLength);
  const data = at(load<u32>(activity, Activity.Data), frame);
  const amplitude = load<u32>(activity, Activity.Amplitude) as usize;
  const all = (rows as u64) * rowLength;
  const spikes = kind == ActivityKind.Bits;
  const active = (spikes ? countBits(data, rows * load<u32>(activity, Activity.RowWords)) : countValues(data, all as usize)) as u64;
  if (!spikes || amplitude) {
    if (active * 100 < all * DENSE_VALUES) return false;
    windowProduct(fanout, window, data, amplitude ? at(amplitude, frame) : 0, frame);
    return true;
  }
  if (active * load<u32>(window, Window.Kernel) < (rows as u64) * load<u32>(window, Window.Columns) * STRETCH) return false;
  gather(fanout, window, data, frame);
  return true;
}

export function countBits(data: usize, words: u32): u32 {
  let sum: u32 = 0;
  for (; words; --words, data += 4) sum += popcnt(load<u32>(data));
  return sum;
}

export function countValues(data: usize, count: usize): u32 {
  let sum: u32 = 0;
  for (const end = data + (count << 2); data < end; data += 4) sum += (load<f32>(data) != 0) as u32;
  return sum;
}

/** Appends an entry for each of the bits [from, to) of `data`; returns the end of the list. */
@inline
function list(data: usize, from: u32, to: u32, columns: usize, entry: usize): usize {
  while (from < to) {
    const shift = from & 31;
    const count = min<u32>(32 - shift, to - from);
    let word = load<u32>(data + ((from >> 5) << 2)) >> shift;
    if (count < 32) word &= (1 << count) - 1;
    for (; word; word &= word - 1) {
      const column = columns + ((from + ctz(word)) as usize) * FanoutColumn.Size;
      store<u32>(entry, load<u32>(column, FanoutColumn.Weight) - load<u32>(column, FanoutColumn.Target));
      entry += 4;
    }
    from += count;
  }
  return entry;
}

export function gather(fanout: usize, window: usize, data: usize, frame: usize): void {
  const activity = load<u32>(fanout, Fanout.Activity) as usize;
  const rows = load<u32>(activity, Activity.Rows);
  const rowBytes = (load<u32>(activity, Activity.RowWords) as usize) << 2;
  const width = load<u32>(window, Window.Columns);
  const channels = load<u32>(window, Window.Channels);
  const padding = load<u32>(window, Window.Padding);
  const columns = load<u32>(fanout, Fanout.Columns) as usize;
  const starts = at(load<u32>(fanout, Fanout.Scratch), frame);
  const startBytes = ((width + 2 * padding + 1) as usize) << 2;
  let start = starts;
  let entry = starts + rows * startBytes;
  for (let row: u32 = 0; row < rows; ++row, data += rowBytes) {
    for (let x: u32 = 0; x < padding; ++x, start += 4) store<u32>(start, entry as u32);
    for (let x: u32 = 0; x < width; ++x, start += 4) {
      store<u32>(start, entry as u32);
      entry = list(data, x * channels, (x + 1) * channels, columns, entry);
    }
    for (let x: u32 = 0; x <= padding; ++x, start += 4) store<u32>(start, entry as u32);
  }

  const cell = load<u32>(window, Window.CellBytes) as usize;
  const origin = load<u32>(window, Window.Origin) as usize;
  const target = at(load<u32>(fanout, Fanout.Target), frame) + origin;
  const weights = at(load<u32>(fanout, Fanout.Weight), frame) + origin;
  for (let o: usize = 0; o < cell; ) {
    const rest = cell - o;
    if (rest >= 128) {
      gatherPanel(fanout, window, starts, startBytes, target + o, weights + o, 128);
      o += 128;
    } else if (rest >= 64) {
      gatherPanel(fanout, window, starts, startBytes, target + o, weights + o, 64);
      o += 64;
    } else {
      gatherPanel(fanout, window, starts, startBytes, target + o, weights + o, 16);
      o += 16;
    }
  }
}

@inline
function gatherPanel(
  fanout: usize,
  window: usize,
  starts: usize,
  startBytes: usize,
  target: usize,
  weights: usize,
  bytes: usize,
): void {
  const rows = load<u32>(load<u32>(fanout, Fanout.Activity), Activity.Rows);
  const ts = load<u32>(fanout, Fanout.TargetStride) as usize;
  const ws = load<u32>(fanout, Fanout.WeightStride) as usize;
  const kernel = (load<u32>(window, Window.Kernel) as usize) << 2;
  const step = (load<u32>(window, Window.Stride) as usize) << 2;
  const cell = load<u32>(window, Window.CellBytes) as usize;
  const low = load<u32>(window, Window.LowRow);
  const outRows = load<u32>(window, Window.OutRows);
  const outColumns = load<u32>(window, Window.OutColumns);
  let run = load<u32>(window, Window.MostRuns);
  while (run--) {
    let info = load<u32>(fanout, Fanout.RowTable) as usize;
    let stretch = starts;
    for (let row: u32 = 0; row < rows; ++row, info += FanoutRow.Size, stretch += startBytes) {
      if (run >= load<u32>(info, FanoutRow.Runs)) continue;
      const first = load<u32>(info, FanoutRow.Target) as usize;
      // Rows of the border are as far as an unsigned number can be.
      if ((first / ts) as u32 + run - low >= outRows) continue;
      let t = target + first + run * ts;
      let w = weights + load<u32>(info, FanoutRow.Weight) + run * ws;
      let at = stretch;
      for (let x: u32 = 0; x < outColumns; ++x, at += step, t += cell, w += cell) {
        const entry = load<u32>(at) as usize;
        const end = load<u32>(at + kernel) as usize;
        if (entry == end) continue;
        if (bytes == 128) walk128(entry, end, w, t);
        else if (bytes == 64) walk64(entry, end, w, t);
        else walk16(entry, end, w, t);
      }
    }
  }
}

/** 32 sums at t += those at w + entry, for every entry of [entry, end). */
export function walk128(entry: usize, end: usize, w: usize, t: usize): void {
  walk(entry, end, w, t, 128);
}

/** Sixteen. */
export function walk64(entry: usize, end: usize, w: usize, t: usize): void {
  walk(entry, end, w, t, 64);
}

/** Four. */
export function walk16(entry: usize, end: usize, w: usize, t: usize): void {
  walk(entry, end, w, t, 16);
}

@inline
function walk(entry: usize, end: usize, w: usize, t: usize, bytes: usize): void {
  if (ASC_FEATURE_SIMD) {
    let a = v128.load(t);
    let b = bytes > 16 ? v128.load(t, 16) : a;
    let c = bytes > 16 ? v128.load(t, 32) : a;
    let d = bytes > 16 ? v128.load(t, 48) : a;
    let e = bytes > 64 ? v128.load(t, 64) : a;
    let f = bytes > 64 ? v128.load(t, 80) : a;
    let g = bytes > 64 ? v128.load(t, 96) : a;
    let h = bytes > 64 ? v128.load(t, 112) : a;
    for (; entry < end; entry += 4) {
      const p = w + load<u32>(entry);
      a = f32x4.add(a, v128.load(p));
      if (bytes > 16) {
        b = f32x4.add(b, v128.load(p, 16));
        c = f32x4.add(c, v128.load(p, 32));
        d = f32x4.add(d, v128.load(p, 48));
      }
      if (bytes > 64) {
        e = f32x4.add(e, v128.load(p, 64));
        f = f32x4.add(f, v128.load(p, 80));
        g = f32x4.add(g, v128.load(p, 96));
        h = f32x4.add(h, v128.load(p, 112));
      }
    }
    v128.store(t, a);
    if (bytes > 16) {
      v128.store(t, b, 16);
      v128.store(t, c, 32);
      v128.store(t, d, 48);
    }
    if (bytes > 64) {
      v128.store(t, e, 64);
      v128.store(t, f, 80);
      v128.store(t, g, 96);
      v128.store(t, h, 112);
    }
    return;
  }
  for (; entry < end; entry += 4) {
    const p = w + load<u32>(entry);
    for (let k: usize = 0; k < bytes; k += 4) store<f32>(t + k, load<f32>(t + k) + load<f32>(p + k));
  }
}

export function windowProduct(fanout: usize, window: usize, data: usize, amplitude: usize, frame: usize): void {
  const activity = load<u32>(fanout, Fanout.Activity) as usize;
  const rows = load<u32>(activity, Activity.Rows);
  const rowLength = load<u32>(activity, Activity.RowLength);
  const channels = load<u32>(window, Window.Channels);
  const padding = load<u32>(window, Window.Padding);
  const kernel = load<u32>(window, Window.Kernel);
  const stride = load<u32>(window, Window.Stride);
  const cell = load<u32>(window, Window.CellBytes) as usize;
  const outRows = load<u32>(window, Window.OutRows);
  const outColumns = load<u32>(window, Window.OutColumns);
  const places = load<u32>(window, Window.Places) as usize;
  const ts = load<u32>(fanout, Fanout.TargetStride) as usize;
  const scratch = at(load<u32>(fanout, Fanout.Scratch), frame);
  const weights = at(load<u32>(fanout, Fanout.Weight), frame);
  const field =
    at(load<u32>(fanout, Fanout.Target), frame) + load<u32>(window, Window.LowRow) * ts + load<u32>(window, Window.Origin);
  const plane = scratch + MATRIX_SCRATCH;

  // The input with its border of zeros.
  const planeRow = (rowLength + 2 * padding * channels) << 2;
  memory.fill(plane, 0, (rows + 2 * padding) * planeRow);
  let to = plane + padding * planeRow + ((padding * channels) << 2);
  if (load<u32>(activity, Activity.Kind) == ActivityKind.Values) {
    for (let row: u32 = 0; row < rows; ++row, to += planeRow, data += rowLength << 2) memory.copy(to, data, rowLength << 2);
  } else {
    const rowWords = load<u32>(activity, Activity.RowWords);
    for (let row: u32 = 0; row < rows; ++row, to += planeRow) {
      for (let j: u32 = 0; j < rowWords; ++j, data += 4) {
        for (let word = load<u32>(data); word; word &= word - 1) {
          const place = ((j << 5) + ctz(word)) << 2;
          store<f32>(to + place, amplitude ? load<f32>(amplitude + place) : 1);
        }
      }
      if (amplitude) amplitude += rowLength << 2;
    }
  }

  const real = load<u32>(window, Window.RealChannels);
  const all = kernel * kernel * real;
  const outputs = outRows * outColumns;
  for (let first: u32 = 0; first < all; first += DEPTH) {
    const depth = min<u32>(DEPTH, all - first);
    for (let k: u32 = 0; k < depth; ++k) {
      const tap = (first + k) / real;
      const c = first + k - tap * real;
      const ky = tap / kernel;
      const kx = tap - ky * kernel;
      store<u32>(scratch + (k << 2), ky * planeRow + ((kx * channels + c) << 2), COLUMNS);
      const place = (c * kernel + load<u32>(places + (ky << 2))) * kernel + load<u32>(places + (kx << 2));
      store<u32>(scratch + (k << 2), (weights + place * cell) as u32, WEIGHTS);
    }
    let y: u32 = 0;
    let x: u32 = 0;
    for (let done: u32 = 0; done < outputs; done += HEIGHT) {
      const count = min<u32>(HEIGHT, outputs - done);
      for (let i: u32 = 0; i < ((count + 3) & ~3); ++i) {
        store<u32>(scratch + (i << 2), (field + y * ts + x * cell) as u32, ROWS);
        store<u32>(scratch + (i << 2), (plane + y * stride * planeRow + ((x * stride * channels) << 2)) as u32, VALUES);
        // What fills the last tile sees the last window again.
        if (i + 1 >= count) continue;
        if (++x == outColumns) {
          x = 0;
          ++y;
        }
      }
      if (++x == outColumns) {
        x = 0;
        ++y;
      }
      packValues(scratch, count, depth);
      product(scratch, count, depth, cell);
    }
  }
}
