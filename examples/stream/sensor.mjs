// @ts-check
// Stands for an event camera that looks at one handwritten digit after another: each pixel fires at random, the brighter the more
// often, and between two digits it is dark. Replace it by whatever sends you events.

/** Steps that a digit is shown for. */
export const STEPS = 25;
/** Milliseconds of a step. */
export const WINDOW = 2;
/** Events of a white pixel in a step, at most one. */
export const RATE = 0.25;
/** Steps of darkness behind each digit. */
const PAUSE = 6;

/** @typedef {{ time: number, x: number, y: number }} Event a pixel fired; time in ms since the camera began */

/**
 * Packets of events as they happen: one a window, the first at once.
 *
 * @param {ArrayLike<number>} images 28 × 28 bytes each
 * @param {number} count of images
 * @param {{ seed?: number, pace?: number }} [option] of the randomness; a pace of 1 is real time, 0 as fast as they are taken
 * @returns {AsyncGenerator<Event[], void>}
 */
export async function* sensor(images, count, { seed = 1, pace = 1 } = {}) {
  let state = seed;
  const began = performance.now();
  for (let step = 0; step < count * (STEPS + PAUSE); step++) {
    const time = step * WINDOW;
    const left = began + pace * time - performance.now();
    if (left > 0) await new Promise((resolve) => setTimeout(resolve, left));
    const image = Math.floor(step / (STEPS + PAUSE));
    /** @type {Event[]} */
    const events = [];
    for (let i = 0; i < 784 && step % (STEPS + PAUSE) < STEPS; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      const chance = (RATE * images[784 * image + i]) / 255;
      if (state / 2 ** 32 < chance) events.push({ time, x: i % 28, y: Math.floor(i / 28) });
    }
    yield events;
  }
}
