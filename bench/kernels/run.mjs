// Kernels alone: the dense product beside OpenBLAS and the scalar build, spikes beside the dense product, a neuron scan.
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";
import { figure, table } from "../lib/figures.mjs";
import { measure, median } from "../lib/measure.mjs";
import { startPeer } from "../lib/peer.mjs";
import { random } from "../lib/random.mjs";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const SHAPES = [
  [64, 800, 784],
  [256, 512, 1152],
  [512, 512, 512],
];
export const DENSITIES = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1];
/** A timed piece of work takes at least so long: short ones are repeated. */
const LEAST_MS = 4;

/** `bench/kernels/*.ts` as a module: Node 20 reads no TypeScript. */
export async function loadKernels() {
  // Inside the checkout, so that imports of packages resolve.
  const folder = await mkdtemp(join(ROOT, "bench/kernels/.built-"));
  try {
    const file = join(folder, "cases.mjs");
    await build({
      entryPoints: [join(ROOT, "bench/kernels/cases.ts")],
      outfile: file,
      bundle: true,
      platform: "node",
      format: "esm",
      external: ["assemblyscript"],
      define: { SPIKEGRAD_TRAINING: "true" },
      logLevel: "error",
    });
    return await import(pathToFileURL(file).href);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** A side of a measurement that repeats `run` until it takes long enough to time. */
export function side(label, { work, run }) {
  let repeats = 1;
  const timed = () => {
    const start = performance.now();
    for (let i = 0; i < repeats; i++) run();
    return performance.now() - start;
  };
  for (let ms = timed(); ms < LEAST_MS; ms = timed()) repeats *= 2;
  return { label, work, run: async () => ({ ms: timed() / repeats }) };
}

/** Times the sides by turns and gives what each did in a second, in thousand millions: median and best. */
export async function rates(sides, seconds) {
  const { timed, others } = await measure(sides, seconds);
  const of = (ms, work) => work / ms / 1e6;
  return {
    others,
    rates: Object.fromEntries(timed.map(({ label, work, times }) => [label, of(median(times), work)])),
    best: Object.fromEntries(timed.map(({ label, work, times }) => [label, of(Math.min(...times), work)])),
  };
}

/**
 * Runs the kernel benchmark; `report` gets every result with its line of text.
 *
 * @param settings `seconds` for each figure, `threads` of the peer
 */
export async function runKernels({ seconds, say, here }, report) {
  const cases = await loadKernels();
  const [simd, scalar] = await Promise.all([
    cases.compileKernels(ROOT, true),
    cases.compileKernels(ROOT, false),
  ]);
  const next = random(1);
  for (const shape of SHAPES) {
    const work = shape[0] * shape[1] * shape[2];
    const sides = [
      side("ours", cases.matrixProduct(simd, shape, next)),
      side("scalar", cases.matrixProduct(scalar, shape, next)),
      side("plain", cases.plainProduct(scalar, shape, next)),
    ];
    const peer = await startPeer({ script: "matmul_peer.py", workload: shape.join("x") }, 1, "");
    if (peer.skip === undefined) sides.push({ label: "OpenBLAS", work, run: () => peer.ask("run") });
    else say(`OpenBLAS skipped: ${peer.skip}`);
    const found = await rates(sides, seconds);
    await peer.close?.();
    const { ours, scalar: slow, plain, OpenBLAS } = found.rates;
    const result = { kernel: "product", shape: shape.join("×"), ...found, ...here };
    const native = OpenBLAS
      ? `, OpenBLAS ${figure(OpenBLAS)} (ours ${((100 * ours) / OpenBLAS).toFixed(0)} %)`
      : "";
    report(
      result,
      `dense product ${result.shape}: ${figure(ours)} billion multiply-adds a second${native}, ` +
        `scalar build ${figure(slow)} (${figure(ours / slow)}×), plain loops ${figure(plain)} (${figure(ours / plain)}×)`,
    );
  }
  const layers = {
    "dense 784 → 800, T 25": cases.denseLayer(simd, 784, 800, 25, next),
    "dense 2450 → 200, T 50": cases.denseLayer(simd, 2450, 200, 50, next),
    "conv 14×14×20 → 50, k5": cases.convolution(simd, { channels: 20, side: 14, out: 50, kernel: 5 }, next),
    "conv 14×14×32 → 64, k3": cases.convolution(simd, { channels: 32, side: 14, out: 64, kernel: 3 }, next),
  };
  for (const [shape, at] of Object.entries(layers)) {
    for (const density of DENSITIES) {
      const { spikes, product } = at(density);
      // Both compute the same currents: times compare, not operations.
      const found = await rates([side("spikes", spikes), side("product", product)], seconds);
      const ratio = product.work / found.rates.product / (spikes.work / found.rates.spikes);
      report(
        { kernel: "spikes", shape, density, ratio, ...found, ...here },
        `spikes, ${shape}, ${density * 100} %: ${figure(found.rates.spikes)} billion synaptic operations a second, ` +
          `${figure(ratio)}× the dense product`,
      );
    }
  }
  for (const neurons of [1024, 16384]) {
    const found = await rates([side("scan", cases.neuronScan(simd, neurons, next))], seconds);
    report(
      { kernel: "scan", shape: `${neurons} neurons`, ...found, ...here },
      `neuron scan, ${neurons} of bpsta: ${figure(found.rates.scan)} billion neuron-steps a second`,
    );
  }
}

/** The saved results as tables in Markdown. */
export function kernelTables(results) {
  const of = (kernel) => results.filter((result) => result.kernel === kernel);
  const product = of("product").map(({ shape, rates: { ours, scalar, plain, OpenBLAS } }) => [
    shape,
    figure(ours),
    OpenBLAS ? figure(OpenBLAS) : "–",
    OpenBLAS ? `**${((100 * ours) / OpenBLAS).toFixed(0)} %**` : "–",
    figure(scalar),
    `**${figure(ours / scalar)}×**`,
    figure(plain),
    `**${figure(ours / plain)}×**`,
  ]);
  const shapes = [...new Set(of("spikes").map(({ shape }) => shape))];
  const spikes = shapes.map((shape) => [
    shape,
    ...DENSITIES.map((density) => {
      const found = of("spikes").find((result) => result.shape === shape && result.density === density);
      return found ? `${figure(found.ratio)}× (${figure(found.rates.spikes)})` : "–";
    }),
  ]);
  const scan = of("scan").map(({ shape, rates: { scan } }) => `${figure(scan)} (${shape})`);
  return [
    "Dense product, rows × depth × columns, one thread, billion multiply-adds a second, beside OpenBLAS (PyTorch), the",
    "scalar build, whose blocking in registers is the same, and three plain loops of scalar AssemblyScript:",
    "",
    table(
      ["shape", "ours", "OpenBLAS", "share", "scalar build", "over it", "plain loops", "over them"],
      product,
    ),
    "",
    "Currents from spikes, by density: times as fast as the dense product of the same layer (billion synaptic operations a",
    "second):",
    "",
    table(["layer", ...DENSITIES.map((density) => `${density * 100} %`)], spikes),
    "",
    `Neuron scan, billion neuron-steps a second: ${scan.join(", ")}.`,
  ].join("\n");
}
