// Runs as it is in every runtime: trains each method's small network for a few steps and hashes all that came of it.
import * as spikegrad from "spikegrad";
import { blobs } from "./train.mjs";

const SIDE = 12;
const CLASSES = 4;

/** Settings by name. Each is trained for two epochs of five batches. */
export const CASES = {
  lee: ({ avgPool2d, conv2d, cosine, dense, dropout, lee, poisson, residual, sgd }) => ({
    network: {
      input: [1, SIDE, SIDE],
      encoder: poisson({ steps: 12 }),
      method: lee({ leak: 0.97 }),
      layers: [
        conv2d(8, 5, { padding: 2 }),
        avgPool2d(2),
        residual([conv2d(10, 3, { padding: 1 }), conv2d(10, 3, { padding: 1, stride: 2 })]),
        dropout(0.25),
        dense(24),
        dense(CLASSES),
      ],
    },
    fit: {
      optimizer: sgd({ rate: 0.01, momentum: 0.9, weightDecay: 1e-4 }),
      schedule: cosine({ warmup: 0.5 }),
    },
  }),
  stdbp: ({ adam, conv2d, cosine, dense, earliestPool2d, firstSpike, stdbp }) => ({
    network: {
      input: [1, SIDE, SIDE],
      encoder: firstSpike({ noise: 0.05 }),
      method: stdbp({
        temperature: 0.1,
        weightSumPenalty: 1,
        inverseBound: 10,
        gradientLimit: 100,
        silentNudge: 0.001,
        silentDelay: 0.5,
        labelNudge: 5,
      }),
      layers: [
        conv2d(8, 5, { padding: 2 }),
        earliestPool2d(2),
        conv2d(20, 3, { stride: 2 }),
        dense(24),
        dense(CLASSES),
      ],
    },
    fit: { optimizer: adam({ rate: 0.005 }), schedule: cosine() },
  }),
  surrogate: ({ adam, conv2d, dense, direct, maxPool2d, neuron, surrogate }) => ({
    network: {
      input: [1, SIDE, SIDE],
      encoder: direct({ steps: 8 }),
      method: surrogate({ decay: 0.9, synapticDecay: 0.6, derivative: "atan" }),
      layers: [
        conv2d(6, 3, { padding: 1 }),
        maxPool2d(2),
        neuron(),
        dense(20),
        neuron(),
        dense(CLASSES),
        neuron(),
      ],
    },
    fit: { optimizer: adam({ rate: 0.005 }) },
  }),
  bpsta: ({ adamw, avgPool2d, bpsta, conv2d, dense, direct, maxPool2d }) => ({
    network: {
      input: [1, SIDE, SIDE],
      encoder: direct({ steps: 6 }),
      method: bpsta({ vote: 2 }),
      layers: [
        conv2d(6, 3, { padding: 1 }),
        maxPool2d(2),
        conv2d(8, 3, { padding: 1 }),
        avgPool2d(2),
        dense(2 * CLASSES),
      ],
    },
    fit: { optimizer: adamw({ rate: 0.005 }) },
  }),
  decolle: ({ conv2d, decolle, dense, maxPool2d, poisson }) => ({
    network: {
      input: [1, SIDE, SIDE],
      encoder: poisson({ steps: 15 }),
      method: decolle({ classes: CLASSES, alpha: 0.9, beta: 0.85, burnIn: 5, regularizer: 0.1 }),
      layers: [conv2d(6, 3, { padding: 1 }), maxPool2d(2), dense(16)],
    },
    fit: {},
  }),
  "surrogate-direct": ({ adam, dense, direct, dropout, neuron, surrogate }) => ({
    network: {
      input: [1, SIDE, SIDE],
      encoder: direct({ steps: 10 }),
      method: surrogate({ decay: 0.9 }),
      layers: [
        dense(70, { recurrent: true }),
        neuron({ learnDecay: true, learnThreshold: true }),
        dropout(0.2),
        dense(CLASSES),
        neuron(),
      ],
    },
    fit: { optimizer: adam({ rate: 0.005 }) },
  }),
  "surrogate-latency": ({ adam, avgPool2d, conv2d, crossEntropy, dense, latency, maxPool2d, surrogate }) => ({
    network: {
      input: [1, SIDE, SIDE],
      encoder: latency({ steps: 10, noise: 1 }),
      method: surrogate({ derivative: "atan", synapticDecay: 0.6, reset: "zero", threshold: 0.4 }),
      layers: [conv2d(8, 5, { padding: 2 }), maxPool2d(2), conv2d(10, 3), avgPool2d(2), dense(CLASSES)],
      loss: crossEntropy({ on: "rate" }),
    },
    fit: { optimizer: adam({ rate: 0.005 }) },
  }),
  "lee-softmax": ({ adamax, conv2d, crossEntropy, dense, dropout, lee, poisson, residual }) => ({
    network: {
      input: [1, SIDE, SIDE],
      encoder: poisson({ steps: 12, gain: 0.8 }),
      method: lee({ leak: 0.9, threshold: 0.7 }),
      layers: [
        conv2d(7, 3, { padding: 1 }),
        residual([conv2d(7, 3, { padding: 1 }), conv2d(7, 3, { padding: 1 })], { conv: false }),
        dropout(0.2),
        dense(CLASSES),
      ],
      loss: crossEntropy(),
    },
    fit: { optimizer: adamax({ rate: 0.002 }), clip: { value: 0.5, norm: 1 } },
  }),
  "bpsta-deep": ({ adam, avgPool2d, bpsta, conv2d, dense, dropout, maxPool2d, poisson }) => ({
    network: {
      input: [1, SIDE, SIDE],
      encoder: poisson({ steps: 6 }),
      method: bpsta({ vote: 3 }),
      layers: [
        conv2d(9, 3, { padding: 1 }),
        avgPool2d(2),
        conv2d(5, 3),
        maxPool2d(2),
        dropout(0.3),
        dense(40),
        dropout(0.1),
        dense(3 * CLASSES),
      ],
    },
    fit: { optimizer: adam({ rate: 0.003 }) },
  }),
  "decolle-batch": ({ adam, conv2d, decolle, dense, dropout, maxPool2d, poisson, stepDecay }) => ({
    network: {
      input: [1, SIDE, SIDE],
      encoder: poisson({ steps: 15 }),
      method: decolle({ classes: CLASSES, alpha: 0.9, beta: 0.85, burnIn: 5, online: false }),
      layers: [conv2d(6, 3, { padding: 1 }), maxPool2d(2), dropout(0.2), dense(16)],
    },
    fit: { optimizer: adam({ rate: 0.001 }), schedule: stepDecay({ at: [1], factor: 0.5 }) },
  }),
};

/**
 * SHA-256 over parameters, optimizer state (the checkpoint's tensors) and predictions, by case, for one build of the core
 * or one number of threads.
 *
 * @param {{ build?: "simd" | "scalar", threads?: number }} option
 */
export async function digest(option) {
  const hashes = {};
  for (const [name, settings] of Object.entries(CASES)) {
    const { network: options, fit } = settings(spikegrad);
    const network = await spikegrad.createNetwork({ ...options, seed: 7, ...option });
    const { count, reason } = network.threads;
    if (count !== (option.threads ?? 1)) throw new Error(`${option.threads} threads: ${reason}`);
    const data = blobs();
    const run = network.fit(data, {
      optimizer: spikegrad.adamax({ rate: 0.002 }),
      ...fit,
      epochs: 2,
      batchSize: 6,
    });
    let spikes = 0;
    for await (const { spikesPerNeuron } of run) spikes = spikesPerNeuron;
    if (!(spikes > 0)) throw new Error(`${name}: a network without spikes proves nothing`);
    const { outputs } = await network.predict(data.inputs);
    const bytes = new Uint8Array(outputs.data.buffer, outputs.data.byteOffset, outputs.data.byteLength);
    hashes[name] = await sha256([tensorsOf(network.checkpoint()), bytes]);
    network.dispose();
  }
  return hashes;
}

/** All builds, and more threads than the reference has. */
export async function digests() {
  return {
    simd: await digest({ build: "simd" }),
    scalar: await digest({ build: "scalar" }),
    "2 threads": await digest({ threads: 2 }),
    "3 threads": await digest({ threads: 3 }),
  };
}

/** What follows the header of a safetensors file: the header also holds settings, whose words may change. */
function tensorsOf(file) {
  const header = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  return file.subarray(8 + header);
}

async function sha256(parts) {
  const digest = await crypto.subtle.digest("SHA-256", await new Blob(parts).arrayBuffer());
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
