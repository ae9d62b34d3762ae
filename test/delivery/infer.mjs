// What networks answer, and how many neurons spike when they are taken step by step.

/** Numbers from 0 to 1 that no engine's Math has a part in. */
function noise(count) {
  let state = 99;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 16) / 65536;
  });
}

/**
 * Bits of what the networks in `files` answer, by their names.
 *
 * @param {(bytes: Uint8Array) => Promise<any>} loadNetwork of whichever entry point
 * @param {Record<string, Uint8Array>} files
 */
export async function answers(loadNetwork, files) {
  const found = {};
  const inputs = noise(20 * 128);
  for (const [name, bytes] of Object.entries(files)) {
    const network = await loadNetwork(bytes);
    const bits = (values) => [...new Uint32Array(values.slice().buffer)];
    const { outputs } = await network.predict(inputs);
    const live = [];
    for (let i = 0; i < 3 && name !== "stdbp"; i++) {
      const { outputs, spikes } = network.step(inputs.slice(0, 128));
      live.push(bits(outputs), spikes);
    }
    found[name] = { outputs: bits(outputs.data), live };
  }
  return found;
}

/** The same of spikegrad/infer. */
export async function run() {
  const { loadNetwork } = await import("spikegrad/infer");
  const { default: networks } = await import("./networks.mjs");
  const decode = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const files = Object.entries(networks).map(([name, text]) => [name, decode(text)]);
  return await answers(loadNetwork, Object.fromEntries(files));
}
