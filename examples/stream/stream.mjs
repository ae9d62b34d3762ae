// @ts-check
// A live stream of events through network.step: prints the answer as it forms.
//   node examples/stream/stream.mjs [--count 10] [--pace 1]
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { loadNetwork } from "spikegrad";
import { mnist } from "spikegrad/data/node";
import { sensor } from "./sensor.mjs";

const { values } = parseArgs({
  options: { count: { type: "string", default: "10" }, pace: { type: "string", default: "1" } },
});
/** Silent windows in a row that end a digit; single ones are part of it. */
const DARK = 3;
const count = Number(values.count);
const { test } = await mnist();

const network = await loadNetwork(await readFile(new URL("events.safetensors", import.meta.url)));
const frame = new Float32Array(28 * 28);
/** @type {number[]} */
const times = [];
let [shown, step, dark, right] = [0, 0, 0, 0];
let answer = -1;

for await (const events of sensor(test.inputs, count, { pace: Number(values.pace) })) {
  dark = events.length === 0 ? dark + 1 : 0;
  if (dark >= DARK) {
    // The scene went dark: what comes next is another digit, and the membranes forget.
    if (step > 0) {
      const label = test.labels[shown++];
      console.log(`  read ${answer}, it was ${label}\n`);
      if (answer === label) right++;
    }
    network.reset();
    step = 0;
    continue;
  }
  frame.fill(0);
  for (const { x, y } of events) frame[28 * y + x] = 1;
  const began = performance.now();
  const { outputs, spikes } = network.step(frame);
  times.push(performance.now() - began);
  step++;
  answer = outputs.indexOf(Math.max(...outputs));
  if (step % 5 === 0 || step === 1) {
    // How sure it is: the answer's share of all exponentials.
    const sure = 1 / outputs.reduce((sum, output) => sum + Math.exp(output - outputs[answer]), 0);
    console.log(
      `step ${String(step).padStart(2)}: ${answer} (${sure.toFixed(2)}), ${events.length} events, ${spikes} spikes`,
    );
  }
}

times.sort((a, b) => a - b);
const share = (/** @type {number} */ p) => times[Math.floor(p * (times.length - 1))].toFixed(3);
console.log(`${right} of ${count} right; a step takes ${share(0.5)} ms (median), ${share(0.99)} ms (p99)`);
