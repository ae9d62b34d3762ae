import { writeFileAtomic } from "../data/node.ts";
import { FileError } from "../errors.ts";
import type { Dataset, FitOptions, Network, Progress } from "../index.ts";
import { keepPrevious } from "./checkpoints.ts";
import { writeFree, writeResult } from "./files.ts";
import { Interrupted, interrupted, onInterrupt } from "./interrupt.ts";
import { type ProgressDisplay, showProgress } from "./progress.ts";
import { bytes, clean, clock, percent, whole } from "./terminal.ts";

/** A training run and where its results go. */
export interface TrainingRun {
  readonly network: Network;
  readonly data: Dataset;
  readonly fit: Omit<FitOptions, "signal">;
  /** The file of the trained network. */
  readonly out: string;
  readonly replace: boolean;
  /** The bytes to write there. Default: those of `network.save()`. */
  readonly save?: () => Uint8Array;
  /** A file for checkpoints, written every so many batches and at the end; the one before is kept beside it. */
  readonly checkpoint?: { readonly path: string; readonly every: number };
  /** Where a checkpoint goes on an interrupt if there is no file for them. */
  readonly spare: { readonly path: string; readonly replace: boolean };
  /** The command that goes on from a checkpoint. */
  readonly resumeCommand: (checkpoint: string) => string;
}

/**
 * Trains with a progress display and writes the network. At the first Ctrl-C it finishes the batch in work and writes a
 * checkpoint instead.
 *
 * @throws Interrupted after an interrupt, with everything said and written
 */
export async function train(run: TrainingRun): Promise<void> {
  const { network, checkpoint } = run;
  const abort = new AbortController();
  // Settings that do not fit are refused here, before anything is shown.
  const records = network.fit(run.data, { ...run.fit, signal: abort.signal });
  const display = showProgress("train");
  const release = onInterrupt(() => {
    display.note("stopping after this batch; press Ctrl-C again to stop at once");
    abort.abort();
  });
  const began = performance.now();
  let last: Progress | undefined;
  try {
    let sinceCheckpoint = 0;
    for await (const progress of records) {
      last = progress;
      const { epoch, epochs, step, steps } = progress;
      display.update(epoch * steps + step, epochs * steps, describe(progress));
      if (checkpoint && ++sinceCheckpoint >= checkpoint.every && !isLast(progress)) {
        sinceCheckpoint = 0;
        await writeCheckpoint(network, checkpoint.path, display);
      }
    }
    display.stop();
    if (interrupted() && !(last && isLast(last))) await keepCheckpoint(run);
    if (last) process.stdout.write(summary(last, (performance.now() - began) / 1000));
    const file = run.save?.() ?? network.save();
    await writeResult(run.out, file, run.replace);
    process.stdout.write(`saved     ${clean(run.out)} (${bytes(file.length)})\n`);
    if (checkpoint) {
      await keepPrevious(checkpoint.path);
      await writeResult(checkpoint.path, network.checkpoint(), true);
    }
    if (interrupted()) throw new Interrupted();
  } finally {
    display.stop();
    release();
  }
}

/** Trains before the training proper, with a progress display; writes nothing, so Ctrl-C just ends it. */
export async function warm(network: Network, data: Dataset, fit: FitOptions): Promise<void> {
  const display = showProgress("warm-up");
  try {
    for await (const progress of network.fit(data, fit)) {
      const { epoch, epochs, step, steps } = progress;
      display.update(epoch * steps + step, epochs * steps, describe(progress));
    }
  } finally {
    display.stop();
  }
}

function isLast({ epoch, epochs, step, steps }: Progress): boolean {
  return epoch === epochs - 1 && step === steps;
}

function describe(progress: Progress): string[] {
  const parts = [
    `loss ${progress.epochLoss.toFixed(3)}`,
    `${(100 * progress.epochAccuracy).toFixed(1)}% right`,
    `${clock(progress.secondsLeft)} left`,
    `${whole(progress.samplesPerSecond)}/s`,
    `${progress.spikesPerNeuron.toFixed(2)} spikes/neuron`,
  ];
  return progress.epochs > 1 ? [...parts, `epoch ${progress.epoch + 1}/${progress.epochs}`] : parts;
}

function summary(last: Progress, seconds: number): string {
  const rate = `${whole(last.samplesPerSecond)} images/s`;
  return `trained   in ${clock(seconds)}, ${rate}; last epoch: loss ${last.epochLoss.toFixed(4)}, ${percent(last.epochAccuracy)} right while learning\n`;
}

/** A checkpoint on the way: a full disk must not end the training. */
async function writeCheckpoint(network: Network, path: string, display: ProgressDisplay): Promise<void> {
  try {
    await keepPrevious(path);
    await writeFileAtomic(path, network.checkpoint(), { overwrite: true });
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    display.note(`warning: ${error.message}; training goes on`);
  }
}

/** The checkpoint after an interrupt. */
async function keepCheckpoint({ network, checkpoint, spare, resumeCommand }: TrainingRun): Promise<never> {
  const contents = network.checkpoint();
  let path = checkpoint?.path ?? spare.path;
  if (checkpoint || spare.replace) {
    await keepPrevious(path);
    await writeResult(path, contents, true);
  } else {
    const free = await writeFree(path, contents);
    if (free === undefined) await writeResult(path, contents, false);
    else path = free;
  }
  process.stderr.write(
    `interrupted; a checkpoint is in ${clean(path)}; go on with\n  ${resumeCommand(path)}\n`,
  );
  throw new Interrupted();
}
