// Biases: one value a channel.
//
//   forward   I = b at every position (0 without biases): the first term of every chain of sums
//   backward  db_c += Σ over positions of D, ascending
// Bound by stores (forward) and by the chain of adds of a channel (backward).

import { Bias } from "../abi";
import { at } from "../view";

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
  const rows = load<u32>(record, Bias.Rows);
  const bytes = (load<u32>(record, Bias.RowLength) as usize) << 2;
  const stride = load<u32>(record, Bias.Stride) as usize;
  const period = (load<u32>(record, Bias.Channels) as usize) << 2;
  const gradient = at(load<u32>(record, Bias.Gradient), frame);
  const field = at(load<u32>(record, Bias.Field), frame);
  for (let c: usize = 0; c < period; c += 16) {
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
