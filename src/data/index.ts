/**
 * Data sets and their files, anywhere: arrays, IDX, MNIST from a server, event recordings, N-MNIST from bytes.
 *
 * @module spikegrad/data
 */
export {
  type Dataset,
  type SampleShape,
  subset,
  type TakeOptions,
  take,
  validateDataset,
} from "./dataset.ts";
export {
  type EventFrames,
  type EventRecording,
  eventDataset,
  eventFrames,
  type FrameOptions,
} from "./events.ts";
export {
  type IdxArray,
  type IdxArrays,
  type IdxType,
  parseIdx,
  type ReadIdxOptions,
  readIdx,
} from "./idx.ts";
export { type MnistSets, type MnistUrlOptions, mnist } from "./mnist.ts";
export {
  type NmnistBytesOptions,
  type NmnistSets,
  type NmnistWindow,
  nmnist,
  parseNmnist,
} from "./nmnist.ts";
export { parseTar } from "./tar.ts";
