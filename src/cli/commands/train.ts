import { basename, relative } from "node:path";
import { Command } from "commander";
import { take } from "../../data/node.ts";
import {
  adam,
  adamax,
  adamw,
  type FitOptions,
  type Network,
  type OptimizerDescriptor,
  type PresetFit,
  preset,
  presetNames,
  type ScheduleDescriptor,
  sgd,
} from "../../index.ts";
import { settings as describeSettings, openCheckpoint, positionIn, previousOf } from "../checkpoints.ts";
import { choose, DATA_HELP, isEvents, readDatasets } from "../datasets.ts";
import { describeNetwork } from "../describe.ts";
import { checkOutput, checkpointBeside, samePath } from "../files.ts";
import { Interrupted, interrupted } from "../interrupt.ts";
import { type Design, makeNetwork, type NetworkSettings, stepsOf } from "../networks.ts";
import * as option from "../options.ts";
import { DEFAULTS, setting, UsageError } from "../options.ts";
import { accuracyLine, evaluate } from "../report.ts";
import { clean, whole } from "../terminal.ts";
import { train, warm } from "../training.ts";

interface TrainOptions extends NetworkSettings {
  readonly data?: string;
  readonly trainImages?: number;
  readonly testImages?: number;
  readonly batch?: number;
  readonly warmUpEpochs?: number;
  readonly optimizer?: OptimizerDescriptor["kind"];
  readonly rate?: number;
  readonly momentum?: number;
  readonly weightDecay?: number;
  readonly schedule?: ScheduleDescriptor | null;
  readonly out: string;
  readonly force?: boolean;
  readonly checkpoint?: string;
  readonly checkpointEvery?: number;
  readonly resume?: string;
}

const PRESETS_OWN = "the preset's";

/** Options that a checkpoint answers. */
const SETTLED = [
  "network",
  "width",
  "steps",
  "gain",
  "leak",
  "dropout",
  "seed",
  "batch",
  "warmUpEpochs",
  "optimizer",
  "rate",
  "momentum",
  "weightDecay",
  "schedule",
] as const;

const EXAMPLES = `
Examples:
  spikegrad train --out lenet.safetensors
      the preset "lenet" on MNIST
  spikegrad train --network stdbp-400 --epochs 3 --rate 2e-3 --out single.safetensors
      another preset with some settings of your own
  spikegrad train --data fashion/ --epochs 2 --checkpoint fashion.checkpoint --out fashion.safetensors
      a folder of IDX files, with a checkpoint every ${DEFAULTS.checkpointEvery} batches
  spikegrad train --resume fashion.checkpoint --data fashion/ --out fashion.safetensors
      goes on where that run stopped, to the same bits
  spikegrad train --network bpsta-nmnist --data nmnist:nmnist.tar.gz --width 0.25 --epochs 20 --out nmnist.safetensors
      recordings of events, a narrower network
  spikegrad train --network net.json --train-images 5000 --out net.safetensors
      a network of your own; net.json holds what createNetwork takes, e.g.
      { "layers": [{ "kind": "dense", "out": 100 }, { "kind": "dense", "out": 10 }] }

Ctrl-C finishes the batch in work, writes a checkpoint and says how to go on; twice stops at once.`;

export function trainCommand(): Command {
  return new Command("train")
    .description("train a network and write it to a file")
    .addOption(setting("--data <name>", DATA_HELP, option.text, DEFAULTS.data))
    .addOption(
      setting(
        "--network <name>",
        "a preset (see below) or a JSON file of network options",
        option.text,
        DEFAULTS.network,
      ),
    )
    .addOption(
      setting("--width <f>", "factor for channels and hidden neurons of a preset", option.positive, 1),
    )
    .addOption(setting("--steps <T>", "time steps a sample", option.integer(1), PRESETS_OWN))
    .addOption(
      setting(
        "--gain <g>",
        "probability of a spike a step where a pixel is white",
        option.positive,
        DEFAULTS.gain,
      ),
    )
    .addOption(
      setting("--leak <l>", "factor of the membranes from step to step", option.positive, DEFAULTS.leak),
    )
    .addOption(
      setting("--dropout <p>", "probability of dropout after hidden layers", option.fraction, PRESETS_OWN),
    )
    .addOption(setting("--seed <n>", "seed of all random numbers", option.integer(0), DEFAULTS.seed))
    .addOption(option.threadsOption())
    .addOption(setting("--epochs <n>", "passes over the training set", option.integer(1), PRESETS_OWN))
    .addOption(
      setting(
        "--warm-up-epochs <n>",
        "of a preset with a warm-up; 0 for none",
        option.integer(0),
        PRESETS_OWN,
      ),
    )
    .addOption(setting("--batch <n>", "samples a batch", option.integer(1), PRESETS_OWN))
    .addOption(
      setting(
        "--optimizer <name>",
        "sgd, adam, adamw or adamax; another one than the preset's needs a --rate",
        option.optimizer,
        PRESETS_OWN,
      ),
    )
    .addOption(
      setting("--rate <r>", "learning rate; holds for its batch size only", option.positive, PRESETS_OWN),
    )
    .addOption(setting("--momentum <m>", "of SGD", option.fraction, PRESETS_OWN))
    .addOption(setting("--weight-decay <d>", "of the optimizer", option.notNegative, PRESETS_OWN))
    .addOption(
      setting(
        "--schedule <s>",
        "of the rate: none, cosine[:WARMUP-EPOCHS] or step:EPOCHS[:FACTOR]",
        option.schedule,
        PRESETS_OWN,
      ),
    )
    .addOption(setting("--train-images <n>", "train on this many, drawn once", option.integer(1), "all"))
    .addOption(setting("--test-images <n>", "test on this many, 0 for no test", option.integer(0), "all"))
    .addOption(setting("--out <file>", "where to write the network", option.text).makeOptionMandatory())
    .option("--force", "replace files that are there")
    .addOption(
      setting(
        "--checkpoint <file>",
        "keep what is needed to go on; the one before as FILE.previous",
        option.text,
      ),
    )
    .addOption(
      setting(
        "--checkpoint-every <n>",
        "batches between checkpoints",
        option.integer(1),
        DEFAULTS.checkpointEvery,
      ),
    )
    .addOption(
      setting("--resume <file>", "go on from a checkpoint, with its settings", option.text).conflicts([
        ...SETTLED,
      ]),
    )
    .addHelpText("after", () => presetList() + EXAMPLES)
    .action(trainAction);
}

/** The presets, one a line. */
function presetList(): string {
  const longest = Math.max(...presetNames.map((name) => name.length));
  const rows = presetNames.map((name) => `  ${name.padEnd(longest)}  ${preset(name).about}\n`);
  return `\nPresets:\n${rows.join("")}`;
}

async function trainAction(options: TrainOptions): Promise<void> {
  const { data: name = DEFAULTS.data, out, force = false, resume, checkpoint } = options;
  if (options.checkpointEvery !== undefined && checkpoint === undefined) {
    throw new UsageError("--checkpoint-every goes with --checkpoint FILE");
  }
  if (samePath(out, checkpoint)) throw new UsageError("--out and --checkpoint name the same file");
  if (samePath(out, resume)) throw new UsageError("--out and --resume name the same file");
  await checkOutput(out, force);
  if (checkpoint !== undefined) {
    const replace = force || samePath(checkpoint, resume);
    await checkOutput(checkpoint, replace);
    await checkOutput(previousOf(checkpoint), replace);
  }

  const opened = resume === undefined ? undefined : await openCheckpoint(resume, options.threads);
  const start = opened?.bytes;
  const trainImages = options.trainImages ?? (start && positionIn(start)?.samples);
  const loaded = opened?.network;
  const sets = await readDatasets(name, loaded?.steps ?? (isEvents(name) ? await stepsOf(options) : 1));
  const data = choose(sets.train, trainImages, "--train-images");
  const tests = options.testImages === 0 ? undefined : choose(sets.test, options.testImages, "--test-images");
  const { network, fit, warmUp, normalize } = loaded
    ? { network: loaded, fit: resumeOptions(start!, options.epochs), warmUp: undefined, normalize: undefined }
    : withOptions(options, await makeNetwork(options, data));

  process.stdout.write(
    `network   ${describeNetwork(network)}\n` +
      option.threadsLine(options.threads, network.threads) +
      `data      ${clean(name)}: ${whole(data.labels.length)} training images\n` +
      `training  ${start ? `resumed from ${clean(resume!)}` : describeFit(fit)}\n`,
  );
  const spare = checkpointBeside(out);
  if (normalize !== undefined) {
    const batch = take(data, Math.min(normalize, data.labels.length));
    await network.normalizeActivity(batch.inputs);
    process.stdout.write(`rescaled  all layers, on ${whole(batch.labels.length)} training images\n`);
  }
  if (warmUp) await warm(network, data, warmUp);
  await train({
    network,
    data,
    fit,
    out,
    replace: force,
    ...(checkpoint === undefined
      ? {}
      : { checkpoint: { path: checkpoint, every: options.checkpointEvery ?? DEFAULTS.checkpointEvery } }),
    // What this run came from may be replaced by where it got to.
    spare: { path: spare, replace: samePath(spare, resume) },
    resumeCommand: (path) => resumeCommand(options, path),
  });
  if (tests) await test(network, tests);
  network.dispose();
}

async function test(network: Network, data: Parameters<typeof evaluate>[1]): Promise<void> {
  process.stdout.write(`tested    ${accuracyLine(await evaluate(network, data))}\n`);
  if (interrupted()) throw new Interrupted();
}

function resumeOptions(resume: Uint8Array, epochs: number | undefined): FitOptions {
  return epochs === undefined ? { resume } : { resume, epochs };
}

/** A design with what options say instead. */
function withOptions(options: TrainOptions, { network, fit, warmUp, normalize }: Design) {
  const epochs = options.warmUpEpochs ?? warmUp?.epochs ?? 0;
  if (epochs > 0 && warmUp === undefined) {
    throw new UsageError("--warm-up-epochs goes with presets that have a warm-up: those of bpsta");
  }
  return {
    network,
    fit: fitOptions(options, fit),
    warmUp: epochs === 0 ? undefined : { ...warmUp!, epochs },
    normalize,
  };
}

/** The settings of a preset with what options say instead. */
function fitOptions(options: TrainOptions, preset: PresetFit): FitOptions {
  const { batch = preset.batchSize, schedule = preset.schedule ?? null } = options;
  return {
    epochs: preset.epochs,
    batchSize: batch,
    optimizer: optimizerOf(options, preset.optimizer),
    ...(schedule === null ? {} : { schedule }),
  };
}

function optimizerOf(options: TrainOptions, usual: OptimizerDescriptor): OptimizerDescriptor {
  const { optimizer: kind = usual.kind, rate, momentum, weightDecay } = options;
  if (momentum !== undefined && kind !== "sgd") {
    throw new UsageError(`--momentum goes with --optimizer sgd; this network is trained with ${kind}`);
  }
  const given = Object.fromEntries(
    Object.entries({ rate, momentum, weightDecay }).filter(([, value]) => value !== undefined),
  );
  if (kind === usual.kind) return { ...usual, ...given };
  if (rate === undefined) {
    throw new UsageError(`--optimizer ${kind} needs a --rate: the one of ${usual.kind} does not fit`);
  }
  return { sgd, adam, adamw, adamax }[kind]({ ...given, rate });
}

/** `1 epoch in batches of 32; sgd rate 0.002, …; cosine warmup 0` */
export function describeFit({ epochs, batchSize, optimizer, schedule }: FitOptions): string {
  const passes = `${epochs} ${epochs === 1 ? "epoch" : "epochs"} in batches of ${batchSize}`;
  return `${passes}; ${describeSettings(optimizer)}; schedule ${describeSettings(schedule)}`;
}

/** The command that goes on from a checkpoint of a run with these options. */
export function resumeCommand(
  options: Pick<
    TrainOptions,
    "data" | "threads" | "out" | "testImages" | "checkpoint" | "checkpointEvery" | "force"
  >,
  path: string,
): string {
  const words = [...invocation(), "train", "--resume", path];
  const more = (flag: string, value: string | number | undefined): void => {
    if (value !== undefined) words.push(flag, String(value));
  };
  more("--data", options.data);
  more("--threads", options.threads);
  more("--test-images", options.testImages);
  more("--checkpoint", options.checkpoint);
  more("--checkpoint-every", options.checkpointEvery);
  more("--out", options.out);
  if (options.force) words.push("--force");
  return words.map(quote).join(" ");
}

/** How this program was called. */
function invocation(): string[] {
  const script = process.argv[1] ?? "";
  if (basename(script) !== "cli.js") return ["spikegrad"];
  const near = relative(process.cwd(), script);
  return ["node", near.startsWith("..") ? script : near];
}

function quote(word: string): string {
  const visible = clean(word);
  return /^[\w./:@%+=,-]+$/.test(visible) ? visible : `'${visible.replaceAll("'", "'\\''")}'`;
}
