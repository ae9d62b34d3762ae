// Pooling of currents, real values: windows of w × w that do not overlap, channels last.
//
//   maximum   y = max of the window; its place is kept, the first in row-major order if it occurs twice
//             D reaches that place, 0 the others
//   average   y = (sum of the window, row-major) · 1/w²; every place gets D / w²
// Bound by the loads (forward) and stores (backward) of the field.

import { FieldPool } from "../abi";
import { at } from "../view";

export function fieldPoolForward(record: usize, frame: usize): void {
  const from = at(load<u32>(record, FieldPool.From), frame);
  const stride = load<u32>(record, FieldPool.Stride) as usize;
  const cell = (load<u32>(record, FieldPool.Channels) as usize) << 2;
  const window = load<u32>(record, FieldPool.Window);
  const rows = load<u32>(record, FieldPool.Rows);
  const columns = load<u32>(record, FieldPool.Columns);
  const scale = load<f32>(record, FieldPool.Scale);
  const indexView = load<u32>(record, FieldPool.Index) as usize;
  let index = indexView ? at(indexView, frame) : 0;
  let to = at(load<u32>(record, FieldPool.To), frame);
  for (let y: u32 = 0; y < rows; ++y) {
    for (let x: u32 = 0; x < columns; ++x) {
      const corner = from + y * window * stride + x * window * cell;
      for (let c: usize = 0; c < cell; c += 16) {
        if (scale == 0) largest(corner + c, stride, cell, window, to, index);
        else average(corner + c, stride, cell, window, scale, to);
        to += 16;
        if (indexView) index += 16;
      }
    }
  }
}

@inline
function largest(corner: usize, stride: usize, cell: usize, window: u32, to: usize, index: usize): void {
  let place = 0;
  if (ASC_FEATURE_SIMD) {
    let top = v128.load(corner);
    let where = i32x4.splat(0);
    for (let dy: u32 = 0; dy < window; ++dy) {
      let p = corner + dy * stride;
      for (let dx: u32 = 0; dx < window; ++dx, p += cell, ++place) {
        const value = v128.load(p);
        const above = f32x4.gt(value, top);
        top = v128.bitselect(value, top, above);
        where = v128.bitselect(i32x4.splat(place), where, above);
      }
    }
    v128.store(to, top);
    if (index) v128.store(index, where);
  } else {
    for (let k: usize = 0; k < 16; k += 4) {
      let top = load<f32>(corner + k);
      let where = 0;
      place = 0;
      for (let dy: u32 = 0; dy < window; ++dy) {
        let p = corner + dy * stride + k;
        for (let dx: u32 = 0; dx < window; ++dx, p += cell, ++place) {
          const value = load<f32>(p);
          if (value > top) {
            top = value;
            where = place;
          }
        }
      }
      store<f32>(to + k, top);
      if (index) store<i32>(index + k, where);
    }
  }
}

@inline
function average(corner: usize, stride: usize, cell: usize, window: u32, scale: f32, to: usize): void {
  if (ASC_FEATURE_SIMD) {
    let sum = f32x4.splat(0);
    for (let dy: u32 = 0; dy < window; ++dy) {
      let p = corner + dy * stride;
      for (let dx: u32 = 0; dx < window; ++dx, p += cell) sum = f32x4.add(sum, v128.load(p));
    }
    v128.store(to, f32x4.mul(sum, f32x4.splat(scale)));
  } else {
    for (let k: usize = 0; k < 16; k += 4) {
      let sum: f32 = 0;
      for (let dy: u32 = 0; dy < window; ++dy) {
        let p = corner + dy * stride + k;
        for (let dx: u32 = 0; dx < window; ++dx, p += cell) sum += load<f32>(p);
      }
      store<f32>(to + k, sum * scale);
    }
  }
}

/** Places outside every window are not written: their D stays 0. */
export function fieldPoolBackward(record: usize, frame: usize): void {
  const field = at(load<u32>(record, FieldPool.Delta), frame);
  const stride = load<u32>(record, FieldPool.DeltaStride) as usize;
  const cell = (load<u32>(record, FieldPool.Channels) as usize) << 2;
  const window = load<u32>(record, FieldPool.Window);
  const rows = load<u32>(record, FieldPool.Rows);
  const columns = load<u32>(record, FieldPool.Columns);
  const scale = load<f32>(record, FieldPool.Scale);
  const indexView = load<u32>(record, FieldPool.Index) as usize;
  let index = indexView ? at(indexView, frame) : 0;
  let from = at(load<u32>(record, FieldPool.Pooled), frame);
  for (let y: u32 = 0; y < rows; ++y) {
    for (let x: u32 = 0; x < columns; ++x) {
      const corner = field + y * window * stride + x * window * cell;
      for (let c: usize = 0; c < cell; c += 16) {
        spread(corner + c, stride, cell, window, scale, from, index);
        from += 16;
        if (indexView) index += 16;
      }
    }
  }
}

@inline
function spread(corner: usize, stride: usize, cell: usize, window: u32, scale: f32, from: usize, index: usize): void {
  let place = 0;
  if (ASC_FEATURE_SIMD) {
    const d = v128.load(from);
    const share = f32x4.mul(d, f32x4.splat(scale));
    const where = index ? v128.load(index) : d;
    for (let dy: u32 = 0; dy < window; ++dy) {
      let p = corner + dy * stride;
      for (let dx: u32 = 0; dx < window; ++dx, p += cell, ++place) {
        v128.store(p, index ? v128.and(d, i32x4.eq(where, i32x4.splat(place))) : share);
      }
    }
  } else {
    for (let k: usize = 0; k < 16; k += 4) {
      const d = load<f32>(from + k);
      const where = index ? load<i32>(index + k) : 0;
      place = 0;
      for (let dy: u32 = 0; dy < window; ++dy) {
        let p = corner + dy * stride + k;
        for (let dx: u32 = 0; dx < window; ++dx, p += cell, ++place) {
          store<f32>(p, index ? (where == place ? d : 0) : d * scale);
        }
      }
    }
  }
}
