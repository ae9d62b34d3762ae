// Runs as it is in every runtime: trains ten batches and hashes the parameters.
import { avgPool2d, conv2d, createNetwork, dense, dropout, lee, poisson, sgd } from "spikegrad";

const BATCHES = 10;
const BATCH_SIZE = 6;
const CLASSES = 4;
const SIDE = 12;

/** The hash of a network's parameters before and after training, with either build of the core. */
export async function run() {
  const result = {};
  for (const build of ["simd", "scalar"]) {
    const network = await createNetwork({
      input: [1, SIDE, SIDE],
      encoder: poisson({ steps: 12, gain: 1 }),
      method: lee({ leak: 0.97 }),
      layers: [
        conv2d(8, 5, { padding: 2 }),
        avgPool2d(2),
        conv2d(10, 3),
        dropout(0.25),
        dense(24),
        dense(CLASSES),
      ],
      seed: 7,
      build,
    });
    const before = await hash(network);
    const optimizer = sgd({ rate: 0.01, momentum: 0.9, weightDecay: 1e-4 });
    let batches = 0;
    for await (const _ of network.fit(blobs(), { epochs: 2, batchSize: BATCH_SIZE, optimizer })) batches++;
    if (batches !== BATCHES) throw new Error(`${batches} batches instead of ${BATCHES}`);
    result[build] = { before, after: await hash(network) };
    network.dispose();
  }
  return result;
}

/** A bright square a class, at another place, on noise. Integers only, so that no engine's Math has a part in it. */
export function blobs() {
  const samples = (BATCHES * BATCH_SIZE) / 2;
  const inputs = new Uint8Array(samples * SIDE * SIDE);
  const labels = new Uint8Array(samples);
  let state = 12345;
  const random = (below) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 16) % below;
  };
  for (let i = 0; i < samples; i++) {
    const label = random(CLASSES);
    labels[i] = label;
    const top = 1 + 6 * (label >> 1);
    const left = 1 + 6 * (label & 1);
    for (let y = 0; y < SIDE; y++) {
      for (let x = 0; x < SIDE; x++) {
        const bright = y >= top && y < top + 4 && x >= left && x < left + 4;
        inputs[(i * SIDE + y) * SIDE + x] = (bright ? 150 : 0) + random(60);
      }
    }
  }
  return { inputs, labels, shape: [1, SIDE, SIDE], classes: CLASSES };
}

async function hash(network) {
  const parts = [];
  for (const name of network.parameters.names()) {
    const { data } = network.parameters.get(name);
    parts.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  const digest = await crypto.subtle.digest("SHA-256", await new Blob(parts).arrayBuffer());
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
