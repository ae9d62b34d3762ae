import { RATE_SCALE } from "../workloads.mjs";

/** Batches of the data set, all alike: what `fit` does once an epoch is not to be done at every step. */
const EPOCH = 16;

/** The library's side of a workload, through the public API alone. Every method that is timed answers `{ ms }`. */
export class Ours {
  #network;
  #data;
  /** The batch over and over, for `infer`. */
  #stream;
  #steps;
  #first;

  static async create(library, workload, threads) {
    const ours = new Ours();
    ours.batch = workload.batch;
    ours.#network = await library.createNetwork({ ...workload.network(library), seed: 1, threads });
    ours.reason = ours.#network.threads.reason;
    ours.threads = ours.#network.threads.count;
    ours.#data = workload.data(workload.batch);
    ours.#stream = ours.#data.inputs;
    ours.#first = ours.#sample(1);
    const { inputs, labels } = ours.#data;
    const data = { ...ours.#data, inputs: repeat(inputs, EPOCH), labels: repeat(labels, EPOCH) };
    const optimizer = workload.optimizer(library);
    const steps = ours.#network.fit(data, {
      epochs: 1_000_000,
      batchSize: workload.batch,
      optimizer: { ...optimizer, rate: optimizer.rate * RATE_SCALE },
      shuffle: false,
    });
    ours.#steps = steps[Symbol.asyncIterator]();
    return ours;
  }

  /** The first samples of the batch. */
  #sample(count) {
    const { inputs } = this.#data;
    return inputs.subarray(0, (inputs.length / this.batch) * count);
  }

  /** Weights, pictures and labels as a safetensors file. */
  start(io) {
    const { inputs, shape, labels } = this.#data;
    const tensors = Object.fromEntries(this.#network.parameters.entries());
    tensors.input = { shape: [this.batch, ...shape], data: inputs };
    tensors.label = { shape: [this.batch], data: Int32Array.from(labels) };
    return io.writeSafetensors(tensors);
  }

  /** So many training steps: encoding, forward, backward, update. */
  train(batches = 1) {
    return timed(async () => {
      for (let i = 0; i < batches; i++) await this.#steps.next();
    });
  }

  /** A forward pass of a stream of so many batches, encoding included. */
  infer(batches = 1) {
    const { inputs } = this.#data;
    if (this.#stream.length !== batches * inputs.length) this.#stream = repeat(inputs, batches);
    return timed(() => this.#network.predict(this.#stream));
  }

  /** One forward pass of a single sample. */
  latency() {
    return timed(() => this.#network.predict(this.#first));
  }

  /** Loss of the batch's first samples; before the first training step only. */
  async loss(count) {
    const { loss } = await this.#network.gradients(this.#sample(count), this.#data.labels.subarray(0, count));
    return loss;
  }

  /** Spikes a neuron and step, layer by layer. */
  async rates() {
    const { layers } = await this.#network.evaluate(this.#data, { batchSize: this.batch });
    return Object.fromEntries(layers.map(({ name, rate }) => [name, rate]));
  }

  async close() {
    await this.#steps.return?.();
    this.#network.dispose();
  }
}

function repeat(values, times) {
  const all = new values.constructor(times * values.length);
  for (let i = 0; i < times; i++) all.set(values, i * values.length);
  return all;
}

async function timed(run) {
  const start = performance.now();
  await run();
  return { ms: performance.now() - start };
}
