// The core's kernels, compiled with the flags of the package, each exported on its own.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import asc from "assemblyscript/asc";

const SOURCE = `
export { bpstaForward } from "./assembly/neuron/bpsta";
export { fanoutBackward, fanoutForward } from "./assembly/synapse/fanout";
export { packValues, product } from "./assembly/synapse/matrix";
export { sweepBackward, sweepForward, sweepLists, sweepProduct } from "./assembly/synapse/sweep";
export { gather, windowForward, windowProduct } from "./assembly/synapse/window";

/** C [rows][columns] = A [rows][depth] · B [depth][columns], as one writes it without a thought. */
export function plainProduct(a: usize, b: usize, c: usize, rows: u32, depth: u32, columns: u32): void {
  for (let i: u32 = 0; i < rows; i++) {
    for (let j: u32 = 0; j < columns; j++) {
      let sum: f32 = 0;
      for (let k: u32 = 0; k < depth; k++) {
        sum += load<f32>(a + ((i * depth + k) << 2)) * load<f32>(b + ((k * columns + j) << 2));
      }
      store<f32>(c + ((i * columns + j) << 2), sum);
    }
  }
}
`;

export interface Kernels {
  bpstaForward(layer: number, frame: number): void;
  fanoutForward(fanout: number, frame: number): void;
  fanoutBackward(fanout: number, flags: number, frame: number): void;
  packValues(scratch: number, rows: number, depth: number): void;
  product(scratch: number, rows: number, depth: number, bytes: number): void;
  sweepForward(fanout: number, steps: number, frame: number): void;
  sweepLists(fanout: number, steps: number, frame: number): void;
  sweepProduct(fanout: number, steps: number, frame: number): void;
  sweepBackward(fanout: number, steps: number, flags: number, frame: number): void;
  gather(fanout: number, window: number, data: number, frame: number): void;
  windowForward(fanout: number, window: number, frame: number): number;
  windowProduct(fanout: number, window: number, data: number, amplitude: number, frame: number): void;
  plainProduct(a: number, b: number, c: number, rows: number, depth: number, columns: number): void;
}

export interface Core {
  readonly exports: Kernels;
  readonly memory: WebAssembly.Memory;
}

/** `root`: folder of the checkout. */
export async function compileKernels(root: string, simd: boolean): Promise<Core> {
  const { options } = JSON.parse(await readFile(join(root, "asconfig.json"), "utf8"));
  const flags = [
    "--runtime",
    options.runtime,
    "--optimizeLevel",
    options.optimizeLevel,
    "--shrinkLevel",
    options.shrinkLevel,
  ];
  let binary: Uint8Array | undefined;
  const { error, stderr } = await asc.main(
    [
      "kernels.ts",
      ...["--baseDir", root, "--outFile", "kernels.wasm"],
      ...flags.map(String),
      ...["--converge", "--noAssert", "--importMemory", "--noExportMemory"],
      ...(simd ? ["--enable", "simd"] : []),
    ],
    {
      readFile: async (name, base) => {
        if (name === "kernels.ts") return SOURCE;
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
  const { instance } = await WebAssembly.instantiate(binary as BufferSource, {
    env: { memory, abort: () => {} },
  });
  return { exports: instance.exports as unknown as Kernels, memory };
}
