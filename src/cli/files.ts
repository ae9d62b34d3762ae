import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, extname, join, resolve } from "node:path";
import { readFileBytes, writeFileAtomic } from "../data/node.ts";
import { FileError } from "../errors.ts";

/** The largest model or checkpoint that is read. */
const MAX_MODEL_BYTES = 2 ** 32;
const MOST_NAMES = 100;

/** The bytes of a model or checkpoint. */
export function readModelFile(path: string): Promise<Uint8Array> {
  return readFileBytes(path, { maxBytes: MAX_MODEL_BYTES });
}

/**
 * Refuses, before hours of work go by, a file that could not be written at their end.
 *
 * @param replace whether a file that is there may be replaced
 * @param advice what to do about a file that is there
 * @throws FileError naming what is in the way
 */
export async function checkOutput(
  path: string,
  replace: boolean,
  advice = "choose another name, or replace it with --force",
): Promise<void> {
  const folder = dirname(resolve(path));
  const refuse = (reason: string, cause?: unknown): never => {
    throw new FileError(path, `cannot write "${path}": ${reason}`, { cause });
  };
  const about = await stat(folder).catch((cause) => refuse(`there is no folder "${dirname(path)}"`, cause));
  if (!about.isDirectory()) refuse(`"${dirname(path)}" is no folder`);
  await access(folder, constants.W_OK).catch((cause) =>
    refuse(`the folder "${dirname(path)}" may not be written to`, cause),
  );
  const there = await stat(path).catch((error) =>
    error.code === "ENOENT" ? undefined : refuse(error.message, error),
  );
  if (there === undefined) return;
  if (!there.isFile()) refuse("it is there already, and no regular file");
  if (!replace) refuse(`it is there already; ${advice}`);
}

/** Whether two paths name the same place. */
export function samePath(a: string | undefined, b: string | undefined): boolean {
  return a !== undefined && b !== undefined && resolve(a) === resolve(b);
}

/** `lenet.checkpoint.safetensors` for `lenet.safetensors`. */
export function checkpointBeside(path: string): string {
  const ending = extname(path);
  return `${path.slice(0, path.length - ending.length)}.checkpoint${ending || ".safetensors"}`;
}

/**
 * Writes the result of long work. Where that fails it is kept under a free name beside, or in the folder for
 * temporary files, and the error says where.
 *
 * @throws FileError if `path` could not be written
 */
export async function writeResult(path: string, contents: Uint8Array, replace: boolean): Promise<void> {
  try {
    await writeFileAtomic(path, contents, { overwrite: replace });
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    const kept =
      (await writeFree(path, contents)) ?? (await writeFree(join(tmpdir(), basename(path)), contents));
    const outcome = kept === undefined ? "there was no other place to keep it" : `it is kept as "${kept}"`;
    throw new FileError(path, `${error.message}; ${outcome}`, { cause: error });
  }
}

/** Writes under `path`, or, if that is taken, the first free name like it. Gives the name, or nothing if it cannot be. */
export async function writeFree(path: string, contents: Uint8Array): Promise<string | undefined> {
  const ending = extname(path);
  for (let i = 1; i <= MOST_NAMES; i++) {
    const name = i === 1 ? path : `${path.slice(0, path.length - ending.length)}-${i}${ending}`;
    try {
      await writeFileAtomic(name, contents);
      return name;
    } catch (error) {
      const code =
        error instanceof FileError ? (error.cause as { code?: unknown } | undefined)?.code : undefined;
      if (code !== "EEXIST") return undefined;
    }
  }
  return undefined;
}
