// Dense synapse on real values of a whole batch, most of them 0 at first:
//
//   forward   U_s = b + Σ_i W_i · P_s,i          for every sample s; inputs ascending, those that are 0 left out
//   backward  dW_i = Σ_s D_s · P_s,i             for every input i; samples ascending, likewise
//
// Both are the same walk: thirty-two sums in registers take value × row of a list, so an addition costs one load. The panel of
// thirty-two outputs is outermost: its rows stay in cache for all samples. Bound by loads.

import { Control, Frame, Product } from "../abi";
import { adamaxStep } from "../learn/adamax";
import { at, endOfShare, firstOfShare } from "../view";

/** Bytes of a list's entry: offset of the row, value. */
const ENTRY: usize = 8;

/** Rows of a gradient that are made before the optimizer uses them: half of a nearest cache with weights and state. */
const ROWS: usize = 32;

/** `to` = `from` (or 0) + Σ value · row, thirty-two wide. */
function chain32(to: usize, from: usize, base: usize, list: usize, end: usize): void {
  if (!ASC_FEATURE_SIMD) {
    for (let k: usize = 0; k < 128; k += 16) chain4(to + k, from ? from + k : 0, base + k, list, end);
    return;
  }
  let a = f32x4.splat(0);
  let b = a;
  let c = a;
  let d = a;
  let e = a;
  let f = a;
  let g = a;
  let h = a;
  if (from) {
    a = v128.load(from);
    b = v128.load(from, 16);
    c = v128.load(from, 32);
    d = v128.load(from, 48);
    e = v128.load(from, 64);
    f = v128.load(from, 80);
    g = v128.load(from, 96);
    h = v128.load(from, 112);
  }
  for (; list < end; list += ENTRY) {
    const row = base + load<u32>(list);
    const x = v128.load32_splat(list, 4);
    a = f32x4.add(a, f32x4.mul(v128.load(row), x));
    b = f32x4.add(b, f32x4.mul(v128.load(row, 16), x));
    c = f32x4.add(c, f32x4.mul(v128.load(row, 32), x));
    d = f32x4.add(d, f32x4.mul(v128.load(row, 48), x));
    // Never so; ends the block of loads that engines move together, more than there are registers.
    if (!row) break;
    e = f32x4.add(e, f32x4.mul(v128.load(row, 64), x));
    f = f32x4.add(f, f32x4.mul(v128.load(row, 80), x));
    g = f32x4.add(g, f32x4.mul(v128.load(row, 96), x));
    h = f32x4.add(h, f32x4.mul(v128.load(row, 112), x));
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

/** The same, four wide. */
function chain4(to: usize, from: usize, base: usize, list: usize, end: usize): void {
  if (ASC_FEATURE_SIMD) {
    let a = from ? v128.load(from) : f32x4.splat(0);
    for (; list < end; list += ENTRY) {
      a = f32x4.add(a, f32x4.mul(v128.load(base + load<u32>(list)), v128.load32_splat(list, 4)));
    }
    v128.store(to, a);
  } else {
    let a: f32 = from ? load<f32>(from) : 0;
    let b: f32 = from ? load<f32>(from, 4) : 0;
    let c: f32 = from ? load<f32>(from, 8) : 0;
    let d: f32 = from ? load<f32>(from, 12) : 0;
    for (; list < end; list += ENTRY) {
      const row = base + load<u32>(list);
      const x = load<f32>(list, 4);
      a += load<f32>(row) * x;
      b += load<f32>(row, 4) * x;
      c += load<f32>(row, 8) * x;
      d += load<f32>(row, 12) * x;
    }
    store<f32>(to, a);
    store<f32>(to, b, 4);
    store<f32>(to, c, 8);
    store<f32>(to, d, 12);
  }
}

/** Lists what is not 0 in each sample; ranks share the samples out. */
export function productGather(product: usize, frame: usize): void {
  const samples = load<u32>(load<u32>(frame, Frame.Control), Control.Samples) as usize;
  const first = firstOfShare(samples, frame) as u32;
  const last = endOfShare(samples, frame) as u32;
  const inputs = load<u32>(product, Product.Inputs) as usize;
  const stride = load<u32>(product, Product.Stride) as usize;
  const lists = load<u32>(product, Product.Lists) as usize;
  const counts = load<u32>(product, Product.Counts) as usize;
  for (let sample = first; sample < last; ++sample) {
    store<u32>(frame, sample, Frame.Sample);
    const values = at(load<u32>(product, Product.Values), frame);
    const list = lists + (sample as usize) * inputs * ENTRY;
    let entry = list;
    for (let i: usize = 0; i < inputs; ++i) {
      const x = load<f32>(values + (i << 2));
      // Written always, kept if not 0: no branch to mispredict.
      store<u32>(entry, (i * stride) as u32);
      store<f32>(entry, x, 4);
      entry += x != 0 ? ENTRY : <usize>0;
    }
    store<u32>(counts + ((sample as usize) << 2), ((entry - list) / ENTRY) as u32);
  }
  store<u32>(frame, 0, Frame.Sample);
}

export function productForward(product: usize, frame: usize): void {
  const samples = load<u32>(load<u32>(frame, Frame.Control), Control.Samples) as usize;
  const first = firstOfShare(samples, frame) as u32;
  const last = endOfShare(samples, frame) as u32;
  const inputs = load<u32>(product, Product.Inputs) as usize;
  const bytes = (load<u32>(product, Product.Outputs) as usize) << 2;
  const panel = load<u32>(product, Product.Panel) as usize;
  const weight = at(load<u32>(product, Product.Weight), frame);
  const bias = at(load<u32>(product, Product.Bias), frame);
  const lists = load<u32>(product, Product.Lists) as usize;
  const counts = load<u32>(product, Product.Counts) as usize;
  for (let p: usize = 0; p < bytes; ) {
    const left = bytes - p;
    const width: usize = left >= 128 ? 128 : 16;
    const columns = weight + (p >> 7) * panel + (p & 127);
    for (let sample = first; sample < last; ++sample) {
      store<u32>(frame, sample, Frame.Sample);
      const to = at(load<u32>(product, Product.Target), frame) + p;
      const list = lists + (sample as usize) * inputs * ENTRY;
      const end = list + (load<u32>(counts + ((sample as usize) << 2)) as usize) * ENTRY;
      if (width == 128) chain32(to, bias + p, columns, list, end);
      else chain4(to, bias + p, columns, list, end);
    }
    p += width;
  }
  store<u32>(frame, 0, Frame.Sample);
}

/** `mode`: 0 writes the gradient, 1 adds to it, else it is the record of an Adamax step that uses each part of it at once. */
export function productBackward(product: usize, mode: usize, frame: usize): void {
  const samples = load<u32>(load<u32>(frame, Frame.Control), Control.Samples) as usize;
  const inputs = load<u32>(product, Product.Inputs) as usize;
  const bytes = (load<u32>(product, Product.Outputs) as usize) << 2;
  const stride = load<u32>(product, Product.Stride) as usize;
  const panel = load<u32>(product, Product.Panel) as usize;
  const turnedStride = load<u32>(product, Product.TurnedStride) as usize;
  const lists = load<u32>(product, Product.Lists) as usize;
  const counts = load<u32>(product, Product.Counts) as usize;
  const turned = load<u32>(product, Product.Turned) as usize;
  const turnedEnds = load<u32>(product, Product.TurnedEnds) as usize;
  const gradient = at(load<u32>(product, Product.Gradient), frame);
  store<u32>(frame, 0, Frame.Sample);
  const delta = at(load<u32>(product, Product.Delta), frame);
  store<u32>(frame, 1, Frame.Sample);
  const deltaStride = at(load<u32>(product, Product.Delta), frame) - delta;
  store<u32>(frame, 0, Frame.Sample);
  // Ranks share the inputs out.
  const first = firstOfShare(inputs, frame);
  const last = endOfShare(inputs, frame);
  const low = first * stride;
  const high = last * stride;
  for (let i = first; i < last; ++i) store<u32>(turnedEnds + (i << 2), (turned + i * turnedStride) as u32);
  for (let sample: usize = 0; sample < samples; ++sample) {
    const list = lists + sample * inputs * ENTRY;
    const end = list + (load<u32>(counts + (sample << 2)) as usize) * ENTRY;
    for (let entry = list; entry < end; entry += ENTRY) {
      const offset = load<u32>(entry) as usize;
      if (offset < low) continue;
      if (offset >= high) break;
      // Rows of a panel need no division.
      const i = stride == 128 ? offset >> 7 : offset / stride;
      const to = load<u32>(turnedEnds + (i << 2)) as usize;
      store<u32>(turnedEnds + (i << 2), (to + ENTRY) as u32);
      store<u32>(to, (sample * deltaStride) as u32);
      store<f32>(to, load<f32>(entry, 4), 4);
    }
  }
  const steps = mode > 1;
  for (let p: usize = 0; p < bytes; ) {
    const left = bytes - p;
    const width: usize = left >= 128 ? 128 : 16;
    const shift = (p >> 7) * panel + (p & 127);
    for (let i = first; i < last; ) {
      // Where rows lie next to each other the optimizer takes its step with some of them while they are in cache.
      const end = steps ? min(i + ROWS, last) : last;
      const origin = steps ? gradient + low : gradient + shift + i * stride;
      let to = origin;
      for (let k = i; k < end; ++k, to += stride) {
        const list = turned + k * turnedStride;
        const listEnd = load<u32>(turnedEnds + (k << 2)) as usize;
        if (mode == 1 && listEnd == list) continue;
        if (width == 128) chain32(to, mode == 1 ? to : 0, delta + p, list, listEnd);
        else chain4(to, mode == 1 ? to : 0, delta + p, list, listEnd);
      }
      if (steps) adamaxStep(mode, origin, shift + i * stride, (end - i) * stride);
      i = end;
    }
    p += width;
  }
}

/** `to` [columns][rows] from `from` [rows][columns], rows `stride` bytes apart. */
export function transpose(to: usize, from: usize, rows: usize, columns: usize, stride: usize): void {
  for (let row: usize = 0; row < rows; ++row) {
    for (let column: usize = 0; column < columns; ++column) {
      store<f32>(to + ((column * rows + row) << 2), load<f32>(from + row * stride + (column << 2)));
    }
  }
}
