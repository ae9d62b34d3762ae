import { Command } from "commander";
import { type IdxArray, readFileBytes, readIdx } from "../../data/node.ts";
import { ArgumentError } from "../../errors.ts";
import { loadNetwork, type Network } from "../../index.ts";
import { DATA_HELP, readDatasets } from "../datasets.ts";
import { readModelFile } from "../files.ts";
import * as option from "../options.ts";
import { DEFAULTS, setting, UsageError } from "../options.ts";
import { isPgm, readPgm } from "../pgm.ts";
import { predictAndDraw, type Sample } from "../predict.ts";

interface PredictOptions {
  readonly data?: string;
  readonly threads?: "auto" | number;
  readonly index?: number[];
  readonly invert?: boolean;
}

const MAX_IMAGE_BYTES = 2 ** 28;
const SHOWN_OTHERWISE = [0, 1, 2];

const EXAMPLES = `
Examples:
  spikegrad predict lenet.safetensors
      the first test images of MNIST
  spikegrad predict lenet.safetensors --index 7,20-25
      others of them
  spikegrad predict lenet.safetensors seven.pgm --invert
      a drawing, black on white, of the network's input size
  spikegrad predict lenet.safetensors images-idx3-ubyte --index 0-9
      pictures of an IDX file`;

export function predictCommand(): Command {
  return new Command("predict")
    .description("classify pictures and draw them")
    .argument("<model>", "file that train has written, or a checkpoint")
    .argument("[files...]", "pictures: PGM or IDX files. Without any: test images of --data")
    .addOption(setting("--data <name>", DATA_HELP, option.text, DEFAULTS.data))
    .addOption(option.threadsOption())
    .addOption(setting("--index <list>", "which pictures, from 0, as in 0,3,10-12", option.indices, "0-2"))
    .option("--invert", "black on white: swap them")
    .addHelpText("after", EXAMPLES)
    .action(predictAction);
}

async function predictAction(path: string, files: string[], options: PredictOptions): Promise<void> {
  if (files.length > 0 && options.data !== undefined) {
    throw new UsageError("--data goes without picture files");
  }
  const { threads } = options;
  const network = await loadNetwork(await readModelFile(path), { threads });
  process.stderr.write(option.threadsLine(threads, network.threads));
  const samples =
    files.length > 0 ? await fromFiles(network, files, options) : await fromData(network, options);
  await predictAndDraw(network, options.invert ? samples.map(inverted) : samples);
  network.dispose();
}

async function fromData(
  network: Network,
  { data = DEFAULTS.data, index = SHOWN_OTHERWISE }: PredictOptions,
): Promise<Sample[]> {
  const { inputs, labels } = (await readDatasets(data, network.steps)).test;
  return pick(inputs, labels.length, index, (i) => ({ name: `#${i}`, label: labels[i]! }));
}

async function fromFiles(network: Network, files: string[], { index }: PredictOptions): Promise<Sample[]> {
  const samples: Sample[] = [];
  for (const file of files) {
    const bytes = await readFileBytes(file, { maxBytes: MAX_IMAGE_BYTES });
    if (isPgm(bytes)) {
      const { width, height, pixels } = readPgm(bytes);
      requireShape(network, file, [height, width]);
      samples.push({ name: file, values: pixels, place: 0 });
    } else {
      const { values, count, shape } = frames(await readIdx(bytes, { maxBytes: MAX_IMAGE_BYTES }), network);
      requireShape(network, file, shape);
      const chosen = index ?? Array.from({ length: Math.min(count, SHOWN_OTHERWISE.length) }, (_, i) => i);
      samples.push(...pick(values, count, chosen, (i) => ({ name: `${file} #${i}` })));
    }
  }
  return samples;
}

/** The pictures of an IDX file: all axes after the first are a picture's, unless the whole is one. */
function frames(array: IdxArray, network: Network) {
  if (array.type !== "u8" && array.type !== "f32") {
    throw new ArgumentError("IDX type", array.type, "u8 or f32 for pictures");
  }
  const { data: values, shape } = array;
  const size = network.inputShape.reduce((a, b) => a * b, 1);
  if (values.length === size) return { values, count: 1, shape: shape[0] === 1 ? shape.slice(1) : shape };
  return { values, count: shape[0]!, shape: shape.slice(1) };
}

/** Refuses pictures of another size: how to scale them is not for this program to guess. */
function requireShape(network: Network, file: string, shape: readonly number[]): void {
  const wanted = network.inputShape;
  const plain = wanted.length === 3 && wanted[0] === 1 ? wanted.slice(1) : wanted;
  const same = (a: readonly number[]): boolean =>
    a.length === shape.length && a.every((n, i) => n === shape[i]);
  if (!same(wanted) && !same(plain)) {
    throw new ArgumentError(
      file,
      `a picture of ${shape.join("x")}`,
      `${plain.join("x")}, the network's input`,
    );
  }
}

function pick(
  values: Float32Array | Uint8Array,
  count: number,
  index: readonly number[],
  about: (i: number) => { name: string; label?: number },
): Sample[] {
  const size = values.length / count;
  return index.map((i) => {
    if (i >= count) throw new UsageError(`--index ${i}: there are ${count} pictures, from 0`);
    return { ...about(i), place: i, values: values.subarray(i * size, (i + 1) * size) };
  });
}

function inverted(sample: Sample): Sample {
  const white = sample.values instanceof Uint8Array ? 255 : 1;
  return { ...sample, values: sample.values.map((value) => white - value) };
}
