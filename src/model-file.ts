import { GENERATOR, GENERATOR_VERSION } from "./core/random.ts";
import type { EncoderDescriptor } from "./encoders.ts";
import { ArgumentError, FormatError } from "./errors.ts";
import type { InitializerDescriptor } from "./initializers.ts";
import { readSafetensors, writeSafetensors } from "./io/index.ts";
import { readWeights } from "./io/weights.ts";
import type { CanonicalLayer } from "./layers.ts";
import type { LossDescriptor } from "./losses.ts";
import type { MethodDescriptor } from "./methods/index.ts";
import type { ClipBounds } from "./optimizer.ts";
import type { OptimizerDescriptor, ScheduleDescriptor } from "./optimizers.ts";
import type { Tensor } from "./tensor.ts";

/** Version of the files that `save` and `checkpoint` write. */
const FILE_VERSION = 1;
/** Prefixes that no layer's name can have. */
const OPTIMIZER = "optimizer/";
const BEST = "best/";

/** What a network is, apart from its weights. */
export interface NetworkDescription {
  /** Shape of one input: `[channels, height, width]` or `[features]`. */
  readonly input: readonly number[];
  /** How samples become spikes. */
  readonly encoder: EncoderDescriptor;
  /** The gradient method, and with it the neuron. */
  readonly method: MethodDescriptor;
  /** The canonical list: every neuron explicit. */
  readonly layers: readonly CanonicalLayer[];
  /** What training makes small. */
  readonly loss: LossDescriptor;
  /** Seed of all random numbers. */
  readonly seed: number;
  /** How weights started, where it was not the method's way. */
  readonly initializer?: InitializerDescriptor;
}

/** How a training run is set. Plain data. */
export interface TrainingSettings {
  readonly optimizer: OptimizerDescriptor;
  readonly schedule: ScheduleDescriptor | null;
  readonly epochs: number;
  readonly batchSize: number;
  readonly shuffle: boolean;
  /** Samples of the data, and of the validation data if there are any. */
  readonly samples: number;
  readonly validation: number | null;
  /** Multipliers of the rate by layer; layers left alone. */
  readonly rates: Readonly<Record<string, number>>;
  readonly frozen: readonly string[];
  readonly clip: ClipBounds | null;
  readonly validateEvery: number;
  readonly keepBest: boolean;
  readonly patience: number | null;
  readonly onNonFinite: "throw" | "skip";
  readonly bypassNeurons: boolean;
}

/** How far a training run has come. */
export interface TrainingPosition {
  /** Batches done in `epoch`. */
  epoch: number;
  step: number;
  /** Sums over the batches done in `epoch`, and the samples they are over. */
  loss: number;
  correct: number;
  counted: number;
  /** Samples done in `epoch`, those of skipped batches included. */
  seen: number;
  /** Batches skipped so far. */
  skipped: number;
  /** The best validation so far (a loss of null is infinite), and how many came after it. */
  best: { readonly epoch: number; readonly loss: number | null; readonly accuracy: number } | null;
  stale: number;
  /** Whether the validation of the epoch before is still to come. */
  validates: boolean;
}

/** A training run as a checkpoint keeps it. */
export interface TrainingRecord extends TrainingSettings, Readonly<TrainingPosition> {
  /** Steps that the optimizer has taken. */
  readonly taken: number;
}

export interface ModelFile {
  readonly network: NetworkDescription;
  readonly epoch: number;
  readonly step: number;
  readonly parameters: ReadonlyMap<string, Tensor>;
  readonly training?: TrainingRecord;
  readonly state: ReadonlyMap<string, Tensor>;
  /** Parameters of the best validation so far. */
  readonly best: ReadonlyMap<string, Tensor>;
}

/** A model or checkpoint as safetensors bytes. */
export function writeModel(file: ModelFile): Uint8Array {
  const tensors: Record<string, { shape: readonly number[]; data: Float32Array }> = {};
  for (const [name, tensor] of file.parameters) tensors[name] = tensor;
  for (const [name, tensor] of file.state) tensors[OPTIMIZER + name] = tensor;
  for (const [name, tensor] of file.best) tensors[BEST + name] = tensor;
  const metadata: Record<string, string> = {
    format: "spikegrad",
    version: String(FILE_VERSION),
    network: JSON.stringify(file.network),
    epoch: String(file.epoch),
    step: String(file.step),
    rng: GENERATOR,
    rngVersion: String(GENERATOR_VERSION),
  };
  if (file.training) {
    metadata.training = JSON.stringify(file.training);
    metadata.checksum = checksum(metadata, Object.entries(tensors));
  }
  return writeSafetensors(tensors, metadata);
}

/**
 * What a checkpoint carries so that one whose pages never reached the disk is not taken for whole: FNV-1a of 32 bits (Fowler,
 * Noll, Vo) over the 32-bit words of each tensor after its name, and over settings; added, so that order has no part in it.
 */
function checksum(
  metadata: Readonly<Record<string, string | undefined>>,
  tensors: Iterable<readonly [string, { readonly data: Float32Array }]>,
): string {
  const mix = (hash: number, word: number): number => Math.imul(hash ^ word, 0x01000193);
  const ofText = (text: string): number => {
    let hash = 0x811c9dc5;
    for (let i = 0; i < text.length; i++) hash = mix(hash, text.charCodeAt(i));
    return hash;
  };
  let sum = 0;
  for (const key of ["network", "training", "epoch", "step"]) sum += ofText(`${key} ${metadata[key]}`);
  for (const [name, { data }] of tensors) {
    let hash = ofText(name);
    for (const word of new Uint32Array(data.buffer, data.byteOffset, data.length)) hash = mix(hash, word);
    sum = (sum + hash) >>> 0;
  }
  return `fnv1a-${(sum >>> 0).toString(16).padStart(8, "0")}`;
}

/** Reads what `writeModel` wrote; checks everything but the network's own consistency. */
export function readModel(bytes: Uint8Array): ModelFile {
  const { tensors, metadata } = SPIKEGRAD_TRAINING ? readFloats(bytes) : readWeights(bytes);
  const meta = (key: string): string | undefined => metadata[key];
  const demand = (key: string, found: string | undefined, wanted: string, why: string): void => {
    if (found !== wanted) throw new FormatError(`__metadata__.${key}`, found, why);
  };
  const why = "a file that network.save() or checkpoint() wrote";
  demand("format", meta("format"), "spikegrad", `"spikegrad": ${why}`);
  const version = String(FILE_VERSION);
  demand("version", meta("version"), version, `"${version}", the version that this release reads`);
  const generator = `${GENERATOR} version ${GENERATOR_VERSION}`;
  demand(
    "rng",
    `${meta("rng")} version ${meta("rngVersion")}`,
    generator,
    `${generator}: with another generator the same seed would mean other spikes`,
  );
  const network = json("network", meta("network")) as NetworkDescription;
  if (!Array.isArray(network.layers) || !Array.isArray(network.input)) {
    throw new FormatError(
      "__metadata__.network",
      meta("network"),
      "a description with input, encoder, method, layers, loss and seed",
    );
  }
  const stated = meta("checksum");
  if (stated !== undefined) {
    const found = checksum(metadata, tensors);
    if (found !== stated)
      throw new FormatError("__metadata__.checksum", found, `${stated}: the file is damaged, or was changed`);
  }
  if (!SPIKEGRAD_TRAINING) return { network, parameters: parametersOf(tensors) } as ModelFile;
  const training =
    meta("training") === undefined ? undefined : (json("training", meta("training")) as TrainingRecord);
  const parameters = new Map<string, Tensor>();
  const state = new Map<string, Tensor>();
  const best = new Map<string, Tensor>();
  for (const [name, tensor] of tensors) {
    if (name.startsWith(OPTIMIZER)) state.set(name.slice(OPTIMIZER.length), tensor);
    else if (name.startsWith(BEST)) best.set(name.slice(BEST.length), tensor);
    else parameters.set(name, tensor);
  }
  return {
    network,
    epoch: count("epoch", meta("epoch")),
    step: count("step", meta("step")),
    parameters,
    training,
    state,
    best,
  };
}

/** The tensors that a checkpoint does not have beside the network's. */
function parametersOf(tensors: ReadonlyMap<string, Tensor>): ReadonlyMap<string, Tensor> {
  return new Map([...tensors].filter(([name]) => !name.startsWith(OPTIMIZER) && !name.startsWith(BEST)));
}

/** A safetensors file of 32-bit floats. */
function readFloats(bytes: Uint8Array): ReturnType<typeof readWeights> {
  const { tensors, metadata } = readSafetensors(bytes);
  const floats = new Map<string, Tensor>();
  for (const [name, { dtype, shape, data }] of tensors) {
    if (dtype !== "F32") throw new FormatError(`tensor "${name}".dtype`, dtype, "F32");
    floats.set(name, { shape, data });
  }
  return { tensors: floats, metadata };
}

/** The training record of a checkpoint, its position checked. */
export function trainingOf(file: ModelFile): TrainingRecord {
  const record = file.training;
  if (!record)
    throw new FormatError("resume", "a model without a training state", "bytes of network.checkpoint()");
  const fail = (key: string, value: unknown, expected: string): never => {
    throw new FormatError(`__metadata__.training.${key}`, value, expected);
  };
  for (const key of ["epoch", "step", "correct", "counted", "seen", "skipped", "stale", "taken"] as const) {
    if (!Number.isSafeInteger(record[key]) || record[key] < 0) fail(key, record[key], "a whole number");
  }
  for (const key of ["epochs", "batchSize", "samples"] as const) {
    if (!Number.isSafeInteger(record[key]) || record[key] < 1)
      fail(key, record[key], "a whole number from 1");
  }
  const batches = Math.ceil(record.samples / record.batchSize);
  if (record.epoch > record.epochs) fail("epoch", record.epoch, `at most ${record.epochs}, its epochs`);
  if (record.step >= batches) fail("step", record.step, `less than ${batches}, the batches of an epoch`);
  if (record.taken >= 2 ** 32) fail("taken", record.taken, "less than 4294967296");
  if (!Number.isFinite(record.loss)) fail("loss", record.loss, "a number");
  if (typeof record.validates !== "boolean") fail("validates", record.validates, "true or false");
  const { best } = record;
  if (best === null) return record;
  const found =
    Number.isSafeInteger(best?.epoch) &&
    (best.loss === null || Number.isFinite(best.loss)) &&
    Number.isFinite(best.accuracy);
  if (!found) fail("best", best, "null or { epoch, loss, accuracy }");
  return record;
}

/** Runs a check of what a file says: what a user would be told of an argument is told of a place in the file. */
export function inFile<T>(place: string, check: () => T): T {
  try {
    return check();
  } catch (cause) {
    return blameFile(place, cause);
  }
}

/** Throws what is told of an argument as told of a place in a file. */
export function blameFile(place: string, cause: unknown): never {
  if (!(cause instanceof ArgumentError)) throw cause;
  throw new FormatError(`${place}.${cause.argument}`, cause.value, cause.expected ?? "", { cause });
}

function json(key: string, text: string | undefined): object {
  try {
    const value: unknown = JSON.parse(text ?? "");
    if (typeof value === "object" && value !== null) return value;
  } catch {
    // Falls through to the same error: whatever it is, it is no JSON object.
  }
  throw new FormatError(`__metadata__.${key}`, text, "a JSON object");
}

function count(key: string, text: string | undefined): number {
  const value = Number(text);
  if (text === undefined || text === "" || !Number.isSafeInteger(value) || value < 0)
    throw new FormatError(`__metadata__.${key}`, text, "a whole number");
  return value;
}
