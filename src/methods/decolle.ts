import { denseGeometry, type Extent, type FanoutGeometry, Layout, size } from "../core/geometry.ts";
import { type PatchGeometry, patchGeometry } from "../core/patch.ts";
import type { EncoderDescriptor } from "../encoders.ts";
import { ArgumentError } from "../errors.ts";
import type { CanonicalLayer, LayerDescriptor } from "../layers.ts";
import { smoothL1 } from "../losses.ts";
import { choice, integer, number, options, within } from "../validate.ts";
import { ParameterList, pooledLayout, weightGeometry } from "./common.ts";
import { lowerDecolle } from "./decolle-program.ts";
import { flatten } from "./flatten.ts";
import type { Initial, LayerInfo, Method, Model } from "./method.ts";

/** What `decolle` takes. */
export interface DecolleOptions {
  /** Number of classes K, from 1 to 65,536: the size of every readout. */
  readonly classes: number;
  /** α, what a step leaves of the membrane's trace P; in [0, 1). exp(-Δt / τ_mem) for a time constant. Default 0.97. */
  readonly alpha?: number;
  /** β, what a step leaves of the synapse's trace Q; in [0, 1). exp(-Δt / τ_syn). Default 0.92. */
  readonly beta?: number;
  /** ρ, what a step leaves of the refractory state R; in [0, 1). Default 0.65. */
  readonly rho?: number;
  /** How strongly a spike holds the neuron back; 0 or more. Default 1. */
  readonly refractoryWeight?: number;
  /** Steps at the start of a sample without loss, learning or answer; fewer than the encoder's. Default 0. */
  readonly burnIn?: number;
  /** Whether `fit` takes an optimizer step after every time step instead of one a batch. Default true. */
  readonly online?: boolean;
  /** g, weight of the penalty that keeps membranes low and rates off zero; 0 or more. Default 0: none. */
  readonly regularizer?: number;
  /** A and c are uniform in ±readoutScale / sqrt(n) for a readout of n neurons; greater than 0. Default 0.5. */
  readonly readoutScale?: number;
  /**
   * The answer, from the last layer's readout in the steps after burn-in: `"sigmoidSum"`, its sigmoids summed; `"mostCommon"`,
   * in how many steps each class was the largest. Default `"sigmoidSum"`.
   */
  readonly prediction?: "sigmoidSum" | "mostCommon";
}

/** Deep continuous local learning of Kaiser, Mostafa, Neftci 2020. Made by `decolle`. */
export interface DecolleDescriptor extends Required<DecolleOptions> {
  readonly kind: "decolle";
}

const OPTIONS = [
  "classes",
  "alpha",
  "beta",
  "rho",
  "refractoryWeight",
  "burnIn",
  "online",
  "regularizer",
  "readoutScale",
  "prediction",
] as const;

/**
 * Deep continuous local learning: Kaiser, Mostafa, Neftci, "Synaptic plasticity dynamics for deep continuous local learning
 * (DECOLLE)", Frontiers in Neuroscience 14:424 (2020).
 *
 * Forward at every step t, all states 0 at the start, x the input spikes: `P[t] = α P[t-1] + (1 - α) Q[t-1]`,
 * `Q[t] = β Q[t-1] + (1 - β) x[t]`, `R[t] = ρ R[t-1] - (1 - ρ) · refractoryWeight · S[t-1]`, `U = W·P + b + R`, `S = U > 0`. So an
 * input at t reaches U at t + 1. A `maxPool2d` after `conv2d` takes the largest U of each window, U'; the next layer and the readout
 * see `S' = U' > 0` (without a pool U' = U). Every layer has a fixed random readout `r = A·(S' ⊙ dropout) + c` of its own and
 * learns from it alone: nothing is propagated back between layers or steps, so memory does not grow with T.
 *
 * Loss of a layer and step: `smoothL1` of r against the one-hot label, and with `regularizer` g > 0
 * `g · mean(relu(U' + 0.01)) + 0.003 g · relu(mean(0.1 - sigmoid(U')))`, means over batch and units. Gradient at a step:
 * `δ = (Aᵀ dL/dr) / (10 |U'| + 1)² + dRegularizer/dU'`, through the pool to its largest U; `dW += δ ⊗ P`, `db += δ`.
 *
 * Layers: `conv2d`, `dense`, `maxPool2d` after `conv2d`, `dropout` in front of a readout; with biases, and without thresholds. The last
 * layer needs no particular size: the answers `[classes]` are its readout's. Weights start `orthogonal`, biases 0.
 *
 * `fit` with `online` takes an optimizer step after every time step from `burnIn` on (usual: `adamax` with betas 0 and
 * 0.95), otherwise one a batch with the gradients summed over those steps. Accuracy that is counted while learning online is
 * flattered: the label teaches within the sample; `evaluate` does not learn. `gradients` gives the sum over steps, whatever `online`
 * says. Random orthogonal weights leave deeper layers silent or saturated: call `network.normalizeActivity(inputs)` once
 * before training.
 *
 * @param option classes, time constants, learning and readout: see `DecolleOptions`
 * @throws ArgumentError for values out of range, or an unknown option
 */
export function decolle(option: DecolleOptions): DecolleDescriptor {
  const {
    classes,
    alpha = 0.97,
    beta = 0.92,
    rho = 0.65,
    refractoryWeight = 1,
    burnIn = 0,
    online = true,
    regularizer = 0,
    readoutScale = 0.5,
    prediction = "sigmoidSum",
  } = options("decolle", option, OPTIONS);
  integer("decolle.classes", classes, 1, 2 ** 16);
  for (const [name, value] of Object.entries({ alpha, beta, rho })) {
    number(`decolle.${name}`, value, "a number from 0 to less than 1", (v) => v >= 0 && v < 1);
  }
  within("decolle.refractoryWeight", refractoryWeight, 0, 1e6);
  integer("decolle.burnIn", burnIn, 0);
  if (typeof online !== "boolean") throw new ArgumentError("decolle.online", online, "true or false");
  within("decolle.regularizer", regularizer, 0, 1e6);
  number("decolle.readoutScale", readoutScale, "a number greater than 0", (v) => v > 0);
  choice("decolle.prediction", prediction, ["sigmoidSum", "mostCommon"]);
  return {
    kind: "decolle",
    classes,
    alpha,
    beta,
    rho,
    refractoryWeight,
    burnIn,
    online,
    regularizer,
    readoutScale,
    prediction,
  };
}

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
    const { layout, geometry, shape } = weightGeometry(from, layer, argument);
    const fanIn = shape.slice(1).reduce((a, b) => a * b, 1);
    const weight = parameters.weight(`${name}.weight`, shape, geometry, () => ({
      kind: "orthogonal",
      gain: 1,
    }));
    const bias = parameters.vector(`${name}.bias`, layer.out, fanIn, { kind: "constant", value: 0 });
    stages.push({
      name,
      kind: layer.kind,
      from,
      layout,
      geometry,
      patches: layer.kind === "conv2d" ? patchGeometry(from, layout, layer) : undefined,
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
    const weight = parameters.weight(`${name}_weight`, [classes, n], geometry, () => initial, {
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
        operations: geometry.operations,
      }),
    ),
    masks: layers
      .filter((layer) => layer.probability > 0)
      .map(({ name, pooled: { extent } }) => ({ name, extent })),
    input,
    classes: descriptor.classes,
    inputIndex: input.channels > 1 && input.height * input.width > 1 ? layout.positions() : undefined,
    meanLoss: true,
    exact: "smooth",
    blocks: 1,
    local: true,
    online: descriptor.online,
    lower: (plan, purpose, bindings) =>
      lowerDecolle(layers, layout, descriptor, encoder, plan, purpose, bindings),
  };
}

/** `decolle`, as the library sees it. */
export const decolleMethod: Method<DecolleDescriptor> = {
  kind: "decolle",
  loss: smoothL1(),
  losses: ["smoothL1"],
  check: (descriptor) => {
    options("method", descriptor, ["kind", ...OPTIONS]);
    const { kind: _, ...rest } = descriptor;
    return decolle(rest);
  },
  expand,
  model,
};
