// Trains a network, leaves it in trained.safetensors and prints its answers.
import { writeFile } from "node:fs/promises";
import { avgPool2d, conv2d, createNetwork, dense, lee, poisson, sgd } from "spikegrad";
import { answer } from "./answer.mjs";
import { samples } from "./samples.mjs";

const network = await createNetwork({
  input: [1, 12, 12],
  encoder: poisson({ steps: 12, gain: 1 }),
  method: lee({ leak: 0.97 }),
  layers: [conv2d(8, 5, { padding: 2 }), avgPool2d(2), dense(24), dense(4)],
  seed: 7,
});
for await (const _ of network.fit(samples(), { batchSize: 6, optimizer: sgd({ rate: 0.01 }) }));
const bytes = network.save();
await writeFile("trained.safetensors", bytes);
console.log(JSON.stringify(await answer(bytes)));
