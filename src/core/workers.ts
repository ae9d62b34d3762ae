// How many ranks a network gets, and the workers that all networks share. A batch takes as many as it has ranks and gives
// them back: idle ones wait for a message, and a thousand networks need no more of them than one.

import workerScript from "worker-source";
import { Control, Op, Survey, Team, TeamStep } from "../../assembly/abi.ts";
import { MemoryError, StateError, WorkerError } from "../errors.ts";
import type { Purpose } from "../methods/method.ts";
import type { OptimizerState } from "../optimizer.ts";
import type { Batch } from "../runner.ts";
import { Box, BoxState, MOST_RUNS } from "./box.ts";
import type { Engine, Lowered } from "./engine.ts";
import type { Plan, Program } from "./plan.ts";
import { FLIGHTS, type Threads, workerSource } from "./threads.ts";
import type { Build } from "./wasm.ts";
import type { Order, Report, Run } from "./worker.ts";

/** Blocks of a training batch are at most eight: more threads than that would wait. */
const MOST_AUTO = 8;

/** A worker that says nothing for so long (ms) when it is started never will. */
const START_LIMIT = 5000;
/** Ranks that are told to stop do so within one instruction; one that has not after so long (ms) is ended. */
const STOP_LIMIT = 500;
/** Networks whose memories a worker holds at once. */
const MOST_OPEN = 4;
/** A worker is replaced after so many: it holds address space until it collects its garbage, which an idle one never does. */
const MOST_OPENED = 32;

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

/** The threads that this place can have, before any was started. */
export async function possibleThreads(
  asked: "auto" | number,
  { build, module }: { build: "auto" | Build; module: boolean },
): Promise<Threads> {
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
  // Chromium lets a worker compute on for up to two seconds after terminate(), and tells nobody until then.
  const end = there.terminate.bind(there);
  there.terminate = () => {
    end();
    listener.gone("it was ended");
  };
  return {
    post: (order) => there.postMessage(order),
    keep: () => {},
    end,
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
  /** What it was told to run and may not have ended yet. */
  readonly flights = new Map<number, Flight>();
  readonly #box = new Int32Array(new SharedArrayBuffer(4 * Box.Length));
  #opened = 0;
  /** Networks that it holds, the one used last at the end. */
  readonly #open = new Set<number>();
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
      if (member.dead === undefined) member.#post({ kind: "box", box: member.#box });
    } catch (error) {
      member.#die(String(error));
    }
    if (member.dead !== undefined) throw new WorkerError(`a worker could not be started: ${member.dead}`);
    member.host?.keep(false);
    return member;
  }

  #report({ kind, flight = 0, message = "it failed" }: Report): void {
    if (kind === "ready") this.#ready?.();
    const flown = this.flights.get(flight);
    if (kind === "done") flown?.end();
    else if (kind === "left") flown?.left(this);
    else if (kind === "failed") flown?.fail(this, message);
  }

  #die(reason: string): void {
    if (this.dead !== undefined) return;
    this.dead = reason;
    alive--;
    const place = idle.indexOf(this);
    if (place >= 0) idle.splice(place, 1);
    this.host?.end();
    this.#ready?.();
    for (const flight of [...this.flights.values()]) flight.fail(this, reason);
  }

  /** Ends it, idle or not. */
  retire(): void {
    this.#die("it was ended");
  }

  /** Whether it has held so many networks that a fresh one should take its place. */
  get worn(): boolean {
    return this.#opened >= MOST_OPENED;
  }

  #post(order: Order): void {
    Atomics.add(this.#box, Box.Messages, 1);
    this.host?.post(order);
  }

  forget(id: number): void {
    if (this.#open.delete(id) && this.dead === undefined) this.#post({ kind: "close", id });
  }

  /** Has it say when it has left a flight. */
  ask(flight: number): void {
    this.#post({ kind: "ask", flight });
  }

  /** Tells it to run one rank of a flight. */
  run(flight: Flight, { id, module, memory }: SharedNetwork, runs: readonly Run[]): void {
    if (this.dead !== undefined) {
      flight.fail(this, this.dead);
      return;
    }
    const { number } = flight;
    this.flights.set(number, flight);
    try {
      this.host?.keep(true);
      if (!this.#open.has(id)) {
        for (const other of [...this.#open].slice(0, Math.max(0, this.#open.size - MOST_OPEN + 1)))
          this.forget(other);
        this.#post({ kind: "open", id, module, memory });
        this.#opened++;
      }
      this.#open.delete(id);
      this.#open.add(id);
      if (!this.#order(number, id, runs)) this.#post({ kind: "run", flight: number, id, runs });
    } catch (error) {
      this.#die(String(error));
    }
  }

  /** Puts a flight into its box, if it will look there and no message comes before. */
  #order(flight: number, id: number, runs: readonly Run[]): boolean {
    const box = this.#box;
    const ready = Atomics.load(box, Box.Seen) === box[Box.Messages];
    if (!ready || runs.length > MOST_RUNS || Atomics.load(box, Box.State) !== BoxState.Attends) return false;
    box.set([flight, id, runs.length, ...runs.flat()], Box.Flight);
    return Atomics.compareExchange(box, Box.State, BoxState.Attends, BoxState.Ordered) === BoxState.Attends;
  }

  holds(id: number): boolean {
    return this.#open.has(id);
  }
}

let flights = 0;

/** Programs that members run together, a rank each, one of a network's teams. */
class Flight {
  readonly number = ++flights;
  readonly members: readonly Member[];
  /** Why it failed, if it did; known when it has ended. */
  failure: string | undefined;
  /** Resolves when no member is at work on it any more. */
  readonly ended: Promise<void>;
  #resolve: () => void = () => {};
  readonly #words: Int32Array;
  readonly #busy: Set<Member>;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(members: readonly Member[], words: Int32Array) {
    this.members = members;
    this.#words = words;
    this.#busy = new Set(members);
    this.ended = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  end(): void {
    clearTimeout(this.#timer);
    for (const { flights } of this.members) flights.delete(this.number);
    this.#resolve();
  }

  left(member: Member): void {
    this.#busy.delete(member);
    if (this.#busy.size === 0) this.end();
  }

  /** A member failed or died: the others are told to give up, and waited for. */
  fail(member: Member, reason: string): void {
    const first = this.failure === undefined;
    this.failure ??= reason;
    this.left(member);
    if (!first || this.#busy.size === 0) return;
    stopTeam(this.#words);
    this.#timer = setTimeout(() => {
      for (const slow of [...this.#busy]) slow.retire();
    }, STOP_LIMIT);
    for (const other of [...this.#busy]) other.ask(this.number);
  }
}

/** What workers need to know of a network. */
export interface SharedNetwork {
  readonly id: number;
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  /** Address of its team records, FLIGHTS a thread. */
  readonly teams: number;
  readonly threads: number;
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

/** Takes back members that have nothing to run. */
function giveBack(members: readonly Member[]): void {
  for (const member of members) {
    if (member.dead !== undefined) continue;
    member.host?.keep(false);
    if (member.worn) member.retire();
    else idle.push(member);
  }
  serve();
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

/** In Team.Done: no rank has been told to run yet. */
const NOT_BEGUN = -1;
/** Who waits on the spot for ranks gives up after so long (ms): one of them may be dead. */
const PATIENCE = 2000;

/**
 * Sees to it that the ranks at work change no parameters before the event loop turns: waits on the spot until they are done with a
 * step that they have begun, and says so; else they leave it out. `ends`: ends of programs that they have to come to.
 *
 * @throws StateError if they are not in time
 */
function awaitRanks(words: Int32Array, ends: number): boolean {
  const step = Atomics.compareExchange(words, Team.Step / 4, TeamStep.Open, TeamStep.Held);
  if (step !== TeamStep.Begun) return false;
  const limit = performance.now() + PATIENCE;
  for (;;) {
    const done = Atomics.load(words, Team.Done / 4);
    if (done === ends || done === NOT_BEGUN) return done === ends;
    if (performance.now() > limit || Atomics.load(words, Team.Stop / 4) !== 0)
      throw new StateError("threads are taking the optimizer's step and do not come to its end");
  }
}

/** Tells ranks to give up. */
function stopTeam(words: Int32Array): void {
  Atomics.store(words, Team.Stop / 4, 1);
  Atomics.add(words, Team.Passed / 4, 1);
}

/** Workers forget the network: its memory can go. */
export function forgetNetwork(id: number): void {
  for (const member of idle) member.forget(id);
}

/** A sum of squares of gradients that need no second look, unless the rate is out of all bounds. */
const PLAIN = 1e30;

/** A batch that is done sooner on one thread (ms) is not worth waking workers for. */
const WORTH = 0.3;

/** Programs that infer a batch each take no more memory than this together (bytes): training may need it. */
const SOLO_BUDGET = 2 ** 29;

/** Members that have something of a network's to run, and how many flights. */
interface Lane {
  readonly members: Promise<readonly Member[]>;
  load: number;
}

/** The pool as one network sees it. */
export class Crew {
  readonly #shared: SharedNetwork;
  readonly #all: readonly Int32Array[];
  readonly #free: Int32Array[];
  /** Members that fly alone. */
  #lanes: Lane[] = [];
  #disposed = false;
  /** Where a step may be taken, and ends of programs that ranks have to come to before it has been. */
  #stepping: { readonly words: Int32Array; readonly ends: number } | undefined;
  readonly #endings = new WeakMap<
    OptimizerState,
    {
      readonly address: number;
      readonly result: number;
      readonly program: Program;
      readonly lowered: Lowered;
    }
  >();
  /** Estimates by program: ms that one rank needs for a block of it. */
  readonly #pace = new WeakMap<Program, number>();

  constructor(shared: SharedNetwork) {
    this.#shared = shared;
    this.#all = Array.from(
      { length: FLIGHTS * shared.threads },
      (_, i) => new Int32Array(shared.memory.buffer, shared.teams + i * Team.Size, Team.Size / 4),
    );
    this.#free = [...this.#all];
  }

  /** A rank took `ms` for a block of a program. */
  learn(program: Program, ms: number): void {
    this.#pace.set(program, ms);
  }

  /**
   * Runs programs one after the other with `ranks` ranks, a worker each: the caller's thread is none of them, for systems like to put the
   * one that it wakes on its own processor. Says whether the step of one that may `Commit` was begun; what reads parameters meanwhile
   * waits for the end of it.
   *
   * @throws WorkerError if one of them ends or fails; none is at work any more then
   */
  async run(programs: readonly Program[], frames: number, ranks: number): Promise<boolean> {
    const words = this.#free.pop() as Int32Array;
    const ends = ranks * programs.length;
    Atomics.store(words, Team.Done / 4, NOT_BEGUN);
    this.#stepping = { words, ends };
    const lane = ranks === 1 ? this.#lane() : { members: lease(ranks, this.#shared.id), load: 0 };
    lane.load++;
    let members: readonly Member[] = [];
    try {
      members = await lane.members;
      Atomics.store(words, Team.Arrived / 4, 0);
      Atomics.store(words, Team.Next / 4, 0);
      Atomics.store(words, Team.Step / 4, TeamStep.Open);
      Atomics.store(words, Team.Done / 4, 0);
      const flight = new Flight(members, words);
      members.forEach((member, rank) => {
        const runs = programs.map(
          ({ address, words: length }): Run => [address, length, frames, rank, ranks, words.byteOffset],
        );
        // It may have been stopped while it waited for them.
        if (Atomics.load(words, Team.Stop / 4) === 0) member.run(flight, this.#shared, runs);
        else flight.left(member);
      });
      await flight.ended;
      const begun = Atomics.load(words, Team.Step / 4) === TeamStep.Begun;
      // One that dies behind the end has done its part.
      if (Atomics.load(words, Team.Done / 4) === ends || this.#disposed) return begun;
      const half = begun ? ", in the midst of a step, which some parameters have taken and others not" : "";
      throw new WorkerError(`a worker stopped${half}: ${flight.failure ?? "the batch was given up"}`);
    } finally {
      if (!this.#disposed) Atomics.store(words, Team.Stop / 4, 0);
      this.#free.push(words);
      if (--lane.load === 0) {
        this.#lanes = this.#lanes.filter((other) => other !== lane);
        if (this.#disposed) for (const member of members) member.forget(this.#shared.id);
        giveBack(members);
      }
    }
  }

  /** The lane for a flight of one rank. Where other networks wait for workers, it waits behind them. */
  #lane(): Lane {
    const lanes = this.#lanes;
    if (waiting.length === 0 && lanes.length >= this.#shared.threads)
      return lanes.reduce((a, b) => (b.load < a.load ? b : a));
    const lane = { members: lease(1, this.#shared.id), load: 0 };
    lanes.push(lane);
    return lane;
  }

  /**
   * Runs all blocks of a batch and `end`, if given, which may `Commit`; says whether it did. Undefined where nothing was run: where there
   * is nothing to share, and where one thread would be done before workers wake.
   */
  async runBatch(
    { ports, program, purpose, ranks: most, together }: Lowered,
    control: Uint32Array,
    blocks: number,
    end?: Program,
  ): Promise<boolean | undefined> {
    const ranks = Math.min(most, together ? control[Control.Samples / 4] : blocks);
    const ms = (this.#pace.get(program) ?? Number.POSITIVE_INFINITY) * blocks;
    this.#stepping = undefined;
    if ((ranks < 2 && !purpose.solo) || ms < WORTH) return undefined;
    control[Control.FirstBlock / 4] = 0;
    control[Control.EndBlock / 4] = blocks;
    // One that flies alone may have to wait behind another.
    const waits = ranks === 1 && this.#lanes.length >= this.#shared.threads;
    const began = performance.now();
    const programs = end ? [program, end] : [program];
    const begun = await this.run(programs, ports.frames, ranks);
    if (!waits) this.learn(program, ((performance.now() - began) * ranks) / blocks);
    return begun;
  }

  /**
   * Programs for batches that one thread infers each, if `count` samples are batches enough and there is memory for as many programs as
   * threads; behind them the one for all threads, where some batches are left over.
   */
  reserve(engine: Engine, key: string, purpose: Purpose, count: number): Lowered[] | undefined {
    const { threads } = this.#shared;
    const batches = Math.ceil(count / purpose.capacity);
    const left = batches % threads;
    const most = Math.min(this.#all.length, batches - left);
    if (most === 0) return undefined;
    const slots: Lowered[] = [];
    try {
      do slots.push(engine.lower(`${key} ${slots.length}`, { ...purpose, solo: true }));
      while (slots.length < most && (slots.length + 1) * slots[0].bytes <= SOLO_BUDGET);
      if (left > 0) slots.push(engine.lower(key, purpose));
    } catch (error) {
      if (!(error instanceof MemoryError)) throw error;
    }
    if (slots.filter(({ purpose }) => purpose.solo).length >= threads) return slots;
    for (let i = 0; i < most; i++) engine.drop(`${key} ${i}`);
    return undefined;
  }

  /** Infers `count` samples in batches of `size`, as many at a time as there are programs; answers are taken in turn. */
  async stream(
    slots: readonly Lowered[],
    count: number,
    size: number,
    begin: (first: number, lowered: Lowered) => Batch,
  ): Promise<void> {
    const running: Promise<unknown>[] = [];
    const taken: Promise<void>[] = [];
    const solo = slots.filter(({ purpose }) => purpose.solo);
    const shared = slots.find(({ purpose }) => !purpose.solo);
    const batches = Math.ceil(count / size);
    const alone = shared ? batches - (batches % this.#shared.threads) : batches;
    const errors: unknown[] = [];
    // What would come of the others is of no use then.
    const fail = (error: unknown) => {
      if (errors.push(error) > 1) return;
      for (const words of this.#all) if (!this.#free.includes(words)) stopTeam(words);
    };
    try {
      for (let i = 0; i < batches; i++) {
        const lowered = i < alone ? solo[i % solo.length] : shared;
        await taken[i < alone ? i - solo.length : i - 1];
        const { ran, take } = begin(i * size, lowered as Lowered);
        running[i] = ran;
        ran.catch(fail);
        taken[i] = Promise.all([ran, taken[i - 1]]).then(take);
        taken[i].catch(fail);
      }
      await taken.at(-1);
    } catch (error) {
      fail(error);
      throw errors[0];
    } finally {
      await Promise.allSettled(running);
    }
  }

  /**
   * Sees to it that ranks at work change no parameters before the event loop turns: waits on the spot until they are done with a step
   * that they have begun, and says whether they had.
   *
   * @throws StateError if they are not in time
   */
  wait(): boolean {
    return this.#stepping !== undefined && awaitRanks(this.#stepping.words, this.#stepping.ends);
  }

  /**
   * What ranks do after a batch of `lowered`: they sum its gradients and, if these are plainly sound, take the step and its
   * statistics. None where gradients are clipped: the norm is the sum of one rank.
   */
  end(engine: Engine, state: OptimizerState, lowered: Lowered): Program | undefined {
    if (state.clips) return undefined;
    let end = this.#endings.get(state);
    if (end?.lowered !== lowered) {
      this.release(engine, state);
      const placed = engine.placeProgram("the optimizer", (plan) => emitEnd(plan, engine, state, lowered));
      end = { ...placed, lowered };
      this.#endings.set(state, end);
    }
    // So far below the bounds that a sum in another order, of as many shares as there can be, is below them, too.
    const limit = state.fault(PLAIN) === undefined ? PLAIN / 1e6 : -1;
    engine.f64(end.result + Survey.Limit, 1)[0] = limit;
    return end.program;
  }

  /** Gives the memory of `end` back. */
  release(engine: Engine, state: OptimizerState): void {
    const end = this.#endings.get(state);
    if (end && this.#endings.delete(state)) engine.releaseMemory(end.address);
  }

  /** Ends what ranks compute; workers forget the network. */
  dispose(): void {
    this.#disposed = true;
    for (const words of this.#all) stopTeam(words);
    forgetNetwork(this.#shared.id);
  }
}

/** Emits the sum of a batch's gradients, the look at them, and the step; gives the survey's address. */
function emitEnd(plan: Plan, engine: Engine, state: OptimizerState, { ports }: Lowered): number {
  const { parameters } = engine.model;
  const statistics = parameters.map((_, i) => i).filter((i) => parameters[i].statistic && !state.frozen(i));
  const record = plan.take(Survey.Size);
  plan.preset(record, [...state.gradientTable(plan, statistics), ports.losses]);
  plan.barrier();
  engine.emitReduce(plan);
  plan.barrier();
  plan.emit(Op.Survey, record);
  plan.barrier();
  plan.loop(Op.Commit, [], () => {
    state.emitStep(plan);
    plan.loop(Op.RankZero, [], () => {
      for (const i of statistics) {
        const [to, from] = [engine.parameterAddress(i), engine.gradientAddress(i)];
        plan.emit(Op.Copy, plan.view(to), plan.view(from), 1, parameters[i].length * 4, 0, 0);
      }
    });
  });
  return record;
}

/** The core runs on the caller's thread with one rank only, which has nobody to wait for. */
export function refuseToWait(): never {
  throw new StateError("the core waits on the thread of the caller");
}
