// What the pool and a worker share beside messages: 32-bit words. A worker that has run something finds here what comes next, without
// a turn of its event loop.

export enum Box {
  State = 0, // BoxState
  Messages = 1, // sent to the worker so far
  Seen = 2, // those it has come to
  Flight = 3,
  Id = 4,
  Runs = 5, // how many there are
  Operands = 6, // of each run
  Length = 32,
}

/** Runs that there is room for. */
export const MOST_RUNS = 4;

export enum BoxState {
  Away = 0, // the worker waits for messages
  Attends = 1, // it will look here before it does
  Ordered = 2, // what the box holds is to be run
}
