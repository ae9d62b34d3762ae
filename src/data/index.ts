export { type Dataset, type SampleShape, subset, take, validateDataset } from "./dataset.ts";
export {
  type IdxArray,
  type IdxArrays,
  type IdxType,
  parseIdx,
  type ReadIdxOptions,
  readIdx,
} from "./idx.ts";
export { type MnistSets, type MnistUrlOptions, mnist } from "./mnist.ts";
