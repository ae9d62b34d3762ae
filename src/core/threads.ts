// How many ranks a network gets, and why only one where it is one.

import { ArgumentError } from "../errors.ts";
import type { Build } from "./wasm.ts";

/** Threads of a network. */
export interface Threads {
  /** Threads that compute a batch. */
  readonly count: number;
  /** Why it is 1 although more were asked for. */
  readonly reason?: string;
}

/** Where workers come from: the address of `spikegrad/worker`, or a function that starts it. */
export type WorkerSource = URL | string | (() => unknown);

let source: WorkerSource | undefined;

/** Where workers come from that are started from now on; undefined for the script inside the package. */
export function setWorkerSource(from: WorkerSource | undefined): void {
  if (from !== undefined && typeof from !== "string" && typeof from !== "function" && !(from instanceof URL))
    throw new ArgumentError("worker", from, "the address of spikegrad/worker, or a function that starts it");
  source = from;
}

export function workerSource(): WorkerSource | undefined {
  return source;
}

/** Blocks of a training batch are at most eight: more threads than that would wait. */
const MOST_AUTO = 8;
const MOST = 64;

// (module (memory 1 1 shared) (func i32.const 0 i32.atomic.load drop))
const THREADS_PROBE = Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0],
  ...[5, 4, 1, 3, 1, 1, 10, 11, 1, 9, 0, 65, 0, 254, 16, 2, 0, 26, 11],
);

/** What Node, Deno and Bun have and pages do not. */
interface NodeProcess {
  getBuiltinModule?(name: string): unknown;
  versions?: { node?: string };
}

/** A module of Node's in runtimes that have them, without an import that would keep others from loading this file. */
export async function nodeModule<T>(name: string): Promise<T | undefined> {
  const { process } = globalThis as { process?: NodeProcess };
  if (process?.versions?.node === undefined) return undefined;
  return process.getBuiltinModule?.(name) as T | undefined;
}

/** Checks `threads` as it came from outside. */
export function checkThreads(threads: unknown): "auto" | number {
  if (threads === "auto") return threads;
  if (typeof threads !== "number" || !Number.isInteger(threads) || threads < 1 || threads > MOST)
    throw new ArgumentError("threads", threads, `"auto" or an integer from 1 to ${MOST}`);
  return threads;
}

/** The threads that this place can have, before any was started. */
export async function possibleThreads(
  asked: "auto" | number,
  { build, module }: { build: "auto" | Build; module: boolean },
): Promise<Threads> {
  if (asked === 1) return { count: 1 };
  const one = (reason: string): Threads => ({ count: 1, reason });
  if (build !== "auto" && build !== "threads") return one(`the ${build} build has no threads`);
  if ((globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated === false) {
    return one(
      "the page is not cross-origin isolated: it must be served with Cross-Origin-Opener-Policy: same-origin and " +
        "Cross-Origin-Embedder-Policy: require-corp",
    );
  }
  if (typeof SharedArrayBuffer !== "function") return one("this engine has no SharedArrayBuffer");
  if (!WebAssembly.validate(THREADS_PROBE)) return one("this engine's WebAssembly has no threads");
  const node = await nodeModule<{ availableParallelism?(): number; cpus(): unknown[] }>("node:os");
  if (node === undefined && typeof Worker !== "function") return one("this runtime has no workers");
  if (module) return one("the core that was given has no threads");
  if (asked !== "auto") return { count: asked };
  const cores = node
    ? (node.availableParallelism?.() ?? node.cpus().length)
    : (globalThis.navigator?.hardwareConcurrency ?? 1);
  const count = Math.max(1, Math.min(cores, MOST_AUTO));
  return count > 1 ? { count } : one("this machine has one processor");
}
