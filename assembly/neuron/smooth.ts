// Spikes that can be differentiated, for checking gradients: in place of s = [u > θ] the primitive of its surrogate, so that
// the method's gradient is the true derivative of the loss. x = u - θ:
//   fastSigmoid 1/2 + x / (k |x| + 1)     atan 1/2 + atan(π k x / 2) / π     boxcar 1/2 + min(max(x, -1/2), 1/2)

import { Derivative, Smooth } from "../abi";
import { at } from "../view";

@inline
function primitive(x: f32, kind: u32, slope: f32): f32 {
  if (kind == Derivative.FastSigmoid) return 0.5 + x / (slope * Mathf.abs(x) + 1);
  if (kind == Derivative.Atan) return 0.5 + NativeMathf.atan(slope * x) * <f32>0.31830987;
  return 0.5 + min<f32>(max<f32>(x, -0.5), 0.5);
}

export function smooth(record: usize, frame: usize): void {
  const rows = load<u32>(record, Smooth.Rows);
  const rowLength = load<u32>(record, Smooth.RowLength);
  const channels = load<u32>(record, Smooth.Channels);
  const real = load<u32>(record, Smooth.RealChannels);
  const stride = load<u32>(record, Smooth.Stride) as usize;
  const kind = load<u32>(record, Smooth.Derivative);
  const slope = load<f32>(record, Smooth.Slope);
  const learned = load<u32>(record, Smooth.Learned) as usize;
  const theta = learned ? max<f32>(load<f32>(at(learned, frame)), 0) : load<f32>(record, Smooth.Threshold);
  const maskView = load<u32>(record, Smooth.Mask) as usize;
  let mask = maskView ? at(maskView, frame) : 0;
  let u = at(load<u32>(record, Smooth.Membrane), frame);
  let out = at(load<u32>(record, Smooth.Values), frame);
  for (let row: u32 = 0; row < rows; ++row, u += stride) {
    for (let i: u32 = 0; i < rowLength; ++i, out += 4) {
      let s: f32 = i % channels < real ? primitive(load<f32>(u + ((i as usize) << 2)) - theta, kind, slope) : 0;
      if (maskView) {
        s *= load<f32>(mask);
        mask += 4;
      }
      store<f32>(out, s);
    }
  }
}
