import { BIN_BYTES, FanoutColumn, MATRIX_SCRATCH, NOWHERE, Window } from "../../assembly/abi.ts";
import type { Places } from "./places.ts";

/** Shape of a layer's activity: channels, height, width. A dense layer is [N, 1, 1]. */
export interface Extent {
  readonly channels: number;
  readonly height: number;
  readonly width: number;
}

/** Multiples of four channels: one vector. */
export function padded(channels: number): number {
  return Math.ceil(channels / 4) * 4;
}

/** Neurons of an extent. */
export function size(e: Extent): number {
  return e.channels * e.height * e.width;
}

/** The user's shape of an extent. */
export function shapeOf(extent: Extent): number[] {
  const { channels, height, width } = extent;
  return height === 1 && width === 1 ? [channels] : [channels, height, width];
}

/**
 * How the core holds a layer's activity: rows of `width × stored channels`, channels last. Neuron layers store channels
 * padded to a multiple of four; the input stores them as they are.
 */
export class Layout {
  readonly extent: Extent;
  readonly channels: number;
  readonly rows: number;
  readonly rowLength: number;
  readonly rowWords: number;

  /** `pad`: channels are stored in multiples of it, true for whole vectors. */
  constructor(extent: Extent, pad: boolean | number) {
    this.extent = extent;
    const unit = pad === true ? 4 : pad || 1;
    this.channels = Math.ceil(extent.channels / unit) * unit;
    this.rows = extent.height;
    this.rowLength = extent.width * this.channels;
    this.rowWords = Math.ceil(this.rowLength / 32);
  }

  /** Stored positions, padding included. */
  get length(): number {
    return this.rows * this.rowLength;
  }

  /** Bytes of one step's bits. */
  get bitBytes(): number {
    return this.rows * this.rowWords * 4;
  }

  /** Position of the neuron at flat index `i` in the order C, H, W. */
  position(i: number): number {
    const { height, width } = this.extent;
    const x = i % width;
    const y = Math.floor(i / width) % height;
    const c = Math.floor(i / (width * height));
    return y * this.rowLength + x * this.channels + c;
  }

  /** `position` for every neuron. */
  positions(): Int32Array {
    const out = new Int32Array(size(this.extent));
    for (let i = 0; i < out.length; i++) out[i] = this.position(i);
    return out;
  }
}

/** Where a synapse's runs go: a bordered field of accumulators, so that no run needs a bounds test. */
export interface TargetField {
  /** Bytes of the whole field. */
  readonly bytes: number;
  /** Bytes between rows. */
  readonly stride: number;
  /** Byte offset of the first real position. */
  readonly origin: number;
}

/** A fanout synapse laid out: tables for the core, and where each of the user's weights lies. */
export interface FanoutGeometry {
  readonly columns: Uint32Array;
  readonly rows: Uint32Array;
  readonly target: TargetField;
  readonly weightStride: number;
  /** Dense weights lie panel by panel: see panels.ts. */
  readonly panels?: boolean;
  /** f32 elements of the stored weights, a multiple of 4. */
  readonly weightLength: number;
  /** Of weights `[o][c][ky][kx]` or `[o][i]`. */
  readonly places: Places;
  /** A convolution seen from its outputs. */
  readonly window?: WindowGeometry;
  /** Bytes of scratch that dense activity needs. */
  readonly scratch?: number;
  /** Vectors of a dense synapse onto few outputs, the rows of whose inputs lie `weightStride` apart. */
  readonly narrow?: number;
  /** Some input positions reach no output. */
  readonly gaps: boolean;
  /** Multiply-accumulates a step of the dense equivalent. */
  readonly operations: number;
}

/** What `synapse/window.ts` needs of a convolution; see the record `Window`. */
export interface WindowGeometry {
  readonly fields: Readonly<Record<number, number>>;
  readonly places: Uint32Array;
}

/** The run of neighbouring outputs that one input position reaches along an axis. */
interface Run {
  /** Stored taps in front of its own. */
  readonly before: number;
  readonly taps: number;
  /** Its first output, in the bordered field. */
  readonly first: number;
  /** How many of its outputs exist: counted for the library, which tells operations. */
  readonly reach: number;
}

/** Taps of one axis that input position `x` meets, grouped by phase so that each group is a run of neighbouring outputs. */
export class Axis {
  /** Taps that a phase has, and those of the phases in front of it. */
  readonly taps: number[] = [];
  readonly low: number;
  readonly length: number;
  /** Some positions reach no output. */
  readonly gaps: boolean;
  readonly #before: number[] = [];
  readonly #stride: number;
  readonly #padding: number;
  readonly #outputs: number;

  constructor(inputs: number, outputs: number, kernel: number, stride: number, padding: number) {
    this.#stride = stride;
    this.#padding = padding;
    this.#outputs = outputs;
    let sum = 0;
    for (let phase = 0; phase < stride; phase++) {
      this.#before.push(sum);
      const taps = phase < kernel ? Math.floor((kernel - 1 - phase) / stride) + 1 : 0;
      this.taps.push(taps);
      sum += taps;
    }
    let low = 0;
    let high = outputs - 1;
    let gaps = false;
    for (let x = padding; x < inputs + padding; x++) {
      const taps = this.taps[x % stride];
      const last = Math.floor(x / stride);
      if (!taps) gaps = true;
      else {
        low = Math.min(low, last - taps + 1);
        high = Math.max(high, last);
      }
    }
    this.low = -low;
    this.length = high - low + 1;
    this.gaps = gaps;
  }

  run(x: number): Run {
    const phase = (x + this.#padding) % this.#stride;
    const taps = this.taps[phase];
    const first = Math.floor((x + this.#padding) / this.#stride) - taps + 1;
    const reach = SPIKEGRAD_TRAINING ? Math.min(first + taps, this.#outputs) - Math.max(first, 0) : 0;
    return {
      before: this.#before[phase],
      taps,
      first: taps ? first + this.low : 0,
      reach: Math.max(reach, 0),
    };
  }

  /** Place of kernel tap `k` among the stored taps: by phase, outputs ascending. */
  place(k: number): number {
    const phase = k % this.#stride;
    return this.#before[phase] + this.taps[phase] - 1 - Math.floor(k / this.#stride);
  }
}

/** A table with `entries` for columns or rows, whose fields lie alike. */
function fanoutTable(entries: number): Uint32Array {
  return new Uint32Array((entries * FanoutColumn.Size) / 4);
}

/** Writes entry `i`: where its run begins, its weights, vectors of a column or runs of a row, and what `Reach` says. */
function enter(
  table: Uint32Array,
  i: number,
  target: number,
  weight: number,
  count: number,
  reach: number,
): void {
  const at = (i * FanoutColumn.Size) / 4;
  table[at + FanoutColumn.Target / 4] = target;
  table[at + FanoutColumn.Weight / 4] = weight;
  table[at + FanoutColumn.Vectors / 4] = count;
  table[at + FanoutColumn.Reach / 4] = reach;
}

/** Output side of a convolution. */
export function convolved(n: number, kernel: number, stride: number, padding: number): number {
  return Math.floor((n + 2 * padding - kernel) / stride) + 1;
}

/** Convolution from `from` to `to`. */
export function convGeometry(
  from: Layout,
  to: Layout,
  kernel: number,
  stride: number,
  padding: number,
): FanoutGeometry {
  const ys = new Axis(from.extent.height, to.extent.height, kernel, stride, padding);
  const xs = new Axis(from.extent.width, to.extent.width, kernel, stride, padding);
  const cells = to.channels;
  const rowBytes = xs.length * cells * 4;
  const inputs = from.extent.channels;
  const outputs = to.extent.channels;

  const columns = fanoutTable(from.rowLength);
  let across = 0;
  for (let x = 0; x < from.extent.width; x++) {
    const { before, taps, first, reach } = xs.run(x);
    across += reach;
    for (let c = 0; c < inputs; c++) {
      const weight = (c * kernel * kernel + before) * cells * 4;
      enter(columns, x * from.channels + c, first * cells * 4, weight, (taps * cells) / 4, reach);
    }
  }
  const rows = fanoutTable(from.rows);
  let down = 0;
  for (let y = 0; y < from.rows; y++) {
    const { before, taps, first, reach } = ys.run(y);
    down += reach;
    enter(rows, y, first * rowBytes, before * kernel * cells * 4, taps, reach * outputs);
  }
  return {
    columns,
    rows,
    target: {
      bytes: ys.length * rowBytes,
      stride: rowBytes,
      origin: (ys.low * xs.length + xs.low) * cells * 4,
    },
    weightStride: kernel * cells * 4,
    weightLength: inputs * kernel * kernel * cells,
    places: {
      first: () => {
        const places: number[] = [];
        for (let c = 0; c < inputs; c++) {
          for (let ky = 0; ky < kernel; ky++) {
            for (let kx = 0; kx < kernel; kx++)
              places.push(((c * kernel + ys.place(ky)) * kernel + xs.place(kx)) * cells);
          }
        }
        return places;
      },
    },
    gaps: xs.gaps || ys.gaps,
    operations: across * down * inputs * outputs,
    window: {
      fields: {
        [Window.Columns]: from.extent.width,
        [Window.Channels]: from.channels,
        [Window.RealChannels]: inputs,
        [Window.Kernel]: kernel,
        [Window.Stride]: stride,
        [Window.Padding]: padding,
        [Window.OutRows]: to.extent.height,
        [Window.OutColumns]: to.extent.width,
        [Window.CellBytes]: cells * 4,
        [Window.Origin]: xs.low * cells * 4,
        [Window.LowRow]: ys.low,
        [Window.MostRuns]: Math.max(...ys.taps),
      },
      places: Uint32Array.from({ length: kernel }, (_, k) => ys.place(k)),
    },
    scratch: windowScratch(from, padding),
  };
}

/**
 * A bordered plane of values behind what the matrix product packs into, or a list of all spikes and of each column's start, or
 * a bin a channel and where it ends.
 */
function windowScratch({ rows, rowLength, channels, extent }: Layout, padding: number): number {
  const plane = (rows + 2 * padding) * (rowLength + 2 * padding * channels);
  const list = rows * (extent.width + 2 * padding + 1 + rowLength);
  return Math.max(MATRIX_SCRATCH + 4 * plane, 4 * list, (BIN_BYTES + 4) * channels + BIN_BYTES);
}

/** Fully connected from `from` to `to`. */
export function denseGeometry(from: Layout, to: Layout): FanoutGeometry {
  const cells = to.channels;
  // Rows a multiple of 1 KiB apart would meet in the same cache sets and alias stores with later loads.
  const stride = (cells * 4) % 1024 === 0 ? cells + 16 : cells;
  const outputs = to.extent.channels;
  return {
    ...denseTables(from, stride, cells / 4, 1, outputs),
    target: { bytes: cells * 4, stride: cells * 4, origin: 0 },
    weightStride: stride * 4,
    narrow: cells <= 16 ? cells / 4 : 0,
    weightLength: from.length * stride,
    places: { first: () => from.positions().map((position) => position * stride) },
    gaps: false,
    operations: size(from.extent) * outputs,
  };
}

/** Tables of inputs whose weights lie `stride` elements apart, each `runs` runs of `vectors` vectors. */
export function denseTables(
  from: Layout,
  stride: number,
  vectors: number,
  runs: number,
  outputs: number,
): Pick<FanoutGeometry, "columns" | "rows"> {
  const columns = fanoutTable(from.rowLength);
  for (let r = 0; r < from.rowLength; r++) enter(columns, r, 0, r * stride * 4, vectors, 1);
  const rows = fanoutTable(from.rows);
  for (let y = 0; y < from.rows; y++) enter(rows, y, 0, y * from.rowLength * stride * 4, runs, outputs);
  return { columns, rows };
}

/** A 1×1 convolution with `stride`, no padding, into the field of another synapse. */
export function pointGeometry(from: Layout, to: Layout, field: TargetField, stride: number): FanoutGeometry {
  const cells = to.channels;
  const inputs = from.extent.channels;
  const outputs = to.extent.channels;
  const columns = fanoutTable(from.rowLength);
  const rows = fanoutTable(from.rows);
  const across = Math.min(to.extent.width, Math.ceil(from.extent.width / stride));
  const down = Math.min(to.extent.height, Math.ceil(from.rows / stride));
  for (let x = 0; x < across; x++) {
    for (let c = 0; c < inputs; c++)
      enter(columns, x * stride * from.channels + c, x * cells * 4, c * cells * 4, cells / 4, 1);
  }
  for (let y = 0; y < down; y++) enter(rows, y * stride, y * field.stride + field.origin, 0, 1, outputs);
  return {
    columns,
    rows,
    target: field,
    weightStride: cells * 4,
    weightLength: inputs * cells,
    places: { first: () => Array.from({ length: inputs }, (_, c) => c * cells) },
    gaps: stride > 1,
    operations: across * down * inputs * outputs,
  };
}

/** A one-to-one synapse laid out. */
export interface RouteGeometry {
  readonly columns: Uint32Array;
  readonly rows: Uint32Array;
}

/** Pooling windows of `window`×`window`, into a field without border. */
export function poolGeometry(from: Layout, to: Layout, window: number): RouteGeometry {
  return routes(from, to, { stride: to.rowLength * 4, origin: 0 }, (n, outputs) => {
    const at = Math.floor(n / window);
    return at < outputs ? at : -1;
  });
}

/** Every `stride`-th row and column, into a (bordered) field. */
export function subsampleGeometry(
  from: Layout,
  to: Layout,
  field: { stride: number; origin: number },
  stride: number,
): RouteGeometry {
  return routes(from, to, field, (n, outputs) =>
    n % stride === 0 && n / stride < outputs ? n / stride : -1,
  );
}

function routes(
  from: Layout,
  to: Layout,
  field: { stride: number; origin: number },
  place: (n: number, outputs: number) => number,
): RouteGeometry {
  const columns = new Uint32Array(from.rowLength).fill(NOWHERE);
  for (let x = 0; x < from.extent.width; x++) {
    const at = place(x, to.extent.width);
    if (at < 0) continue;
    for (let c = 0; c < from.extent.channels; c++)
      columns[x * from.channels + c] = (at * to.channels + c) * 4;
  }
  const rows = new Uint32Array(from.rows).fill(NOWHERE);
  for (let y = 0; y < from.rows; y++) {
    const at = place(y, to.extent.height);
    if (at >= 0) rows[y] = at * field.stride + field.origin;
  }
  return { columns, rows };
}
