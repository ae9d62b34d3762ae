// Convolution on real values of a whole batch that are mostly not 0, its border of zeros stored with them:
//
//   forward   U_y,x = b + Σ_tap W_tap · P_patch(y,x),tap      taps ascending: row, column, channel
//   backward  dW_tap,o = Σ δ_o · P_patch,tap                   samples ascending, places ascending
//
// Forward four positions by eight outputs stay in registers while the taps go by, so two loads of weights and four of values
// serve eight multiply-adds. Backward is driven by δ, which behind a max pool is at one position in four: four patches at a
// time are added to the sums of one output, which stay in the nearest cache. Both bound by arithmetic.

import { Control, Frame, Patch } from "../abi";
import { at, endOfShare, firstOfShare } from "../view";

/** Bytes of a panel's eight weights. */
const PANEL: usize = 32;

/** Bytes of a list's entry: address of the patch, δ. */
const ENTRY: usize = 8;

/** The weights in the order in which the forward walk meets them; inputs and outputs that do not exist get 0. */
function pack(patch: usize, frame: usize): void {
  const kernel = load<u32>(patch, Patch.Kernel) as usize;
  const channels = load<u32>(patch, Patch.RealInputs) as usize;
  const rest = ((load<u32>(patch, Patch.InputChannels) as usize) - channels) * PANEL;
  const outputs = load<u32>(patch, Patch.Outputs) as usize;
  const taps = load<u32>(patch, Patch.Taps) as usize;
  const tapStride = load<u32>(patch, Patch.TapStride) as usize;
  const weight = at(load<u32>(patch, Patch.Weight), frame);
  let to = load<u32>(patch, Patch.Packed) as usize;
  for (let o: usize = 0; o < outputs; o += 8) {
    for (let tap: usize = 0; tap < kernel * kernel; ++tap) {
      let from = weight + load<u32>(taps + (tap << 2)) + (o << 2);
      for (let c: usize = 0; c < channels; ++c, from += tapStride, to += PANEL) {
        memory.copy(to, from, 16);
        if (o + 4 < outputs) memory.copy(to + 16, from + 16, 16);
        else memory.fill(to + 16, 0, 16);
      }
      memory.fill(to, 0, rest);
      to += rest;
    }
  }
}

/** Four output positions by eight outputs: their sums on top of the bias at `from`. */
function tile(
  to0: usize, to1: usize, to2: usize, to3: usize, from: usize, wide: bool,
  w: usize, p0: usize, p1: usize, p2: usize, p3: usize, rows: usize, run: usize, rowBytes: usize,
): void {
  const skip = rowBytes - (run << 2);
  if (ASC_FEATURE_SIMD) {
    let a0 = v128.load(from);
    let b0 = wide ? v128.load(from, 16) : f32x4.splat(0);
    let a1 = a0;
    let b1 = b0;
    let a2 = a0;
    let b2 = b0;
    let a3 = a0;
    let b3 = b0;
    do {
      let n = run;
      do {
        const x = v128.load(w);
        const y = v128.load(w, 16);
        let p = v128.load32_splat(p0);
        a0 = f32x4.add(a0, f32x4.mul(x, p));
        b0 = f32x4.add(b0, f32x4.mul(y, p));
        p = v128.load32_splat(p1);
        a1 = f32x4.add(a1, f32x4.mul(x, p));
        b1 = f32x4.add(b1, f32x4.mul(y, p));
        p = v128.load32_splat(p2);
        a2 = f32x4.add(a2, f32x4.mul(x, p));
        b2 = f32x4.add(b2, f32x4.mul(y, p));
        p = v128.load32_splat(p3);
        a3 = f32x4.add(a3, f32x4.mul(x, p));
        b3 = f32x4.add(b3, f32x4.mul(y, p));
        w += PANEL;
        p0 += 4;
        p1 += 4;
        p2 += 4;
        p3 += 4;
      } while (--n);
      p0 += skip;
      p1 += skip;
      p2 += skip;
      p3 += skip;
    } while (--rows);
    v128.store(to0, a0);
    v128.store(to1, a1);
    v128.store(to2, a2);
    v128.store(to3, a3);
    if (wide) {
      v128.store(to0, b0, 16);
      v128.store(to1, b1, 16);
      v128.store(to2, b2, 16);
      v128.store(to3, b3, 16);
    }
  } else {
    const bytes: usize = wide ? 32 : 16;
    for (let k: usize = 0; k < bytes; k += 4) {
      column(to0 + k, from + k, w + k, p0, rows, run, skip);
      column(to1 + k, from + k, w + k, p1, rows, run, skip);
      column(to2 + k, from + k, w + k, p2, rows, run, skip);
      column(to3 + k, from + k, w + k, p3, rows, run, skip);
    }
  }
}

/** One output of one position. */
function column(to: usize, from: usize, w: usize, p: usize, rows: usize, run: usize, skip: usize): void {
  let sum = load<f32>(from);
  for (; rows; --rows, p += skip) {
    for (let n = run; n; --n, w += PANEL, p += 4) sum += load<f32>(w) * load<f32>(p);
  }
  store<f32>(to, sum);
}

export function patchForward(patch: usize, frame: usize): void {
  // Each rank packs all of them, to the same bits: nobody has to wait.
  pack(patch, frame);
  const samples = load<u32>(load<u32>(frame, Frame.Control), Control.Samples) as usize;
  const first = firstOfShare(samples, frame) as u32;
  const last = endOfShare(samples, frame) as u32;
  const kernel = load<u32>(patch, Patch.Kernel) as usize;
  const run = load<u32>(patch, Patch.Run) as usize;
  const rowBytes = load<u32>(patch, Patch.RowBytes) as usize;
  const positions = load<u32>(patch, Patch.Positions) as usize;
  const offsets = load<u32>(patch, Patch.Offsets) as usize;
  const outputs = load<u32>(patch, Patch.Outputs) as usize;
  const bias = at(load<u32>(patch, Patch.Bias), frame);
  const panelBytes = kernel * run * PANEL;
  const end = positions - 1;
  for (let sample = first; sample < last; ++sample) {
    store<u32>(frame, sample, Frame.Sample);
    const input = at(load<u32>(patch, Patch.Input), frame);
    const target = at(load<u32>(patch, Patch.Target), frame);
    let w = load<u32>(patch, Patch.Packed) as usize;
    for (let o: usize = 0; o < outputs; o += 8, w += panelBytes) {
      const wide = o + 4 < outputs;
      const to = target + (o << 2);
      // What is past the last position is the last one again.
      for (let i: usize = 0; i < positions; i += 4) {
        const i1 = min(i + 1, end);
        const i2 = min(i + 2, end);
        const i3 = min(i + 3, end);
        tile(
          to + ((i * outputs) << 2), to + ((i1 * outputs) << 2), to + ((i2 * outputs) << 2), to + ((i3 * outputs) << 2),
          bias + (o << 2), wide, w,
          input + load<u32>(offsets + (i << 2)), input + load<u32>(offsets + (i1 << 2)),
          input + load<u32>(offsets + (i2 << 2)), input + load<u32>(offsets + (i3 << 2)),
          kernel, run, rowBytes,
        );
      }
    }
  }
  store<u32>(frame, 0, Frame.Sample);
}

/** Adds four patches, each times its δ, to the sums of one output. */
function add4(to: usize, list: usize, rows: usize, runBytes: usize, rowBytes: usize): void {
  let p0 = load<u32>(list) as usize;
  let p1 = load<u32>(list, 8) as usize;
  let p2 = load<u32>(list, 16) as usize;
  let p3 = load<u32>(list, 24) as usize;
  const skip = rowBytes - runBytes;
  if (ASC_FEATURE_SIMD) {
    const d0 = v128.load32_splat(list, 4);
    const d1 = v128.load32_splat(list, 12);
    const d2 = v128.load32_splat(list, 20);
    const d3 = v128.load32_splat(list, 28);
    do {
      const end = to + runBytes;
      do {
        let sum = f32x4.add(v128.load(to), f32x4.mul(v128.load(p0), d0));
        sum = f32x4.add(sum, f32x4.mul(v128.load(p1), d1));
        sum = f32x4.add(sum, f32x4.mul(v128.load(p2), d2));
        sum = f32x4.add(sum, f32x4.mul(v128.load(p3), d3));
        v128.store(to, sum);
        to += 16;
        p0 += 16;
        p1 += 16;
        p2 += 16;
        p3 += 16;
      } while (to < end);
      p0 += skip;
      p1 += skip;
      p2 += skip;
      p3 += skip;
    } while (--rows);
  } else {
    const d0 = load<f32>(list, 4);
    const d1 = load<f32>(list, 12);
    const d2 = load<f32>(list, 20);
    const d3 = load<f32>(list, 28);
    for (; rows; --rows) {
      const end = to + runBytes;
      for (; to < end; to += 4, p0 += 4, p1 += 4, p2 += 4, p3 += 4) {
        let sum = load<f32>(to) + load<f32>(p0) * d0;
        sum += load<f32>(p1) * d1;
        sum += load<f32>(p2) * d2;
        sum += load<f32>(p3) * d3;
        store<f32>(to, sum);
      }
      p0 += skip;
      p1 += skip;
      p2 += skip;
      p3 += skip;
    }
  }
}

export function patchBackward(patch: usize, frame: usize): void {
  const samples = load<u32>(load<u32>(frame, Frame.Control), Control.Samples);
  const kernel = load<u32>(patch, Patch.Kernel) as usize;
  // Whole vectors: what they hold past the run ends up in sums that nothing reads.
  const runBytes = (load<u32>(patch, Patch.RunStride) as usize) << 2;
  const rowBytes = load<u32>(patch, Patch.RowBytes) as usize;
  const offsets = load<u32>(patch, Patch.Offsets) as usize;
  const outputs = load<u32>(patch, Patch.Outputs) as usize;
  const real = load<u32>(patch, Patch.RealOutputs) as usize;
  const bytes = (load<u32>(patch, Patch.Places) as usize) * (outputs << 2);
  const argmaxView = load<u32>(patch, Patch.Argmax) as usize;
  const list = at(load<u32>(patch, Patch.List), frame);
  const sums = at(load<u32>(patch, Patch.Sums), frame);
  // Ranks share the outputs out.
  const first = firstOfShare(real, frame);
  const last = endOfShare(real, frame);
  for (let sample: u32 = 0; sample < samples; ++sample) {
    store<u32>(frame, sample, Frame.Sample);
    const input = at(load<u32>(patch, Patch.Input), frame);
    const delta = at(load<u32>(patch, Patch.Delta), frame);
    const argmax = argmaxView ? at(argmaxView, frame) : 0;
    let to = sums + first * kernel * runBytes;
    for (let o = first; o < last; ++o, to += kernel * runBytes) {
      let end = list;
      let position = offsets;
      for (let k = o << 2; k < bytes; k += outputs << 2, position += 4) {
        const d = load<f32>(delta + k);
        // Written always, kept if not 0: no branch to mispredict.
        store<u32>(end, (input + load<u32>(argmax ? argmax + k : position)) as u32);
        store<f32>(end, d, 4);
        end += d != 0 ? ENTRY : <usize>0;
      }
      for (; (end - list) & (4 * ENTRY - 1); end += ENTRY) {
        store<u32>(end, input as u32);
        store<f32>(end, 0, 4);
      }
      for (let entry = list; entry < end; entry += 4 * ENTRY) add4(to, entry, kernel, runBytes, rowBytes);
    }
  }
  store<u32>(frame, 0, Frame.Sample);
}

/** Writes the sums where the optimizer looks for them. */
export function patchGradient(patch: usize, frame: usize): void {
  const kernel = load<u32>(patch, Patch.Kernel) as usize;
  const channels = load<u32>(patch, Patch.InputChannels) as usize;
  const runBytes = (load<u32>(patch, Patch.RunStride) as usize) << 2;
  const realInputs = load<u32>(patch, Patch.RealInputs) as usize;
  const real = load<u32>(patch, Patch.RealOutputs) as usize;
  const taps = load<u32>(patch, Patch.Taps) as usize;
  const tapStride = load<u32>(patch, Patch.TapStride) as usize;
  const gradient = at(load<u32>(patch, Patch.Gradient), frame);
  const sums = at(load<u32>(patch, Patch.Sums), frame);
  const first = firstOfShare(real, frame);
  const last = endOfShare(real, frame);
  const outputBytes = kernel * runBytes;
  for (let ky: usize = 0; ky < kernel; ++ky) {
    for (let kx: usize = 0; kx < kernel; ++kx) {
      let to = gradient + load<u32>(taps + ((ky * kernel + kx) << 2));
      let from = sums + ky * runBytes + ((kx * channels) << 2);
      for (let c: usize = 0; c < realInputs; ++c, to += tapStride, from += 4) {
        for (let o = first; o < last; ++o) store<f32>(to + (o << 2), load<f32>(from + o * outputBytes));
      }
    }
  }
}
