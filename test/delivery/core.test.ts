// Loading the core: which build, from where, and what is said when it cannot be.
import { readFile } from "node:fs/promises";
import { afterEach, describe, expect, test, vi } from "vitest";
import { hasSimd, loadCore } from "../../src/core/wasm.ts";
import { ArgumentError, FileError, FormatError, MissingError } from "../../src/errors.ts";

const read = (file: string) => readFile(new URL(`../../dist/${file}`, import.meta.url));

afterEach(() => vi.unstubAllGlobals());

describe("the builds inside the package", () => {
  test("auto takes SIMD where the engine has it", async () => {
    expect(hasSimd()).toBe(true);
    expect((await loadCore()).build).toBe("simd");
  });

  test("auto takes scalar where it has not", async () => {
    vi.stubGlobal("WebAssembly", without({ validate: () => false }));
    expect((await loadCore()).build).toBe("scalar");
    await expect(loadCore({ build: "simd" })).rejects.toThrow(MissingError);
  });

  test("each is compiled once", async () => {
    for (const build of ["simd", "scalar"] as const) {
      expect((await loadCore({ build })).module).toBe((await loadCore({ build })).module);
    }
    expect((await loadCore({ build: "simd" })).module).not.toBe((await loadCore({ build: "scalar" })).module);
  });

  test.each([
    "spikegrad.wasm",
    "spikegrad.scalar.wasm",
    "spikegrad.infer.wasm",
  ])("%s imports a memory, and nothing else", async (file) => {
    const imports = WebAssembly.Module.imports(await WebAssembly.compile(await read(file)));
    expect(imports.map(({ module, name }) => `${module}.${name}`)).toEqual(["env.memory"]);
  });
});

describe("a module of the caller's", () => {
  test("is accepted as module, bytes, view, Response and address, and known by its build", async () => {
    const bytes = new Uint8Array(await read("spikegrad.scalar.wasm"));
    const address = `data:application/wasm;base64,${Buffer.from(bytes).toString("base64")}`;
    const sources = [
      await WebAssembly.compile(bytes),
      bytes.buffer,
      bytes,
      new Response(bytes),
      address,
      new URL(address),
    ];
    for (const wasm of sources) expect((await loadCore({ wasm })).build).toBe("scalar");
  });

  test("must be of the build that is asked for", async () => {
    const wasm = new Uint8Array(await read("spikegrad.scalar.wasm"));
    await expect(loadCore({ wasm, build: "simd" })).rejects.toThrow(FormatError);
    expect((await loadCore({ wasm, build: "scalar" })).build).toBe("scalar");
  });

  test("must be a core of this package and version", async () => {
    const empty = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0);
    await expect(loadCore({ wasm: empty })).rejects.toThrow(FormatError);
    await expect(loadCore({ wasm: new Uint8Array(9) })).rejects.toThrow(FormatError);
    const other = '{"build":"simd","version":"0.0.0"}';
    const section = Uint8Array.of(0, 10 + other.length, 9, ...Buffer.from(`spikegrad${other}`));
    const stamped = Uint8Array.of(...empty, ...section);
    await expect(loadCore({ wasm: stamped })).rejects.toThrow(/core of version 0\.0\.0.*expected/);
  });

  test("is refused with a typed error when it is nothing of the kind", async () => {
    await expect(loadCore({ wasm: 7 as never })).rejects.toThrow(ArgumentError);
    await expect(loadCore({ wasm: null as never })).rejects.toThrow(ArgumentError);
    await expect(loadCore({ wasm: new Response("", { status: 404 }) })).rejects.toThrow(FileError);
    await expect(loadCore({ wasm: "file:///nowhere.wasm" })).rejects.toThrow(FileError);
    await expect(loadCore({ build: "sse" as never })).rejects.toThrow(ArgumentError);
  });
});

describe("where WebAssembly is not to be had", () => {
  test("missing altogether", async () => {
    vi.stubGlobal("WebAssembly", undefined);
    await expect(loadCore()).rejects.toThrow(MissingError);
  });

  test.each([
    "WebAssembly.compile(): Refused to compile or instantiate WebAssembly module because 'unsafe-eval' is not an " +
      "allowed source of script in the following Content Security Policy directive: \"script-src 'self'\"",
    "call to WebAssembly.compile() blocked by CSP",
    "Refused to create a WebAssembly object because 'unsafe-eval' or 'wasm-unsafe-eval' is not an allowed source of script",
    "WebAssembly.compile(): Wasm code generation disallowed by embedder",
  ])("forbidden: %s", async (message) => {
    vi.stubGlobal("WebAssembly", without({ compile: () => Promise.reject(new Error(message)) }));
    const wasm = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0);
    await expect(loadCore({ wasm })).rejects.toThrow(MissingError);
    await expect(loadCore({ wasm })).rejects.toThrow("'wasm-unsafe-eval'");
  });
});

/** The engine's WebAssembly with some functions replaced. */
function without(replaced: Partial<typeof WebAssembly>): typeof WebAssembly {
  return Object.assign(Object.create(WebAssembly), replaced);
}
