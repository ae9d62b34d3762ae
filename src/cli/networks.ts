import { readFileBytes } from "../data/node.ts";
import { FormatError } from "../errors.ts";
import { ArgumentError, createNetwork, lee, type Network, type NetworkOptions, poisson } from "../index.ts";
import { DEFAULTS, UsageError } from "./options.ts";
import { PRESETS } from "./presets.ts";

/** What options say about the network. */
export interface NetworkSettings {
  readonly network?: string;
  readonly steps?: number;
  readonly gain?: number;
  readonly leak?: number;
  readonly dropout?: number;
  readonly seed?: number;
}

const KEYS = ["input", "encoder", "method", "layers", "seed", "loss"] as const;
const MAX_BYTES = 2 ** 24;

/**
 * A network with random weights, from a preset or a file of network options; what options say goes before what
 * a file says.
 *
 * @param input shape of one sample, where a file does not say
 */
export async function makeNetwork(settings: NetworkSettings, input: readonly number[]): Promise<Network> {
  const { network = DEFAULTS.network, seed, dropout } = settings;
  const preset = Object.hasOwn(PRESETS, network) ? PRESETS[network] : undefined;
  if (preset !== undefined) {
    return createNetwork({
      input,
      encoder: poisson({ steps: settings.steps ?? DEFAULTS.steps, gain: settings.gain ?? DEFAULTS.gain }),
      method: lee({ leak: settings.leak ?? DEFAULTS.leak }),
      layers: preset.layers(dropout ?? 0),
      seed: seed ?? DEFAULTS.seed,
    });
  }
  if (!/\.json$/i.test(network)) {
    const names = Object.keys(PRESETS).join(", ");
    throw new UsageError(
      `--network ${network}: no such network; known are ${names}, and files that end in .json`,
    );
  }
  if (dropout !== undefined) {
    throw new UsageError(
      "--dropout goes with the networks that have a name; list dropout layers in the file",
    );
  }
  const file = await readNetworkFile(network);
  try {
    return await createNetwork(withSettings(file, settings, input));
  } catch (error) {
    if (!(error instanceof ArgumentError)) throw error;
    throw new ArgumentError(`${network}: ${error.argument}`, error.value, error.expected ?? "another value", {
      cause: error,
    });
  }
}

function withSettings(
  file: Partial<NetworkOptions>,
  { steps, gain, leak, seed }: NetworkSettings,
  input: readonly number[],
): NetworkOptions {
  const encoder = file.encoder ?? poisson({ steps: DEFAULTS.steps, gain: DEFAULTS.gain });
  const method = file.method ?? lee({ leak: DEFAULTS.leak });
  return {
    ...file,
    input: file.input ?? input,
    encoder: { ...encoder, ...given({ steps, gain }) } as NetworkOptions["encoder"],
    method: { ...method, ...given({ leak }) } as NetworkOptions["method"],
    layers: file.layers as NetworkOptions["layers"],
    seed: seed ?? file.seed ?? DEFAULTS.seed,
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
