/** The library's side of a workload, through the public API alone. Every method that is timed answers `{ ms }`. */
export class Ours {
  #network;
  #data;
  #steps;
  #first;

  static async create(library, workload, threads) {
    const ours = new Ours();
    ours.batch = workload.batch;
    ours.#network = await library.createNetwork({ ...workload.network(library), seed: 1, threads });
    ours.reason = ours.#network.threads.reason;
    ours.threads = ours.#network.threads.count;
    ours.#data = workload.data(workload.batch);
    ours.#first = ours.#sample(1);
    const steps = ours.#network.fit(ours.#data, {
      epochs: 1_000_000,
      batchSize: workload.batch,
      optimizer: workload.optimizer(library),
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

  /** One training step: encoding, forward, backward, update. */
  train() {
    return timed(() => this.#steps.next());
  }

  /** One forward pass of the batch, encoding included. */
  infer() {
    return timed(() => this.#network.predict(this.#data.inputs));
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

async function timed(run) {
  const start = performance.now();
  await run();
  return { ms: performance.now() - start };
}
