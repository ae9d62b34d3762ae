// Sums the gradient buffers of a batch's blocks in a fixed tree: 0+1, 2+3, 4+5, 6+7, then pairs of those, then both.

import { Control, Frame } from "../abi";
import { endOfStretch, nextStretch } from "../team";

@inline
function addInto(to: usize, from: usize): void {
  if (ASC_FEATURE_SIMD) {
    v128.store(to, f32x4.add(v128.load(to), v128.load(from)));
  } else {
    for (let k: usize = 0; k < 16; k += 4) store<f32>(to + k, load<f32>(to + k) + load<f32>(from + k));
  }
}

/** `bytes` a block, a multiple of 16, buffers one after another at `base`; the sum ends in block 0. */
export function reduce(base: usize, bytes: usize, frame: usize): void {
  const blocks = load<u32>(load<u32>(frame, Frame.Control), Control.Blocks);
  for (let first = nextStretch(0, bytes, frame); first < bytes; ) {
    const end = endOfStretch(first, bytes, frame);
    for (let gap: u32 = 1; gap < blocks; gap <<= 1) {
      for (let block: u32 = 0; block + gap < blocks; block += gap << 1) {
        const to = base + (block as usize) * bytes;
        const from = base + ((block + gap) as usize) * bytes;
        for (let p = first; p < end; p += 16) addInto(to + p, from + p);
      }
    }
    first = nextStretch(end, bytes, frame);
  }
}
