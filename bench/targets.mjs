// What was aimed at, and what was reached; the text that says why stands by hand in RESULTS.md.
import { figure, table } from "./lib/figures.mjs";

/** Times as fast as a peer on one thread, batch 64: what must be, and the goal. */
const SPEED = [
  ["lee", "train", "torch", 6, 10],
  ["lee", "infer", "torch", 7, 12],
  ["lee", "latency", "torch", 12],
  ["surrogate", "train", "torch", 10, 15],
  ["surrogate", "train", "tuned", 2.5],
  ["surrogate", "infer", "torch", 7, 10],
  ["surrogate", "infer", "tuned", 2.5],
  ["bpsta", "train", "torch", 1.8, 4],
  ["bpsta", "infer", "torch", 2.5, 5],
  ["decolle", "train", "torch", 2, 4],
  ["decolle", "infer", "torch", 12, 20],
  ["stdbp", "train", "torch", 100, 200],
  ["stdbp", "train", "js", 6],
  ["stdbp", "infer", "torch", 100],
];

const times = (value) => `${figure(value)}×`;
const ms = (value) => `${figure(value)} ms`;
const share = (value) => `${figure(value)} %`;
const billions = (value) => `${figure(value)} billion`;
const megabytes = (value) => `${figure(value)} MB`;

/** The worst of several figures; undefined unless all were measured. */
function worst(of, values) {
  return values.length === 0 || values.includes(undefined) ? undefined : of(...values);
}

/** Targets of kernels and cost curves. */
function kernelTargets(kernels, curves) {
  const of = (kernel) => kernels.filter((result) => result.kernel === kernel);
  const spikes = (layer) => of("spikes").filter(({ shape }) => shape.startsWith(layer));
  const at = (layer, density, value) =>
    worst(
      Math.min,
      spikes(layer)
        .filter((result) => result.density === density)
        .map(value),
    );
  const ratio = (result) => result.ratio;
  const below = (layer, limit) =>
    worst(
      Math.min,
      spikes(layer)
        .filter(({ density }) => density <= limit)
        .map(ratio),
    );
  const synapse = (density) => curves.find((point) => point.curve === "synapse" && point.density === density);
  const [low, high] = [synapse(0.05), synapse(0.5)];
  const products = of("product");
  return [
    ...products.map(({ shape, rates }) => ({
      what: `dense product ${shape}, of OpenBLAS`,
      target: 25,
      goal: 33,
      reached: rates.OpenBLAS && (100 * rates.ours) / rates.OpenBLAS,
      unit: share,
    })),
    {
      what: "dense products, over plain scalar loops",
      target: 10,
      reached: worst(
        Math.min,
        products.map(({ rates }) => rates.ours / rates.plain),
      ),
      unit: times,
    },
    {
      what: "spike-driven dense, 2 %, over the dense product",
      target: 15,
      reached: at("dense", 0.02, ratio),
      unit: times,
    },
    {
      what: "spike-driven dense, 10 %, over the dense product",
      target: 5,
      reached: at("dense", 0.1, ratio),
      unit: times,
    },
    { what: "spike-driven dense, slowest up to 50 %", target: 1, reached: below("dense", 0.5), unit: times },
    {
      what: "convolution, 5 %, synaptic operations a second",
      target: 4,
      reached: at("conv", 0.05, ({ rates }) => rates.spikes),
      unit: billions,
    },
    { what: "convolution, slowest at any density", target: 1, reached: below("conv", 1), unit: times },
    {
      what: "training a convolution, 5 % over 50 %",
      most: 0.35,
      reached: high && low.ms / high.ms,
      unit: figure,
    },
    {
      what: "the same, 50 % over dense products",
      most: 1.1,
      reached: high && high.ms / high.dense,
      unit: figure,
    },
  ];
}

/** Every target with what was reached; `reached` is undefined where it was not measured. */
export function targets({ speed, start, memory, kernels, curves }) {
  const single = speed.filter(({ threads }) => threads === 1);
  const find = (workload, mode, peer) =>
    single.find((result) => result.workload === workload && result.mode === mode && result.peer === peer);
  const lenet = memory.find(({ workload, steps }) => workload === "lee" && steps === 100);
  return [
    ...SPEED.map(([workload, mode, peer, target, goal]) => ({
      what: `${workload} ${mode}, against ${peer}`,
      target,
      goal,
      reached: find(workload, mode, peer)?.ratio,
      unit: times,
    })),
    { what: "lee latency, median", most: 7, reached: find("lee", "latency", "torch")?.ours_ms, unit: ms },
    { what: "cold start", most: 60, reached: start[0]?.ms, unit: ms },
    {
      what: "memory, LeNet T 100, training",
      most: 48,
      reached: lenet && lenet.training / 1e6,
      unit: megabytes,
    },
    {
      what: "memory, LeNet T 100, inference",
      most: 6,
      reached: lenet && lenet.inference / 1e6,
      unit: megabytes,
    },
    ...kernelTargets(kernels, curves),
  ];
}

/** A small share in whole per cent, never 0. */
const points = (part) => Math.max(1, Math.round(part * 100));

/** By how much a target is met or missed. */
export function verdict({ target, goal, most, reached }) {
  if (reached === undefined) return "not measured";
  if (most !== undefined) {
    return reached <= most ? "met" : `**missed** by ${points(reached / most - 1)} %`;
  }
  if (reached < target) return `**missed** by ${points(1 - reached / target)} %`;
  if (goal === undefined) return "met";
  return reached >= goal ? "goal met" : `met; ${points(1 - reached / goal)} % short of the goal`;
}

export function targetTable(results) {
  const rows = targets(results).map((entry) => {
    const { what, target, goal, most, reached, unit } = entry;
    return [
      what,
      most === undefined ? `≥ ${unit(target)}` : `≤ ${unit(most)}`,
      goal === undefined ? "" : unit(goal),
      reached === undefined ? "" : unit(reached),
      verdict(entry),
    ];
  });
  return [
    "On one thread, medians of the tables below.",
    "",
    table(["what", "target", "goal", "reached", ""], rows),
  ].join("\n");
}
