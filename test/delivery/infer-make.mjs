// A network of each method: files for infer.mjs, in networks.mjs since some runtimes may read none, and the answers of the whole library.
import { writeFile } from "node:fs/promises";
import * as spikegrad from "spikegrad";
import { answers } from "./infer.mjs";

const { avgPool2d, batchNorm, bpsta, conv2d, createNetwork, decolle, dense, direct, lee, loadNetwork } =
  spikegrad;
const { maxPool2d, neuron, poisson, stdbp, surrogate, times } = spikegrad;

const input = [2, 8, 8];
const networks = {
  lee: {
    encoder: poisson({ steps: 9 }),
    method: lee({ threshold: 0.4 }),
    layers: [conv2d(6, 3), avgPool2d(2, { threshold: 0.3 }), dense(5)],
  },
  bpsta: {
    encoder: direct({ steps: 6 }),
    method: bpsta(),
    layers: [conv2d(8, 3), batchNorm(), neuron(), maxPool2d(2), dense(20), neuron(), dense(20), neuron()],
  },
  decolle: {
    encoder: poisson({ steps: 9 }),
    method: decolle({ classes: 4 }),
    layers: [conv2d(6, 3, { padding: 1 }), maxPool2d(2), dense(12)],
  },
  stdbp: { encoder: times(), method: stdbp(), layers: [conv2d(6, 3), dense(12), dense(4)] },
  surrogate: {
    encoder: direct({ steps: 6 }),
    method: surrogate({ synapticDecay: 0.8 }),
    layers: [conv2d(6, 3), maxPool2d(2), dense(16, { recurrent: true }), dense(4)],
  },
};

const files = {};
for (const [name, option] of Object.entries(networks)) {
  const network = await createNetwork({ input, seed: 3, ...option });
  files[name] = network.save();
}
const text = Object.entries(files).map(
  ([name, bytes]) => `${name}: "${Buffer.from(bytes).toString("base64")}"`,
);
await writeFile("networks.mjs", `export default { ${text.join(", ")} };\n`);
console.log(JSON.stringify(await answers(loadNetwork, files)));
