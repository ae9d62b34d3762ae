#!/usr/bin/env node
import { Command, CommanderError } from "commander";
import { ArgumentError, SpikegradError } from "../errors.ts";
import { demoCommand } from "./commands/demo.ts";
import { evaluateCommand } from "./commands/evaluate.ts";
import { infoCommand } from "./commands/info.ts";
import { predictCommand } from "./commands/predict.ts";
import { trainCommand } from "./commands/train.ts";
import { Interrupted, listenForInterrupts } from "./interrupt.ts";
import { UsageError } from "./options.ts";
import { clean, cleanLines } from "./terminal.ts";

/** Set by the bundler. */
declare const SPIKEGRAD_VERSION: string;

const FAILURE = 1;
const USAGE = 2;

const EXAMPLES = `
Examples:
  spikegrad demo                                      train, test and try a LeNet on MNIST
  spikegrad train --epochs 3 --out lenet.safetensors
  spikegrad evaluate lenet.safetensors
  spikegrad predict lenet.safetensors --index 0-4
  spikegrad info lenet.safetensors
  spikegrad train --help                              options and examples of a command

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.`;

function program(): Command {
  const main = new Command("spikegrad")
    .description("train and run spiking neural networks")
    .version(SPIKEGRAD_VERSION)
    .option("--debug", "show where an error comes from")
    .addHelpText("after", EXAMPLES);
  for (const command of [trainCommand(), evaluateCommand(), predictCommand(), infoCommand(), demoCommand()]) {
    main.addCommand(command);
  }
  for (const command of [main, ...main.commands]) {
    command
      .exitOverride()
      .helpCommand(false)
      .showHelpAfterError("(--help shows what there is)")
      .configureOutput({ writeErr: (text) => process.stderr.write(cleanLines(text)) });
  }
  return main;
}

/** Runs the command line; gives the exit code. */
async function run(main: Command): Promise<number> {
  try {
    await main.parseAsync();
    return 0;
  } catch (error) {
    if (error instanceof Interrupted) return error.exitCode;
    // Commander has said what there is to say.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE;
    report(error, main.opts<{ debug?: boolean }>().debug === true);
    return error instanceof UsageError || error instanceof ArgumentError ? USAGE : FAILURE;
  }
}

function report(error: unknown, debug: boolean): void {
  const known = error instanceof SpikegradError || error instanceof UsageError;
  const message = error instanceof Error ? error.message : String(error);
  const hint = known || debug ? "" : " (unexpected; --debug shows where it comes from)";
  process.stderr.write(`spikegrad: ${clean(message)}${hint}\n`);
  if (debug && error instanceof Error) process.stderr.write(`${cleanLines(error.stack ?? "")}\n`);
}

listenForInterrupts();
for (const stream of [process.stdout, process.stderr]) {
  // Who reads our output may have left (as head does); that must not end a training.
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") process.exitCode = FAILURE;
  });
}
// Not process.exit: a pipe still has to take what was written.
process.exitCode = (await run(program())) || process.exitCode;
