// Biases: one value a channel.
//
//   forward   I = b at every position (0 without biases): the first term of every chain of sums
//   backward  db_c += Σ over positions of D, ascending
// Bound by stores (forward) and by the chain of adds of a channel (backward).

import { Bias, Control, Frame, View } from "../abi";
import { adamaxStep } from "../learn/adamax";
import { at, endOfShare, firstOfShare } from "../view";
import { addScaled } from "./fanout";

export function biasForward(record: usize, frame: usize): void {
  const rows = load<u32>(record, Bias.Rows);
  const bytes = (load<u32>(record, Bias.RowLength) as usize) << 2;
  const stride = load<u32>(record, Bias.Stride) as usize;
  const period = (load<u32>(record, Bias.Channels) as usize) << 2;
  const biasView = load<u32>(record, Bias.Bias) as usize;
  const bias = biasView ? at(biasView, frame) : 0;
  let row = at(load<u32>(record, Bias.Field), frame);
  for (let y: u32 = 0; y < rows; ++y, row += stride) {
    if (!bias) {
      memory.fill(row, 0, bytes);
      continue;
    }
    for (let p: usize = 0; p < bytes; p += period) {
      for (let c: usize = 0; c < period; c += 16) {
        if (ASC_FEATURE_SIMD) {
          v128.store(row + p + c, v128.load(bias + c));
        } else {
          store<u64>(row + p + c, load<u64>(bias + c));
          store<u64>(row + p + c, load<u64>(bias + c, 8), 8);
        }
      }
    }
  }
}

export function biasBackward(record: usize, frame: usize): void {
  const period = (load<u32>(record, Bias.Channels) as usize) << 2;
  addChannels(record, at(load<u32>(record, Bias.Gradient), frame), at(load<u32>(record, Bias.Field), frame), 0, period);
}

/** Gradient of the whole batch, samples ascending; `mode` as in ProductBackward. Ranks share the channels out. */
export function biasGradient(record: usize, mode: usize, frame: usize): void {
  const vectors = (load<u32>(record, Bias.Channels) as usize) >> 2;
  const first = firstOfShare(vectors, frame) << 4;
  const end = endOfShare(vectors, frame) << 4;
  const samples = load<u32>(load<u32>(frame, Frame.Control), Control.Samples);
  const stride = load<u32>(load<u32>(record, Bias.Field), View.PerSample) as usize;
  store<u32>(frame, 0, Frame.Sample);
  const gradient = at(load<u32>(record, Bias.Gradient), frame);
  let field = at(load<u32>(record, Bias.Field), frame);
  if (mode != 1) memory.fill(gradient + first, 0, end - first);
  for (let sample: u32 = 0; sample < samples; ++sample, field += stride) addChannels(record, gradient, field, first, end);
  if (mode > 1) adamaxStep(mode, gradient + first, first, end - first);
}

/** Adds D of channels `first … end - 1`, in bytes. */
function addChannels(record: usize, gradient: usize, field: usize, first: usize, end: usize): void {
  const rows = load<u32>(record, Bias.Rows);
  const bytes = (load<u32>(record, Bias.RowLength) as usize) << 2;
  const stride = load<u32>(record, Bias.Stride) as usize;
  const period = (load<u32>(record, Bias.Channels) as usize) << 2;
  // A dense layer has one position.
  if (rows == 1 && bytes == period) {
    addScaled(gradient + first, field + first, 1, ((end - first) >> 4) as i32, 1, 0, 0);
    return;
  }
  for (let c = first; c < end; c += 16) {
    if (ASC_FEATURE_SIMD) {
      let sum = v128.load(gradient + c);
      for (let y: u32 = 0; y < rows; ++y) {
        const row = field + y * stride + c;
        for (let p: usize = 0; p < bytes; p += period) sum = f32x4.add(sum, v128.load(row + p));
      }
      v128.store(gradient + c, sum);
    } else {
      for (let k = c; k < c + 16; k += 4) {
        let sum = load<f32>(gradient + k);
        for (let y: u32 = 0; y < rows; ++y) {
          const row = field + y * stride + k;
          for (let p: usize = 0; p < bytes; p += period) sum += load<f32>(row + p);
        }
        store<f32>(gradient + k, sum);
      }
    }
  }
}
