// Adamax: Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, section 7.1; PyTorch's form.
//   d = g + wd · w ;  m = β1 m + (1 - β1) d ;  n = max(β2 n, |d| + ε) ;  w -= rate / (1 - β1^k) · m / n
// With β1 = 0, usual for `decolle`, m is d and is not kept. Coefficients in f64, rounded to f32 once. Bound by memory: four
// streams read, three written.

import { Frame, Hyper, Update } from "../abi";

export function adamax(record: usize, frame: usize): void {
  const weight = load<u32>(record, Update.Weight) as usize;
  const gradient = load<u32>(record, Update.Gradient) as usize;
  const first = load<u32>(record, Update.First) as usize;
  const second = load<u32>(record, Update.Second) as usize;
  const hyper = load<u32>(record, Update.Hyper) as usize;
  const rate = load<f64>(hyper, Hyper.Rate) * (load<f32>(record, Update.Scale) as f64);
  const decay = load<f64>(hyper, Hyper.Decay) as f32;
  const beta1 = load<f64>(hyper, Hyper.First);
  const keep1 = beta1 as f32;
  const add1 = (1 - beta1) as f32;
  const keep2 = load<f64>(hyper, Hyper.Second) as f32;
  const epsilon = load<f64>(hyper, Hyper.Epsilon) as f32;
  const step = (rate / (1 - load<f64>(hyper, Hyper.FirstPower))) as f32;
  const rank = load<u32>(frame, Frame.Rank) as usize;
  const ranks = load<u32>(frame, Frame.Ranks) as usize;
  const vectors = (load<u32>(record, Update.Count) as usize) >> 2;
  const end = ((vectors * (rank + 1)) / ranks) << 4;
  for (let p = ((vectors * rank) / ranks) << 4; p < end; p += 16) {
    if (ASC_FEATURE_SIMD) {
      const w = v128.load(weight + p);
      const d = f32x4.add(v128.load(gradient + p), f32x4.mul(f32x4.splat(decay), w));
      let m = d;
      if (keep1 != 0) {
        m = f32x4.add(f32x4.mul(f32x4.splat(keep1), v128.load(first + p)), f32x4.mul(f32x4.splat(add1), d));
        v128.store(first + p, m);
      }
      const n = f32x4.max(f32x4.mul(f32x4.splat(keep2), v128.load(second + p)), f32x4.add(f32x4.abs(d), f32x4.splat(epsilon)));
      v128.store(second + p, n);
      v128.store(weight + p, f32x4.sub(w, f32x4.mul(f32x4.splat(step), f32x4.div(m, n))));
    } else {
      for (let k = p; k < p + 16; k += 4) {
        const w = load<f32>(weight + k);
        const d = load<f32>(gradient + k) + decay * w;
        let m = d;
        if (keep1 != 0) {
          m = keep1 * load<f32>(first + k) + add1 * d;
          store<f32>(first + k, m);
        }
        const n = max<f32>(keep2 * load<f32>(second + k), abs<f32>(d) + epsilon);
        store<f32>(second + k, n);
        store<f32>(weight + k, w - step * (m / n));
      }
    }
  }
}
