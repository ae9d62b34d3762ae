// What is timed: one entry a workload. Networks, batch, steps and input density are those of the peers' scripts.
// A data set holds one batch over and over: every training step is the same work, as it is for the peers.
import { random } from "./lib/random.mjs";

/** Share of non-zero pixels, that of MNIST. */
const DENSITY = 0.19;

/** Modes that are timed; single samples where a workload says so, everywhere with --latency. */
export const MODES = ["train", "infer", "latency"];

/**
 * Learning rates are multiplied by it, on all sides: weights stay those that all were handed. In the same time some take twenty times
 * as many steps as others, and with what they learned spikes, and work, would differ.
 */
export const RATE_SCALE = 1e-6;

const torch = { script: "torch_peer.py" };
const js = { script: "js_peer.mjs" };
/** `packages`: those of bench/peers; `rounds`: more of them would not be worth the wait. */
const tfjs = { script: "tfjs_peer.mjs", packages: true, rounds: 3 };
const jax = { script: "jax_peer.mjs", packages: true };

export const WORKLOADS = {
  surrogate: {
    title: "784-1000-10, 25 steps, pixels as constant current, cross-entropy on the membranes, Adam",
    needs: ["surrogate", "direct", "dense", "crossEntropy", "adam"],
    batch: 64,
    network: ({ surrogate, direct, dense, crossEntropy }) => ({
      input: [784],
      encoder: direct({ steps: 25 }),
      method: surrogate({ decay: 0.95, derivative: "atan" }),
      loss: crossEntropy({ on: "membrane" }),
      layers: [dense(1000), dense(10)],
    }),
    optimizer: ({ adam }) => adam({ rate: 5e-4 }),
    data: (batch) => sparseImages(batch, [784]),
    peers: { torch, tuned: { ...torch, workload: "surrogate-tuned" }, js, tfjs, jax },
  },
  lee: {
    title: "LeNet 20C5p2-2A-50C5p2-2A-200-10, 50 steps, Poisson input, SGD",
    needs: ["lee", "poisson", "conv2d", "avgPool2d", "dense", "sgd"],
    batch: 64,
    modes: MODES,
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
    peers: { torch, js },
  },
  bpsta: {
    title: "32C3p1-BN-ReLU-MP2-64C3p1-BN-ReLU-AP2-10x10, the image at every one of 8 steps, AdamW",
    needs: ["bpsta", "direct", "conv2d", "maxPool2d", "avgPool2d", "dense", "adamw"],
    batch: 64,
    network: ({ bpsta, direct, conv2d, maxPool2d, avgPool2d, dense }) => ({
      input: [1, 28, 28],
      encoder: direct({ steps: 8 }),
      method: bpsta({ threshold: 0.5, decay: 0.9, kappa: 0.2 }),
      layers: [
        conv2d(32, 3, { padding: 1 }),
        maxPool2d(2),
        conv2d(64, 3, { padding: 1 }),
        avgPool2d(2),
        dense(100),
      ],
    }),
    optimizer: ({ adamw }) => adamw({ rate: 1e-3 }),
    data: (batch) => sparseImages(batch, [1, 28, 28]),
    peers: { torch, tuned: { ...torch, workload: "bpsta-tuned" } },
  },
  decolle: {
    title: "784-256-256-256, 100 steps, Poisson input, an Adamax update at every step after 10",
    needs: ["decolle", "poisson", "dense", "scaledNormal", "adamax"],
    batch: 64,
    network: ({ decolle, poisson, dense, scaledNormal }) => ({
      input: [784],
      encoder: poisson({ steps: 100, gain: 0.5 }),
      method: decolle({ classes: 10, alpha: 0.97, beta: 0.92, rho: 0.65, burnIn: 10 }),
      initializer: scaledNormal({ deviation: 2 }),
      layers: [dense(256), dense(256), dense(256)],
    }),
    optimizer: ({ adamax }) => adamax({ rate: 1e-3, betas: [0, 0.95] }),
    data: (batch) => sparseImages(batch, [784]),
    peers: { torch },
  },
  stdbp: {
    title: "784-800-10, one spike a neuron, cross-entropy of the times, Adam",
    needs: ["stdbp", "times", "dense", "scaledNormal", "adam"],
    batch: 64,
    network: ({ stdbp, times, dense, scaledNormal }) => ({
      input: [784],
      encoder: times(),
      method: stdbp({ silentDelay: 10 }),
      initializer: scaledNormal({ mean: 0.3 }),
      layers: [dense(800), dense(10, { initializer: scaledNormal({ mean: 1 }) })],
    }),
    optimizer: ({ adam }) => adam({ rate: 1e-3 }),
    data: (batch) => spikeTimes(batch, [784]),
    peers: { torch, js },
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

/** Brighter pixels earlier, at 1 - x; the others never. */
function spikeTimes(batch, shape) {
  const images = sparseImages(batch, shape);
  return { ...images, inputs: images.inputs.map((x) => (x > 0 ? 1 - x : Number.POSITIVE_INFINITY)) };
}
