/**
 * Networks, layers, methods, encoders, losses, optimizers and errors. Runs in pages, workers, Deno, Node and Bun.
 *
 * @module spikegrad
 */
export type { Threads, WorkerSource } from "./core/threads.ts";
export { type Build, type InitOptions, init, type WasmSource } from "./core/wasm.ts";
export type { Dataset, SampleShape } from "./data/dataset.ts";
export {
  type ContinuousEncoder,
  type DirectEncoder,
  type DirectOptions,
  direct,
  type EncoderDescriptor,
  type FirstSpikeEncoder,
  type FirstSpikeOptions,
  firstSpike,
  type LatencyEncoder,
  type LatencyOptions,
  latency,
  type PoissonEncoder,
  type PoissonOptions,
  poisson,
  type SpikesEncoder,
  type SpikesOptions,
  spikes,
  type TimesEncoder,
  type TimesOptions,
  times,
} from "./encoders.ts";
export {
  ArgumentError,
  type ErrorDetails,
  FileError,
  FormatError,
  MemoryError,
  MissingError,
  NonFiniteError,
  SpikegradError,
  StateError,
  WorkerError,
} from "./errors.ts";
export type { EvaluateOptions, Evaluation, LayerActivity, Prediction, PredictOptions } from "./evaluation.ts";
export type { GradientCheck, GradientCheckOptions, ParameterCheck } from "./gradient-check.ts";
export type { Forward, GradientOptions, Gradients } from "./gradients.ts";
export {
  type HeNormalInitializer,
  heNormal,
  type InitializerDescriptor,
  type OrthogonalInitializer,
  type OrthogonalOptions,
  orthogonal,
  type ScaledNormalInitializer,
  type ScaledNormalOptions,
  scaledNormal,
  type TorchUniformInitializer,
  torchUniform,
} from "./initializers.ts";
export {
  type AvgPool2dLayer,
  type AvgPool2dOptions,
  avgPool2d,
  type BatchNormLayer,
  type BatchNormOptions,
  batchNorm,
  type CanonicalLayer,
  type Conv2dLayer,
  type Conv2dOptions,
  conv2d,
  type DenseLayer,
  type DenseOptions,
  type DropoutLayer,
  dense,
  dropout,
  type EarliestPool2dLayer,
  earliestPool2d,
  type LayerDescriptor,
  type LayerOptions,
  type MaxPool2dLayer,
  maxPool2d,
  type NeuronLayer,
  type NeuronOptions,
  neuron,
  type ReluLayer,
  type ResidualBlock,
  type ResidualOptions,
  relu,
  residual,
  type Shortcut,
} from "./layers.ts";
export type { LiveStep } from "./live.ts";
export {
  type CrossEntropyLoss,
  crossEntropy,
  type LossDescriptor,
  type LossOptions,
  type LossReduction,
  type LossSource,
  type SmoothL1Loss,
  type SquaredErrorLoss,
  smoothL1,
  squaredError,
} from "./losses.ts";
export { type BpstaDescriptor, type BpstaOptions, bpsta } from "./methods/bpsta.ts";
export { type DecolleDescriptor, type DecolleOptions, decolle } from "./methods/decolle.ts";
export type { MethodDescriptor } from "./methods/index.ts";
export { type LeeDescriptor, type LeeOptions, lee } from "./methods/lee.ts";
export type { RecordKind } from "./methods/method.ts";
export { type StdbpDescriptor, type StdbpOptions, stdbp } from "./methods/stdbp.ts";
export {
  type SurrogateDerivative,
  type SurrogateDescriptor,
  type SurrogateOptions,
  surrogate,
} from "./methods/surrogate.ts";
export type { NetworkDescription } from "./model-file.ts";
export {
  createNetwork,
  type LayerNeurons,
  type LoadOptions,
  loadNetwork,
  type MemoryUse,
  type Network,
  type NetworkOptions,
} from "./network.ts";
export type { LayerMembranes } from "./normalize.ts";
export type { ClipBounds, Optimizer } from "./optimizer.ts";
export {
  type AdamaxDescriptor,
  type AdamDescriptor,
  type AdamwDescriptor,
  type AdaptiveOptions,
  adam,
  adamax,
  adamw,
  type CosineOptions,
  type CosineSchedule,
  cosine,
  type OptimizerDescriptor,
  type ScheduleDescriptor,
  type SgdDescriptor,
  type SgdOptions,
  type StepDecayOptions,
  type StepDecaySchedule,
  sgd,
  stepDecay,
} from "./optimizers.ts";
export type { Parameters } from "./parameters.ts";
export {
  type Preset,
  type PresetFit,
  type PresetName,
  type PresetOptions,
  preset,
  presetNames,
} from "./presets.ts";
export type { Tensor } from "./tensor.ts";
export type { Progress, Validation } from "./training-run.ts";
export type { FitOptions } from "./training-settings.ts";
