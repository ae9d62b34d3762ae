// G = Wᵀ D of a dense synapse for every presynaptic neuron and every step of a sample, where all of them are needed.
//
// Per neuron eight lane partials over its weights (vectors of even and odd place), then the fixed tree of fanout.ts. Four
// neurons go together, so that their trees become vertical adds; all steps of four neurons are done while their weights are
// in the first-level cache. Bound by loads (five for eight arithmetic instructions).

import { Deliver, View } from "../abi";
import { at } from "../view";

export function deliver(record: usize, frame: usize): void {
  const neurons = load<u32>(record, Deliver.Neurons) as usize;
  const vectors = load<u32>(record, Deliver.Vectors);
  const stride = load<u32>(record, Deliver.WeightStride) as usize;
  const steps = load<u32>(record, Deliver.Steps);
  const deltaView = load<u32>(record, Deliver.Delta) as usize;
  const deltaStep = load<u32>(deltaView, View.PerStep) as usize;
  const toView = load<u32>(record, Deliver.Delivered) as usize;
  const toStep = load<u32>(toView, View.PerStep) as usize;
  const deltas = at(deltaView, frame);
  let w = at(load<u32>(record, Deliver.Weight), frame);
  let to = at(toView, frame);
  for (let i: usize = 0; i < neurons; i += 4) {
    let d = deltas;
    let g = to;
    for (let t: u32 = 0; t < steps; ++t) {
      four(w, stride, d, vectors, g);
      d += deltaStep;
      g += toStep;
    }
    w += stride << 2;
    to += 16;
  }
}

@inline
function four(w: usize, stride: usize, d: usize, vectors: u32, to: usize): void {
  if (ASC_FEATURE_SIMD) {
    let p = w;
    let q = w + stride;
    let r = q + stride;
    let s = r + stride;
    let ae = f32x4.splat(0);
    let ao = ae;
    let be = ae;
    let bo = ae;
    let ce = ae;
    let co = ae;
    let de = ae;
    let do_ = ae;
    let n = vectors;
    for (; n >= 2; n -= 2) {
      const x = v128.load(d);
      const y = v128.load(d, 16);
      ae = f32x4.add(ae, f32x4.mul(v128.load(p), x));
      be = f32x4.add(be, f32x4.mul(v128.load(q), x));
      ce = f32x4.add(ce, f32x4.mul(v128.load(r), x));
      de = f32x4.add(de, f32x4.mul(v128.load(s), x));
      ao = f32x4.add(ao, f32x4.mul(v128.load(p, 16), y));
      bo = f32x4.add(bo, f32x4.mul(v128.load(q, 16), y));
      co = f32x4.add(co, f32x4.mul(v128.load(r, 16), y));
      do_ = f32x4.add(do_, f32x4.mul(v128.load(s, 16), y));
      d += 32;
      p += 32;
      q += 32;
      r += 32;
      s += 32;
    }
    if (n) {
      const x = v128.load(d);
      ae = f32x4.add(ae, f32x4.mul(v128.load(p), x));
      be = f32x4.add(be, f32x4.mul(v128.load(q), x));
      ce = f32x4.add(ce, f32x4.mul(v128.load(r), x));
      de = f32x4.add(de, f32x4.mul(v128.load(s), x));
    }
    const a = f32x4.add(ae, ao);
    const b = f32x4.add(be, bo);
    const c = f32x4.add(ce, co);
    const e = f32x4.add(de, do_);
    // Lanes 0+2 and 1+3 of two neurons at a time, then both of all four.
    const ab = f32x4.add(v128.shuffle<i32>(a, b, 0, 1, 4, 5), v128.shuffle<i32>(a, b, 2, 3, 6, 7));
    const ce2 = f32x4.add(v128.shuffle<i32>(c, e, 0, 1, 4, 5), v128.shuffle<i32>(c, e, 2, 3, 6, 7));
    v128.store(to, f32x4.add(v128.shuffle<i32>(ab, ce2, 0, 2, 4, 6), v128.shuffle<i32>(ab, ce2, 1, 3, 5, 7)));
    return;
  }
  for (let k: usize = 0; k < 4; ++k) {
    const p = w + k * stride;
    let e0: f32 = 0;
    let e1: f32 = 0;
    let e2: f32 = 0;
    let e3: f32 = 0;
    let o0: f32 = 0;
    let o1: f32 = 0;
    let o2: f32 = 0;
    let o3: f32 = 0;
    for (let n: u32 = 0; n < vectors; ++n) {
      const o = (n as usize) << 4;
      if (n & 1) {
        o0 += load<f32>(p + o) * load<f32>(d + o);
        o1 += load<f32>(p + o, 4) * load<f32>(d + o, 4);
        o2 += load<f32>(p + o, 8) * load<f32>(d + o, 8);
        o3 += load<f32>(p + o, 12) * load<f32>(d + o, 12);
      } else {
        e0 += load<f32>(p + o) * load<f32>(d + o);
        e1 += load<f32>(p + o, 4) * load<f32>(d + o, 4);
        e2 += load<f32>(p + o, 8) * load<f32>(d + o, 8);
        e3 += load<f32>(p + o, 12) * load<f32>(d + o, 12);
      }
    }
    store<f32>(to + (k << 2), e0 + o0 + (e2 + o2) + (e1 + o1 + (e3 + o3)));
  }
}
