// What a peer in JavaScript shares with the others: the command line, and a JSON object a line (see torch_peer.py).
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

/** Arguments of a peer: its workload, what learning rates are multiplied by, and what the comparison begins with, by name `{ shape, data }`. */
export function readArguments() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      threads: { type: "string", default: "1" },
      start: { type: "string" },
      "rate-scale": { type: "string", default: "1" },
    },
  });
  return {
    workload: positionals[0],
    threads: Number(values.threads),
    start: readStart(values.start),
    rateScale: Number(values["rate-scale"]),
  };
}

/** Tensors of a safetensors file: 8 bytes with the header's length, the header in JSON, the data. */
function readStart(path) {
  const bytes = new Uint8Array(readFileSync(path));
  const view = new DataView(bytes.buffer);
  const length = Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  const kinds = { F32: Float32Array, I32: Int32Array };
  const tensors = {};
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const [from, to] = data_offsets.map((offset) => 8 + length + offset);
    tensors[name] = { shape, data: new kinds[dtype](bytes.slice(from, to).buffer) };
  }
  return tensors;
}

/** Says why the peer cannot take part, and ends. */
export function skip(reason) {
  console.log(JSON.stringify({ skip: reason }));
  process.exit(0);
}

/** A timed command that does its work as often as it is told. */
export const repeated = (work) => async (times) => {
  for (let i = 0; i < times; i++) await work();
};

/**
 * Answers commands until the input ends.
 *
 * @param ready what is said first: `peer` (name and version), `threads`, `batch`
 * @param commands by name: `train`, `infer`, `latency`, `rates` and `loss`, all may be asynchronous; those that are timed are told how
 *   often, and may answer with times of their own, `{ ms, cpu_ms }`
 */
export async function serve(ready, { rates, loss, ...timed }) {
  console.log(JSON.stringify({ ready }));
  for await (const line of createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await answer(line.trim())));
  }

  async function answer(line) {
    const [command, times = "1"] = line.split(" ");
    if (command === "rates") return { rates: await rates() };
    if (command === "loss") return { loss: await loss() };
    if (!Object.hasOwn(timed, command)) return { error: `unknown command ${JSON.stringify(command)}` };
    const start = performance.now();
    const before = process.cpuUsage();
    const own = await timed[command](Number(times));
    const ms = performance.now() - start;
    const { user, system } = process.cpuUsage(before);
    return { ms: own?.ms ?? ms, cpu_ms: (user + system) / 1e3 + (own?.cpu_ms ?? 0) };
  }
}
