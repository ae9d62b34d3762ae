/** Shape of one sample, `[channels, height, width]` or `[features]`. */
export type SampleShape = readonly number[];

/**
 * Labelled samples held in two flat arrays. Sample `i` is
 * `inputs[i * size … (i + 1) * size)` with `size` the product of `shape`, in the order C, H, W.
 */
export interface Dataset {
  /** All samples one after another. A `Uint8Array` stands for `value / 255`. */
  readonly inputs: Float32Array | Uint8Array;
  /** Shape of one sample, without the sample axis. */
  readonly shape: SampleShape;
  /** One class index a sample, `0 … classes - 1`. */
  readonly labels: Uint8Array | Int32Array;
  /** Number of classes. */
  readonly classes: number;
}
