// Gradients before a step: whether they are finite, and clipping as PyTorch's clip_grad_value_ and clip_grad_norm_ do it.
//   g = min(max(g, -c), c) ;  then, over all tensors, f = min(1, M / (sqrt(Σ g²) + 1e-6)) and g = f · g
// Squares are summed in f64, where no f32 overflows: the sum is finite exactly if every gradient is. Order: a tensor in
// four partial sums (element i in partial i mod 4), (0 + 1) + (2 + 3), tensors ascending. Rank 0 alone. Bound by memory.

import { Clip, Control, Frame, Survey } from "../abi";
import { endOfStretch, nextStretch, refuse } from "../team";
import { isFirst } from "../view";

function squares(address: usize, bytes: usize): f64 {
  if (ASC_FEATURE_SIMD) {
    let low = f64x2.splat(0);
    let high = f64x2.splat(0);
    for (let p = address; p < address + bytes; p += 16) {
      const g = v128.load(p);
      const a = f64x2.promote_low_f32x4(g);
      const b = f64x2.promote_low_f32x4(v128.shuffle<f32>(g, g, 2, 3, 0, 1));
      low = f64x2.add(low, f64x2.mul(a, a));
      high = f64x2.add(high, f64x2.mul(b, b));
    }
    return f64x2.extract_lane(low, 0) + f64x2.extract_lane(low, 1) + (f64x2.extract_lane(high, 0) + f64x2.extract_lane(high, 1));
  } else {
    let s0: f64 = 0;
    let s1: f64 = 0;
    let s2: f64 = 0;
    let s3: f64 = 0;
    for (let p = address; p < address + bytes; p += 16) {
      const a = load<f32>(p) as f64;
      const b = load<f32>(p, 4) as f64;
      const c = load<f32>(p, 8) as f64;
      const d = load<f32>(p, 12) as f64;
      s0 += a * a;
      s1 += b * b;
      s2 += c * c;
      s3 += d * d;
    }
    return s0 + s1 + (s2 + s3);
  }
}

function allSquares(tensors: usize, end: usize): f64 {
  let sum: f64 = 0;
  for (let t = tensors; t < end; t += 8) sum += squares(load<u32>(t) as usize, (load<u32>(t, 4) as usize) << 2);
  return sum;
}

function clamp(address: usize, bytes: usize, most: f32): void {
  for (let p = address; p < address + bytes; p += 16) {
    if (ASC_FEATURE_SIMD) {
      v128.store(p, f32x4.min(f32x4.max(v128.load(p), f32x4.splat(-most)), f32x4.splat(most)));
    } else {
      for (let k = p; k < p + 16; k += 4) store<f32>(k, min<f32>(max<f32>(load<f32>(k), -most), most));
    }
  }
}

function multiply(address: usize, bytes: usize, factor: f32): void {
  for (let p = address; p < address + bytes; p += 16) {
    if (ASC_FEATURE_SIMD) {
      v128.store(p, f32x4.mul(v128.load(p), f32x4.splat(factor)));
    } else {
      for (let k = p; k < p + 16; k += 4) store<f32>(k, load<f32>(k) * factor);
    }
  }
}

export function clip(record: usize, frame: usize): void {
  if (!isFirst(frame)) return;
  const tensors = load<u32>(record, Clip.Tensors) as usize;
  const end = tensors + ((load<u32>(record, Clip.Count) as usize) << 3);
  const most = load<f32>(record, Clip.Value);
  const norm = load<f32>(record, Clip.Norm) as f64;
  let sum = allSquares(tensors, end);
  store<f64>(record, sum, Clip.Squares);
  if (most > 0) {
    for (let t = tensors; t < end; t += 8) clamp(load<u32>(t) as usize, (load<u32>(t, 4) as usize) << 2, most);
    if (norm > 0) sum = allSquares(tensors, end);
  }
  if (norm <= 0) return;
  const factor = (norm / (sqrt<f64>(sum) + 1e-6)) as f32;
  if (!(factor < 1)) return;
  for (let t = tensors; t < end; t += 8) multiply(load<u32>(t) as usize, (load<u32>(t, 4) as usize) << 2, factor);
}

/**
 * Leaves the step to the wrapper if gradients or statistics are not plainly finite, or a loss is not: each rank looks at what it
 * comes for, whose sum decides nothing else.
 */
export function survey(record: usize, frame: usize): void {
  if (!ASC_FEATURE_THREADS) return;
  const tensors = load<u32>(record, Survey.Tensors) as usize;
  const end = tensors + ((load<u32>(record, Survey.Count) as usize) << 3);
  let sum: f64 = 0;
  for (let t = tensors; t < end; t += 8) {
    const bytes = (load<u32>(t, 4) as usize) << 2;
    for (let first = nextStretch(0, bytes, frame); first < bytes; ) {
      const end = endOfStretch(first, bytes, frame);
      sum += squares((load<u32>(t) as usize) + first, end - first);
      first = nextStretch(end, bytes, frame);
    }
  }
  if (isFirst(frame)) {
    const losses = load<u32>(record, Survey.Losses) as usize;
    const last = losses + ((load<u32>(load<u32>(frame, Frame.Control), Control.Samples) as usize) << 2);
    // Of what is not finite the difference to itself is NaN.
    for (let p = losses; p < last; p += 4) sum += (load<f32>(p) - load<f32>(p)) as f64;
  }
  if (!(sum <= load<f64>(record, Survey.Limit))) refuse(frame);
}
