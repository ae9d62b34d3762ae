import { Command } from "commander";
import { loadNetwork } from "../../index.ts";
import { choose, DATA_HELP, readDatasets } from "../datasets.ts";
import { readModelFile } from "../files.ts";
import * as option from "../options.ts";
import { DEFAULTS, setting } from "../options.ts";
import {
  accuracyLine,
  activityTable,
  confusionTable,
  ENERGIES,
  evaluate,
  operationsTable,
} from "../report.ts";

interface EvaluateOptions {
  readonly data?: string;
  readonly threads?: "auto" | number;
  readonly testImages?: number;
  readonly top?: number;
  readonly energyAdd?: number;
  readonly energyMac?: number;
}

const EXAMPLES = `
Examples:
  spikegrad evaluate lenet.safetensors
      on the 10,000 test images of MNIST
  spikegrad evaluate fashion.safetensors --data fashion/ --top 3
      on a folder of IDX files
  spikegrad evaluate lenet.safetensors --test-images 1000 --energy-add 0.9
      on some of them, at the energy of a floating-point addition`;

export function evaluateCommand(): Command {
  return new Command("evaluate")
    .description("test a network: accuracy, confusions, activity, operations beside a dense network's")
    .argument("<model>", "file that train has written, or a checkpoint")
    .addOption(setting("--data <name>", DATA_HELP, option.text, DEFAULTS.data))
    .addOption(option.threadsOption())
    .addOption(setting("--test-images <n>", "test on this many, drawn once", option.integer(1), "all"))
    .addOption(setting("--top <k>", "count an answer among the best k", option.integer(1), "5"))
    .addOption(
      setting("--energy-add <pJ>", "energy of a synaptic operation", option.positive, `${ENERGIES.add} pJ`),
    )
    .addOption(
      setting("--energy-mac <pJ>", "energy of a multiply-accumulate", option.positive, `${ENERGIES.mac} pJ`),
    )
    .addHelpText("after", EXAMPLES)
    .action(evaluateAction);
}

async function evaluateAction(path: string, options: EvaluateOptions): Promise<void> {
  const { threads } = options;
  const network = await loadNetwork(await readModelFile(path), { threads });
  process.stderr.write(option.threadsLine(threads, network.threads));
  const { test } = await readDatasets(options.data ?? DEFAULTS.data, network.steps);
  const data = choose(test, options.testImages, "--test-images");
  const found = await evaluate(network, data, options.top);
  const energies = { add: options.energyAdd ?? ENERGIES.add, mac: options.energyMac ?? ENERGIES.mac };
  process.stdout.write(
    [
      `${accuracyLine(found)}\n`,
      confusionTable(found, network.classes),
      activityTable(found),
      operationsTable(found, network, energies),
    ].join("\n"),
  );
  network.dispose();
}
