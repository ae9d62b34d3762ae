import { ArgumentError, MemoryError } from "../errors.ts";
import { elementCount } from "../io/bytes.ts";
import type { Dataset, SampleShape } from "./dataset.ts";

/** What an event camera recorded: one entry of each array an event, in the order of time. */
export interface EventRecording {
  /** Pixels a row. */
  readonly width: number;
  /** Rows. */
  readonly height: number;
  /** Column, from 0 on the left. */
  readonly x: Uint16Array;
  /** Row, from 0 at the top. */
  readonly y: Uint16Array;
  /** 1: brighter (ON), 0: darker (OFF). */
  readonly polarity: Uint8Array;
  /** Microseconds; never steps back. */
  readonly time: Uint32Array | Float64Array;
}

/** How `eventFrames` cuts a recording into frames. */
export interface FrameOptions {
  /** Number of frames T. */
  steps: number;
  /** `"time"` (default): frames of equal length; `"count"`: frames with equally many events. */
  by?: "time" | "count";
  /**
   * With `"time"`: microseconds from the first event that the frames take together; later events are left out. Default: as
   * long as the recording, so that every event is in a frame.
   */
  duration?: number;
  /** `"binary"` (default): 1 where there was an event; `"count"`: how many there were. */
  values?: "binary" | "count";
  /** `[height, width]` of the frames: events move to the pixel that theirs lies in. Default: the recording's. */
  size?: readonly [number, number];
}

/** What `eventFrames` gives. */
export interface EventFrames {
  /** A `Uint8Array` of 0 and 255 (which stands for 1) with values `"binary"`, otherwise a `Float32Array` of counts. */
  readonly data: Uint8Array | Float32Array;
  /** `[T, 2, height, width]`. */
  readonly shape: SampleShape;
}

/** Checked options. */
interface Cut {
  readonly steps: number;
  readonly byCount: boolean;
  readonly duration: number | undefined;
  readonly binary: boolean;
  readonly size: readonly [number, number] | undefined;
}

/**
 * The events of a recording as frames `[T, 2, height, width]`, the first channel the OFF events, the second the ON events:
 * explicit spike trains for the encoder `spikes({ steps: T })`.
 *
 * @param recording events in the order of time
 * @param options how to cut: see `FrameOptions`
 * @throws ArgumentError for options out of range or a recording whose parts disagree
 * @throws MemoryError if the runtime refuses the memory for the frames
 */
export function eventFrames(recording: EventRecording, options: FrameOptions): EventFrames {
  const cut = checkCut(options);
  const shape = shapeOf(recording, cut);
  const data = allocateFrames(shape, 1, cut);
  fillFrames(recording, cut, data, "recording");
  return { data, shape };
}

/**
 * Labelled recordings of one size as frames: a data set for the encoder `spikes({ steps: T })`.
 *
 * @param recordings read one by one, so that they need not be in memory all at once
 * @param labels one class a recording
 * @param classes number of classes
 * @param options how to cut: see `FrameOptions`
 * @throws ArgumentError as `eventFrames`; also for another number of labels than recordings
 * @throws MemoryError if the runtime refuses the memory for the frames of all
 */
export function eventDataset(
  recordings: Iterable<EventRecording>,
  labels: Uint8Array | Int32Array,
  classes: number,
  options: FrameOptions,
): Dataset {
  const builder = new FrameBuilder(labels.length, options);
  for (const recording of recordings) builder.add(recording);
  return builder.finish(labels, classes);
}

/** Collects the frames of a known number of recordings. */
export class FrameBuilder {
  readonly #count: number;
  readonly #cut: Cut;
  #shape: SampleShape | undefined;
  #inputs: Uint8Array | Float32Array = new Uint8Array(0);
  #done = 0;

  constructor(count: number, options: FrameOptions) {
    this.#count = count;
    this.#cut = checkCut(options);
  }

  add(recording: EventRecording): void {
    const argument = `recordings[${this.#done}]`;
    const shape = shapeOf(recording, this.#cut);
    if (this.#done >= this.#count)
      throw new ArgumentError("recordings", `more than ${this.#count}`, "as many as labels");
    if (this.#shape === undefined) {
      this.#shape = shape;
      this.#inputs = allocateFrames(shape, this.#count, this.#cut);
    } else if (shape.some((n, i) => n !== this.#shape![i])) {
      throw new ArgumentError(argument, shape, `frames of shape [${this.#shape}], as those before`);
    }
    const size = this.#inputs.length / this.#count;
    fillFrames(recording, this.#cut, this.#inputs.subarray(this.#done * size, ++this.#done * size), argument);
  }

  finish(labels: Uint8Array | Int32Array, classes: number): Dataset {
    if (this.#shape === undefined || this.#done !== this.#count)
      throw new ArgumentError(
        "recordings",
        this.#done,
        `${this.#count}, as many as labels, and at least one`,
      );
    return { inputs: this.#inputs, shape: this.#shape, labels, classes };
  }
}

function checkCut(options: FrameOptions): Cut {
  if (typeof options !== "object" || options === null)
    throw new ArgumentError("options", options, "an object with steps");
  const { steps, by = "time", duration, values = "binary", size } = options;
  const whole = (n: unknown, most: number): boolean =>
    Number.isInteger(n) && Number(n) >= 1 && Number(n) <= most;
  if (!whole(steps, 1_000_000))
    throw new ArgumentError("options.steps", steps, "an integer from 1 to 1000000");
  if (by !== "time" && by !== "count") throw new ArgumentError("options.by", by, '"time" or "count"');
  if (duration !== undefined) {
    if (by === "count")
      throw new ArgumentError("options.duration", duration, 'nothing: by "count" the events decide');
    if (typeof duration !== "number" || !(duration > 0) || !Number.isFinite(duration))
      throw new ArgumentError("options.duration", duration, "microseconds, more than 0");
  }
  if (values !== "binary" && values !== "count")
    throw new ArgumentError("options.values", values, '"binary" or "count"');
  if (size !== undefined && !(Array.isArray(size) && size.length === 2 && size.every((n) => whole(n, 65536))))
    throw new ArgumentError("options.size", size, "[height, width], two positive integers");
  return { steps, byCount: by === "count", duration, binary: values === "binary", size };
}

function shapeOf({ width, height }: EventRecording, { steps, size }: Cut): SampleShape {
  const [rows, columns] = size ?? [height, width];
  return [steps, 2, rows, columns];
}

function allocateFrames(shape: SampleShape, count: number, { binary }: Cut): Uint8Array | Float32Array {
  const length = elementCount([count, ...shape]) ?? Number.POSITIVE_INFINITY;
  const bytes = length * (binary ? 1 : 4);
  try {
    return binary ? new Uint8Array(length) : new Float32Array(length);
  } catch (cause) {
    throw new MemoryError(
      bytes,
      `frames of ${count} recordings need ${bytes} bytes; the runtime refused them`,
      {
        cause,
      },
    );
  }
}

function fillFrames(
  { width, height, x, y, polarity, time }: EventRecording,
  cut: Cut,
  to: Uint8Array | Float32Array,
  argument: string,
): void {
  const events = time.length;
  if (x.length !== events || y.length !== events || polarity.length !== events) {
    const lengths = [x.length, y.length, polarity.length, events];
    throw new ArgumentError(argument, lengths, "x, y, polarity and time of one length");
  }
  const { steps, byCount, binary } = cut;
  const [rows, columns] = cut.size ?? [height, width];
  const first = events > 0 ? time[0]! : 0;
  // One more than the span, so that the last event is in the last frame.
  const duration = cut.duration ?? (events > 0 ? time[events - 1]! - first + 1 : 1);
  for (let i = 0; i < events; i++) {
    const column = x[i]!;
    const row = y[i]!;
    if (column >= width || row >= height)
      throw new ArgumentError(`${argument}: event ${i}`, [column, row], `x < ${width}, y < ${height}`);
    const elapsed = time[i]! - first;
    if (elapsed < 0) throw new ArgumentError(`${argument}.time[${i}]`, time[i], "times that never step back");
    const step = byCount ? Math.floor((i * steps) / events) : Math.floor((elapsed * steps) / duration);
    if (step >= steps) continue;
    const v = columns === width ? column : Math.floor((column * columns) / width);
    const u = rows === height ? row : Math.floor((row * rows) / height);
    const place = ((step * 2 + (polarity[i] ? 1 : 0)) * rows + u) * columns + v;
    to[place] = binary ? 255 : to[place]! + 1;
  }
}
