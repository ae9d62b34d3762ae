import { denseGeometry, type Extent, type FanoutGeometry, Layout } from "../core/geometry.ts";
import type { EncoderDescriptor } from "../encoders.ts";
import { ArgumentError } from "../errors.ts";
import { initialOf } from "../initializers.ts";
import type { CanonicalLayer, LayerDescriptor } from "../layers.ts";
import { crossEntropy } from "../losses.ts";
import { choice, number, options, positive, within } from "../validate.ts";
import { meanLoss, ParameterList, pooledLayout, weightGeometry } from "./common.ts";
import { flatten } from "./flatten.ts";
import type { LayerInfo, Method, Model } from "./method.ts";
import { lowerSurrogate, type Stage } from "./surrogate-program.ts";

/** What stands for the derivative of the spike: see `surrogate`. */
export type SurrogateDerivative = "fastSigmoid" | "atan" | "boxcar";

/** What `surrogate` takes. */
export interface SurrogateOptions {
  /** β, what a step leaves of a membrane; in [0, 1]. Where `neuron({ learnDecay })` learns it: where it starts. Default 0.95. */
  readonly decay?: number;
  /** α, what a step leaves of the synaptic current; in [0, 1). Default: none, the current acts at once. */
  readonly synapticDecay?: number;
  /** θ of every neuron whose `neuron({ threshold })` says nothing else, in units of the current; greater than 0. Default 1. */
  readonly threshold?: number;
  /** What stands for ds/du. Default `"fastSigmoid"`. */
  readonly derivative?: SurrogateDerivative;
  /** k, how narrow it is, in 1/membrane; greater than 0; not for `"boxcar"`. Default 25, with `"atan"` 2. */
  readonly slope?: number;
  /** What a spike does to the membrane, a step later: `"subtract"` the threshold, or set what is left of it to `"zero"`. Default `"subtract"`. */
  readonly reset?: "subtract" | "zero";
}

/** Back-propagation through time with a surrogate derivative. Made by `surrogate`. */
export interface SurrogateDescriptor {
  readonly kind: "surrogate";
  /** β, what a step leaves of a membrane. */
  readonly decay: number;
  /** α, what a step leaves of the synaptic current; left out: the current acts at once. */
  readonly synapticDecay?: number;
  /** θ of neurons that have none of their own. */
  readonly threshold: number;
  /** What stands for ds/du. */
  readonly derivative: SurrogateDerivative;
  /** k, how narrow it is. */
  readonly slope: number;
  /** What a spike does to the membrane, a step later. */
  readonly reset: "subtract" | "zero";
}

const SLOPES: Readonly<Record<SurrogateDerivative, number>> = { fastSigmoid: 25, atan: 2, boxcar: 1 };

/**
 * Back-propagation through time with a surrogate derivative, as users of snnTorch (`Leaky`, `Synaptic`) and SpikingJelly know
 * it: Neftci, Mostafa, Zenke, IEEE Signal Processing Magazine 36 (2019); Eshraghian et al., Proceedings of the IEEE 111 (2023).
 *
 * Forward, at each step t, with u a neuron's membrane, I its synaptic current, θ its threshold: `r[t] = u[t-1] > θ`,
 * `c[t] = α c[t-1] + I[t]` (without `synapticDecay` c = I), `u[t] = β u[t-1] + c[t] - r[t] θ` (reset `"subtract"`) or
 * `β (1 - r[t]) u[t-1] + c[t]` (reset `"zero"`), `s[t] = u[t] > θ`.
 *
 * Backward, with `G[t]` = dL/ds[t]: `U[t] = G[t] · ds/du + β U[t+1]` (reset `"zero"`: the second term times `1 - r[t+1]`),
 * `D[t] = dL/dI[t] = U[t] + α D[t+1]`. No gradient passes through r. For ds/du stands, with k the `slope` and x = u - θ:
 * `1 / (k |x| + 1)²` (`"fastSigmoid"`), `(k/2) / (1 + (π k x / 2)²)` (`"atan"`), or 1 where |x| < 1/2 (`"boxcar"`).
 *
 * Layers: `conv2d`, `dense` (also recurrent: adds `V o[t-1]` to its current, o its own neurons' spikes after dropout), `avgPool2d` and
 * `maxPool2d` in front of a neuron (acting on currents), `dropout`; with biases. Weights and biases start by `torchUniform`. Decays
 * and thresholds can be learned: `neuron({ learnDecay, learnThreshold })`.
 *
 * The loss is a mean over the batch. `crossEntropy({ on: "membrane" })`, the default, is summed over the steps and reads the
 * last layer's membranes u[t]; the answer is then their mean over the steps. With `{ on: "rate" }` the answer is the last
 * layer's spikes over T, and the loss reads that. (snnTorch's tutorials train on membranes and count spikes to name the class;
 * the counts are in `gradients({ record: ["spikes"] })`. The mean membrane has no ties.)
 *
 * @param option decays, threshold, derivative and reset: see `SurrogateOptions`
 * @throws ArgumentError for values out of range, a `slope` with `"boxcar"`, or an unknown option
 */
export function surrogate(option?: SurrogateOptions): SurrogateDescriptor {
  const known = ["decay", "synapticDecay", "threshold", "derivative", "slope", "reset"];
  const given = options("surrogate", option, known);
  const {
    decay = 0.95,
    synapticDecay,
    threshold = 1,
    derivative = "fastSigmoid",
    reset = "subtract",
  } = given;
  within("surrogate.decay", decay, 0, 1);
  if (synapticDecay !== undefined) {
    number(
      "surrogate.synapticDecay",
      synapticDecay,
      "a number from 0 to less than 1",
      (v) => v >= 0 && v < 1,
    );
  }
  positive("surrogate.threshold", threshold);
  choice("surrogate.derivative", derivative, ["fastSigmoid", "atan", "boxcar"]);
  choice("surrogate.reset", reset, ["subtract", "zero"]);
  const slope = positive("surrogate.slope", given.slope ?? SLOPES[derivative]);
  if (derivative === "boxcar" && slope !== SLOPES.boxcar) {
    throw new ArgumentError(
      "surrogate.slope",
      slope,
      'no slope: the "boxcar" is 1 where |u - threshold| < 1/2',
    );
  }
  const synaptic = synapticDecay === undefined ? {} : { synapticDecay };
  return { kind: "surrogate", decay, ...synaptic, threshold, derivative, slope, reset };
}

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

const uniform = (fanIn: number) => initialOf({ kind: "torchUniform" }, fanIn);

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
      weight: parameters.weight(`${weightName}.weight`, shape, geometry, uniform, { whole }),
      bias: parameters.vector(`${weightName}.bias`, layer.out, fanIn, uniform(fanIn), { whole }),
      recurrent: recurrent
        ? own(layout, (g) =>
            parameters.weight(`${weightName}.recurrent.weight`, [layer.out, layer.out], g, uniform),
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
  expand,
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
          operations: stage.geometry.operations + (stage.recurrent?.geometry.operations ?? 0),
        }),
      ),
      masks: stages
        .filter((stage) => stage.probability > 0)
        .map((stage) => ({ name: stage.name, extent: stage.neurons.extent })),
      input,
      classes: stages[stages.length - 1].neurons.extent.channels,
      inputIndex: input.channels > 1 && input.height * input.width > 1 ? layout.positions() : undefined,
      meanLoss: meanLoss(loss, "mean"),
      // A rate counts spikes of the last layer, which have no derivative.
      exact: loss.on === "rate" ? undefined : "smooth",
      lower: (plan, purpose, bindings) =>
        lowerSurrogate({ stages, input: layout, descriptor, encoder, loss }, plan, purpose, bindings),
    };
  },
};
