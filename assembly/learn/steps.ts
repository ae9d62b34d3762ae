// Losses of networks whose last layer spikes and is read at every step: over its membranes u_t, or over its rate.
//
//   on membranes   y = 1/T Σ_t u_t     L = Σ_t l(u_t)     dL/du_t = 1/B · l'(u_t)
//   on the rate    y = 1/T Σ_t s_t     L = l(y)           dL/ds_t = 1/(B T) · l'(y)
//   l(z) = ln Σ_k e^{z_k} - z_label (cross-entropy)   or   Σ_k (z_k - onehot_k)² (squared error)
// B samples a batch where the loss is a mean over it, else 1; what is stored a sample is L itself. With a dL/dy from outside
// dL/du_t (or dL/ds_t) is that over T. Sums over steps ascend. Bound by the exponentials.

import { Control, Frame, StepLoss, StepLossKind, View } from "../abi";
import { at } from "../view";

export function stepLoss(record: usize, frame: usize): void {
  const classes = load<u32>(record, StepLoss.Classes) as usize;
  const steps = load<u32>(record, StepLoss.Steps);
  const onRate = load<u32>(record, StepLoss.OnRate) != 0;
  const kind = load<u32>(record, StepLoss.Kind);
  const membraneView = load<u32>(record, StepLoss.Membrane) as usize;
  const membrane = at(membraneView, frame);
  const membraneStep = load<u32>(membraneView, View.PerStep) as usize;
  const bitsView = load<u32>(record, StepLoss.Bits) as usize;
  const bits = at(bitsView, frame);
  const bitsStep = load<u32>(bitsView, View.PerStep) as usize;
  const sum = at(load<u32>(record, StepLoss.Sum), frame);
  const outputs = at(load<u32>(record, StepLoss.Outputs), frame);
  const control = load<u32>(frame, Frame.Control) as usize;
  const total = (load<u32>(control, Control.FirstStep) + steps) as f32;
  const lossScale = load<f32>(record, StepLoss.LossScale);
  const samples: f32 = load<u32>(record, StepLoss.Mean) ? (load<u32>(control, Control.Samples) as f32) : 1;
  const share = lossScale / samples;
  const label = load<i32>(at(load<u32>(record, StepLoss.Labels), frame)) as usize;
  const deltaView = load<u32>(record, StepLoss.Delta) as usize;
  const delta = deltaView ? at(deltaView, frame) : 0;
  const deltaStep = deltaView ? (load<u32>(deltaView, View.PerStep) as usize) : 0;

  for (let t: usize = 0; t < steps; ++t) {
    for (let k: usize = 0; k < classes; ++k) {
      const value: f32 = onRate
        ? ((load<u32>(bits + t * bitsStep + ((k >> 5) << 2)) >> (k & 31)) & 1) as f32
        : load<f32>(membrane + t * membraneStep + (k << 2));
      store<f32>(sum + (k << 2), load<f32>(sum + (k << 2)) + value);
    }
  }
  for (let k: usize = 0; k < classes << 2; k += 4) store<f32>(outputs + k, load<f32>(sum + k) / total);

  if (isDefined(INFERENCE)) return;
  if (kind == StepLossKind.Given) {
    if (!deltaView) return;
    const given = at(load<u32>(record, StepLoss.Given), frame);
    for (let t: usize = 0; t < steps; ++t) {
      for (let k: usize = 0; k < classes << 2; k += 4) store<f32>(delta + t * deltaStep + k, load<f32>(given + k) / total);
    }
    return;
  }
  let loss: f32 = 0;
  if (onRate) {
    loss = one(kind, outputs, classes, label, delta, share / total);
    if (deltaView) for (let t: usize = 1; t < steps; ++t) memory.copy(delta + t * deltaStep, delta, classes << 2);
  } else {
    for (let t: usize = 0; t < steps; ++t) {
      loss += one(kind, membrane + t * membraneStep, classes, label, delta ? delta + t * deltaStep : 0, share);
    }
  }
  store<f32>(at(load<u32>(record, StepLoss.Losses), frame), loss * lossScale);
}

/** l(z), and scale · l'(z) at `delta` unless that is 0. */
function one(kind: u32, z: usize, classes: usize, label: usize, delta: usize, scale: f32): f32 {
  if (kind == StepLossKind.SquaredError) {
    let loss: f32 = 0;
    for (let k: usize = 0; k < classes; ++k) {
      const e = load<f32>(z + (k << 2)) - (k == label ? <f32>1 : <f32>0);
      loss += e * e;
      if (delta) store<f32>(delta + (k << 2), scale * (<f32>2 * e));
    }
    return loss;
  }
  if (!delta && label >= classes) return 0;
  let top = load<f32>(z);
  for (let k: usize = 1; k < classes; ++k) top = max(top, load<f32>(z + (k << 2)));
  let sum: f32 = 0;
  for (let k: usize = 0; k < classes; ++k) {
    const e = NativeMathf.exp(load<f32>(z + (k << 2)) - top);
    sum += e;
    if (delta) store<f32>(delta + (k << 2), e);
  }
  if (delta) {
    for (let k: usize = 0; k < classes; ++k) {
      store<f32>(delta + (k << 2), scale * (load<f32>(delta + (k << 2)) / sum - (k == label ? <f32>1 : <f32>0)));
    }
  }
  return label < classes ? NativeMathf.log(sum) + top - load<f32>(z + (label << 2)) : 0;
}
