import { Axis, type Layout } from "./geometry.ts";

/** How output positions of a convolution see their patches of a bordered input. */
export interface PatchGeometry {
  readonly kernel: number;
  /** Bytes of the bordered input; a whole vector may be read at its last value. */
  readonly bytes: number;
  /** Bytes between its rows. */
  readonly rowBytes: number;
  /** Byte offset of the first real position. */
  readonly origin: number;
  /** Bytes between the patches of two rows of outputs. */
  readonly patchRow: number;
  /** Bytes between those of two columns. */
  readonly patchColumn: number;
  /** Byte offset of each output position's patch. */
  readonly offsets: Uint32Array;
  /** Byte offset in the stored weights of each tap [ky][kx] of input channel 0, ordered as `convGeometry` has them. */
  readonly taps: Uint32Array;
  /** Bytes between input channels in the weights. */
  readonly tapStride: number;
}

/** Patches of a convolution from `from` to `to`. */
export function patchGeometry(
  from: Layout,
  to: Layout,
  { kernel, stride, padding }: { readonly kernel: number; readonly stride: number; readonly padding: number },
): PatchGeometry {
  const { height, width } = from.extent;
  const cell = from.channels * 4;
  const rowBytes = (width + 2 * padding) * cell;
  const patchRow = stride * rowBytes;
  const patchColumn = stride * cell;
  const offsets = new Uint32Array(to.extent.height * to.extent.width);
  for (let i = 0; i < offsets.length; i++) {
    const y = Math.floor(i / to.extent.width);
    offsets[i] = y * patchRow + (i % to.extent.width) * patchColumn;
  }
  const ys = new Axis(height, to.extent.height, kernel, stride, padding);
  const xs = new Axis(width, to.extent.width, kernel, stride, padding);
  const taps = new Uint32Array(kernel * kernel);
  for (let i = 0; i < taps.length; i++) {
    const place = ys.place(Math.floor(i / kernel)) * kernel + xs.place(i % kernel);
    taps[i] = place * to.channels * 4;
  }
  return {
    kernel,
    bytes: (height + 2 * padding) * rowBytes + 16,
    rowBytes,
    origin: padding * (rowBytes + cell),
    patchRow,
    patchColumn,
    offsets,
    taps,
    tapStride: kernel * kernel * to.channels * 4,
  };
}
