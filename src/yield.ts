/** Longest stretch of computation, in ms, before the event loop gets its turn. */
const STRETCH = 12;

const now = (): number => performance.now();
let last = 0;

/** Lets the event loop turn if it has not for a while. Resolves as a macrotask: timers, input and painting get through. */
export async function breathe(): Promise<void> {
  if (now() - last < STRETCH) return;
  await turn();
  last = now();
}

/** Lets the event loop turn. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    const immediate = (globalThis as { setImmediate?: (f: () => void) => unknown }).setImmediate;
    if (immediate) immediate(resolve);
    else if (typeof MessageChannel === "function") {
      // Unlike a timer, a message is not held back for 4 ms.
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        port1.close();
        resolve();
      };
      port2.postMessage(0);
    } else setTimeout(resolve, 0);
  });
}
