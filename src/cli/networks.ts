import { type Dataset, readFileBytes } from "../data/node.ts";
import { FormatError } from "../errors.ts";
import {
  ArgumentError,
  cosine,
  createNetwork,
  lee,
  type Network,
  type NetworkOptions,
  type Preset,
  type PresetName,
  poisson,
  preset,
  presetNames,
  sgd,
  spikes,
} from "../index.ts";
import { DEFAULTS, UsageError } from "./options.ts";

/** What options say about the network. */
export interface NetworkSettings {
  readonly network?: string;
  readonly width?: number;
  readonly steps?: number;
  readonly gain?: number;
  readonly leak?: number;
  readonly dropout?: number;
  readonly seed?: number;
  readonly epochs?: number;
  readonly threads?: "auto" | number;
}

/** A network with random weights, and how it is to be trained. */
export interface Design extends Pick<Preset, "fit" | "warmUp" | "normalize"> {
  readonly network: Network;
}

const KEYS = ["input", "encoder", "method", "layers", "seed", "loss", "initializer"] as const;
const MAX_BYTES = 2 ** 24;

/** Time steps of the network that options ask for. */
export async function stepsOf({ network = DEFAULTS.network, steps }: NetworkSettings): Promise<number> {
  if (steps !== undefined) return steps;
  if (isPreset(network)) return preset(network).network.encoder.steps;
  const file = /\.json$/i.test(network) ? await readNetworkFile(network) : {};
  return file.encoder?.steps ?? DEFAULTS.steps;
}

function isPreset(name: string): name is PresetName {
  return (presetNames as readonly string[]).includes(name);
}

/**
 * A network with random weights, from a preset or a file of network options; what options say goes before what
 * a preset or a file says.
 *
 * @param data what it is to learn: the shape of one sample, the number of classes
 */
export async function makeNetwork(settings: NetworkSettings, data: Dataset): Promise<Design> {
  const { network = DEFAULTS.network } = settings;
  if (isPreset(network)) return fromPreset(network, settings, data);
  if (!/\.json$/i.test(network)) {
    const names = presetNames.join(", ");
    throw new UsageError(
      `--network ${network}: no such network; known are ${names}, and files that end in .json`,
    );
  }
  for (const key of ["dropout", "width"] as const) {
    if (settings[key] === undefined) continue;
    throw new UsageError(`--${key} goes with the networks that have a name; change the layers in the file`);
  }
  const file = await readNetworkFile(network);
  try {
    return {
      network: await createNetwork(withSettings(file, settings, data)),
      fit: {
        epochs: settings.epochs ?? DEFAULTS.epochs,
        batchSize: DEFAULTS.batch,
        optimizer: sgd({ rate: DEFAULTS.rate, momentum: DEFAULTS.momentum }),
        schedule: cosine({ warmup: DEFAULTS.warmup }),
      },
    };
  } catch (error) {
    if (!(error instanceof ArgumentError)) throw error;
    throw new ArgumentError(`${network}: ${error.argument}`, error.value, error.expected ?? "another value", {
      cause: error,
    });
  }
}

async function fromPreset(name: PresetName, settings: NetworkSettings, data: Dataset): Promise<Design> {
  const { width, steps, dropout, epochs, seed = DEFAULTS.seed, gain, leak } = settings;
  const { network, ...training } = preset(name, {
    ...given({ width, steps, dropout, epochs }),
    seed,
    classes: data.classes,
  });
  const { method } = network;
  const events = eventInput(data);
  if (events && name.startsWith("stdbp"))
    throw new UsageError(`${name} takes one spike an input, no recordings of events`);
  if (!events && network.encoder.kind === "spikes")
    throw new UsageError(`${name} takes recordings of events, as of --data nmnist:PATH`);
  const { input, encoder } = events ?? { input: data.shape, encoder: network.encoder };
  if (gain !== undefined && encoder.kind !== "poisson") {
    throw new UsageError(`--gain goes with Poisson coding; ${name} has the encoder ${encoder.kind}`);
  }
  if (leak !== undefined && method.kind !== "lee") {
    throw new UsageError(`--leak goes with the method lee; ${name} has ${method.kind}`);
  }
  const made = await createNetwork({
    ...network,
    ...given({ threads: settings.threads }),
    input,
    encoder: { ...encoder, ...given({ gain }) } as NetworkOptions["encoder"],
    method: { ...method, ...given({ leak }) } as NetworkOptions["method"],
  });
  return { network: made, ...training };
}

/** Input and encoder for recordings of events, cut into frames `[T, channels, height, width]`; nothing for other data. */
function eventInput({ shape }: Dataset) {
  const [steps, ...input] = shape;
  return shape.length === 4 ? { input, encoder: spikes({ steps: steps! }) } : undefined;
}

function withSettings(
  file: Partial<NetworkOptions>,
  { steps, gain, leak, seed, threads }: NetworkSettings,
  data: Dataset,
): NetworkOptions {
  const events = eventInput(data);
  const encoder = file.encoder ?? events?.encoder ?? poisson({ steps: DEFAULTS.steps, gain: DEFAULTS.gain });
  const method = file.method ?? lee({ leak: DEFAULTS.leak });
  return {
    ...file,
    input: file.input ?? events?.input ?? data.shape,
    encoder: { ...encoder, ...given({ steps, gain }) } as NetworkOptions["encoder"],
    method: { ...method, ...given({ leak }) } as NetworkOptions["method"],
    layers: file.layers as NetworkOptions["layers"],
    seed: seed ?? file.seed ?? DEFAULTS.seed,
    ...given({ threads }),
  };
}

async function readNetworkFile(path: string): Promise<Partial<NetworkOptions>> {
  const bytes = await readFileBytes(path, { maxBytes: MAX_BYTES });
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new FormatError(path, (cause as Error).message, "a JSON file with the options of a network", {
      cause,
    });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new FormatError(path, value, "an object with the options of a network");
  }
  // Not all that createNetwork takes: a file must not say where code is fetched from.
  const unknown = Object.keys(value).find((key) => !(KEYS as readonly string[]).includes(key));
  if (unknown !== undefined) throw new FormatError(path, unknown, `only ${KEYS.join(", ")}`);
  return value;
}

function given(options: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}
