import { ArgumentError } from "../errors.ts";
import type { CanonicalLayer, LayerDescriptor } from "../layers.ts";

const KINDS = [
  "conv2d",
  "dense",
  "avgPool2d",
  "maxPool2d",
  "earliestPool2d",
  "batchNorm",
  "relu",
  "neuron",
  "dropout",
  "residual",
];

/** The user's list with residual blocks written out and every layer named after its place, unless it has a name. */
export function flatten(layers: readonly LayerDescriptor[]): CanonicalLayer[] {
  if (!Array.isArray(layers) || layers.length === 0) {
    throw new ArgumentError("layers", layers, "a list of at least one layer");
  }
  const list: CanonicalLayer[] = [];
  const visit = (layer: LayerDescriptor, argument: string): void => {
    if (typeof layer !== "object" || layer === null || !KINDS.includes(layer.kind)) {
      throw new ArgumentError(
        argument,
        (layer as { kind?: unknown } | null)?.kind ?? layer,
        `a layer: one of ${KINDS.join(", ")}`,
      );
    }
    if (layer.kind !== "residual") {
      const name = layer.name ?? `layer${list.length}`;
      list.push(layer.kind === "neuron" ? layer : { ...layer, name });
      return;
    }
    const before = lastSpiking(list);
    if (before === undefined)
      throw new ArgumentError(argument, "residual", "a spiking layer in front of a residual block");
    layer.layers.forEach((inner, i) => {
      visit(inner, `${argument}.layers[${i}]`);
    });
    const last = list[list.length - 1];
    if (last.kind !== "conv2d")
      throw new ArgumentError(argument, last.kind, "a block whose last layer is conv2d");
    list[list.length - 1] = { ...last, shortcut: { from: before, conv: layer.conv, stride: layer.stride } };
  };
  layers.forEach((layer, i) => {
    visit(layer, `layers[${i}]`);
  });
  return list;
}

/** Name of the last layer with spikes of its own. */
function lastSpiking(list: readonly CanonicalLayer[]): string | undefined {
  for (let i = list.length - 1; i >= 0; i--) {
    const { kind, name } = list[i];
    if (kind === "conv2d" || kind === "dense" || kind === "avgPool2d") return name;
  }
  return undefined;
}
