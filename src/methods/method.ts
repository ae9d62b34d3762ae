import type { Extent, Layout } from "../core/geometry.ts";
import type { Places } from "../core/places.ts";
import type { Plan } from "../core/plan.ts";
import type { EncoderDescriptor } from "../encoders.ts";
import type { CanonicalLayer, LayerDescriptor } from "../layers.ts";
import type { LossDescriptor, LossSource } from "../losses.ts";

/** How a tensor starts. */
export type Initial =
  | { readonly kind: "normal"; readonly mean: number; readonly deviation: number }
  | { readonly kind: "uniform"; readonly low: number; readonly high: number }
  | { readonly kind: "constant"; readonly value: number }
  | { readonly kind: "orthogonal"; readonly gain: number };

/** One named tensor of a network: the user's shape, and where the core keeps each element. */
export interface ParameterSpec {
  readonly name: string;
  /** PyTorch's shape: `[out, in, k, k]` or `[out, in]`. */
  readonly shape: readonly number[];
  /** f32 elements that the core keeps, padding included; a multiple of 4. */
  readonly length: number;
  readonly places: Places;
  /** Inputs of one output: what initialisers scale with. */
  readonly fanIn: number;
  readonly initial: Initial;
  /** Its gradient is summed over the whole batch at once, not block by block. */
  readonly whole?: boolean;
  /** Whether optimizers change it; running statistics and fixed readouts are kept and saved, not learned. */
  readonly trainable: boolean;
  /** A running statistic: a training program leaves its next value where its gradient would be. */
  readonly statistic?: boolean;
}

/** One layer with a spike train of its own. */
export interface LayerInfo {
  readonly name: string;
  readonly kind: string;
  readonly extent: Extent;
  /** Whether it spikes; the readout does not. */
  readonly spiking: boolean;
  /** Multiply-accumulates a step of the dense equivalent of what feeds it; 0 for pooling. */
  readonly operations: number;
}

/** A dropout mask, one value a position of `extent`, by the name that the caller gives it with. */
export interface MaskInfo {
  readonly name: string;
  readonly extent: Extent;
}

/**
 * What can be kept of every layer: `"spikes"` and `"membranes"` of methods with steps, `"spikeTimes"` of `stdbp`, `"readouts"` (and
 * their losses) of `decolle`.
 */
export type RecordKind = "spikes" | "membranes" | "spikeTimes" | "readouts";

/** What a program is for. */
export interface Purpose {
  readonly mode: "train" | "infer" | "step";
  /** Most samples a batch. */
  readonly capacity: number;
  /** Most blocks of samples a batch. */
  readonly blocks: number;
  readonly record: Readonly<Record<RecordKind, boolean>>;
  /** Dropout masks come from the caller instead of the random generator. */
  readonly masks: boolean;
  /** dL/dy comes from the caller. */
  readonly given: boolean;
  /** Count synaptic operations, and answer from every layer that can. */
  readonly count: boolean;
  /** Neurons hand on their current: an ordinary network of one step. Only where the model says it can. */
  readonly bypass?: boolean;
  /** Run by one thread, beside others that run other batches. */
  readonly solo?: boolean;
  /** In place of spikes the primitives of their surrogates, as `Model.exact` says: for checking gradients. */
  readonly smooth?: boolean;
  /** Emits the optimizer's steps: where the model is `online`, and `fit` runs it. */
  readonly learn?: Learner;
}

export interface Learner {
  /** Whether a step goes with its gradients, part by part. */
  readonly fused: boolean;
  /** Emits one step, from a barrier on. `gradients` emits the gradients behind the barrier, but for `parts`. */
  emit(plan: Plan, gradients: () => void, parts: GradientParts): void;
  /** Emits what comes before the updates of a step: rank 0 alone does it. */
  emitAdvance(plan: Plan): void;
  /** Emits a parameter's update, with its gradient if that is a part. */
  emitUpdate(plan: Plan, i: number, part?: (mode: number) => void): void;
}

/**
 * By parameter, what emits its gradient: to be written (0), added (1), or, address of an update record, used up at once by a step of
 * Adamax of the same ranks.
 */
export type GradientParts = ReadonlyMap<number, (mode: number) => void>;

/** Addresses that lowering needs from the network. */
export interface Bindings {
  /** Byte address of each parameter, in the order of the specs. */
  readonly parameters: readonly number[];
  /** Byte address of the gradients of block 0; 0 when not training. */
  readonly gradients: number;
  /** Byte address of those that have a buffer a block, and bytes of such a buffer. */
  readonly blockGradients: number;
  readonly blockBytes: number;
  /** Offset of each parameter's gradient in block 0. */
  readonly gradientOffsets: readonly number[];
  readonly key0: number;
  readonly key1: number;
  /** Natural logarithm, the core's own. */
  readonly ln: (x: number) => number;
}

/** Where the wrapper finds what goes in and out of a lowered program. */
export interface Ports {
  readonly control: number;
  readonly frames: number;
  readonly inputs: number;
  /** f32 elements of one sample's input. */
  readonly inputLength: number;
  readonly labels: number;
  readonly sampleIds: number;
  readonly outputs: number;
  readonly losses: number;
  readonly given: number;
  /** u32 [sample][input and layers]: spikes. */
  readonly spikes: number;
  /** u64 [sample]: synaptic operations. */
  readonly operations: number;
  /** Given masks, f32 [sample][positions], by layer. */
  readonly masks: ReadonlyMap<string, number>;
  /** What `gradients({ record })` gives out. */
  readonly records: readonly (RecordPort | PlainPort)[];
  /** Answers of layers with a readout of their own, f32 [sample][classes], where they were asked for. */
  readonly answers: ReadonlyMap<string, number>;
}

/** One recorded tensor, `[sample][step][…]` in the core's memory. */
export interface RecordPort {
  /** E.g. `"layer0.spikes"`. */
  readonly name: string;
  readonly address: number;
  /** Bits of `layout`, or f32 at its positions. */
  readonly kind: "bits" | "values";
  readonly layout: Layout;
  /** Steps recorded; 0 for one tensor a sample, `[B, …]` instead of `[T, B, …]`. */
  readonly steps: number;
  /** f32 [sample][positions] by which each spike counts; 0 if it counts 1. */
  readonly amplitude: number;
}

/** A recorded tensor of the whole batch, f32 in the user's order. */
export interface PlainPort {
  readonly name: string;
  readonly address: number;
  readonly kind: "plain";
  readonly shape: readonly number[];
}

/** A network ready to be lowered to programs: shapes checked, parameters known. */
export interface Model {
  readonly parameters: readonly ParameterSpec[];
  readonly layers: readonly LayerInfo[];
  readonly masks: readonly MaskInfo[];
  readonly input: Extent;
  readonly classes: number;
  /** The core's layout of the input, for copying samples in. */
  readonly inputIndex: Int32Array | undefined;
  /** Its loss is a mean over the batch: losses are given out a sample, and their sum is divided. */
  readonly meanLoss: boolean;
  /** Its neurons can be bypassed. */
  readonly bypass?: boolean;
  /** Most blocks that a training batch is cut into, each with gradients of its own; MAX_BLOCKS if left out. */
  readonly blocks?: number;
  /**
   * What its gradients are the true derivative of: the `"loss"`, almost everywhere; or the loss of the `"smooth"` network,
   * lowered with `purpose.smooth`. Left out where a method's gradients are no derivative of anything.
   */
  readonly exact?: "loss" | "smooth";
  /** Its training programs take the optimizer's steps themselves, by `purpose.learn`; `fit` takes none. */
  readonly online?: boolean;
  /** Answers are times: the earliest one is the class. */
  readonly earliest?: boolean;
  /** Samples that inference takes at once, where a program's layers share their weights between samples; 1 if left out. */
  readonly together?: number;
  /** Each layer has a loss of its own: there is no gradient of the answer. */
  readonly local?: boolean;
  /** Lays the program out in `plan`. */
  lower(plan: Plan, purpose: Purpose, bindings: Bindings): Ports;
}

/** A gradient method, as the library sees it. */
export interface Method<Descriptor extends { readonly kind: string }> {
  readonly kind: Descriptor["kind"];
  /** Checks a descriptor that came from outside. */
  check(descriptor: Descriptor): Descriptor;
  /** The user's list with every neuron explicit and every layer named. */
  expand(layers: readonly LayerDescriptor[], descriptor: Descriptor): readonly CanonicalLayer[];
  /** Checks that the layers fit each other. */
  model(
    input: Extent,
    layers: readonly CanonicalLayer[],
    descriptor: Descriptor,
    encoder: EncoderDescriptor,
    loss: LossDescriptor,
  ): Model;
  /** Samples are spike times (encoders without time steps). */
  readonly continuous?: boolean;
  /** Whether its dense layers may be recurrent. */
  readonly recurrent?: boolean;
  /** Whether decays and thresholds may be learned. */
  readonly learnsNeurons?: boolean;
  /** What a loss may read, where the method leaves the choice. */
  readonly sources?: readonly LossSource[];
  /** Losses that the method knows; squared error and cross-entropy if left out. */
  readonly losses?: readonly LossDescriptor["kind"][];
  /** Loss if the user names none. */
  readonly loss: LossDescriptor;
}
