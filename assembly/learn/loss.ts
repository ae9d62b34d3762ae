// Losses on the answer y of a sample, and what they send back into the output layer.
//
//   squared error    L = scale · Σ_k (y_k - onehot_k)²            dL/dy_k = scale · 2 (y_k - onehot_k)
//   cross-entropy    L = scale · (ln Σ_k e^{y_k} - y_label)       dL/dy_k = scale · (softmax(y)_k - onehot_k)
//   given            dL/dy comes from outside
// Then D_k = dL/dy_k · readout scale (1/(θ T) in `lee`), the same at every step.
// Losses stay sums over the batch; where the loss is a mean over it, dL/dy is divided by its samples.

import { Control, Frame, Output } from "../abi";
import { at } from "../view";

/** y = v · scale, stored; returns its address. */
function answer(output: usize, frame: usize): usize {
  const membrane = at(load<u32>(output, Output.Membrane), frame);
  const outputs = at(load<u32>(output, Output.Outputs), frame);
  const classes = load<u32>(output, Output.Classes) as usize;
  const scale = load<f32>(output, Output.Scale);
  for (let k: usize = 0; k < classes << 2; k += 4) store<f32>(outputs + k, load<f32>(membrane + k) * scale);
  return outputs;
}

/** Scale of dL/dy. */
@inline
function gradientScale(output: usize, frame: usize): f32 {
  const scale = load<f32>(output, Output.LossScale);
  if (!load<u32>(output, Output.Mean)) return scale;
  return scale / (load<u32>(load<u32>(frame, Frame.Control) as usize, Control.Samples) as f32);
}

export function squaredError(output: usize, frame: usize): void {
  const y = answer(output, frame);
  const classes = load<u32>(output, Output.Classes) as usize;
  const label = load<i32>(at(load<u32>(output, Output.Labels), frame)) as usize;
  const deltaView = load<u32>(output, Output.Delta) as usize;
  const delta = deltaView ? at(deltaView, frame) : 0;
  const scale = load<f32>(output, Output.Scale);
  const lossScale = load<f32>(output, Output.LossScale);
  const slope = gradientScale(output, frame);
  let loss: f32 = 0;
  for (let k: usize = 0; k < classes; ++k) {
    const e = load<f32>(y + (k << 2)) - (k == label ? <f32>1 : <f32>0);
    loss += e * e;
    if (deltaView) store<f32>(delta + (k << 2), slope * (2 * e) * scale);
  }
  store<f32>(at(load<u32>(output, Output.Losses), frame), loss * lossScale);
}

export function crossEntropy(output: usize, frame: usize): void {
  const y = answer(output, frame);
  const classes = load<u32>(output, Output.Classes) as usize;
  const label = load<i32>(at(load<u32>(output, Output.Labels), frame)) as usize;
  const deltaView = load<u32>(output, Output.Delta) as usize;
  const delta = deltaView ? at(deltaView, frame) : 0;
  const scale = load<f32>(output, Output.Scale);
  const lossScale = load<f32>(output, Output.LossScale);
  let top = load<f32>(y);
  for (let k: usize = 1; k < classes; ++k) top = max(top, load<f32>(y + (k << 2)));
  let sum: f32 = 0;
  for (let k: usize = 0; k < classes; ++k) sum += NativeMathf.exp(load<f32>(y + (k << 2)) - top);
  const logSum = NativeMathf.log(sum) + top;
  if (label < classes) store<f32>(at(load<u32>(output, Output.Losses), frame), (logSum - load<f32>(y + (label << 2))) * lossScale);
  if (!deltaView) return;
  const slope = gradientScale(output, frame);
  for (let k: usize = 0; k < classes; ++k) {
    const p = NativeMathf.exp(load<f32>(y + (k << 2)) - logSum) - (k == label ? <f32>1 : <f32>0);
    store<f32>(delta + (k << 2), slope * p * scale);
  }
}

/** Only the answer, and the gradient with respect to it as given by the caller. */
export function givenGradient(output: usize, frame: usize): void {
  answer(output, frame);
  const deltaView = load<u32>(output, Output.Delta) as usize;
  if (!deltaView) return;
  const classes = load<u32>(output, Output.Classes) as usize;
  const delta = at(deltaView, frame);
  const given = at(load<u32>(output, Output.Given), frame);
  const scale = load<f32>(output, Output.Scale);
  for (let k: usize = 0; k < classes << 2; k += 4) store<f32>(delta + k, load<f32>(given + k) * scale);
}
