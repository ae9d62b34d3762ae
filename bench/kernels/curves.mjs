// Cost curves: the time of training against spike density and against network size.
//   synapse   one convolution of LeNet's size: forward, G and weight gradient, beside three dense products of the same size
//   network   a training step of a network whose input spikes with a given density, through the public API
//   size      a training step of 784-N-10 against N
import { fileURLToPath } from "node:url";
import { figure, table } from "../lib/figures.mjs";
import { measure, median } from "../lib/measure.mjs";
import { random } from "../lib/random.mjs";
import { loadKernels, rates, side } from "./run.mjs";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const DENSITIES = [0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5];
const SIZES = [100, 200, 400, 800, 1600, 3200];
const STEPS = 20;
const BATCH = 16;

/** Runs the curves; `report` gets every point with its line of text. */
export async function runCurves({ library, seconds, here }, report) {
  const cases = await loadKernels();
  const core = await cases.compileKernels(ROOT, true);
  const next = random(1);
  const at = cases.convolution(core, { channels: 20, side: 14, out: 50, kernel: 5 }, next);
  for (const density of DENSITIES) {
    const { training, product } = at(density);
    const found = await rates([side("training", training), side("product", product)], seconds);
    const ms = training.work / found.rates.training / 1e6;
    const dense = (3 * product.work) / found.rates.product / 1e6;
    const result = { curve: "synapse", density, ms, dense, others: found.others, ...here };
    report(
      result,
      `synapse, 14×14×20 → 50, ${density * 100} %: ${figure(ms)} ms, three dense products ${figure(dense)} ms`,
    );
  }
  for (const density of DENSITIES) {
    const { ms, others } = await trainingStep(library, lenetPart(library), [20, 14, 14], density, seconds);
    const result = { curve: "network", density, ms, others, ...here };
    report(result, `network, 20×14×14-50C5-2A-200-10, ${density * 100} %: ${figure(ms)} ms a sample`);
  }
  for (const size of SIZES) {
    const { ms, others } = await trainingStep(library, mlp(library, size), [784], 0.05, seconds);
    const result = { curve: "size", size, ms, others, ...here };
    report(result, `size, 784-${size}-10, 5 %: ${figure(ms)} ms a sample`);
  }
}

/** LeNet from its second convolution on. */
function lenetPart({ conv2d, avgPool2d, dense }) {
  return [conv2d(50, 5, { padding: 2 }), avgPool2d(2), dense(200), dense(10)];
}

function mlp({ dense }, size) {
  return [dense(size), dense(10)];
}

/** Milliseconds a sample of a `lee` training step on frames that spike with probability `density`. */
async function trainingStep(library, layers, input, density, seconds) {
  const { createNetwork, lee, spikes, sgd } = library;
  const network = await createNetwork({
    input,
    encoder: spikes({ steps: STEPS }),
    method: lee({ leak: 0.99 }),
    layers,
    seed: 1,
  });
  const next = random(2);
  const size = input.reduce((product, n) => product * n, 1);
  const inputs = Float32Array.from({ length: BATCH * STEPS * size }, () => (next() < density ? 1 : 0));
  const labels = Uint8Array.from({ length: BATCH }, () => next() * 10);
  const data = { inputs, shape: [STEPS, ...input], labels, classes: 10 };
  // A rate this small leaves the spikes of the layers as they are.
  const steps = network.fit(data, {
    epochs: 1e6,
    batchSize: BATCH,
    optimizer: sgd({ rate: 1e-9 }),
    shuffle: false,
  });
  const run = steps[Symbol.asyncIterator]();
  const once = async () => {
    const start = performance.now();
    await run.next();
    return { ms: performance.now() - start };
  };
  const { timed, others } = await measure([{ run: once }], seconds);
  await run.return();
  network.dispose();
  return { ms: median(timed[0].times) / BATCH, others };
}

/** The saved points as tables in Markdown. */
export function curveTables(points) {
  const of = (curve) => points.filter((point) => point.curve === curve);
  const synapse = of("synapse");
  const network = of("network");
  const time = (list, density) => list.find((point) => point.density === density)?.ms;
  const share = (list) => {
    const [low, high] = [time(list, 0.05), time(list, 0.5)];
    return low && high ? `5 % takes ${(low / high).toFixed(2)} of the time of 50 %` : "";
  };
  return [
    "One convolution, 14×14×20 → 50 of 5×5, one step: forward, G and weight gradient, in milliseconds, beside the time of three",
    `dense products of that size; ${share(synapse)}:`,
    "",
    table(
      ["density", ...synapse.map(({ density }) => `${density * 100} %`)],
      [
        ["following spikes", ...synapse.map(({ ms }) => figure(ms))],
        ["three dense products", ...synapse.map(({ dense }) => figure(dense))],
      ],
    ),
    "",
    `A training step of 20×14×14-50C5-2A-200-10 (\`lee\`, ${STEPS} steps, batches of ${BATCH}), milliseconds a sample against the density`,
    `of its input; ${share(network)}:`,
    "",
    table(
      ["density", ...network.map(({ density }) => `${density * 100} %`)],
      [["ms", ...network.map(({ ms }) => figure(ms))]],
    ),
    "",
    "A training step of 784-N-10 at 5 %, milliseconds a sample against N:",
    "",
    table(["N", ...of("size").map(({ size }) => size)], [["ms", ...of("size").map(({ ms }) => figure(ms))]]),
  ].join("\n");
}
