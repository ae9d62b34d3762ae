// Adam and AdamW: Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015; Loshchilov and Hutter, "Decoupled
// weight decay regularization", ICLR 2019; PyTorch's form.
//   d = g + wd · w                        AdamW: d = g, and w shrinks by 1 - rate · wd first
//   m = β1 m + (1 - β1) d ;  v = β2 v + (1 - β2) d²
//   w -= rate / (1 - β1^k) · m / (sqrt(v) / sqrt(1 - β2^k) + ε)
// Coefficients in f64, rounded to f32 once. Bound by division, root and memory: four streams read, three written.

import { Hyper, Update } from "../abi";
import { endOfStretch, nextStretch } from "../team";

export function adam(record: usize, frame: usize): void {
  const weight = load<u32>(record, Update.Weight) as usize;
  const gradient = load<u32>(record, Update.Gradient) as usize;
  const first = load<u32>(record, Update.First) as usize;
  const second = load<u32>(record, Update.Second) as usize;
  const hyper = load<u32>(record, Update.Hyper) as usize;
  const rate = load<f64>(hyper, Hyper.Rate) * (load<f32>(record, Update.Scale) as f64);
  const decay = load<f64>(hyper, Hyper.Decay);
  const decoupled = load<u32>(hyper, Hyper.Decoupled) != 0;
  const couple = (decoupled ? <f64>0 : decay) as f32;
  const shrink = (decoupled ? 1 - rate * decay : <f64>1) as f32;
  const beta1 = load<f64>(hyper, Hyper.First);
  const beta2 = load<f64>(hyper, Hyper.Second);
  const keep1 = beta1 as f32;
  const keep2 = beta2 as f32;
  const add1 = (1 - beta1) as f32;
  const add2 = (1 - beta2) as f32;
  const epsilon = load<f64>(hyper, Hyper.Epsilon) as f32;
  const step = (rate / (1 - load<f64>(hyper, Hyper.FirstPower))) as f32;
  const root = (1 / sqrt<f64>(1 - load<f64>(hyper, Hyper.SecondPower))) as f32;
  const bytes = (load<u32>(record, Update.Count) as usize) << 2;
  for (let p = nextStretch(0, bytes, frame); p < bytes; p = nextStretch(p, bytes, frame)) {
    const end = endOfStretch(p, bytes, frame);
    // The condition comes last: out of a loop that begins with it engines move nothing, here the making of all coefficients.
    do {
      if (ASC_FEATURE_SIMD) {
        const w = v128.load(weight + p);
        const d = f32x4.add(v128.load(gradient + p), f32x4.mul(f32x4.splat(couple), w));
        const m = f32x4.add(f32x4.mul(f32x4.splat(keep1), v128.load(first + p)), f32x4.mul(f32x4.splat(add1), d));
        const v = f32x4.add(f32x4.mul(f32x4.splat(keep2), v128.load(second + p)), f32x4.mul(f32x4.splat(add2), f32x4.mul(d, d)));
        v128.store(first + p, m);
        v128.store(second + p, v);
        const deviation = f32x4.add(f32x4.mul(f32x4.sqrt(v), f32x4.splat(root)), f32x4.splat(epsilon));
        const change = f32x4.mul(f32x4.splat(step), f32x4.div(m, deviation));
        v128.store(weight + p, f32x4.sub(f32x4.mul(f32x4.splat(shrink), w), change));
      } else {
        for (let k = p; k < p + 16; k += 4) {
          const w = load<f32>(weight + k);
          const d = load<f32>(gradient + k) + couple * w;
          const m = keep1 * load<f32>(first + k) + add1 * d;
          const v = keep2 * load<f32>(second + k) + add2 * (d * d);
          store<f32>(first + k, m);
          store<f32>(second + k, v);
          const deviation = sqrt<f32>(v) * root + epsilon;
          store<f32>(weight + k, shrink * w - step * (m / deviation));
        }
      }
      p += 16;
    } while (p < end);
  }
}
