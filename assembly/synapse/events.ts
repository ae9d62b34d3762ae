// Turns one step of a layer's activity into a list of events for a fanout synapse: which weight runs go to (or come from)
// which target runs. Order: row, column, channel ascending, the order of every sum of the contract.

import { Activity, ActivityKind, Event, EVENT_CHUNK, Fanout, FanoutColumn, FanoutRow, Frame } from "../abi";
import { at } from "../view";

// Cursor, in front of the list in the rank's scratch: row, word (bits) or position (values), bits left of that word.
const CURSOR_ROW = 0;
const CURSOR_PLACE = 4;
const CURSOR_BITS = 8;
const CURSOR_RESUMED = 12;

/** Address of the list behind the cursor. */
export const LIST = 16;

export function rewind(scratch: usize): void {
  store<u64>(scratch, 0);
  store<u64>(scratch, 0, 8);
}

/** Fills the list with the next events, at most EVENT_CHUNK; returns their number, 0 at the end. */
export function collect(fanout: usize, frame: usize, weights: usize, target: usize): i32 {
  const scratch = load<u32>(frame, Frame.Events) as usize;
  const activity = load<u32>(fanout, Fanout.Activity) as usize;
  const columns = load<u32>(fanout, Fanout.Columns) as usize;
  const rowTable = load<u32>(fanout, Fanout.RowTable) as usize;
  const rows = load<u32>(activity, Activity.Rows);
  const rowLength = load<u32>(activity, Activity.RowLength);
  const dataView = load<u32>(activity, Activity.Data) as usize;
  const data = dataView ? at(dataView, frame) : 0;
  const amplitudeView = load<u32>(activity, Activity.Amplitude) as usize;
  const amplitude = amplitudeView ? at(amplitudeView, frame) : 0;
  let row = load<u32>(scratch, CURSOR_ROW);
  let place = load<u32>(scratch, CURSOR_PLACE);
  let event = scratch + LIST;
  const end = event + EVENT_CHUNK * Event.Size;

  if (load<u32>(activity, Activity.Kind) == ActivityKind.Bits) {
    const rowWords = load<u32>(activity, Activity.RowWords);
    let word = load<u32>(scratch, CURSOR_BITS);
    let resumed = load<u32>(scratch, CURSOR_RESUMED);
    for (; row < rows; ++row, place = 0) {
      const info = rowTable + row * FanoutRow.Size;
      const runs = load<u32>(info, FanoutRow.Runs);
      if (!runs) continue;
      const rowTarget = target + load<u32>(info, FanoutRow.Target);
      const rowWeight = weights + load<u32>(info, FanoutRow.Weight);
      const bits = data + ((row * rowWords) << 2);
      const first = row * rowLength;
      for (; place < rowWords; ++place) {
        if (!resumed) word = load<u32>(bits + (place << 2));
        resumed = 0;
        while (word) {
          const position = (place << 5) + ctz(word);
          word &= word - 1;
          const column = columns + position * FanoutColumn.Size;
          const vectors = load<u32>(column, FanoutColumn.Vectors);
          if (!vectors) continue;
          store<u32>(event, (rowWeight + load<u32>(column, FanoutColumn.Weight)) as u32, Event.Weight);
          store<u32>(event, (rowTarget + load<u32>(column, FanoutColumn.Target)) as u32, Event.Target);
          store<u32>(event, vectors | (runs << 24), Event.Extent);
          store<u32>(event, first + position, Event.Index);
          if (amplitude) store<f32>(event, load<f32>(amplitude + ((first + position) << 2)), Event.Value);
          event += Event.Size;
          if (event == end) {
            store<u32>(scratch, row, CURSOR_ROW);
            store<u32>(scratch, place, CURSOR_PLACE);
            store<u32>(scratch, word, CURSOR_BITS);
            store<u32>(scratch, 1, CURSOR_RESUMED);
            return EVENT_CHUNK;
          }
        }
      }
    }
    store<u32>(scratch, 0, CURSOR_RESUMED);
  } else {
    const all = load<u32>(activity, Activity.Kind) == ActivityKind.All;
    for (; row < rows; ++row, place = 0) {
      const info = rowTable + row * FanoutRow.Size;
      const runs = load<u32>(info, FanoutRow.Runs);
      if (!runs) continue;
      const rowTarget = target + load<u32>(info, FanoutRow.Target);
      const rowWeight = weights + load<u32>(info, FanoutRow.Weight);
      const first = row * rowLength;
      for (; place < rowLength; ++place) {
        const value: f32 = all ? 1 : load<f32>(data + ((first + place) << 2));
        if (value == 0) continue;
        const column = columns + place * FanoutColumn.Size;
        const vectors = load<u32>(column, FanoutColumn.Vectors);
        if (!vectors) continue;
        store<u32>(event, (rowWeight + load<u32>(column, FanoutColumn.Weight)) as u32, Event.Weight);
        store<u32>(event, (rowTarget + load<u32>(column, FanoutColumn.Target)) as u32, Event.Target);
        store<u32>(event, vectors | (runs << 24), Event.Extent);
        store<u32>(event, first + place, Event.Index);
        store<f32>(event, value, Event.Value);
        event += Event.Size;
        if (event == end) {
          store<u32>(scratch, row, CURSOR_ROW);
          store<u32>(scratch, place + 1, CURSOR_PLACE);
          return EVENT_CHUNK;
        }
      }
    }
  }
  store<u32>(scratch, rows, CURSOR_ROW);
  return ((event - scratch - LIST) / Event.Size) as i32;
}

/** Whether events of this activity carry a value other than 1. */
export function valued(activity: usize): bool {
  return load<u32>(activity, Activity.Kind) == ActivityKind.Values || load<u32>(activity, Activity.Amplitude) != 0;
}
