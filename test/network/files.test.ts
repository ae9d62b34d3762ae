// What save() and checkpoint() write, and what loadNetwork() and fit({ resume }) make of good and bad bytes.
import fc from "fast-check";
import {
  avgPool2d,
  conv2d,
  cosine,
  createNetwork,
  dense,
  dropout,
  type FitOptions,
  FormatError,
  lee,
  loadNetwork,
  MemoryError,
  type Network,
  poisson,
  residual,
  SpikegradError,
  sgd,
  stepDecay,
} from "spikegrad";
import { readSafetensors, type SafetensorsTensor, writeSafetensors } from "spikegrad/io";
import { describe, expect, it, vi } from "vitest";
import { bits, bitsOf, dataset, drain, failure } from "./support.ts";

const SHAPE = [2, 6, 6];
const data = dataset(11, SHAPE, 3);
const SETTINGS: FitOptions = {
  epochs: 3,
  batchSize: 4, // the last batch has 3
  optimizer: sgd({ rate: 0.01, momentum: 0.9, weightDecay: 1e-3 }),
  schedule: cosine({ warmup: 0.5 }),
};

function create(seed = 9): Promise<Network> {
  return createNetwork({
    input: SHAPE,
    encoder: poisson({ steps: 6, gain: 0.8 }),
    method: lee({ leak: 0.9 }),
    layers: [
      conv2d(5, 3, { padding: 1 }),
      dropout(0.3),
      avgPool2d(2),
      residual([conv2d(4, 3, { padding: 1 })]),
      dropout(0.5),
      dense(3),
    ],
    seed,
  });
}

/** The bytes with metadata replaced (undefined: left out) and tensors likewise, without the checksum of what was. */
function altered(
  bytes: Uint8Array,
  metadata: Record<string, string | undefined>,
  tensors: Record<string, SafetensorsTensor | undefined> = {},
): Uint8Array {
  const file = readSafetensors(bytes);
  const keep = <T>(all: Record<string, T | undefined>): [string, T][] =>
    Object.entries(all).filter((entry): entry is [string, T] => entry[1] !== undefined);
  return writeSafetensors(
    Object.fromEntries(keep({ ...Object.fromEntries(file.tensors), ...tensors })),
    Object.fromEntries(keep({ ...file.metadata, checksum: undefined as string | undefined, ...metadata })),
  );
}

/** The same for one value in a JSON text of the metadata, found by a path like `layers.0.kernel`. */
function alteredJson(bytes: Uint8Array, key: string, path: string, value: unknown): Uint8Array {
  const root = JSON.parse(readSafetensors(bytes).metadata[key]) as Record<string, unknown>;
  const steps = path.split(".");
  const last = steps.pop() as string;
  const parent = steps.reduce((at, step) => at[step] as Record<string, unknown>, root);
  parent[last] = value;
  return altered(bytes, { [key]: JSON.stringify(root) });
}

/** A tensor of a file with one of its values replaced. */
function spoiled(bytes: Uint8Array, name: string, index: number, value: number): SafetensorsTensor {
  const tensor = readSafetensors(bytes).tensors.get(name) as SafetensorsTensor;
  (tensor.data as Float32Array)[index] = value;
  return tensor;
}

const F32 = (...shape: number[]): SafetensorsTensor => ({
  dtype: "F32",
  shape,
  data: new Float32Array(shape.reduce((a, b) => a * b, 1)),
});

async function trained(): Promise<Network> {
  const network = await create();
  await drain(network.fit(data, { ...SETTINGS, epochs: 1 }));
  return network;
}

describe("save and load", () => {
  it("keep every bit, and the answers", async () => {
    const network = await trained();
    const file = network.save();
    const loaded = await loadNetwork(file);
    expect(bitsOf(loaded.parameters.entries())).toEqual(bitsOf(network.parameters.entries()));
    expect(loaded.description).toEqual(network.description);
    const [a, b] = [await network.predict(data.inputs), await loaded.predict(data.inputs)];
    expect(bits(b.outputs.data)).toEqual(bits(a.outputs.data));
    expect(loaded.save()).toEqual(file);
    for (const build of ["simd", "scalar"] as const) {
      const same = await loadNetwork(file, { build });
      expect(same.build).toBe(build);
      expect(bits((await same.predict(data.inputs)).outputs.data)).toEqual(bits(a.outputs.data));
    }
  });

  it("a loaded network goes on like the one that was saved", async () => {
    const network = await trained();
    const loaded = await loadNetwork(network.save());
    for (const each of [network, loaded]) await drain(each.fit(data, SETTINGS));
    expect(bitsOf(loaded.parameters.entries())).toEqual(bitsOf(network.parameters.entries()));
  });

  it("write what the documentation says", async () => {
    const network = await trained();
    const { metadata, tensors } = readSafetensors(network.save());
    expect({ ...metadata }).toEqual({
      format: "spikegrad",
      version: "1",
      network: JSON.stringify(network.description),
      epoch: "1",
      step: "3",
      rng: "philox4x32-10",
      rngVersion: "1",
    });
    expect([...tensors.keys()].sort()).toEqual(network.parameters.names().sort());
    expect(tensors.get("layer0.weight")).toMatchObject({ dtype: "F32", shape: [5, 2, 3, 3] });
    expect(tensors.get("layer3.shortcut.weight")).toMatchObject({ shape: [4, 5, 1, 1] });
    expect(JSON.parse(metadata.network)).toMatchObject({
      input: SHAPE,
      encoder: { kind: "poisson", steps: 6, gain: 0.8, signed: false },
      method: { kind: "lee", leak: 0.9, threshold: 1 },
      loss: { kind: "squaredError" },
      seed: 9,
    });
  });

  it("a checkpoint is a model too", async () => {
    const network = await trained();
    const loaded = await loadNetwork(network.checkpoint());
    expect(bitsOf(loaded.parameters.entries())).toEqual(bitsOf(network.parameters.entries()));
    expect(loaded.save()).toEqual(network.save());
  });

  it("any bits of the weights survive, subnormal numbers and -0 too", async () => {
    const network = await create();
    const { shape, data: w } = network.parameters.get("layer5.weight");
    w.set([-0, 1e-45, -1.4e-45, 3.4028234663852886e38, -3.4028234663852886e38, 1.1754943508222875e-38]);
    network.parameters.set("layer5.weight", { shape, data: w });
    const loaded = await loadNetwork(network.save());
    expect(bits(loaded.parameters.get("layer5.weight").data)).toEqual(bits(w));
  });
});

describe("files that are not in order", () => {
  it("truncated anywhere: FormatError", async () => {
    const file = (await create()).save();
    const lengths = [0, 1, 7, 8, 9, 100, file.length >> 1, file.length - 4, file.length - 1];
    for (const length of lengths) {
      expect(await failure(() => loadNetwork(file.subarray(0, length))), `${length}`).toBeInstanceOf(
        FormatError,
      );
    }
    const longer = new Uint8Array(file.length + 4);
    longer.set(file);
    expect(await failure(() => loadNetwork(longer))).toBeInstanceOf(FormatError);
  });

  it.each<[string, Record<string, string | undefined>, RegExp]>([
    ["someone else's safetensors file", { format: undefined }, /__metadata__\.format/],
    ["a file of the future", { version: "2" }, /version.*"2".*"1"/],
    ["another generator", { rng: "xoshiro" }, /rng.*xoshiro.*philox4x32-10 version 1.*seed/],
    ["another version of the generator", { rngVersion: "2" }, /philox4x32-10 version 2/],
    ["no generator", { rng: undefined }, /rng/],
    ["no network", { network: undefined }, /__metadata__\.network/],
    ["a network that is no JSON", { network: "{" }, /__metadata__\.network/],
    ["a network that is null", { network: "null" }, /__metadata__\.network/],
    ["a network that is a list", { network: "[]" }, /__metadata__\.network/],
    ["a count that is none", { epoch: "-1" }, /__metadata__\.epoch/],
    ["a count left out", { step: undefined }, /__metadata__\.step/],
  ])("%s: FormatError with words", async (_, metadata, words) => {
    const error = await failure(async () => loadNetwork(altered((await create()).save(), metadata)));
    expect(error).toBeInstanceOf(FormatError);
    expect(error.message).toMatch(words);
  });

  it.each<[string, Record<string, SafetensorsTensor | undefined>, RegExp]>([
    ["missing", { "layer0.weight": undefined }, /tensor "layer0.weight"/],
    ["unknown", { "layer9.weight": F32(1) }, /tensor "layer9.weight"/],
    ["of another shape", { "layer5.weight": F32(36, 3) }, /tensor "layer5.weight".*\[36, 3\].*\[3, 36\]/],
    [
      "of another type",
      { "layer5.weight": { dtype: "F64", shape: [3, 36], data: new Float64Array(108) } },
      /tensor "layer5.weight".dtype.*F64.*F32/,
    ],
  ])("a tensor that is %s: FormatError with words", async (_, tensors, words) => {
    const error = await failure(async () => loadNetwork(altered((await create()).save(), {}, tensors)));
    expect(error).toBeInstanceOf(FormatError);
    expect(error.message).toMatch(words);
  });

  it("a name that would move a terminal is cleaned in the error", async () => {
    const tensors = { "\u001b[2J\u202e\u200b\r": F32(1) };
    const error = await failure(async () => loadNetwork(altered((await create()).save(), {}, tensors)));
    expect(error).toBeInstanceOf(FormatError);
    expect(error.message).toContain('tensor "?[2J???"');
    expect(error.message).not.toMatch(/[\p{Cc}\p{Cf}]/u);
  });

  it("a file that claims a network far larger than itself is refused before memory is taken", async () => {
    const file = alteredJson((await create()).save(), "network", "layers.7.out", 2 ** 22);
    const grow = vi.spyOn(WebAssembly.Memory.prototype, "grow");
    const error = await failure(() => loadNetwork(file));
    expect(error, error.message).toBeInstanceOf(FormatError);
    expect(error.message).toMatch(/tensor "layer5.weight".*4194304/);
    expect(grow).not.toHaveBeenCalled();
    grow.mockRestore();
  });

  it.each([
    Number.NaN,
    Number.POSITIVE_INFINITY,
  ])("a weight that is %d: FormatError with words", async (value) => {
    const file = (await create()).save();
    const tensors = { "layer0.weight": spoiled(file, "layer0.weight", 7, value) };
    const error = await failure(() => loadNetwork(altered(file, {}, tensors)));
    expect(error).toBeInstanceOf(FormatError);
    expect(error.message).toContain(`tensor "layer0.weight"[7]: found ${value}`);
  });

  it.each([
    ["input", [1, -1, 2]],
    ["input", "abc"],
    ["encoder", undefined],
    ["encoder.steps", 0],
    ["encoder.kind", "constructor"],
    ["method", null],
    ["method.kind", "__proto__"],
    ["method.leak", 2],
    ["loss", 7],
    ["loss.kind", "hinge"],
    ["seed", 1.5],
    ["layers", []],
    ["layers", {}],
    ["layers.0", null],
    ["layers.0.kind", "conv9d"],
    ["layers.0.kernel", undefined],
    ["layers.0.kernel", 0],
    ["layers.0.kernel", "3"],
    ["layers.0.kernel", 99],
    ["layers.0.stride", 0],
    ["layers.0.padding", -1],
    ["layers.0.out", 1e12],
    ["layers.0.out", null],
    ["layers.0.bias", true],
    ["layers.0.name", 5],
    ["layers.0.name", "\u001b[31m"],
    ["layers.1.threshold", 0],
    ["layers.1.threshold", "1"],
    ["layers.1.readout", "yes"],
    ["layers.2.probability", 1],
    ["layers.3.size", 2.5],
    ["layers.3.threshold", -1],
    ["layers.4.shortcut", 5],
    ["layers.4.shortcut.from", "layer77"],
    ["layers.4.shortcut.stride", 0],
    ["layers.4.shortcut.conv", "no"],
    ["layers.7.out", 0],
  ])("a description with %s = %j: FormatError that names the place", async (path, value) => {
    const bytes = alteredJson((await create()).save(), "network", path, value);
    const error = await failure(() => loadNetwork(bytes));
    expect(error, error.message).toBeInstanceOf(FormatError);
    const [field, index] = path.split(".");
    const place = index === "steps" ? "poisson" : index === "leak" ? "lee" : field;
    const where = place === "layers" && index !== undefined ? `layers[${index}]` : place;
    expect(error.message.startsWith("__metadata__.network"), error.message).toBe(true);
    expect(error.message).toContain(where);
  });

  it("a checkpoint with one bit changed, or a page of zeros, is refused", async () => {
    const file = (await trained()).checkpoint();
    const start = 8 + Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
    await loadNetwork(file);
    const flipped = file.slice();
    flipped[start + 77] ^= 4;
    const blank = file.slice().fill(0, start + 100, start + 400);
    for (const bytes of [flipped, blank]) {
      const error = await failure(() => loadNetwork(bytes));
      expect(error).toBeInstanceOf(FormatError);
      expect(error.message).toMatch(/checksum.*damaged/);
    }
  });

  it("changed at random: an error of this library or a network that works, at once", async () => {
    // Without the checksum, which would find nearly all of them.
    const file = altered((await trained()).checkpoint(), {});
    const header = 8 + new DataView(file.buffer, file.byteOffset).getUint32(0, true);
    const place = fc.oneof(
      { weight: 4, arbitrary: fc.nat(header - 1) },
      { weight: 1, arbitrary: fc.nat(file.length - 1) },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(place, fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 3 }),
        async (changes) => {
          const bytes = file.slice();
          for (const [at, value] of changes) bytes[at] = value;
          const outcome = async () => {
            const network = await loadNetwork(bytes);
            await network.predict(
              data.inputs.subarray(
                0,
                network.inputShape.reduce((a, b) => a * b, 1),
              ),
            );
            await drain(network.fit(data, { resume: bytes, epochs: 2 }));
          };
          try {
            await outcome();
          } catch (error) {
            expect(error, String(error)).toBeInstanceOf(SpikegradError);
            expect(error).not.toBeInstanceOf(MemoryError);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe("checkpoint and resume", () => {
  const variants: [string, FitOptions][] = [
    ["momentum, weight decay, a cosine schedule", SETTINGS],
    [
      "plain descent with steps, unshuffled",
      {
        ...SETTINGS,
        optimizer: sgd({ rate: 0.01 }),
        schedule: stepDecay({ at: [1, 2], factor: 0.5 }),
        shuffle: false,
      },
    ],
  ];

  it.each(
    variants,
  )("stopping after any step and going on gives the bits of never stopping: %s", async (_, settings) => {
    const whole = await create();
    const records = await drain(whole.fit(data, settings));
    const wanted = bitsOf(whole.parameters.entries());
    const outputs = bits((await whole.predict(data.inputs)).outputs.data);
    expect(records).toHaveLength(9);
    for (let stop = 1; stop <= 9; stop++) {
      const first = await create();
      let done = 0;
      for await (const _step of first.fit(data, settings)) if (++done === stop) break;
      const file = first.checkpoint();
      const second = await loadNetwork(file);
      const rest = await drain(second.fit(data, { resume: file }));
      expect(rest).toHaveLength(9 - stop);
      rest.forEach((record, i) => {
        const { epoch, step, loss, epochLoss, epochAccuracy, rate, samples } = records[stop + i];
        expect(record).toMatchObject({ epoch, step, loss, epochLoss, epochAccuracy, rate, samples });
      });
      expect(bitsOf(second.parameters.entries())).toEqual(wanted);
      expect(bits((await second.predict(data.inputs)).outputs.data)).toEqual(outputs);
      expect(second.checkpoint()).toEqual(whole.checkpoint());
    }
  });

  it("a checkpoint taken at any moment, also within a step, goes on with the same bits", async () => {
    const whole = await create();
    const different = new Map<string, Uint8Array>();
    const steps = whole.fit(data, SETTINGS);
    for (let ended = false; !ended; ) {
      let pending = true;
      const next = steps.next().then((result) => {
        pending = false;
        ended = result.done === true;
      });
      for (let i = 0; pending; i++) {
        const file = whole.checkpoint();
        different.set(Buffer.from(file).toString("latin1"), file);
        // Between any two turns of the loop that carries promises, and now and then of the one that carries events.
        await (i % 40 < 39 ? undefined : new Promise((resolve) => setImmediate(resolve)));
      }
      await next;
    }
    const wanted = bitsOf(whole.parameters.entries());
    expect(different.size).toBe(10);
    for (const file of different.values()) {
      const second = await loadNetwork(file);
      await drain(second.fit(data, { resume: file }));
      expect(bitsOf(second.parameters.entries())).toEqual(wanted);
    }
  });

  it("a network in another state takes up the checkpoint's", async () => {
    const whole = await create();
    await drain(whole.fit(data, SETTINGS));
    const first = await create();
    for await (const _ of first.fit(data, SETTINGS)) break;
    const other = await create();
    await drain(other.fit(data, { ...SETTINGS, optimizer: sgd({ rate: 0.03 }), schedule: undefined }));
    await drain(other.fit(data, { resume: first.checkpoint() }));
    expect(bitsOf(other.parameters.entries())).toEqual(bitsOf(whole.parameters.entries()));
  });

  it("more epochs may be asked for than were", async () => {
    const network = await create();
    await drain(network.fit(data, { ...SETTINGS, schedule: undefined, epochs: 1 }));
    const records = await drain(network.fit(data, { resume: network.checkpoint(), epochs: 2 }));
    expect(records.map(({ epoch }) => epoch)).toEqual([1, 1, 1]);
    const whole = await create();
    await drain(whole.fit(data, { ...SETTINGS, schedule: undefined, epochs: 2 }));
    expect(bitsOf(network.parameters.entries())).toEqual(bitsOf(whole.parameters.entries()));
  });

  it.each([
    ["batchSize", { batchSize: 5 }],
    ["shuffle", { shuffle: false }],
    ["optimizer", { optimizer: sgd({ rate: 0.02, momentum: 0.9, weightDecay: 1e-3 }) }],
    ["optimizer", { optimizer: sgd({ rate: 0.01 }) }],
    ["schedule", { schedule: cosine() }],
  ] as [string, FitOptions][])("another %s is refused", async (name, option) => {
    const network = await trained();
    const file = network.checkpoint();
    const error = await failure(() => network.fit(data, { resume: file, ...option }));
    expect(error.message).toMatch(new RegExp(`^${name}`));
    expect(error.message).toContain("checkpoint");
  });

  it("other data, another network and a mere model are refused", async () => {
    const network = await trained();
    const file = network.checkpoint();
    const other = await failure(() => network.fit(dataset(12, SHAPE, 3), { resume: file }));
    expect(other.message).toMatch(/samples.*12.*11/);
    const seed = await failure(async () => (await create(10)).fit(data, { resume: file }));
    expect(seed.message).toContain("this very network");
    const model = await failure(() => network.fit(data, { resume: network.save() }));
    expect(model.message).toContain("network.checkpoint()");
  });

  it("a network that was never trained has no checkpoint", async () => {
    const error = await failure(async () => (await create()).checkpoint());
    expect(error.message).toContain("fit");
  });

  it.each([
    ["step", -1],
    ["step", 3],
    ["step", 99],
    ["step", "1"],
    ["step", 1.5],
    ["epoch", -1],
    ["epoch", null],
    ["epochs", 0],
    ["batchSize", 0],
    ["shuffle", "yes"],
    ["taken", 1e300],
    ["taken", -1],
    ["taken", 0.5],
    ["taken", null],
    ["loss", null],
    ["loss", "0"],
    ["correct", -3],
    ["seen", "x"],
    ["optimizer", null],
    ["optimizer", { kind: "magic" }],
    ["optimizer", { kind: "sgd", rate: -1, momentum: 0.9, weightDecay: 0.001 }],
    ["schedule", { kind: "cosine", warmup: -1 }],
    ["schedule", 7],
  ])("a training record with %s = %j: FormatError, and the network is as before", async (key, value) => {
    const network = await trained();
    const before = bitsOf(network.parameters.entries());
    const file = network.checkpoint();
    const bad = alteredJson(file, "training", key, value);
    const error = await failure(async () => drain(network.fit(data, { resume: bad })));
    expect(error, error.message).toBeInstanceOf(FormatError);
    const where = key === "optimizer" || key === "schedule" ? "" : key;
    expect(error.message).toContain(`__metadata__.training.${where}`);
    expect(bitsOf(network.parameters.entries())).toEqual(before);
    expect(network.checkpoint()).toEqual(file);
  });

  const STATE = "optimizer/velocity.layer5.weight";
  it.each<[string, string, (bytes: Uint8Array) => SafetensorsTensor | undefined]>([
    ["missing", STATE, () => undefined],
    ["of another shape", STATE, () => F32(1)],
    ["not finite", STATE, (bytes) => spoiled(bytes, STATE, 3, Number.POSITIVE_INFINITY)],
    ["unknown", "optimizer/magic.layer5.weight", () => F32(1)],
  ])("a state tensor that is %s: FormatError, and nothing is half applied", async (_, name, tensor) => {
    const first = await create();
    for await (const _step of first.fit(data, SETTINGS)) break;
    const good = first.checkpoint();
    const bad = altered(good, {}, { [name]: tensor(good) });
    const network = await trained();
    const before = bitsOf(network.parameters.entries());
    const file = network.checkpoint();
    const error = await failure(() => network.fit(data, { resume: bad }));
    expect(error).toBeInstanceOf(FormatError);
    expect(error.message).toContain(`tensor "${name}"`);
    expect(bitsOf(network.parameters.entries())).toEqual(before);
    expect(network.checkpoint()).toEqual(file);
    // And it can be trained on as if nothing had been.
    await drain(network.fit(data, SETTINGS));
  });
});
