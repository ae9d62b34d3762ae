// Spikes of one sample in the order of their times: what single-spike neurons listen to.
//
// A timeline is a header of 16 bytes (bytes of its spikes, 12 unused), then one record a spike (abi.ts, Timeline), ascending in
// time, equal times ascending in position. Silent positions (+inf) are left out. Each spike knows how long it is to the
// next one; after the last it is +inf.
//
// Sorting is a stable radix sort by bytes of the times' bits, insertion for short lists: bound by loads and stores.

import { ConvTimeline, Timeline, TimelineSort } from "../abi";
import { at } from "../view";

/** Lists up to this long are sorted by insertion: clearing the histograms would cost more. */
const SHORT: u32 = 40;

/** Bytes of a (key, position) pair. */
const PAIR: u32 = 8;

/** Bits of a time, ordered as unsigned numbers like the times themselves. */
@inline
function orderedBits(t: f32): u32 {
  const bits = reinterpret<u32>(t);
  return bits ^ ((((bits as i32) >> 31) as u32) | 0x80000000);
}

@inline
function timeOf(key: u32): f32 {
  return reinterpret<f32>(key ^ ((~((key as i32) >> 31) as u32) | 0x80000000));
}

/** Sorts `count` pairs at `pairs`; `spare` is as large; `histogram`: 4 KiB. Returns where the sorted pairs are. */
function sortPairs(pairs: usize, spare: usize, count: u32, histogram: usize): usize {
  if (count <= SHORT) {
    const end = pairs + count * PAIR;
    for (let p = pairs + PAIR; p < end; p += PAIR) {
      const pair = load<u64>(p);
      let q = p;
      while (q > pairs && load<u32>(q - PAIR) > (pair as u32)) {
        store<u64>(q, load<u64>(q - PAIR));
        q -= PAIR;
      }
      store<u64>(q, pair);
    }
    return pairs;
  }
  memory.fill(histogram, 0, 4096);
  for (let i: u32 = 0; i < count; ++i) {
    const key = load<u32>(pairs + i * PAIR);
    for (let byte: u32 = 0; byte < 4; ++byte) {
      const bin = histogram + (((byte << 8) + ((key >> (byte << 3)) & 255)) << 2);
      store<u32>(bin, load<u32>(bin) + 1);
    }
  }
  for (let byte: u32 = 0; byte < 4; ++byte) {
    const bins = histogram + (byte << 10);
    const shift = byte << 3;
    // Times of one kind often share their upper bytes.
    if (load<u32>(bins + (((load<u32>(pairs) >> shift) & 255) << 2)) == count) continue;
    let sum: u32 = 0;
    for (let bin: usize = 0; bin < 1024; bin += 4) {
      const n = load<u32>(bins + bin);
      store<u32>(bins + bin, sum);
      sum += n;
    }
    for (let i: u32 = 0; i < count; ++i) {
      const pair = load<u64>(pairs + i * PAIR);
      const bin = bins + ((((pair as u32) >> shift) & 255) << 2);
      const place = load<u32>(bin);
      store<u32>(bin, place + 1);
      store<u64>(spare + place * PAIR, pair);
    }
    const sorted = spare;
    spare = pairs;
    pairs = sorted;
  }
  return pairs;
}

/** Times of a layer to its timeline. */
export function sortTimes(record: usize, frame: usize): void {
  const count = load<u32>(record, TimelineSort.Count);
  const times = at(load<u32>(record, TimelineSort.Times), frame);
  const list = at(load<u32>(record, TimelineSort.List), frame);
  const histogram = at(load<u32>(record, TimelineSort.Scratch), frame);
  const rows = load<u32>(record, TimelineSort.Rows) as usize;
  const pairs = histogram + 4096;
  const spare = pairs + count * PAIR;
  let spikes: u32 = 0;
  for (let i: u32 = 0; i < count; ++i) {
    const t = load<f32>(times + (i << 2));
    if (t == Infinity) continue;
    store<u32>(pairs + spikes * PAIR, orderedBits(t));
    store<u32>(pairs + spikes * PAIR, i, 4);
    ++spikes;
  }
  const sorted = sortPairs(pairs, spare, spikes, histogram);
  store<u32>(list, spikes * Timeline.Size);
  let spike = list + Timeline.Size;
  let t: f32 = spikes ? timeOf(load<u32>(sorted)) : 0;
  for (let i: u32 = 0; i < spikes; ++i, spike += Timeline.Size) {
    const position = load<u32>(sorted + i * PAIR, 4);
    const next: f32 = i + 1 < spikes ? timeOf(load<u32>(sorted + (i + 1) * PAIR)) : Infinity;
    store<u32>(spike, rows ? load<u32>(rows + (position << 2)) : 0, Timeline.Weight);
    store<u32>(spike, position, Timeline.Source);
    store<f32>(spike, t, Timeline.Time);
    store<f32>(spike, next - t, Timeline.Wait);
    t = next;
  }
}

/** Deals the spikes of a map's timeline out to one timeline for each position of a convolution's output. */
export function dealTimes(record: usize, list: usize, lists: usize): void {
  const channels = load<u32>(record, ConvTimeline.Channels);
  const rowLength = load<u32>(record, ConvTimeline.RowLength);
  const rowTable = load<u32>(record, ConvTimeline.Rows) as usize;
  const columnTable = load<u32>(record, ConvTimeline.Columns) as usize;
  const entry = load<u32>(record, ConvTimeline.EntryBytes) as usize;
  const bytes = load<u32>(record, ConvTimeline.ListBytes) as usize;
  const all = lists + bytes * load<u32>(record, ConvTimeline.Positions);
  for (let header = lists; header < all; header += bytes) store<u32>(header, 0);
  const end = list + Timeline.Size + load<u32>(list);
  for (let spike = list + Timeline.Size; spike < end; spike += Timeline.Size) {
    const source = load<u32>(spike, Timeline.Source);
    const t = load<f32>(spike, Timeline.Time);
    const y = source / rowLength;
    const within = source - y * rowLength;
    const x = within / channels;
    const weight = (within - x * channels) << 6;
    const down = rowTable + (y as usize) * entry;
    const across = columnTable + (x as usize) * entry;
    const downs = down + (load<u32>(down) << 3);
    const acrosses = across + (load<u32>(across) << 3);
    for (let d = down; d < downs; d += 8) {
      const row = lists + load<u32>(d, 4);
      const rowWeight = weight + load<u32>(d, 8);
      for (let a = across; a < acrosses; a += 8) {
        const header = row + load<u32>(a, 4);
        const used = load<u32>(header);
        const to = header + Timeline.Size + used;
        store<u32>(header, used + Timeline.Size);
        store<u32>(to, rowWeight + load<u32>(a, 8), Timeline.Weight);
        store<u32>(to, source, Timeline.Source);
        store<f32>(to, t, Timeline.Time);
        store<f32>(to, Infinity, Timeline.Wait);
        // The first spike writes into the header's unused bytes.
        store<f32>(to - Timeline.Size, t - load<f32>(to - Timeline.Size, Timeline.Time), Timeline.Wait);
      }
    }
  }
}
