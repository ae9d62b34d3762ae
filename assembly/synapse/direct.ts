// The first dense synapse under direct input: the same real values at every step, so the current is computed once a sample,
// and the weight gradient once, from the deltas summed over the steps. Both go over the whole batch at a time:
//
//   forward    I_sj = b_j + Σ_i w_ij x_si       ascending i, inputs of 0 left out
//   backward   dw_ij = Σ_s x_si D_sj            ascending s;  db_j = Σ_s D_sj      with D_s = Σ_t D_st
//
// Inputs are listed by the row of weights that they meet. Forward: thirty-two weights of a row stay in registers while all
// samples that have the input add them to currents in the first-level cache, so that weights are fetched once a batch; bound by
// loads and stores of currents. Backward: thirty-two gradients stay in registers while the same samples add their deltas;
// bound by the loads of these from the second-level cache.

import { Control, Direct, DIRECT_GROUP, DIRECT_PARTS, Frame, View } from "../abi";
import { nextPart } from "../team";
import { at, isFirst } from "../view";
import { addScaled } from "./fanout";

/**
 * An entry: byte offset of the sample, value. A row: byte offset of its weights, end of its entries; 0 behind the last. In front
 * of the rows stands the end of all their entries. Where a group is one sample, entries have the offset of the weights.
 */
const ENTRY: usize = 8;

function samplesOf(frame: usize): usize {
  return load<u32>(load<u32>(frame, Frame.Control), Control.Samples) as usize;
}

/** Parts of the inputs that ranks take turns at; a rank that is alone takes all at once. */
@inline
function partsOf(frame: usize): usize {
  return ASC_FEATURE_THREADS && load<u32>(frame, Frame.Ranks) > 1 ? DIRECT_PARTS : 1;
}

/** First input of part `part`. */
@inline
function firstOf(count: usize, part: usize, frame: usize): usize {
  return (count * part) / partsOf(frame);
}

/** Where the rows of a part begin, and their entries. */
@inline
function rowsOf(record: usize, group: usize, first: usize, part: usize): usize {
  return (load<u32>(record, Direct.Rows) as usize) + group * load<u32>(record, Direct.RowsBytes) + (first + 2 * part) * ENTRY;
}

@inline
function entriesOf(record: usize, group: usize, first: usize): usize {
  const bytes = load<u32>(record, Direct.EntriesBytes) as usize;
  return (load<u32>(record, Direct.Entries) as usize) + group * bytes * load<u32>(record, Direct.Count) + first * bytes;
}

/** Lists the inputs that are not 0. */
export function directGather(record: usize, frame: usize): void {
  const samples = samplesOf(frame);
  const inputView = load<u32>(record, Direct.Input) as usize;
  const input = load<u32>(inputView, View.Base) as usize;
  const inputStride = load<u32>(inputView, View.PerSample) as usize;
  const sampleStride = load<u32>(load<u32>(record, Direct.Current), View.PerSample) as usize;
  const stride = load<u32>(record, Direct.WeightStride) as usize;
  const count = load<u32>(record, Direct.Count) as usize;
  const parts = partsOf(frame);
  for (let part = nextPart(0, parts, frame); part < parts; part = nextPart(part + 1, parts, frame)) {
    const first = firstOf(count, part, frame);
    const end = firstOf(count, part + 1, frame);
    for (let s: usize = 0, group: usize = 0; s < samples; s += DIRECT_GROUP, ++group) {
      const last = min<usize>(s + DIRECT_GROUP, samples);
      const head = rowsOf(record, group, first, part);
      let row = head + ENTRY;
      let entry = entriesOf(record, group, first);
      for (let i = first; i < end; ++i) {
        const begin = entry;
        for (let k = s; k < last; ++k) {
          // Written always, kept if not 0: no branch to mispredict.
          const x = load<f32>(input + k * inputStride + (i << 2));
          store<u32>(entry, (last - s == 1 ? i * stride : k * sampleStride) as u32);
          store<f32>(entry, x, 4);
          entry += x != 0 ? ENTRY : 0;
        }
        store<u32>(row, (i * stride) as u32);
        store<u32>(row, entry as u32, 4);
        row += entry != begin ? ENTRY : 0;
      }
      store<u32>(row, 0, 4);
      store<u32>(head, entry as u32);
    }
  }
}

export function directForward(record: usize, frame: usize): void {
  const samples = samplesOf(frame);
  const currentView = load<u32>(record, Direct.Current) as usize;
  const currents = load<u32>(currentView, View.Base) as usize;
  const sampleStride = load<u32>(currentView, View.PerSample) as usize;
  const weights = at(load<u32>(record, Direct.Weight), frame);
  const bias = at(load<u32>(record, Direct.Bias), frame);
  const bytes = (load<u32>(record, Direct.Outputs) as usize) << 2;
  const count = load<u32>(record, Direct.Count) as usize;
  const parts = partsOf(frame);
  // Of thirty-two outputs each.
  const panels = (bytes + 127) >> 7;
  for (let s: usize = 0, group: usize = 0; s < samples; s += DIRECT_GROUP, ++group) {
    const last = min<usize>(s + DIRECT_GROUP, samples);
    for (let p = nextPart(0, panels, frame); p < panels; p = nextPart(p + 1, panels, frame)) {
      const o = p << 7;
      const width = min<usize>(bytes - o, 128);
      for (let k = s; k < last; ++k) memory.copy(currents + k * sampleStride + o, bias + o, width);
      for (let part: usize = 0; part < parts; ++part) {
        const first = firstOf(count, part, frame);
        let entry = entriesOf(record, group, first);
        let row = rowsOf(record, group, first, part);
        if (last - s == 1) {
          const to = currents + s * sampleStride + o;
          panel(entry, load<u32>(row), weights + o, to, to, width);
          continue;
        }
        row += ENTRY;
        for (;;) {
          const next = load<u32>(row, 4) as usize;
          if (!next) break;
          spread(entry, next, weights + load<u32>(row) + o, currents + o, width);
          entry = next;
          row += ENTRY;
        }
      }
    }
  }
}

/** What is `bytes` long at `row` (at most 128), times the value of each entry, is added at its place behind `base`. */
function spread(entry: usize, end: usize, row: usize, base: usize, bytes: usize): void {
  if (ASC_FEATURE_SIMD) {
    if (bytes == 128) {
      const a = v128.load(row);
      const b = v128.load(row, 16);
      const c = v128.load(row, 32);
      const d = v128.load(row, 48);
      const e = v128.load(row, 64);
      const f = v128.load(row, 80);
      const g = v128.load(row, 96);
      const h = v128.load(row, 112);
      do {
        const to = base + load<u32>(entry);
        const x = v128.load32_splat(entry, 4);
        v128.store(to, f32x4.add(v128.load(to), f32x4.mul(a, x)));
        v128.store(to, f32x4.add(v128.load(to, 16), f32x4.mul(b, x)), 16);
        v128.store(to, f32x4.add(v128.load(to, 32), f32x4.mul(c, x)), 32);
        v128.store(to, f32x4.add(v128.load(to, 48), f32x4.mul(d, x)), 48);
        v128.store(to, f32x4.add(v128.load(to, 64), f32x4.mul(e, x)), 64);
        v128.store(to, f32x4.add(v128.load(to, 80), f32x4.mul(f, x)), 80);
        v128.store(to, f32x4.add(v128.load(to, 96), f32x4.mul(g, x)), 96);
        v128.store(to, f32x4.add(v128.load(to, 112), f32x4.mul(h, x)), 112);
        entry += ENTRY;
      } while (entry < end);
      return;
    }
  }
  for (; entry < end; entry += ENTRY) {
    addScaled(base + load<u32>(entry), row, load<f32>(entry, 4), (bytes >> 4) as i32, 1, 0, 0);
  }
}

export function directBackward(record: usize, frame: usize): void {
  const samples = samplesOf(frame);
  const sumView = load<u32>(record, Direct.Sum) as usize;
  const sums = load<u32>(sumView, View.Base) as usize;
  const sampleStride = load<u32>(sumView, View.PerSample) as usize;
  const bytes = (load<u32>(record, Direct.Outputs) as usize) << 2;
  const count = load<u32>(record, Direct.Count) as usize;
  const stride = load<u32>(record, Direct.WeightStride) as usize;
  const gradient = at(load<u32>(record, Direct.Gradient), frame);
  if (isFirst(frame)) {
    const biasGradient = at(load<u32>(record, Direct.BiasGradient), frame);
    memory.fill(biasGradient, 0, bytes);
    for (let s: usize = 0; s < samples; ++s) addScaled(biasGradient, sums + s * sampleStride, 1, (bytes >> 4) as i32, 1, 0, 0);
  }
  const parts = partsOf(frame);
  for (let part = nextPart(0, parts, frame); part < parts; part = nextPart(part + 1, parts, frame)) {
    const first = firstOf(count, part, frame);
    const end = gradient + firstOf(count, part + 1, frame) * stride;
    for (let s: usize = 0, group: usize = 0; s < samples; s += DIRECT_GROUP, ++group) {
      let entry = entriesOf(record, group, first);
      let row = rowsOf(record, group, first, part) + ENTRY;
      const one = samples - s == 1;
      let done = gradient + first * stride;
      for (;;) {
        const next = load<u32>(row, 4) as usize;
        const to = next ? gradient + load<u32>(row) : end;
        // Inputs that no sample has.
        if (!s) memory.fill(done, 0, to - done);
        if (!next) break;
        const base = one ? sums + s * sampleStride - load<u32>(row) : sums;
        for (let o: usize = 0; o < bytes; o += 128) {
          panel(entry, next, base + o, s ? to + o : 0, to + o, min<usize>(bytes - o, 128));
        }
        done = to + stride;
        entry = next;
        row += ENTRY;
      }
    }
  }
}

/** `to` = `start` (or 0) + Σ over the entries of value · the run at base + offset, `bytes` long, at most 128. */
export function panel(entry: usize, end: usize, base: usize, start: usize, to: usize, bytes: usize): void {
  if (ASC_FEATURE_SIMD) {
    if (bytes == 128) {
      let a0 = f32x4.splat(0);
      let a1 = a0;
      let a2 = a0;
      let a3 = a0;
      let a4 = a0;
      let a5 = a0;
      let a6 = a0;
      let a7 = a0;
      if (start) {
        a0 = v128.load(start);
        a1 = v128.load(start, 16);
        a2 = v128.load(start, 32);
        a3 = v128.load(start, 48);
        a4 = v128.load(start, 64);
        a5 = v128.load(start, 80);
        a6 = v128.load(start, 96);
        a7 = v128.load(start, 112);
      }
      for (; entry < end; entry += ENTRY) {
        const p = base + load<u32>(entry);
        const x = v128.load32_splat(entry, 4);
        a0 = f32x4.add(a0, f32x4.mul(v128.load(p), x));
        a1 = f32x4.add(a1, f32x4.mul(v128.load(p, 16), x));
        a2 = f32x4.add(a2, f32x4.mul(v128.load(p, 32), x));
        a3 = f32x4.add(a3, f32x4.mul(v128.load(p, 48), x));
        // Never so; ends the block of loads that engines move together, more than there are registers.
        if (!p) break;
        a4 = f32x4.add(a4, f32x4.mul(v128.load(p, 64), x));
        a5 = f32x4.add(a5, f32x4.mul(v128.load(p, 80), x));
        a6 = f32x4.add(a6, f32x4.mul(v128.load(p, 96), x));
        a7 = f32x4.add(a7, f32x4.mul(v128.load(p, 112), x));
      }
      v128.store(to, a0);
      v128.store(to, a1, 16);
      v128.store(to, a2, 32);
      v128.store(to, a3, 48);
      v128.store(to, a4, 64);
      v128.store(to, a5, 80);
      v128.store(to, a6, 96);
      v128.store(to, a7, 112);
      return;
    }
    for (let o: usize = 0; o < bytes; o += 16) {
      let a = start ? v128.load(start + o) : f32x4.splat(0);
      for (let e = entry; e < end; e += ENTRY) {
        a = f32x4.add(a, f32x4.mul(v128.load(base + load<u32>(e) + o), v128.load32_splat(e, 4)));
      }
      v128.store(to + o, a);
    }
    return;
  }
  for (let o: usize = 0; o < bytes; o += 4) {
    let a: f32 = start ? load<f32>(start + o) : 0;
    for (let e = entry; e < end; e += ENTRY) a += load<f32>(base + load<u32>(e) + o) * load<f32>(e, 4);
    store<f32>(to + o, a);
  }
}
