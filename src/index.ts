export type { Build, WasmSource } from "./core/wasm.ts";
export type { Dataset, SampleShape } from "./data/dataset.ts";
export {
  type DirectEncoder,
  direct,
  type EncoderDescriptor,
  type FirstSpikeEncoder,
  firstSpike,
  type LatencyEncoder,
  latency,
  type PoissonEncoder,
  poisson,
  type SpikesEncoder,
  spikes,
  type TimesEncoder,
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
} from "./errors.ts";
export type { Evaluation, LayerActivity } from "./evaluation.ts";
export type { GradientCheck, GradientCheckOptions, ParameterCheck } from "./gradient-check.ts";
export type { GradientOptions, Gradients } from "./gradients.ts";
export {
  type HeNormalInitializer,
  heNormal,
  type InitializerDescriptor,
  type OrthogonalInitializer,
  orthogonal,
  type ScaledNormalInitializer,
  scaledNormal,
  type TorchUniformInitializer,
  torchUniform,
} from "./initializers.ts";
export {
  type AvgPool2dLayer,
  avgPool2d,
  type BatchNormLayer,
  batchNorm,
  type CanonicalLayer,
  type Conv2dLayer,
  conv2d,
  type DenseLayer,
  type DropoutLayer,
  dense,
  dropout,
  type EarliestPool2dLayer,
  earliestPool2d,
  type LayerDescriptor,
  type MaxPool2dLayer,
  maxPool2d,
  type NeuronLayer,
  neuron,
  type ReluLayer,
  type ResidualBlock,
  relu,
  residual,
  type Shortcut,
} from "./layers.ts";
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
export { type BpstaDescriptor, bpsta } from "./methods/bpsta.ts";
export { type DecolleDescriptor, decolle } from "./methods/decolle.ts";
export type { MethodDescriptor } from "./methods/index.ts";
export { type LeeDescriptor, lee } from "./methods/lee.ts";
export type { RecordKind } from "./methods/method.ts";
export { type StdbpDescriptor, stdbp } from "./methods/stdbp.ts";
export { type SurrogateDerivative, type SurrogateDescriptor, surrogate } from "./methods/surrogate.ts";
export type { NetworkDescription } from "./model-file.ts";
export { createNetwork, loadNetwork, type Network, type NetworkOptions } from "./network.ts";
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
  type CosineSchedule,
  cosine,
  type OptimizerDescriptor,
  type ScheduleDescriptor,
  type SgdDescriptor,
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
