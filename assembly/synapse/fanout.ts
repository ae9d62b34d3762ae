// Dense and convolutional synapses, event-driven.
//
//   forward   I_j += w_ij · x_i            for every event i, ascending (x_i = 1 for a plain spike)
//   backward  G_i  = Σ_j w_ij · D_j        only where the presynaptic neuron spiked
//             dw_ij += D_j · x_i
//
// Both are walks over contiguous runs of f32: bound by loads (forward: m + 1 loads and 1 store for m events that share
// their target; backward: 3 loads and 1 store). Events of one pixel share their target, so they are taken together.
// G sums eight lane partials (vectors of even and odd place within a run), then a fixed tree.

import { BackwardFlags, Event, EVENT_CHUNK, Fanout, FanoutColumn, FanoutRow, Frame, Activity } from "../abi";
import { at } from "../view";
import { channelsBackward } from "./channels";
import { trees } from "./deliver";
import { collect, LIST, rewind, valued } from "./events";
import { narrow, narrowForward, narrowGradient } from "./narrow";
import { windowForward } from "./window";

// ---- forward ------------------------------------------------------------------------------------------------------

export function fanoutForward(fanout: usize, frame: usize): void {
  const scratch = load<u32>(frame, Frame.Events) as usize;
  const weights = at(load<u32>(fanout, Fanout.Weight), frame);
  const target = at(load<u32>(fanout, Fanout.Target), frame);
  const ts = load<u32>(fanout, Fanout.TargetStride) as usize;
  const ws = load<u32>(fanout, Fanout.WeightStride) as usize;
  const withValues = valued(load<u32>(fanout, Fanout.Activity));
  const few = narrow(fanout, withValues, 0);
  if (few) {
    narrowForward(fanout, few, frame);
    return;
  }
  const window = load<u32>(fanout, Fanout.Window) as usize;
  if (window && windowForward(fanout, window, frame)) return;
  rewind(scratch);
  for (;;) {
    const count = collect(fanout, frame, weights, target);
    let event = scratch + LIST;
    const end = event + count * Event.Size;
    while (event < end) {
      const t = load<u32>(event, Event.Target) as usize;
      const extent = load<u32>(event, Event.Extent);
      let m = 1;
      let next = event + Event.Size;
      while (m < 4 && next < end && (load<u32>(next, Event.Target) as usize) == t && load<u32>(next, Event.Extent) == extent) {
        ++m;
        next += Event.Size;
      }
      const vectors = (extent & 0xffffff) as i32;
      const runs = (extent >> 24) as i32;
      const a = load<u32>(event, Event.Weight) as usize;
      if (withValues) {
        for (; event < next; event += Event.Size) {
          addScaled(t, load<u32>(event, Event.Weight), load<f32>(event, Event.Value), vectors, runs, ts, ws);
        }
      } else if (m == 1) {
        add1(t, a, vectors, runs, ts, ws);
      } else {
        const b = load<u32>(event + Event.Size, Event.Weight) as usize;
        if (m == 2) {
          add2(t, a, b, vectors, runs, ts, ws);
        } else {
          const c = load<u32>(event + 2 * Event.Size, Event.Weight) as usize;
          if (m == 3) add3(t, a, b, c, vectors, runs, ts, ws);
          else add4(t, a, b, c, load<u32>(event + 3 * Event.Size, Event.Weight), vectors, runs, ts, ws);
        }
      }
      event = next;
    }
    if (count < EVENT_CHUNK) return;
  }
}

@inline
function sum1(t: usize, a: usize, offset: usize): void {
  if (ASC_FEATURE_SIMD) {
    v128.store(t + offset, f32x4.add(v128.load(t + offset), v128.load(a + offset)));
  } else {
    for (let k: usize = 0; k < 16; k += 4) {
      store<f32>(t + offset + k, load<f32>(t + offset + k) + load<f32>(a + offset + k));
    }
  }
}

@inline
function sum2(t: usize, a: usize, b: usize, offset: usize): void {
  if (ASC_FEATURE_SIMD) {
    v128.store(
      t + offset,
      f32x4.add(f32x4.add(v128.load(t + offset), v128.load(a + offset)), v128.load(b + offset)),
    );
  } else {
    for (let k: usize = 0; k < 16; k += 4) {
      store<f32>(t + offset + k, load<f32>(t + offset + k) + load<f32>(a + offset + k) + load<f32>(b + offset + k));
    }
  }
}

@inline
function sum3(t: usize, a: usize, b: usize, c: usize, offset: usize): void {
  if (ASC_FEATURE_SIMD) {
    v128.store(
      t + offset,
      f32x4.add(
        f32x4.add(f32x4.add(v128.load(t + offset), v128.load(a + offset)), v128.load(b + offset)),
        v128.load(c + offset),
      ),
    );
  } else {
    for (let k: usize = 0; k < 16; k += 4) {
      store<f32>(
        t + offset + k,
        load<f32>(t + offset + k) + load<f32>(a + offset + k) + load<f32>(b + offset + k) + load<f32>(c + offset + k),
      );
    }
  }
}

@inline
function sum4(t: usize, a: usize, b: usize, c: usize, d: usize, offset: usize): void {
  if (ASC_FEATURE_SIMD) {
    v128.store(
      t + offset,
      f32x4.add(
        f32x4.add(
          f32x4.add(f32x4.add(v128.load(t + offset), v128.load(a + offset)), v128.load(b + offset)),
          v128.load(c + offset),
        ),
        v128.load(d + offset),
      ),
    );
  } else {
    for (let k: usize = 0; k < 16; k += 4) {
      store<f32>(
        t + offset + k,
        load<f32>(t + offset + k) +
          load<f32>(a + offset + k) +
          load<f32>(b + offset + k) +
          load<f32>(c + offset + k) +
          load<f32>(d + offset + k),
      );
    }
  }
}

export function add1(t: usize, a: usize, vectors: i32, runs: i32, ts: usize, ws: usize): void {
  ts -= (vectors as usize) << 4;
  ws -= (vectors as usize) << 4;
  do {
    let n = vectors;
    for (; n >= 4; n -= 4) {
      sum1(t, a, 0);
      sum1(t, a, 16);
      sum1(t, a, 32);
      sum1(t, a, 48);
      t += 64;
      a += 64;
    }
    for (; n; --n) {
      sum1(t, a, 0);
      t += 16;
      a += 16;
    }
    t += ts;
    a += ws;
  } while (--runs);
}

export function add2(t: usize, a: usize, b: usize, vectors: i32, runs: i32, ts: usize, ws: usize): void {
  ts -= (vectors as usize) << 4;
  ws -= (vectors as usize) << 4;
  do {
    let n = vectors;
    for (; n >= 4; n -= 4) {
      sum2(t, a, b, 0);
      sum2(t, a, b, 16);
      sum2(t, a, b, 32);
      sum2(t, a, b, 48);
      t += 64;
      a += 64;
      b += 64;
    }
    for (; n; --n) {
      sum2(t, a, b, 0);
      t += 16;
      a += 16;
      b += 16;
    }
    t += ts;
    a += ws;
    b += ws;
  } while (--runs);
}

export function add3(t: usize, a: usize, b: usize, c: usize, vectors: i32, runs: i32, ts: usize, ws: usize): void {
  ts -= (vectors as usize) << 4;
  ws -= (vectors as usize) << 4;
  do {
    let n = vectors;
    for (; n >= 4; n -= 4) {
      sum3(t, a, b, c, 0);
      sum3(t, a, b, c, 16);
      sum3(t, a, b, c, 32);
      sum3(t, a, b, c, 48);
      t += 64;
      a += 64;
      b += 64;
      c += 64;
    }
    for (; n; --n) {
      sum3(t, a, b, c, 0);
      t += 16;
      a += 16;
      b += 16;
      c += 16;
    }
    t += ts;
    a += ws;
    b += ws;
    c += ws;
  } while (--runs);
}

export function add4(t: usize, a: usize, b: usize, c: usize, d: usize, vectors: i32, runs: i32, ts: usize, ws: usize): void {
  ts -= (vectors as usize) << 4;
  ws -= (vectors as usize) << 4;
  do {
    let n = vectors;
    for (; n >= 4; n -= 4) {
      sum4(t, a, b, c, d, 0);
      sum4(t, a, b, c, d, 16);
      sum4(t, a, b, c, d, 32);
      sum4(t, a, b, c, d, 48);
      t += 64;
      a += 64;
      b += 64;
      c += 64;
      d += 64;
    }
    for (; n; --n) {
      sum4(t, a, b, c, d, 0);
      t += 16;
      a += 16;
      b += 16;
      c += 16;
      d += 16;
    }
    t += ts;
    a += ws;
    b += ws;
    c += ws;
    d += ws;
  } while (--runs);
}

/** target += x · w; one rounding for the product, one for the sum. */
export function addScaled(t: usize, a: usize, x: f32, vectors: i32, runs: i32, ts: usize, ws: usize): void {
  ts -= (vectors as usize) << 4;
  ws -= (vectors as usize) << 4;
  do {
    for (let n = vectors; n; --n) {
      if (ASC_FEATURE_SIMD) {
        v128.store(t, f32x4.add(v128.load(t), f32x4.mul(v128.load(a), f32x4.splat(x))));
      } else {
        for (let k: usize = 0; k < 16; k += 4) {
          store<f32>(t + k, load<f32>(t + k) + load<f32>(a + k) * x);
        }
      }
      t += 16;
      a += 16;
    }
    t += ts;
    a += ws;
  } while (--runs);
}

// ---- backward -----------------------------------------------------------------------------------------------------

export function fanoutBackward(fanout: usize, flags: i32, frame: usize): void {
  const scratch = load<u32>(frame, Frame.Events) as usize;
  const weights = at(load<u32>(fanout, Fanout.Weight), frame);
  const target = at(load<u32>(fanout, Fanout.Target), frame);
  const ts = load<u32>(fanout, Fanout.TargetStride) as usize;
  const ws = load<u32>(fanout, Fanout.WeightStride) as usize;
  const withValues = valued(load<u32>(fanout, Fanout.Activity));
  const few = narrow(fanout, withValues, flags);
  if (few) {
    narrowGradient(fanout, few, frame);
    return;
  }
  const deliver = flags & BackwardFlags.Deliver;
  const accumulate = flags & BackwardFlags.Accumulate;
  const weight = flags & BackwardFlags.Weight;
  const window = load<u32>(fanout, Fanout.Window) as usize;
  if (window && deliver && weight && channelsBackward(fanout, window, accumulate, frame)) return;
  const delivered = deliver ? at(load<u32>(fanout, Fanout.Delivered), frame) : 0;
  const shift = weight ? at(load<u32>(fanout, Fanout.Gradient), frame) - weights : 0;
  rewind(scratch);
  for (;;) {
    const count = collect(fanout, frame, weights, target);
    let event = scratch + LIST;
    const end = event + count * Event.Size;
    for (; event < end; event += Event.Size) {
      const t = load<u32>(event, Event.Target) as usize;
      const extent = load<u32>(event, Event.Extent);
      const vectors = (extent & 0xffffff) as i32;
      const runs = (extent >> 24) as i32;
      const w = load<u32>(event, Event.Weight) as usize;
      const x = withValues ? load<f32>(event, Event.Value) : 1;
      if (deliver) {
        const next = event + Event.Size;
        const place = placeOf(event, delivered);
        if (!weight && event + 3 * Event.Size < end && fourAlike(event)) {
          four(event, vectors, runs, ts, ws, delivered, accumulate);
          event += 3 * Event.Size;
          continue;
        }
        if (weight && !withValues && next < end && (load<u32>(next, Event.Target) as usize) == t && load<u32>(next, Event.Extent) == extent) {
          // Two spikes of one pixel share the loads of D; their weights are different rows.
          const other = placeOf(next, delivered);
          const w2 = load<u32>(next, Event.Weight) as usize;
          const second = pair(t, w, w2, shift, vectors, runs, ts, ws, place, accumulate);
          give(other, accumulate, second);
          event = next;
          continue;
        }
        const g = weight
          ? x == 1
            ? dotAdd(t, w, shift, vectors, runs, ts, ws)
            : dotAddScaled(t, w, shift, x, vectors, runs, ts, ws)
          : dot(t, w, vectors, runs, ts, ws);
        give(place, accumulate, g);
      } else {
        const gradient = w + shift;
        if (x == 1) accumulateRuns(gradient, t, vectors, runs, ws, ts);
        else addScaled(gradient, t, x, vectors, runs, ws, ts);
      }
    }
    if (count < EVENT_CHUNK) return;
  }
}

/** dw += D: the forward walk with the roles of weight and target exchanged. */
@inline
function accumulateRuns(gradient: usize, t: usize, vectors: i32, runs: i32, ws: usize, ts: usize): void {
  add1(gradient, t, vectors, runs, ws, ts);
}

/** The fixed tree over eight lane partials: even and odd vectors lane by lane, then lanes 0+2, 1+3, then both. */
@inline
export function tree(even: v128, odd: v128): f32 {
  const s = f32x4.add(even, odd);
  const h = f32x4.add(s, v128.shuffle<i32>(s, s, 2, 3, 0, 1));
  return f32x4.extract_lane(h, 0) + f32x4.extract_lane(h, 1);
}

@inline
function scalarTree(e0: f32, e1: f32, e2: f32, e3: f32, o0: f32, o1: f32, o2: f32, o3: f32): f32 {
  const s0 = e0 + o0;
  const s1 = e1 + o1;
  const s2 = e2 + o2;
  const s3 = e3 + o3;
  return s0 + s2 + (s1 + s3);
}

/** Σ w · D over all runs. */
export function dot(t: usize, w: usize, vectors: i32, runs: i32, ts: usize, ws: usize): f32 {
  if (ASC_FEATURE_SIMD) {
    let even = f32x4.splat(0);
    let odd = f32x4.splat(0);
    ts -= (vectors as usize) << 4;
    ws -= (vectors as usize) << 4;
    do {
      let n = vectors;
      for (; n >= 2; n -= 2) {
        even = f32x4.add(even, f32x4.mul(v128.load(w), v128.load(t)));
        odd = f32x4.add(odd, f32x4.mul(v128.load(w, 16), v128.load(t, 16)));
        t += 32;
        w += 32;
      }
      if (n) {
        even = f32x4.add(even, f32x4.mul(v128.load(w), v128.load(t)));
        t += 16;
        w += 16;
      }
      t += ts;
      w += ws;
    } while (--runs);
    return tree(even, odd);
  }
  let e0: f32 = 0;
  let e1: f32 = 0;
  let e2: f32 = 0;
  let e3: f32 = 0;
  let o0: f32 = 0;
  let o1: f32 = 0;
  let o2: f32 = 0;
  let o3: f32 = 0;
  for (let f = 0; f < runs; ++f) {
    for (let n = 0; n < vectors; ++n) {
      const p = t + ((n as usize) << 4);
      const q = w + ((n as usize) << 4);
      if (n & 1) {
        o0 += load<f32>(q) * load<f32>(p);
        o1 += load<f32>(q, 4) * load<f32>(p, 4);
        o2 += load<f32>(q, 8) * load<f32>(p, 8);
        o3 += load<f32>(q, 12) * load<f32>(p, 12);
      } else {
        e0 += load<f32>(q) * load<f32>(p);
        e1 += load<f32>(q, 4) * load<f32>(p, 4);
        e2 += load<f32>(q, 8) * load<f32>(p, 8);
        e3 += load<f32>(q, 12) * load<f32>(p, 12);
      }
    }
    t += ts;
    w += ws;
  }
  return scalarTree(e0, e1, e2, e3, o0, o1, o2, o3);
}

/** Whether an event and the three behind it share target and extent. */
@inline
function fourAlike(event: usize): bool {
  return (
    load<u64>(event, Event.Target) == load<u64>(event, Event.Target + Event.Size) &&
    load<u64>(event, Event.Target) == load<u64>(event, Event.Target + 2 * Event.Size) &&
    load<u64>(event, Event.Target) == load<u64>(event, Event.Target + 3 * Event.Size)
  );
}

/** G of four spikes of one pixel, which share the loads of D. */
function four(event: usize, vectors: i32, runs: i32, ts: usize, ws: usize, delivered: usize, accumulate: i32): void {
  if (!ASC_FEATURE_SIMD) {
    for (let i = 0; i < 4; ++i, event += Event.Size) {
      const place = placeOf(event, delivered);
      const g = dot(load<u32>(event, Event.Target), load<u32>(event, Event.Weight), vectors, runs, ts, ws);
      give(place, accumulate, g);
    }
    return;
  }
  let t = load<u32>(event, Event.Target) as usize;
  let p = load<u32>(event, Event.Weight) as usize;
  let q = load<u32>(event, Event.Weight + Event.Size) as usize;
  let r = load<u32>(event, Event.Weight + 2 * Event.Size) as usize;
  let s = load<u32>(event, Event.Weight + 3 * Event.Size) as usize;
  let ae = f32x4.splat(0);
  let ao = ae;
  let be = ae;
  let bo = ae;
  let ce = ae;
  let co = ae;
  let de = ae;
  let df = ae;
  ts -= (vectors as usize) << 4;
  ws -= (vectors as usize) << 4;
  do {
    let n = vectors;
    for (; n >= 2; n -= 2) {
      const x = v128.load(t);
      const y = v128.load(t, 16);
      ae = f32x4.add(ae, f32x4.mul(v128.load(p), x));
      be = f32x4.add(be, f32x4.mul(v128.load(q), x));
      ce = f32x4.add(ce, f32x4.mul(v128.load(r), x));
      de = f32x4.add(de, f32x4.mul(v128.load(s), x));
      ao = f32x4.add(ao, f32x4.mul(v128.load(p, 16), y));
      bo = f32x4.add(bo, f32x4.mul(v128.load(q, 16), y));
      co = f32x4.add(co, f32x4.mul(v128.load(r, 16), y));
      df = f32x4.add(df, f32x4.mul(v128.load(s, 16), y));
      t += 32;
      p += 32;
      q += 32;
      r += 32;
      s += 32;
    }
    if (n) {
      const x = v128.load(t);
      ae = f32x4.add(ae, f32x4.mul(v128.load(p), x));
      be = f32x4.add(be, f32x4.mul(v128.load(q), x));
      ce = f32x4.add(ce, f32x4.mul(v128.load(r), x));
      de = f32x4.add(de, f32x4.mul(v128.load(s), x));
      t += 16;
      p += 16;
      q += 16;
      r += 16;
      s += 16;
    }
    t += ts;
    p += ws;
    q += ws;
    r += ws;
    s += ws;
  } while (--runs);
  const g = trees(f32x4.add(ae, ao), f32x4.add(be, bo), f32x4.add(ce, co), f32x4.add(de, df));
  give(placeOf(event, delivered), accumulate, f32x4.extract_lane(g, 0));
  give(placeOf(event + Event.Size, delivered), accumulate, f32x4.extract_lane(g, 1));
  give(placeOf(event + 2 * Event.Size, delivered), accumulate, f32x4.extract_lane(g, 2));
  give(placeOf(event + 3 * Event.Size, delivered), accumulate, f32x4.extract_lane(g, 3));
}

/** Where G of an event goes. */
@inline
function placeOf(event: usize, delivered: usize): usize {
  return delivered + ((load<u32>(event, Event.Index) as usize) << 2);
}

/** Writes G, or adds to it. */
@inline
export function give(place: usize, accumulate: i32, g: f32): void {
  store<f32>(place, accumulate ? load<f32>(place) + g : g);
}

/** Σ w · D, and dw += D on the way. */
export function dotAdd(t: usize, w: usize, shift: usize, vectors: i32, runs: i32, ts: usize, ws: usize): f32 {
  if (ASC_FEATURE_SIMD) {
    let even = f32x4.splat(0);
    let odd = f32x4.splat(0);
    ts -= (vectors as usize) << 4;
    ws -= (vectors as usize) << 4;
    do {
      let n = vectors;
      let g = w + shift;
      for (; n >= 2; n -= 2) {
        const d0 = v128.load(t);
        const d1 = v128.load(t, 16);
        even = f32x4.add(even, f32x4.mul(v128.load(w), d0));
        odd = f32x4.add(odd, f32x4.mul(v128.load(w, 16), d1));
        v128.store(g, f32x4.add(v128.load(g), d0));
        v128.store(g, f32x4.add(v128.load(g, 16), d1), 16);
        t += 32;
        w += 32;
        g += 32;
      }
      if (n) {
        const d0 = v128.load(t);
        even = f32x4.add(even, f32x4.mul(v128.load(w), d0));
        v128.store(g, f32x4.add(v128.load(g), d0));
        t += 16;
        w += 16;
      }
      t += ts;
      w += ws;
    } while (--runs);
    return tree(even, odd);
  }
  const sum = dot(t, w, vectors, runs, ts, ws);
  accumulateRuns(w + shift, t, vectors, runs, ws, ts);
  return sum;
}

/** Σ w · D, and dw += x · D on the way. */
export function dotAddScaled(t: usize, w: usize, shift: usize, x: f32, vectors: i32, runs: i32, ts: usize, ws: usize): f32 {
  if (ASC_FEATURE_SIMD) {
    const scale = f32x4.splat(x);
    let even = f32x4.splat(0);
    let odd = f32x4.splat(0);
    ts -= (vectors as usize) << 4;
    ws -= (vectors as usize) << 4;
    do {
      let n = vectors;
      let g = w + shift;
      for (; n >= 2; n -= 2) {
        const d0 = v128.load(t);
        const d1 = v128.load(t, 16);
        even = f32x4.add(even, f32x4.mul(v128.load(w), d0));
        odd = f32x4.add(odd, f32x4.mul(v128.load(w, 16), d1));
        v128.store(g, f32x4.add(v128.load(g), f32x4.mul(d0, scale)));
        v128.store(g, f32x4.add(v128.load(g, 16), f32x4.mul(d1, scale)), 16);
        t += 32;
        w += 32;
        g += 32;
      }
      if (n) {
        const d0 = v128.load(t);
        even = f32x4.add(even, f32x4.mul(v128.load(w), d0));
        v128.store(g, f32x4.add(v128.load(g), f32x4.mul(d0, scale)));
        t += 16;
        w += 16;
      }
      t += ts;
      w += ws;
    } while (--runs);
    return tree(even, odd);
  }
  const sum = dot(t, w, vectors, runs, ts, ws);
  addScaled(w + shift, t, x, vectors, runs, ws, ts);
  return sum;
}

/** Both of the above for two spikes of one pixel; stores the first sum at `place`, returns the second. */
export function pair(
  t: usize,
  w: usize,
  w2: usize,
  shift: usize,
  vectors: i32,
  runs: i32,
  ts: usize,
  ws: usize,
  place: usize,
  accumulate: i32,
): f32 {
  let first: f32;
  let second: f32;
  if (ASC_FEATURE_SIMD) {
    let even = f32x4.splat(0);
    let odd = f32x4.splat(0);
    let even2 = f32x4.splat(0);
    let odd2 = f32x4.splat(0);
    ts -= (vectors as usize) << 4;
    ws -= (vectors as usize) << 4;
    do {
      let n = vectors;
      let g = w + shift;
      let g2 = w2 + shift;
      for (; n >= 2; n -= 2) {
        const d0 = v128.load(t);
        const d1 = v128.load(t, 16);
        even = f32x4.add(even, f32x4.mul(v128.load(w), d0));
        odd = f32x4.add(odd, f32x4.mul(v128.load(w, 16), d1));
        even2 = f32x4.add(even2, f32x4.mul(v128.load(w2), d0));
        odd2 = f32x4.add(odd2, f32x4.mul(v128.load(w2, 16), d1));
        v128.store(g, f32x4.add(v128.load(g), d0));
        v128.store(g, f32x4.add(v128.load(g, 16), d1), 16);
        v128.store(g2, f32x4.add(v128.load(g2), d0));
        v128.store(g2, f32x4.add(v128.load(g2, 16), d1), 16);
        t += 32;
        w += 32;
        w2 += 32;
        g += 32;
        g2 += 32;
      }
      if (n) {
        const d0 = v128.load(t);
        even = f32x4.add(even, f32x4.mul(v128.load(w), d0));
        even2 = f32x4.add(even2, f32x4.mul(v128.load(w2), d0));
        v128.store(g, f32x4.add(v128.load(g), d0));
        v128.store(g2, f32x4.add(v128.load(g2), d0));
        t += 16;
        w += 16;
        w2 += 16;
      }
      t += ts;
      w += ws;
      w2 += ws;
    } while (--runs);
    first = tree(even, odd);
    second = tree(even2, odd2);
  } else {
    first = dotAdd(t, w, shift, vectors, runs, ts, ws);
    second = dotAdd(t, w2, shift, vectors, runs, ts, ws);
  }
  give(place, accumulate, first);
  return second;
}

// ---- counting -----------------------------------------------------------------------------------------------------

/** Adds the synaptic operations of this step (events × existing outputs) to the u64 at `counter`. */
export function countOperations(fanout: usize, counter: usize, frame: usize): void {
  const scratch = load<u32>(frame, Frame.Events) as usize;
  const columns = load<u32>(fanout, Fanout.Columns) as usize;
  const rowTable = load<u32>(fanout, Fanout.RowTable) as usize;
  const rowLength = load<u32>(load<u32>(fanout, Fanout.Activity), Activity.RowLength);
  const total = at(counter, frame);
  let sum: u64 = 0;
  rewind(scratch);
  for (;;) {
    const count = collect(fanout, frame, 0, 0);
    let event = scratch + LIST;
    const end = event + count * Event.Size;
    for (; event < end; event += Event.Size) {
      const index = load<u32>(event, Event.Index);
      const row = index / rowLength;
      const column = index - row * rowLength;
      sum +=
        (load<u32>(columns + column * FanoutColumn.Size, FanoutColumn.Reach) as u64) *
        load<u32>(rowTable + row * FanoutRow.Size, FanoutRow.Reach);
    }
    if (count < EVENT_CHUNK) break;
  }
  store<u64>(total, load<u64>(total) + sum);
}
