import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { instantiate } from "@assemblyscript/loader";
import asc from "assemblyscript/asc";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Compiles AssemblyScript that imports from assembly/ as the package's build does, and gives its exports and memory. */
export async function compile<Exports>(
  source: string,
  simd: boolean,
  threads = false,
): Promise<{ exports: Exports; memory: WebAssembly.Memory }> {
  let binary: Uint8Array | undefined;
  const { error, stderr } = await asc.main(
    [
      "harness.ts",
      "--baseDir",
      root,
      "--outFile",
      "harness.wasm",
      "--runtime",
      "stub",
      "--importMemory",
      "--noExportMemory",
      "-O1",
      "--noAssert",
      ...(simd ? ["--enable", "simd"] : []),
      ...(threads ? ["--enable", "threads", "--sharedMemory", "--maximumMemory", "1"] : []),
    ],
    {
      readFile: async (name, base) => {
        if (name === "harness.ts") return source;
        if (name === "asconfig.json") return null; // its entries are the whole core
        return await readFile(join(base, name), "utf8").catch(() => null);
      },
      writeFile: (_name, contents) => {
        if (typeof contents !== "string") binary = contents;
      },
      listFiles: () => [],
    },
  );
  if (error || !binary) throw new Error(`${error}\n${stderr}`);
  const memory = new WebAssembly.Memory(threads ? { initial: 1, maximum: 1, shared: true } : { initial: 1 });
  // No test comes to where a rank waits for another.
  const unexpected = (what: string) => () => {
    throw new Error(what);
  };
  const env = { memory, abort: unexpected("abort"), wait: unexpected("wait") };
  const { exports } = await instantiate(binary as Uint8Array<ArrayBuffer>, { env });
  return { exports: exports as Exports, memory };
}
