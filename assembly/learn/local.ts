// A layer's own loss through its fixed readout r = A·(S' ⊙ mask) + c, as `decolle` has it (see neuron/decolle.ts), at one step.
//
//   answer   y_k += sigmoid(r_k), or 1 for the largest r_k
//   loss     L = mean over batch and classes of smooth L1 (β 1) of r - onehot ;  dL/dr = clamp(r - onehot, ±1) / (B K)
//            + reg · mean(relu(U' + 0.01)) + 0.003 reg · relu(mean(0.1 - sigmoid(U'))) , means over batch and units
//   δ        = (Aᵀ dL/dr) · mask / (10 |U'| + 1)² + reg · [U' + 0.01 > 0] / (B n) - 0.003 reg · sigmoid'(U') / (B n) · [second relu open]
// Aᵀ dL/dr sums classes ascending. Bound by the readout's loads.

import { Control, Frame, Local } from "../abi";
import { at } from "../view";

@inline
function sigmoid(x: f32): f32 {
  return 1 / (1 + NativeMathf.exp(-x));
}

/** Answer, loss and dL/dr of one sample. */
export function decolleScore(local: usize, frame: usize): void {
  const classes = load<u32>(local, Local.Classes) as usize;
  const readout = at(load<u32>(local, Local.Readout), frame);
  const answerView = load<u32>(local, Local.Answer) as usize;
  if (answerView) {
    const answer = at(answerView, frame);
    if (load<u32>(local, Local.Common)) {
      let best: usize = 0;
      for (let k: usize = 4; k < classes << 2; k += 4) if (load<f32>(readout + k) > load<f32>(readout + best)) best = k;
      store<f32>(answer + best, load<f32>(answer + best) + 1);
    } else {
      for (let k: usize = 0; k < classes << 2; k += 4) {
        store<f32>(answer + k, load<f32>(answer + k) + sigmoid(load<f32>(readout + k)));
      }
    }
  }
  if (isDefined(INFERENCE)) return;
  const label = load<i32>(at(load<u32>(local, Local.Labels), frame));
  const lossView = load<u32>(local, Local.Losses) as usize;
  if (label < 0 || !lossView) return;
  const errorView = load<u32>(local, Local.Error) as usize;
  const error = errorView ? at(errorView, frame) : 0;
  const samples = load<u32>(load<u32>(frame, Frame.Control), Control.Samples);
  const count = (classes as f32) * (samples as f32);
  let loss: f32 = 0;
  for (let k: usize = 0; k < classes; ++k) {
    const d = load<f32>(readout + (k << 2)) - (k == (label as usize) ? <f32>1 : <f32>0);
    const size = Mathf.abs(d);
    loss += size < 1 ? 0.5 * d * d : size - 0.5;
    if (error) store<f32>(error + (k << 2), max<f32>(min<f32>(d, 1), -1) / count);
  }
  loss /= classes as f32;
  const total = at(lossView, frame);
  store<f32>(total, load<f32>(total) + loss);
  const stepView = load<u32>(local, Local.StepLoss) as usize;
  if (stepView) store<f32>(at(stepView, frame), loss);
}

/** The regulariser of the batch, and the mean loss of the step. */
export function decolleRegularize(local: usize, frame: usize): void {
  const samples = load<u32>(load<u32>(frame, Frame.Control), Control.Samples);
  const regularizer = load<f32>(local, Local.Regularizer);
  let value: f64 = 0;
  if (regularizer > 0) {
    const rows = load<u32>(local, Local.Rows) as usize;
    const rowLength = load<u32>(local, Local.RowLength) as usize;
    const stride = load<u32>(local, Local.PooledStride) as usize;
    const channels = load<u32>(local, Local.Channels) as usize;
    const real = load<u32>(local, Local.RealChannels) as usize;
    let positive: f64 = 0;
    let quiet: f64 = 0;
    for (let sample: u32 = 0; sample < samples; ++sample) {
      store<u32>(frame, sample, Frame.Sample);
      const pooled = at(load<u32>(local, Local.Pooled), frame);
      for (let row: usize = 0; row < rows; ++row) {
        for (let i: usize = 0; i < rowLength; i += channels) {
          for (let c: usize = 0; c < real; ++c) {
            const u = load<f32>(pooled + row * stride + ((i + c) << 2));
            positive += max<f32>(u + 0.01, 0) as f64;
            quiet += (<f32>0.1 - sigmoid(u)) as f64;
          }
        }
      }
    }
    const count = ((samples as f64) * (rows as f64) * ((rowLength / channels) as f64)) * (real as f64);
    const second = quiet / count;
    value = (regularizer as f64) * (positive / count) + 0.003 * (regularizer as f64) * max<f64>(second, 0);
    const gate = load<u32>(local, Local.Gate) as usize;
    store<f32>(gate, value as f32);
    store<u32>(gate, second > 0 ? 1 : 0, 4);
  }
  let sum: f64 = 0;
  const step = load<u32>(local, Local.StepLoss) as usize;
  for (let sample: u32 = 0; sample < samples; ++sample) {
    store<u32>(frame, sample, Frame.Sample);
    const total = at(load<u32>(local, Local.Losses), frame);
    store<f32>(total, load<f32>(total) + (value as f32));
    sum += load<f32>(at(step, frame)) as f64;
  }
  store<u32>(frame, 0, Frame.Sample);
  const means = load<u32>(local, Local.Means) as usize;
  if (means) store<f32>(at(means, frame), (sum / (samples as f64) + value) as f32);
}

/** δ of one sample. */
export function decolleDelta(local: usize, frame: usize): void {
  const classes = load<u32>(local, Local.Classes) as usize;
  const error = at(load<u32>(local, Local.Error), frame);
  const weight = at(load<u32>(local, Local.Weight), frame);
  const rows = load<u32>(local, Local.Rows) as usize;
  const rowLength = load<u32>(local, Local.RowLength) as usize;
  const pooled = at(load<u32>(local, Local.Pooled), frame);
  const pooledStride = load<u32>(local, Local.PooledStride) as usize;
  const maskView = load<u32>(local, Local.Mask) as usize;
  const mask = maskView ? at(maskView, frame) : 0;
  const delta = at(load<u32>(local, Local.Delta), frame);
  const bytes = (rows * rowLength) << 2;
  for (let row: usize = 0; row < rows; ++row) {
    const first = (row * rowLength) << 2;
    for (let p: usize = 0; p < rowLength << 2; ) {
      const u = pooled + row * pooledStride + p;
      const place = first + p;
      let a = weight + place;
      const to = delta + place;
      if (ASC_FEATURE_SIMD) {
        // Four vectors share the loads of dL/dr; what the last of them hold past the end is not kept.
        const end = min<usize>(64, (rowLength << 2) - p);
        let g = f32x4.splat(0);
        let h = g;
        let i = g;
        let j = g;
        for (let k: usize = 0; k < classes; ++k, a += bytes) {
          const x = v128.load32_splat(error + (k << 2));
          g = f32x4.add(g, f32x4.mul(v128.load(a), x));
          h = f32x4.add(h, f32x4.mul(v128.load(a, 16), x));
          i = f32x4.add(i, f32x4.mul(v128.load(a, 32), x));
          j = f32x4.add(j, f32x4.mul(v128.load(a, 48), x));
        }
        for (let k: usize = 0; k < end; k += 16) {
          if (mask) g = f32x4.mul(g, v128.load(mask + place + k));
          const s = f32x4.add(f32x4.mul(f32x4.splat(10), f32x4.abs(v128.load(u + k))), f32x4.splat(1));
          v128.store(to + k, f32x4.div(g, f32x4.mul(s, s)));
          g = h;
          h = i;
          i = j;
        }
        p += 64;
      } else {
        for (let lane: usize = 0; lane < 16; lane += 4) {
          let g: f32 = 0;
          for (let k: usize = 0; k < classes; ++k) g += load<f32>(a + k * bytes + lane) * load<f32>(error + (k << 2));
          if (mask) g *= load<f32>(mask + place + lane);
          const s: f32 = 10 * Mathf.abs(load<f32>(u + lane)) + 1;
          store<f32>(to + lane, g / (s * s));
        }
        p += 16;
      }
    }
  }
  const regularizer = load<f32>(local, Local.Regularizer);
  if (regularizer > 0) regularize(local, regularizer, rows, rowLength, pooled, pooledStride, delta, frame);
}

/** Adds the regulariser's own derivative to δ. */
function regularize(
  local: usize,
  regularizer: f32,
  rows: usize,
  rowLength: usize,
  pooled: usize,
  pooledStride: usize,
  delta: usize,
  frame: usize,
): void {
  const channels = load<u32>(local, Local.Channels) as usize;
  const real = load<u32>(local, Local.RealChannels) as usize;
  const samples = load<u32>(load<u32>(frame, Frame.Control), Control.Samples);
  const count = (samples as f32) * ((rows * (rowLength / channels) * real) as f32);
  const first = regularizer / count;
  const second: f32 = load<u32>(load<u32>(local, Local.Gate), 4) ? (0.003 * regularizer) / count : 0;
  for (let row: usize = 0; row < rows; ++row) {
    for (let i: usize = 0; i < rowLength; i += channels) {
      for (let c: usize = 0; c < real; ++c) {
        const u = load<f32>(pooled + row * pooledStride + ((i + c) << 2));
        let d: f32 = u + 0.01 > 0 ? first : 0;
        if (second > 0) {
          const s = sigmoid(u);
          d -= second * (s * (1 - s));
        }
        const to = delta + ((row * rowLength + i + c) << 2);
        store<f32>(to, load<f32>(to) + d);
      }
    }
  }
}
