import { StateError } from "./errors.ts";
import type { BatchNormLayer, CanonicalLayer } from "./layers.ts";
import type { NetworkDescription } from "./model-file.ts";
import type { Parameters } from "./parameters.ts";

/** Values of a network's parameters by name. */
export type Values = ReadonlyMap<string, Float32Array>;

/** A network without batch normalisation that answers as the given one does with running statistics. */
export interface Folded {
  readonly description: NetworkDescription;
  readonly values: Values;
}

/**
 * Takes every batch normalisation into the layer before it, channel by channel, in f64 with one rounding at the end:
 *
 *   W' = W · γ / sqrt(σ² + ε)        b' = (b - μ) · γ / sqrt(σ² + ε) + β
 */
export function foldNorms(description: NetworkDescription, parameters: Parameters): Folded {
  const values = new Map(parameters.entries().map(([name, { data }]) => [name, data]));
  const layers: CanonicalLayer[] = [];
  for (const layer of description.layers) {
    const before = layers[layers.length - 1];
    if (layer.kind !== "batchNorm") layers.push(layer);
    else fold(values, String(before?.name), layer);
  }
  if (layers.length === description.layers.length)
    throw new StateError("foldBatchNorm: the network has no batch normalisation");
  return { description: { ...description, layers }, values };
}

function fold(values: Map<string, Float32Array>, into: string, { name, epsilon }: BatchNormLayer): void {
  const take = (part: string) => {
    const found = values.get(`${name}.${part}`) as Float32Array;
    values.delete(`${name}.${part}`);
    return found;
  };
  const [gamma, beta, mean, variance] = ["weight", "bias", "running_mean", "running_var"].map(take);
  const weight = values.get(`${into}.weight`) as Float32Array;
  const bias = values.get(`${into}.bias`) as Float32Array;
  const fanIn = weight.length / bias.length;
  const scale = Float64Array.from(gamma, (g, i) => g / Math.sqrt(variance[i] + epsilon));
  values.set(
    `${into}.weight`,
    weight.map((w, k) => w * scale[Math.floor(k / fanIn)]),
  );
  values.set(
    `${into}.bias`,
    bias.map((b, i) => (b - mean[i]) * scale[i] + beta[i]),
  );
}
