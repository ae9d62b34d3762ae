import {
  type Extent,
  type FanoutGeometry,
  Layout,
  poolGeometry,
  type RouteGeometry,
} from "../core/geometry.ts";
import type { EncoderDescriptor } from "../encoders.ts";
import { ArgumentError } from "../errors.ts";
import { batchNorm, type CanonicalLayer, type LayerDescriptor } from "../layers.ts";
import { type LossDescriptor, squaredError } from "../losses.ts";
import { type BpstaDescriptor, bpsta } from "./bpsta.ts";
import { lowerBypassed } from "./bpsta-bypass.ts";
import { lower } from "./bpsta-program.ts";
import { meanLoss, ParameterList, pooledLayout, UNTRAINED, weightGeometry } from "./common.ts";
import { flatten } from "./flatten.ts";
import type { LayerInfo, MaskInfo, Method, Model } from "./method.ts";

/** Batch normalisation in front of a neuron: numbers of its parameters. */
export interface NormStage {
  readonly weight: number;
  readonly bias: number;
  readonly mean: number;
  readonly variance: number;
  readonly momentum: number;
  readonly epsilon: number;
}

/** What happens to a layer's spikes on their way to the next synapse. */
export type Transit =
  | { readonly kind: "maxPool"; readonly layout: Layout; readonly window: number }
  | {
      readonly kind: "avgPool";
      readonly layout: Layout;
      readonly window: number;
      readonly geometry: RouteGeometry;
    }
  | {
      readonly kind: "dropout";
      readonly layout: Layout;
      readonly name: string;
      readonly probability: number;
      readonly index: number;
    };

/** A synapse with its neurons and what follows them. */
export interface Stage {
  readonly name: string;
  readonly kind: "conv2d" | "dense";
  readonly layout: Layout;
  readonly geometry: FanoutGeometry;
  readonly weight: number;
  readonly bias: number;
  readonly norm: NormStage | undefined;
  readonly relu: boolean;
  readonly threshold: number;
  readonly transits: Transit[];
}

/** Layers with every neuron explicit and named. Neurons that are added take the name of their weight layer. */
function expand(layers: readonly LayerDescriptor[], descriptor: BpstaDescriptor): CanonicalLayer[] {
  const list = flatten(layers);
  const { threshold } = descriptor;
  if (list.some((layer) => layer.kind === "neuron")) {
    // Always the same keys in the same order: saved descriptions are compared as text.
    return list.map((layer, i) => {
      if (layer.kind !== "neuron") return layer;
      const usual: CanonicalLayer = { kind: "neuron", threshold, name: `layer${i}` };
      return { ...usual, ...layer };
    });
  }
  const last = list.length - 1;
  return list.flatMap((layer, i): CanonicalLayer[] => {
    if (layer.kind === "batchNorm" || layer.kind === "relu") {
      throw new ArgumentError(
        `layers[${i}]`,
        layer.kind,
        "neuron() after every weight layer too: a list that spells out how currents reach them is taken as it stands",
      );
    }
    const neuron: CanonicalLayer = { kind: "neuron", threshold, name: layer.name };
    if (layer.kind === "conv2d") {
      const name = (part: string) => `${layer.name}.${part}`;
      return [layer, batchNorm({ name: name("norm") }), { kind: "relu", name: name("relu") }, neuron];
    }
    if (layer.kind === "dense")
      return i === last ? [layer, neuron] : [layer, { kind: "relu", name: `${layer.name}.relu` }, neuron];
    return [layer];
  });
}

const START = { kind: "torchUniform" } as const;

function buildStages(input: Extent, layers: readonly CanonicalLayer[], descriptor: BpstaDescriptor) {
  const stages: Stage[] = [];
  const parameters = new ParameterList();
  const names = { tensors: new Set<string>(), spikes: new Set<string>() };
  const unique = (kind: keyof typeof names, name: string, argument: string): string => {
    if (names[kind].has(name))
      throw new ArgumentError(`${argument}.name`, name, "a name that no other layer has");
    names[kind].add(name);
    return name;
  };
  let from = new Layout(input, false);
  for (let i = 0; i < layers.length; i++) {
    const layer = layers[i];
    const argument = `layers[${i}]`;
    if (layer.kind !== "conv2d" && layer.kind !== "dense") {
      const stage = stages[stages.length - 1];
      const transit = transitOf(layer, i, from, stage, argument);
      if (transit.kind === "dropout") unique("tensors", transit.name, argument);
      stage.transits.push(transit);
      from = transit.layout;
      continue;
    }
    if (layer.kind === "conv2d" && layer.shortcut)
      throw new ArgumentError(`${argument}.shortcut`, layer.shortcut.from, "none: shortcuts need lee()");
    const name = unique("tensors", layer.name ?? `layer${i}`, argument);
    const { layout, geometry, shape } = weightGeometry(from, layer, argument);
    const { channels } = layout.extent;
    const weight = parameters.weight(`${name}.weight`, shape, geometry, START);
    const { fanIn } = parameters.specs[weight];
    const bias = parameters.vector(`${name}.bias`, channels, fanIn, START);
    let norm: NormStage | undefined;
    let next = layers[++i];
    if (next?.kind === "batchNorm") {
      const own = unique("tensors", next.name ?? `layer${i}`, `layers[${i}]`);
      const constant = (value: number) => ({ kind: "constant", value }) as const;
      norm = {
        weight: parameters.vector(`${own}.weight`, channels, fanIn, constant(1)),
        bias: parameters.vector(`${own}.bias`, channels, fanIn, constant(0)),
        mean: parameters.vector(`${own}.running_mean`, channels, fanIn, constant(0), { statistic: true }),
        variance: parameters.vector(`${own}.running_var`, channels, fanIn, constant(1), { statistic: true }),
        momentum: next.momentum,
        epsilon: next.epsilon,
      };
      next = layers[++i];
    }
    const relu = next?.kind === "relu";
    if (relu) next = layers[++i];
    if (next?.kind !== "neuron") {
      throw new ArgumentError(
        `layers[${i}]`,
        next?.kind,
        `neuron after ${layer.kind}, with at most batchNorm and relu in between, in this order`,
      );
    }
    if (next.readout)
      throw new ArgumentError(`layers[${i}].readout`, true, "false: the last layer of bpsta spikes");
    stages.push({
      name: unique("spikes", next.name ?? `layer${i}`, `layers[${i}]`),
      kind: layer.kind,
      layout,
      geometry,
      weight,
      bias,
      norm,
      relu,
      threshold: next.threshold ?? descriptor.threshold,
      transits: [],
    });
    from = layout;
  }
  const last = stages[stages.length - 1];
  const kind = layers[layers.length - 1]?.kind;
  if (kind !== "neuron" || last?.kind !== "dense")
    throw new ArgumentError("layers", kind, "a dense layer with its neurons as the last one: they vote");
  const voters = last.layout.extent.channels;
  if (voters % descriptor.vote !== 0) {
    throw new ArgumentError(
      "layers",
      voters,
      `a last layer of classes · vote neurons, a multiple of ${descriptor.vote} (bpsta.vote)`,
    );
  }
  return { stages, specs: parameters.specs, classes: voters / descriptor.vote };
}

function transitOf(
  layer: Exclude<CanonicalLayer, { kind: "conv2d" | "dense" }>,
  index: number,
  from: Layout,
  stage: Stage | undefined,
  argument: string,
): Transit {
  if (layer.kind === "neuron" || layer.kind === "batchNorm" || layer.kind === "relu")
    throw new ArgumentError(argument, layer.kind, `conv2d or dense in front of every ${layer.kind}`);
  if (stage === undefined)
    throw new ArgumentError(argument, layer.kind, "a layer with neurons in front of every pool and dropout");
  const before = stage.transits.map(({ kind }) => kind);
  if (layer.kind === "dropout") {
    if (before.includes("dropout"))
      throw new ArgumentError(argument, "dropout", "at most one dropout between two layers of neurons");
    const name = layer.name ?? `layer${index}`;
    return { kind: "dropout", layout: from, name, probability: layer.probability, index };
  }
  const layout = pooledLayout(from, layer.size, argument);
  if (layer.kind === "avgPool2d") {
    const geometry = poolGeometry(from, layout, layer.size);
    return { kind: "avgPool", layout, window: layer.size, geometry };
  }
  if (before.some((kind) => kind !== "maxPool")) {
    throw new ArgumentError(
      argument,
      "maxPool2d",
      "max pooling directly after the neurons: it takes spikes, neither averages nor values after dropout",
    );
  }
  return { kind: "maxPool", layout, window: layer.size };
}

function masksOf(stages: readonly Stage[]): MaskInfo[] {
  return stages.flatMap(({ transits }) =>
    transits.flatMap((t) => (t.kind === "dropout" ? [{ name: t.name, extent: t.layout.extent }] : [])),
  );
}

/** `bpsta`, as the library sees it. */
export const bpstaMethod: Method<BpstaDescriptor> = {
  kind: "bpsta",
  loss: squaredError({ reduction: "mean" }),
  check: ({ kind: _, ...rest }) => bpsta(rest),
  expand: SPIKEGRAD_TRAINING ? expand : flatten,
  model(
    input: Extent,
    layers: readonly CanonicalLayer[],
    descriptor: BpstaDescriptor,
    encoder: EncoderDescriptor,
    loss: LossDescriptor,
  ): Model {
    const { stages, specs, classes } = buildStages(input, layers, descriptor);
    const layout = new Layout(input, false);
    return {
      parameters: specs,
      layers: stages.map(
        ({ name, kind, layout: { extent }, geometry: { operations } }): LayerInfo => ({
          name,
          kind,
          extent,
          spiking: true,
          operations,
        }),
      ),
      ...(SPIKEGRAD_TRAINING
        ? {
            masks: masksOf(stages),
            meanLoss: meanLoss(loss, "mean"),
            bypass: encoder.kind === "direct" || encoder.kind === "spikes",
          }
        : UNTRAINED),
      input,
      classes,
      inputIndex: input.channels > 1 && input.height * input.width > 1 ? layout.positions() : undefined,
      lower: (plan, purpose, bindings) =>
        (SPIKEGRAD_TRAINING && purpose.bypass ? lowerBypassed : lower)(
          { stages, input: layout, classes, descriptor, encoder, loss },
          plan,
          purpose,
          bindings,
        ),
    };
  },
};
