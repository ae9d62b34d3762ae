// Ctrl-C: the first press asks the work to come to a good end, the second ends the program where it stands.

/** Exit codes of programs that a signal ended: 128 and the signal's number. */
const CODES = { SIGINT: 130, SIGTERM: 143 } as const;

type Signal = keyof typeof CODES;

/** npm hands on a signal that the terminal has sent to the whole group already: one press arrives twice. */
const ONE_PRESS = 250;

let graceful: (() => void) | undefined;
let pressed: { signal: Signal; at: number } | undefined;

/** Thrown where work was broken off on request; all there is to say has been said. */
export class Interrupted extends Error {
  readonly exitCode: number = CODES[pressed?.signal ?? "SIGINT"];
}

/** Takes over what these signals do; without a handler of `onInterrupt` they end the program with its exit code. */
export function listenForInterrupts(): void {
  for (const signal of Object.keys(CODES) as Signal[]) {
    process.on(signal, () => {
      const now = performance.now();
      if (graceful === undefined) process.exit(CODES[signal]);
      if (pressed === undefined) {
        pressed = { signal, at: now };
        graceful();
      } else if (now - pressed.at > ONE_PRESS) process.exit(CODES[signal]);
    });
  }
}

/** Calls `stop` at the first interrupt, until the function returned is called. */
export function onInterrupt(stop: () => void): () => void {
  graceful = stop;
  return () => {
    graceful = undefined;
  };
}

/** Whether somebody has asked for an end. */
export function interrupted(): boolean {
  return pressed !== undefined;
}
