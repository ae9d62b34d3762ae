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
    let t: u32 = 0;
    if (ASC_FEATURE_SIMD) {
      if (vectors == 3) {
        for (; t + 1 < steps; t += 2) {
          twoSteps(w, stride, d, deltaStep, g, toStep);
          d += deltaStep << 1;
          g += toStep << 1;
        }
      }
    }
    for (; t < steps; ++t) {
      four(w, stride, d, vectors, g);
      d += deltaStep;
      g += toStep;
    }
    w += stride << 2;
    to += 16;
  }
}

/** `four` for three vectors and two steps, which share the loads of the weights. */
@inline
function twoSteps(w: usize, stride: usize, d: usize, deltaStep: usize, to: usize, toStep: usize): void {
  const x0 = v128.load(d);
  const x1 = v128.load(d, 16);
  const x2 = v128.load(d, 32);
  const y0 = v128.load(d + deltaStep);
  const y1 = v128.load(d + deltaStep, 16);
  const y2 = v128.load(d + deltaStep, 32);
  let w0 = v128.load(w);
  let w1 = v128.load(w, 16);
  let w2 = v128.load(w, 32);
  const xa = three(w0, w1, w2, x0, x1, x2);
  const ya = three(w0, w1, w2, y0, y1, y2);
  w += stride;
  w0 = v128.load(w);
  w1 = v128.load(w, 16);
  w2 = v128.load(w, 32);
  const xb = three(w0, w1, w2, x0, x1, x2);
  const yb = three(w0, w1, w2, y0, y1, y2);
  w += stride;
  w0 = v128.load(w);
  w1 = v128.load(w, 16);
  w2 = v128.load(w, 32);
  const xc = three(w0, w1, w2, x0, x1, x2);
  const yc = three(w0, w1, w2, y0, y1, y2);
  w += stride;
  w0 = v128.load(w);
  w1 = v128.load(w, 16);
  w2 = v128.load(w, 32);
  const xd = three(w0, w1, w2, x0, x1, x2);
  const yd = three(w0, w1, w2, y0, y1, y2);
  v128.store(to, trees(xa, xb, xc, xd));
  v128.store(to + toStep, trees(ya, yb, yc, yd));
}

/** Even plus odd partials of three vectors; the even ones begin at +0, so that no sum is -0. */
@inline
function three(w0: v128, w1: v128, w2: v128, x0: v128, x1: v128, x2: v128): v128 {
  const even = f32x4.add(f32x4.add(f32x4.splat(0), f32x4.mul(w0, x0)), f32x4.mul(w2, x2));
  return f32x4.add(even, f32x4.mul(w1, x1));
}

/** The trees of four neurons: lanes 0+2 and 1+3 of two at a time, then both of all four. */
@inline
export function trees(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.add(v128.shuffle<i32>(a, b, 0, 1, 4, 5), v128.shuffle<i32>(a, b, 2, 3, 6, 7));
  const cd = f32x4.add(v128.shuffle<i32>(c, d, 0, 1, 4, 5), v128.shuffle<i32>(c, d, 2, 3, 6, 7));
  return f32x4.add(v128.shuffle<i32>(ab, cd, 0, 2, 4, 6), v128.shuffle<i32>(ab, cd, 1, 3, 5, 7));
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
    let df = ae;
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
      df = f32x4.add(df, f32x4.mul(v128.load(s, 16), y));
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
    v128.store(to, trees(f32x4.add(ae, ao), f32x4.add(be, bo), f32x4.add(ce, co), f32x4.add(de, df)));
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
