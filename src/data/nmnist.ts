import { ArgumentError, FormatError, MissingError } from "../errors.ts";
import { requireBytes } from "../io/bytes.ts";
import { compareCodePoints } from "../io/order.ts";
import type { Dataset } from "./dataset.ts";
import { type EventRecording, FrameBuilder, type FrameOptions } from "./events.ts";
import { gunzipAll, isGzip } from "./gzip.ts";
import { requireOptions } from "./mnist.ts";
import { parseTar } from "./tar.ts";

/** N-MNIST as frames. */
export interface NmnistSets {
  /** 60,000 recordings in the original set; `shape` `[T, 2, 34, 34]`, `classes` 10. */
  readonly train: Dataset;
  /** 10,000 recordings in the original set. */
  readonly test: Dataset;
}

/** What `parseNmnist` takes beside bytes. */
export interface NmnistWindow {
  /** Pixels a row, from 1 to 256. Default 34. */
  readonly width?: number;
  /** Rows, from 1 to 240. Default 34. */
  readonly height?: number;
}

/** What `nmnist` of `spikegrad/data` takes. */
export interface NmnistBytesOptions extends FrameOptions {
  /** A tar archive of the set, compressed with gzip or not. */
  bytes: Uint8Array;
}

/** The files of a set, by their paths within it. */
export interface FileSource {
  readonly names: readonly string[];
  readonly read: (name: string) => Promise<Uint8Array>;
  /** What to call it in errors. */
  readonly title: string;
}

const SIDE = 34;
const CLASSES = 10;
const EVENT_BYTES = 5;
/** An event with this y is none: the camera's clock of 13 bits went round. */
const OVERFLOW_Y = 240;
const OVERFLOW_TIME = 2 ** 13;
/** The largest archive that is unpacked; the whole set has 1.2 GB. */
const MAX_BYTES = 2 ** 31;
/** No recordings compress this well: what unpacks to more is a bomb. */
const MOST_RATIO = 64;
const FRAME_KEYS = ["steps", "by", "duration", "values", "size"];

/**
 * Reads a recording of N-MNIST (Orchard, Jayawant, Cohen, Thakor, "Converting static image datasets to spiking neuromorphic
 * datasets using saccades", Frontiers in Neuroscience 9:437, 2015): five bytes an event, x, y, then one bit of polarity and
 * 23 bits of time in microseconds, big endian. Events with y = 240 are none, but say that 8192 µs have to be added to all times
 * from there on. N-Caltech101 has the same format; tell its size.
 *
 * @param bytes the whole file
 * @param option size of the camera's window: see `NmnistWindow`
 * @throws ArgumentError if `bytes` is no `Uint8Array`, or for a size out of range
 * @throws FormatError if the file ends within an event, an event lies outside the window, or time steps back
 */
export function parseNmnist(
  bytes: Uint8Array,
  { width = SIDE, height = SIDE }: NmnistWindow = {},
): EventRecording {
  requireBytes(bytes, "bytes");
  if (!Number.isInteger(width) || width < 1 || width > 256)
    throw new ArgumentError("width", width, "an integer from 1 to 256");
  if (!Number.isInteger(height) || height < 1 || height > OVERFLOW_Y)
    throw new ArgumentError("height", height, `an integer from 1 to ${OVERFLOW_Y}`);
  if (bytes.length % EVENT_BYTES !== 0) {
    const need = `a multiple of ${EVENT_BYTES}: it is truncated, or no N-MNIST file`;
    throw new FormatError("N-MNIST file", `${bytes.length} bytes`, need);
  }
  const most = bytes.length / EVENT_BYTES;
  const x = new Uint16Array(most);
  const y = new Uint16Array(most);
  const polarity = new Uint8Array(most);
  const time = new Uint32Array(most);
  let events = 0;
  let offset = 0;
  let last = 0;
  for (let i = 0; i < most; i++) {
    const at = i * EVENT_BYTES;
    const column = bytes[at]!;
    const row = bytes[at + 1]!;
    const high = bytes[at + 2]!;
    if (row === OVERFLOW_Y) {
      offset += OVERFLOW_TIME;
      continue;
    }
    if (column >= width || row >= height) {
      throw new FormatError(`N-MNIST event ${i}`, [column, row], `x < ${width}, y < ${height}`);
    }
    const now = offset + (((high & 0x7f) << 16) | (bytes[at + 3]! << 8) | bytes[at + 4]!);
    if (now < last) throw new FormatError(`N-MNIST event ${i}: time`, now, `at least ${last}, as before it`);
    last = now;
    x[events] = column;
    y[events] = row;
    polarity[events] = high >> 7;
    time[events++] = now;
  }
  return {
    width,
    height,
    x: x.subarray(0, events),
    y: y.subarray(0, events),
    polarity: polarity.subarray(0, events),
    time: time.subarray(0, events),
  };
}

/**
 * N-MNIST from a tar archive, as frames for the encoder `spikes({ steps })`. Which recordings there are is said by two lists
 * in the archive, `train….txt` and `test….txt` (a number and a class a line, `#` begins a comment; the recording with number 7
 * is `7.bin` beside the list), or else by folders as in the original set: `Train/5/00001.bin`, `Test/7/00001.bin`.
 *
 * @param options `bytes`: the archive; `steps` and the other options of `eventFrames`
 * @returns `train` and `test`: `shape` `[steps, 2, 34, 34]`, `classes` 10
 * @throws ArgumentError for options out of range
 * @throws FormatError if archive, list or recording is not what it should be
 * @throws MissingError if there is no list or a recording of it is not there
 * @throws MemoryError if the runtime refuses the memory for the frames of all
 */
export async function nmnist(options: NmnistBytesOptions): Promise<NmnistSets> {
  requireOptions(options, ["bytes", ...FRAME_KEYS]);
  const { bytes, ...frames } = options;
  requireBytes(bytes, "options.bytes");
  return readNmnist(await archiveSource(bytes, "the archive"), frames);
}

/**
 * The files of a tar archive, compressed or not.
 *
 * @internal
 */
export async function archiveSource(bytes: Uint8Array, title: string): Promise<FileSource> {
  const most = Math.min(MAX_BYTES, MOST_RATIO * bytes.length);
  const files = parseTar(isGzip(bytes) ? await gunzipAll(bytes, most) : bytes);
  return { names: [...files.keys()], read: async (name) => files.get(name)!, title };
}

/**
 * Reads the set from wherever its files are.
 *
 * @internal
 */
export async function readNmnist(source: FileSource, frames: FrameOptions): Promise<NmnistSets> {
  // Refuses options before anything is read.
  new FrameBuilder(1, frames);
  const test = await readSplit(source, "test", frames);
  return { train: await readSplit(source, "train", frames), test };
}

interface Entry {
  readonly name: string;
  readonly label: number;
}

async function readSplit(
  source: FileSource,
  split: "train" | "test",
  frames: FrameOptions,
): Promise<Dataset> {
  const entries = (await listed(source, split)) ?? inFolders(source, split);
  if (entries.length === 0) {
    const message = `${source.title} has neither a list ${split}*.txt of N-MNIST recordings nor a folder ${split} with them`;
    throw new MissingError("options", message);
  }
  const builder = new FrameBuilder(entries.length, frames);
  for (const { name } of entries) {
    const bytes = await source.read(name);
    try {
      builder.add(parseNmnist(bytes));
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      throw new FormatError(`${name}: ${error.argument}`, error.value, error.expected ?? "", {
        cause: error,
      });
    }
  }
  return builder.finish(
    Uint8Array.from(entries, ({ label }) => label),
    CLASSES,
  );
}

/** What a list names; undefined without a list. */
async function listed(source: FileSource, split: string): Promise<Entry[] | undefined> {
  const pattern = new RegExp(`^(?:.*/)?${split}[^/]*\\.txt$`, "i");
  const [list, second] = source.names.filter((name) => pattern.test(name));
  if (list === undefined) return undefined;
  if (second !== undefined) throw new FormatError(source.title, [list, second], `one list ${split}*.txt`);
  const folder = list.slice(0, list.lastIndexOf("/") + 1);
  const known = new Set(source.names);
  const lines = new TextDecoder().decode(await source.read(list)).split(/\r?\n/);
  const entries: Entry[] = [];
  lines.forEach((line, i) => {
    const plain = line.replace(/#.*/, "").trim();
    if (plain === "") return;
    const match = /^(\d{1,9})\s+(\d)$/.exec(plain);
    if (match === null)
      throw new FormatError(`${list}, line ${i + 1}`, line, "a number and a class from 0 to 9");
    const name = `${folder}${match[1]}.bin`;
    if (!known.has(name)) throw new MissingError(name, `${source.title} has no ${name}, which ${list} names`);
    entries.push({ name, label: Number(match[2]) });
  });
  return entries;
}

/** Recordings in a folder a class, in the order of their numbers. */
function inFolders(source: FileSource, split: string): Entry[] {
  const pattern = new RegExp(`(?:^|/)${split}/(\\d)/(\\d+)\\.bin$`, "i");
  return source.names
    .flatMap((name) => {
      const match = pattern.exec(name);
      return match === null ? [] : [{ name, label: Number(match[1]), number: Number(match[2]) }];
    })
    .sort((a, b) => a.number - b.number || a.label - b.label || compareCodePoints(a.name, b.name));
}
