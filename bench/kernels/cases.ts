// What the kernel benchmark times: the kernels that ship, on synapses laid out as the library lays them out.
import { Bpsta, Frame } from "../../assembly/abi.ts";
import { convGeometry, denseGeometry, type FanoutGeometry, Layout } from "../../src/core/geometry.ts";
import { Plan } from "../../src/core/plan.ts";
import type { Core } from "./compile.ts";
import { Synapse } from "./synapse.ts";

/** A piece of work and how much it is: `work` counts multiply-adds, synaptic operations or neuron-steps. */
export interface Work {
  readonly work: number;
  readonly run: () => void;
}

const line = (channels: number) => new Layout({ channels, height: 1, width: 1 }, true);

function synapse(
  core: Core,
  layout: Layout,
  steps: number,
  kind: "bits" | "values",
  geometry: FanoutGeometry,
  random: () => number,
) {
  const made = new Synapse(core.memory, { layout, steps, kind }, geometry, core.memory.buffer.byteLength);
  const { weights } = made;
  for (let i = 0; i < weights.length; i++) weights[i] = random() - 0.5;
  return made;
}

/** [rows][depth] · [depth][columns], both dense. */
export function matrixProduct(
  core: Core,
  shape: readonly [number, number, number],
  random: () => number,
): Work {
  const [rows, depth, columns] = shape;
  const from = line(depth);
  const made = synapse(core, from, rows, "values", denseGeometry(from, line(columns)), random);
  made.fill(1, random);
  const { fanout, frame } = made;
  return { work: rows * depth * columns, run: () => core.exports.sweepProduct(fanout, rows, frame) };
}

/** The same by three loops, one element at a time. */
export function plainProduct(
  { exports, memory }: Core,
  [rows, depth, columns]: readonly [number, number, number],
  random: () => number,
): Work {
  const a = memory.buffer.byteLength;
  const factors = rows * depth + depth * columns;
  memory.grow(Math.ceil(((factors + rows * columns) * 4) / 65536));
  const b = a + rows * depth * 4;
  const values = new Float32Array(memory.buffer, a, factors);
  for (let i = 0; i < factors; i++) values[i] = random() - 0.5;
  const run = () => exports.plainProduct(a, b, a + factors * 4, rows, depth, columns);
  return { work: rows * depth * columns, run };
}

/** Currents of a dense synapse, all steps: as the library computes them, and by the dense product. */
export function denseLayer(core: Core, inputs: number, outputs: number, steps: number, random: () => number) {
  const from = line(inputs);
  const made = synapse(core, from, steps, "bits", denseGeometry(from, line(outputs)), random);
  const { fanout, frame } = made;
  const { sweepForward, sweepProduct } = core.exports;
  return (density: number): { spikes: Work; product: Work } => {
    const spikes = made.fill(density, random);
    return {
      spikes: { work: spikes * outputs, run: () => sweepForward(fanout, steps, frame) },
      product: { work: inputs * outputs * steps, run: () => sweepProduct(fanout, steps, frame) },
    };
  };
}

export interface Map {
  readonly channels: number;
  readonly side: number;
  readonly out: number;
  readonly kernel: number;
}

/** Currents of a convolution of one step, likewise, and what training adds to them: G and the weight gradient. */
export function convolution(core: Core, { channels, side, out, kernel }: Map, random: () => number) {
  const from = new Layout({ channels, height: side, width: side }, true);
  const to = new Layout({ channels: out, height: side, width: side }, true);
  const geometry = convGeometry(from, to, kernel, 1, (kernel - 1) / 2);
  const made = synapse(core, from, 1, "bits", geometry, random);
  const { fanout, window, data, frame } = made;
  const { fanoutForward, fanoutBackward, windowProduct } = core.exports;
  return (density: number): { spikes: Work; training: Work; product: Work } => {
    const spikes = made.fill(density, random);
    const { target } = made;
    for (let i = 0; i < target.length; i++) target[i] = 0;
    // Operations of the dense convolution that exist, times the share of inputs that are active.
    const work = (geometry.operations * spikes) / (channels * side * side);
    return {
      spikes: { work, run: () => fanoutForward(fanout, frame) },
      training: {
        work: 3 * work,
        run: () => {
          fanoutForward(fanout, frame);
          fanoutBackward(fanout, 5, frame); // G and the weight gradient
        },
      },
      product: { work: geometry.operations, run: () => windowProduct(fanout, window, data, 0, frame) },
    };
  };
}

/** Neurons of `bpsta` that take one step: currents to spikes as bits. */
export function neuronScan(core: Core, neurons: number, random: () => number): Work {
  const layout = line(neurons);
  const plan = new Plan(core.memory.buffer.byteLength, 1);
  const frame = plan.take(Frame.Size);
  const bytes = layout.length * 4;
  const field = plan.take(bytes, 64);
  const layer = plan.record(Bpsta.Size, {
    [Bpsta.Rows]: layout.rows,
    [Bpsta.RowLength]: layout.rowLength,
    [Bpsta.RowWords]: layout.rowWords,
    [Bpsta.Channels]: layout.channels,
    [Bpsta.Field]: plan.view(field),
    [Bpsta.Stride]: bytes,
    [Bpsta.Membrane]: plan.view(plan.take(bytes, 64)),
    [Bpsta.Bits]: plan.view(plan.take(layout.bitBytes, 64)),
    [Bpsta.Spikes]: plan.view(plan.take(16)),
    [Bpsta.Threshold]: { f32: 1 },
    [Bpsta.Decay]: { f32: 0.9 },
  });
  plan.finish();
  const pages = Math.ceil((plan.base + plan.bytes) / 65536) - core.memory.buffer.byteLength / 65536;
  if (pages > 0) core.memory.grow(pages);
  plan.write(core.memory.buffer);
  const currents = new Float32Array(core.memory.buffer, field, neurons);
  for (let i = 0; i < neurons; i++) currents[i] = random() * 0.4;
  return { work: neurons, run: () => core.exports.bpstaForward(layer, frame) };
}

export { compileKernels } from "./compile.ts";
