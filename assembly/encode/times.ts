// Input times of single-spike networks: given, or one spike a pixel, t = 1 - x, none below a limit. While training, noise
// N(0, σ) may be added: number (seed, stream, epoch, sample, index) decides, index i takes word i & 3 of counter i >> 2.

import { Control, Frame, TimesEncoder } from "../abi";
import { normalQuantile } from "../math/normal";
import { philox } from "../math/philox";
import { at } from "../view";

/** `scratch`: 16 bytes. */
export function timesEncode(encoder: usize, scratch: usize, frame: usize): void {
  const count = load<u32>(encoder, TimesEncoder.Count);
  const input = at(load<u32>(encoder, TimesEncoder.Input), frame);
  const times = at(load<u32>(encoder, TimesEncoder.Times), frame);
  const intensity = load<u32>(encoder, TimesEncoder.Intensity) != 0;
  const silent = load<f32>(encoder, TimesEncoder.SilentBelow);
  const noise = load<f32>(encoder, TimesEncoder.Noise);
  const control = load<u32>(frame, Frame.Control) as usize;
  const sample = load<u32>(load<u32>(control, Control.SampleIds) + (load<u32>(frame, Frame.Sample) << 2));
  let spikes: u32 = 0;
  let drawn: u32 = 0xffffffff;
  for (let i: u32 = 0; i < count; ++i) {
    const x = load<f32>(input + (i << 2));
    let t: f32 = intensity ? (x < silent ? <f32>Infinity : 1 - x) : x;
    if (t < Infinity) {
      ++spikes;
      if (noise > 0) {
        if (drawn != i >> 2) {
          drawn = i >> 2;
          const key0 = load<u32>(encoder, TimesEncoder.Key0);
          const key1 = load<u32>(encoder, TimesEncoder.Key1);
          philox(scratch, drawn, 0, sample, load<u32>(control, Control.Epoch), key0, key1);
        }
        const p = ((load<u32>(scratch + ((i & 3) << 2)) as f64) + 0.5) * 2.3283064365386963e-10;
        t += noise * (normalQuantile(p) as f32);
      }
    }
    store<f32>(times + (i << 2), t + 0); // -0 is 0: equal times keep the order of their positions
  }
  const counter = at(load<u32>(encoder, TimesEncoder.Spikes), frame);
  store<u32>(counter, load<u32>(counter) + spikes);
}
