// Dense synapses, all steps of a sample in one sweep over the weights.
//
//   forward   I_t,j += w_ij · x_t,i       inputs ascending in every chain, as in fanout.ts: the same bits
//   backward  G_t,i  = Σ_j w_ij · D_t,j   where x_t,i is not 0
//             dw_ij += D_t,j · x_t,i      steps descending
// Large matrices are bound by the memory that holds them. Here 32 rows of weights at a time meet the activity of every
// step while they are in the innermost cache; currents and deltas of all steps are small.

import { Activity, ActivityKind, BackwardFlags, Fanout, FanoutColumn, Frame, View } from "../abi";
import { at } from "../view";
import { add1, add2, add3, add4, addScaled, dot, dotAdd, dotAddScaled, pair } from "./fanout";

/** Bytes between steps of a view. */
@inline
function perStep(view: usize): usize {
  return view ? (load<u32>(view, View.PerStep) as usize) : 0;
}

/** Address of a view at step 0. */
@inline
function origin(view: usize, frame: usize): usize {
  return view ? at(view, frame) : 0;
}

export function sweepForward(fanout: usize, steps: i32, frame: usize): void {
  store<u32>(frame, 0, Frame.Step);
  const activity = load<u32>(fanout, Fanout.Activity) as usize;
  const dataView = load<u32>(activity, Activity.Data) as usize;
  const targetView = load<u32>(fanout, Fanout.Target) as usize;
  const amplitude = origin(load<u32>(activity, Activity.Amplitude), frame);
  const weights = at(load<u32>(fanout, Fanout.Weight), frame);
  const ws = load<u32>(fanout, Fanout.WeightStride) as usize;
  const vectors = load<u32>(load<u32>(fanout, Fanout.Columns) as usize, FanoutColumn.Vectors) as i32;
  const rows = load<u32>(activity, Activity.Rows);
  const rowLength = load<u32>(activity, Activity.RowLength);
  const bits = load<u32>(activity, Activity.Kind) == ActivityKind.Bits;
  const rowWords = load<u32>(activity, Activity.RowWords);
  const data = at(dataView, frame);
  const target = at(targetView, frame);
  const dataStep = perStep(dataView);
  const targetStep = perStep(targetView);
  for (let row: u32 = 0; row < rows; ++row) {
    for (let first: u32 = 0; first < rowLength; first += 32) {
      const index = (row * rowLength + first) as usize;
      const chunk = weights + index * ws;
      const count = min<u32>(rowLength - first, 32);
      let t = target;
      if (bits) {
        let place = data + ((row * rowWords + (first >> 5)) << 2);
        for (let step = 0; step < steps; ++step, t += targetStep, place += dataStep) {
          let word = load<u32>(place);
          if (amplitude) {
            for (; word; word &= word - 1) {
              const k = ctz(word) as usize;
              addScaled(t, chunk + k * ws, load<f32>(amplitude + ((index + k) << 2)), vectors, 1, 0, 0);
            }
            continue;
          }
          while (word) {
            const a = chunk + (ctz(word) as usize) * ws;
            word &= word - 1;
            if (!word) {
              add1(t, a, vectors, 1, 0, 0);
              break;
            }
            const b = chunk + (ctz(word) as usize) * ws;
            word &= word - 1;
            if (!word) {
              add2(t, a, b, vectors, 1, 0, 0);
              break;
            }
            const c = chunk + (ctz(word) as usize) * ws;
            word &= word - 1;
            if (!word) {
              add3(t, a, b, c, vectors, 1, 0, 0);
              break;
            }
            const d = chunk + (ctz(word) as usize) * ws;
            word &= word - 1;
            add4(t, a, b, c, d, vectors, 1, 0, 0);
          }
        }
      } else {
        let place = data + (index << 2);
        for (let step = 0; step < steps; ++step, t += targetStep, place += dataStep) {
          for (let k: usize = 0; k < count; ++k) {
            const x = load<f32>(place + (k << 2));
            if (x != 0) addScaled(t, chunk + k * ws, x, vectors, 1, 0, 0);
          }
        }
      }
    }
  }
}

export function sweepBackward(fanout: usize, steps: i32, flags: i32, frame: usize): void {
  store<u32>(frame, 0, Frame.Step);
  const activity = load<u32>(fanout, Fanout.Activity) as usize;
  const dataView = load<u32>(activity, Activity.Data) as usize;
  const targetView = load<u32>(fanout, Fanout.Target) as usize;
  const deliver = flags & BackwardFlags.Deliver;
  const deliveredView = deliver ? (load<u32>(fanout, Fanout.Delivered) as usize) : 0;
  const amplitude = origin(load<u32>(activity, Activity.Amplitude), frame);
  const weights = at(load<u32>(fanout, Fanout.Weight), frame);
  const shift = at(load<u32>(fanout, Fanout.Gradient), frame) - weights;
  const ws = load<u32>(fanout, Fanout.WeightStride) as usize;
  const vectors = load<u32>(load<u32>(fanout, Fanout.Columns) as usize, FanoutColumn.Vectors) as i32;
  const rows = load<u32>(activity, Activity.Rows);
  const rowLength = load<u32>(activity, Activity.RowLength);
  const rowWords = load<u32>(activity, Activity.RowWords);
  const bits = load<u32>(activity, Activity.Kind) == ActivityKind.Bits;
  const dataStep = perStep(dataView);
  const targetStep = perStep(targetView);
  const deliveredStep = perStep(deliveredView);
  const last = (steps - 1) as usize;
  const data = at(dataView, frame) + last * dataStep;
  const target = at(targetView, frame) + last * targetStep;
  const delivered = origin(deliveredView, frame) + last * deliveredStep;
  for (let row: u32 = 0; row < rows; ++row) {
    for (let first: u32 = 0; first < rowLength; first += 32) {
      const index = (row * rowLength + first) as usize;
      const chunk = weights + index * ws;
      const count = min<u32>(rowLength - first, 32);
      let t = target;
      let g = delivered + (index << 2);
      let place = bits ? data + ((row * rowWords + (first >> 5)) << 2) : data + (index << 2);
      for (let step = 0; step < steps; ++step) {
        if (bits && !amplitude) {
          for (let word = load<u32>(place); word; word &= word - 1) {
            const k = ctz(word) as usize;
            const w = chunk + k * ws;
            if (!deliver) {
              add1(w + shift, t, vectors, 1, 0, 0);
              continue;
            }
            const rest = word & (word - 1);
            if (!rest) {
              store<f32>(g + (k << 2), dotAdd(t, w, shift, vectors, 1, 0, 0));
              break;
            }
            const k2 = ctz(rest) as usize;
            store<f32>(g + (k2 << 2), pair(t, w, chunk + k2 * ws, shift, vectors, 1, 0, 0, g + (k << 2), 0));
            word = rest;
          }
        } else {
          const word = bits ? load<u32>(place) : 0;
          for (let k: usize = 0; k < count; ++k) {
            let x: f32;
            if (bits) {
              if (!((word >> (k as u32)) & 1)) continue;
              x = load<f32>(amplitude + ((index + k) << 2));
            } else {
              x = load<f32>(place + (k << 2));
              if (x == 0) continue;
            }
            const w = chunk + k * ws;
            if (deliver) store<f32>(g + (k << 2), dotAddScaled(t, w, shift, x, vectors, 1, 0, 0));
            else addScaled(w + shift, t, x, vectors, 1, 0, 0);
          }
        }
        t -= targetStep;
        g -= deliveredStep;
        place -= dataStep;
      }
    }
  }
}
