/** A tensor in row-major order, in PyTorch's and NIR's conventions (`[out, in, k, k]`, `[B, C, H, W]`, `[T, B, …]`). */
export interface Tensor {
  /** Size of each axis. */
  readonly shape: readonly number[];
  /** The elements, last axis fastest. */
  readonly data: Float32Array;
}
