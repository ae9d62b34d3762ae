// `lee`: spike-based backpropagation with a leak-corrected derivative.
// Lee, Sarwar, Panda, Srinivasan, Roy, Frontiers in Neuroscience 14:119 (2020).
//
// Spiking layer, leak λ, threshold θ, dropout mask m held over the sample:
//   u   = v + I_t
//   s_t = u > θ                     (strictly)
//   v   = λ · (s_t ? 0 : u)         (reset first, then leak)
//   o_t = s_t · m ;  F = Σ λ^(T-t) o_t ;  N = Σ o_t
// Backward, one factor a neuron and sample:
//   f   = [F > 1e-3] + ln λ · F / (N >= 1e-3 ? N : N + 1)
//   D_t = G_t · f · m / θ           where s_t, else D_{t+1}
// Pooling layer: u = v + window sum / size², v = s ? 0 : u, D_t = G_t where s_t, else D_{t+1}.
// Output layer: v = λ (v + I_t), y = v_T / (θ T), D_t = (dL/dy) / (θ T).
//
// The synapse accumulates I_t on top of v in place, so a scan loads and stores each membrane once: it is bound by
// that traffic. F and N follow the spikes: a table of λ^(T-t) replaces a second scan.

import { Lee, NOWHERE, Output, Route } from "../abi";
import { at } from "../view";

/** Compares, resets and leaks four neurons in place; lane mask of the spikes. */
@inline
function advance(p: usize, threshold: f32, leak: f32): u32 {
  if (ASC_FEATURE_SIMD) {
    const u = v128.load(p);
    const s = f32x4.gt(u, f32x4.splat(threshold));
    v128.store(p, f32x4.mul(v128.andnot(u, s), f32x4.splat(leak)));
    return i32x4.bitmask(s);
  }
  let mask: u32 = 0;
  for (let k: usize = 0; k < 4; ++k) {
    const u = load<f32>(p + (k << 2));
    const s = u > threshold;
    store<f32>(p + (k << 2), (s ? 0 : u) * leak);
    mask |= (s as u32) << (k as u32);
  }
  return mask;
}

@inline
function spikes4(p: usize, threshold: v128, leak: v128): v128 {
  const u = v128.load(p);
  const s = f32x4.gt(u, threshold);
  v128.store(p, f32x4.mul(v128.andnot(u, s), leak));
  return s;
}

/** Thirty-two neurons at once: narrowing the comparisons costs less than a bitmask a vector. */
@inline
function advance32(p: usize, threshold: f32, leak: f32): u32 {
  if (ASC_FEATURE_SIMD) {
    const t = f32x4.splat(threshold);
    const l = f32x4.splat(leak);
    const a = i16x8.narrow_i32x4_s(spikes4(p, t, l), spikes4(p + 16, t, l));
    const b = i16x8.narrow_i32x4_s(spikes4(p + 32, t, l), spikes4(p + 48, t, l));
    const low = i8x16.bitmask(i8x16.narrow_i16x8_s(a, b));
    const c = i16x8.narrow_i32x4_s(spikes4(p + 64, t, l), spikes4(p + 80, t, l));
    const d = i16x8.narrow_i32x4_s(spikes4(p + 96, t, l), spikes4(p + 112, t, l));
    return low | (i8x16.bitmask(i8x16.narrow_i16x8_s(c, d)) << 16);
  }
  let mask: u32 = 0;
  for (let k: usize = 0; k < 8; ++k) mask |= advance(p + (k << 4), threshold, leak) << ((k as u32) << 2);
  return mask;
}

export function leeForward(lee: usize, frame: usize): void {
  const rows = load<u32>(lee, Lee.Rows);
  const rowLength = load<u32>(lee, Lee.RowLength);
  const rowWords = load<u32>(lee, Lee.RowWords);
  const stride = load<u32>(lee, Lee.Stride);
  const membrane = at(load<u32>(lee, Lee.Membrane), frame);
  const bits = at(load<u32>(lee, Lee.Bits), frame);
  const threshold = load<f32>(lee, Lee.Threshold);
  const leak = load<f32>(lee, Lee.Leak);
  const traced = load<u32>(lee, Lee.Filtered) as usize;
  const filtered = traced ? at(traced, frame) : 0;
  const total = traced ? at(load<u32>(lee, Lee.Total), frame) : 0;
  const decay: f32 = traced ? load<f32>(at(load<u32>(lee, Lee.Decay), frame)) : 0;
  const amplitudeView = load<u32>(lee, Lee.Amplitude) as usize;
  const amplitude = traced && amplitudeView ? at(amplitudeView, frame) : 0;
  let spikes: u32 = 0;
  for (let row: u32 = 0; row < rows; ++row) {
    let p = membrane + row * stride;
    const out = bits + ((row * rowWords) << 2);
    let left = rowLength >> 2;
    for (let j: u32 = 0; j < rowWords; ++j) {
      let word: u32 = 0;
      if (left >= 8) {
        word = advance32(p, threshold, leak);
        p += 128;
        left -= 8;
      } else {
        for (let k: u32 = 0; k < left; ++k) {
          word |= advance(p, threshold, leak) << (k << 2);
          p += 16;
        }
      }
      store<u32>(out + (j << 2), word);
      if (!word) continue;
      spikes += popcnt(word);
      if (!traced) continue;
      const first = (row * rowLength + (j << 5)) << 2;
      while (word) {
        const place = first + (ctz(word) << 2);
        word &= word - 1;
        const o: f32 = amplitude ? load<f32>(amplitude + place) : 1;
        store<f32>(filtered + place, load<f32>(filtered + place) + o * decay);
        store<f32>(total + place, load<f32>(total + place) + o);
      }
    }
  }
  const counter = at(load<u32>(lee, Lee.Spikes), frame);
  store<u32>(counter, load<u32>(counter) + spikes);
}

/** F becomes the factor f · m / θ that the backward pass multiplies G with. */
export function leeFactor(lee: usize, frame: usize): void {
  const count = (load<u32>(lee, Lee.Rows) * load<u32>(lee, Lee.RowLength)) as usize;
  const filtered = at(load<u32>(lee, Lee.Filtered), frame);
  const total = at(load<u32>(lee, Lee.Total), frame);
  const logLeak = load<f32>(lee, Lee.LogLeak);
  const threshold = load<f32>(lee, Lee.Threshold);
  const amplitudeView = load<u32>(lee, Lee.Amplitude) as usize;
  const amplitude = amplitudeView ? at(amplitudeView, frame) : 0;
  for (let p: usize = 0; p < count << 2; p += 4) {
    const n = load<f32>(total + p);
    if (n == 0) continue; // silent: never read
    const f = load<f32>(filtered + p);
    const m: f32 = amplitude ? load<f32>(amplitude + p) : 1;
    const above: f32 = f > 1e-3 ? 1 : 0;
    store<f32>(filtered + p, ((above + (logLeak * f) / (n >= 1e-3 ? n : n + 1)) * m) / threshold);
  }
}

/** D at the spikes of this step; everywhere else it stays what it was. */
export function leeBackward(lee: usize, frame: usize): void {
  const route = load<u32>(lee, Lee.Route) as usize;
  if (route) {
    leeBackwardThroughPool(lee, route, frame);
    return;
  }
  const rows = load<u32>(lee, Lee.Rows);
  const rowLength = load<u32>(lee, Lee.RowLength);
  const rowWords = load<u32>(lee, Lee.RowWords);
  const stride = load<u32>(lee, Lee.Stride);
  const bits = at(load<u32>(lee, Lee.Bits), frame);
  const delta = at(load<u32>(lee, Lee.Delta), frame);
  const delivered = at(load<u32>(lee, Lee.Delivered), frame);
  const factorView = load<u32>(lee, Lee.Filtered) as usize;
  const factor = factorView ? at(factorView, frame) : 0; // none in a pooling layer
  for (let row: u32 = 0; row < rows; ++row) {
    const to = delta + row * stride;
    const first = (row * rowLength) << 2;
    for (let j: u32 = 0; j < rowWords; ++j) {
      let word = load<u32>(bits + ((row * rowWords + j) << 2));
      while (word) {
        const position = ((j << 5) + ctz(word)) << 2;
        word &= word - 1;
        const g = load<f32>(delivered + first + position);
        store<f32>(to + position, factor ? g * load<f32>(factor + first + position) : g);
      }
    }
  }
}

/** The same where only a pool listens: G = scale · D of its window, read where it is needed instead of delivered first. */
function leeBackwardThroughPool(lee: usize, route: usize, frame: usize): void {
  const rows = load<u32>(lee, Lee.Rows);
  const rowLength = load<u32>(lee, Lee.RowLength);
  const rowWords = load<u32>(lee, Lee.RowWords);
  const stride = load<u32>(lee, Lee.Stride);
  const bits = at(load<u32>(lee, Lee.Bits), frame);
  const delta = at(load<u32>(lee, Lee.Delta), frame);
  const factor = at(load<u32>(lee, Lee.Filtered), frame);
  const columns = load<u32>(route, Route.Columns) as usize;
  const rowTable = load<u32>(route, Route.RowTable) as usize;
  const target = at(load<u32>(route, Route.Target), frame);
  const scale = load<f32>(route, Route.Scale);
  for (let row: u32 = 0; row < rows; ++row) {
    const to = delta + row * stride;
    const first = factor + ((row * rowLength) << 2);
    const down = load<u32>(rowTable + (row << 2));
    const from = target + down;
    for (let j: u32 = 0; j < rowWords; ++j) {
      let word = load<u32>(bits + ((row * rowWords + j) << 2));
      while (word) {
        const position = ((j << 5) + ctz(word)) << 2;
        word &= word - 1;
        const across = load<u32>(columns + position);
        const g: f32 = down == NOWHERE || across == NOWHERE ? 0 : scale * load<f32>(from + across);
        store<f32>(to + position, g * load<f32>(first + position));
      }
    }
  }
}

/** Spiking average pooling: `delta` holds the window sums of this step and is cleared as it is read. */
export function leePoolForward(lee: usize, frame: usize): void {
  const rows = load<u32>(lee, Lee.Rows);
  const rowLength = load<u32>(lee, Lee.RowLength);
  const rowWords = load<u32>(lee, Lee.RowWords);
  const membrane = at(load<u32>(lee, Lee.Membrane), frame);
  const sums = at(load<u32>(lee, Lee.Delta), frame);
  const bits = at(load<u32>(lee, Lee.Bits), frame);
  const threshold = load<f32>(lee, Lee.Threshold);
  const scale = load<f32>(lee, Lee.Scale);
  const traceView = load<u32>(lee, Lee.Trace) as usize;
  const trace = traceView ? at(traceView, frame) : 0;
  let spikes: u32 = 0;
  for (let row: u32 = 0; row < rows; ++row) {
    for (let j: u32 = 0; j < rowWords; ++j) {
      let word: u32 = 0;
      const vectors = min((rowLength - (j << 5)) >> 2, 8);
      const first = (row * rowLength + (j << 5)) << 2;
      for (let k: u32 = 0; k < vectors; ++k) {
        const v = membrane + first + (k << 4);
        const i = sums + first + (k << 4);
        if (ASC_FEATURE_SIMD) {
          const u = f32x4.add(v128.load(v), f32x4.mul(v128.load(i), f32x4.splat(scale)));
          const s = f32x4.gt(u, f32x4.splat(threshold));
          if (trace) v128.store(trace + first + (k << 4), u);
          v128.store(v, v128.andnot(u, s));
          v128.store(i, f32x4.splat(0));
          word |= i32x4.bitmask(s) << (k << 2);
        } else {
          for (let lane: usize = 0; lane < 4; ++lane) {
            const u = load<f32>(v + (lane << 2)) + load<f32>(i + (lane << 2)) * scale;
            const s = u > threshold;
            if (trace) store<f32>(trace + first + (k << 4) + (lane << 2), u);
            store<f32>(v + (lane << 2), s ? 0 : u);
            store<f32>(i + (lane << 2), 0);
            word |= (s as u32) << ((k << 2) + (lane as u32));
          }
        }
      }
      store<u32>(bits + ((row * rowWords + j) << 2), word);
      spikes += popcnt(word);
    }
  }
  const counter = at(load<u32>(lee, Lee.Spikes), frame);
  store<u32>(counter, load<u32>(counter) + spikes);
}

/** Output layer, one step: the membrane takes its current in place, then leaks. */
export function leeOutput(output: usize, frame: usize): void {
  const membrane = at(load<u32>(output, Output.Membrane), frame);
  const length = load<u32>(output, Output.Length) as usize;
  const leak = load<f32>(output, Output.Leak);
  for (let p = membrane; p < membrane + (length << 2); p += 4) store<f32>(p, load<f32>(p) * leak);
}
