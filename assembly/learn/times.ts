// Losses on output times, and what single-spike training needs beside the gradient.
//
//   cross-entropy   y_k = -t_k / τ ,  L = ln Σ_k e^{y_k} - y_label ,  dL/dt_k = (onehot_k - softmax(y)_k) / τ (/ batch)
//   weight sums     P = K · mean_j max(0, θ - Σ_i w_ij)  a layer, so that every neuron can fire
//   nudge           a neuron that fired for no sample of the batch: w_ij += amount, twice as much each batch it stays silent
//
// A silent output has t = +inf: probability 0, no gradient, and an infinite loss where it is the label's. With a delay
// it stands that long after the latest output instead (after 0 if all are silent), a constant without a gradient. With a
// nudge the label's silent output learns as if it had fired there, having heard every input, with that 1/A.

import { Control, Frame, Nudge, Timeline, TimesLoss, WeightSum } from "../abi";
import { at } from "../view";

export function timesLoss(record: usize, given: bool, frame: usize): void {
  const classes = load<u32>(record, TimesLoss.Classes);
  const times = at(load<u32>(record, TimesLoss.Times), frame);
  const outputs = at(load<u32>(record, TimesLoss.Outputs), frame);
  const deltaView = load<u32>(record, TimesLoss.Delivered) as usize;
  const delta = deltaView ? at(deltaView, frame) : 0;
  memory.copy(outputs, times, classes << 2);
  if (isDefined(INFERENCE)) return;
  if (given) {
    if (delta) memory.copy(delta, at(load<u32>(record, TimesLoss.Given), frame), classes << 2);
    return;
  }
  const label = load<u32>(at(load<u32>(record, TimesLoss.Labels), frame));
  if (label >= classes) return; // inference without labels
  const temperature = load<f32>(record, TimesLoss.Temperature);
  const delay = load<f32>(record, TimesLoss.Delay);
  let earliest: f32 = Infinity;
  let latest: f32 = -Infinity;
  for (let k: u32 = 0; k < classes; ++k) {
    const t = load<f32>(times + (k << 2));
    if (t == Infinity) continue;
    earliest = min(earliest, t);
    latest = max(latest, t);
  }
  const late: f32 = delay > 0 ? (latest > -Infinity ? latest : 0) + delay : Infinity;
  earliest = min(earliest, late);
  const losses = at(load<u32>(record, TimesLoss.Losses), frame);
  const own = load<f32>(times + (label << 2));
  if (earliest == Infinity || (own == Infinity && late == Infinity)) {
    store<f32>(losses, Infinity);
    if (delta) memory.fill(delta, 0, classes << 2);
    return;
  }
  let sum: f32 = 0;
  for (let k: u32 = 0; k < classes; ++k) sum += NativeMathf.exp((earliest - min(load<f32>(times + (k << 2)), late)) / temperature);
  const logSum = NativeMathf.log(sum);
  store<f32>(losses, logSum - (earliest - min(own, late)) / temperature);
  if (!delta) return;
  const mean = load<u32>(record, TimesLoss.Mean) != 0;
  const batch: f32 = mean ? (load<u32>(load<u32>(frame, Frame.Control), Control.Samples) as f32) : 1;
  for (let k: u32 = 0; k < classes; ++k) {
    const t = load<f32>(times + (k << 2));
    const p = NativeMathf.exp((earliest - min(t, late)) / temperature - logSum);
    const g = ((k == label ? <f32>1 : <f32>0) - p) / temperature / batch;
    store<f32>(delta + (k << 2), t < Infinity || k == label ? g : 0);
  }
  const nudge = load<f32>(record, TimesLoss.Nudge);
  if (own < Infinity || !(nudge > 0)) return;
  const place = label << 2;
  const list = at(load<u32>(record, TimesLoss.List), frame);
  const heard = load<u32>(list) / Timeline.Size;
  if (!heard) return;
  store<f32>(times + place, max(late, load<f32>(list + load<u32>(list), Timeline.Time)));
  store<f32>(at(load<u32>(record, TimesLoss.Inverses), frame) + place, nudge);
  store<u32>(at(load<u32>(record, TimesLoss.Counts), frame) + place, heard);
}

/** Adds the penalty to every sample's loss (the first's, if the loss is a sum) and its derivative to the gradient. */
export function weightSumPenalty(record: usize, frame: usize): void {
  const neurons = load<u32>(record, WeightSum.Neurons);
  const bytes = load<u32>(record, WeightSum.PanelBytes) as usize;
  const threshold = load<f32>(record, WeightSum.Threshold);
  const scale = load<f32>(record, WeightSum.Scale);
  let panel = at(load<u32>(record, WeightSum.Weight), frame);
  let gradient = at(load<u32>(record, WeightSum.Gradient), frame);
  let penalty: f32 = 0;
  for (let first: u32 = 0; first < neurons; first += 16, panel += bytes, gradient += bytes) {
    const end = min(neurons - first, 16);
    for (let v: u32 = 0; v < end; v += 4) {
      const w = panel + (v << 2);
      const lanes = min(end - v, 4);
      if (ASC_FEATURE_SIMD) {
        let sums = f32x4.splat(0);
        for (let row: usize = 0; row < bytes; row += 64) sums = f32x4.add(sums, v128.load(w + row));
        for (let lane: u32 = 0; lane < lanes; ++lane) {
          penalty += missing(f32x4.extract_lane(sums, 0), threshold, gradient + ((v + lane) << 2), bytes, scale);
          sums = v128.shuffle<i32>(sums, sums, 1, 2, 3, 0);
        }
      } else {
        for (let lane: u32 = 0; lane < lanes; ++lane) {
          let sum: f32 = 0;
          for (let row: usize = 0; row < bytes; row += 64) sum += load<f32>(w + row + (lane << 2));
          penalty += missing(sum, threshold, gradient + ((v + lane) << 2), bytes, scale);
        }
      }
    }
  }
  penalty *= scale;
  const losses = load<u32>(record, WeightSum.Losses) as usize;
  const mean = load<u32>(record, WeightSum.Mean) != 0;
  const samples: u32 = mean ? load<u32>(load<u32>(frame, Frame.Control), Control.Samples) : 1;
  for (let sample: u32 = 0; sample < samples; ++sample) {
    store<u32>(frame, sample, Frame.Sample);
    const loss = at(losses, frame);
    store<f32>(loss, load<f32>(loss) + penalty);
  }
}

/** What a neuron's weight sum lacks; its gradients take -scale. */
@inline
function missing(sum: f32, threshold: f32, gradient: usize, bytes: usize, scale: f32): f32 {
  if (sum >= threshold) return 0;
  for (let row: usize = 0; row < bytes; row += 64) store<f32>(gradient + row, load<f32>(gradient + row) - scale);
  return threshold - sum;
}

export function nudgeSilent(record: usize, frame: usize): void {
  const neurons = load<u32>(record, Nudge.Neurons);
  const bytes = load<u32>(record, Nudge.PanelBytes) as usize;
  const weights = at(load<u32>(record, Nudge.Weight), frame);
  const state = at(load<u32>(record, Nudge.State), frame);
  const amount = load<f32>(record, Nudge.Amount);
  const most = load<f32>(record, Nudge.Most);
  const samples = load<u32>(load<u32>(frame, Frame.Control), Control.Samples);
  for (let sample: u32 = 0; sample < samples; ++sample) {
    store<u32>(frame, sample, Frame.Sample);
    if (!(load<f32>(at(load<u32>(record, Nudge.Losses), frame)) < Infinity)) return;
  }
  const stored = (neurons + 15) & ~15;
  const length = load<u32>(record, Nudge.Length);
  for (let j: u32 = 0; j < neurons; ++j) {
    let fired = false;
    for (let sample: u32 = 0; sample < samples && !fired; ++sample) {
      store<u32>(frame, sample, Frame.Sample);
      const times = at(load<u32>(record, Nudge.Times), frame);
      for (let i = j; i < length && !fired; i += stored) fired = load<f32>(times + (i << 2)) < Infinity;
    }
    const last = state + (j << 2);
    if (fired) {
      store<f32>(last, 0);
      continue;
    }
    const next = load<f32>(last) > 0 ? min(load<f32>(last) * 2, most) : amount;
    store<f32>(last, next);
    const w = weights + ((j >> 4) as usize) * bytes + ((j & 15) << 2);
    for (let row: usize = 0; row < bytes; row += 64) store<f32>(w + row, load<f32>(w + row) + next);
  }
}
