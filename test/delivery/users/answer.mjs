// What every user of the package does in these tests: load a trained file, predict. Gives the answers' bits.
import { loadNetwork } from "spikegrad";
import { samples } from "./samples.mjs";

/** @param {Uint8Array} bytes of the trained file */
export async function answer(bytes) {
  const network = await loadNetwork(bytes);
  const { outputs } = await network.predict(samples().inputs);
  network.dispose();
  return [...new Uint32Array(outputs.data.buffer)];
}
