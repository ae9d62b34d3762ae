// What the steps of an optimizer share: see Hyper in abi.ts. β^k by repeated multiplication in f64, so that a training
// resumed at step k, which multiplies k times again, goes on with the same bits.

import { Hyper } from "../abi";
import { isFirst } from "../view";

/** k → k + 1. Rank 0 alone; the others may read when it is done. */
export function advance(hyper: usize, frame: usize): void {
  if (!isFirst(frame)) return;
  store<f64>(hyper, load<f64>(hyper, Hyper.FirstPower) * load<f64>(hyper, Hyper.First), Hyper.FirstPower);
  store<f64>(hyper, load<f64>(hyper, Hyper.SecondPower) * load<f64>(hyper, Hyper.Second), Hyper.SecondPower);
  store<u32>(hyper, load<u32>(hyper, Hyper.Taken) + 1, Hyper.Taken);
}
