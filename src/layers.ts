import { ArgumentError } from "./errors.ts";
import { checkInitializer, type InitializerDescriptor } from "./initializers.ts";
import {
  aBoolean,
  aFlag,
  aNumberWithin,
  anInteger,
  aPositive,
  aShare,
  type Check,
  described,
  fields,
  optional,
  options,
} from "./validate.ts";

/** An earlier layer's spikes, added to a convolution's current: what `residual` becomes in the canonical list. `lee` only. */
export interface Shortcut {
  /** Name of the layer whose output spikes are added. */
  readonly from: string;
  /**
   * Through a learned 1×1 convolution (no padding, no bias), `<name>.shortcut.weight`; otherwise every `stride`-th row and column
   * is taken.
   */
  readonly conv: boolean;
  /** Step in rows and columns, from 1 to 255. */
  readonly stride: number;
}

/** What every layer's options have. */
export interface LayerOptions {
  /**
   * Name, by which its parameters, records, rates and activity go: 1 to 64 letters, digits, dots, dashes or underscores; no other
   * layer has it. Default: `layer` and its place in the list, counted from 0, residual blocks written out.
   */
  readonly name?: string;
}

/** What `conv2d` takes beside channels and kernel. */
export interface Conv2dOptions extends LayerOptions {
  /** Step of the kernel in rows and columns, in pixels, from 1 to 255. Default 1. */
  readonly stride?: number;
  /** Pixels of zeros around the input, from 0 to 1024. Default 0. */
  readonly padding?: number;
  /** An earlier layer's spikes, added to the current; `residual` writes it. Default: none. */
  readonly shortcut?: Shortcut;
  /** How the weights, those of the shortcut too, start. Default: the network's `initializer`. */
  readonly initializer?: InitializerDescriptor;
}

/** Two-dimensional convolution, weights `[out, in, kernel, kernel]`. Made by `conv2d`. */
export interface Conv2dLayer extends Conv2dOptions {
  readonly kind: "conv2d";
  /** Number of output channels. */
  readonly out: number;
  /** Side of the square kernel, in pixels. */
  readonly kernel: number;
  /** Step of the kernel in rows and columns, in pixels. */
  readonly stride: number;
  /** Pixels of zeros around the input. */
  readonly padding: number;
}

/** What `dense` takes beside its neurons. */
export interface DenseOptions extends LayerOptions {
  /**
   * `surrogate` only: its neurons' spikes of the step before are a second input, through weights `<name>.recurrent.weight` `[out, out]`.
   * Default false.
   */
  readonly recurrent?: boolean;
  /** How the weights start. Default: the network's `initializer`. */
  readonly initializer?: InitializerDescriptor;
}

/** Fully connected layer, weights `[out, in]`; input is flattened in the order C, H, W. Made by `dense`. */
export interface DenseLayer extends DenseOptions {
  readonly kind: "dense";
  /** Number of output neurons. */
  readonly out: number;
}

/** What `avgPool2d` takes beside its size. */
export interface AvgPool2dOptions extends LayerOptions {
  /** `lee` only: where the pool spikes, in units of the window's mean; greater than 0. Default 0.75. */
  readonly threshold?: number;
}

/** Average pooling over `size`×`size` windows that do not overlap. With `lee` it spikes at `threshold`. Made by `avgPool2d`. */
export interface AvgPool2dLayer extends AvgPool2dOptions {
  readonly kind: "avgPool2d";
  /** Side of a window, in pixels, from 1 to 1024. */
  readonly size: number;
  /** Where the pool spikes; `lee` only. */
  readonly threshold: number;
}

/** Largest of `size`×`size` windows that do not overlap. Made by `maxPool2d`. */
export interface MaxPool2dLayer extends LayerOptions {
  readonly kind: "maxPool2d";
  /** Side of a window, in pixels, from 1 to 1024. */
  readonly size: number;
}

/** Earliest spike of each `size`×`size` window; the windows do not overlap. Made by `earliestPool2d`. */
export interface EarliestPool2dLayer extends LayerOptions {
  readonly kind: "earliestPool2d";
  /** Side of a window, in pixels, from 1 to 1024. */
  readonly size: number;
}

/** What `batchNorm` takes. */
export interface BatchNormOptions extends LayerOptions {
  /** How far the running statistics move at each training step, in [0, 1]: `running += momentum · (batch - running)`. Default 0.1. */
  readonly momentum?: number;
  /** Keeps the divisor from 0; greater than 0, in units of the variance. Default 1e-5. */
  readonly epsilon?: number;
}

/** Batch normalisation of a synapse's currents, `bpsta` only. Made by `batchNorm`. */
export interface BatchNormLayer extends BatchNormOptions {
  readonly kind: "batchNorm";
  /** How far the running statistics move at each training step. */
  readonly momentum: number;
  /** Keeps the divisor from 0. */
  readonly epsilon: number;
}

/** Currents below 0 count 0, `bpsta` only. Made by `relu`. */
export interface ReluLayer extends LayerOptions {
  readonly kind: "relu";
}

/** What `neuron` takes. */
export interface NeuronOptions extends LayerOptions {
  /** θ of this layer, greater than 0; not with `decolle`, whose neurons fire above 0. Default: the method's. */
  readonly threshold?: number;
  /** `lee` only: the non-spiking last layer, whose membranes are the network's answer. Default false. */
  readonly readout?: boolean;
  /**
   * `surrogate` only: the layer's decay, used within [0, 1], is a parameter `<name>.decay` of one element that starts at the
   * method's. Default false.
   */
  readonly learnDecay?: boolean;
  /**
   * `surrogate` only: the layer's threshold, used at 0 or above, is a parameter `<name>.threshold` of one element that starts at
   * the layer's or the method's. Default false.
   */
  readonly learnThreshold?: boolean;
}

/** Spiking neurons of the network's method. Made by `neuron`. */
export interface NeuronLayer extends NeuronOptions {
  readonly kind: "neuron";
}

/** Dropout on the spikes of the layer before: a mask of 0 and 1/(1-p), drawn once a sample, held for all steps. Made by `dropout`. */
export interface DropoutLayer extends LayerOptions {
  readonly kind: "dropout";
  /** p, the probability with which a neuron is silenced for a sample while training; from 0 to less than 1. */
  readonly probability: number;
}

/** What `residual` takes beside its layers. */
export interface ResidualOptions {
  /** Around the block through a learned 1×1 convolution; otherwise every `stride`-th row and column is taken. Default true. */
  readonly conv?: boolean;
  /** Step in rows and columns around the block, from 1 to 255. Default: the product of the strides of its convolutions. */
  readonly stride?: number;
}

/**
 * Layers with a way around them, `lee` only. Only in the list a user gives; the canonical list has `shortcut` instead. Made by
 * `residual`.
 */
export interface ResidualBlock extends Required<ResidualOptions> {
  readonly kind: "residual";
  /** The block; its last layer is a `conv2d`. */
  readonly layers: readonly LayerDescriptor[];
}

/** What a canonical list, in which every neuron is explicit, is made of. */
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

const aName: Check = optional((argument, value) => {
  if (typeof value === "string" && /^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}$/.test(value)) return value;
  throw new ArgumentError(argument, value, "1 to 64 letters, digits, dots, dashes or underscores");
});

/** A file's say how training once began. */
const anInitializer: Check = SPIKEGRAD_TRAINING
  ? optional((argument, value) => checkInitializer(argument, value as InitializerDescriptor))
  : () => undefined;

const aLayersName: Check = (argument, value) => {
  if (typeof value === "string") return value;
  throw new ArgumentError(argument, value, "the name of an earlier layer");
};

const aShortcut: Check = optional((argument, value) =>
  fields(argument, value as Shortcut, { from: aLayersName, conv: aBoolean(), stride: aSide }),
);

/** A block, which ends in a convolution. */
const aBlock: Check = (argument, layers) => {
  if (!Array.isArray(layers) || layers.length === 0)
    throw new ArgumentError(argument, layers, "a list of layers that ends in conv2d");
  const last = layers[layers.length - 1];
  if (last?.kind !== "conv2d")
    throw new ArgumentError(argument, last?.kind ?? last, "a block whose last layer is conv2d");
  return layers;
};

const aSide = anInteger(1, 255);
const pool = { size: anInteger(1, 1024), name: aName };

const LAYERS: { readonly [K in CanonicalLayer["kind"]]: Readonly<Record<string, Check>> } & {
  readonly residual?: Readonly<Record<string, Check>>;
} = {
  conv2d: {
    out: anInteger(1, 2 ** 16),
    kernel: aSide,
    stride: anInteger(1, 255, 1),
    padding: anInteger(0, 1024, 0),
    initializer: anInitializer,
    shortcut: aShortcut,
    name: aName,
  },
  dense: { out: anInteger(1, 2 ** 22), recurrent: aFlag, initializer: anInitializer, name: aName },
  avgPool2d: { size: anInteger(1, 1024), threshold: aPositive(0.75), name: aName },
  maxPool2d: pool,
  earliestPool2d: pool,
  batchNorm: { momentum: aNumberWithin(0, 1, 0.1), epsilon: aPositive(1e-5), name: aName },
  relu: { name: aName },
  neuron: {
    threshold: optional(aPositive()),
    readout: aFlag,
    learnDecay: aFlag,
    learnThreshold: aFlag,
    name: aName,
  },
  dropout: { probability: aShare(), name: aName },
  // Files hold canonical lists.
  ...(SPIKEGRAD_TRAINING && { residual: { layers: aBlock, conv: aBoolean(true), stride: aSide } }),
};

/**
 * Two-dimensional convolution: input `[C, H, W]`, output `[out, H', W']` with
 * `H' = floor((H + 2·padding - kernel) / stride) + 1`. Weights `[out, C, kernel, kernel]`; biases `[out]` where
 * the method has them (all but `lee` and `stdbp`).
 *
 * @param out number of output channels, from 1 to 65,536
 * @param kernel side of the square kernel in pixels, from 1 to 255
 * @param option stride, padding, name, shortcut, initializer: see `Conv2dOptions`
 * @throws ArgumentError for a number out of range, an unknown option, or an option of another type
 */
export function conv2d(out: number, kernel: number, option?: Conv2dOptions): Conv2dLayer {
  return described("conv2d", option, LAYERS.conv2d, { out, kernel });
}

/**
 * Fully connected layer: input of any shape, flattened in the order C, H, W; output `[out]`. Weights `[out, in]`; biases
 * `[out]` where the method has them (all but `lee` and `stdbp`).
 *
 * @param out number of output neurons, from 1 to 4,194,304
 * @param option name, recurrence, initializer: see `DenseOptions`
 * @throws ArgumentError for a number out of range, an unknown option, or an option of another type
 */
export function dense(out: number, option?: DenseOptions): DenseLayer {
  return described("dense", option, LAYERS.dense, { out });
}

/**
 * Average pooling over windows of `size`×`size` that do not overlap; input `[C, H, W]`, output
 * `[C, floor(H / size), floor(W / size)]`. What it averages is the method's matter. With `lee` the pool spikes:
 * `u = v + mean of the window`, `s = u > threshold`, `v = s ? 0 : u`, without leak, and `D[t] = G[t]` where it spiked, else `D[t + 1]`
 * (Lee et al. 2020, threshold 0.75). With `surrogate` it averages currents in front of a neuron, with `bpsta` spikes behind one,
 * and has no threshold. `decolle` and `stdbp` have none.
 *
 * @param size side of a window in pixels, from 1 to 1024
 * @param option threshold and name: see `AvgPool2dOptions`
 * @throws ArgumentError for a number out of range, or an unknown option
 */
export function avgPool2d(size: number, option?: AvgPool2dOptions): AvgPool2dLayer {
  return described("avgPool2d", option, LAYERS.avgPool2d, { size });
}

/**
 * Largest value of windows of `size`×`size` that do not overlap; input `[C, H, W]`, output
 * `[C, floor(H / size), floor(W / size)]`. Of spikes with `bpsta`, of currents in front of a neuron with `surrogate`, of membranes with
 * `decolle`; `lee` and `stdbp` have none. A maximum that occurs twice in a window passes its gradient to the first in row-major order.
 *
 * @param size side of a window in pixels, from 1 to 1024
 * @param option name: see `LayerOptions`
 * @throws ArgumentError for a number out of range, or an unknown option
 */
export function maxPool2d(size: number, option?: LayerOptions): MaxPool2dLayer {
  return described("maxPool2d", option, pool, { size });
}

/**
 * Pooling of spike times, for `stdbp`: the earliest time of each window of `size`×`size`, which do not overlap; input
 * `[C, H, W]`, output `[C, floor(H / size), floor(W / size)]`. A time that occurs twice in a window passes its gradient to
 * the first in row-major order (Zhang et al. 2020).
 *
 * @param size side of a window in pixels, from 1 to 1024
 * @param option name: see `LayerOptions`
 * @throws ArgumentError for a number out of range, or an unknown option
 */
export function earliestPool2d(size: number, option?: LayerOptions): EarliestPool2dLayer {
  return described("earliestPool2d", option, pool, { size });
}

/**
 * Batch normalisation, in `bpsta` networks, of the currents of the `conv2d` or `dense` in front, a channel at a time:
 * `y = (I - mean) / sqrt(variance + epsilon) · weight + bias` (Ioffe and Szegedy 2015). Training takes mean and (biased)
 * variance of each time step over batch and positions, and moves the running ones by `momentum` at each step, the
 * variance by its unbiased value; evaluating uses the running ones. Parameters `<name>.weight` (1) and `<name>.bias` (0);
 * statistics `<name>.running_mean` (0) and `<name>.running_var` (1).
 *
 * @param option momentum, epsilon, name: see `BatchNormOptions`
 * @throws ArgumentError for values out of range, or an unknown option
 */
export function batchNorm(option?: BatchNormOptions): BatchNormLayer {
  return described("batchNorm", option, LAYERS.batchNorm);
}

/**
 * Currents below 0 count 0, in `bpsta` networks: `max(0, I)`, and no gradient where I <= 0.
 *
 * @param option name: see `LayerOptions`
 * @throws ArgumentError for an unknown option or a name that is none
 */
export function relu(option?: LayerOptions): ReluLayer {
  return described("relu", option, LAYERS.relu);
}

/**
 * Dropout on the spikes of the layer before it: while training each neuron is silenced with probability `probability` for
 * a whole sample, the others count `1 / (1 - probability)`; when evaluating every spike counts 1. The mask is a function of the
 * network's seed, the epoch, the sample's index and the neuron's index alone. `stdbp` has none.
 *
 * @param probability from 0 to less than 1
 * @param option name: see `LayerOptions`
 * @throws ArgumentError for a number out of range, or an unknown option
 */
export function dropout(probability: number, option?: LayerOptions): DropoutLayer {
  return described("dropout", option, LAYERS.dropout, { probability });
}

/**
 * Spiking neurons of the network's method, whose docstring has their equations. A list without any gets one after each weight
 * layer; a list with one is taken as it stands.
 *
 * @param option threshold, readout, what is learned, name: see `NeuronOptions`
 * @throws ArgumentError for a threshold that is not positive, an option of another type, or an unknown one
 */
export function neuron(option?: NeuronOptions): NeuronLayer {
  return described("neuron", option, LAYERS.neuron);
}

/**
 * A residual block, in `lee` networks: `layers`, and a way around them. The spikes of the layer before the block are added to the
 * current of the block's last convolution, through a 1×1 convolution (`conv: true`, weights `[out, in, 1, 1]`) or taken at every
 * `stride`-th row and column, channel by channel, which then have to be as many (Lee et al. 2020).
 *
 * @param layers the block, ending in a `conv2d`
 * @param option the way around: see `ResidualOptions`
 * @throws ArgumentError for a block that does not end in `conv2d`, a stride out of range, or an unknown option
 */
export function residual(layers: readonly LayerDescriptor[], option?: ResidualOptions): ResidualBlock {
  const given = options("residual", option, ["conv", "stride"]);
  const stride = given.stride ?? strideOf(layers);
  return described("residual", { ...given, stride }, LAYERS.residual ?? {}, { layers });
}

/** The product of the strides of a block's convolutions; plain data may leave them out, or be no layers at all. */
function strideOf(layers: unknown): number {
  let product = 1;
  if (Array.isArray(layers))
    for (const layer of layers)
      if (layer?.kind === "conv2d" && Number.isInteger(layer.stride)) product *= layer.stride;
  return product;
}

/** Checks a descriptor that came from outside; `argument` names it in errors. Its fields come in a fixed order. */
export function checkLayer<T extends LayerDescriptor>(argument: string, layer: T): T {
  const kind = (layer as { readonly kind?: unknown } | null | undefined)?.kind;
  if (typeof kind !== "string" || !Object.hasOwn(LAYERS, kind))
    throw new ArgumentError(argument, kind ?? layer, `a layer: one of ${Object.keys(LAYERS).join(", ")}`);
  const { kind: _, ...given }: Partial<ResidualBlock> = layer as ResidualBlock;
  if (SPIKEGRAD_TRAINING && "layers" in given) given.stride ??= strideOf(given.layers);
  return { kind, ...fields(argument, given, LAYERS[kind as keyof typeof LAYERS] ?? {}) } as T;
}
