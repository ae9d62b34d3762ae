// Integers only, so that no engine's Math has a part in it.
const COUNT = 24;
const SIDE = 12;

/** Images of noise with a bright square, at another place for each of four classes. */
export function samples() {
  const inputs = new Uint8Array(COUNT * SIDE * SIDE);
  const labels = Uint8Array.from({ length: COUNT }, (_, i) => i % 4);
  let state = 12345;
  for (let i = 0; i < inputs.length; i++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    const label = labels[Math.floor(i / (SIDE * SIDE))];
    const [y, x] = [Math.floor(i / SIDE) % SIDE, i % SIDE];
    const bright = y >> 2 === (label >> 1) * 2 && x >> 2 === (label & 1) * 2;
    inputs[i] = (bright ? 150 : 0) + ((state >>> 16) % 60);
  }
  return { inputs, labels, shape: [1, SIDE, SIDE], classes: 4 };
}
