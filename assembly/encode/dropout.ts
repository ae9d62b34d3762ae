// Dropout: a mask of 0 and 1/(1-p), drawn once a sample and held for all its steps.

import { Control, Dropout, Frame } from "../abi";
import { philox16 } from "../math/philox";
import { at } from "../view";

/** `scratch`: 64 bytes. */
export function dropout(record: usize, scratch: usize, frame: usize): void {
  const count = load<u32>(record, Dropout.Count);
  const mask = at(load<u32>(record, Dropout.Mask), frame);
  const given = load<u32>(record, Dropout.Given) as usize;
  if (given) {
    memory.copy(mask, at(given, frame), count << 2);
    return;
  }
  const control = load<u32>(frame, Frame.Control) as usize;
  const sample = load<u32>(load<u32>(control, Control.SampleIds) + (load<u32>(frame, Frame.Sample) << 2));
  const epoch = load<u32>(control, Control.Epoch);
  const limit = (load<f32>(record, Dropout.Probability) * 2147483648.0) as u32;
  const keep = load<f32>(record, Dropout.Keep);
  for (let i: u32 = 0; i < count; i += 16) {
    philox16(scratch, i >> 2, 0, sample, epoch, load<u32>(record, Dropout.Key0), load<u32>(record, Dropout.Key1));
    const end = min(count - i, 16);
    for (let k: u32 = 0; k < end; ++k) {
      store<f32>(mask + ((i + k) << 2), load<u32>(scratch + (k << 2)) >> 1 < limit ? 0 : keep);
    }
  }
}
