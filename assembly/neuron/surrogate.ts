// `surrogate`: back-propagation through time with a surrogate derivative, as snnTorch's `Leaky` and `Synaptic` compute it.
// Neftci, Mostafa, Zenke, "Surrogate gradient learning in spiking neural networks", IEEE Signal Processing Magazine 36 (2019);
// Eshraghian et al., "Training spiking neural networks using lessons from deep learning", Proceedings of the IEEE 111 (2023).
//
// Leak β, synaptic decay α (optional), threshold θ:
//   r   = u_{t-1} > θ                            (the reset is delayed by one step; no gradient through r)
//   c_t = α c_{t-1} + I_t                        (without α: I_t)
//   u_t = (β u_{t-1} + c_t) - r θ                reset "subtract"
//   u_t = β (1 - r) u_{t-1} + c_t                reset "zero"
//   s_t = u_t > θ
// Backward, m the dropout mask and h the surrogate of ds/du:
//   U_t = G_t m h(u_t) + β U_{t+1} (1 - s_t with reset "zero", else 1)
//   D_t = U_t + α D_{t+1}                        (without α: U_t)
//   fastSigmoid 1 / (k |u-θ| + 1)²     atan (k/2) / (1 + (π k (u-θ) / 2)²)     boxcar 1 where |u-θ| < 1/2
// Where β or θ is learned (one of each a layer, kept in [0, 1] and at 0 or above; beyond these bounds the gradient is 0):
//   dβ += Σ U_t u_{t-1} (1 - r with reset "zero", else 1)     dθ -= Σ G_t m h(u_t) + (reset "subtract") r U_t
// In the last layer under a loss on membranes G is dL/du_t and h is 1.
//
// u_t of every step is kept for the backward pass; both scans are bound by its traffic (the backward one by its division too).
// Where currents are the same at every step, thirty-two neurons go through all steps before the next.

import { Derivative, Surrogate, View } from "../abi";
import { at } from "../view";

@inline
function decayOf(record: usize, frame: usize): f32 {
  const view = load<u32>(record, Surrogate.LearnedDecay) as usize;
  return view ? min<f32>(max<f32>(load<f32>(at(view, frame)), 0), 1) : load<f32>(record, Surrogate.Decay);
}

@inline
function thresholdOf(record: usize, frame: usize): f32 {
  const view = load<u32>(record, Surrogate.LearnedThreshold) as usize;
  return view ? max<f32>(load<f32>(at(view, frame)), 0) : load<f32>(record, Surrogate.Threshold);
}

// ---- forward ------------------------------------------------------------------------------------------------------

/**
 * Four neurons: `i` current, `v` u_{t-1}, `u` place of u_t, `c` synaptic current. Spikes as lanes. Reset "subtract" takes `step`, θ,
 * off, "zero" what is leaked where all bits of `cut` are set; the other is 0.
 */
@inline
function advance4(i: usize, v: usize, u: usize, c: usize, theta: v128, beta: v128, alpha: v128, synaptic: bool, step: v128, cut: v128): v128 {
  const before = v128.load(v);
  const reset = f32x4.gt(before, theta);
  let current = v128.load(i);
  if (synaptic) {
    current = f32x4.add(f32x4.mul(alpha, v128.load(c)), current);
    v128.store(c, current);
  }
  const leaked = v128.andnot(f32x4.mul(beta, before), v128.and(reset, cut));
  const after = f32x4.sub(f32x4.add(leaked, current), v128.and(reset, step));
  v128.store(u, after);
  return f32x4.gt(after, theta);
}

/** The scalar twin for one neuron. */
@inline
function advance(i: usize, v: usize, u: usize, c: usize, theta: f32, beta: f32, alpha: f32, synaptic: bool, zero: bool): bool {
  const before = load<f32>(v);
  const reset = before > theta;
  let current = load<f32>(i);
  if (synaptic) {
    current = alpha * load<f32>(c) + current;
    store<f32>(c, current);
  }
  const leaked = beta * before;
  const after: f32 = zero ? (reset ? 0 : leaked) + current : leaked + current - (reset ? theta : 0);
  store<f32>(u, after);
  return after > theta;
}

/** Up to 32 neurons, as one word of spikes. */
@inline
function word(i: usize, v: usize, u: usize, c: usize, vectors: u32, theta: f32, beta: f32, alpha: f32, synaptic: bool, zero: bool): u32 {
  if (ASC_FEATURE_SIMD) {
    const t = f32x4.splat(theta);
    const b = f32x4.splat(beta);
    const a = f32x4.splat(alpha);
    const step = f32x4.splat(zero ? 0 : theta);
    const cut = i32x4.splat(zero ? -1 : 0);
    if (vectors >= 8) {
      const p = i16x8.narrow_i32x4_s(
        advance4(i, v, u, c, t, b, a, synaptic, step, cut),
        advance4(i + 16, v + 16, u + 16, c + 16, t, b, a, synaptic, step, cut),
      );
      const q = i16x8.narrow_i32x4_s(
        advance4(i + 32, v + 32, u + 32, c + 32, t, b, a, synaptic, step, cut),
        advance4(i + 48, v + 48, u + 48, c + 48, t, b, a, synaptic, step, cut),
      );
      const low = i8x16.bitmask(i8x16.narrow_i16x8_s(p, q));
      const r = i16x8.narrow_i32x4_s(
        advance4(i + 64, v + 64, u + 64, c + 64, t, b, a, synaptic, step, cut),
        advance4(i + 80, v + 80, u + 80, c + 80, t, b, a, synaptic, step, cut),
      );
      const s = i16x8.narrow_i32x4_s(
        advance4(i + 96, v + 96, u + 96, c + 96, t, b, a, synaptic, step, cut),
        advance4(i + 112, v + 112, u + 112, c + 112, t, b, a, synaptic, step, cut),
      );
      return low | (i8x16.bitmask(i8x16.narrow_i16x8_s(r, s)) << 16);
    }
    let mask: u32 = 0;
    for (let k: u32 = 0; k < vectors; ++k) {
      const o = (k as usize) << 4;
      mask |= i32x4.bitmask(advance4(i + o, v + o, u + o, c + o, t, b, a, synaptic, step, cut)) << (k << 2);
    }
    return mask;
  }
  let mask: u32 = 0;
  for (let k: u32 = 0; k < min<u32>(vectors, 8) << 2; ++k) {
    const o = (k as usize) << 2;
    mask |= (advance(i + o, v + o, u + o, c + o, theta, beta, alpha, synaptic, zero) as u32) << k;
  }
  return mask;
}

@inline
function scan(record: usize, steps: u32, frame: usize, synaptic: bool): void {
  const zero = load<u32>(record, Surrogate.ResetToZero) != 0;
  const rows = load<u32>(record, Surrogate.Rows);
  const rowBytes = (load<u32>(record, Surrogate.RowLength) as usize) << 2;
  const rowWords = load<u32>(record, Surrogate.RowWords);
  const stride = load<u32>(record, Surrogate.CurrentStride) as usize;
  const previousView = load<u32>(record, Surrogate.Previous) as usize;
  let first = at(previousView, frame);
  const shift = load<u32>(previousView, View.PerStep) as usize;
  const currentView = load<u32>(record, Surrogate.Current) as usize;
  let current = at(currentView, frame);
  const currentStep = load<u32>(currentView, View.PerStep) as usize;
  let c = synaptic ? at(load<u32>(record, Surrogate.Synaptic), frame) : 0;
  const bitsView = load<u32>(record, Surrogate.Bits) as usize;
  let bits = at(bitsView, frame);
  const bitsStep = load<u32>(bitsView, View.PerStep) as usize;
  const theta = thresholdOf(record, frame);
  const beta = decayOf(record, frame);
  const alpha = load<f32>(record, Surrogate.SynapticDecay);
  let spikes: u32 = 0;
  for (let row: u32 = 0; row < rows; ++row, current += stride) {
    let left = (rowBytes >> 4) as u32;
    let from = current;
    for (let j: u32 = 0; j < rowWords; ++j, bits += 4) {
      let i = from;
      let v = first;
      let out = bits;
      for (let t = steps; t; --t) {
        const mask = word(i, v, v + shift, c, left, theta, beta, alpha, synaptic, zero);
        store<u32>(out, mask);
        spikes += popcnt(mask);
        i += currentStep;
        v += shift;
        out += bitsStep;
      }
      const taken = min<u32>(left, 8);
      left -= taken;
      const bytes = (taken as usize) << 4;
      from += bytes;
      first += bytes;
      c += bytes;
    }
  }
  const counter = at(load<u32>(record, Surrogate.Spikes), frame);
  store<u32>(counter, load<u32>(counter) + spikes);
}

/** `steps` steps from the frame's on. */
export function surrogateForward(record: usize, steps: u32, frame: usize): void {
  if (load<u32>(record, Surrogate.Synaptic)) scan(record, steps, frame, true);
  else scan(record, steps, frame, false);
}

// ---- backward -----------------------------------------------------------------------------------------------------

/** The surrogate of ds/du at x = u - θ. `a` and `b`: k and 1, or π k / 2 and k / 2. */
@inline
function derivative4(x: v128, kind: u32, a: v128, b: v128): v128 {
  if (kind == Derivative.FastSigmoid) {
    const q = f32x4.add(f32x4.mul(a, f32x4.abs(x)), b);
    return f32x4.div(b, f32x4.mul(q, q));
  }
  if (kind == Derivative.Atan) {
    const q = f32x4.mul(a, x);
    return f32x4.div(b, f32x4.add(f32x4.splat(1), f32x4.mul(q, q)));
  }
  return v128.and(f32x4.lt(f32x4.abs(x), f32x4.splat(0.5)), f32x4.splat(1));
}

@inline
function derivative(x: f32, kind: u32, a: f32, b: f32): f32 {
  if (kind == Derivative.FastSigmoid) {
    const q = a * Mathf.abs(x) + b;
    return b / (q * q);
  }
  if (kind == Derivative.Atan) {
    const q = a * x;
    return b / (<f32>1 + q * q);
  }
  return Mathf.abs(x) < <f32>0.5 ? 1 : 0;
}

export function surrogateBackward(record: usize, frame: usize): void {
  // The usual case has a loop of its own for each derivative: no mask, no synaptic current.
  const plain = load<u32>(record, Surrogate.Trace) == 0 && load<u32>(record, Surrogate.Amplitude) == 0;
  const kind = load<u32>(record, Surrogate.Derivative);
  if (!plain) sweep(record, frame, kind, false);
  else if (kind == Derivative.FastSigmoid) sweep(record, frame, Derivative.FastSigmoid, true);
  else if (kind == Derivative.Atan) sweep(record, frame, Derivative.Atan, true);
  else sweep(record, frame, kind, true);
}

@inline
function sweep(record: usize, frame: usize, kind: u32, plain: bool): void {
  const rows = load<u32>(record, Surrogate.Rows);
  const rowBytes = (load<u32>(record, Surrogate.RowLength) as usize) << 2;
  const previousView = load<u32>(record, Surrogate.Previous) as usize;
  const u = at(previousView, frame) + load<u32>(previousView, View.PerStep);
  const g = at(load<u32>(record, Surrogate.Delivered), frame);
  const carried = at(load<u32>(record, Surrogate.Carried), frame);
  const traceView = load<u32>(record, Surrogate.Trace) as usize;
  const trace = traceView ? at(traceView, frame) : 0;
  const sumView = load<u32>(record, Surrogate.Sum) as usize;
  const sum = sumView ? at(sumView, frame) : 0;
  const maskView = load<u32>(record, Surrogate.Amplitude) as usize;
  const mask = maskView ? at(maskView, frame) : 0;
  const deltaView = load<u32>(record, Surrogate.Delta) as usize;
  let delta = deltaView ? at(deltaView, frame) : 0;
  const stride = load<u32>(record, Surrogate.DeltaStride) as usize;
  const theta = thresholdOf(record, frame);
  const beta = decayOf(record, frame);
  const alpha = load<f32>(record, Surrogate.SynapticDecay);
  const a = load<f32>(record, Surrogate.Slope);
  const b = load<f32>(record, Surrogate.Height);
  const zero = load<u32>(record, Surrogate.ResetToZero) != 0;
  let o: usize = 0;
  for (let row: u32 = 0; row < rows; ++row, delta += stride) {
    let d = delta;
    const end = o + rowBytes;
    if (ASC_FEATURE_SIMD) {
      const theta4 = f32x4.splat(theta);
      const beta4 = f32x4.splat(beta);
      const alpha4 = f32x4.splat(alpha);
      const a4 = f32x4.splat(a);
      const b4 = f32x4.splat(b);
      const cut = i32x4.splat(zero ? -1 : 0);
      // The condition comes last: out of a loop that begins with it engines move nothing, here the splats.
      do {
        const membrane = v128.load(u + o);
        let error = v128.load(g + o);
        if (!plain && mask) error = f32x4.mul(error, v128.load(mask + o));
        if (kind != Derivative.One) error = f32x4.mul(error, derivative4(f32x4.sub(membrane, theta4), kind, a4, b4));
        const later = f32x4.mul(beta4, v128.load(carried + o));
        let result = f32x4.add(error, v128.andnot(later, v128.and(f32x4.gt(membrane, theta4), cut)));
        v128.store(carried + o, result);
        if (!plain && trace) {
          result = f32x4.add(result, f32x4.mul(alpha4, v128.load(trace + o)));
          v128.store(trace + o, result);
        }
        if (sum) v128.store(sum + o, f32x4.add(v128.load(sum + o), result));
        if (deltaView) v128.store(d, result);
        o += 16;
        d += 16;
      } while (o < end);
    } else {
      for (; o < end; o += 4, d += 4) {
        const membrane = load<f32>(u + o);
        let error = load<f32>(g + o);
        if (mask) error *= load<f32>(mask + o);
        if (kind != Derivative.One) error *= derivative(membrane - theta, kind, a, b);
        const later: f32 = beta * load<f32>(carried + o);
        let result: f32 = error + (zero && membrane > theta ? 0 : later);
        store<f32>(carried + o, result);
        if (trace) {
          result = result + alpha * load<f32>(trace + o);
          store<f32>(trace + o, result);
        }
        if (sum) store<f32>(sum + o, load<f32>(sum + o) + result);
        if (deltaView) store<f32>(d, result);
      }
    }
  }
}

/** Behind `surrogateBackward` of the same step: gradients of what is learned, four lane partials and lanes 0+2, 1+3, both. */
export function surrogateLearn(record: usize, frame: usize): void {
  const bytes = ((load<u32>(record, Surrogate.Rows) * load<u32>(record, Surrogate.RowLength)) as usize) << 2;
  const previousView = load<u32>(record, Surrogate.Previous) as usize;
  const before = at(previousView, frame);
  const u = before + load<u32>(previousView, View.PerStep);
  const g = at(load<u32>(record, Surrogate.Delivered), frame);
  const carried = at(load<u32>(record, Surrogate.Carried), frame);
  const maskView = load<u32>(record, Surrogate.Amplitude) as usize;
  const mask = maskView ? at(maskView, frame) : 0;
  const decayView = load<u32>(record, Surrogate.LearnedDecay) as usize;
  const thresholdView = load<u32>(record, Surrogate.LearnedThreshold) as usize;
  const theta = thresholdOf(record, frame);
  const kind = load<u32>(record, Surrogate.Derivative);
  const a = load<f32>(record, Surrogate.Slope);
  const b = load<f32>(record, Surrogate.Height);
  const zero = load<u32>(record, Surrogate.ResetToZero) != 0;
  let decay: f32 = 0;
  let threshold: f32 = 0;
  if (ASC_FEATURE_SIMD) {
    const theta4 = f32x4.splat(theta);
    const a4 = f32x4.splat(a);
    const b4 = f32x4.splat(b);
    const cut = i32x4.splat(zero ? -1 : 0);
    let decays = f32x4.splat(0);
    let thresholds = f32x4.splat(0);
    for (let o: usize = 0; o < bytes; o += 16) {
      const last = v128.load(before + o);
      const reset = f32x4.gt(last, theta4);
      const error = v128.load(carried + o);
      decays = f32x4.add(decays, v128.andnot(f32x4.mul(error, last), v128.and(reset, cut)));
      if (!thresholdView) continue;
      if (kind != Derivative.One) {
        let direct = v128.load(g + o);
        if (mask) direct = f32x4.mul(direct, v128.load(mask + o));
        direct = f32x4.mul(direct, derivative4(f32x4.sub(v128.load(u + o), theta4), kind, a4, b4));
        thresholds = f32x4.add(thresholds, direct);
      }
      thresholds = f32x4.add(thresholds, v128.andnot(v128.and(error, reset), cut));
    }
    decay = lanes(decays);
    threshold = lanes(thresholds);
  } else {
    for (let pair: usize = 0; pair < 8; pair += 4) {
      let decayPair: f32 = 0;
      let thresholdPair: f32 = 0;
      for (let lane = pair; lane < 16; lane += 8) {
        let decays: f32 = 0;
        let thresholds: f32 = 0;
        for (let o = lane; o < bytes; o += 16) {
          const last = load<f32>(before + o);
          const reset = last > theta;
          const error = load<f32>(carried + o);
          decays += reset && zero ? 0 : error * last;
          if (!thresholdView) continue;
          if (kind != Derivative.One) {
            let direct = load<f32>(g + o);
            if (mask) direct *= load<f32>(mask + o);
            thresholds += direct * derivative(load<f32>(u + o) - theta, kind, a, b);
          }
          thresholds += reset && !zero ? error : 0;
        }
        decayPair += decays;
        thresholdPair += thresholds;
      }
      decay += decayPair;
      threshold += thresholdPair;
    }
  }
  if (decayView) {
    const value = load<f32>(at(decayView, frame));
    const to = at(load<u32>(record, Surrogate.DecayGradient), frame);
    if (value >= 0 && value <= 1) store<f32>(to, load<f32>(to) + decay);
  }
  if (thresholdView) {
    const to = at(load<u32>(record, Surrogate.ThresholdGradient), frame);
    if (load<f32>(at(thresholdView, frame)) >= 0) store<f32>(to, load<f32>(to) - threshold);
  }
}

@inline
function lanes(s: v128): f32 {
  return f32x4.extract_lane(s, 0) + f32x4.extract_lane(s, 2) + (f32x4.extract_lane(s, 1) + f32x4.extract_lane(s, 3));
}
