// Stochastic gradient descent, PyTorch's form:
//   d = g + wd · w ;  b = μ b + d (b = d at the first step, b starting at 0) ;  w -= rate · b
// Condition last, as in adam.ts. Bound by memory: three streams read, two written.

import { Hyper, Update } from "../abi";
import { endOfStretch, nextStretch } from "../team";

export function sgd(record: usize, frame: usize): void {
  const weight = load<u32>(record, Update.Weight) as usize;
  const gradient = load<u32>(record, Update.Gradient) as usize;
  const velocity = load<u32>(record, Update.First) as usize;
  const hyper = load<u32>(record, Update.Hyper) as usize;
  const rate = (load<f64>(hyper, Hyper.Rate) as f32) * load<f32>(record, Update.Scale);
  const momentum = load<f64>(hyper, Hyper.First) as f32;
  const decay = load<f64>(hyper, Hyper.Decay) as f32;
  const bytes = (load<u32>(record, Update.Count) as usize) << 2;
  for (let p = nextStretch(0, bytes, frame); p < bytes; p = nextStretch(p, bytes, frame)) {
    const end = endOfStretch(p, bytes, frame);
    do {
      if (ASC_FEATURE_SIMD) {
        const w = v128.load(weight + p);
        let d = f32x4.add(v128.load(gradient + p), f32x4.mul(f32x4.splat(decay), w));
        if (velocity) {
          d = f32x4.add(f32x4.mul(f32x4.splat(momentum), v128.load(velocity + p)), d);
          v128.store(velocity + p, d);
        }
        v128.store(weight + p, f32x4.sub(w, f32x4.mul(f32x4.splat(rate), d)));
      } else {
        for (let k = p; k < p + 16; k += 4) {
          const w = load<f32>(weight + k);
          let d = load<f32>(gradient + k) + decay * w;
          if (velocity) {
            d = momentum * load<f32>(velocity + k) + d;
            store<f32>(velocity + k, d);
          }
          store<f32>(weight + k, w - rate * d);
        }
      }
      p += 16;
    } while (p < end);
  }
}
