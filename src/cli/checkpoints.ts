import { copyFile, link, realpath, rename, rm } from "node:fs/promises";
import { resolve } from "node:path";
import { FileError, FormatError, SpikegradError } from "../errors.ts";
import { loadNetwork, type Network } from "../index.ts";
import { readSafetensors } from "../io/index.ts";
import { readModelFile } from "./files.ts";
import { clean } from "./terminal.ts";

/** What a checkpoint says about its run, as far as it is what it should be: the file may come from anywhere. */
export interface Position {
  readonly epoch: number | undefined;
  readonly epochs: number | undefined;
  /** Batches done in this epoch. */
  readonly step: number | undefined;
  readonly batchSize: number | undefined;
  /** Samples of the training set. */
  readonly samples: number | undefined;
  readonly optimizer: string;
  readonly schedule: string;
}

/** The position of a checkpoint from the metadata of its file; nothing for a plain model. */
export function positionOf(metadata: Readonly<Record<string, string>>): Position | undefined {
  if (metadata.training === undefined) return undefined;
  let record: Record<string, unknown> = {};
  try {
    const value: unknown = JSON.parse(metadata.training);
    if (typeof value === "object" && value !== null) record = value as Record<string, unknown>;
  } catch {
    // All fields stay unknown; who loads the file gets the error.
  }
  const count = (key: string): number | undefined => {
    const value = record[key];
    return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
  };
  return {
    epoch: count("epoch"),
    epochs: count("epochs"),
    step: count("step"),
    batchSize: count("batchSize"),
    samples: count("samples"),
    optimizer: settings(record.optimizer),
    schedule: settings(record.schedule),
  };
}

/** `positionOf` the bytes of a file. */
export function positionIn(bytes: Uint8Array): Position | undefined {
  return positionOf(readSafetensors(bytes).metadata);
}

/** Checkpoints that were refused: they must not take the place of the one before, which is the only good one. */
const refused = new Set<string>();

/** Where the checkpoint before the one at `path` is. */
export function previousOf(path: string): string {
  return `${path}.previous`;
}

/**
 * Gives the checkpoint at `path`, if there is one, a second name before another takes its place; at no moment is there
 * nothing at `path`. Where it cannot be kept it is not: the one to come is worth more.
 */
export async function keepPrevious(path: string): Promise<void> {
  if (refused.delete(resolve(path))) return;
  const previous = previousOf(path);
  const temporary = `${previous}.tmp`;
  try {
    const there = await realpath(path);
    await rm(temporary, { force: true });
    // A link where the file system has them: nothing is copied.
    await link(there, temporary).catch(() => copyFile(there, temporary));
    await rename(temporary, previous);
  } catch {
    await rm(temporary, { force: true }).catch(() => undefined);
  }
}

/**
 * The checkpoint at `path`; if it is torn, foreign or not there, the one before it, and a line on standard error that says so.
 *
 * @throws SpikegradError what is wrong with the one at `path`, if there is no other
 */
export async function openCheckpoint(path: string, threads?: "auto" | number): Promise<Opened> {
  try {
    return await openWhole(path, threads);
  } catch (error) {
    if (!(error instanceof FormatError || error instanceof FileError)) throw error;
    const previous = previousOf(path);
    const found = await openWhole(previous, threads).catch((reason: unknown) => {
      if (reason instanceof SpikegradError) throw error;
      throw reason;
    });
    refused.add(resolve(path));
    process.stderr.write(
      `${clean(path)} is refused (${clean(error.message)}); going on from ${clean(previous)}\n`,
    );
    return found;
  }
}

/** A checkpoint and its network. */
interface Opened {
  readonly bytes: Uint8Array;
  readonly network: Network;
}

async function openWhole(path: string, threads: "auto" | number | undefined): Promise<Opened> {
  const bytes = await readModelFile(path);
  const network = await loadNetwork(bytes, { threads });
  if (positionIn(bytes) !== undefined) return { bytes, network };
  network.dispose();
  throw new FormatError(path, "a model without a training state", "a checkpoint");
}

/** `sgd rate 0.002, momentum 0.9` for a descriptor. */
export function settings(descriptor: unknown): string {
  if (typeof descriptor !== "object" || descriptor === null) return "none";
  const { kind, ...rest } = descriptor as Record<string, unknown>;
  const named = Object.entries(rest).map(([key, value]) => `${key} ${JSON.stringify(value)}`);
  return [String(kind), named.join(", ")].filter(Boolean).join(" ");
}
