import { readSafetensors } from "../io/index.ts";

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

/** `sgd rate 0.002, momentum 0.9` for a descriptor. */
export function settings(descriptor: unknown): string {
  if (typeof descriptor !== "object" || descriptor === null) return "none";
  const { kind, ...rest } = descriptor as Record<string, unknown>;
  const named = Object.entries(rest).map(([key, value]) => `${key} ${JSON.stringify(value)}`);
  return [String(kind), named.join(", ")].filter(Boolean).join(" ");
}
