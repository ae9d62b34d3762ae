// Pooling of spike times: the earliest time of each window, which does not overlap its neighbours. A time that occurs twice
// passes its gradient to the first in row-major order. Bound by loads.

import { Earliest } from "../abi";
import { at } from "../view";

export function earliestForward(pool: usize, frame: usize): void {
  const rows = load<u32>(pool, Earliest.Rows);
  const columns = load<u32>(pool, Earliest.Columns);
  const channels = load<u32>(pool, Earliest.Channels);
  const stored = load<u32>(pool, Earliest.Stored);
  const inputRow = load<u32>(pool, Earliest.InputRowLength);
  const inputStored = load<u32>(pool, Earliest.InputStored);
  const size = load<u32>(pool, Earliest.Window);
  const times = at(load<u32>(pool, Earliest.Times), frame);
  const chosenView = load<u32>(pool, Earliest.Chosen) as usize;
  let out = at(load<u32>(pool, Earliest.Out), frame);
  let chosen = chosenView ? at(chosenView, frame) : 0;
  let spikes: u32 = 0;
  for (let y: u32 = 0; y < rows; ++y) {
    for (let x: u32 = 0; x < columns; ++x) {
      const corner = y * size * inputRow + x * size * inputStored;
      for (let c: u32 = 0; c < stored; ++c, out += 4) {
        let earliest: f32 = Infinity;
        let place = corner + c;
        if (c < channels) {
          for (let dy: u32 = 0; dy < size; ++dy) {
            let position = corner + c + dy * inputRow;
            for (let dx: u32 = 0; dx < size; ++dx, position += inputStored) {
              const t = load<f32>(times + (position << 2));
              if (t < earliest) {
                earliest = t;
                place = position;
              }
            }
          }
          spikes += (earliest < Infinity) as u32;
        }
        store<f32>(out, earliest);
        if (!chosen) continue;
        store<u32>(chosen, place);
        chosen += 4;
      }
    }
  }
  const counter = at(load<u32>(pool, Earliest.Spikes), frame);
  store<u32>(counter, load<u32>(counter) + spikes);
}

export function earliestBackward(pool: usize, frame: usize): void {
  const rows = load<u32>(pool, Earliest.Rows);
  const columns = load<u32>(pool, Earliest.Columns);
  const channels = load<u32>(pool, Earliest.Channels);
  const stored = load<u32>(pool, Earliest.Stored);
  const chosen = at(load<u32>(pool, Earliest.Chosen), frame);
  const delivered = at(load<u32>(pool, Earliest.Delivered), frame);
  const to = at(load<u32>(pool, Earliest.SourceDelivered), frame);
  memory.fill(to, 0, load<u32>(pool, Earliest.SourceBytes));
  for (let cell: u32 = 0; cell < rows * columns; ++cell) {
    for (let c: u32 = 0; c < channels; ++c) {
      const i = (cell * stored + c) << 2;
      store<f32>(to + (load<u32>(chosen + i) << 2), load<f32>(delivered + i));
    }
  }
}
