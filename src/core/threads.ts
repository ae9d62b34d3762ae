// What is asked of threads; what can be had, and the workers, come by import() (workers.ts).

import { ArgumentError } from "../errors.ts";

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

/** Batches that a thread can have before it: while it computes one, the next is ready. Each has a team record of its own. */
export const FLIGHTS = 2;

const MOST = 64;

/** Checks `threads` as it came from outside. */
export function checkThreads(threads: unknown): "auto" | number {
  if (threads === "auto") return threads;
  if (typeof threads !== "number" || !Number.isInteger(threads) || threads < 1 || threads > MOST)
    throw new ArgumentError("threads", threads, `"auto" or an integer from 1 to ${MOST}`);
  return threads;
}
