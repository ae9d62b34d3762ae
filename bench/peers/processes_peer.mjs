// Our own library, as many processes with one thread each as threads were asked for, at work together: what a machine can do
// when nothing has to be shared. processes_peer.mjs WORKLOAD --threads N --start FILE; the file is not read: seeds are the same.
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { Ours } from "../lib/ours.mjs";
import { WORKLOADS } from "../workloads.mjs";
import { readArguments, serve } from "./serve.mjs";

if (process.send) await work();
else await lead();

/** One process: answers each command with its result and what it took of its processor. */
async function work() {
  const workload = WORKLOADS[process.argv[2]];
  const ours = await Ours.create(await import("../../dist/index.js"), workload, 1);
  process.on("message", async ({ command, times }) => {
    const before = process.cpuUsage();
    const found = command === "loss" ? { loss: await ours.loss(workload.batch) } : await ours[command](times);
    const { user, system } = process.cpuUsage(before);
    process.send({ found, cpu_ms: (user + system) / 1e3 });
  });
  process.on("disconnect", () => process.exit());
  process.send({});
}

async function lead() {
  const { workload, threads } = readArguments();
  const { batch } = WORKLOADS[workload];
  const children = Array.from({ length: threads }, () => fork(fileURLToPath(import.meta.url), [workload]));
  const answer = (child) => new Promise((done) => child.once("message", done));
  await Promise.all(children.map(answer));
  const ask = async (order, some = children) =>
    await Promise.all(
      some.map((child) => {
        const answered = answer(child);
        child.send(order);
        return answered;
      }),
    );
  /** So many batches of each, begun at once, in the time that they take together: their rates are added. */
  const together = (command) => async (times) => {
    const answers = await ask({ command, times });
    const rate = answers.reduce((sum, { found }) => sum + 1 / found.ms, 0);
    return {
      ms: threads / rate,
      cpu_ms: answers.reduce((sum, { cpu_ms }) => sum + cpu_ms, 0),
    };
  };
  const first = async (command) => (await ask({ command }, children.slice(0, 1)))[0].found;
  await serve(
    { peer: `spikegrad, ${threads} processes`, threads: 1, batch: batch * threads },
    {
      train: together("train"),
      infer: together("infer"),
      latency: together("latency"),
      loss: async () => (await first("loss")).loss,
      rates: () => first("rates"),
    },
  );
  for (const child of children) child.disconnect();
}
