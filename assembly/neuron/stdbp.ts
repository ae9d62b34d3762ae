// `stdbp`: spike-timing-dependent backpropagation with the rectified linear postsynaptic potential (ReL-PSP).
// Zhang, Wang, Amornpaisannon, et al., arXiv 2003.11837 (2020), IEEE TNNLS (2021).
//
// Continuous time, at most one spike a neuron. With input times t_i and threshold θ
//   V_j(t) = Σ_i w_ij · max(0, t - t_i) ,   t_j = the first t with V_j(t) = θ ,   +inf if there is none
// Over the causal set C = {i : t_i before t_j}, A_j = Σ_C w_ij:
//   t_j = (θ + Σ_C w_ij t_i) / A_j ,  dt_j/dw_ij = (t_i - t_j) / A_j ,  dt_j/dt_i = w_ij / A_j
// The inputs come in the order of their times (synapse/timeline.ts). Between two of them V is a straight line, so a neuron is
// its potential and its slope:
//   at spike i    A += w_ij ;  u = V + A · (t_next - t_i) ;  fires on the way if u >= θ, at t_i + (θ - V) / A ;  V = u
// That adds potentials, not products of weights and times: nothing cancels that is not small itself, inputs at the same
// time enter together by themselves (nothing passes between them), and a shift of all times changes no difference.
//
// Sums run over the spikes in the order of the timeline. Sixteen neurons listen at once and stop when all have fired.
// Bound by arithmetic (forward: 8 adds, 4 multiplies, 5 comparisons a spike and sixteen neurons) and by loads and stores
// of the gradient (backward).

import { Timeline } from "../abi";

/** Sixteen neurons. */
export const PANEL: u32 = 16;

/** Spikes between two looks at the threshold: state at the first of them is kept for neurons that cross it on the way. */
const STRIDE: usize = 8 * Timeline.Size;

/** Four neurons fire where `fires` says: their times and, unless `inverses` is 0, 1/A and spikes heard. Returns how many. */
function fire4(
  a: v128,
  v: v128,
  fires: v128,
  spike: usize,
  next: v128,
  list: usize,
  threshold: v128,
  bound: f32,
  times: usize,
  inverses: usize,
  counts: usize,
): u32 {
  const t = f32x4.pmin(f32x4.add(v128.load32_splat(spike, Timeline.Time), f32x4.div(f32x4.sub(threshold, v), a)), next);
  // A time beyond all numbers is no spike.
  const fired = v128.and(fires, f32x4.lt(t, f32x4.splat(Infinity)));
  v128.store(times, v128.bitselect(t, v128.load(times), fired));
  if (inverses) {
    const inverse = f32x4.pmin(f32x4.div(f32x4.splat(1), a), f32x4.splat(bound));
    v128.store(inverses, v128.bitselect(inverse, v128.load(inverses), fired));
    const heard = i32x4.splat(((spike - list) / Timeline.Size) as u32);
    v128.store(counts, v128.bitselect(heard, v128.load(counts), fired));
  }
  return popcnt(i32x4.bitmask(fired));
}

/**
 * Eight neurons, some of which cross the threshold, hear the spikes of [spike, stop) once more, from the state at `scratch`,
 * where the potentials become those at `stop`. Apart from the loop of sixteen, whose state would no longer fit in registers.
 */
function cross8(
  list: usize,
  from: usize,
  stop: usize,
  weights: usize,
  threshold: v128,
  bound: f32,
  times: usize,
  inverses: usize,
  counts: usize,
  scratch: usize,
): u32 {
  let fired: u32 = 0;
  for (let k: usize = 0; k < 32; k += 16) {
    let a = v128.load(scratch + k);
    let v = v128.load(scratch + k, 64);
    for (let spike = from; spike < stop; spike += Timeline.Size) {
      a = f32x4.add(a, v128.load(weights + k + load<u32>(spike, Timeline.Weight)));
      let u = f32x4.add(v, f32x4.mul(a, v128.load32_splat(spike, Timeline.Wait)));
      const fires = f32x4.ge(u, threshold);
      if (v128.any_true(fires)) {
        const next = v128.load32_splat(spike, Timeline.Size + Timeline.Time);
        const to = inverses && inverses + k;
        fired += fire4(a, v, fires, spike, next, list, threshold, bound, times + k, to, counts + k);
        u = v128.bitselect(f32x4.splat(-Infinity), u, fires);
      }
      v = u;
    }
    v128.store(scratch + k, v, 64);
  }
  return fired;
}

/** After the last spike every rising line reaches the threshold: sixteen neurons, with the state at `scratch`. */
function finish16(
  list: usize,
  last: usize,
  weights: usize,
  threshold: v128,
  bound: f32,
  times: usize,
  inverses: usize,
  counts: usize,
  scratch: usize,
): u32 {
  let fired: u32 = 0;
  for (let k: usize = 0; k < 64; k += 16) {
    const a = f32x4.add(v128.load(scratch + k), v128.load(weights + k + load<u32>(last, Timeline.Weight)));
    const v = v128.load(scratch + k, 64);
    const rises = v128.and(f32x4.gt(a, f32x4.splat(0)), f32x4.gt(v, f32x4.splat(-Infinity)));
    if (!v128.any_true(rises)) continue;
    const to = inverses && inverses + k;
    fired += fire4(a, v, rises, last, f32x4.splat(Infinity), list, threshold, bound, times + k, to, counts + k);
  }
  return fired;
}

/**
 * Sixteen neurons hear a timeline: their times at `times` and, unless `inverses` is 0, 1/A (at most `bound`) and the number of
 * spikes heard at `counts`; +inf, 0 and 0 for the silent. `weights`: the panel. Returns how many fired of the first `neurons`.
 * Fired neurons go on at potential -inf.
 */
export function listen(
  list: usize,
  weights: usize,
  neurons: u32,
  threshold: f32,
  bound: f32,
  times: usize,
  inverses: usize,
  counts: usize,
  scratch: usize,
): u32 {
  const first = list + Timeline.Size;
  const bytes = load<u32>(list) as usize;
  const last = list + bytes;
  let fired: u32 = 0;
  for (let k: usize = 0; k < 64; k += 8) {
    store<u64>(times + k, 0x7f8000007f800000);
    if (!inverses) continue;
    store<u64>(inverses + k, 0);
    store<u64>(counts + k, 0);
  }
  if (!bytes) return 0;
  if (ASC_FEATURE_SIMD) {
    const theta = f32x4.splat(threshold);
    const never = f32x4.splat(-Infinity);
    let a0 = f32x4.splat(0);
    let a1 = a0;
    let a2 = a0;
    let a3 = a0;
    let v0 = a0;
    let v1 = a0;
    let v2 = a0;
    let v3 = a0;
    for (let spike = first; ; ) {
      v128.store(scratch, a0);
      v128.store(scratch, a1, 16);
      v128.store(scratch, a2, 32);
      v128.store(scratch, a3, 48);
      v128.store(scratch, v0, 64);
      v128.store(scratch, v1, 80);
      v128.store(scratch, v2, 96);
      v128.store(scratch, v3, 112);
      if (spike >= last) break;
      const start = spike;
      const stop = min(spike + STRIDE, last);
      let low = never;
      let high = never;
      do {
        const w = weights + load<u32>(spike, Timeline.Weight);
        const wait = v128.load32_splat(spike, Timeline.Wait);
        a0 = f32x4.add(a0, v128.load(w));
        a1 = f32x4.add(a1, v128.load(w, 16));
        a2 = f32x4.add(a2, v128.load(w, 32));
        a3 = f32x4.add(a3, v128.load(w, 48));
        v0 = f32x4.add(v0, f32x4.mul(a0, wait));
        v1 = f32x4.add(v1, f32x4.mul(a1, wait));
        v2 = f32x4.add(v2, f32x4.mul(a2, wait));
        v3 = f32x4.add(v3, f32x4.mul(a3, wait));
        // The maximum passes over a NaN in its second operand.
        low = f32x4.pmax(f32x4.pmax(low, v0), v1);
        high = f32x4.pmax(f32x4.pmax(high, v2), v3);
        spike += Timeline.Size;
      } while (spike < stop);
      if (v128.any_true(f32x4.ge(f32x4.pmax(low, high), theta))) {
        if (v128.any_true(f32x4.ge(low, theta))) {
          fired += cross8(list, start, stop, weights, theta, bound, times, inverses, counts, scratch);
          v0 = v128.load(scratch, 64);
          v1 = v128.load(scratch, 80);
        }
        if (v128.any_true(f32x4.ge(high, theta))) {
          const to = inverses && inverses + 32;
          fired += cross8(list, start, stop, weights + 32, theta, bound, times + 32, to, counts + 32, scratch + 32);
          v2 = v128.load(scratch, 96);
          v3 = v128.load(scratch, 112);
        }
        if (fired == neurons) return fired;
      }
    }
    return fired + finish16(list, last, weights, theta, bound, times, inverses, counts, scratch);
  }
  for (let j: usize = 0; j < neurons << 2; j += 4) {
    let a: f32 = 0;
    let v: f32 = 0;
    for (let spike = first; spike <= last; spike += Timeline.Size) {
      a += load<f32>(weights + load<u32>(spike, Timeline.Weight) + j);
      let next: f32 = Infinity;
      if (spike < last) {
        const u = v + a * load<f32>(spike, Timeline.Wait);
        if (!(u >= threshold)) {
          v = u;
          continue;
        }
        next = load<f32>(spike, Timeline.Size + Timeline.Time);
      } else if (!(a > 0 && v > -Infinity)) break;
      const candidate = load<f32>(spike, Timeline.Time) + (threshold - v) / a;
      const t = next < candidate ? next : candidate;
      if (!(t < Infinity)) break;
      store<f32>(times + j, t);
      if (inverses) {
        const inverse = <f32>1 / a;
        store<f32>(inverses + j, bound < inverse ? bound : inverse);
        store<u32>(counts + j, ((spike - list) / Timeline.Size) as u32);
      }
      ++fired;
      break;
    }
  }
  return fired;
}

/** g · 1/A; 0 where it exceeds `limit`. */
@inline
function scaled4(g: usize, inverses: usize, limit: f32): v128 {
  const c = f32x4.mul(v128.load(g), v128.load(inverses));
  return v128.and(c, f32x4.le(f32x4.abs(c), f32x4.splat(limit)));
}

/** Most spikes heard by any of sixteen neurons that pass a gradient back. */
@inline
function longest(g: usize, inverses: usize, counts: usize, limit: f32): u32 {
  let most: u32 = 0;
  for (let j: usize = 0; j < 64; j += 4) {
    const c = load<f32>(g + j) * load<f32>(inverses + j);
    if (c != 0 && Mathf.abs(c) <= limit) most = max(most, load<u32>(counts + j));
  }
  return most;
}

/** Times of firing, 0 for the silent: times no gradient it must be a number. */
@inline
function finite4(times: usize): v128 {
  const t = v128.load(times);
  return v128.and(t, f32x4.lt(t, f32x4.splat(Infinity)));
}

/**
 * Gradients of sixteen neurons, with g = dL/dt_j at `g`:
 *   dw_ij += c_j · (t_i - t_j)                  c_j = g_j / A_j ; at `gradient`, unless that is 0
 *   dL/dt_i += Σ_j c_j · w_ij                    into four lanes a presynaptic position at `lanes`, unless that is 0
 * A spike that came after t_j has t_i - t_j >= 0 and is cut off by a minimum with 0.
 */
export function learn(
  list: usize,
  weights: usize,
  gradient: usize,
  limit: f32,
  g: usize,
  times: usize,
  inverses: usize,
  counts: usize,
  lanes: usize,
): void {
  const most = longest(g, inverses, counts, limit);
  if (!most) return;
  const first = list + Timeline.Size;
  const end = first + most * Timeline.Size;
  if (ASC_FEATURE_SIMD) {
    const zero = f32x4.splat(0);
    const c0 = scaled4(g, inverses, limit);
    const c1 = scaled4(g + 16, inverses + 16, limit);
    const c2 = scaled4(g + 32, inverses + 32, limit);
    const c3 = scaled4(g + 48, inverses + 48, limit);
    const t0 = finite4(times);
    const t1 = finite4(times + 16);
    const t2 = finite4(times + 32);
    const t3 = finite4(times + 48);
    for (let spike = gradient ? first : end; spike < end; spike += Timeline.Size) {
      const to = gradient + load<u32>(spike, Timeline.Weight);
      const t = v128.load32_splat(spike, Timeline.Time);
      v128.store(to, f32x4.add(v128.load(to), f32x4.mul(c0, f32x4.pmin(f32x4.sub(t, t0), zero))));
      v128.store(to, f32x4.add(v128.load(to, 16), f32x4.mul(c1, f32x4.pmin(f32x4.sub(t, t1), zero))), 16);
      v128.store(to, f32x4.add(v128.load(to, 32), f32x4.mul(c2, f32x4.pmin(f32x4.sub(t, t2), zero))), 32);
      v128.store(to, f32x4.add(v128.load(to, 48), f32x4.mul(c3, f32x4.pmin(f32x4.sub(t, t3), zero))), 48);
    }
    if (!lanes) return;
    const n0 = v128.load(counts);
    const n1 = v128.load(counts, 16);
    const n2 = v128.load(counts, 32);
    const n3 = v128.load(counts, 48);
    let k = zero; // spikes before this one, as integers
    for (let spike = first; spike < end; spike += Timeline.Size) {
      const w = weights + load<u32>(spike, Timeline.Weight);
      const to = lanes + (load<u32>(spike, Timeline.Source) << 4);
      const p0 = f32x4.mul(v128.load(w), v128.and(c0, i32x4.gt_s(n0, k)));
      const p1 = f32x4.mul(v128.load(w, 16), v128.and(c1, i32x4.gt_s(n1, k)));
      const p2 = f32x4.mul(v128.load(w, 32), v128.and(c2, i32x4.gt_s(n2, k)));
      const p3 = f32x4.mul(v128.load(w, 48), v128.and(c3, i32x4.gt_s(n3, k)));
      v128.store(to, f32x4.add(v128.load(to), f32x4.add(f32x4.add(p0, p1), f32x4.add(p2, p3))));
      k = i32x4.add(k, i32x4.splat(1));
    }
    return;
  }
  for (let j: usize = gradient ? 0 : 64; j < 64; j += 4) {
    const c = load<f32>(g + j) * load<f32>(inverses + j);
    if (c == 0 || !(Mathf.abs(c) <= limit)) continue;
    const at = load<f32>(times + j);
    const stop = first + load<u32>(counts + j) * Timeline.Size;
    for (let spike = first; spike < stop; spike += Timeline.Size) {
      const to = gradient + load<u32>(spike, Timeline.Weight) + j;
      const difference = load<f32>(spike, Timeline.Time) - at;
      store<f32>(to, load<f32>(to) + c * (difference > 0 ? 0 : difference));
    }
  }
  if (!lanes) return;
  let k: u32 = 0;
  for (let spike = first; spike < end; spike += Timeline.Size, ++k) {
    const w = weights + load<u32>(spike, Timeline.Weight);
    const to = lanes + (load<u32>(spike, Timeline.Source) << 4);
    for (let lane: usize = 0; lane < 16; lane += 4) {
      const low = product(w, g, inverses, counts, lane, k, limit) + product(w, g, inverses, counts, lane + 16, k, limit);
      const high =
        product(w, g, inverses, counts, lane + 32, k, limit) + product(w, g, inverses, counts, lane + 48, k, limit);
      store<f32>(to + lane, load<f32>(to + lane) + (low + high));
    }
  }
}

/** c_j · w_ij if neuron j has heard spike k. */
@inline
function product(w: usize, g: usize, inverses: usize, counts: usize, j: usize, k: u32, limit: f32): f32 {
  const c = load<f32>(g + j) * load<f32>(inverses + j);
  return load<f32>(w + j) * (load<u32>(counts + j) > k && Mathf.abs(c) <= limit ? c : 0);
}
