import { Command } from "commander";
import { loadNetwork, type Network } from "../../index.ts";
import { readSafetensors, type SafetensorsFile } from "../../io/index.ts";
import { positionOf, settings } from "../checkpoints.ts";
import { parameterCount } from "../describe.ts";
import { readModelFile } from "../files.ts";
import { bytes, clean, table, whole } from "../terminal.ts";

const EXAMPLES = `
Examples:
  spikegrad info lenet.safetensors
  spikegrad info lenet.checkpoint.safetensors
      also how far the training has come
  spikegrad info other.safetensors
      of any safetensors file at least its tensors`;

/** Batch sizes that memory is told for. */
const BATCHES = [1, 32];
const LONGEST = 200;

export function infoCommand(): Command {
  return new Command("info")
    .description("show what is in a model or checkpoint")
    .argument("<model>", "a safetensors file")
    .addHelpText("after", EXAMPLES)
    .action(infoAction);
}

async function infoAction(path: string): Promise<void> {
  const contents = await readModelFile(path);
  const file = readSafetensors(contents);
  process.stdout.write(`${clean(path)}: ${bytes(contents.length)}\n`);
  if (file.metadata.format === "spikegrad") {
    const network = await loadNetwork(contents);
    process.stdout.write(networkText(network) + positionText(file));
    network.dispose();
  } else process.stdout.write("not written by spikegrad\n");
  process.stdout.write(tensorText(file) + metadataText(file));
}

function networkText(network: Network): string {
  const { input, encoder, method, loss, seed } = network.description;
  const rows = network.neurons.map(({ name, kind, shape }) => [
    clean(name, LONGEST),
    clean(kind, LONGEST),
    shape.join("x"),
    whole(shape.reduce((a, b) => a * b, 1)),
  ]);
  const about: [string, string][] = [
    ["input", input.join("x")],
    ["encoder", settings(encoder)],
    ["method", settings(method)],
    ["loss", settings(loss)],
    ["seed", String(seed)],
    ["parameters", whole(parameterCount(network))],
    ...BATCHES.map((n): [string, string] => [
      `memory, batch ${n}`,
      `${bytes(network.memory.training(n))} to train, ${bytes(network.memory.inference(n))} to run`,
    ]),
  ];
  return `${pairs(about)}layers\n${table([["name", "kind", "shape", "neurons"], ...rows])}`;
}

function positionText({ metadata }: SafetensorsFile): string {
  const position = positionOf(metadata);
  if (position === undefined) return "";
  const { epoch, epochs, step, batchSize, samples, optimizer, schedule } = position;
  const batches = batchSize && samples !== undefined ? Math.ceil(samples / batchSize) : undefined;
  const unknown = (n: number | undefined): string => (n === undefined ? "?" : whole(n));
  const done =
    epoch !== undefined && epoch === epochs
      ? `all ${whole(epochs)} epochs done`
      : `in epoch ${unknown(epoch === undefined ? undefined : epoch + 1)} of ${unknown(epochs)}, ${unknown(step)} of ${unknown(batches)} batches done`;
  return `training\n${pairs([
    ["position", done],
    ["data", `${unknown(samples)} samples in batches of ${unknown(batchSize)}`],
    ["optimizer", optimizer],
    ["schedule", schedule],
  ])}`;
}

function tensorText({ tensors }: SafetensorsFile): string {
  const rows = [...tensors].map(([name, { dtype, shape, data }]) => [
    clean(name, LONGEST),
    dtype,
    shape.join("x") || "scalar",
    whole(data.length),
  ]);
  return `tensors\n${table([["name", "type", "shape", "values"], ...rows])}`;
}

/** What is not shown above already. */
function metadataText({ metadata }: SafetensorsFile): string {
  const shown = metadata.format === "spikegrad" ? ["network", "training"] : [];
  const rest = Object.entries(metadata).filter(([key]) => !shown.includes(key));
  if (rest.length === 0) return "";
  return `metadata\n${pairs(rest)}`;
}

function pairs(list: readonly (readonly [string, string])[]): string {
  const width = Math.max(...list.map(([key]) => Math.min(key.length, 24)));
  return list
    .map(([key, value]) => `  ${clean(key, LONGEST).padEnd(width)}  ${clean(value, LONGEST)}\n`)
    .join("");
}
