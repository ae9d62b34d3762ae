// What the core exports that only infers: compiled with `INFERENCE`, so that no kernel of training is in it.

import { ABI_VERSION } from "./abi";
export { scatter } from "./math/scatter";
export { run } from "./run";

export function abiVersion(): i32 {
  return ABI_VERSION;
}
