// Time to first spike: input x in [0, 1] spikes once, brighter is earlier:
//   τ = (1 - x) · (T - 1) + noise · (2 r - 1)      r uniform in [0, 1), drawn only if there is noise
//   t = round(τ), kept within [0, T - 1]           no spike where x < threshold
// Number (seed, stream, epoch, sample, 0, index) is r; index i draws word (i >> 2) & 3 of counter 4 (i >> 4) + (i & 3).
// Bound by the scattered stores of single bits.

import { Control, Frame, Latency, View } from "../abi";
import { philox16 } from "../math/philox";
import { at } from "../view";

/** Once a sample: the bits of all its steps. `scratch`: 64 bytes. */
export function latency(record: usize, scratch: usize, frame: usize): void {
  const rows = load<u32>(record, Latency.Rows);
  const rowLength = load<u32>(record, Latency.RowLength);
  const rowWords = load<u32>(record, Latency.RowWords);
  const input = at(load<u32>(record, Latency.Input), frame);
  const bitsView = load<u32>(record, Latency.Bits) as usize;
  const bits = at(bitsView, frame);
  const perStep = load<u32>(bitsView, View.PerStep) as usize;
  const steps = load<u32>(record, Latency.Steps) as i32;
  const last = (load<u32>(record, Latency.Last) as i32) as f32;
  const threshold = load<f32>(record, Latency.Threshold);
  const noise = load<f32>(record, Latency.Noise);
  const control = load<u32>(frame, Frame.Control) as usize;
  const first = load<u32>(control, Control.FirstStep) as i32;
  const sample = load<u32>(load<u32>(control, Control.SampleIds) + (load<u32>(frame, Frame.Sample) << 2));
  const epoch = load<u32>(control, Control.Epoch);
  const key0 = load<u32>(record, Latency.Key0);
  const key1 = load<u32>(record, Latency.Key1);
  const bytes = (rows * rowWords) << 2;
  if (perStep) {
    for (let t = 0; t < steps; ++t) memory.fill(bits + (t as usize) * perStep, 0, bytes);
  } else memory.fill(bits, 0, bytes);
  let spikes: u32 = 0;
  for (let row: u32 = 0; row < rows; ++row) {
    for (let position: u32 = 0; position < rowLength; ++position) {
      const i = row * rowLength + position;
      if (noise > 0 && (i & 15) == 0) philox16(scratch, i >> 2, 0, sample, epoch, key0, key1);
      const x = load<f32>(input + (i << 2));
      if (x < threshold) continue;
      let time: f32 = (<f32>1 - x) * last;
      if (noise > 0) {
        const r: f32 = ((load<u32>(scratch + ((i & 15) << 2)) >> 8) as f32) * <f32>5.9604644775390625e-8;
        time += noise * (<f32>2 * r - <f32>1);
      }
      const t = (min<f32>(max<f32>(time, 0), last) + <f32>0.5) as i32 - first;
      if (t < 0 || t >= steps) continue;
      const word = bits + (t as usize) * perStep + ((row * rowWords + (position >> 5)) << 2);
      store<u32>(word, load<u32>(word) | (1 << (position & 31)));
      ++spikes;
    }
  }
  const counter = at(load<u32>(record, Latency.Spikes), frame);
  store<u32>(counter, load<u32>(counter) + spikes);
}
