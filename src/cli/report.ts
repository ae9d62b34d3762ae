import type { Dataset, Evaluation, Network } from "../index.ts";
import { showProgress } from "./progress.ts";
import { clean, percent, table, whole } from "./terminal.ts";

/** Energies of one operation, in pJ. */
export interface Energies {
  readonly add: number;
  readonly mac: number;
}

/** Those in use in the field: integer add and 32-bit float multiply-accumulate in 45 nm (Horowitz, ISSCC 2014). */
export const ENERGIES: Energies = { add: 0.1, mac: 4.6 };

/** From this many classes on the confusions are listed instead of drawn as a matrix. */
const WIDE = 21;
const LISTED = 20;

/** Evaluates with a progress display. */
export async function evaluate(network: Network, data: Dataset, topK?: number): Promise<Evaluation> {
  const display = showProgress("test");
  try {
    return await network.evaluate(data, {
      ...(topK === undefined ? {} : { topK }),
      onProgress: (done, all) => display.update(done, all, [`${whole(done)} of ${whole(all)} images`]),
    });
  } finally {
    display.stop();
  }
}

/** `97.31 % right …` */
export function accuracyLine({ samples, accuracy, topK, loss }: Evaluation): string {
  const top = topK.k > 1 ? `, ${percent(topK.accuracy)} among the best ${topK.k}` : "";
  return `${percent(accuracy)} of ${whole(samples)} test images right${top}; loss ${loss.toFixed(4)}`;
}

/** Mean spikes of the input and each layer; the accuracy of layers that have a readout of their own. */
export function activityTable({ layers }: Evaluation): string {
  const readouts = layers.some(({ accuracy }) => accuracy !== undefined);
  const rows = layers.map(({ name, kind, neurons, spikes, rate, accuracy }) => [
    clean(name, 40),
    kind,
    whole(neurons),
    spikes.toFixed(1),
    rate.toFixed(4),
    ...(readouts ? [accuracy === undefined ? "" : percent(accuracy)] : []),
  ]);
  const head = ["layer", "kind", "neurons", "spikes/sample", "spikes/neuron/step"];
  return `mean activity\n${table([[...head, ...(readouts ? ["accuracy"] : [])], ...rows])}`;
}

/** What a sample costs, beside the dense network of the same shape. */
export function operationsTable(
  { synapticOperations, denseOperations }: Evaluation,
  { steps, description: { encoder } }: Network,
  { add, mac }: Energies,
): string {
  // An ordinary network of this shape passes a sample once, not once a step.
  const dense = denseOperations / steps;
  const spikingEnergy = synapticOperations * add;
  const denseEnergy = dense * mac;
  const span = steps === 1 ? "one step" : `${steps} steps`;
  const rows = [
    ["operations a sample", "count", "pJ each", "nJ"],
    [
      `synaptic operations, ${span}`,
      whole(synapticOperations),
      String(add),
      (spikingEnergy / 1000).toFixed(1),
    ],
    ["dense network, multiply-accumulates", whole(dense), String(mac), (denseEnergy / 1000).toFixed(1)],
  ];
  const energy =
    encoder.kind === "direct"
      ? "energy: not to be compared, since the first layer multiplies values that are no spikes, which is not counted"
      : `energy: ${spikingEnergy > 0 ? `${(denseEnergy / spikingEnergy).toFixed(1)} times less` : "none"}`;
  return `${table(rows, "")}${energy}; every synapse at every step would be ${whole(denseOperations)} operations\n`;
}

/** Labels by rows, answers by columns; for many classes a list of the commonest mistakes. */
export function confusionTable({ confusion }: Evaluation, classes: number): string {
  if (classes < WIDE) {
    const columns = Array.from({ length: classes }, (_, i) => String(i));
    const rows = columns.map((label, i) => [
      label,
      ...Array.from(confusion.subarray(i * classes, (i + 1) * classes), (n) => (n === 0 ? "." : String(n))),
    ]);
    return `confusion: rows are labels, columns answers\n${table([["", ...columns], ...rows])}`;
  }
  const mistakes: { label: number; answer: number; count: number }[] = [];
  confusion.forEach((count, i) => {
    const [label, answer] = [Math.floor(i / classes), i % classes];
    if (count > 0 && label !== answer) mistakes.push({ label, answer, count });
  });
  mistakes.sort((a, b) => b.count - a.count);
  const rows = mistakes.slice(0, LISTED).map((m) => [String(m.label), String(m.answer), String(m.count)]);
  return `commonest mistakes\n${table([["label", "answer", "images"], ...rows])}`;
}
