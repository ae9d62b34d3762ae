import { ArgumentError, FileError, FormatError, MissingError, type SpikegradError } from "../errors.ts";
import { options } from "../validate.ts";
import { type CoreSource, simdCore } from "./builds/simd.ts";
import { setWorkerSource, type WorkerSource } from "./threads.ts";

/**
 * The builds of the core: with 128-bit SIMD, for engines without, and `"threads"`, the SIMD build over memory that workers share.
 * All compute the same bits.
 */
export type Build = "simd" | "scalar" | "threads";

/** Anything that a core can be had from: a module, its bytes, a response with them; a `string` or `URL` is fetched. */
export type WasmSource = WebAssembly.Module | BufferSource | Response | URL | string;

/** Anything that has a core's bytes. */
type BytesSource = BufferSource | Response | URL | string;

export interface LoadCoreOptions {
  /**
   * `"auto"` (default) takes the SIMD build where the engine has 128-bit SIMD and the scalar build elsewhere.
   * With `wasm`, anything but `"auto"` demands that the module given is of this build.
   */
  build?: "auto" | Build;
  /** Use this module instead of the bytes inside the package, e.g. where compiling at run time is forbidden. */
  wasm?: WasmSource;
  /** Text of a core to take instead of the SIMD build inside the package. */
  own?: string | undefined;
}

/** A compiled core, ready for any number of instances. */
export interface Core {
  readonly build: Build;
  readonly module: WebAssembly.Module;
}

/** The custom section that the package's build writes into every core, and what it holds. */
const STAMP_SECTION = "spikegrad";
/** Cores that this bundle can run. That of `spikegrad/infer` has no instructions that train. */
const KNOWN: readonly string[] = ["simd", "scalar", ...(SPIKEGRAD_TRAINING ? ["threads"] : ["infer"])];
interface Stamp {
  build: Build;
  version: string;
}

/** The version of the wrapper; a core of another version has other instructions. Set by the bundler. */
declare const SPIKEGRAD_VERSION: string;

// (module (func (param v128))): a type of 128-bit vectors and nothing else. Engines without SIMD refuse the type.
const SIMD_PROBE = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 1, 123, 0);

/** By their build, or their text. */
const compiled = new Map<string, Promise<WebAssembly.Module>>();

/** The core that `init` was given. */
let initial: Core | undefined;

/** What `init` takes. */
export interface InitOptions {
  /** The core for all networks made from now on: a module, its bytes, a response, or an address to fetch. */
  readonly wasm?: WasmSource;
  /**
   * Where the workers of `threads` come from, where a policy refuses those that the package makes of its own text: the address
   * of the file `spikegrad/worker`, or a function that starts it, which bundlers understand:
   * `() => new Worker(new URL("spikegrad/worker", import.meta.url))`.
   */
  readonly worker?: WorkerSource;
}

/**
 * Sets where the core and the workers come from, for all networks made afterwards: for places where the package's own way is
 * closed, e.g. a worker that may not compile bytes. Nobody else needs it. Without an option the package's own core is compiled
 * ahead.
 *
 * @param option where the core comes from, and the workers
 * @throws ArgumentError for a `wasm` that is of no known kind, or a `worker` that is neither an address nor a function
 * @throws FormatError for a `wasm` that is no core of this version
 * @throws FileError for an address that cannot be fetched
 * @throws MissingError where WebAssembly is missing, or a policy forbids to compile
 */
export async function init(option: InitOptions = {}): Promise<void> {
  const { wasm, worker } = options("init", option, ["wasm", "worker"]);
  if (SPIKEGRAD_TRAINING && worker !== undefined) setWorkerSource(worker);
  if (wasm !== undefined) initial = await loadCore({ wasm });
  else if (worker === undefined) await loadCore();
}

/** Whether this engine runs the SIMD build. */
export function hasSimd(): boolean {
  return WebAssembly.validate(SIMD_PROBE);
}

/**
 * Compiles the core, once for each build.
 *
 * @throws ArgumentError for an unknown `build`, or a `wasm` that is of no known kind
 * @throws FormatError for a `wasm` that is no core of this version
 * @throws FileError for a `wasm` address that cannot be fetched
 * @throws MissingError where there is no WebAssembly, no SIMD for `"simd"`, or a policy forbids to compile
 */
export async function loadCore(option: LoadCoreOptions = {}): Promise<Core> {
  const { wasm, own } = option;
  // Only the whole library lets its users choose.
  const build = SPIKEGRAD_TRAINING ? (option.build ?? "auto") : "auto";
  if (build !== "auto" && build !== "simd" && build !== "scalar" && build !== "threads") {
    throw new ArgumentError("build", build, '"auto", "simd" or "scalar"');
  }
  if (typeof WebAssembly !== "object") {
    throw new MissingError(
      "WebAssembly",
      "WebAssembly is missing in this engine, or switched off; spikegrad needs it",
    );
  }
  if (wasm !== undefined) return await loadGiven(wasm, build);
  if (
    SPIKEGRAD_TRAINING &&
    initial &&
    (build === initial.build || (build === "auto" && initial.build !== "threads"))
  )
    return initial;
  const chosen = build === "auto" ? (hasSimd() && simdCore.usable() ? "simd" : "scalar") : build;
  if (build === "simd" && !hasSimd()) {
    throw new MissingError(
      "build",
      'build: "simd" needs 128-bit SIMD, which this engine lacks; use "auto" or "scalar"',
    );
  }
  if (build === "simd" && !simdCore.usable()) {
    throw new MissingError(
      "build",
      'build: "simd" needs DecompressionStream, which this engine lacks; use "auto" or "scalar", or give spikegrad.wasm to init',
    );
  }
  const text = SPIKEGRAD_TRAINING || chosen !== "simd" ? undefined : own;
  const key = text ?? chosen;
  let module = compiled.get(key);
  if (module === undefined) {
    module = compileInlined(chosen, text);
    compiled.set(key, module);
    // A refusal is not remembered: a chunk that failed to load may load the next time.
    module.catch(() => compiled.delete(key));
  }
  return { build: chosen, module: await module };
}

async function compileInlined(build: Build, text: string | undefined): Promise<WebAssembly.Module> {
  const source = build === "simd" ? simdCore : await otherCore(build);
  const core = await source.load(text);
  return isModule(core) ? core : await compile(core);
}

/** Whether it is a module, of another realm too: some hosts compile outside of where the program runs. */
function isModule(core: unknown): core is WebAssembly.Module {
  return Object.prototype.toString.call(core) === "[object WebAssembly.Module]";
}

async function otherCore(build: "scalar" | "threads"): Promise<CoreSource> {
  try {
    if (SPIKEGRAD_TRAINING && build === "threads") return (await import("./builds/threads.ts")).threadsCore;
    return (await import("./builds/scalar.ts")).scalarCore;
  } catch (cause) {
    throw new MissingError("build", `the package's file of the ${build} build cannot be loaded: ${cause}`, {
      cause,
    });
  }
}

async function loadGiven(wasm: WasmSource, build: "auto" | Build): Promise<Core> {
  const module = isModule(wasm) ? wasm : await compile(await readBytes(wasm as BytesSource));
  const stamp = readStamp(module);
  if (!KNOWN.includes(stamp.build)) {
    throw new FormatError("wasm", `the ${stamp.build} core`, `a core that trains: ${KNOWN.join(", ")}`);
  }
  if (stamp.version !== SPIKEGRAD_VERSION) {
    throw new FormatError(
      "wasm",
      `a core of version ${stamp.version}`,
      `a core of version ${SPIKEGRAD_VERSION}`,
    );
  }
  if (SPIKEGRAD_TRAINING && build !== "auto" && stamp.build !== build) {
    throw new FormatError("wasm", `the ${stamp.build} build`, `the ${build} build, as "build" says`);
  }
  return { build: stamp.build, module };
}

async function readBytes(wasm: BytesSource): Promise<BufferSource> {
  if (wasm instanceof ArrayBuffer || ArrayBuffer.isView(wasm)) return wasm;
  if (wasm instanceof URL || typeof wasm === "string") return await readBytes(await fetchWasm(wasm));
  if (typeof Response === "function" && wasm instanceof Response) {
    if (!wasm.ok) throw new FileError("wasm", `wasm: ${wasm.url || "the response"} answered ${wasm.status}`);
    return await wasm.arrayBuffer();
  }
  throw new ArgumentError("wasm", wasm, "a WebAssembly.Module, its bytes, a Response, a URL or an address");
}

async function fetchWasm(address: URL | string): Promise<Response> {
  try {
    return await fetch(address);
  } catch (cause) {
    throw new FileError("wasm", `wasm: ${address} cannot be fetched; a file can be read and given as bytes`, {
      value: String(address),
      cause,
    });
  }
}

/** Compiles, and says what to do about a refusal. */
async function compile(bytes: BufferSource): Promise<WebAssembly.Module> {
  try {
    return await WebAssembly.compile(bytes);
  } catch (cause) {
    throw explainRefusal(cause);
  }
}

/** The words with which browsers and CDN workers say that compiling is forbidden, not that the bytes are wrong. */
const FORBIDDEN = /content security policy|\bcsp\b|unsafe-eval|wasm-eval|disallowed by embedder/i;

function explainRefusal(cause: unknown): SpikegradError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  if (FORBIDDEN.test(reason)) {
    return new MissingError(
      "WebAssembly",
      "This page or worker forbids to compile WebAssembly. In a page, add 'wasm-unsafe-eval' to script-src of its " +
        "Content-Security-Policy; in a CDN worker, let the bundler take the condition workerd or edge-light, or import " +
        `spikegrad/spikegrad.wasm as a module and give it to ${SPIKEGRAD_TRAINING ? "init({ wasm })" : "loadNetwork as wasm"}`,
      { cause },
    );
  }
  return new FormatError("wasm", reason, "a WebAssembly module that this engine can compile", { cause });
}

function readStamp(module: WebAssembly.Module): Stamp {
  const [section] = WebAssembly.Module.customSections(module, STAMP_SECTION);
  try {
    if (section !== undefined) return JSON.parse(new TextDecoder().decode(section)) as Stamp;
  } catch {
    // Somebody else's section of the same name: as good as none.
  }
  throw new FormatError(
    "wasm",
    "a module of another origin",
    "spikegrad.wasm, spikegrad.scalar.wasm or spikegrad.threads.wasm of this package",
  );
}

/**
 * Makes an instance of a core on a memory of the caller's. Gives the core's exports.
 */
export async function instantiateCore<Exports extends object>(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
  imports: Readonly<Record<string, WebAssembly.ImportValue>> = {},
): Promise<Exports> {
  const { exports } = await WebAssembly.instantiate(module, { env: { ...imports, memory } });
  return exports as unknown as Exports;
}
