// Adamax: Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, section 7.1; PyTorch's form.
//   d = g + wd · w ;  m = β1 m + (1 - β1) d ;  n = max(β2 n, |d| + ε) ;  w -= rate / (1 - β1^k) · m / n
// With β1 = 0, usual for `decolle`, m is d and is not kept. Coefficients in f64, rounded to f32 once. Bound by memory: four
// streams read, three written; behind a product (synapse/product.ts) the gradient comes from cache.

import { Hyper, Update } from "../abi";
import { endOfStretch, nextStretch } from "../team";

export function adamax(record: usize, frame: usize): void {
  const bytes = (load<u32>(record, Update.Count) as usize) << 2;
  const gradient = load<u32>(record, Update.Gradient) as usize;
  for (let first = nextStretch(0, bytes, frame); first < bytes; ) {
    const end = endOfStretch(first, bytes, frame);
    adamaxStep(record, gradient + first, first, end - first);
    first = nextStretch(end, bytes, frame);
  }
}

/** Takes the step for `bytes` of the tensor from byte `offset` on, whose gradient is at `gradient`. */
export function adamaxStep(record: usize, gradient: usize, offset: usize, bytes: usize): void {
  let weight = (load<u32>(record, Update.Weight) as usize) + offset;
  let first = (load<u32>(record, Update.First) as usize) + offset;
  let second = (load<u32>(record, Update.Second) as usize) + offset;
  const hyper = load<u32>(record, Update.Hyper) as usize;
  const rate = load<f64>(hyper, Hyper.Rate) * (load<f32>(record, Update.Scale) as f64);
  const decay = load<f64>(hyper, Hyper.Decay) as f32;
  const beta1 = load<f64>(hyper, Hyper.First);
  const keep1 = beta1 as f32;
  const add1 = (1 - beta1) as f32;
  const keep2 = load<f64>(hyper, Hyper.Second) as f32;
  const epsilon = load<f64>(hyper, Hyper.Epsilon) as f32;
  const step = (rate / (1 - load<f64>(hyper, Hyper.FirstPower))) as f32;
  if (!bytes) return;
  const end = weight + bytes;
  // Condition last, as in adam.ts.
  do {
    if (ASC_FEATURE_SIMD) {
      const w = v128.load(weight);
      const d = f32x4.add(v128.load(gradient), f32x4.mul(f32x4.splat(decay), w));
      let m = d;
      if (keep1 != 0) {
        m = f32x4.add(f32x4.mul(f32x4.splat(keep1), v128.load(first)), f32x4.mul(f32x4.splat(add1), d));
        v128.store(first, m);
      }
      // One instruction, unlike max; NaN comes from d alone and stays.
      const n = f32x4.pmax(f32x4.add(f32x4.abs(d), f32x4.splat(epsilon)), f32x4.mul(f32x4.splat(keep2), v128.load(second)));
      v128.store(second, n);
      v128.store(weight, f32x4.sub(w, f32x4.mul(f32x4.splat(step), f32x4.div(m, n))));
    } else {
      for (let k: usize = 0; k < 16; k += 4) {
        const w = load<f32>(weight + k);
        const d = load<f32>(gradient + k) + decay * w;
        let m = d;
        if (keep1 != 0) {
          m = keep1 * load<f32>(first + k) + add1 * d;
          store<f32>(first + k, m);
        }
        const n = max<f32>(abs<f32>(d) + epsilon, keep2 * load<f32>(second + k));
        store<f32>(second + k, n);
        store<f32>(weight + k, w - step * (m / n));
      }
    }
    weight += 16;
    gradient += 16;
    first += 16;
    second += 16;
  } while (weight < end);
}
