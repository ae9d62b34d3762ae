import { ArgumentError, FileError, FormatError, MissingError, SpikegradError } from "../errors.ts";
import { allocate } from "../io/bytes.ts";
import type { Dataset } from "./dataset.ts";
import { type IdxArray, readIdx } from "./idx.ts";

/** Images 28 × 28 in shades of grey and their classes, as MNIST and Fashion-MNIST hold them. */
export interface MnistSets {
  /** 60,000 samples in the original sets. `inputs` is a `Uint8Array`, `shape` `[1, 28, 28]`, `classes` 10. */
  readonly train: Dataset;
  /** 10,000 samples in the original sets. */
  readonly test: Dataset;
}

/** Where `mnist` of `spikegrad/data` finds its four files. */
export interface MnistUrlOptions {
  /** The folder that holds the files; a query in it is kept. */
  url: string | URL;
  /** Breaks the download off. */
  signal?: AbortSignal;
}

/** A file as it was found: one of the names asked for. */
export interface FoundFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** Finds the first file of these names. @throws MissingError if there is none. */
export type FileFinder = (names: readonly string[]) => Promise<FoundFile>;

const SIDE = 28;
const CLASSES = 10;
/** The largest file is 47 MB. */
const MAX_BYTES = 2 ** 28;

/**
 * Fetches MNIST, or a set in the same files such as Fashion-MNIST, from a server: `train-images-idx3-ubyte`,
 * `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, with a dot in place of
 * the hyphen before `idx` or not, compressed (`.gz`, looked for first) or not. LeCun, Bottou, Bengio, Haffner 1998 (MNIST);
 * Xiao, Rasul, Vollgraf 2017 (Fashion-MNIST).
 *
 * @param options where: see `MnistUrlOptions`
 * @returns `train` and `test`: `inputs` a `Uint8Array`, `shape` `[1, 28, 28]`, `classes` 10
 * @throws ArgumentError if `url` is missing or empty
 * @throws MissingError naming a file that the server does not have under any of its names
 * @throws FileError if the server cannot be reached or answers with an error
 * @throws FormatError if a file is not what it should be, or images and labels disagree
 * @throws MemoryError if the runtime refuses the memory
 * @throws the signal's reason if `signal` is aborted
 */
export async function mnist(options: MnistUrlOptions): Promise<MnistSets> {
  requireOptions(options, ["url", "signal"]);
  const { url, signal } = options;
  if (!(typeof url === "string" || url instanceof URL) || String(url) === "") {
    throw new ArgumentError("options.url", url, "the address of a folder with the four IDX files");
  }
  return readMnist(urlFinder(String(url), signal));
}

/**
 * Refuses what is no object of these options: a path given as mere text, or a misspelt option, must not end in
 * another data set than the one meant.
 *
 * @internal
 */
export function requireOptions(options: unknown, known: readonly string[]): void {
  const expected = `an object with ${known.join(", ")}`;
  if (typeof options !== "object" || options === null || options instanceof URL) {
    throw new ArgumentError("options", options, expected);
  }
  const unknown = Object.keys(options).find((key) => !known.includes(key));
  if (unknown !== undefined) throw new ArgumentError("options", unknown, expected);
}

/**
 * Reads the four files of a set through `find` and checks them against each other.
 *
 * @internal
 */
export async function readMnist(find: FileFinder): Promise<MnistSets> {
  // The smallest file first: what is not there, or nothing of this kind, shows before 50 MB are read.
  const trainLabels = await readFile(find, "train-labels", 1);
  const testLabels = await readFile(find, "t10k-labels", 1);
  const testImages = await readFile(find, "t10k-images", 3);
  const trainImages = await readFile(find, "train-images", 3);
  return { train: dataset(trainImages, trainLabels), test: dataset(testImages, testLabels) };
}

interface NamedArray {
  readonly name: string;
  readonly array: IdxArray & { readonly type: "u8" };
}

async function readFile(find: FileFinder, stem: string, axes: 1 | 3): Promise<NamedArray> {
  const plain = [`${stem}-idx${axes}-ubyte`, `${stem}.idx${axes}-ubyte`];
  const { name, bytes } = await find([...plain, ...plain.map((each) => `${each}.gz`)]);
  const array = await readNamed(name, bytes);
  if (array.type !== "u8") throw new FormatError(`${name}: IDX type`, array.type, "u8");
  const expected = axes === 1 ? "[samples]" : `[samples, ${SIDE}, ${SIDE}]`;
  const { shape } = array;
  if (shape.length !== axes || shape.slice(1).some((size) => size !== SIDE)) {
    throw new FormatError(`${name}: IDX shape`, shape, expected);
  }
  return { name, array };
}

async function readNamed(name: string, bytes: Uint8Array): Promise<IdxArray> {
  try {
    return await readIdx(bytes, { maxBytes: MAX_BYTES });
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    throw new FormatError(`${name}: ${error.argument}`, error.value, error.expected ?? "", { cause: error });
  }
}

function dataset(images: NamedArray, labels: NamedArray): Dataset {
  const inputs = images.array.data;
  const classes = labels.array.data;
  const samples = images.array.shape[0];
  if (classes.length !== samples) {
    throw new FormatError(
      labels.name,
      `${classes.length} labels`,
      `${samples}, one an image of ${images.name}`,
    );
  }
  const wrong = classes.findIndex((label) => label >= CLASSES);
  if (wrong >= 0) {
    throw new FormatError(`${labels.name}[${wrong}]`, classes[wrong], `a class, 0 … ${CLASSES - 1}`);
  }
  return { inputs, shape: [1, SIDE, SIDE], labels: classes, classes: CLASSES };
}

/** Looks for files in a folder on a server. The style of names that was right last is tried first, at first `-idx….gz`. */
function urlFinder(base: string, signal: AbortSignal | undefined): FileFinder {
  const [, folder = "", query = ""] = /^([^?#]*)(\?[^#]*)?/.exec(base) ?? [];
  let preferred = 2;
  return async (names) => {
    const order = [preferred, ...names.keys()];
    for (const index of new Set(order)) {
      const name = names[index]!;
      const bytes = await fetchFile(`${folder.replace(/\/*$/, "/")}${name}${query}`, signal);
      if (bytes !== undefined) {
        preferred = index;
        return { name, bytes };
      }
    }
    throw new MissingError("options.url", `${folder} has no ${names.join(", ")}`, { value: base });
  };
}

/** The body of a file, undefined if the server does not have it. */
async function fetchFile(address: string, signal: AbortSignal | undefined): Promise<Uint8Array | undefined> {
  try {
    const response = await fetch(address, signal === undefined ? {} : { signal });
    // Some stores answer 403 for what is not there; development servers answer with their start page.
    const absent = [403, 404, 410].includes(response.status);
    const page = response.headers.get("content-type")?.startsWith("text/html") === true;
    if (absent || (response.ok && page)) {
      await response.body?.cancel();
      return undefined;
    }
    if (!response.ok) {
      await response.body?.cancel();
      throw new FileError(address, `cannot fetch ${address}: the server answered ${response.status}`);
    }
    return await readBody(response, address);
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    if (error instanceof SpikegradError) throw error;
    const reason = "the server cannot be reached, broke off, or does not allow this page to read it (CORS)";
    throw new FileError(address, `cannot fetch ${address}: ${reason}`, { cause: error });
  }
}

async function readBody(response: Response, address: string): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  const reader = response.body?.getReader();
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true };
    if (done || value === undefined) break;
    pieces.push(value);
    length += value.length;
    if (length > MAX_BYTES) {
      await reader?.cancel();
      throw new FileError(address, `cannot fetch ${address}: it is longer than ${MAX_BYTES} bytes`);
    }
  }
  const bytes = allocate(length, `the file ${address}`);
  let position = 0;
  for (const piece of pieces) {
    bytes.set(piece, position);
    position += piece.length;
  }
  return bytes;
}
