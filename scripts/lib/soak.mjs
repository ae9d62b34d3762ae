// What training and disposed networks leave in memory. Shared by the test and scripts/soak.mjs.
import { adam, createNetwork } from "../../dist/index.js";
import { generator, NETWORKS } from "./kills.mjs";

/** What the collector, its bookkeeping and compiled code may come to after the first rounds; a leak a step is far more. */
const SLACK = 3 << 20;

/**
 * @typedef {{ name: string, linear: number, heap: number, external: number, ok: boolean }} Row
 */

/** Every memory that networks made, by the memory's constructor. */
function watchMemories() {
  const { Memory } = WebAssembly;
  const all = new Set();
  WebAssembly.Memory = class extends Memory {
    constructor(descriptor) {
      super(descriptor);
      all.add(new WeakRef(this));
    }
  };
  return {
    /** Bytes of those that are still held. */
    bytes: () => [...all].reduce((sum, ref) => sum + (ref.deref()?.buffer.byteLength ?? 0), 0),
    release: () => {
      WebAssembly.Memory = Memory;
    },
  };
}

/** Memory in use once the collector has nothing left to do. */
async function settled(collect) {
  let best = { heap: Number.POSITIVE_INFINITY, external: Number.POSITIVE_INFINITY };
  for (let i = 0; i < 12; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 20));
    const { heapUsed, external } = process.memoryUsage();
    best = { heap: Math.min(best.heap, heapUsed), external: Math.min(best.external, external) };
  }
  return best;
}

function digits(count) {
  const random = generator(2);
  return {
    inputs: Float32Array.from({ length: count * 784 }, () => random()),
    labels: Int32Array.from({ length: count }, (_, i) => i % 10),
    shape: [1, 28, 28],
    classes: 10,
  };
}

/**
 * Trains the small network of each method for its share of `steps`.
 *
 * @param {number} steps
 * @param {() => void} collect runs the collector
 * @returns {Promise<Row[]>}
 */
export async function soakTraining(steps, collect) {
  const rows = [];
  const methods = Object.entries(NETWORKS);
  const data = digits(8);
  for (const [name, options] of methods) {
    const share = Math.ceil(steps / methods.length);
    const watched = watchMemories();
    const network = await createNetwork({ ...options, seed: 1 });
    watched.release();
    const fit = {
      batchSize: 4,
      epochs: Math.ceil(share / 2),
      optimizer: adam({ rate: 1e-4 }),
      onNonFinite: "skip",
    };
    let first;
    let done = 0;
    for await (const _ of network.fit(data, fit)) {
      done++;
      // The first tenth compiles; from there on nothing is new.
      if (done === Math.ceil(share / 10)) first = { ...(await settled(collect)), linear: watched.bytes() };
    }
    const last = { ...(await settled(collect)), linear: watched.bytes() };
    if (!(first?.linear > 0)) throw new Error(`${name}: no memory was watched`);
    rows.push(row(`${name}, ${done} steps`, first, last));
    network.dispose();
  }
  return rows;
}

/**
 * Makes, trains and disposes of `count` networks, the methods in turn.
 *
 * @param {number} count
 * @param {() => void} collect runs the collector
 * @returns {Promise<Row>}
 */
export async function soakNetworks(count, collect) {
  const all = Object.values(NETWORKS);
  const data = digits(2);
  const watched = watchMemories();
  let first;
  for (let i = 0; i < count; i++) {
    const network = await createNetwork({ ...all[i % all.length], seed: i });
    for await (const _ of network.fit(data, {
      batchSize: 2,
      optimizer: adam({ rate: 1e-4 }),
      onNonFinite: "skip",
    }));
    network.dispose();
    if (i === Math.ceil(count / 10)) first = { ...(await settled(collect)), linear: watched.bytes() };
  }
  const last = { ...(await settled(collect)), linear: watched.bytes() };
  watched.release();
  return row(`${count} networks`, first, last);
}

/** @returns {Row} */
function row(name, first, last) {
  const linear = last.linear - first.linear;
  const heap = last.heap - first.heap;
  const external = last.external - first.external;
  return { name, linear, heap, external, ok: linear <= 0 && heap < SLACK && external < SLACK };
}
