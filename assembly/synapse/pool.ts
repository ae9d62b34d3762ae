// Pooling of spikes.
//
//   max, forward    s_window = any s_i of the window
//   max, backward   G_i = G_window at the first spike of the window in row-major order, 0 at its other spikes
//   average         the window's sum (route.ts), divided by its size
// Max pooling works on up to 32 channels of a pixel at once: bound by the loads of the source's words.

import { MaxPool } from "../abi";
import { at } from "../view";

/** `count` (at most 32) bits of a row from bit `first` on. */
@inline
function bitsAt(row: usize, first: u32, count: u32): u32 {
  const pair = load<u64>(row + ((first >> 5) << 2)) >> ((first & 31) as u64);
  return (pair as u32) & (0xffffffff >> (32 - count));
}

export function maxPoolForward(pool: usize, frame: usize): void {
  const window = load<u32>(pool, MaxPool.Window);
  const channels = load<u32>(pool, MaxPool.Channels);
  const rows = load<u32>(pool, MaxPool.Rows);
  const columns = load<u32>(pool, MaxPool.Columns);
  const rowWords = load<u32>(pool, MaxPool.RowWords);
  const bits = at(load<u32>(pool, MaxPool.Bits), frame);
  const sourceBytes = load<u32>(pool, MaxPool.SourceRowWords) << 2;
  const source = at(load<u32>(pool, MaxPool.SourceBits), frame);
  memory.fill(bits, 0, (rows * rowWords) << 2);
  for (let y: u32 = 0; y < rows; ++y) {
    const out = bits + ((y * rowWords) << 2);
    const top = source + y * window * sourceBytes;
    for (let x: u32 = 0; x < columns; ++x) {
      for (let c: u32 = 0; c < channels; c += 32) {
        const count = min<u32>(channels - c, 32);
        let any: u32 = 0;
        for (let dy: u32 = 0; dy < window; ++dy) {
          const row = top + dy * sourceBytes;
          for (let dx: u32 = 0; dx < window; ++dx) any |= bitsAt(row, (x * window + dx) * channels + c, count);
        }
        if (!any) continue;
        const first = x * channels + c;
        const word = out + ((first >> 5) << 2);
        const shift = first & 31;
        store<u32>(word, load<u32>(word) | (any << shift));
        if (shift + count > 32) store<u32>(word, load<u32>(word, 4) | (any >> (32 - shift)), 4);
      }
    }
  }
}

/** Above this many spikes of 32 neurons writing all of them is faster than picking those that spiked. */
const DENSE: i32 = 5;

export function maxPoolBackward(pool: usize, frame: usize): void {
  const window = load<u32>(pool, MaxPool.Window);
  const channels = load<u32>(pool, MaxPool.Channels);
  const rows = load<u32>(pool, MaxPool.Rows);
  const columns = load<u32>(pool, MaxPool.Columns);
  const sourceBytes = load<u32>(pool, MaxPool.SourceRowWords) << 2;
  const source = at(load<u32>(pool, MaxPool.SourceBits), frame);
  const delivered = at(load<u32>(pool, MaxPool.Delivered), frame);
  const sourceLength = load<u32>(pool, MaxPool.SourceRowLength);
  const to = at(load<u32>(pool, MaxPool.SourceDelivered), frame);
  for (let y: u32 = 0; y < rows; ++y) {
    for (let x: u32 = 0; x < columns; ++x) {
      for (let c: u32 = 0; c < channels; c += 32) {
        const count = min<u32>(channels - c, 32);
        const from = delivered + (((y * columns + x) * channels + c) << 2);
        let open: u32 = 0xffffffff;
        for (let dy: u32 = 0; dy < window; ++dy) {
          const line = y * window + dy;
          const row = source + line * sourceBytes;
          for (let dx: u32 = 0; dx < window; ++dx) {
            const place = (x * window + dx) * channels + c;
            let spikes = bitsAt(row, place, count);
            const first = to + ((line * sourceLength + place) << 2);
            const winners = spikes & open;
            open &= ~spikes;
            if (ASC_FEATURE_SIMD) {
              if (popcnt<i32>(spikes) > DENSE) {
                // G is written where no spike asks for it too: the same 0 that a loser gets, never read.
                for (let k: u32 = 0; k < count; k += 4) {
                  const each = i32x4(1, 2, 4, 8);
                  const won = i32x4.eq(v128.and(i32x4.splat((winners >> k) as i32), each), each);
                  v128.store(first + (k << 2), v128.and(v128.load(from + (k << 2)), won));
                }
                continue;
              }
            }
            while (spikes) {
              const k = ctz(spikes);
              spikes &= spikes - 1;
              store<f32>(first + (k << 2), (winners >> k) & 1 ? load<f32>(from + (k << 2)) : 0);
            }
          }
        }
      }
    }
  }
}

/** a_i /= divisor. */
export function divide(a: usize, count: usize, divisor: f32): void {
  for (let p: usize = 0; p < count << 2; p += 16) {
    if (ASC_FEATURE_SIMD) {
      v128.store(a + p, f32x4.div(v128.load(a + p), f32x4.splat(divisor)));
    } else {
      for (let k = p; k < p + 16; k += 4) store<f32>(a + k, load<f32>(a + k) / divisor);
    }
  }
}

/** a_i *= b_i. */
export function multiply(a: usize, b: usize, count: usize): void {
  for (let p: usize = 0; p < count << 2; p += 16) {
    if (ASC_FEATURE_SIMD) {
      v128.store(a + p, f32x4.mul(v128.load(a + p), v128.load(b + p)));
    } else {
      for (let k = p; k < p + 16; k += 4) store<f32>(a + k, load<f32>(a + k) * load<f32>(b + k));
    }
  }
}
