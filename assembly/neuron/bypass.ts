// `bpsta` with its neurons bypassed: an ordinary network of one step, to warm the weights up.
//
//   forward   y = z, z = max(0, γ (I - μ) / σ + β) as the layer says      (neuron/bpsta.ts without v and threshold)
//   backward  dL/dI = G where z > 0 (everywhere without rectification)
//   max pool  y = max over the window; G goes to its first maximum in row-major order
//   votes     the sum of each class's neurons
// Bound by loads and stores. Averages over steps: the input of a network that sees frames.

import { Bpsta, MaxPool, Vote } from "../abi";
import { at } from "../view";

export function bypassForward(layer: usize, frame: usize): void {
  const rows = load<u32>(layer, Bpsta.Rows);
  const rowLength = load<u32>(layer, Bpsta.RowLength);
  const period = (load<u32>(layer, Bpsta.Channels) << 2) as usize;
  const stride = load<u32>(layer, Bpsta.Stride);
  const field = at(load<u32>(layer, Bpsta.Field), frame);
  const relu = load<u32>(layer, Bpsta.Relu) != 0;
  const affineView = load<u32>(layer, Bpsta.Affine) as usize;
  const affine = affineView ? at(affineView, frame) : 0;
  let y = at(load<u32>(layer, Bpsta.Membrane), frame);
  for (let row: u32 = 0; row < rows; ++row) {
    let p = field + row * stride;
    let c: usize = 0;
    for (let left = rowLength >> 2; left; --left) {
      if (ASC_FEATURE_SIMD) {
        let z = v128.load(p);
        if (affine) {
          z = f32x4.add(
            f32x4.mul(f32x4.sub(z, v128.load(affine + c)), v128.load(affine + c + period)),
            v128.load(affine + c + 2 * period),
          );
        }
        if (relu) z = v128.and(z, f32x4.gt(z, f32x4.splat(0)));
        v128.store(y, z);
      } else {
        for (let o: usize = 0; o < 16; o += 4) {
          let z = load<f32>(p + o);
          if (affine) {
            z =
              (z - load<f32>(affine + c + o)) * load<f32>(affine + c + o + period) +
              load<f32>(affine + c + o + 2 * period);
          }
          store<f32>(y + o, relu && !(z > 0) ? 0 : z);
        }
      }
      p += 16;
      y += 16;
      c += 16;
      if (c == period) c = 0;
    }
  }
}

export function bypassBackward(layer: usize, frame: usize): void {
  const rows = load<u32>(layer, Bpsta.Rows);
  const rowLength = load<u32>(layer, Bpsta.RowLength);
  const stride = load<u32>(layer, Bpsta.Stride);
  const relu = load<u32>(layer, Bpsta.Relu) != 0;
  const delta = at(load<u32>(layer, Bpsta.Delta), frame);
  let y = at(load<u32>(layer, Bpsta.Membrane), frame);
  let g = at(load<u32>(layer, Bpsta.Delivered), frame);
  for (let row: u32 = 0; row < rows; ++row) {
    let to = delta + row * stride;
    for (let left = rowLength; left; --left) {
      store<f32>(to, relu && load<f32>(y) == 0 ? 0 : load<f32>(g));
      to += 4;
      y += 4;
      g += 4;
    }
  }
}

/** Address of the first maximum of a window of side `window`; `row` bytes and `pixel` bytes apart. */
@inline
function firstMaximum(corner: usize, window: u32, row: usize, pixel: usize): usize {
  let best = corner;
  for (let dy: u32 = 0; dy < window; ++dy) {
    for (let dx: u32 = 0; dx < window; ++dx) {
      const p = corner + (dy as usize) * row + (dx as usize) * pixel;
      if (load<f32>(p) > load<f32>(best)) best = p;
    }
  }
  return best;
}

/** Values instead of bits in the record of a max pool. */
export function maxValuesForward(pool: usize, frame: usize): void {
  const window = load<u32>(pool, MaxPool.Window);
  const pixel = (load<u32>(pool, MaxPool.Channels) << 2) as usize;
  const rows = load<u32>(pool, MaxPool.Rows);
  const columns = load<u32>(pool, MaxPool.Columns);
  const line = (load<u32>(pool, MaxPool.SourceRowLength) << 2) as usize;
  const source = at(load<u32>(pool, MaxPool.SourceBits), frame);
  let to = at(load<u32>(pool, MaxPool.Bits), frame);
  for (let y: u32 = 0; y < rows; ++y) {
    for (let x: u32 = 0; x < columns; ++x) {
      const corner = source + ((y * window) as usize) * line + ((x * window) as usize) * pixel;
      for (let c: usize = 0; c < pixel; c += 4, to += 4) {
        store<f32>(to, load<f32>(firstMaximum(corner + c, window, line, pixel)));
      }
    }
  }
}

/** The G of the source must be 0 beforehand. */
export function maxValuesBackward(pool: usize, frame: usize): void {
  const window = load<u32>(pool, MaxPool.Window);
  const pixel = (load<u32>(pool, MaxPool.Channels) << 2) as usize;
  const rows = load<u32>(pool, MaxPool.Rows);
  const columns = load<u32>(pool, MaxPool.Columns);
  const line = (load<u32>(pool, MaxPool.SourceRowLength) << 2) as usize;
  const source = at(load<u32>(pool, MaxPool.SourceBits), frame);
  const shift = at(load<u32>(pool, MaxPool.SourceDelivered), frame) - source;
  let g = at(load<u32>(pool, MaxPool.Delivered), frame);
  for (let y: u32 = 0; y < rows; ++y) {
    for (let x: u32 = 0; x < columns; ++x) {
      const corner = source + ((y * window) as usize) * line + ((x * window) as usize) * pixel;
      for (let c: usize = 0; c < pixel; c += 4, g += 4) {
        store<f32>(firstMaximum(corner + c, window, line, pixel) + shift, load<f32>(g));
      }
    }
  }
}

/** `Bits` holds values here. */
export function voteValues(record: usize, frame: usize): void {
  const classes = load<u32>(record, Vote.Classes);
  const voters = load<u32>(record, Vote.Voters);
  const counts = at(load<u32>(record, Vote.Counts), frame);
  let y = at(load<u32>(record, Vote.Bits), frame);
  for (let k: u32 = 0; k < classes; ++k) {
    let sum: f32 = 0;
    for (let n: u32 = 0; n < voters; ++n, y += 4) sum += load<f32>(y);
    store<f32>(counts + (k << 2), sum);
  }
}

/** Mean of `steps` frames, `stride` bytes apart, added in order. */
export function meanFrame(to: usize, from: usize, count: u32, steps: u32, stride: usize): void {
  for (let p: usize = 0; p < (count as usize) << 2; p += 4) {
    let sum: f32 = 0;
    for (let t: u32 = 0; t < steps; ++t) sum += load<f32>(from + p + (t as usize) * stride);
    store<f32>(to + p, sum / (steps as f32));
  }
}
