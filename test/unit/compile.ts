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
  const memory = new WebAssembly.Memory({ initial: 1 });
  const { exports } = await instantiate(binary as Uint8Array<ArrayBuffer>, {
    env: {
      memory,
      abort: () => {
        throw new Error("abort");
      },
    },
  });
  return { exports: exports as Exports, memory };
}
