// Every refusal: which error, which words, and that nothing has changed afterwards.
import {
  ArgumentError,
  avgPool2d,
  conv2d,
  createNetwork,
  type Dataset,
  dense,
  dropout,
  type FitOptions,
  type LayerDescriptor,
  lee,
  MemoryError,
  type Network,
  type NetworkOptions,
  NonFiniteError,
  neuron,
  poisson,
  residual,
  StateError,
  sgd,
  spikes,
} from "spikegrad";
import { afterEach, describe, expect, it, vi } from "vitest";
import { bits, bitsOf, dataset, drain, failure } from "./support.ts";

const SHAPE = [2, 6, 6];
const SIZE = 72;
const OPTIMIZER = sgd({ rate: 0.01 });
const data = dataset(6, SHAPE, 3);
const LAYERS = [conv2d(4, 3), dropout(0.5), dense(3)];

function create(option: Partial<NetworkOptions> = {}): Promise<Network> {
  const encoder = poisson({ steps: 4 });
  return createNetwork({ input: SHAPE, encoder, method: lee(), layers: LAYERS, seed: 1, ...option });
}

async function refused(call: () => unknown, words: RegExp | string): Promise<void> {
  const error = await failure(call);
  expect(error, error.message).toBeInstanceOf(ArgumentError);
  expect(error.message).toMatch(words);
}

describe("createNetwork refuses", () => {
  it.each<[string, unknown, RegExp]>([
    ["no options", undefined, /^input: got undefined/],
    ["null", null, /^createNetwork: got null/],
    ["a misspelt option", { layer: [] }, /^createNetwork\.layer: .*no such option; known are input/],
    [
      "an input of two axes",
      { input: [3, 3] },
      /^input: got \[3,3\].*\[channels, height, width\] or \[features\]/,
    ],
    ["a fraction", { input: [1.5] }, /^input/],
    ["an empty axis", { input: [1, 0, 3] }, /^input/],
    ["too many inputs", { input: [2 ** 25] }, /^input: .*16777216/],
    ["a negative seed", { seed: -1 }, /^seed: got -1.*from 0 to 9007199254740991/],
    ["a seed past 2^53", { seed: 2 ** 53 }, /^seed/],
    ["a seed that is no integer", { seed: 0.5 }, /^seed/],
    ["a text as seed", { seed: "1" }, /^seed/],
    ["an unknown encoder", { encoder: { kind: "magic" } }, /^encoder/],
    ["no encoder", { encoder: undefined }, /^encoder/],
    ["steps left out", { encoder: { kind: "poisson" } }, /steps/],
    ["an unknown method", { method: { kind: "magic" } }, /^method: .*lee\(\)/],
    ["no method", { method: undefined }, /^method/],
    ["an unknown option of a method", { method: { kind: "lee", leek: 1 } }, /^lee\.leek/],
    ["an unknown loss", { loss: { kind: "hinge" } }, /^loss/],
    ["an unknown build", { build: "fast" }, /^build: .*"auto", "simd" or "scalar"/],
    ["no layers", { layers: [] }, /^layers: .*at least one layer/],
    ["layers that are no list", { layers: "dense" }, /^layers/],
  ])("%s", async (_, option, words) => {
    const call = () =>
      option === undefined || option === null
        ? createNetwork(option as never)
        : create(option as Partial<NetworkOptions>);
    await refused(call, words);
  });

  it.each<[string, () => unknown, RegExp]>([
    ["conv2d(0, 3)", () => conv2d(0, 3), /^conv2d\.out: got 0.*from 1/],
    ["conv2d(1, 256)", () => conv2d(1, 256), /^conv2d\.kernel: got 256.*from 1 to 255/],
    ["a stride of 0", () => conv2d(1, 3, { stride: 0 }), /^conv2d\.stride/],
    ["a negative padding", () => conv2d(1, 3, { padding: -1 }), /^conv2d\.padding/],
    ["an option of conv2d", () => conv2d(1, 3, { bias: true } as never), /^conv2d\.bias/],
    ["a name", () => dense(3, { name: "a b" }), /^dense\.name: got "a b"/],
    ["dense(0)", () => dense(0), /^dense\.out/],
    ["avgPool2d(0)", () => avgPool2d(0), /^avgPool2d\.size/],
    ["a threshold of 0", () => avgPool2d(2, { threshold: 0 }), /^avgPool2d\.threshold/],
    ["dropout(1)", () => dropout(1), /^dropout\.probability: got 1.*less than 1/],
    ["dropout that 32 bits round to 1", () => dropout(1 - 1e-12), /^dropout\.probability/],
    ["neuron with readout 1", () => neuron({ readout: 1 as never }), /^neuron\.readout/],
    ["an empty residual", () => residual([]), /^residual\.layers/],
    ["a residual that ends in dense", () => residual([conv2d(1, 1), dense(3)]), /^residual\.layers.*conv2d/],
    [
      "a residual with a stride that is none",
      () =>
        createNetwork({
          input: [9],
          encoder: poisson({ steps: 1 }),
          method: lee(),
          layers: [conv2d(1, 1), residual([{ ...conv2d(1, 1), stride: 2n as never }]), dense(1)],
        }),
      /^layers\[1\]\.layers\[0\]\.stride: got 2n/,
    ],
    ["a residual of null", () => residual([null as never]), /^residual\.layers/],
    ["a residual with conv 1", () => residual([conv2d(1, 1)], { conv: 1 as never }), /^residual\.conv/],
    ["lee with leak 0", () => lee({ leak: 0 }), /^lee\.leak: got 0.*greater than 0 and at most 1/],
    ["lee with leak 1.1", () => lee({ leak: 1.1 }), /^lee\.leak/],
    ["lee with threshold NaN", () => lee({ threshold: Number.NaN }), /^lee\.threshold/],
    ["a threshold that 32 bits round to 0", () => lee({ threshold: 1e-60 }), /^lee\.threshold/],
    ["a threshold past 32 bits", () => lee({ threshold: 1e39 }), /^lee\.threshold/],
    ["a leak that 32 bits round to 0", () => lee({ leak: 1e-60 }), /^lee\.leak/],
    ["poisson without steps", () => poisson({} as never), /^poisson\.steps/],
    ["poisson with 0 steps", () => poisson({ steps: 0 }), /^poisson\.steps/],
    ["poisson with gain 0", () => poisson({ steps: 1, gain: 0 }), /^poisson\.gain/],
    ["poisson with a gain past 32 bits", () => poisson({ steps: 1, gain: 1e39 }), /^poisson\.gain/],
    ["poisson signed by 1", () => poisson({ steps: 1, signed: 1 as never }), /^poisson\.signed/],
    ["spikes with 1.5 steps", () => spikes({ steps: 1.5 }), /^spikes\.steps/],
    ["sgd without a rate", () => sgd({} as never), /^sgd\.rate/],
    ["sgd with a negative rate", () => sgd({ rate: -1 }), /^sgd\.rate/],
    ["sgd with momentum 1", () => sgd({ rate: 1, momentum: 1 }), /^sgd\.momentum/],
    [
      "sgd with momentum that 32 bits round to 1",
      () => sgd({ rate: 1, momentum: 1 - 1e-12 }),
      /^sgd\.momentum/,
    ],
    ["sgd with a negative decay", () => sgd({ rate: 1, weightDecay: -1 }), /^sgd\.weightDecay/],
    ["sgd with an unknown option", () => sgd({ rate: 1, lr: 2 } as never), /^sgd\.lr/],
  ])("%s", async (_, call, words) => {
    await refused(call, words);
  });

  const conv = conv2d(4, 3);
  const last = dense(3);
  it.each<[string, readonly unknown[], RegExp]>([
    [
      "a kernel larger than its input",
      [conv, conv2d(2, 9), last],
      /^layers\[1\]\.kernel: got 9.*at most 4.*\[4, 4, 4\]/,
    ],
    [
      "a pool larger than its input",
      [conv, avgPool2d(5), last],
      /^layers\[1\]\.size: got 5.*at most 4.*\[4, 4, 4\]/,
    ],
    [
      "more neurons than a layer may have",
      [conv, conv2d(65536, 1, { padding: 1024 }), last],
      /^layers\[1\]\.out: got 65536.*at most 3 channels of 2052×2052/,
    ],
    ["a pool in front", [avgPool2d(2), last], /^layers\[0\]: got "avgPool2d".*conv2d/],
    ["no dense layer at the end", [conv, conv], /^layers\[1\]: got "readout".*dense/],
    ["dropout in front", [dropout(0.5), last], /^layers\[0\]: got "dropout"/],
    ["dropout after a pool", [conv, avgPool2d(2), dropout(0.5), last], /^layers\[2\]: got "dropout"/],
    ["dropout at the end", [conv, last, dropout(0.5)], /^layers/],
    ["a neuron in front", [neuron(), last], /^layers\[0\]: got "neuron"/],
    [
      "a layer without its neuron",
      [conv, last, neuron({ readout: true })],
      /^layers\[1\]: got "dense".*neuron after conv2d/,
    ],
    [
      "layers after the readout",
      [last, neuron({ readout: true }), last, neuron()],
      /^layers\[2\]: got "dense".*nothing after the readout/,
    ],
    ["a conv2d as readout", [conv, neuron({ readout: true })], /^layers\[1\]: got "readout".*dense/],
    [
      "two layers of one name",
      [dense(4, { name: "a" }), dense(3, { name: "a" })],
      /^layers\[1\]\.name: got "a"/,
    ],
    [
      "a name that another layer has by its place",
      [dense(4), dense(3, { name: "layer0" })],
      /^layers\[1\]\.name/,
    ],
    ["a residual block in front", [residual([conv]), last], /^layers\[0\]: got "residual".*spiking layer/],
    [
      "a shortcut to nowhere",
      [conv, conv2d(4, 1, { shortcut: { from: "x", conv: true, stride: 1 } }), last],
      /^layers\[1\]\.shortcut\.from: got "x".*layer0/,
    ],
    [
      "a shortcut of another size",
      [conv, residual([conv2d(4, 3)]), last],
      /^layers\[1\].*\.stride: got 1.*takes 4×4 of layer0 to 2×2 of layer1/,
    ],
    [
      "an identity shortcut between other channels",
      [conv, residual([conv2d(5, 1)], { conv: false }), last],
      /^layers\[1\].*\.conv: got false.*layer0 has 4 channels and layer1 has 5/,
    ],
    [
      "a layer within a residual block",
      [conv, residual([avgPool2d(5), conv]), last],
      /^layers\[1\]\.layers\[0\]\.size: got 5/,
    ],
    ["an unknown layer", [{ kind: "pool" }, last], /^layers\[0\]: got "pool".*one of conv2d/],
    ["null as a layer", [null, last], /^layers\[0\]: got null/],
    ["plain data with a field too many", [{ kind: "dense", out: 3, bias: true }], /^layers\[0\]\.bias/],
    [
      "plain data with a field missing",
      [{ kind: "conv2d", out: 3 }, last],
      /^layers\[0\]\.kernel: got undefined/,
    ],
  ])("%s, and says which layer", async (_, layers, words) => {
    await refused(() => create({ layers: layers as LayerDescriptor[] }), words);
  });

  it("takes layers as plain data", async () => {
    const layers = [
      { kind: "conv2d", out: 4, kernel: 3 },
      { kind: "dense", out: 3 },
    ] as unknown as LayerDescriptor[];
    const network = await create({ layers });
    expect(network.layers).toEqual((await create({ layers: [conv2d(4, 3), dense(3)] })).layers);
  });
});

describe("inputs and labels", () => {
  const pixels = (value: number, at = 40) => {
    const inputs = data.inputs.slice();
    inputs[at] = value;
    return inputs;
  };

  it.each<[string, Partial<Record<keyof Dataset, unknown>>, RegExp]>([
    ["pixels above 1", { inputs: pixels(1.01) }, /^data\.inputs\[40\]: got 1\.00999\d+.*from 0 to 1/],
    [
      "negative pixels",
      { inputs: pixels(-0.5, 80) },
      /^data\.inputs\[80\]: got -0\.5.*signed: true.*\(sample 1\)/,
    ],
    ["NaN", { inputs: pixels(Number.NaN) }, /^data\.inputs\[40\]: got NaN.*\(sample 0\)/],
    ["infinities", { inputs: pixels(Number.POSITIVE_INFINITY) }, /^data\.inputs\[40\]: got Infinity/],
    ["a wrong shape", { shape: [6, 6, 2] }, /^data\.shape: got \[6,6,2\].*\[2, 6, 6\]/],
    ["no shape", { shape: undefined }, /^data\.shape/],
    ["inputs of doubles", { inputs: new Float64Array(432) }, /^data\.inputs/],
    ["no inputs", { inputs: new Float32Array(0) }, /^data\.inputs\.length: got 0.*72/],
    ["half a sample", { inputs: new Float32Array(433) }, /^data\.inputs\.length: got 433.*multiple of 72/],
    ["labels too few", { labels: new Int32Array(5) }, /^data\.labels: got "5 labels".*6 labels/],
    ["no labels", { labels: undefined }, /^data\.labels/],
    [
      "a label past the classes",
      { labels: Int32Array.of(0, 1, 2, 3, 0, 0) },
      /^data\.labels\[3\]: got 3.*0 to 2/,
    ],
    ["a negative label", { labels: Int32Array.of(0, -1, 2, 0, 0, 0) }, /^data\.labels\[1\]: got -1/],
  ])("%s: fit and evaluate refuse", async (_, change, words) => {
    const network = await create();
    const before = bitsOf(network.parameters.entries());
    const bad = { ...data, ...change } as Dataset;
    await refused(() => network.fit(bad, { optimizer: OPTIMIZER }), words);
    await refused(() => network.evaluate(bad), words);
    expect(bitsOf(network.parameters.entries())).toEqual(before);
    await drain(network.fit(data, { optimizer: OPTIMIZER }));
  });

  it("no data at all", async () => {
    const network = await create();
    await refused(() => network.fit(undefined as never, { optimizer: OPTIMIZER }), /^data/);
    await refused(() => network.evaluate(null as never), /^data: got null/);
  });

  it("predict and gradients refuse inputs and labels that do not fit", async () => {
    const network = await create();
    await refused(() => network.predict(new Float32Array(71)), /^inputs\.length: got 71.*multiple of 72/);
    await refused(() => network.predict(new Float32Array(0)), /^inputs\.length/);
    await refused(() => network.predict([1, 2] as never), /^inputs/);
    await refused(() => network.predict(undefined as never), /^inputs/);
    await refused(() => network.predict(pixels(2)), /^inputs\[40\]/);
    const shape = [6, 72];
    await refused(
      () => network.predict({ shape, data: data.inputs }),
      /^inputs\.shape: got \[6,72\].*\[B, 2, 6, 6\]/,
    );
    await refused(() => network.predict({ shape: [5, ...SHAPE], data: data.inputs }), /^inputs\.shape/);
    await refused(() => network.predict(data.inputs, { epoch: -1 }), /^epoch/);
    await refused(() => network.predict(data.inputs, { firstSample: 0.5 }), /^firstSample/);
    await refused(() => network.predict(data.inputs, { sample: 1 } as never), /^predict options\.sample/);
    await refused(() => network.gradients(data.inputs, [0, 1]), /^labels: got "2 labels".*6/);
    await refused(() => network.gradients(data.inputs, [0, 1, 2, 0, 1, 3]), /^labels\[5\]: got 3/);
    await refused(() => network.gradients(data.inputs, [0, 1, 2, 0, 1, 1.5]), /^labels\[5\]/);
    await refused(() => network.gradients(data.inputs, undefined as never), /^labels/);
    const record = ["voltages"] as never;
    await refused(() => network.gradients(data.inputs, data.labels, { record }), /^record.*"spikes"/);
    await refused(() => network.evaluate(data, { batchSize: 0 }), /^batchSize: got 0/);
    await refused(() => network.evaluate(data, { topK: 4 }), /^topK: got 4.*1 to 3/);
    await refused(() => network.evaluate(data, { top: 4 } as never), /^evaluate options\.top/);
  });

  it("spikes() takes any finite number and trains of its length alone", async () => {
    const network = await create({ encoder: spikes({ steps: 3 }) });
    await network.predict(new Float32Array(3 * SIZE).fill(-7.5));
    await refused(() => network.predict(new Float32Array(2 * SIZE)), /multiple of 216.*\[3, 2, 6, 6\]/);
    await refused(
      () => network.predict(new Float32Array(3 * SIZE).fill(Number.NaN)),
      /^inputs\[0\]: got NaN.*finite/,
    );
    const labels = Int32Array.of(0);
    await refused(
      () => network.evaluate({ inputs: new Float32Array(3 * SIZE), shape: SHAPE, labels, classes: 3 }),
      /^data\.shape.*\[3, 2, 6, 6\]/,
    );
  });

  it("step takes one frame", async () => {
    const network = await create();
    await refused(() => network.step(new Float32Array(71)), /^input: got "71 values".*72 values \[2, 6, 6\]/);
    await refused(() => network.step(new Uint8Array(72) as never), /^input/);
    await refused(() => network.step(new Float32Array(72).fill(2)), /^input\[0\]: got 2/);
  });

  it("masks fit the layers that have dropout", async () => {
    const network = await create();
    const call = (dropoutMasks: unknown) =>
      network.gradients(data.inputs, data.labels, { dropoutMasks } as never);
    const mask = new Float32Array(6 * 64).fill(2);
    await refused(() => call({}), /^dropoutMasks\["layer0"\]: got undefined.*384 values \[6, 4, 4, 4\]/);
    await refused(() => call({ layer0: mask, layer2: mask }), /^dropoutMasks\["layer2"\].*dropout: layer0/);
    await refused(() => call({ layer0: mask.subarray(1) }), /^dropoutMasks\["layer0"\]: got "383 values"/);
    await refused(() => call({ layer0: [...mask] }), /^dropoutMasks\["layer0"\]/);
    await refused(
      () => call({ layer0: mask.slice().fill(Number.NaN) }),
      /^dropoutMasks\["layer0"\]\[0\]: got NaN/,
    );
    await refused(() => call({ layer0: mask.slice().fill(-1) }), /^dropoutMasks\["layer0"\]\[0\]: got -1/);
    const plain = await create({ layers: [dense(3)] });
    const none = plain.gradients(data.inputs, data.labels, { dropoutMasks: { layer0: mask } });
    await refused(() => none, /there is none/);
    await call({ layer0: mask });
  });

  it("backward needs a forward, and as many numbers", async () => {
    const network = await create();
    const error = await failure(() => network.backward(new Float32Array(18)));
    expect(error).toBeInstanceOf(StateError);
    await network.forward(data.inputs);
    await refused(
      () => network.backward(new Float32Array(17)),
      /^dLdOutput: got "17 values".*18 values \[6, 3\]/,
    );
    await refused(() => network.backward(new Float32Array(18).fill(Number.NaN)), /^dLdOutput\[0\]: got NaN/);
    await network.backward(new Float32Array(18));
  });

  it("parameters and optimizers take what fits, and all of it or nothing", async () => {
    const network = await create();
    const before = bitsOf(network.parameters.entries());
    const { parameters } = network;
    const w = parameters.get("layer2.weight");
    await refused(
      () => parameters.get("layer9.weight"),
      /^parameters name: got "layer9.weight".*layer0\.weight, layer2\.weight/,
    );
    await refused(() => parameters.set("layer9.weight", w), /^parameters name/);
    await refused(
      () => parameters.set("layer2.weight", w.data.subarray(1)),
      /^parameters\["layer2.weight"\]: got "191 values".*192 values \[3, 64\]/,
    );
    await refused(() => parameters.set("layer2.weight", [1] as never), /^parameters\["layer2.weight"\]/);
    await refused(
      () => parameters.set("layer2.weight", w.data.slice().fill(Number.NaN, 5)),
      /^parameters\["layer2.weight"\]\[5\]: got NaN/,
    );
    const optimizer = network.optimizer(OPTIMIZER);
    const { gradients } = await network.gradients(data.inputs, data.labels);
    await refused(
      () => optimizer.step({ "layer0.weight": gradients["layer0.weight"] }),
      /^gradients\["layer2.weight"\]: got undefined/,
    );
    await refused(() => optimizer.step(undefined as never), /^gradients/);
    const bad = gradients["layer2.weight"].data.slice();
    bad[7] = Number.NEGATIVE_INFINITY;
    await refused(
      () => optimizer.step({ ...gradients, "layer2.weight": bad }),
      /^gradients\["layer2.weight"\]\[7\]: got -Infinity/,
    );
    await refused(() => network.optimizer(undefined as never), /^optimizer/);
    await refused(() => network.optimizer({ kind: "magic" } as never), /^optimizer\.kind/);
    expect(() => {
      optimizer.rate = 0;
    }).toThrow(ArgumentError);
    expect(bitsOf(parameters.entries())).toEqual(before);
  });
});

describe("fit", () => {
  it.each<[string, unknown, RegExp]>([
    ["no optimizer", {}, /^optimizer: got undefined.*sgd\(\{ rate \}\)/],
    ["an unknown option", { optimizer: OPTIMIZER, epoch: 1 }, /^fit options\.epoch: .*known are epochs/],
    ["no epochs", { optimizer: OPTIMIZER, epochs: 0 }, /^epochs: got 0/],
    ["an empty batch", { optimizer: OPTIMIZER, batchSize: 0 }, /^batchSize: got 0/],
    ["an unknown schedule", { optimizer: OPTIMIZER, schedule: { kind: "magic" } }, /^schedule/],
    ["shuffle 1", { optimizer: OPTIMIZER, shuffle: 1 }, /^shuffle/],
    ["null", null, /^fit options: got null/],
  ])("refuses %s at once", async (_, option, words) => {
    const network = await create();
    expect(() => network.fit(data, option as FitOptions)).toThrow(ArgumentError);
    await refused(() => network.fit(data, option as FitOptions), words);
    await drain(network.fit(data, { optimizer: OPTIMIZER }));
  });

  it("one at a time; broken off, given back, failed or ended, another may begin", async () => {
    const network = await create();
    const option = { optimizer: OPTIMIZER, batchSize: 2, epochs: 2 };
    const first = network.fit(data, option);
    const error = await failure(() => network.fit(data, option));
    expect(error).toBeInstanceOf(StateError);
    expect(error.message).toContain("training already");
    await first.return?.(); // before it began
    for await (const { step } of network.fit(data, option)) if (step === 2) break;
    const third = network.fit(data, option);
    await third.next();
    await third.return?.();
    expect(await third.next()).toEqual({ done: true, value: undefined });
    const thrown = (async () => {
      for await (const _step of network.fit(data, option)) throw new RangeError("mine");
    })();
    await expect(thrown).rejects.toThrow("mine");
    expect(await drain(network.fit(data, option))).toHaveLength(6);
  });

  it("a signal ends the run after the batch in work", async () => {
    const network = await create();
    const control = new AbortController();
    const seen: number[] = [];
    for await (const { step } of network.fit(data, {
      optimizer: OPTIMIZER,
      batchSize: 1,
      signal: control.signal,
    })) {
      seen.push(step);
      if (step === 2) control.abort();
    }
    expect(seen).toEqual([1, 2]);
    expect(await drain(network.fit(data, { optimizer: OPTIMIZER, signal: control.signal }))).toEqual([]);
  });

  it("dispose while training: StateError, at the next step or within it", async () => {
    const between = await create();
    const steps = between.fit(data, { optimizer: OPTIMIZER, batchSize: 1 });
    await steps.next();
    between.dispose();
    expect(await failure(() => steps.next())).toBeInstanceOf(StateError);
    const within = await create({ encoder: poisson({ steps: 400 }) });
    const pending = within.fit(data, { optimizer: OPTIMIZER }).next();
    within.dispose();
    expect(await failure(() => pending)).toBeInstanceOf(StateError);
  });
});

it("a disposed network refuses everything but to be disposed", async () => {
  const network = await create();
  await drain(network.fit(data, { optimizer: OPTIMIZER }));
  const optimizer = network.optimizer(OPTIMIZER);
  const { gradients } = await network.gradients(data.inputs, data.labels);
  await network.forward(data.inputs);
  const { data: w } = network.parameters.get("layer2.weight");
  network.dispose();
  network.dispose();
  expect(network.disposed).toBe(true);
  const calls: (() => unknown)[] = [
    () => network.fit(data, { optimizer: OPTIMIZER }),
    () => network.evaluate(data),
    () => network.predict(data.inputs),
    () => network.gradients(data.inputs, data.labels),
    () => network.forward(data.inputs),
    () => network.backward(new Float32Array(18)),
    () => network.step(new Float32Array(72)),
    () => network.reset(),
    () => network.save(),
    () => network.checkpoint(),
    () => network.parameters.get("layer2.weight"),
    () => network.parameters.set("layer2.weight", w),
    () => network.parameters.entries(),
    () => network.optimizer(OPTIMIZER),
    () => optimizer.step(gradients),
    () => network.memory,
    () => network.build,
  ];
  for (const call of calls) {
    const error = await failure(call);
    expect(error, call.toString()).toBeInstanceOf(StateError);
  }
  optimizer.dispose();
  expect(network.description.seed).toBe(1);
});

it("an optimizer that was disposed takes no steps, and gives its memory back once", async () => {
  const network = await create();
  const { gradients } = await network.gradients(data.inputs, data.labels);
  const before = network.memory.bytes;
  const first = network.optimizer(sgd({ rate: 0.1, momentum: 0.9 }));
  first.dispose();
  expect(network.memory.bytes).toBe(before);
  const second = network.optimizer(sgd({ rate: 0.1, momentum: 0.9 }));
  const taken = network.memory.bytes;
  first.dispose();
  expect(network.memory.bytes).toBe(taken);
  expect(await failure(() => first.step(gradients))).toBeInstanceOf(StateError);
  second.step(gradients);
});

describe("numbers out of range while training", () => {
  const cases: [string, FitOptions][] = [
    ["a huge rate", { optimizer: sgd({ rate: 1e30 }) }],
    ["the largest rate", { optimizer: sgd({ rate: 3e38 }) }],
    ["a huge rate with momentum", { optimizer: sgd({ rate: 1e25, momentum: 0.9 }) }],
    ["weights that grow from step to step", { optimizer: sgd({ rate: 1, weightDecay: 1e6 }) }],
  ];
  it.each(cases)("%s: NonFiniteError, and the parameters are those before that step", async (_, option) => {
    const network = await create({ layers: [conv2d(4, 3), dense(8), dense(3)] });
    let before = bitsOf(network.parameters.entries());
    const error = await failure(async () => {
      for await (const _step of network.fit(data, { ...option, epochs: 200, batchSize: 3 })) {
        before = bitsOf(network.parameters.entries());
        for (const [, tensor] of network.parameters.entries()) {
          expect(tensor.data.every((x) => Number.isFinite(x))).toBe(true);
        }
      }
    });
    expect(error, error.message).toBeInstanceOf(NonFiniteError);
    expect(error.message).toMatch(/^epoch \d+, step \d+.*the parameters are those before this step/);
    expect(bitsOf(network.parameters.entries())).toEqual(before);
    await drain(network.fit(data, { optimizer: sgd({ rate: 1e-12 }) })).catch((e) => {
      expect(e).toBeInstanceOf(NonFiniteError);
    });
  });

  it("an optimizer by hand refuses such a step too", async () => {
    const network = await create();
    const before = bitsOf(network.parameters.entries());
    const { gradients } = await network.gradients(data.inputs, data.labels);
    const optimizer = network.optimizer(sgd({ rate: 3e38 }));
    expect(await failure(() => optimizer.step(gradients))).toBeInstanceOf(NonFiniteError);
    const large = Object.fromEntries(
      Object.entries(gradients).map(([name, { data: g }]) => [name, g.map(() => 3e38)]),
    );
    const plain = network.optimizer(sgd({ rate: 1 }));
    expect(await failure(() => plain.step(large))).toBeInstanceOf(NonFiniteError);
    expect(bitsOf(network.parameters.entries())).toEqual(before);
  });

  it("a loss that is no number: gradients says so", async () => {
    const network = await create();
    network.parameters.set("layer2.weight", new Float32Array(192).fill(3e38));
    const error = await failure(() => network.gradients(new Float32Array(6 * SIZE).fill(1), data.labels));
    expect(error).toBeInstanceOf(NonFiniteError);
  });
});

describe("memory that cannot grow", () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  function refuseToGrow(): void {
    vi.spyOn(WebAssembly.Memory.prototype, "grow").mockImplementation(() => {
      throw new RangeError("WebAssembly.Memory.grow(): Maximum memory size exceeded");
    });
  }

  it("createNetwork: MemoryError that names the bytes and what they are for", async () => {
    refuseToGrow();
    const error = (await failure(() => create({ layers: [dense(5000), dense(3)] }))) as MemoryError;
    expect(error).toBeInstanceOf(MemoryError);
    expect(error.bytes).toBeGreaterThan(72 * 5000 * 4);
    expect(error.message).toMatch(new RegExp(`^memory for the parameters: ${error.bytes} bytes`));
    expect(error.cause).toBeInstanceOf(RangeError);
  });

  it("more than can be addressed is refused before the engine is asked", async () => {
    const error = await failure(() => create({ layers: [dense(2 ** 22), dense(2 ** 10), dense(3)] }));
    expect(error).toBeInstanceOf(MemoryError);
    expect(error.message).toContain("cannot address more than 4294967296");
  });

  it.each<[string, (network: Network) => unknown]>([
    [
      "fit",
      (network) =>
        network.fit(dataset(300, SHAPE, 3), { optimizer: sgd({ rate: 0.1, momentum: 0.9 }), batchSize: 300 }),
    ],
    ["evaluate", (network) => network.evaluate(dataset(5000, SHAPE, 3), { batchSize: 5000 })],
    [
      "gradients",
      (network) =>
        network.gradients(dataset(300, SHAPE, 3).inputs, new Int32Array(300), { record: ["membranes"] }),
    ],
    ["optimizer", (network) => network.optimizer(sgd({ rate: 0.1, momentum: 0.9 }))],
  ])("%s: MemoryError, and the network can be used afterwards", async (_, call) => {
    const network = await create({
      layers: [conv2d(64, 3), dense(300), dense(3)],
      encoder: poisson({ steps: 20 }),
    });
    const answers = async () => bits((await network.predict(data.inputs.subarray(0, SIZE))).outputs.data);
    const before = await answers();
    refuseToGrow();
    const error = (await failure(() => call(network))) as MemoryError;
    expect(error).toBeInstanceOf(MemoryError);
    expect(error.message).toContain(`${error.bytes} bytes`);
    expect(error.message).toContain("smaller batch");
    expect(await answers()).toEqual(before);
    vi.restoreAllMocks();
    expect(await answers()).toEqual(before);
    const fresh = await create({
      layers: [conv2d(64, 3), dense(300), dense(3)],
      encoder: poisson({ steps: 20 }),
    });
    for (const each of [network, fresh]) await drain(each.fit(data, { optimizer: OPTIMIZER, batchSize: 2 }));
    expect(bitsOf(network.parameters.entries())).toEqual(bitsOf(fresh.parameters.entries()));
  });
});
