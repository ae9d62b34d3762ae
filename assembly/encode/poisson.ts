// Poisson (Bernoulli) coding: at each step input x spikes with probability |x| · gain, with the sign of x.
// Number (seed, stream, epoch, sample, step, index) decides; index i draws word (i >> 2) & 3 of counter
// 4 (i >> 4) + (i & 3), see math/philox.ts.
// Counters all of whose inputs are 0 are left out.

import { Control, Frame, Poisson, PoissonGroup } from "../abi";
import { philoxOf } from "../math/philox";
import { at } from "../view";

/** Once a sample: groups of four counters with the limits of their inputs on 31-bit random numbers, and the signs. */
export function poissonSetup(poisson: usize, frame: usize): void {
  const count = load<u32>(poisson, Poisson.Count) as usize;
  const rowLength = load<u32>(poisson, Poisson.RowLength) as usize;
  const rowBits = load<u32>(poisson, Poisson.RowWords) << 5;
  const input = at(load<u32>(poisson, Poisson.Input), frame);
  const signs = load<u32>(poisson, Poisson.Amplitude) as usize;
  const amplitude = signs ? at(signs, frame) : 0;
  const gain = load<f32>(poisson, Poisson.Gain);
  const list = at(load<u32>(poisson, Poisson.Groups), frame);
  if (signs) {
    for (let k: usize = 0; k < count << 2; k += 4) store<f32>(amplitude + k, load<f32>(input + k) < 0 ? -1 : 1);
  }
  let group = list + 16;
  let lane: usize = 0;
  const counters = ((count + 15) >> 4) << 2;
  for (let counter: usize = 0; counter < counters; ++counter) {
    const first = ((counter >> 2) << 4) + (counter & 3);
    let some = false;
    for (let word: usize = 0; word < 4; ++word) {
      const i = first + (word << 2);
      const place = group + (((word << 2) + lane) << 2);
      let limit: i32 = -1;
      if (i < count) {
        const p = Mathf.abs(load<f32>(input + (i << 2))) * gain;
        // p · 2^31 is exact; below one 2^31-th nothing ever spikes, from 1 on everything does.
        limit = p >= 1 ? i32.MAX_VALUE : ((p * 2147483648.0) as i32) - 1;
        const row = i / rowLength;
        store<u32>(place, (row as u32) * rowBits + ((i - row * rowLength) as u32), PoissonGroup.Places);
      }
      store<i32>(place, limit, PoissonGroup.Limits);
      if (limit >= 0) some = true;
    }
    if (!some) continue;
    store<u32>(group + (lane << 2), counter as u32, PoissonGroup.Counters);
    if (++lane < 4) continue;
    lane = 0;
    group += PoissonGroup.Size;
  }
  if (lane) {
    for (; lane < 4; ++lane) {
      store<u32>(group + (lane << 2), 0, PoissonGroup.Counters);
      for (let word: usize = 0; word < 64; word += 16) store<i32>(group + word + (lane << 2), -1, PoissonGroup.Limits);
    }
    group += PoissonGroup.Size;
  }
  store<u32>(list, group as u32);
}

/** Bits of the four places whose 31-bit random number is within its limit. */
@inline
function below(random: usize, limits: usize): u32 {
  return i32x4.bitmask(i32x4.le_s(i32x4.shr_u(v128.load(random), 1), v128.load(limits)));
}

/** One step: spikes as bits. */
export function poissonStep(poisson: usize, frame: usize): void {
  const list = at(load<u32>(poisson, Poisson.Groups), frame);
  const random = at(load<u32>(poisson, Poisson.Scratch), frame);
  const bits = at(load<u32>(poisson, Poisson.Bits), frame);
  const key0 = load<u32>(poisson, Poisson.Key0);
  const key1 = load<u32>(poisson, Poisson.Key1);
  const control = load<u32>(frame, Frame.Control) as usize;
  const step = load<u32>(frame, Frame.Step) + load<u32>(control, Control.FirstStep);
  const sample = load<u32>(load<u32>(control, Control.SampleIds) + (load<u32>(frame, Frame.Sample) << 2));
  const epoch = load<u32>(control, Control.Epoch);
  memory.fill(bits, 0, (load<u32>(poisson, Poisson.Rows) * load<u32>(poisson, Poisson.RowWords)) << 2);
  const end = load<u32>(list) as usize;
  let spikes: u32 = 0;
  for (let group = list + 16; group < end; group += PoissonGroup.Size) {
    philoxOf(random, group + PoissonGroup.Counters, step, sample, epoch, key0, key1);
    const limits = group + PoissonGroup.Limits;
    let mask: u32 = 0;
    if (ASC_FEATURE_SIMD) {
      mask = below(random, limits) | (below(random + 16, limits + 16) << 4) | (below(random + 32, limits + 32) << 8) | (below(random + 48, limits + 48) << 12);
    } else {
      for (let k: u32 = 0; k < 16; ++k) {
        mask |= (((load<u32>(random + (k << 2)) >> 1) as i32) <= load<i32>(limits + (k << 2)) ? 1 : 0) << k;
      }
    }
    spikes += popcnt(mask);
    while (mask) {
      const place = load<u32>(group + (ctz(mask) << 2), PoissonGroup.Places);
      mask &= mask - 1;
      const word = bits + ((place >> 5) << 2);
      store<u32>(word, load<u32>(word) | (1 << (place & 31)));
    }
  }
  const counter = at(load<u32>(poisson, Poisson.Spikes), frame);
  store<u32>(counter, load<u32>(counter) + spikes);
}
