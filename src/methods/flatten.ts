import { ArgumentError } from "../errors.ts";
import { type CanonicalLayer, checkLayer, type LayerDescriptor } from "../layers.ts";

const places = new WeakMap<CanonicalLayer, string>();

/** Where in the user's list a layer of the canonical list comes from, e.g. `layers[1].layers[0]`, if it comes from there. */
export function placeOf(layer: CanonicalLayer | undefined): string | undefined {
  return layer && places.get(layer);
}

/** The user's list with residual blocks written out and every layer named after its place, unless it has a name. */
export function flatten(layers: readonly LayerDescriptor[]): CanonicalLayer[] {
  if (!Array.isArray(layers) || layers.length === 0) {
    throw new ArgumentError("layers", layers, "a list of at least one layer");
  }
  const list: CanonicalLayer[] = [];
  const visit = (given: LayerDescriptor, argument: string): void => {
    const layer = checkLayer(argument, given);
    if (layer.kind !== "residual") {
      const name = layer.name ?? `layer${list.length}`;
      list.push(layer.kind === "neuron" ? layer : { ...layer, name });
    } else if (SPIKEGRAD_TRAINING) {
      const before = lastSpiking(list);
      if (before === undefined)
        throw new ArgumentError(argument, "residual", "a spiking layer in front of a residual block");
      layer.layers.forEach((inner, i) => {
        visit(inner, `${argument}.layers[${i}]`);
      });
      const last = list[list.length - 1];
      if (last.kind !== "conv2d")
        throw new ArgumentError(argument, last.kind, "a block whose last layer is conv2d");
      const shortcut = { from: before, conv: layer.conv, stride: layer.stride };
      list[list.length - 1] = checkLayer(argument, { ...last, shortcut });
    }
    if (SPIKEGRAD_TRAINING) places.set(list[list.length - 1], argument);
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
