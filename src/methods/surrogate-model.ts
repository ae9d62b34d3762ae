import { denseGeometry, type Extent, type FanoutGeometry, Layout } from "../core/geometry.ts";
import type { EncoderDescriptor } from "../encoders.ts";
import { ArgumentError } from "../errors.ts";
import type { CanonicalLayer, LayerDescriptor } from "../layers.ts";
import { crossEntropy } from "../losses.ts";
import { meanLoss, ParameterList, pooledLayout, UNTRAINED, weightGeometry } from "./common.ts";
import { flatten } from "./flatten.ts";
import type { LayerInfo, Method, Model } from "./method.ts";
import { type SurrogateDescriptor, surrogate } from "./surrogate.ts";
import { lowerSurrogate, type Stage } from "./surrogate-program.ts";

/**
 * Without any `neuron()`, one after each weight layer, or after the pool behind it, under the weight layer's name; those that
 * the user lists are named after their own place.
 */
function expand(layers: readonly LayerDescriptor[]): CanonicalLayer[] {
  const list = flatten(layers);
  if (list.some((layer) => layer.kind === "neuron")) {
    return list.map((layer, i) =>
      layer.kind === "neuron" ? { ...layer, name: layer.name ?? `layer${i}` } : layer,
    );
  }
  const expanded: CanonicalLayer[] = [];
  list.forEach((layer, i) => {
    expanded.push(layer);
    const pooled = isPool(list[i + 1]);
    const weight = isWeight(layer) ? layer : isPool(layer) ? list[i - 1] : undefined;
    if (weight && isWeight(weight) && !pooled) expanded.push({ kind: "neuron", name: weight.name });
  });
  return expanded;
}

function isWeight(layer: CanonicalLayer | undefined) {
  return layer?.kind === "conv2d" || layer?.kind === "dense";
}

function isPool(layer: CanonicalLayer | undefined) {
  return layer?.kind === "avgPool2d" || layer?.kind === "maxPool2d";
}

const START = { kind: "torchUniform" } as const;

function buildStages(
  input: Extent,
  layers: readonly CanonicalLayer[],
  descriptor: SurrogateDescriptor,
  encoder: EncoderDescriptor,
) {
  const stages: Stage[] = [];
  const parameters = new ParameterList();
  const names = new Set<string>();
  const unique = (name: string, argument: string) => {
    if (names.has(name)) throw new ArgumentError(`${argument}.name`, name, "a name that no other layer has");
    names.add(name);
    return name;
  };
  let from = new Layout(input, false);
  let i = 0;
  while (i < layers.length) {
    const layer = layers[i];
    const argument = `layers[${i}]`;
    if (layer.kind === "dropout") {
      const previous = stages[stages.length - 1];
      if (previous === undefined || layers[i - 1].kind === "dropout")
        throw new ArgumentError(argument, "dropout", "dropout after a neuron");
      previous.probability = layer.probability;
      i++;
      continue;
    }
    if (layer.kind !== "conv2d" && layer.kind !== "dense") {
      const what =
        layer.kind === "neuron"
          ? "conv2d or dense in front of every neuron"
          : "conv2d or dense; pooling acts on currents, between a conv2d and its neuron";
      throw new ArgumentError(argument, layer.kind, what);
    }
    if (layer.kind === "conv2d" && layer.shortcut) {
      throw new ArgumentError(
        `${argument}.shortcut`,
        layer.shortcut,
        "none: surrogate has no residual blocks",
      );
    }
    const { layout, geometry, shape } = weightGeometry(from, layer, argument);
    const weightName = layer.name ?? `layer${i}`;
    i++;
    let pool: Stage["pool"];
    const next = layers[i];
    if (next?.kind === "avgPool2d" || next?.kind === "maxPool2d") {
      const average = next.kind === "avgPool2d";
      pool = { average, window: next.size, layout: pooledLayout(layout, next.size, `layers[${i}]`) };
      i++;
    }
    const neuron = layers[i];
    if (neuron?.kind !== "neuron")
      throw new ArgumentError(`layers[${i}]`, neuron?.kind, `neuron after ${layers[i - 1].kind}`);
    if (neuron.readout) {
      throw new ArgumentError(`layers[${i}].readout`, true, "false: all neurons of surrogate spike");
    }
    i++;
    const name = neuron.name ?? weightName;
    unique(weightName, argument);
    if (name !== weightName) unique(name, `layers[${i - 1}]`);
    // The constant current of direct input goes through a dense layer for the whole batch at once.
    const first = stages.length === 0 && encoder.kind === "direct";
    const whole = first && layer.kind === "dense";
    const fanIn = shape.slice(1).reduce((a, b) => a * b, 1);
    const threshold = neuron.threshold ?? descriptor.threshold;
    const learned = (key: string, value: number, learn: boolean | undefined) =>
      learn ? parameters.vector(`${name}.${key}`, 1, 1, { kind: "constant", value }) : undefined;
    const recurrent = layer.kind === "dense" && layer.recurrent === true;
    stages.push({
      name,
      kind: layer.kind,
      layout,
      geometry,
      weight: parameters.weight(`${weightName}.weight`, shape, geometry, START, { whole }),
      bias: parameters.vector(`${weightName}.bias`, layer.out, fanIn, START, { whole }),
      recurrent: recurrent
        ? own(layout, (g) =>
            parameters.weight(`${weightName}.recurrent.weight`, [layer.out, layer.out], g, START),
          )
        : undefined,
      pool,
      neurons: pool?.layout ?? layout,
      threshold,
      learnedDecay: learned("decay", descriptor.decay, neuron.learnDecay),
      learnedThreshold: learned("threshold", threshold, neuron.learnThreshold),
      current: whole ? "batch" : first ? "sample" : "step",
      probability: 0,
    });
    from = pool?.layout ?? layout;
  }
  const last = stages[stages.length - 1];
  if (last === undefined || last.neurons.extent.height !== 1 || last.neurons.extent.width !== 1) {
    throw new ArgumentError("layers", layers[layers.length - 1]?.kind, "a dense layer as the last one");
  }
  if (last.probability > 0)
    throw new ArgumentError(`layers[${layers.length - 1}]`, "dropout", "no dropout on the answer");
  return { stages, specs: parameters.specs };
}

/** The synapse from a layer's neurons to themselves. */
function own(layout: Layout, parameter: (geometry: FanoutGeometry) => number): Stage["recurrent"] {
  const geometry = denseGeometry(layout, layout);
  return { geometry, weight: parameter(geometry) };
}

/** `surrogate`, as the library sees it. */
export const surrogateMethod: Method<SurrogateDescriptor> = {
  kind: "surrogate",
  loss: crossEntropy({ on: "membrane" }),
  recurrent: true,
  learnsNeurons: true,
  sources: ["rate", "membrane"],
  check: ({ kind: _, ...rest }) => surrogate(rest),
  expand: SPIKEGRAD_TRAINING ? expand : flatten,
  model(input, layers, descriptor, encoder, loss): Model {
    const { stages, specs } = buildStages(input, layers, descriptor, encoder);
    if (stages[stages.length - 1].recurrent && loss.on !== "rate") {
      const argument = `layers[${layers.length - 2}].recurrent`;
      throw new ArgumentError(argument, true, "false in the last layer, unless the loss reads its rate");
    }
    const layout = new Layout(input, false);
    return {
      parameters: specs,
      layers: stages.map(
        (stage): LayerInfo => ({
          name: stage.name,
          kind: stage.kind,
          extent: stage.neurons.extent,
          spiking: true,
          operations: SPIKEGRAD_TRAINING
            ? stage.geometry.operations + (stage.recurrent?.geometry.operations ?? 0)
            : 0,
        }),
      ),
      ...(SPIKEGRAD_TRAINING
        ? {
            masks: stages
              .filter((stage) => stage.probability > 0)
              .map((stage) => ({ name: stage.name, extent: stage.neurons.extent })),
            meanLoss: meanLoss(loss, "mean"),
            // A rate counts spikes of the last layer, which have no derivative.
            exact: loss.on === "rate" ? undefined : ("smooth" as const),
          }
        : UNTRAINED),
      input,
      classes: stages[stages.length - 1].neurons.extent.channels,
      inputIndex: input.channels > 1 && input.height * input.width > 1 ? layout.positions() : undefined,
      lower: (plan, purpose, bindings) =>
        lowerSurrogate({ stages, input: layout, descriptor, encoder, loss }, plan, purpose, bindings),
    };
  },
};
