/**
 * Files of the field: safetensors.
 *
 * @module spikegrad/io
 */
export {
  type SafetensorsArray,
  type SafetensorsArrays,
  type SafetensorsDtype,
  type SafetensorsTensor,
  toFloat32,
} from "./dtypes.ts";
export { readSafetensors, type SafetensorsFile } from "./safetensors.ts";
export { type SafetensorsInput, type SafetensorsInputs, writeSafetensors } from "./safetensors-write.ts";
