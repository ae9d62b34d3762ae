import { ABI_VERSION, Control, MAX_BLOCKS, Op, Team } from "../../assembly/abi.ts";
import { NonFiniteError, StateError } from "../errors.ts";
import { orthogonalize } from "../initializers.ts";
import type { Bindings, Initial, Model, Ports, Purpose } from "../methods/method.ts";
import { findNonFinite } from "../validate.ts";
import type { CoreExports } from "./core.ts";
import { Arena, createMemory } from "./memory.ts";
import { GROUP, gather, scatter } from "./places.ts";
import { Plan, type Program } from "./plan.ts";
import { seedKey, streamKey } from "./random.ts";
import { checkThreads, FLIGHTS, type Threads } from "./threads.ts";
import { type Build, type Core, instantiateCore, loadCore, type WasmSource } from "./wasm.ts";
import type { Crew } from "./workers.ts";

/** A program in memory, ready to run. */
export interface Lowered {
  readonly purpose: Purpose;
  readonly ports: Ports;
  readonly program: Program;
  readonly address: number;
  readonly bytes: number;
  /** Most ranks that it has scratch memory for. */
  readonly ranks: number;
  /** All ranks go through the whole of it together; else each takes blocks of its own. */
  readonly together: boolean;
}

/** Where an engine's core comes from, and how many threads it shall have. */
export interface EngineOptions {
  readonly build?: "auto" | Build;
  readonly wasm?: WasmSource;
  readonly threads?: "auto" | number;
  /** Text of the method's own core. */
  readonly own?: string | undefined;
}

/** Networks of this process, to tell them apart in workers. */
let engines = 0;

/** Workers forget networks that nobody disposed of. */
const forgotten = SPIKEGRAD_TRAINING
  ? new FinalizationRegistry<number>(async (id) => (await import("./workers.ts")).forgetNetwork(id))
  : undefined;

/** So few additions or updates are not worth waking workers for. */
const WORTHY_ELEMENTS = 2 ** 19;

/** Above this many f32 of parameters a batch is cut into fewer blocks: each has a gradient buffer of its own. */
const BLOCK_BUDGET = 8 * 2 ** 20;

/** A plan that is only measured stands where no real address can be: equal views are shared, and must not be by accident. */
const SIZING_BASE = 2 ** 40;

/** Blocks a batch of `samples` is cut into: a function of network and batch alone, never of threads. */
export function blockCount(samples: number, parameterLength: number): number {
  let blocks = MAX_BLOCKS;
  while (blocks > 2 && blocks * parameterLength > BLOCK_BUDGET) blocks /= 2;
  return Math.min(blocks, samples);
}

/** The threads of an engine, and what runs them if they are more than one. */
interface Company {
  readonly threads: Threads;
  readonly workers?: typeof import("./workers.ts");
}
const ALONE: Company = { threads: { count: 1 } };

/** Starts as many workers as are asked for and can be had. */
async function startThreads({ threads = 1, build = "auto", wasm }: EngineOptions): Promise<Company> {
  const asked = checkThreads(threads);
  if (asked === 1) return ALONE;
  try {
    const workers = await import("./workers.ts");
    const possible = await workers.possibleThreads(asked, { build, module: wasm !== undefined });
    if (possible.count === 1) return { threads: possible };
    await workers.startWorkers(possible.count);
    return { threads: possible, workers };
  } catch (error) {
    return { threads: { count: 1, reason: error instanceof Error ? error.message : String(error) } };
  }
}

/** Memory, core and parameters of one network. */
export class Engine {
  readonly build: Build;
  readonly module: WebAssembly.Module;
  readonly model: Model;
  readonly #core: CoreExports;
  readonly #arena: Arena;
  /** What ranks share. */
  readonly #team: number;
  readonly threads: Threads;
  /** Its workers, if it has any. */
  crew: Crew | undefined;
  readonly #key: { key0: number; key1: number };
  readonly #offsets: number[] = [];
  /** f32 elements of all parameters, padding included. */
  readonly parameterLength: number;
  readonly #parameters: number;
  #wholeLength = 0;
  #gradients = 0;
  #gradientBlocks = 0;
  #reducer: { address: number; program: Program } | undefined;
  #lowered = new Map<string, Lowered>();

  private constructor(
    { build, module }: Core,
    core: CoreExports,
    arena: Arena,
    model: Model,
    seed: number,
    { threads, crew, team }: { threads: Threads; crew?: Crew | undefined; team: number },
  ) {
    this.build = build;
    this.module = module;
    this.threads = threads;
    if (SPIKEGRAD_TRAINING) this.crew = crew;
    this.#team = team;
    this.#core = core;
    this.#arena = arena;
    this.model = model;
    this.#key = seedKey(seed);
    // Those whose gradient is summed over the whole batch at once come first: the others' have a buffer a block behind them.
    let length = 0;
    for (const whole of [true, false]) {
      model.parameters.forEach((spec, i) => {
        if ((spec.whole === true) !== whole) return;
        this.#offsets[i] = length * 4;
        length += Math.ceil(spec.length / 16) * 16;
      });
      if (whole) this.#wholeLength = length;
    }
    this.parameterLength = length;
    this.#parameters = arena.take(length * 4, "the parameters");
  }

  static async create(model: Model, seed: number, option: EngineOptions): Promise<Engine> {
    const { threads, workers } = SPIKEGRAD_TRAINING ? await startThreads(option) : ALONE;
    // Without workers the plain build has the same bits; that for threads needs shared memory.
    const plain =
      SPIKEGRAD_TRAINING && option.build === "threads" ? { ...option, build: "auto" as const } : option;
    let loaded = await loadCore(SPIKEGRAD_TRAINING && workers ? { build: "threads" } : plain);
    if (SPIKEGRAD_TRAINING && !workers && loaded.build === "threads") loaded = await loadCore();
    const { module } = loaded;
    const memory = createMemory(SPIKEGRAD_TRAINING && workers !== undefined);
    const core = await instantiateCore<CoreExports>(
      module,
      memory,
      SPIKEGRAD_TRAINING && workers ? { wait: workers.refuseToWait } : {},
    );
    if (core.abiVersion() !== ABI_VERSION) {
      throw new StateError(
        `the core speaks version ${core.abiVersion()} of its interface, the wrapper ${ABI_VERSION}`,
      );
    }
    const arena = new Arena(memory);
    // The first is this thread's.
    const team = arena.take(Team.Size * (1 + FLIGHTS * threads.count), "the threads");
    if (!SPIKEGRAD_TRAINING) return new Engine(loaded, core, arena, model, seed, { threads, team });
    const id = ++engines;
    const crew =
      workers && new workers.Crew({ id, module, memory, teams: team + Team.Size, threads: threads.count });
    const engine = new Engine(loaded, core, arena, model, seed, { threads, crew, team });
    if (crew) forgotten?.register(engine, id, engine);
    return engine;
  }

  /** Ends what its workers compute; they forget it. */
  dispose(): void {
    if (this.crew) {
      forgotten?.unregister(this);
      this.crew.dispose();
    }
  }

  /** Bytes of linear memory taken now. */
  get bytesUsed(): number {
    return this.#arena.used;
  }

  /** Bytes of linear memory held from the host. */
  get bytesReserved(): number {
    return this.#arena.reserved;
  }

  f32(address: number, length: number): Float32Array {
    return new Float32Array(this.#arena.memory.buffer, address, length);
  }

  f64(address: number, length: number): Float64Array {
    return new Float64Array(this.#arena.memory.buffer, address, length);
  }

  u32(address: number, length: number): Uint32Array {
    return new Uint32Array(this.#arena.memory.buffer, address, length);
  }

  /** The stored elements of parameter `i`. */
  parameter(i: number): Float32Array {
    return this.f32(this.#parameters + this.#offsets[i], this.model.parameters[i].length);
  }

  parameterAddress(i: number): number {
    return this.#parameters + this.#offsets[i];
  }

  /** All stored parameters, padding included. */
  allParameters(): Float32Array {
    return this.f32(this.#parameters, this.parameterLength);
  }

  /** Largest magnitude among the parameters, NaN being larger than all. */
  largestParameter(): number {
    return this.#core.largest(this.#parameters, this.parameterLength);
  }

  /** Gradient of parameter `i`, as the last training program left it. */
  gradient(i: number): Float32Array {
    return this.f32(this.gradientAddress(i), this.model.parameters[i].length);
  }

  gradientAddress(i: number): number {
    return this.#gradients + this.#offsets[i];
  }

  get gradientBytes(): number {
    return this.parameterLength * 4;
  }

  /** f32 elements of the parameters whose gradients are summed block by block. */
  get blockLength(): number {
    return this.parameterLength - this.#wholeLength;
  }

  /** Bytes of the gradients of `blocks` blocks: what is summed over the whole batch, then a buffer a block. */
  #gradientRoom(blocks: number): number {
    return (this.#wholeLength + blocks * this.blockLength) * 4;
  }

  get gradients(): number {
    return this.#gradients;
  }

  takeMemory(bytes: number, purpose: string): number {
    return this.#arena.take(bytes, purpose);
  }

  releaseMemory(address: number): void {
    this.#arena.release(address);
  }

  /** Offset in bytes of parameter `i` in any tensor laid out like all parameters. */
  offset(i: number): number {
    return this.#offsets[i];
  }

  /** Draws the initial values: number i of the user's tensor comes from counter i of stream (init, tensor). */
  initialize(stream: number, initials: readonly Initial[]): void {
    const core = this.#core;
    const [key0, key1] = streamKey(this.#key, stream);
    const { parameters } = this.model;
    const random = this.#arena.take(64, "random numbers");
    parameters.forEach((_, i) => {
      const initial = initials[i];
      const normal = (mean: number, deviation: number) => (out: number, first: number, count: number) =>
        core.fillNormal(out, first, count, mean, deviation, i, 0, 0, key0, key1, random);
      if (initial.kind === "normal") this.#fill(i, normal(initial.mean, initial.deviation));
      else if (initial.kind === "uniform") {
        const { low, high } = initial;
        this.#fill(i, (out, first, count) =>
          core.fillUniform(out, first, count, low, high, i, 0, 0, key0, key1, random),
        );
      } else if (initial.kind === "orthogonal") {
        this.#fill(i, normal(0, 1));
        const values = this.gather(i, this.parameter(i));
        orthogonalize(values, parameters[i].shape[0], initial.gain);
        this.store(i, values);
      } else this.#fill(i, (out, _, count) => this.f32(out, count).fill(initial.value));
    });
    this.#arena.release(random);
  }

  /** The user's tensor `values` becomes parameter `i`. */
  store(i: number, values: Float32Array): void {
    this.#fill(i, (out, first, count) => this.f32(out, count).set(values.subarray(first, first + count)));
  }

  /**
   * Has `write` put a group of outputs after the other into scratch memory, in the user's order, and the core arrange them:
   * unlike a loop in JavaScript it is fast the first time.
   */
  #fill(i: number, write: (out: number, first: number, count: number) => void): void {
    const { name, places, shape } = this.model.parameters[i];
    const inputs = places.first();
    const { length } = inputs;
    const { width = GROUP, group = width } = places;
    const table = this.#arena.take((width + 1) * length * 4, `the values of ${name}`);
    this.u32(table, length).set(inputs);
    const rows = table + length * 4;
    for (let o = 0; o < shape[0]; o += width) {
      const outputs = Math.min(width, shape[0] - o);
      write(rows, o * length, outputs * length);
      const stored = this.parameterAddress(i) + (o / width) * group * 4;
      this.#core.scatter(stored, rows, outputs, length, table);
    }
    this.#arena.release(table);
  }

  /** The user's tensor `values` into stored elements. */
  arrange(i: number, values: ArrayLike<number>, stored: Float32Array): void {
    const { places, shape } = this.model.parameters[i];
    scatter(places, shape[0], values, stored);
  }

  /** Stored elements as the user's tensor. */
  gather(i: number, stored: Float32Array): Float32Array {
    const { places, shape } = this.model.parameters[i];
    const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
    gather(places, shape[0], stored, values);
    return values;
  }

  /** `0 … count - 1` in the random order of `epoch`. */
  permutation(count: number, epoch: number, stream: number): Uint32Array {
    const address = this.#arena.take(count * 4 + 16, "the order of samples");
    const list = this.u32(address + 16, count);
    for (let i = 0; i < count; i++) list[i] = i;
    const [key0, key1] = streamKey(this.#key, stream);
    this.#core.shuffle(address + 16, count, epoch, key0, key1, address);
    const order = this.u32(address + 16, count).slice();
    this.#arena.release(address);
    return order;
  }

  #bindings(): Bindings {
    const parameters = this.model.parameters.map((_, i) => this.parameterAddress(i));
    if (!SPIKEGRAD_TRAINING) return { parameters, ...this.#key } as Partial<Bindings> as Bindings;
    return {
      parameters,
      gradients: this.#gradients,
      blockGradients: this.#gradients + this.#wholeLength * 4,
      blockBytes: this.blockLength * 4,
      gradientOffsets: this.#offsets,
      ...this.#key,
      ln: (x) => this.#core.ln(x),
    };
  }

  /** Ranks that a program for `purpose` has memory for. */
  #ranks({ mode, capacity, solo }: Purpose): number {
    return !SPIKEGRAD_TRAINING || mode === "step" || solo ? 1 : Math.min(this.threads.count, capacity);
  }

  /** Bytes that a program for `purpose` would take, gradients included, without taking them. */
  measure(purpose: Purpose): number {
    const plan = new Plan(SIZING_BASE, this.#ranks(purpose));
    this.model.lower(plan, purpose, this.#bindings());
    plan.finish();
    return plan.bytes + (purpose.mode === "train" ? this.#gradientRoom(purpose.blocks) : 0);
  }

  /** The program for `purpose`, lowered when first asked for; `key` names what it is for. */
  lower(key: string, purpose: Purpose): Lowered {
    const known = this.#lowered.get(key);
    if (known && known.purpose.capacity >= purpose.capacity && known.purpose.blocks >= purpose.blocks)
      return known;
    if (known) this.drop(key);
    if (SPIKEGRAD_TRAINING && purpose.mode === "train") this.takeGradients(purpose.blocks);
    const bindings = this.#bindings();
    const ranks = this.#ranks(purpose);
    const what = `${purpose.mode === "train" ? "training" : "inference"} on batches of ${purpose.capacity}`;
    const placed = this.#lay(what, ranks, (plan) => this.model.lower(plan, purpose, bindings));
    const { address, program, result: ports, plan } = placed;
    const lowered = { purpose, ports, program, address, bytes: plan.bytes, ranks, together: plan.together };
    this.#lowered.set(key, lowered);
    return lowered;
  }

  /** Makes room for the gradients of `blocks` blocks; programs that wrote to the old place are dropped. */
  takeGradients(blocks: number): void {
    if (this.#gradientBlocks >= blocks) return;
    for (const [key, lowered] of this.#lowered) if (lowered.purpose.mode === "train") this.drop(key);
    if (this.#reducer) this.#arena.release(this.#reducer.address);
    if (this.#gradients) this.#arena.release(this.#gradients);
    this.#reducer = undefined;
    this.#gradientBlocks = 0;
    this.#gradients = 0;
    this.#gradients = this.#arena.take(this.#gradientRoom(blocks), "the gradients");
    this.#gradientBlocks = blocks;
  }

  emitReduce(plan: Plan): void {
    plan.emit(Op.Reduce, this.#gradients + this.#wholeLength * 4, this.blockLength * 4);
  }

  /** Sums the gradient buffers of the batch that a training program has run into that of block 0. */
  async reduceGradients(lowered: Lowered): Promise<void> {
    this.#reducer ??= this.placeProgram("the reduction", (plan) => this.emitReduce(plan));
    const { ports, ranks } = lowered;
    const blocks = this.u32(ports.control, Control.Size / 4)[Control.Blocks / 4];
    if (blocks > 1)
      await this.runShared(this.#reducer.program, ports.frames, ranks, (blocks - 1) * this.blockLength);
  }

  /** Refuses running statistics that are no numbers, before they take the place of the old. */
  checkStatistics(where: string): void {
    this.model.parameters.forEach((spec, i) => {
      if (spec.statistic) refuseNonFinite(`${where}: ${spec.name}`, this.gradient(i));
    });
  }

  /** Refuses parameters that are no numbers, after a program that learns by itself; the caller puts the old ones back. */
  checkParameters(where: string): void {
    if (this.largestParameter() < Number.POSITIVE_INFINITY) return;
    this.model.parameters.forEach((spec, i) => {
      refuseNonFinite(`${where}: ${spec.name}`, this.parameter(i));
    });
  }

  /** The running statistics that the last training program left take the place of the old, where `taken` says so. */
  takeStatistics(taken: (i: number) => boolean): void {
    this.model.parameters.forEach((spec, i) => {
      if (spec.statistic && taken(i)) this.parameter(i).set(this.gradient(i));
    });
  }

  /** Forgets a program and gives its memory back. */
  drop(key: string): void {
    const lowered = this.#lowered.get(key);
    if (!lowered) return;
    this.#arena.release(lowered.address);
    this.#lowered.delete(key);
  }

  /** Runs blocks `first … end - 1` of the batch that stands in the ports, on this thread. */
  run(lowered: Lowered, first: number, end: number): void {
    const { ports, program } = lowered;
    const control = this.u32(ports.control, Control.Size / 4);
    control[Control.FirstBlock / 4] = first;
    control[Control.EndBlock / 4] = end;
    const began = SPIKEGRAD_TRAINING ? performance.now() : 0;
    this.runProgram(program, ports.frames);
    if (SPIKEGRAD_TRAINING) this.crew?.learn(program, (performance.now() - began) / (end - first));
  }

  /** Runs a bare program that needs no batch. */
  runProgram(program: Program, frames: number): void {
    this.#core.run(program.address, program.words, frames, 0, 1, this.#team);
  }

  /** The same by up to `ranks` ranks, if `work`, the f32 elements that it goes over, is worth it; else done on return. */
  runShared(program: Program, frames: number, ranks: number, work: number): Promise<boolean> | undefined {
    const { crew } = this;
    if (crew && ranks > 1 && work > WORTHY_ELEMENTS) return crew.run([program], frames, ranks);
    this.runProgram(program, frames);
    return undefined;
  }

  /** Lays out and writes a region that stays until released; `build` may be called twice with the same effect. */
  placeProgram<T>(
    purpose: string,
    build: (plan: Plan) => T,
  ): { address: number; result: T; program: Program } {
    return this.#lay(purpose, this.threads.count, build);
  }

  #lay<T>(purpose: string, ranks: number, build: (plan: Plan) => T) {
    const lay = (address: number) => {
      const plan = new Plan(address, ranks);
      const result = build(plan);
      return { address, plan, result, program: plan.finish() };
    };
    // How much it takes is known when it is laid out; most find no room but at the end.
    const first = lay(this.#arena.end);
    const address = this.#arena.take(first.plan.bytes, purpose);
    const laid = address === first.address ? first : lay(address);
    laid.plan.write(this.#arena.memory.buffer);
    return laid;
  }
}

function refuseNonFinite(what: string, values: Float32Array): void {
  const bad = values[findNonFinite(values)];
  if (bad === undefined) return;
  throw new NonFiniteError(`${what} would become ${bad}; the parameters are those before this step`, {
    value: bad,
  });
}
