// Batch normalisation, one step at a time, over the samples of the batch and the positions of the field.
// Ioffe and Szegedy, arXiv 1502.03167 (2015); PyTorch's conventions.
//
//   forward    μ = Σ I / n ;  σ² = Σ (I - μ)² / n + ε ;  y = (I - μ) · (γ/σ) + β          (y: neuron/bpsta.ts)
//   running    m ← (1-a) m + a μ ;  w ← (1-a) w + a · σ²·n/(n-1)      (σ² without ε; n = 1 leaves it as it is)
//   evaluating μ = m, σ² = w + ε
//   backward   x̂ = (I - μ)/σ ;  dβ += Σ dy ;  dγ += Σ dy x̂ ;  dI = γ/σ · ((dy - Σ dy / n) - x̂ · (Σ dy x̂ / n))
// Order of sums: one f32 chain a channel over the positions of a sample, ascending; then the samples' sums, ascending, in
// f64, rounded once. σ is taken in f64 and rounded once. Bound by loads of the field (two passes forward, two backward).

import { Control, Frame, Norm } from "../abi";
import { at } from "../view";

@inline
function samples(frame: usize): u32 {
  return load<u32>(load<u32>(frame, Frame.Control) as usize, Control.Samples);
}

/** Values a channel in the batch. */
@inline
function population(norm: usize, frame: usize): f64 {
  return (samples(frame) as f64) * (load<u32>(norm, Norm.Rows) as f64) * (load<u32>(norm, Norm.Width) as f64);
}

/** Σ I of a sample. */
export function normSum(norm: usize, frame: usize): void {
  const rows = load<u32>(norm, Norm.Rows) as usize;
  const stride = load<u32>(norm, Norm.Stride) as usize;
  const period = (load<u32>(norm, Norm.Channels) << 2) as usize;
  const bytes = (load<u32>(norm, Norm.Width) as usize) * period;
  const field = at(load<u32>(norm, Norm.Field), frame);
  const partial = at(load<u32>(norm, Norm.Partial), frame);
  for (let c: usize = 0; c < period; c += 16) {
    if (ASC_FEATURE_SIMD) {
      let sum = f32x4.splat(0);
      for (let y: usize = 0; y < rows; ++y) {
        const row = field + y * stride + c;
        for (let p: usize = 0; p < bytes; p += period) sum = f32x4.add(sum, v128.load(row + p));
      }
      v128.store(partial + c, sum);
    } else {
      for (let k = c; k < c + 16; k += 4) {
        let sum: f32 = 0;
        for (let y: usize = 0; y < rows; ++y) {
          const row = field + y * stride + k;
          for (let p: usize = 0; p < bytes; p += period) sum += load<f32>(row + p);
        }
        store<f32>(partial + k, sum);
      }
    }
  }
}

/** Sum over the samples of their partial sums at byte `c`. */
@inline
function gathered(norm: usize, frame: usize, first: usize, c: usize): f64 {
  const stride = load<u32>(norm, Norm.PartialStride) as usize;
  const count = samples(frame);
  let sum: f64 = 0;
  for (let s: u32 = 0; s < count; ++s) sum += load<f32>(first + s * stride + c) as f64;
  return sum;
}

/** Address of the first sample's partial sums: the view moves with the sample, which is of no meaning here. */
@inline
function partials(norm: usize, frame: usize): usize {
  store<u32>(frame, 0, Frame.Sample);
  return at(load<u32>(norm, Norm.Partial), frame);
}

export function normMean(norm: usize, frame: usize): void {
  const period = (load<u32>(norm, Norm.Channels) << 2) as usize;
  const affine = at(load<u32>(norm, Norm.Affine), frame);
  const first = partials(norm, frame);
  const n = population(norm, frame);
  for (let c: usize = 0; c < period; c += 4) store<f32>(affine + c, (gathered(norm, frame, first, c) / n) as f32);
}

/** Σ (I - μ)² of a sample. */
export function normSquares(norm: usize, frame: usize): void {
  const rows = load<u32>(norm, Norm.Rows) as usize;
  const stride = load<u32>(norm, Norm.Stride) as usize;
  const period = (load<u32>(norm, Norm.Channels) << 2) as usize;
  const bytes = (load<u32>(norm, Norm.Width) as usize) * period;
  const field = at(load<u32>(norm, Norm.Field), frame);
  const partial = at(load<u32>(norm, Norm.Partial), frame);
  const affine = at(load<u32>(norm, Norm.Affine), frame);
  for (let c: usize = 0; c < period; c += 16) {
    if (ASC_FEATURE_SIMD) {
      const mean = v128.load(affine + c);
      let sum = f32x4.splat(0);
      for (let y: usize = 0; y < rows; ++y) {
        const row = field + y * stride + c;
        for (let p: usize = 0; p < bytes; p += period) {
          const d = f32x4.sub(v128.load(row + p), mean);
          sum = f32x4.add(sum, f32x4.mul(d, d));
        }
      }
      v128.store(partial + c, sum);
    } else {
      for (let k = c; k < c + 16; k += 4) {
        const mean = load<f32>(affine + k);
        let sum: f32 = 0;
        for (let y: usize = 0; y < rows; ++y) {
          const row = field + y * stride + k;
          for (let p: usize = 0; p < bytes; p += period) {
            const d = load<f32>(row + p) - mean;
            sum += d * d;
          }
        }
        store<f32>(partial + k, sum);
      }
    }
  }
}

/** γ/σ, β and 1/σ from a mean that stands there and a variance. */
@inline
function scaleBy(norm: usize, affine: usize, period: usize, c: usize, variance: f64, frame: usize): void {
  const inverse = (1 / sqrt<f64>(variance + (load<f32>(norm, Norm.Epsilon) as f64))) as f32;
  store<f32>(affine + c + period, load<f32>(at(load<u32>(norm, Norm.Weight), frame) + c) * inverse);
  store<f32>(affine + c + 2 * period, load<f32>(at(load<u32>(norm, Norm.Bias), frame) + c));
  store<f32>(affine + c + 3 * period, inverse);
}

export function normFinish(norm: usize, frame: usize): void {
  const period = (load<u32>(norm, Norm.Channels) << 2) as usize;
  const affine = at(load<u32>(norm, Norm.Affine), frame);
  const runningMean = at(load<u32>(norm, Norm.RunningMean), frame);
  const runningVariance = at(load<u32>(norm, Norm.RunningVariance), frame);
  const updates = load<u32>(norm, Norm.Updates);
  const a = load<f32>(norm, Norm.Momentum);
  const keep: f32 = 1 - a;
  const first = partials(norm, frame);
  const n = population(norm, frame);
  for (let c: usize = 0; c < period; c += 4) {
    const squares = gathered(norm, frame, first, c);
    scaleBy(norm, affine, period, c, squares / n, frame);
    const mean = load<f32>(affine + c);
    const unbiased = (squares / (n > 1 ? n - 1 : 1)) as f32;
    let m = load<f32>(runningMean + c);
    let w = load<f32>(runningVariance + c);
    for (let i: u32 = 0; i < updates; ++i) {
      m = keep * m + a * mean;
      w = keep * w + a * unbiased;
    }
    store<f32>(runningMean + c, m);
    store<f32>(runningVariance + c, w);
  }
}

/** The same from the running statistics. */
export function normFixed(norm: usize, frame: usize): void {
  const period = (load<u32>(norm, Norm.Channels) << 2) as usize;
  const affine = at(load<u32>(norm, Norm.Affine), frame);
  const runningMean = at(load<u32>(norm, Norm.RunningMean), frame);
  const runningVariance = at(load<u32>(norm, Norm.RunningVariance), frame);
  for (let c: usize = 0; c < period; c += 4) {
    store<f32>(affine + c, load<f32>(runningMean + c));
    scaleBy(norm, affine, period, c, load<f32>(runningVariance + c) as f64, frame);
  }
}

/** Σ dy and Σ dy x̂ of a sample. */
export function normBackwardSum(norm: usize, frame: usize): void {
  const rows = load<u32>(norm, Norm.Rows) as usize;
  const stride = load<u32>(norm, Norm.Stride) as usize;
  const period = (load<u32>(norm, Norm.Channels) << 2) as usize;
  const bytes = (load<u32>(norm, Norm.Width) as usize) * period;
  const field = at(load<u32>(norm, Norm.Field), frame);
  const delta = at(load<u32>(norm, Norm.Delta), frame);
  const partial = at(load<u32>(norm, Norm.Partial), frame);
  const affine = at(load<u32>(norm, Norm.Affine), frame);
  for (let c: usize = 0; c < period; c += 16) {
    if (ASC_FEATURE_SIMD) {
      const mean = v128.load(affine + c);
      const inverse = v128.load(affine + c + 3 * period);
      let sum = f32x4.splat(0);
      let product = f32x4.splat(0);
      for (let y: usize = 0; y < rows; ++y) {
        const row = field + y * stride + c;
        const from = delta + y * stride + c;
        for (let p: usize = 0; p < bytes; p += period) {
          const dy = v128.load(from + p);
          const x = f32x4.mul(f32x4.sub(v128.load(row + p), mean), inverse);
          sum = f32x4.add(sum, dy);
          product = f32x4.add(product, f32x4.mul(dy, x));
        }
      }
      v128.store(partial + c, sum);
      v128.store(partial + c + period, product);
    } else {
      for (let k = c; k < c + 16; k += 4) {
        const mean = load<f32>(affine + k);
        const inverse = load<f32>(affine + k + 3 * period);
        let sum: f32 = 0;
        let product: f32 = 0;
        for (let y: usize = 0; y < rows; ++y) {
          const row = field + y * stride + k;
          const from = delta + y * stride + k;
          for (let p: usize = 0; p < bytes; p += period) {
            const dy = load<f32>(from + p);
            const x = (load<f32>(row + p) - mean) * inverse;
            sum += dy;
            product += dy * x;
          }
        }
        store<f32>(partial + k, sum);
        store<f32>(partial + k + period, product);
      }
    }
  }
}

export function normBackwardFinish(norm: usize, frame: usize): void {
  const period = (load<u32>(norm, Norm.Channels) << 2) as usize;
  const means = at(load<u32>(norm, Norm.Means), frame);
  const weight = at(load<u32>(norm, Norm.WeightGradient), frame);
  const bias = at(load<u32>(norm, Norm.BiasGradient), frame);
  const first = partials(norm, frame);
  const n = population(norm, frame);
  for (let c: usize = 0; c < period; c += 4) {
    const sum = gathered(norm, frame, first, c);
    const product = gathered(norm, frame, first, c + period);
    store<f32>(bias + c, load<f32>(bias + c) + (sum as f32));
    store<f32>(weight + c, load<f32>(weight + c) + (product as f32));
    store<f32>(means + c, (sum / n) as f32);
    store<f32>(means + c + period, (product / n) as f32);
  }
}

/** dy becomes dI. */
export function normBackwardApply(norm: usize, frame: usize): void {
  const rows = load<u32>(norm, Norm.Rows) as usize;
  const stride = load<u32>(norm, Norm.Stride) as usize;
  const period = (load<u32>(norm, Norm.Channels) << 2) as usize;
  const bytes = (load<u32>(norm, Norm.Width) as usize) * period;
  const field = at(load<u32>(norm, Norm.Field), frame);
  const delta = at(load<u32>(norm, Norm.Delta), frame);
  const affine = at(load<u32>(norm, Norm.Affine), frame);
  const means = at(load<u32>(norm, Norm.Means), frame);
  for (let y: usize = 0; y < rows; ++y) {
    const row = field + y * stride;
    const to = delta + y * stride;
    for (let p: usize = 0; p < bytes; p += period) {
      for (let c: usize = 0; c < period; c += 16) {
        if (ASC_FEATURE_SIMD) {
          const x = f32x4.mul(
            f32x4.sub(v128.load(row + p + c), v128.load(affine + c)),
            v128.load(affine + c + 3 * period),
          );
          const d = f32x4.sub(
            f32x4.sub(v128.load(to + p + c), v128.load(means + c)),
            f32x4.mul(x, v128.load(means + c + period)),
          );
          v128.store(to + p + c, f32x4.mul(v128.load(affine + c + period), d));
        } else {
          for (let k = c; k < c + 16; k += 4) {
            const x = (load<f32>(row + p + k) - load<f32>(affine + k)) * load<f32>(affine + k + 3 * period);
            const d = load<f32>(to + p + k) - load<f32>(means + k) - x * load<f32>(means + k + period);
            store<f32>(to + p + k, load<f32>(affine + k + period) * d);
          }
        }
      }
    }
  }
}
