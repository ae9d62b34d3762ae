// One-to-one synapses: pooling windows and identity shortcuts.
//
//   forward   target_j += x_i           j the window (or the subsampled place) of i
//   backward  G_i = scale · D_j         only where the presynaptic neuron spiked; everywhere under real values

import { Activity, ActivityKind, BackwardFlags, NOWHERE, Route } from "../abi";
import { at } from "../view";
import { give } from "./fanout";

export function routeForward(route: usize, frame: usize): void {
  const activity = load<u32>(route, Route.Activity) as usize;
  const columns = load<u32>(route, Route.Columns) as usize;
  const rowTable = load<u32>(route, Route.RowTable) as usize;
  const target = at(load<u32>(route, Route.Target), frame);
  const rows = load<u32>(activity, Activity.Rows);
  const rowLength = load<u32>(activity, Activity.RowLength);
  const rowWords = load<u32>(activity, Activity.RowWords);
  const data = at(load<u32>(activity, Activity.Data), frame);
  const amplitudeView = load<u32>(activity, Activity.Amplitude) as usize;
  const amplitude = amplitudeView ? at(amplitudeView, frame) : 0;
  const bits = load<u32>(activity, Activity.Kind) == ActivityKind.Bits;
  for (let row: u32 = 0; row < rows; ++row) {
    const down = load<u32>(rowTable + (row << 2));
    if (down == NOWHERE) continue;
    const to = target + down;
    const first = row * rowLength;
    if (bits) {
      for (let j: u32 = 0; j < rowWords; ++j) {
        let word = load<u32>(data + ((row * rowWords + j) << 2));
        while (word) {
          const position = (j << 5) + ctz(word);
          word &= word - 1;
          const across = load<u32>(columns + (position << 2));
          if (across == NOWHERE) continue;
          const x: f32 = amplitude ? load<f32>(amplitude + ((first + position) << 2)) : 1;
          store<f32>(to + across, load<f32>(to + across) + x);
        }
      }
    } else {
      for (let position: u32 = 0; position < rowLength; ++position) {
        const across = load<u32>(columns + (position << 2));
        if (across == NOWHERE) continue;
        store<f32>(to + across, load<f32>(to + across) + load<f32>(data + ((first + position) << 2)));
      }
    }
  }
}

export function routeBackward(route: usize, flags: i32, frame: usize): void {
  const activity = load<u32>(route, Route.Activity) as usize;
  const columns = load<u32>(route, Route.Columns) as usize;
  const rowTable = load<u32>(route, Route.RowTable) as usize;
  const target = at(load<u32>(route, Route.Target), frame);
  const delivered = at(load<u32>(route, Route.Delivered), frame);
  const scale = load<f32>(route, Route.Scale);
  const rows = load<u32>(activity, Activity.Rows);
  const rowLength = load<u32>(activity, Activity.RowLength);
  const rowWords = load<u32>(activity, Activity.RowWords);
  const data = at(load<u32>(activity, Activity.Data), frame);
  const accumulate = flags & BackwardFlags.Accumulate;
  const bits = load<u32>(activity, Activity.Kind) == ActivityKind.Bits;
  for (let row: u32 = 0; row < rows; ++row) {
    const down = load<u32>(rowTable + (row << 2));
    const first = delivered + ((row * rowLength) << 2);
    if (!bits) {
      for (let position: u32 = 0; position < rowLength; ++position) {
        const across = load<u32>(columns + (position << 2));
        const g: f32 = down == NOWHERE || across == NOWHERE ? 0 : scale * load<f32>(target + down + across);
        give(first + (position << 2), accumulate, g);
      }
      continue;
    }
    for (let j: u32 = 0; j < rowWords; ++j) {
      let word = load<u32>(data + ((row * rowWords + j) << 2));
      while (word) {
        const position = (j << 5) + ctz(word);
        word &= word - 1;
        const across = load<u32>(columns + (position << 2));
        // A neuron outside every window gets no gradient, but its G must not be left over from an earlier step.
        const g: f32 = down == NOWHERE || across == NOWHERE ? 0 : scale * load<f32>(target + down + across);
        give(first + (position << 2), accumulate, g);
      }
    }
  }
}
