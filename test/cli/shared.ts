import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Dataset, mnist, subset } from "spikegrad/data/node";
import { idxFile } from "../io/shared.ts";

export const root = fileURLToPath(new URL("../..", import.meta.url));
export const cli = join(root, "dist/cli.js");

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly child: ChildProcess;
  readonly outcome: Promise<Outcome>;
  /** Resolves as soon as the text is among what was written to either stream. */
  readonly wrote: (text: string) => Promise<void>;
}

/** Starts the command line with its output piped. */
export function start(
  args: readonly string[],
  options: { cwd: string; env?: Record<string, string>; script?: string },
): Running {
  const env = { ...process.env, ...options.env };
  // Vitest sets these for its own output.
  delete env.FORCE_COLOR;
  const child = spawn(process.execPath, [options.script ?? cli, ...args], { cwd: options.cwd, env });
  const written = { stdout: "", stderr: "" };
  const watchers = new Set<() => void>();
  for (const stream of ["stdout", "stderr"] as const) {
    child[stream].setEncoding("utf8").on("data", (text) => {
      written[stream] += text;
      for (const watch of watchers) watch();
    });
  }
  const outcome = new Promise<Outcome>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, ...written }));
  });
  const wrote = (text: string) =>
    new Promise<void>((resolve, reject) => {
      const watch = () => {
        if (written.stdout.includes(text) || written.stderr.includes(text)) resolve();
      };
      watchers.add(watch);
      watch();
      outcome.then(() => reject(new Error(`ended without "${text}": ${JSON.stringify(written)}`)), reject);
    });
  return { child, outcome, wrote };
}

/** Runs the command line to its end. */
export function run(args: readonly string[], options: { cwd: string; env?: Record<string, string> }) {
  return start(args, options).outcome;
}

/** A new folder, and how to remove it. */
export async function temporaryFolder(): Promise<{ path: string; remove: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), "spikegrad-cli-"));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

/** Writes the first samples of MNIST as a folder of IDX files: little to read, and real. */
export async function writeDigits(folder: string, { train = 64, test = 50 } = {}): Promise<void> {
  const sets = await mnist();
  await mkdir(folder, { recursive: true });
  const write = async (stem: string, { inputs, labels }: Dataset) => {
    const images = idxFile(8, [labels.length, 28, 28], inputs as Uint8Array);
    await writeFile(join(folder, `${stem}-images-idx3-ubyte`), images);
    await writeFile(join(folder, `${stem}-labels-idx1-ubyte`), idxFile(8, [labels.length], [...labels]));
  };
  await write("train", subset(sets.train, 0, train));
  await write("t10k", subset(sets.test, 0, test));
}

/** Whether two files are equal; unlike the test runner's comparison quick for large ones. */
export async function sameBytes(a: string, b: string): Promise<boolean> {
  return (await readFile(a)).equals(await readFile(b));
}
