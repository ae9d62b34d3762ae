// Poisson (Bernoulli) coding: at each step input x spikes with probability |x| · gain, with the sign of x.
// Number (seed, stream, epoch, sample, step, index) decides; index i draws word (i >> 2) & 3 of counter
// 4 (i >> 4) + (i & 3), see math/philox.ts.

import { Control, Frame, Poisson } from "../abi";
import { philox16 } from "../math/philox";
import { at } from "../view";

/** Once a sample: probability to a limit on 31-bit random numbers, and the signs. */
export function poissonSetup(poisson: usize, frame: usize): void {
  const count = load<u32>(poisson, Poisson.Count) as usize;
  const input = at(load<u32>(poisson, Poisson.Input), frame);
  const limits = at(load<u32>(poisson, Poisson.Limits), frame);
  const signs = load<u32>(poisson, Poisson.Amplitude) as usize;
  const amplitude = signs ? at(signs, frame) : 0;
  const gain = load<f32>(poisson, Poisson.Gain);
  for (let i: usize = 0; i < count; ++i) {
    const x = load<f32>(input + (i << 2));
    const p = Mathf.abs(x) * gain;
    // p · 2^31 is exact; below one 2^31-th nothing ever spikes, from 1 on everything does.
    store<i32>(limits + (i << 2), p >= 1 ? i32.MAX_VALUE : ((p * 2147483648.0) as i32) - 1);
    if (signs) store<f32>(amplitude + (i << 2), x < 0 ? -1 : 1);
  }
  for (let i = count; i & 15; ++i) store<i32>(limits + (i << 2), -1);
}

/** Bits of the four places whose 31-bit random number is within its limit. */
@inline
function below(random: usize, limits: usize): u32 {
  return i32x4.bitmask(i32x4.le_s(i32x4.shr_u(v128.load(random), 1), v128.load(limits)));
}

/** One step: spikes as bits. */
export function poissonStep(poisson: usize, frame: usize): void {
  const count = load<u32>(poisson, Poisson.Count);
  const limits = at(load<u32>(poisson, Poisson.Limits), frame);
  const scratch = at(load<u32>(poisson, Poisson.Scratch), frame);
  const bits = at(load<u32>(poisson, Poisson.Bits), frame);
  const key0 = load<u32>(poisson, Poisson.Key0);
  const key1 = load<u32>(poisson, Poisson.Key1);
  const control = load<u32>(frame, Frame.Control) as usize;
  const step = load<u32>(frame, Frame.Step) + load<u32>(control, Control.FirstStep);
  const sample = load<u32>(load<u32>(control, Control.SampleIds) + (load<u32>(frame, Frame.Sample) << 2));
  const epoch = load<u32>(control, Control.Epoch);
  const words = scratch + 64; // behind the sixteen random words: the compact bits
  let spikes: u32 = 0;
  for (let i: u32 = 0; i < count; i += 16) {
    const group = limits + (i << 2);
    let mask: u32 = 0;
    if (load<u64>(group) & load<u64>(group, 8) & load<u64>(group, 16) & load<u64>(group, 24) & load<u64>(group, 32) & load<u64>(group, 40) & load<u64>(group, 48) & load<u64>(group, 56) ^ u64.MAX_VALUE) {
      philox16(scratch, i >> 2, step, sample, epoch, key0, key1);
      if (ASC_FEATURE_SIMD) {
        mask = below(scratch, group) | (below(scratch + 16, group + 16) << 4) | (below(scratch + 32, group + 32) << 8) | (below(scratch + 48, group + 48) << 12);
      } else {
        for (let k: u32 = 0; k < 16; ++k) {
          mask |= (((load<u32>(scratch + (k << 2)) >> 1) as i32) <= load<i32>(group + (k << 2)) ? 1 : 0) << k;
        }
      }
      spikes += popcnt(mask);
    }
    store<u16>(words + (i >> 3), mask as u16);
  }
  // Rows start at whole words.
  const rows = load<u32>(poisson, Poisson.Rows);
  const rowLength = load<u32>(poisson, Poisson.RowLength);
  const rowWords = load<u32>(poisson, Poisson.RowWords);
  for (let row: u32 = 0; row < rows; ++row) {
    for (let j: u32 = 0; j < rowWords; ++j) {
      const first = row * rowLength + (j << 5);
      const length = min(rowLength - (j << 5), 32);
      // Eight bytes from the byte of the first bit hold any 32 bits; the scratch is padded for it.
      const window = (load<u64>(words + (first >> 3)) >> (first & 7)) as u32;
      store<u32>(bits + ((row * rowWords + j) << 2), length == 32 ? window : window & ((1 << length) - 1));
    }
  }
  const counter = at(load<u32>(poisson, Poisson.Spikes), frame);
  store<u32>(counter, load<u32>(counter) + spikes);
}
