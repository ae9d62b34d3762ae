/** Outputs that lie side by side in stored weights, where nothing else is said. */
export const GROUP = 16;

/** Where the core keeps a tensor `[outputs, …]`: the outputs of one input side by side, in groups. */
export interface Places {
  /** Place of the first output's element for each input, in the user's order. */
  readonly first: () => ArrayLike<number>;
  /** Elements from one group to the next, where groups do not follow each other. */
  readonly group?: number;
  /** Outputs of a group. Default 16. */
  readonly width?: number;
}

interface Elements extends ArrayLike<number> {
  [i: number]: number;
}

/** The user's tensor into stored elements. */
export function scatter(places: Places, outputs: number, values: ArrayLike<number>, stored: Elements): void {
  move(places, outputs, values as Elements, stored, true);
}

/** Stored elements into the user's tensor. */
export function gather(places: Places, outputs: number, stored: ArrayLike<number>, values: Elements): void {
  move(places, outputs, values, stored as Elements, false);
}

/** A group at a time: both sides stay in cache. */
function move(
  { first, width = GROUP, group = width }: Places,
  outputs: number,
  values: Elements,
  stored: Elements,
  store: boolean,
): void {
  const inputs = first();
  const count = inputs.length;
  for (let o = 0; o < outputs; o += width) {
    const end = Math.min(o + width, outputs) * count;
    for (let i = 0; i < count; i++) {
      let place = inputs[i] + (o / width) * group;
      for (let k = o * count + i; k < end; k += count, place++) {
        if (store) stored[place] = values[k];
        else values[k] = stored[place];
      }
    }
  }
}
