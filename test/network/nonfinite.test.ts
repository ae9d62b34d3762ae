// Numbers that are not finite while training, in every method: where they arose is named, and nothing of them is kept.
import {
  adam,
  bpsta,
  conv2d,
  createNetwork,
  type Dataset,
  decolle,
  dense,
  direct,
  type FitOptions,
  lee,
  maxPool2d,
  type Network,
  type NetworkOptions,
  NonFiniteError,
  neuron,
  spikes,
  stdbp,
  surrogate,
  times,
} from "spikegrad";
import { readSafetensors } from "spikegrad/io";
import { describe, expect, it } from "vitest";
import { generator } from "./cases.ts";
import { bits, bitsOf, drain, failure } from "./support.ts";

const CLASSES = 3;
const BATCH = 4;
const SHAPE = [1, 4, 4];
const SIZE = 16;
/** The sample that is spoiled: the third of the second batch. */
const SPOILED = 6;

interface Setting {
  readonly network: Partial<NetworkOptions> & Pick<NetworkOptions, "method" | "layers" | "encoder">;
  /** What spoils a sample's inputs. */
  readonly spoil: (inputs: Float32Array) => void;
  /** What weights start as. */
  readonly prepare?: (w: number) => number;
  /** What the error says of it. */
  readonly words: RegExp;
}

const huge = (inputs: Float32Array): void => {
  inputs.forEach((_, i) => {
    inputs[i] = i % 2 ? 3e38 : -3e38;
  });
};
const first = /sample 6, layer "layer0": a membrane is (NaN|-?Infinity) at step \d/;

const SETTINGS: Record<string, Setting> = {
  lee: {
    network: {
      encoder: spikes({ steps: 1 }),
      method: lee({ leak: 0.9 }),
      layers: [conv2d(5, 3), dense(8), dense(CLASSES)],
    },
    spoil: huge,
    words: first,
  },
  bpsta: {
    network: {
      encoder: direct({ steps: 3 }),
      method: bpsta({ vote: 2 }),
      layers: [conv2d(5, 3), maxPool2d(2), dense(2 * CLASSES)],
    },
    spoil: huge,
    words: /sample 6, layer "layer0/,
  },
  "decolle online": {
    network: {
      encoder: spikes({ steps: 4 }),
      method: decolle({ classes: CLASSES, burnIn: 0 }),
      layers: [conv2d(5, 3), dense(8)],
    },
    spoil: huge,
    words: first,
  },
  decolle: {
    network: {
      encoder: spikes({ steps: 4 }),
      method: decolle({ classes: CLASSES, burnIn: 0, online: false }),
      layers: [conv2d(5, 3), dense(8)],
    },
    spoil: huge,
    words: first,
  },
  stdbp: {
    network: { encoder: times(), method: stdbp(), layers: [conv2d(5, 3), dense(8), dense(CLASSES)] },
    spoil: (inputs) => inputs.fill(Number.POSITIVE_INFINITY),
    words: /sample 6, layer "layer2": the loss is Infinity/,
    prepare: (w) => 2 * Math.abs(w),
  },
  surrogate: {
    network: {
      encoder: direct({ steps: 4 }),
      method: surrogate({ decay: 0.9 }),
      layers: [
        dense(12, { recurrent: true }),
        neuron({ learnDecay: true, learnThreshold: true }),
        dense(CLASSES),
        neuron(),
      ],
    },
    spoil: huge,
    words: /sample 6, layer "layer1": a membrane is (NaN|-?Infinity) at step 0/,
  },
};

const FIT: FitOptions = { batchSize: BATCH, shuffle: false, optimizer: adam({ rate: 0.01 }) };

async function create({ network, prepare }: Setting): Promise<Network> {
  const made = await createNetwork({ input: SHAPE, seed: 5, ...network });
  if (prepare)
    for (const [name, { data: w }] of made.parameters.entries()) made.parameters.set(name, w.map(prepare));
  return made;
}

/** Values of a sample. */
function sizeOf({ network: { encoder } }: Setting): number {
  return encoder.kind === "spikes" ? encoder.steps * SIZE : SIZE;
}

/** Three batches; those of `batches`. */
function data(setting: Setting, batches: readonly number[]): Dataset & { inputs: Float32Array } {
  const { encoder } = setting.network;
  const random = generator(3);
  const all = Float32Array.from({ length: 3 * BATCH * sizeOf(setting) }, () => Math.floor(random() * 8) / 8);
  const size = BATCH * sizeOf(setting);
  const inputs = new Float32Array(batches.length * size);
  batches.forEach((b, i) => {
    inputs.set(all.subarray(b * size, (b + 1) * size), i * size);
  });
  const labels = Int32Array.from(
    { length: batches.length * BATCH },
    (_, i) => (batches[Math.floor(i / BATCH)] * BATCH + (i % BATCH)) % CLASSES,
  );
  return {
    inputs,
    labels,
    shape: encoder.kind === "spikes" ? [encoder.steps, ...SHAPE] : SHAPE,
    classes: CLASSES,
  };
}

function spoiled(setting: Setting): Dataset {
  const set = data(setting, [0, 1, 2]);
  const size = sizeOf(setting);
  setting.spoil(set.inputs.subarray(SPOILED * size, (SPOILED + 1) * size));
  return set;
}

/** Parameters, running statistics and the optimizer's state. */
function stateOf(network: Network): Record<string, Uint32Array> {
  const { tensors } = readSafetensors(network.checkpoint());
  return Object.fromEntries([...tensors].map(([name, t]) => [name, bits(t.data as Float32Array)]));
}

describe.each(Object.entries(SETTINGS))("%s", (_, setting) => {
  it("says in which layer, step and sample, and keeps the state of the batch before", async () => {
    const network = await create(setting);
    const error = await failure(() => drain(network.fit(spoiled(setting), FIT)));
    expect(error, String(error.stack)).toBeInstanceOf(NonFiniteError);
    expect(error.message).toMatch(/^epoch 0, step 1, sample/);
    expect(error.message).toMatch(setting.words);
    expect(error.message).toMatch(/; the parameters are those before this step$/);
    const reference = await create(setting);
    await drain(reference.fit(data(setting, [0]), FIT));
    expect(stateOf(network)).toEqual(stateOf(reference));
  });

  it("undoes and counts the batch where it is skipped", async () => {
    const network = await create(setting);
    const records = await drain(network.fit(spoiled(setting), { ...FIT, onNonFinite: "skip" }));
    expect(records.map(({ skipped }) => skipped)).toEqual([0, 1, 1]);
    expect(records.map(({ loss }) => Number.isFinite(loss))).toEqual([true, false, true]);
    const reference = await create(setting);
    await drain(reference.fit(data(setting, [0, 2]), FIT));
    expect(stateOf(network)).toEqual(stateOf(reference));
  });

  it("finds weights of a hidden layer that go out of range, though spikes and loss do not show it", async () => {
    const network = await create(setting);
    const [name] = network.parameters.names();
    const { data: w } = network.parameters.get(name);
    network.parameters.set(
      name,
      w.map((_, i) => (i % 2 ? 3e38 : -3e38)),
    );
    const before = bitsOf(network.parameters.entries());
    const error = await failure(() => drain(network.fit(data(setting, [0]), FIT)));
    expect(error, String(error.stack)).toBeInstanceOf(NonFiniteError);
    expect(error.message).toMatch(/^epoch 0, step 0, .*layer/);
    expect(bitsOf(network.parameters.entries())).toEqual(before);
  });
});
