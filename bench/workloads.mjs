// What is timed: one entry a workload. Networks, batch, steps and input density are those of the peers' scripts.
// A data set holds one batch: every training step is the same work, as it is for the peers.
import { random } from "./lib/random.mjs";

/** Share of non-zero pixels, that of MNIST. */
const DENSITY = 0.19;

export const WORKLOADS = {
  lee: {
    title: "LeNet 20C5p2-2A-50C5p2-2A-200-10, 50 steps, Poisson input, SGD",
    needs: ["createNetwork", "lee", "poisson", "conv2d", "avgPool2d", "dense", "sgd"],
    batch: 64,
    network: ({ lee, poisson, conv2d, avgPool2d, dense }) => ({
      input: [1, 28, 28],
      encoder: poisson({ steps: 50, gain: 0.5 }),
      method: lee({ leak: 0.99 }),
      layers: [
        conv2d(20, 5, { padding: 2 }),
        avgPool2d(2),
        conv2d(50, 5, { padding: 2 }),
        avgPool2d(2),
        dense(200),
        dense(10),
      ],
    }),
    optimizer: ({ sgd }) => sgd({ rate: 1e-3 }),
    data: (batch) => sparseImages(batch, [1, 28, 28]),
    peers: { torch: { script: "torch", workload: "lee" } },
  },
};

function sparseImages(batch, shape) {
  const next = random(1);
  const inputs = new Float32Array(batch * shape.reduce((product, size) => product * size, 1));
  for (let i = 0; i < inputs.length; i++) {
    const value = next();
    if (next() < DENSITY) inputs[i] = value;
  }
  return { inputs, shape, labels: Uint8Array.from({ length: batch }, () => next() * 10), classes: 10 };
}
