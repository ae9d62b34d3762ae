import { convolved, type Extent, Layout } from "../core/geometry.ts";
import { ArgumentError } from "../errors.ts";
import { initialOf } from "../initializers.ts";
import type { CanonicalLayer, LayerDescriptor } from "../layers.ts";
import { crossEntropy, type LossDescriptor } from "../losses.ts";
import { options, positive, within } from "../validate.ts";
import { describeExtent, meanLoss, ParameterList } from "./common.ts";
import { flatten } from "./flatten.ts";
import type { LayerInfo, Method, Model } from "./method.ts";
import { convSynapse, denseSynapse, lowerStdbp, PANEL, type Stage } from "./stdbp-program.ts";

/** What `stdbp` takes. 0 switches everything but `threshold` and `temperature` off. */
export interface StdbpOptions {
  /**
   * θ of every neuron whose `neuron({ threshold })` says nothing else, in units of weight × time; greater than 0. Default 1.
   */
  readonly threshold?: number;
  /** τ of `softmax(-t / τ)` in the loss, in the unit of the times; greater than 0. Default 1. */
  readonly temperature?: number;
  /** K adds `K · mean_j max(0, threshold - Σ_i w_ij)` for every layer to the loss while training; 0 or more. Default 0. */
  readonly weightSumPenalty?: number;
  /** 1/A in the gradients is at most this, in 1/weight. Default 0: no bound. */
  readonly inverseBound?: number;
  /** A neuron with `|dL/dt_j / A|` above it passes no gradient for that sample. Default 0: no limit. */
  readonly gradientLimit?: number;
  /**
   * Added to all weights of a neuron that was silent for a whole batch of `fit`, twice as much for each batch that it stays so,
   * at most its threshold. Default 0.
   */
  readonly silentNudge?: number;
  /**
   * A silent output counts in the loss as if it fired this many temperatures after the latest output, a constant that has no
   * gradient. Default 0: without it a silent output of the label makes the loss infinite.
   */
  readonly silentDelay?: number;
  /**
   * The label's silent output learns as if it had fired at that delay, after all its inputs, with this as its 1/A. Needs
   * `silentDelay`. Default 0.
   */
  readonly labelNudge?: number;
}

/** Spike-timing-dependent backpropagation of Zhang et al. 2020. Made by `stdbp`. */
export interface StdbpDescriptor extends Required<StdbpOptions> {
  readonly kind: "stdbp";
}

const KEYS = [
  "threshold",
  "temperature",
  "weightSumPenalty",
  "inverseBound",
  "gradientLimit",
  "silentNudge",
  "silentDelay",
  "labelNudge",
] as const;

/**
 * Spike-timing-dependent backpropagation with the rectified linear postsynaptic potential: Zhang, Wang, Amornpaisannon et
 * al., "Rectified linear postsynaptic potential function for backpropagation in deep spiking neural networks",
 * arXiv 2003.11837 (2020), IEEE TNNLS (2021).
 *
 * Continuous time, at most one spike a neuron. `V_j(t) = Σ_i w_ij · max(0, t - t_i)`; neuron j fires when V_j first reaches
 * θ. With C the inputs before t_j and `A = Σ_C w_ij`: `t_j = (θ + Σ_C w_ij t_i) / A`, where A > 0 and the time comes before the next
 * input; `dt_j/dw_ij = (t_i - t_j) / A`, `dt_j/dt_i = w_ij / A` for i in C, 0 otherwise. Inputs at the same time enter together. A
 * neuron that does not reach θ stays silent (`Infinity`) and has no gradient.
 *
 * Layers: `conv2d`, `dense`, `earliestPool2d`; no biases. Weights start as `scaledNormal({ mean: 0.1, deviation: 0.7 })` unless the
 * network or a layer says otherwise. Encoders: `times()`, `firstSpike()`; all times in one unit, the encoder's. The answers
 * `[classes]` are the output neurons' times, the earliest is the class; the loss is `crossEntropy` of `softmax(-t / temperature)`, mean over
 * the batch.
 *
 * The paper's scales and guards are not known; what training needs beyond these equations is optional and off. Seen to work on
 * MNIST (784-400-10, 98 % of the test set): `firstSpike({ noise: 0.1 })`, `temperature: 0.05`, `weightSumPenalty: 1`, `inverseBound: 10`,
 * `silentDelay: 0.5`, `labelNudge: 10`, Adam 1e-3 with a cosine schedule: `preset("stdbp-400")`.
 *
 * @param option threshold, temperature, and guards: see `StdbpOptions`
 * @throws ArgumentError for values out of range, a `labelNudge` without a `silentDelay`, or an unknown option
 */
export function stdbp(option?: StdbpOptions): StdbpDescriptor {
  const {
    threshold = 1,
    temperature = 1,
    weightSumPenalty = 0,
    inverseBound = 0,
    gradientLimit = 0,
    silentNudge = 0,
    silentDelay = 0,
    labelNudge = 0,
  } = options("stdbp", option, KEYS);
  positive("stdbp.threshold", threshold);
  positive("stdbp.temperature", temperature);
  within("stdbp.weightSumPenalty", weightSumPenalty, 0, 1e6);
  within("stdbp.inverseBound", inverseBound, 0, 1e30);
  within("stdbp.gradientLimit", gradientLimit, 0, 1e30);
  within("stdbp.silentNudge", silentNudge, 0, 1e6);
  within("stdbp.silentDelay", silentDelay, 0, 1e6);
  within("stdbp.labelNudge", labelNudge, 0, 1e6);
  if (labelNudge > 0 && silentDelay === 0) {
    throw new ArgumentError(
      "stdbp.labelNudge",
      labelNudge,
      "0 without a silentDelay, which says where it fires",
    );
  }
  return {
    kind: "stdbp",
    threshold,
    temperature,
    weightSumPenalty,
    inverseBound,
    gradientLimit,
    silentNudge,
    silentDelay,
    labelNudge,
  };
}

function expand(layers: readonly LayerDescriptor[], descriptor: StdbpDescriptor): CanonicalLayer[] {
  const list = flatten(layers);
  if (list.some((layer) => layer.kind === "neuron")) return list;
  return list.flatMap((layer): CanonicalLayer[] =>
    layer.kind === "conv2d" || layer.kind === "dense"
      ? [layer, { kind: "neuron", threshold: descriptor.threshold }]
      : [layer],
  );
}

/** Why a layer has no place among spike times. */
const REASONS: Readonly<Record<string, string>> = {
  avgPool2d: "earliestPool2d: single spikes have times, and an average of times is no spike",
  maxPool2d: "earliestPool2d: of single spikes the earliest counts",
  dropout: "no dropout: what stdbp has instead is noise on the input times, firstSpike({ noise })",
  batchNorm: "no normalisation: single spikes give no current that a batch could normalise",
  relu: "no relu: what reaches a neuron is spikes",
};

function refuse(argument: string, kind: string | undefined, otherwise: string): ArgumentError {
  return new ArgumentError(argument, kind, REASONS[kind ?? ""] ?? otherwise);
}

function buildStages(input: Extent, layers: readonly CanonicalLayer[], descriptor: StdbpDescriptor) {
  const stages: Stage[] = [];
  const parameters = new ParameterList();
  let from = new Layout(input, false);
  for (let i = 0; i < layers.length; i++) {
    const layer = layers[i];
    const argument = `layers[${i}]`;
    if (layer.kind !== "conv2d" && layer.kind !== "dense" && layer.kind !== "earliestPool2d") {
      throw refuse(argument, layer.kind, "conv2d or dense in front of every neuron");
    }
    const name = layer.name ?? `layer${i}`;
    if (stages.some((stage) => stage.name === name)) {
      throw new ArgumentError(`${argument}.name`, name, "a name that no other layer has");
    }
    const { channels, height, width } = from.extent;
    if (layer.kind === "earliestPool2d") {
      const pooled = {
        channels,
        height: Math.floor(height / layer.size),
        width: Math.floor(width / layer.size),
      };
      if (pooled.height < 1 || pooled.width < 1) {
        throw new ArgumentError(
          `${argument}.size`,
          layer.size,
          `at most ${Math.min(height, width)}, the side of its input ${describeExtent(from.extent)}`,
        );
      }
      const layout = new Layout(pooled, PANEL);
      stages.push({ kind: "earliestPool2d", name, from, layout, window: layer.size });
      from = layout;
      continue;
    }
    const next = layers[i + 1];
    if (next?.kind !== "neuron") throw refuse(`layers[${i + 1}]`, next?.kind, `neuron after ${layer.kind}`);
    if (next.readout)
      throw new ArgumentError(`layers[${i + 1}].readout`, true, "false: the answer is the time of a spike");
    i++;
    let layout: Layout;
    let shape: number[];
    let synapse: (Stage & { kind: "dense" | "conv2d" })["synapse"];
    if (layer.kind === "dense") {
      layout = new Layout({ channels: layer.out, height: 1, width: 1 }, PANEL);
      shape = [layer.out, channels * height * width];
      synapse = denseSynapse(from, layer.out);
    } else {
      if (layer.shortcut)
        throw new ArgumentError(
          `${argument}.shortcut`,
          layer.shortcut,
          "none: single spikes cannot be added",
        );
      const { kernel, stride, padding } = layer;
      const extent = {
        channels: layer.out,
        height: convolved(height, kernel, stride, padding),
        width: convolved(width, kernel, stride, padding),
      };
      if (extent.height < 1 || extent.width < 1) {
        throw new ArgumentError(
          `${argument}.kernel`,
          kernel,
          `at most ${Math.min(height, width) + 2 * padding}, the padded side of its input ${describeExtent(from.extent)}`,
        );
      }
      layout = new Layout(extent, PANEL);
      shape = [layer.out, channels, kernel, kernel];
      synapse = convSynapse(from, extent, kernel, stride, padding);
    }
    const parameter = parameters.weight(`${name}.weight`, shape, synapse, initial);
    const fanIn = shape.slice(1).reduce((a, b) => a * b, 1);
    const nudge =
      descriptor.silentNudge > 0
        ? parameters.vector(
            `${name}.nudge`,
            layer.out,
            fanIn,
            { kind: "constant", value: 0 },
            { trainable: false },
          )
        : -1;
    const threshold = next.threshold ?? descriptor.threshold;
    stages.push({ kind: layer.kind, name, from, layout, synapse, parameter, nudge, threshold });
    from = layout;
  }
  const last = stages[stages.length - 1];
  if (last?.kind !== "dense")
    throw new ArgumentError("layers", last?.kind, "a dense layer as the last one: its times are the answer");
  return { stages, specs: parameters.specs };
}

const initial = (fanIn: number) => initialOf({ kind: "scaledNormal", mean: 0.1, deviation: 0.7 }, fanIn);

/** `stdbp`, as the library sees it. */
export const stdbpMethod: Method<StdbpDescriptor> = {
  kind: "stdbp",
  loss: crossEntropy(),
  continuous: true,
  check: ({ kind: _, ...rest }) => stdbp(rest),
  expand,
  model(input, layers, descriptor, encoder, loss: LossDescriptor): Model {
    if (loss.kind !== "crossEntropy")
      throw new ArgumentError("loss", loss.kind, "crossEntropy(): of softmax(-t / temperature)");
    const { stages, specs } = buildStages(input, layers, descriptor);
    const layout = new Layout(input, false);
    const infos = stages.map(
      (stage): LayerInfo => ({
        name: stage.name,
        kind: stage.kind,
        extent: stage.layout.extent,
        spiking: true,
        operations: stage.kind === "earliestPool2d" ? 0 : stage.synapse.reach * stage.layout.extent.channels,
      }),
    );
    return {
      parameters: specs,
      layers: infos,
      masks: [],
      input,
      classes: stages[stages.length - 1].layout.extent.channels,
      inputIndex: input.channels > 1 && input.height * input.width > 1 ? layout.positions() : undefined,
      earliest: true,
      meanLoss: meanLoss(loss, "mean"),
      // Guards and stand-ins change the gradient, not the loss.
      exact:
        descriptor.inverseBound || descriptor.gradientLimit || descriptor.silentDelay ? undefined : "loss",
      // Panels of weights take all samples in turn, and add up their gradients themselves.
      blocks: 1,
      together: 16,
      // A nudge changes weights beside the optimizer, so the program takes both steps.
      online: descriptor.silentNudge > 0,
      lower: (plan, purpose, bindings) =>
        lowerStdbp(stages, layout, descriptor, encoder, loss, plan, purpose, bindings),
    };
  },
};
