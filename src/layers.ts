import { ArgumentError } from "./errors.ts";
import { checkInitializer, type InitializerDescriptor } from "./initializers.ts";
import { integer, number, options, positive, within } from "./validate.ts";

/** An earlier layer's spikes, added to a convolution's current. */
export interface Shortcut {
  /** Name of the layer whose output spikes are added. */
  readonly from: string;
  /** Through a learned 1×1 convolution (no padding, no bias); otherwise every `stride`-th row and column is taken. */
  readonly conv: boolean;
  /** Step in rows and columns. */
  readonly stride: number;
}

/** Two-dimensional convolution, weights `[out, in, kernel, kernel]`. */
export interface Conv2dLayer {
  readonly kind: "conv2d";
  readonly name?: string;
  readonly out: number;
  readonly kernel: number;
  readonly stride: number;
  readonly padding: number;
  readonly shortcut?: Shortcut;
  readonly initializer?: InitializerDescriptor;
}

/** Fully connected layer, weights `[out, in]`; input is flattened in the order C, H, W. */
export interface DenseLayer {
  readonly kind: "dense";
  readonly name?: string;
  readonly out: number;
  /** Its neurons' spikes of the step before are a second input, with weights `[out, out]`. */
  readonly recurrent?: boolean;
  readonly initializer?: InitializerDescriptor;
}

/** Average pooling over `size`×`size` windows that do not overlap. With `lee` it spikes at `threshold`. */
export interface AvgPool2dLayer {
  readonly kind: "avgPool2d";
  readonly name?: string;
  readonly size: number;
  readonly threshold: number;
}

/** Largest of `size`×`size` windows that do not overlap. */
export interface MaxPool2dLayer {
  readonly kind: "maxPool2d";
  readonly name?: string;
  readonly size: number;
}

/** Earliest spike of each `size`×`size` window; the windows do not overlap. */
export interface EarliestPool2dLayer {
  readonly kind: "earliestPool2d";
  readonly name?: string;
  readonly size: number;
}

/** Batch normalisation of a synapse's currents, `bpsta` only. */
export interface BatchNormLayer {
  readonly kind: "batchNorm";
  readonly name?: string;
  readonly momentum: number;
  readonly epsilon: number;
}

/** Currents below 0 count 0, `bpsta` only. */
export interface ReluLayer {
  readonly kind: "relu";
  readonly name?: string;
}

/** Spiking neurons of the network's method. */
export interface NeuronLayer {
  readonly kind: "neuron";
  readonly name?: string;
  /** Threshold of this layer; the method's if left out. */
  readonly threshold?: number;
  /** The non-spiking layer whose membranes are the network's answer. */
  readonly readout?: boolean;
  /** The layer's decay, or threshold, is a parameter that training changes. */
  readonly learnDecay?: boolean;
  readonly learnThreshold?: boolean;
}

/** Dropout on the spikes of the layer before: a mask of 0 and 1/(1-p), drawn once a sample, held for all steps. */
export interface DropoutLayer {
  readonly kind: "dropout";
  readonly name?: string;
  readonly probability: number;
}

/** Layers with a way around them. Only in the list a user gives; the canonical list has `shortcut` instead. */
export interface ResidualBlock {
  readonly kind: "residual";
  readonly layers: readonly LayerDescriptor[];
  readonly conv: boolean;
  readonly stride: number;
}

/** What a canonical list is made of. */
export type CanonicalLayer =
  | Conv2dLayer
  | DenseLayer
  | AvgPool2dLayer
  | MaxPool2dLayer
  | EarliestPool2dLayer
  | BatchNormLayer
  | ReluLayer
  | NeuronLayer
  | DropoutLayer;

/** What a user may list. Plain data: JSON can hold it. */
export type LayerDescriptor = CanonicalLayer | ResidualBlock;

function initialized<T extends Conv2dLayer | DenseLayer>(
  layer: T,
  initializer: InitializerDescriptor | undefined,
): T {
  if (initializer === undefined) return layer;
  return { ...layer, initializer: checkInitializer(`${layer.kind}.initializer`, initializer) };
}

function named<T extends { readonly kind: string }>(layer: T, name: string | undefined): T {
  if (name === undefined) return layer;
  if (typeof name !== "string" || !/^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}$/.test(name)) {
    throw new ArgumentError(
      `${layer.kind}.name`,
      name,
      "1 to 64 letters, digits, dots, dashes or underscores",
    );
  }
  return { ...layer, name };
}

/**
 * Two-dimensional convolution: input `[C, H, W]`, output `[out, H', W']` with
 * `H' = floor((H + 2·padding - kernel) / stride) + 1`. Weights `[out, C, kernel, kernel]`; biases `[out]` where
 * the method has them (all but `lee` and `stdbp`).
 *
 * @param out number of output channels
 * @param kernel side of the square kernel
 * @param option `stride` (1), `padding` (0) in pixels of zeros; `name` (`layer` and its place in the list); `shortcut`; `initializer`: how the
 *   weights, those of the shortcut too, start (the network's)
 * @throws ArgumentError for anything that is not a positive integer (`padding` may be 0)
 */
export function conv2d(
  out: number,
  kernel: number,
  option?: {
    stride?: number;
    padding?: number;
    name?: string;
    shortcut?: Shortcut;
    initializer?: InitializerDescriptor;
  },
): Conv2dLayer {
  const {
    stride = 1,
    padding = 0,
    name,
    shortcut,
    initializer,
  } = options("conv2d options", option, ["stride", "padding", "name", "shortcut", "initializer"]);
  integer("conv2d.out", out, 1, 2 ** 16);
  integer("conv2d.kernel", kernel, 1, 255);
  integer("conv2d.stride", stride, 1, 255);
  integer("conv2d.padding", padding, 0, 1024);
  const layer = initialized<Conv2dLayer>({ kind: "conv2d", out, kernel, stride, padding }, initializer);
  if (shortcut === undefined) return named(layer, name);
  options("conv2d.shortcut", shortcut, ["from", "conv", "stride"]);
  if (typeof shortcut.from !== "string")
    throw new ArgumentError("conv2d.shortcut.from", shortcut.from, "the name of an earlier layer");
  if (typeof shortcut.conv !== "boolean")
    throw new ArgumentError("conv2d.shortcut.conv", shortcut.conv, "true or false");
  integer("conv2d.shortcut.stride", shortcut.stride, 1, 255);
  return named(
    { ...layer, shortcut: { from: shortcut.from, conv: shortcut.conv, stride: shortcut.stride } },
    name,
  );
}

/**
 * Fully connected layer: input of any shape, flattened in the order C, H, W; output `[out]`. Weights `[out, in]`; biases
 * `[out]` where the method has them (all but `lee` and `stdbp`).
 *
 * @param out number of output neurons
 * @param option `name` (`layer` and its place in the list); `recurrent` (false; `surrogate` only): the spikes of its own
 *   neurons at the step before are a second input, with weights `[out, out]`; `initializer`: how the weights start (the network's)
 * @throws ArgumentError unless `out` is a positive integer
 */
export function dense(
  out: number,
  option?: { name?: string; recurrent?: boolean; initializer?: InitializerDescriptor },
): DenseLayer {
  const known = ["name", "recurrent", "initializer"];
  const { name, recurrent, initializer } = options("dense options", option, known);
  integer("dense.out", out, 1, 2 ** 22);
  if (recurrent !== undefined && typeof recurrent !== "boolean")
    throw new ArgumentError("dense.recurrent", recurrent, "true or false");
  const layer: DenseLayer = recurrent ? { kind: "dense", out, recurrent } : { kind: "dense", out };
  return named(initialized(layer, initializer), name);
}

/**
 * Average pooling over windows of `size`×`size` that do not overlap; input `[C, H, W]`, output
 * `[C, floor(H / size), floor(W / size)]`. With `lee` the pool spikes: `u = v + mean of the window`, `s = u > threshold`,
 * `v = s ? 0 : u`, without leak (Lee et al. 2020, threshold 0.75). With `surrogate` it
 * averages currents in front of a neuron, and has no threshold.
 *
 * @throws ArgumentError unless `size` is a positive integer and `threshold` a positive number
 */
export function avgPool2d(size: number, option?: { threshold?: number; name?: string }): AvgPool2dLayer {
  const { threshold = 0.75, name } = options("avgPool2d options", option, ["threshold", "name"]);
  integer("avgPool2d.size", size, 1, 1024);
  positive("avgPool2d.threshold", threshold);
  return named({ kind: "avgPool2d", size, threshold }, name);
}

/**
 * Largest value of windows of `size`×`size` that do not overlap; input `[C, H, W]`, output
 * `[C, floor(H / size), floor(W / size)]`. A maximum that occurs twice in a window passes its gradient to the first in
 * row-major order.
 *
 * @throws ArgumentError unless `size` is a positive integer
 */
export function maxPool2d(size: number, option?: { name?: string }): MaxPool2dLayer {
  const { name } = options("maxPool2d options", option, ["name"]);
  return named({ kind: "maxPool2d", size: integer("maxPool2d.size", size, 1, 1024) }, name);
}

/**
 * Pooling of spike times, for `stdbp`: the earliest time of each window of `size`×`size`, which do not overlap; input
 * `[C, H, W]`, output `[C, floor(H / size), floor(W / size)]`. A time that occurs twice in a window passes its gradient to
 * the first in row-major order (Zhang et al. 2020).
 *
 * @throws ArgumentError unless `size` is a positive integer
 */
export function earliestPool2d(size: number, option?: { name?: string }): EarliestPool2dLayer {
  const { name } = options("earliestPool2d options", option, ["name"]);
  return named({ kind: "earliestPool2d", size: integer("earliestPool2d.size", size, 1, 1024) }, name);
}

/**
 * Batch normalisation of the currents of the `conv2d` or `dense` in front, a channel at a time:
 * `y = (I - mean) / sqrt(variance + epsilon) · weight + bias` (Ioffe and Szegedy 2015). Training takes mean and (biased)
 * variance of each time step over batch and positions, and moves the running ones by `momentum` at each step, the
 * variance by its unbiased value; evaluating uses the running ones. Parameters `<name>.weight` (1) and `<name>.bias` (0);
 * statistics `<name>.running_mean` (0) and `<name>.running_var` (1).
 *
 * @param option `momentum` (0.1) in [0, 1]; `epsilon` (1e-5) greater than 0
 * @throws ArgumentError for values out of range
 */
export function batchNorm(option?: { momentum?: number; epsilon?: number; name?: string }): BatchNormLayer {
  const {
    momentum = 0.1,
    epsilon = 1e-5,
    name,
  } = options("batchNorm", option, ["momentum", "epsilon", "name"]);
  within("batchNorm.momentum", momentum, 0, 1);
  positive("batchNorm.epsilon", epsilon);
  return named({ kind: "batchNorm", momentum, epsilon }, name);
}

/** Currents below 0 count 0: `max(0, I)`. */
export function relu(option?: { name?: string }): ReluLayer {
  const { name } = options("relu", option, ["name"]);
  return named({ kind: "relu" }, name);
}

/**
 * Dropout on the spikes of the layer before it: while training each neuron is silenced with probability `probability` for
 * a whole sample, the others count `1 / (1 - probability)`; when evaluating every spike counts 1.
 *
 * @throws ArgumentError unless 0 <= probability < 1
 */
export function dropout(probability: number, option?: { name?: string }): DropoutLayer {
  const { name } = options("dropout options", option, ["name"]);
  number(
    "dropout.probability",
    probability,
    "a number from 0 to less than 1",
    (p) => p >= 0 && Math.fround(p) < 1,
  );
  return named({ kind: "dropout", probability }, name);
}

/**
 * Spiking neurons of the network's method. A list without any gets one after each weight layer; a list with one is taken
 * as it stands.
 *
 * @param option `threshold`: the method's if left out; `readout`: the non-spiking output layer; `learnDecay` and
 *   `learnThreshold` (false; `surrogate` only): the layer's decay (used within [0, 1]) and threshold (used at 0 or above) are
 *   parameters of one element, `<name>.decay` and `<name>.threshold`, that start at the method's or the layer's value
 */
export function neuron(option?: {
  threshold?: number;
  readout?: boolean;
  learnDecay?: boolean;
  learnThreshold?: boolean;
  name?: string;
}): NeuronLayer {
  const known = ["threshold", "readout", "learnDecay", "learnThreshold", "name"];
  const { threshold, readout, learnDecay, learnThreshold, name } = options("neuron options", option, known);
  let layer: NeuronLayer = { kind: "neuron" };
  if (threshold !== undefined) layer = { ...layer, threshold: positive("neuron.threshold", threshold) };
  if (readout !== undefined && typeof readout !== "boolean")
    throw new ArgumentError("neuron.readout", readout, "true or false");
  if (readout) layer = { ...layer, readout };
  for (const [key, value] of Object.entries({ learnDecay, learnThreshold })) {
    if (value !== undefined && typeof value !== "boolean")
      throw new ArgumentError(`neuron.${key}`, value, "true or false");
    if (value) layer = { ...layer, [key]: value };
  }
  return named(layer, name);
}

/**
 * A residual block: `layers`, and a way around them. The spikes of the layer before the block are added to the current
 * of the block's last convolution, through a 1×1 convolution (`conv: true`) or taken at every `stride`-th row and column.
 *
 * @param layers the block, ending in a `conv2d`
 * @param option `conv` (true); `stride` (the product of the strides in the block)
 */
export function residual(
  layers: readonly LayerDescriptor[],
  option?: { conv?: boolean; stride?: number },
): ResidualBlock {
  const { conv = true, stride } = options("residual options", option, ["conv", "stride"]);
  if (!Array.isArray(layers) || layers.length === 0)
    throw new ArgumentError("residual.layers", layers, "a list of layers that ends in conv2d");
  let product = 1;
  // Plain data may leave its stride out, or be none at all: the block's layers are checked in their turn.
  for (const layer of layers)
    if (layer?.kind === "conv2d" && Number.isInteger(layer.stride)) product *= layer.stride;
  const last = layers[layers.length - 1];
  if (last?.kind !== "conv2d")
    throw new ArgumentError("residual.layers", last?.kind ?? last, "a block whose last layer is conv2d");
  if (typeof conv !== "boolean") throw new ArgumentError("residual.conv", conv, "true or false");
  return { kind: "residual", layers, conv, stride: integer("residual.stride", stride ?? product, 1, 255) };
}

type Maker = (fields: never) => LayerDescriptor;

const LAYERS: { readonly [K in LayerDescriptor["kind"]]: Maker } = {
  conv2d: ({ out, kernel, ...rest }: Conv2dLayer) => conv2d(out, kernel, rest),
  dense: ({ out, ...rest }: DenseLayer) => dense(out, rest),
  avgPool2d: ({ size, ...rest }: AvgPool2dLayer) => avgPool2d(size, rest),
  maxPool2d: ({ size, ...rest }: MaxPool2dLayer) => maxPool2d(size, rest),
  earliestPool2d: ({ size, ...rest }: EarliestPool2dLayer) => earliestPool2d(size, rest),
  batchNorm,
  relu,
  neuron,
  dropout: ({ probability, ...rest }: DropoutLayer) => dropout(probability, rest),
  residual: ({ layers, ...rest }: ResidualBlock) => residual(layers, rest),
};

/** Checks a descriptor that came from outside; `argument` names it in errors. Its fields come in a fixed order. */
export function checkLayer<T extends LayerDescriptor>(argument: string, layer: T): T {
  const kind = (layer as { readonly kind?: unknown } | null | undefined)?.kind;
  if (typeof kind !== "string" || !Object.hasOwn(LAYERS, kind))
    throw new ArgumentError(argument, kind ?? layer, `a layer: one of ${Object.keys(LAYERS).join(", ")}`);
  const { kind: _, ...fields } = layer;
  try {
    return LAYERS[layer.kind](fields as never) as T;
  } catch (error) {
    if (!(error instanceof ArgumentError) || error.argument === undefined) throw error;
    const field = error.argument.replace(/^\w+( options)?/, argument);
    throw new ArgumentError(field, error.value, error.expected ?? "", { cause: error });
  }
}
