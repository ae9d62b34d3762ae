import { convolved, type Extent, Layout } from "../core/geometry.ts";
import { ArgumentError } from "../errors.ts";
import type { CanonicalLayer, LayerDescriptor } from "../layers.ts";
import { crossEntropy, type LossDescriptor } from "../losses.ts";
import { describeExtent, meanLoss, ParameterList, UNTRAINED } from "./common.ts";
import { flatten } from "./flatten.ts";
import type { LayerInfo, Method, Model } from "./method.ts";
import { type StdbpDescriptor, stdbp } from "./stdbp.ts";
import { convSynapse, denseSynapse, lowerStdbp, PANEL, type Stage } from "./stdbp-program.ts";

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
    const parameter = parameters.weight(`${name}.weight`, shape, synapse, START);
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

const START = { kind: "scaledNormal", mean: 0.1, deviation: 0.7 } as const;

/** `stdbp`, as the library sees it. */
export const stdbpMethod: Method<StdbpDescriptor> = {
  kind: "stdbp",
  loss: crossEntropy(),
  continuous: true,
  check: ({ kind: _, ...rest }) => stdbp(rest),
  expand: SPIKEGRAD_TRAINING ? expand : flatten,
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
        operations:
          !SPIKEGRAD_TRAINING || stage.kind === "earliestPool2d"
            ? 0
            : stage.synapse.reach * stage.layout.extent.channels,
      }),
    );
    return {
      parameters: specs,
      layers: infos,
      input,
      classes: stages[stages.length - 1].layout.extent.channels,
      inputIndex: input.channels > 1 && input.height * input.width > 1 ? layout.positions() : undefined,
      earliest: true,
      // Panels of weights take all samples in turn, and add up their gradients themselves.
      blocks: 1,
      // A dense network's weights are fetched once for so many samples; a convolution's stay in cache, and each takes long.
      together: stages.some(({ kind }) => kind === "conv2d") ? 16 : 64,
      ...(SPIKEGRAD_TRAINING
        ? {
            masks: [],
            meanLoss: meanLoss(loss, "mean"),
            // Guards and stand-ins change the gradient, not the loss.
            exact:
              descriptor.inverseBound || descriptor.gradientLimit || descriptor.silentDelay
                ? undefined
                : ("loss" as const),
            // A nudge changes weights beside the optimizer, so the program takes both steps.
            online: descriptor.silentNudge > 0,
          }
        : UNTRAINED),
      lower: (plan, purpose, bindings) =>
        lowerStdbp(stages, layout, descriptor, encoder, loss, plan, purpose, bindings),
    };
  },
};
