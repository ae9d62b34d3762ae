// What a worker runs: ranks of the programs of any network that asks. A script of its own, without imports, for every runtime.

/** From the pool. */
export type Order =
  | {
      readonly kind: "open";
      readonly id: number;
      readonly module: WebAssembly.Module;
      readonly memory: WebAssembly.Memory;
    }
  | { readonly kind: "close"; readonly id: number }
  | { readonly kind: "hold"; readonly lock: string }
  | { readonly kind: "run"; readonly id: number; readonly runs: readonly (readonly number[])[] };

/** To the pool. */
export interface Report {
  /** "ready" once; one report a run; "held" when the lock is. */
  readonly kind: "ready" | "held" | "done" | "failed";
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
const instances = new Map<number, Core | Error>();

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

function open(module: WebAssembly.Module, memory: WebAssembly.Memory): Core {
  const env = {
    memory,
    wait: (address: number, value: number) => {
      Atomics.wait(new Int32Array(memory.buffer), address >>> 2, value, NAP);
    },
  };
  return new WebAssembly.Instance(module, { env }).exports as unknown as Core;
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

const port = portOf();
port.on("message", (order) => {
  if (order.kind === "close") instances.delete(order.id);
  else if (order.kind === "hold") hold(order.lock);
  else if (order.kind === "open") {
    try {
      instances.set(order.id, open(order.module, order.memory));
    } catch (error) {
      instances.set(order.id, new Error(String(error)));
    }
  } else {
    try {
      const core = instances.get(order.id);
      if (core === undefined || core instanceof Error) throw core;
      for (const operands of order.runs) core.run(...operands);
      port.postMessage({ kind: "done" });
    } catch (error) {
      port.postMessage({ kind: "failed", message: String(error) });
    }
  }
});
port.postMessage({ kind: "ready" });
