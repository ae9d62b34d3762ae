import { Command } from "commander";
import { FileError, FormatError } from "../../errors.ts";
import { cosine, type FitOptions, loadNetwork, sgd } from "../../index.ts";
import { readSafetensors, writeSafetensors } from "../../io/index.ts";
import { choose, readDatasets } from "../datasets.ts";
import { describeNetwork } from "../describe.ts";
import { checkOutput, checkpointBeside, readModelFile } from "../files.ts";
import { makeNetwork } from "../networks.ts";
import * as option from "../options.ts";
import { DEFAULTS, setting } from "../options.ts";
import { predictAndDraw } from "../predict.ts";
import { accuracyLine, activityTable, ENERGIES, evaluate, operationsTable } from "../report.ts";
import { clean, clock, whole } from "../terminal.ts";
import { train } from "../training.ts";
import { describeFit, resumeCommand } from "./train.ts";

/** The settings of a run. */
interface Plan {
  readonly steps: number;
  readonly images: number;
  readonly epochs: number;
  readonly batch: number;
}

interface DemoOptions {
  readonly full?: boolean;
  readonly trainImages?: number;
  readonly testImages?: number;
  readonly out?: string;
}

/** A minute or two on an ordinary machine. */
const QUICK: Plan = { steps: 20, images: 16_000, epochs: 1, batch: 32 };
const FULL: Plan = { steps: 50, images: 60_000, epochs: 3, batch: 32 };
const DRAWN = [0, 1, 2];

/** Metadata by which the demo knows its own file again. */
const MARK = { key: "writtenBy", value: "spikegrad demo" };

const EXAMPLES = `
Examples:
  spikegrad demo
      a short run
  spikegrad demo --full --out full.safetensors
      all images, ${FULL.epochs} epochs, ${FULL.steps} steps`;

export function demoCommand(): Command {
  return new Command("demo")
    .description("train a LeNet on MNIST, test it, write it, read it again, classify digits")
    .option("--full", "a full run instead of a short one")
    .addOption(setting("--train-images <n>", "train on this many", option.integer(1), `${QUICK.images}`))
    .addOption(setting("--test-images <n>", "test on this many", option.integer(1), "all"))
    .addOption(setting("--out <file>", "where to write the network", option.text, "lenet.safetensors"))
    .addHelpText("after", EXAMPLES)
    .action(demoAction);
}

async function demoAction(options: DemoOptions): Promise<void> {
  const { full, out = "lenet.safetensors" } = options;
  const began = performance.now();
  const { steps, images, epochs, batch } = full ? FULL : QUICK;
  const own = await isOwn(out);
  await checkOutput(out, own, "it is not from a demo, so choose another name with --out");

  const sets = await readDatasets("mnist", steps);
  const data = choose(sets.train, options.trainImages ?? images, "--train-images");
  const tests = choose(sets.test, options.testImages, "--test-images");
  const { network } = await makeNetwork({ network: "lenet", steps }, data);
  const fit: FitOptions = {
    epochs,
    batchSize: batch,
    optimizer: sgd({ rate: DEFAULTS.rate, momentum: DEFAULTS.momentum }),
    schedule: cosine({ warmup: DEFAULTS.warmup }),
  };
  process.stdout.write(
    `network   lenet, 20C5p2-2A-50C5p2-2A-200-10; ${describeNetwork(network)}\n` +
      `data      mnist: ${whole(data.labels.length)} of ${whole(sets.train.labels.length)} training images\n` +
      `training  ${describeFit(fit)}\n`,
  );
  await train({
    network,
    data,
    fit,
    out,
    replace: own,
    save: () => marked(network.save()),
    spare: { path: checkpointBeside(out), replace: false },
    resumeCommand: (path) => resumeCommand({ out, force: own }, path),
  });
  network.dispose();

  const loaded = await loadNetwork(await readModelFile(out));
  process.stdout.write(`loaded    ${clean(out)}\n`);
  const found = await evaluate(loaded, tests);
  process.stdout.write(
    `tested    ${accuracyLine(found)}\n\n${activityTable(found)}\n${operationsTable(found, loaded, ENERGIES)}\n`,
  );
  const { inputs, labels } = sets.test;
  const size = inputs.length / labels.length;
  await predictAndDraw(
    loaded,
    DRAWN.map((i) => ({
      name: `test image ${i}`,
      values: inputs.subarray(i * size, (i + 1) * size),
      place: i,
      label: labels[i]!,
    })),
  );
  loaded.dispose();
  process.stdout.write(`${clock((performance.now() - began) / 1000)} in all\n`);
}

/** The same file with the demo's mark. */
function marked(file: Uint8Array): Uint8Array {
  const { tensors, metadata } = readSafetensors(file);
  return writeSafetensors(tensors, { ...metadata, [MARK.key]: MARK.value });
}

/** Whether a file is there that a demo has written. */
async function isOwn(path: string): Promise<boolean> {
  try {
    return readSafetensors(await readModelFile(path)).metadata[MARK.key] === MARK.value;
  } catch (error) {
    if (error instanceof FileError || error instanceof FormatError) return false;
    throw error;
  }
}
