// G = Wᵀ D of a dense synapse for every presynaptic neuron and every step of a sample, where all of them are needed.
//
// Per neuron eight lane partials over its weights (vectors of even and odd place), then the fixed tree of fanout.ts. Four
// neurons go together, so that their trees become vertical adds; all steps of four neurons are done while their weights are
// in the first-level cache, or, of three vectors, in registers, a neuron a lane. Bound by arithmetic.

import { Deliver, View } from "../abi";
import { at } from "../view";

export function deliver(record: usize, frame: usize): void {
  const neurons = load<u32>(record, Deliver.Neurons) as usize;
  const outputs = load<u32>(record, Deliver.Outputs);
  const vectors = (outputs + 3) >> 2;
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
    if (ASC_FEATURE_SIMD && vectors == 3) {
      if (outputs <= 10) acrossLanes(w, stride, deltas, deltaStep, to, toStep, steps, 10);
      else acrossLanes(w, stride, deltas, deltaStep, to, toStep, steps, 12);
    } else {
      let d = deltas;
      let g = to;
      for (let t: u32 = 0; t < steps; ++t) {
        four(w, stride, d, vectors, g);
        d += deltaStep;
        g += toStep;
      }
    }
    w += stride << 2;
    to += 16;
  }
}

/**
 * All steps of four neurons, a neuron a lane, whose weights onto nine to twelve `outputs` stay in registers. Sums that begin at +0
 * never end in -0, so one +0 at the end is as good as eight at the beginning, and what would be added for padding is left out.
 */
@inline
function acrossLanes(w: usize, stride: usize, d: usize, deltaStep: usize, to: usize, toStep: usize, steps: u32, outputs: i32): void {
  const p = w;
  const q = w + stride;
  const r = q + stride;
  const s = r + stride;
  const w0 = column(p, q, r, s, 0, 0);
  const w1 = column(p, q, r, s, 0, 1);
  const w2 = column(p, q, r, s, 0, 2);
  const w3 = column(p, q, r, s, 0, 3);
  const w4 = column(p, q, r, s, 16, 0);
  const w5 = column(p, q, r, s, 16, 1);
  const w6 = column(p, q, r, s, 16, 2);
  const w7 = column(p, q, r, s, 16, 3);
  const w8 = column(p, q, r, s, 32, 0);
  const w9 = column(p, q, r, s, 32, 1);
  const w10 = outputs > 10 ? column(p, q, r, s, 32, 2) : w0;
  const w11 = outputs > 10 ? column(p, q, r, s, 32, 3) : w0;
  do {
    // Loaded by the vector: V8 would keep an address in a register for each load of a lane.
    const x = v128.load(d);
    const y = v128.load(d, 16);
    const z = v128.load(d, 32);
    let a = f32x4.add(f32x4.mul(w0, splat0(x)), f32x4.mul(w8, splat0(z)));
    let b = f32x4.mul(w2, splat2(x));
    if (outputs > 10) b = f32x4.add(b, f32x4.mul(w10, splat2(z)));
    a = f32x4.add(a, f32x4.mul(w4, splat0(y)));
    b = f32x4.add(b, f32x4.mul(w6, splat2(y)));
    const even = f32x4.add(a, b);
    a = f32x4.add(f32x4.mul(w1, splat1(x)), f32x4.mul(w9, splat1(z)));
    b = f32x4.mul(w3, splat3(x));
    if (outputs > 10) b = f32x4.add(b, f32x4.mul(w11, splat3(z)));
    a = f32x4.add(a, f32x4.mul(w5, splat1(y)));
    b = f32x4.add(b, f32x4.mul(w7, splat3(y)));
    v128.store(to, f32x4.add(f32x4.add(even, f32x4.add(a, b)), f32x4.splat(0)));
    d += deltaStep;
    to += toStep;
  } while (--steps);
}

/** Lane 0 in all lanes. */
@inline
function splat0(v: v128): v128 {
  return v128.shuffle<i32>(v, v, 0, 0, 0, 0);
}

@inline
function splat1(v: v128): v128 {
  return v128.shuffle<i32>(v, v, 1, 1, 1, 1);
}

@inline
function splat2(v: v128): v128 {
  return v128.shuffle<i32>(v, v, 2, 2, 2, 2);
}

@inline
function splat3(v: v128): v128 {
  return v128.shuffle<i32>(v, v, 3, 3, 3, 3);
}

/** Place `k` of the vectors at `offset` of four rows. */
@inline
function column(p: usize, q: usize, r: usize, s: usize, offset: usize, k: u8): v128 {
  const o = offset + ((k as usize) << 2);
  let c = v128.load32_splat(p + o);
  c = f32x4.replace_lane(c, 1, load<f32>(q + o));
  c = f32x4.replace_lane(c, 2, load<f32>(r + o));
  return f32x4.replace_lane(c, 3, load<f32>(s + o));
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
