// Linear memory, from what a network announces (and a test asserts): no run needed.
import { figure, table } from "./lib/figures.mjs";
import { WORKLOADS } from "./workloads.mjs";

const BATCH = 64;

/** Bytes of every workload's network, and of the LeNet at T 100, on batches of 64. */
export async function measureMemory({ library, say }) {
  const entries = [];
  for (const [name, workload] of Object.entries(WORKLOADS)) {
    const network = workload.network(library);
    entries.push(await announced(library, name, network, workload.optimizer(library)));
  }
  const { network, optimizer } = WORKLOADS.lee;
  const long = { ...network(library), encoder: library.poisson({ steps: 100, gain: 0.5 }) };
  entries.push(await announced(library, "lee", long, optimizer(library)));
  for (const { workload, steps, training, inference } of entries) {
    say(
      `memory, ${workload} T ${steps}, batch ${BATCH}: training ${megabytes(training)}, inference ${megabytes(inference)}`,
    );
  }
  return entries;
}

async function announced(library, workload, description, optimizer) {
  const network = await library.createNetwork(description);
  const { steps } = description.encoder;
  const of = ({ memory }, batch) => ({
    training: memory.training(batch, optimizer),
    inference: memory.inference(batch),
  });
  const [all, half] = [of(network, BATCH), of(network, BATCH / 2)];
  const entry = {
    workload,
    method: description.method.kind,
    steps,
    batch: BATCH,
    ...all,
    parameters: [...network.parameters.entries()].reduce((sum, [, { data }]) => sum + data.byteLength, 0),
    // What a sample more takes: shared parts (weights, gradients, optimizer, scratch of a sample) fall out.
    training_per_sample: (all.training - half.training) / (BATCH / 2),
    inference_per_sample: (all.inference - half.inference) / (BATCH / 2),
  };
  network.dispose();
  if (steps > 1) {
    const longer = await library.createNetwork({
      ...description,
      encoder: { ...description.encoder, steps: 2 * steps },
    });
    entry.training_per_step = (of(longer, BATCH).training - all.training) / steps;
    longer.dispose();
  }
  return entry;
}

export function memoryTable(entries) {
  const bytes = (value) => (value === undefined ? "" : Math.round(value).toLocaleString("en"));
  return [
    `Linear memory of the workloads' networks on batches of ${BATCH}, as \`network.memory\` announces and a test asserts. Bytes a`,
    "sample and step: training memory over batch and steps, with everything in it. Then what one sample more, and one step",
    "more of the whole batch, would add.",
    "",
    table(
      [
        "workload",
        "T",
        "parameters",
        "training",
        "inference",
        "bytes a sample and step",
        "a sample more",
        "a step more",
      ],
      entries.map((entry) => [
        entry.workload,
        entry.steps,
        megabytes(entry.parameters),
        megabytes(entry.training),
        megabytes(entry.inference),
        bytes(entry.training / entry.batch / entry.steps),
        bytes(entry.training_per_sample),
        bytes(entry.training_per_step),
      ]),
    ),
  ].join("\n");
}

function megabytes(bytes) {
  return `${figure(bytes / 1e6)} MB`;
}
