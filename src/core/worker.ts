// What a worker runs: ranks of the programs of any network that asks. A script of its own, without imports, for every runtime.

import { Team } from "../../assembly/abi.ts";
import { Box, BoxState } from "./box.ts";

/** From the pool. */
export type Order =
  | { readonly kind: "box"; readonly box: Int32Array }
  | {
      readonly kind: "open";
      readonly id: number;
      readonly module: WebAssembly.Module;
      readonly memory: WebAssembly.Memory;
    }
  | { readonly kind: "close"; readonly id: number }
  | { readonly kind: "hold"; readonly lock: string }
  | ({ readonly kind: "run" } & Flight)
  /** Answered with "left" when all runs before it are over. */
  | { readonly kind: "ask"; readonly flight: number };

/** What one rank runs. */
export interface Flight {
  readonly flight: number;
  readonly id: number;
  readonly runs: readonly Run[];
}

/** Operands of the core's `run`: program, words, frames, rank, ranks, team. */
export type Run = readonly [number, number, number, number, number, number];

/** To the pool. */
export interface Report {
  /** "ready" once; "done" by the last rank of a flight, "failed" by each that fails; "left" when asked; "held" when the lock is. */
  readonly kind: "ready" | "held" | "done" | "failed" | "left";
  readonly flight?: number;
  readonly message?: string;
}

interface Port {
  postMessage(report: Report): void;
  on(event: "message", listener: (order: Order) => void): void;
}

interface Scope {
  process?: { getBuiltinModule?(name: string): { parentPort?: Port } | undefined };
  require?(name: string): { parentPort?: Port };
  postMessage(report: Report): void;
  addEventListener(event: "message", listener: (event: { data: Order }) => void): void;
}

const scope = globalThis as unknown as Scope;
/** By network; the error where a core could not be made. */
const instances = new Map<number, { readonly core: Core; readonly memory: WebAssembly.Memory } | Error>();

/** How long a rank sleeps at a barrier (ms). */
const NAP = 0.1;

interface Core {
  run(...operands: number[]): void;
}

/** Node, Deno and Bun have ports, pages their global scope. */
function portOf(): Port {
  const { process } = scope;
  let port: Port | undefined;
  if (process?.getBuiltinModule) port = process.getBuiltinModule("node:worker_threads")?.parentPort;
  else if (process && typeof require === "function") port = require("node:worker_threads").parentPort;
  return (
    port ?? {
      postMessage: (report) => scope.postMessage(report),
      on: (_, listener) => scope.addEventListener("message", ({ data }) => listener(data)),
    }
  );
}

declare function require(name: string): { parentPort?: Port };

function open(module: WebAssembly.Module, memory: WebAssembly.Memory) {
  const env = {
    memory,
    wait: (address: number, value: number) => {
      Atomics.wait(new Int32Array(memory.buffer), address >>> 2, value, NAP);
    },
  };
  return { core: new WebAssembly.Instance(module, { env }).exports as unknown as Core, memory };
}

/** Holds a lock for as long as the worker lives: pages do not hear of a worker's end in any other way. */
function hold(lock: string): void {
  const { locks } = (globalThis as { navigator: { locks: Locks } }).navigator;
  locks.request(lock, () => {
    port.postMessage({ kind: "held" });
    return new Promise(() => {});
  });
}

interface Locks {
  request(name: string, held: () => Promise<unknown>): void;
}

let box: Int32Array | undefined;

/** Runs a rank's part of a flight, and of those that are in the box by then. */
function fly(first: Flight): void {
  if (box) Atomics.store(box, Box.State, BoxState.Attends);
  for (let next: Flight | undefined = first; next; next = box && ordered(box)) runFlight(next);
}

/** The last rank to come to the end reports it. */
function runFlight({ flight, id, runs }: Flight): void {
  try {
    const network = instances.get(id);
    if (network === undefined || network instanceof Error) throw network;
    for (const operands of runs) network.core.run(...operands);
    const [, , , , ranks, team] = runs[0];
    const words = new Int32Array(network.memory.buffer, team, Team.Size / 4);
    if (Atomics.load(words, Team.Done / 4) === ranks * runs.length)
      port.postMessage({ kind: "done", flight });
  } catch (error) {
    port.postMessage({ kind: "failed", flight, message: String(error) });
  }
}

/** The flight in the box; if there is none, nobody puts one there from now on. */
function ordered(box: Int32Array): Flight | undefined {
  if (Atomics.compareExchange(box, Box.State, BoxState.Attends, BoxState.Away) === BoxState.Attends)
    return undefined;
  const runs = Array.from({ length: box[Box.Runs] }, (_, run) => {
    const start = Box.Operands + 6 * run;
    return [...new Uint32Array(box.buffer).subarray(start, start + 6)] as unknown as Run;
  });
  const next = { flight: box[Box.Flight], id: box[Box.Id], runs };
  Atomics.store(box, Box.State, BoxState.Attends);
  return next;
}

const port = portOf();
port.on("message", (order) => {
  if (order.kind === "box") box = order.box;
  if (box && order.kind !== "hold") Atomics.add(box, Box.Seen, 1);
  if (order.kind === "close") instances.delete(order.id);
  else if (order.kind === "hold") hold(order.lock);
  else if (order.kind === "ask") port.postMessage({ kind: "left", flight: order.flight });
  else if (order.kind === "open") {
    try {
      instances.set(order.id, open(order.module, order.memory));
    } catch (error) {
      instances.set(order.id, new Error(String(error)));
    }
  } else if (order.kind === "run") fly(order);
});
port.postMessage({ kind: "ready" });
