// A page whose network computes on threads.
import {
  conv2d,
  createNetwork,
  dense,
  init,
  lee,
  loadNetwork,
  poisson,
  sgd,
} from "./node_modules/spikegrad/dist/index.js";
import { samples } from "./samples.mjs";

/** Takes a while a batch. */
const slow = (threads) =>
  createNetwork({
    input: [1, 12, 12],
    encoder: poisson({ steps: 2000, gain: 1 }),
    method: lee(),
    layers: [conv2d(16, 5), conv2d(16, 5), dense(4)],
    seed: 5,
    threads,
  });

const bits = ({ outputs }) => [...new Uint32Array(outputs.data.buffer)];

/** Answers of the trained file on two threads, if they are to be had. */
export async function loaded() {
  const response = await fetch("/trained.safetensors");
  const network = await loadNetwork(new Uint8Array(await response.arrayBuffer()), { threads: 2 });
  const { inputs } = samples();
  return { threads: network.threads, answers: bits(await network.predict(inputs)) };
}

/** Trains for good; resolves after the first batch. */
export async function train() {
  const network = await slow(2);
  const data = samples();
  const training = network.fit(data, { epochs: 1e6, batchSize: 8, optimizer: sgd({ rate: 1e-3 }) });
  await training.next();
  (async () => {
    for await (const _ of training);
  })();
  return network.threads;
}

/** Ends a worker in the midst of a batch: the error, how long it took (ms), and whether another network then gives the right bits. */
export async function endWorker() {
  const workers = [];
  await init({
    worker: () => {
      const worker = new Worker("./node_modules/spikegrad/dist/worker.js");
      workers.push(worker);
      return worker;
    },
  });
  const inputs = samples().inputs;
  const network = await slow(2);
  const computing = network.predict(inputs).then(
    () => "an answer",
    ({ name, code }) => ({ name, code }),
  );
  await new Promise((later) => setTimeout(later, 100));
  const began = performance.now();
  workers[1].terminate();
  const error = await computing;
  const waited = performance.now() - began;
  network.dispose();
  const [again, one] = [await slow(2), await slow(1)];
  const few = inputs.subarray(0, 2 * 144);
  const [found, wanted] = [bits(await again.predict(few)), bits(await one.predict(few))];
  return { error, waited, threads: again.threads, same: String(found) === String(wanted) };
}
