// The first dense synapse under direct input: the same real values at every step, so the current is computed once a sample,
// and the weight gradient once, from the deltas summed over the steps. Both go over the whole batch at a time:
//
//   forward    I_sj = b_j + Σ_i w_ij x_si       ascending i, inputs of 0 left out
//   backward   dw_ij = Σ_s x_si D_sj            ascending s;  db_j = Σ_s D_sj      with D_s = Σ_t D_st
//
// Forward: panels of 32 outputs stay in registers while a sample's inputs are walked, and a panel of weights stays in the
// second-level cache for all samples. Backward: a row of weights takes its samples likewise and is written once. Bound by
// the loads of weights and deltas from that cache.

import { Control, Direct, Frame, View } from "../abi";
import { at } from "../view";

/** A sample's inputs that are not 0: their number, then (byte offset of the weight row, value) each, 16 bytes in. */
const HEAD: usize = 16;

function samplesOf(frame: usize): u32 {
  return load<u32>(load<u32>(frame, Frame.Control), Control.Samples);
}

/** Lists the inputs of every sample of the batch; ranks take samples in turn. */
export function directGather(record: usize, frame: usize): void {
  const samples = samplesOf(frame);
  const inputView = load<u32>(record, Direct.Input) as usize;
  const listView = load<u32>(record, Direct.List) as usize;
  const count = load<u32>(record, Direct.Count) as usize;
  const stride = load<u32>(record, Direct.WeightStride) as usize;
  const ranks = load<u32>(frame, Frame.Ranks);
  for (let s = load<u32>(frame, Frame.Rank); s < samples; s += ranks) {
    const input = load<u32>(inputView, View.Base) + s * load<u32>(inputView, View.PerSample);
    const list = load<u32>(listView, View.Base) + s * load<u32>(listView, View.PerSample);
    let to: usize = list + HEAD;
    for (let i: usize = 0; i < count; ++i) {
      const x = load<f32>(input + (i << 2));
      store<u32>(to, (i * stride) as u32);
      store<f32>(to, x, 4);
      to += x != 0 ? 8 : 0;
    }
    store<u32>(list, ((to - list - HEAD) >> 3) as u32);
  }
}

/** Outputs [first, end) of rank `rank`, in bytes, whole panels of 32 outputs. */
@inline
function share(bytes: usize, index: usize, ranks: usize): usize {
  const panels = (bytes + 127) >> 7;
  return min<usize>(((panels * index) / ranks) << 7, bytes);
}

export function directForward(record: usize, frame: usize): void {
  const samples = samplesOf(frame);
  const listView = load<u32>(record, Direct.List) as usize;
  const currentView = load<u32>(record, Direct.Current) as usize;
  const weights = at(load<u32>(record, Direct.Weight), frame);
  const bias = at(load<u32>(record, Direct.Bias), frame);
  const bytes = (load<u32>(record, Direct.Outputs) as usize) << 2;
  const rank = load<u32>(frame, Frame.Rank) as usize;
  const ranks = load<u32>(frame, Frame.Ranks) as usize;
  const end = share(bytes, rank + 1, ranks);
  for (let o = share(bytes, rank, ranks); o < end; o += 128) {
    for (let s: u32 = 0; s < samples; ++s) {
      const list = (load<u32>(listView, View.Base) + s * load<u32>(listView, View.PerSample)) as usize;
      const current = (load<u32>(currentView, View.Base) + s * load<u32>(currentView, View.PerSample)) as usize;
      const count = load<u32>(list) as usize;
      panel(list + HEAD, list + HEAD + (count << 3), weights + o, bias + o, current + o, min<usize>(end - o, 128));
    }
  }
}

/** `to` = `start` (or 0) + Σ over the list of value · the run at base + offset, `bytes` long, at most 128. */
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
      for (; entry < end; entry += 8) {
        const p = base + load<u32>(entry);
        const x = v128.load32_splat(entry, 4);
        a0 = f32x4.add(a0, f32x4.mul(v128.load(p), x));
        a1 = f32x4.add(a1, f32x4.mul(v128.load(p, 16), x));
        a2 = f32x4.add(a2, f32x4.mul(v128.load(p, 32), x));
        a3 = f32x4.add(a3, f32x4.mul(v128.load(p, 48), x));
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
      for (let e = entry; e < end; e += 8) {
        a = f32x4.add(a, f32x4.mul(v128.load(base + load<u32>(e) + o), v128.load32_splat(e, 4)));
      }
      v128.store(to + o, a);
    }
    return;
  }
  for (let o: usize = 0; o < bytes; o += 4) {
    let a: f32 = start ? load<f32>(start + o) : 0;
    for (let e = entry; e < end; e += 8) a += load<f32>(base + load<u32>(e) + o) * load<f32>(e, 4);
    store<f32>(to + o, a);
  }
}

export function directBackward(record: usize, frame: usize): void {
  const samples = samplesOf(frame);
  const inputView = load<u32>(record, Direct.Input) as usize;
  const input = load<u32>(inputView, View.Base) as usize;
  const inputStride = load<u32>(inputView, View.PerSample) as usize;
  const sumView = load<u32>(record, Direct.Sum) as usize;
  const sums = load<u32>(sumView, View.Base) as usize;
  const sumStride = load<u32>(sumView, View.PerSample);
  const bytes = (load<u32>(record, Direct.Outputs) as usize) << 2;
  const count = load<u32>(record, Direct.Count) as usize;
  const stride = load<u32>(record, Direct.WeightStride) as usize;
  const gradient = at(load<u32>(record, Direct.Gradient), frame);
  const scratch = at(load<u32>(record, Direct.Scratch), frame);
  const rank = load<u32>(frame, Frame.Rank) as usize;
  const ranks = load<u32>(frame, Frame.Ranks) as usize;
  const last = (count * (rank + 1)) / ranks;
  for (let i = (count * rank) / ranks; i < last; ++i) {
    let end = scratch;
    for (let s: u32 = 0; s < samples; ++s) {
      const x = load<f32>(input + s * inputStride + (i << 2));
      store<u32>(end, s * sumStride);
      store<f32>(end, x, 4);
      end += x != 0 ? 8 : 0;
    }
    row(scratch, end, sums, gradient + i * stride, bytes);
  }
  if (rank) return;
  let end = scratch;
  for (let s: u32 = 0; s < samples; ++s, end += 8) {
    store<u32>(end, s * sumStride);
    store<f32>(end, 1, 4);
  }
  row(scratch, end, sums, at(load<u32>(record, Direct.BiasGradient), frame), bytes);
}

function row(list: usize, end: usize, sums: usize, to: usize, bytes: usize): void {
  for (let o: usize = 0; o < bytes; o += 128) {
    panel(list, end, sums + o, 0, to + o, min<usize>(bytes - o, 128));
  }
}
