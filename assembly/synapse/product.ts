// Dense synapse on real values of a whole batch, most of them 0 at first:
//
//   forward   U_s = b + Σ_i W_i · P_s,i          for every sample s; inputs ascending, those that are 0 left out
//   backward  dW_i = Σ_s D_s · P_s,i             for every input i; samples ascending, likewise
//
// Both are the same walk: thirty-two sums in registers take value × row of a list, so an addition costs one load. The panel of
// thirty-two outputs is outermost: its rows stay in cache for all samples. Backward takes thirty-two inputs at a time: their
// lists are made in the nearest cache, and ranks take turns at them. Bound by loads.

import { Control, Frame, Product, PRODUCT_ROWS, PRODUCT_SCRATCH, View } from "../abi";
import { adamaxStep } from "../learn/adamax";
import { nextPart } from "../team";
import { at, endOfShare, firstOfShare } from "../view";

/** Bytes of a list's entry: offset of the row, value. */
const ENTRY: usize = 8;

/** Parts of the inputs that backward takes at a time. */
@inline
function partsOf(inputs: usize): usize {
  return (inputs + PRODUCT_ROWS - 1) / PRODUCT_ROWS;
}

/** Where the inputs of part `part` begin in a sample's list, and behind that where those of the next do. */
@inline
function startOf(product: usize, inputs: usize, sample: usize, part: usize): usize {
  return (load<u32>(product, Product.Starts) as usize) + ((sample * (partsOf(inputs) + 1) + part) << 2);
}

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
  for (let sample = first; sample < last; ++sample) {
    store<u32>(frame, sample, Frame.Sample);
    const values = at(load<u32>(product, Product.Values), frame);
    let entry = lists + (sample as usize) * inputs * ENTRY;
    let start = startOf(product, inputs, sample, 0);
    for (let i: usize = 0; i < inputs; start += 4) {
      store<u32>(start, entry as u32);
      const end = min(i + PRODUCT_ROWS, inputs);
      do {
        const x = load<f32>(values + (i << 2));
        // Written always, kept if not 0: no branch to mispredict.
        store<u32>(entry, (i * stride) as u32);
        store<f32>(entry, x, 4);
        entry += x != 0 ? ENTRY : <usize>0;
      } while (++i < end);
    }
    store<u32>(start, entry as u32);
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
  for (let p: usize = 0; p < bytes; ) {
    const left = bytes - p;
    const width: usize = left >= 128 ? 128 : 16;
    const columns = weight + (p >> 7) * panel + (p & 127);
    for (let sample = first; sample < last; ++sample) {
      store<u32>(frame, sample, Frame.Sample);
      const to = at(load<u32>(product, Product.Target), frame) + p;
      const list = lists + (sample as usize) * inputs * ENTRY;
      const end = load<u32>(startOf(product, inputs, sample, partsOf(inputs))) as usize;
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
  const gradient = at(load<u32>(product, Product.Gradient), frame);
  store<u32>(frame, 0, Frame.Sample);
  const delta = at(load<u32>(product, Product.Delta), frame);
  const deltaStride = load<u32>(load<u32>(product, Product.Delta), View.PerSample) as usize;
  const scratch = at(load<u32>(product, Product.Scratch), frame);
  const ends = scratch + PRODUCT_ROWS * 128;
  const turned = scratch + PRODUCT_SCRATCH;
  const parts = partsOf(inputs);
  const steps = mode > 1;
  for (let part = nextPart(0, parts, frame); part < parts; part = nextPart(part + 1, parts, frame)) {
    const first = part * PRODUCT_ROWS;
    const rows = min<usize>(PRODUCT_ROWS, inputs - first);
    const low = first * stride;
    for (let k: usize = 0; k < rows; ++k) store<u32>(ends + (k << 2), (turned + k * turnedStride) as u32);
    for (let sample: usize = 0; sample < samples; ++sample) {
      const start = startOf(product, inputs, sample, part);
      const end = load<u32>(start, 4) as usize;
      for (let entry = load<u32>(start) as usize; entry < end; entry += ENTRY) {
        const offset = (load<u32>(entry) as usize) - low;
        // Rows of a panel need no division.
        const listEnd = ends + ((stride == 128 ? offset >> 7 : offset / stride) << 2);
        const to = load<u32>(listEnd) as usize;
        store<u32>(listEnd, (to + ENTRY) as u32);
        store<u32>(to, (sample * deltaStride) as u32);
        store<f32>(to, load<f32>(entry, 4), 4);
      }
    }
    for (let p: usize = 0; p < bytes; ) {
      const width: usize = bytes - p >= 128 ? 128 : 16;
      const shift = (p >> 7) * panel + (p & 127) + low;
      // Where rows lie next to each other the optimizer takes its step with them while they are in cache.
      let to = steps ? scratch : gradient + shift;
      for (let k: usize = 0; k < rows; ++k, to += stride) {
        const list = turned + k * turnedStride;
        const end = load<u32>(ends + (k << 2)) as usize;
        if (mode == 1 && end == list) continue;
        if (width == 128) chain32(to, mode == 1 ? to : 0, delta + p, list, end);
        else chain4(to, mode == 1 ? to : 0, delta + p, list, end);
      }
      if (steps) adamaxStep(mode, scratch, shift, rows * stride);
      p += width;
    }
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
