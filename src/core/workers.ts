// The workers that all networks share. A batch takes as many as it has ranks and gives them back: idle ones wait for a message,
// and a thousand networks need no more of them than one.

import workerScript from "worker-source";
import { Team } from "../../assembly/abi.ts";
import { WorkerError } from "../errors.ts";
import { nodeModule, workerSource } from "./threads.ts";
import type { Order, Report } from "./worker.ts";

/** A worker that says nothing for so long (ms) when it is started never will. */
const START_LIMIT = 5000;
/** Ranks that are told to stop do so within one instruction; one that has not after so long (ms) is ended. */
const STOP_LIMIT = 500;
/** Networks whose memories a worker holds at once. */
const MOST_OPEN = 4;
/** A worker is replaced after so many: it holds address space until it collects its garbage, which an idle one never does. */
const MOST_OPENED = 32;

/** A worker of whatever runtime. */
interface Host {
  post(order: Order): void;
  /** Whether it keeps the process from ending. */
  keep(on: boolean): void;
  end(): void;
}

interface Listener {
  report(report: Report): void;
  /** It is gone, and why. */
  gone(reason: string): void;
}

interface NodeWorker {
  postMessage(order: Order): void;
  on(event: string, listener: (value: never) => void): void;
  ref?(): void;
  unref?(): void;
  terminate(): unknown;
}

interface WebWorker {
  postMessage(order: Order): void;
  addEventListener(event: string, listener: (event: never) => void): void;
  terminate(): void;
}

let made = 0;

/** Starts a worker of this runtime. */
async function start(listener: Listener): Promise<Host> {
  const source = workerSource();
  const given = typeof source === "function" ? source() : undefined;
  const node = await nodeModule<{
    Worker: new (script: unknown, option?: { eval?: boolean; execArgv?: string[] }) => NodeWorker;
  }>("node:worker_threads");
  if (node !== undefined || (given as NodeWorker | undefined)?.on !== undefined) {
    let worker = given as NodeWorker;
    if (given === undefined && node !== undefined) {
      // The flags of the program are none of the worker's: --eval or --import would run there too.
      const option = { execArgv: [] };
      const file = typeof source === "string" && /^[a-z]+:\/\//i.test(source) ? new URL(source) : source;
      worker =
        file === undefined
          ? new node.Worker(workerScript, { ...option, eval: true })
          : new node.Worker(file, option);
    }
    worker.on("message", (report: Report) => listener.report(report));
    worker.on("error", (error: unknown) => listener.gone(String(error)));
    worker.on("messageerror", (error: unknown) => listener.gone(String(error)));
    worker.on("exit", (code: number) => listener.gone(`it ended with code ${code}`));
    return {
      post: (order) => worker.postMessage(order),
      keep: (on) => (on ? worker.ref?.() : worker.unref?.()),
      end: () => void worker.terminate(),
    };
  }
  return startInPage(listener, source, given as WebWorker | undefined);
}

function startInPage(
  listener: Listener,
  source: ReturnType<typeof workerSource>,
  given: WebWorker | undefined,
): Host {
  let worker = given;
  if (worker === undefined) {
    const inlined = source === undefined;
    const address = inlined
      ? URL.createObjectURL(new Blob([workerScript], { type: "text/javascript" }))
      : (source as string | URL);
    worker = new Worker(address) as WebWorker;
    // Not before the worker has read it.
    if (inlined) setTimeout(() => URL.revokeObjectURL(String(address)), START_LIMIT);
  }
  const there = worker;
  const lock = `spikegrad worker ${++made} ${Math.floor(performance.timeOrigin)} ${globalThis.location?.href ?? ""}`;
  const { locks } = globalThis.navigator ?? {};
  there.addEventListener("message", ({ data }: { data: Report }) => {
    if (data.kind === "held") locks.request(lock, async () => listener.gone("it was ended")).catch(() => {});
    if (data.kind === "ready" && locks) there.postMessage({ kind: "hold", lock });
    listener.report(data);
  });
  there.addEventListener("error", (event: { message?: string; preventDefault(): void }) => {
    event.preventDefault();
    listener.gone(event.message ?? "its script cannot be loaded; a policy may forbid it");
  });
  there.addEventListener("messageerror", () => listener.gone("a message could not be read"));
  return {
    post: (order) => there.postMessage(order),
    keep: () => {},
    end: () => there.terminate(),
  };
}

const idle: Member[] = [];
const waiting: { count: number; ready: (members: Member[]) => void; failed: (error: unknown) => void }[] = [];
/** Workers that live, idle or not, and how many there may be: as many as the largest network has threads. */
let alive = 0;
let most = 0;

/** A worker of the pool. */
class Member {
  host: Host | undefined;
  dead: string | undefined;
  #opened = 0;
  /** Networks that it holds, the one used last at the end. */
  readonly #open = new Set<number>();
  #answer: ((failure: string | undefined) => void) | undefined;
  #ready: (() => void) | undefined;

  static async start(): Promise<Member> {
    const member = new Member();
    alive++;
    try {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const ready = new Promise<void>((resolve) => {
        member.#ready = resolve;
        timer = setTimeout(() => member.#die(`it did not start within ${START_LIMIT / 1000} s`), START_LIMIT);
      });
      member.host = await start({
        report: (report) => member.#report(report),
        gone: (reason) => member.#die(reason),
      });
      await ready;
      clearTimeout(timer);
    } catch (error) {
      member.#die(String(error));
    }
    if (member.dead !== undefined) throw new WorkerError(`a worker could not be started: ${member.dead}`);
    member.host?.keep(false);
    return member;
  }

  #report(report: Report): void {
    if (report.kind === "ready") this.#ready?.();
    else if (report.kind !== "held")
      this.#settle(report.kind === "failed" ? (report.message ?? "it failed") : undefined);
  }

  #settle(failure: string | undefined): void {
    const answer = this.#answer;
    this.#answer = undefined;
    answer?.(failure);
  }

  #die(reason: string): void {
    if (this.dead !== undefined) return;
    this.dead = reason;
    alive--;
    const place = idle.indexOf(this);
    if (place >= 0) idle.splice(place, 1);
    this.host?.end();
    this.#ready?.();
    this.#settle(reason);
  }

  /** Ends it, idle or not. */
  retire(): void {
    this.#die("it was ended");
  }

  /** Whether it has held so many networks that a fresh one should take its place. */
  get worn(): boolean {
    return this.#opened >= MOST_OPENED;
  }

  forget(id: number): void {
    if (this.#open.delete(id) && this.dead === undefined) this.host?.post({ kind: "close", id });
  }

  /** Runs one rank; resolves with what went wrong, if anything. */
  run(shared: SharedNetwork, operands: readonly number[]): Promise<string | undefined> {
    const { host } = this;
    if (this.dead !== undefined || host === undefined) return Promise.resolve(this.dead ?? "it is gone");
    const { id, module, memory } = shared;
    return new Promise((resolve) => {
      this.#answer = resolve;
      try {
        host.keep(true);
        if (!this.#open.has(id)) {
          for (const other of [...this.#open].slice(0, Math.max(0, this.#open.size - MOST_OPEN + 1)))
            this.forget(other);
          host.post({ kind: "open", id, module, memory });
          this.#opened++;
        }
        this.#open.delete(id);
        this.#open.add(id);
        host.post({ kind: "run", id, operands });
      } catch (error) {
        this.#die(String(error));
      }
    });
  }

  holds(id: number): boolean {
    return this.#open.has(id);
  }
}

/** What workers need to know of a network. */
export interface SharedNetwork {
  readonly id: number;
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  /** Address of the team record. */
  readonly team: number;
}

/** Starts workers until there are `count`; later batches find them. */
export async function startWorkers(count: number): Promise<void> {
  most = Math.max(most, count);
  const members = await Promise.allSettled(
    Array.from({ length: Math.max(0, count - alive) }, () => Member.start()),
  );
  for (const found of members) if (found.status === "fulfilled") idle.push(found.value);
  serve();
  for (const found of members) if (found.status === "rejected") throw found.reason;
}

/** Gives waiting batches their workers, in turn, all that one needs at once. */
function serve(): void {
  for (;;) {
    const [next] = waiting;
    if (next === undefined) return;
    if (idle.length >= next.count) {
      waiting.shift();
      next.ready(idle.splice(idle.length - next.count));
      continue;
    }
    // Workers that died are replaced.
    const missing = Math.min(next.count - idle.length, most - alive);
    if (missing <= 0) return;
    waiting.shift();
    const started = Array.from({ length: missing }, () => Member.start());
    Promise.allSettled(started).then((members) => {
      for (const found of members) if (found.status === "fulfilled") idle.push(found.value);
      const refused = members.find((found) => found.status === "rejected");
      if (refused) next.failed(refused.reason);
      else waiting.unshift(next);
      serve();
    });
    return;
  }
}

function lease(count: number, id: number): Promise<Member[]> {
  // Those that know the network are taken first.
  idle.sort((a, b) => Number(a.holds(id)) - Number(b.holds(id)));
  return new Promise((ready, failed) => {
    waiting.push({ count, ready, failed });
    serve();
  });
}

/**
 * Runs a program with `ranks` ranks, a worker each.
 *
 * @throws WorkerError if one of them ends or fails; none is at work any more then
 */
export async function runRanks(
  shared: SharedNetwork,
  program: { readonly address: number; readonly words: number },
  frames: number,
  ranks: number,
): Promise<void> {
  const members = await lease(ranks, shared.id);
  const { team } = shared;
  const words = new Int32Array(shared.memory.buffer, team, Team.Size / 4);
  Atomics.store(words, Team.Next / 4, 0);
  let timer: ReturnType<typeof setTimeout> | undefined;
  let failure: string | undefined;
  const stop = () => {
    stopRanks(shared);
    timer ??= setTimeout(() => {
      for (const member of busy) member.retire();
    }, STOP_LIMIT);
  };
  const busy = new Set(members);
  await Promise.all(
    members.map(async (member, rank) => {
      const operands = [program.address, program.words, frames, rank, ranks, team];
      const failed = await member.run(shared, operands);
      busy.delete(member);
      if (failed === undefined) return;
      failure ??= failed;
      if (busy.size > 0) stop();
    }),
  );
  clearTimeout(timer);
  const stopped = Atomics.load(words, Team.Stop / 4) === STOPPED;
  if (failure !== undefined) words.fill(0);
  for (const member of members) {
    if (member.dead !== undefined) continue;
    member.host?.keep(false);
    if (member.worn) member.retire();
    else idle.push(member);
  }
  serve();
  if (failure !== undefined && !stopped) throw new WorkerError(`a worker stopped: ${failure}`);
}

/** In Team.Stop: the owner wants the ranks to give up; 1 if one of them failed. */
const STOPPED = 2;

/** Tells the ranks of a network's batch to give up. */
export function stopRanks({ memory, team }: SharedNetwork, wanted = false): void {
  const words = new Int32Array(memory.buffer, team, Team.Size / 4);
  Atomics.compareExchange(words, Team.Stop / 4, 0, wanted ? STOPPED : 1);
  Atomics.add(words, Team.Passed / 4, 1);
  Atomics.notify(words, Team.Passed / 4);
}

/** Workers forget the network: its memory can go. */
export function forgetNetwork(id: number): void {
  for (const member of idle) member.forget(id);
}
