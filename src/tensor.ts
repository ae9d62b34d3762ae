/** A tensor in row-major order, in PyTorch's and NIR's conventions (`[out, in, k, k]`, `[B, C, H, W]`, `[T, B, …]`). */
export interface Tensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}
