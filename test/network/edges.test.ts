// Every method at its edges: neurons that never spike, that spike whenever they can, one neuron, one step, one sample.
import {
  avgPool2d,
  bpsta,
  conv2d,
  createNetwork,
  decolle,
  dense,
  direct,
  earliestPool2d,
  firstSpike,
  type LayerDescriptor,
  lee,
  type NetworkOptions,
  stdbp,
  surrogate,
} from "spikegrad";
import { describe, expect, it } from "vitest";
import { dataset } from "./support.ts";

type Kind = "lee" | "bpsta" | "decolle" | "stdbp" | "surrogate";

interface Scene {
  readonly steps: number;
  readonly batch: number;
  /** Every weight and bias; undefined: as drawn. */
  readonly drive?: number;
  readonly one?: boolean;
}

const SCENES: readonly (readonly [string, Scene])[] = [
  ["neurons that never spike", { steps: 5, batch: 3, drive: -50 }],
  ["neurons that spike whenever they can", { steps: 5, batch: 3, drive: 50 }],
  ["one step", { steps: 1, batch: 3 }],
  ["one sample", { steps: 5, batch: 1 }],
  ["one neuron a layer, one step, one sample", { steps: 1, batch: 1, one: true }],
  ["one neuron that spikes whenever it can", { steps: 4, batch: 2, drive: 50, one: true }],
];

/** The last layer of `bpsta` has one voter a class. */
function options(kind: Kind, { steps, one }: Scene): NetworkOptions {
  const classes = one ? 1 : 3;
  const width = one ? 1 : 6;
  const front: LayerDescriptor[] = one
    ? [dense(1)]
    : [conv2d(4, 3, { padding: 1 }), kind === "stdbp" ? earliestPool2d(2) : avgPool2d(2), dense(width)];
  const methods = {
    lee: lee(),
    bpsta: bpsta({ vote: 1 }),
    decolle: decolle({ classes, online: false }),
    stdbp: stdbp({ silentDelay: 1 }),
    surrogate: surrogate(),
  };
  return {
    input: one ? [1] : [1, 6, 6],
    encoder: kind === "stdbp" ? firstSpike() : direct({ steps }),
    method: methods[kind],
    // Each layer of decolle has a readout of its own; it knows maximum pooling alone.
    layers:
      kind === "decolle" ? front.filter((layer) => layer.kind !== "avgPool2d") : [...front, dense(classes)],
    seed: 3,
  };
}

describe.each(SCENES)("%s", (_, scene) => {
  it.each(["lee", "bpsta", "decolle", "stdbp", "surrogate"] as const)("%s: all is finite", async (kind) => {
    const given = options(kind, scene);
    const network = await createNetwork(given);
    if (scene.drive !== undefined) {
      for (const [name, { data }] of network.parameters.entries()) {
        if (/(weight|bias)$/.test(name) && !/norm|readout/.test(name))
          network.parameters.set(name, data.fill(scene.drive));
      }
    }
    const drawn = dataset(scene.batch, given.input, network.classes);
    const data = { ...drawn, inputs: drawn.inputs.map((x) => 0.5 + x / 2) };
    const result = await network.gradients(data.inputs, data.labels);
    for (const [name, { data: values }] of Object.entries(result.gradients))
      expect([name, values.every(Number.isFinite)]).toEqual([name, true]);
    expect(Number.isFinite(result.loss)).toBe(true);
    const { layers } = await network.evaluate(data);
    const hidden = layers.filter(({ name }) => name !== "input");
    if (scene.drive === -50) for (const { rate } of hidden) expect(rate).toBe(0);
    // Batch normalisation takes the drive away; single spikes and refractory neurons cannot fire at every step.
    if (scene.drive === 50 && (kind === "lee" || kind === "surrogate"))
      for (const { rate } of hidden.slice(0, 1)) expect(rate).toBeGreaterThan(0.99);
    network.dispose();
  });
});
