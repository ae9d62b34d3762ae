import { denseGeometry, type Extent, type FanoutGeometry, Layout, size } from "../core/geometry.ts";
import { panelGeometry } from "../core/panels.ts";
import { type PatchGeometry, patchGeometry } from "../core/patch.ts";
import type { EncoderDescriptor } from "../encoders.ts";
import { ArgumentError } from "../errors.ts";
import type { CanonicalLayer, LayerDescriptor } from "../layers.ts";
import { smoothL1 } from "../losses.ts";
import { ParameterList, pooledLayout, UNTRAINED, weightGeometry } from "./common.ts";
import { type DecolleDescriptor, decolle } from "./decolle.ts";
import { lanesOf, lowerDecolle } from "./decolle-program.ts";
import { flatten } from "./flatten.ts";
import type { Initial, LayerInfo, Method, Model } from "./method.ts";

/** A weight layer with its neurons, pool, dropout and readout. */
export interface DecolleStage {
  readonly name: string;
  readonly kind: "conv2d" | "dense";
  /** What feeds it. */
  readonly from: Layout;
  /** Neurons before the pool. */
  readonly layout: Layout;
  readonly geometry: FanoutGeometry;
  /** A convolution's patches. */
  readonly patches: PatchGeometry | undefined;
  readonly weight: number;
  readonly bias: number;
  /** Side of the pool's windows; 1 without a pool. */
  window: number;
  /** What the next layer and the readout see. */
  pooled: Layout;
  probability: number;
}

/** A stage with the readout that its pooled neurons have. */
export interface DecolleLayer extends DecolleStage {
  readonly readout: { readonly geometry: FanoutGeometry; readonly weight: number; readonly bias: number };
}

function expand(layers: readonly LayerDescriptor[]): CanonicalLayer[] {
  const list = flatten(layers);
  if (list.some((layer) => layer.kind === "neuron")) return list;
  return list.flatMap((layer): CanonicalLayer[] =>
    layer.kind === "conv2d" || layer.kind === "dense" ? [layer, { kind: "neuron" }] : [layer],
  );
}

function buildStages(input: Extent, layers: readonly CanonicalLayer[], parameters: ParameterList) {
  const stages: DecolleStage[] = [];
  let from = new Layout(input, false);
  for (let i = 0; i < layers.length; i++) {
    const layer = layers[i];
    const argument = `layers[${i}]`;
    const previous = stages[stages.length - 1];
    if (layer.kind === "dropout") {
      if (previous === undefined)
        throw new ArgumentError(argument, "dropout", "dropout after conv2d, dense or their pool");
      previous.probability = layer.probability;
      continue;
    }
    if (layer.kind === "maxPool2d") {
      if (previous?.kind !== "conv2d" || previous.window > 1 || previous.probability > 0)
        throw new ArgumentError(
          argument,
          "maxPool2d",
          "maxPool2d directly after conv2d, in front of dropout",
        );
      previous.window = layer.size;
      previous.pooled = pooledLayout(previous.layout, layer.size, argument);
      from = previous.pooled;
      continue;
    }
    if (layer.kind !== "conv2d" && layer.kind !== "dense") {
      throw new ArgumentError(
        argument,
        layer.kind,
        layer.kind === "neuron"
          ? "conv2d or dense in front of every neuron"
          : "what decolle knows: conv2d, dense, maxPool2d and dropout",
      );
    }
    if (layer.kind === "conv2d" && layer.shortcut) {
      throw new ArgumentError(
        `${argument}.shortcut`,
        layer.shortcut,
        "none: every layer of decolle learns from its own input and readout",
      );
    }
    const name = layer.name ?? `layer${i}`;
    if (stages.some((stage) => stage.name === name))
      throw new ArgumentError(`${argument}.name`, name, "a name that no other layer has");
    const next = layers[++i];
    if (next?.kind !== "neuron")
      throw new ArgumentError(`layers[${i}]`, next?.kind, `neuron after ${layer.kind}`);
    if (next.threshold !== undefined)
      throw new ArgumentError(
        `layers[${i}].threshold`,
        next.threshold,
        "none: neurons of decolle fire above 0",
      );
    if (next.readout)
      throw new ArgumentError(`layers[${i}].readout`, true, "none: every layer of decolle has a readout");
    const { layout, geometry: plain, shape } = weightGeometry(from, layer, argument);
    const geometry = layer.kind === "dense" ? panelGeometry(plain, from, layout) : plain;
    const fanIn = shape.slice(1).reduce((a, b) => a * b, 1);
    const weight = parameters.weight(`${name}.weight`, shape, geometry, {
      kind: "orthogonal",
      gain: 1,
    });
    const bias = parameters.vector(`${name}.bias`, layer.out, fanIn, { kind: "constant", value: 0 });
    stages.push({
      name,
      kind: layer.kind,
      from,
      layout,
      geometry,
      patches: SPIKEGRAD_TRAINING && layer.kind === "conv2d" ? patchGeometry(from, layout, layer) : undefined,
      weight,
      bias,
      window: 1,
      pooled: layout,
      probability: 0,
    });
    from = layout;
  }
  if (stages.length === 0)
    throw new ArgumentError("layers", layers[0]?.kind, "at least one conv2d or dense layer");
  return stages;
}

/** The readouts, fixed and random. */
function addReadouts(
  stages: readonly DecolleStage[],
  { classes, readoutScale }: DecolleDescriptor,
  parameters: ParameterList,
): DecolleLayer[] {
  const answer = new Layout({ channels: classes, height: 1, width: 1 }, true);
  return stages.map((stage) => {
    const n = size(stage.pooled.extent);
    const bound = readoutScale / Math.sqrt(n);
    const initial: Initial = { kind: "uniform", low: -bound, high: bound };
    const geometry = denseGeometry(stage.pooled, answer);
    const name = `${stage.name}.readout`;
    const weight = parameters.weight(`${name}_weight`, [classes, n], geometry, initial, {
      trainable: false,
    });
    const bias = parameters.vector(`${name}_bias`, classes, n, initial, { trainable: false });
    return { ...stage, readout: { geometry, weight, bias } };
  });
}

function model(
  input: Extent,
  list: readonly CanonicalLayer[],
  descriptor: DecolleDescriptor,
  encoder: EncoderDescriptor,
): Model {
  if (descriptor.burnIn >= encoder.steps) {
    throw new ArgumentError(
      "decolle.burnIn",
      descriptor.burnIn,
      `less than the ${encoder.steps} steps of the encoder: nothing would be learned or answered`,
    );
  }
  const parameters = new ParameterList();
  const layers = addReadouts(buildStages(input, list, parameters), descriptor, parameters);
  const layout = new Layout(input, false);
  return {
    parameters: parameters.specs,
    layers: layers.map(
      ({ name, kind, pooled, geometry }): LayerInfo => ({
        name,
        kind,
        extent: pooled.extent,
        spiking: true,
        operations: SPIKEGRAD_TRAINING ? geometry.operations : 0,
      }),
    ),
    ...(SPIKEGRAD_TRAINING
      ? {
          masks: layers
            .filter((layer) => layer.probability > 0)
            .map(({ name, pooled: { extent } }) => ({ name, extent })),
          meanLoss: true,
          exact: "smooth" as const,
          local: true,
          online: descriptor.online,
        }
      : UNTRAINED),
    input,
    classes: descriptor.classes,
    inputIndex: input.channels > 1 && input.height * input.width > 1 ? layout.positions() : undefined,
    blocks: 1,
    together: lanesOf(layers, encoder),
    lower: (plan, purpose, bindings) =>
      lowerDecolle(layers, layout, descriptor, encoder, plan, purpose, bindings),
  };
}

/** `decolle`, as the library sees it. */
export const decolleMethod: Method<DecolleDescriptor> = {
  kind: "decolle",
  loss: smoothL1(),
  losses: ["smoothL1"],
  check: ({ kind: _, ...rest }) => decolle(rest),
  expand: SPIKEGRAD_TRAINING ? expand : flatten,
  model,
};
