// Golden cases: a file of inputs, parameters and what the method must answer, run through the public API and compared.
// One mapper a method turns the case's JSON into descriptors and the library's answers into the file's tensor names.

/** A file that is no golden case. */
export class UnusableFile extends Error {}

/** What a case needs and the library does not have. */
export class NotAvailable extends Error {}

/** Largest error allowed, relative to the tensor's largest entry; the first pattern that fits decides. Spikes: exact. */
const BOUNDS = [
  [/\.spikes$/, 0],
  [/\.grad$/, 1e-4],
  [/^(output|loss)$|\.(loss|readout)$/, 1e-4],
  [/\.spike_time$/, 1e-5],
  [/\.running_(mean|var)$/, 1e-5],
  [/\.after$/, 1e-4],
];
const OPTIMIZER_BOUND = 1e-5;

/** What a case gives instead of asking for; with batch normalisation the running statistics are asked for. */
const GIVEN = /^(input|label)$|\.(weight|bias|readout_weight|readout_bias|dropout_mask)$/;

/** Below this a gradient is zero: what is left of a bias in front of batch normalisation. */
const ZERO = 1e-12;

/**
 * Reads a golden case.
 *
 * @param bytes the file
 * @param io the module "spikegrad/io"
 */
export function readCase(bytes, io) {
  let file;
  try {
    file = io.readSafetensors(bytes);
  } catch (cause) {
    throw new UnusableFile(cause.message, { cause });
  }
  const text = file.metadata?.case;
  if (text === undefined) throw new UnusableFile('no golden case: the metadata have no key "case"');
  let description;
  try {
    description = JSON.parse(text);
  } catch (cause) {
    throw new UnusableFile(`the metadata's case is no JSON: ${cause.message}`, { cause });
  }
  if (typeof description?.method !== "string") throw new UnusableFile("the case names no method");
  const entries = file.tensors instanceof Map ? [...file.tensors] : Object.entries(file.tensors);
  const tensors = {};
  for (const [name, { dtype, shape, data }] of entries) {
    const whole = dtype === "I32" || dtype === "U8";
    tensors[name] = { shape, data: whole ? data : io.toFloat32({ dtype, shape, data }) };
  }
  return { method: description.method, description, tensors };
}

/**
 * Runs a case in one build.
 *
 * @param library the module "spikegrad"
 * @returns the answers under the file's tensor names
 */
export async function runCase(golden, library, build) {
  const mapper = MAPPERS[golden.method];
  if (mapper === undefined) throw new NotAvailable(`method "${golden.method}" is not available`);
  for (const name of mapper.needs) {
    if (typeof library[name] !== "function") {
      throw new NotAvailable(
        name === golden.method ? `method "${name}" is not available` : `${name}() is not available`,
      );
    }
  }
  return mapper.run(golden, library, build);
}

/** Compares answers with a case: one result a tensor that the case asks for. */
export function compareCase(golden, answers) {
  const results = [];
  for (const [name, expected] of Object.entries(golden.tensors)) {
    const isOptimizer = golden.method === "optimizers";
    if (isOptimizer ? name === "weight" || name === "grads" : GIVEN.test(name)) continue;
    const bound = isOptimizer ? OPTIMIZER_BOUND : boundOf(name);
    const exact = bound === 0;
    const answer = answers[name];
    if (answer === undefined || answer instanceof NotAvailable) {
      results.push({ name, exact, bound, error: Infinity, ok: false, note: answer?.message ?? "no answer" });
      continue;
    }
    if (String(answer.shape) !== String(expected.shape)) {
      const note = `shape [${answer.shape}] instead of [${expected.shape}]`;
      results.push({ name, exact, bound, error: Infinity, ok: false, note });
      continue;
    }
    const error = exact
      ? mismatches(answer.data, expected.data)
      : relativeError(name, answer, golden.tensors);
    results.push({ name, exact, bound, error, ok: error <= bound, count: expected.data.length });
  }
  if (results.length === 0) throw new UnusableFile("the case asks for no tensor");
  return results;
}

/** Names of the answers whose bits differ between two runs. */
export function differingBits(first, second) {
  const names = new Set([...Object.keys(first), ...Object.keys(second)]);
  return [...names].filter((name) => {
    const [a, b] = [first[name], second[name]];
    if (a instanceof NotAvailable && b instanceof NotAvailable) return false;
    if (!a?.data || !b?.data || a.data.length !== b.data.length) return true;
    const [left, right] = [bitsOf(a.data), bitsOf(b.data)];
    return left.some((word, i) => word !== right[i]);
  });
}

function bitsOf(data) {
  return new Uint32Array(Float32Array.from(data).buffer);
}

function boundOf(name) {
  const row = BOUNDS.find(([pattern]) => pattern.test(name));
  if (row === undefined) throw new UnusableFile(`the case asks for "${name}", which has no bound`);
  return row[1];
}

function mismatches(answer, expected) {
  let count = 0;
  for (let i = 0; i < expected.length; i++) if (answer[i] !== expected[i]) count++;
  return count;
}

function relativeError(name, answer, tensors) {
  const expected = tensors[name].data;
  let scale = largest(expected);
  if (scale < ZERO && name.endsWith(".grad")) {
    // A gradient that is zero: measured against the largest weight gradient of the same layer.
    scale = largest(tensors[name.replace(/[^.]+\.grad$/, "weight.grad")]?.data ?? []);
    return quotient(largest(answer.data), scale);
  }
  return quotient(largestDifference(answer.data, expected), scale);
}

function quotient(error, scale) {
  return error === 0 ? 0 : error / scale;
}

/** Largest finite magnitude; spike times may be infinite. */
function largest(values) {
  let top = 0;
  for (const value of values) {
    if (Number.isNaN(value)) return Number.POSITIVE_INFINITY;
    if (Number.isFinite(value)) top = Math.max(top, Math.abs(value));
  }
  return top;
}

function largestDifference(answer, expected) {
  let top = 0;
  for (let i = 0; i < expected.length; i++) {
    if (answer[i] === expected[i]) continue;
    const difference = Math.abs(answer[i] - expected[i]);
    if (!Number.isFinite(difference)) return Number.POSITIVE_INFINITY;
    top = Math.max(top, difference);
  }
  return top;
}

// ---- one mapper a method

const MAPPERS = {
  lee: {
    needs: ["createNetwork", "lee", "spikes", "conv2d", "dense", "avgPool2d", "dropout", "neuron"],
    run: runLee,
  },
  surrogate: {
    needs: [
      "createNetwork",
      "surrogate",
      "spikes",
      "conv2d",
      "dense",
      "maxPool2d",
      "avgPool2d",
      "neuron",
      "crossEntropy",
    ],
    run: runSurrogate,
  },
  stdbp: {
    needs: ["createNetwork", "stdbp", "times", "conv2d", "dense", "earliestPool2d", "neuron"],
    run: runStdbp,
  },
  bpsta: {
    needs: [
      ...["createNetwork", "bpsta", "spikes", "direct", "conv2d", "dense", "batchNorm", "relu", "neuron"],
      ...["maxPool2d", "avgPool2d", "dropout", "squaredError"],
    ],
    run: runBpsta,
  },
  decolle: {
    needs: ["createNetwork", "decolle", "spikes", "conv2d", "dense", "maxPool2d", "adamax"],
    run: runDecolle,
  },
  optimizers: { needs: ["createNetwork", "lee", "spikes", "dense"], run: runOptimizers },
};

async function runLee({ description, tensors }, library, build) {
  const { layers } = description;
  if (!Array.isArray(layers) || layers.length === 0) throw new UnusableFile("the case has no layers");
  const { shape, data } = given(tensors, "input");
  const [steps, batch, ...input] = shape;
  const last = layers.length - 1;
  const hidden = layers.slice(0, last).filter(({ kind }) => kind !== "pool");
  const threshold = layers[last].threshold ?? 1;
  // One threshold for all is the method's; otherwise every neuron is spelled out with its own.
  const explicit = hidden.some((layer) => (layer.threshold ?? 1) !== threshold);
  const network = await library.createNetwork({
    input,
    encoder: library.spikes({ steps }),
    method: library.lee({ leak: description.leak, threshold }),
    layers: layers.flatMap((layer, i) => {
      const masked = tensors[`layer${i}.dropout_mask`] !== undefined;
      const found = leeLayer(library, layer, `layer${i}`);
      if (explicit && layer.kind !== "pool") {
        found.push(library.neuron(i === last ? { readout: true } : { threshold: layer.threshold ?? 1 }));
      }
      return masked ? [...found, library.dropout(layer.drop ?? 0.5)] : found;
    }),
    build,
  });
  try {
    requireBuild(network, build);
    for (const name of network.parameters.names()) network.parameters.set(name, given(tensors, name).data);
    const dropoutMasks = {};
    for (const i of layers.keys()) {
      const mask = tensors[`layer${i}.dropout_mask`];
      if (mask !== undefined) dropoutMasks[`layer${i}`] = mask.data;
    }
    const answer = await network.gradients(batchFirst(data, steps, batch), given(tensors, "label").data, {
      record: ["spikes"],
      dropoutMasks,
    });
    return collect(answer);
  } finally {
    network.dispose();
  }
}

async function runDecolle({ description, tensors }, library, build) {
  const { layers, optimizer } = description;
  if (!Array.isArray(layers) || layers.length === 0) throw new UnusableFile("the case has no layers");
  const { shape, data } = given(tensors, "input");
  const [steps, batch, ...input] = shape;
  const network = await library.createNetwork({
    input,
    encoder: library.spikes({ steps }),
    method: library.decolle({
      classes: given(tensors, "layer0.readout_weight").shape[0],
      alpha: description.alpha,
      beta: description.beta,
      rho: description.alpharp,
      refractoryWeight: description.wrp,
      burnIn: description.burn_in,
      regularizer: description.regularizer,
      online: optimizer !== null,
    }),
    layers: layers.flatMap((layer, i) => {
      const weights = weightLayer(library, layer, `layer${i}`);
      return layer.pool > 1
        ? [weights, library.maxPool2d(layer.pool, { name: `layer${i}.pool` })]
        : [weights];
    }),
    build,
  });
  try {
    requireBuild(network, build);
    for (const name of network.parameters.names()) network.parameters.set(name, given(tensors, name).data);
    const inputs = batchFirst(data, steps, batch);
    const labels = given(tensors, "label").data;
    const record = ["spikes", "readouts"];
    if (optimizer === null) return collect(await network.gradients(inputs, labels, { record }));
    const { kind, lr, eps, betas } = optimizer;
    const answers = {};
    for await (const { records } of network.fit(
      { inputs, shape: [steps, ...input], labels: Uint8Array.from(labels), classes: network.classes },
      {
        batchSize: batch,
        shuffle: false,
        optimizer: library[kind]({ rate: lr, betas, epsilon: eps }),
        record,
      },
    )) {
      Object.assign(answers, records);
    }
    for (const [name, tensor] of network.parameters.entries()) answers[`${name}.after`] = tensor;
    return answers;
  } finally {
    network.dispose();
  }
}

function leeLayer(library, layer, name) {
  return layer.kind === "pool"
    ? [library.avgPool2d(layer.size, { threshold: layer.threshold, name })]
    : [weightLayer(library, layer, name)];
}

function weightLayer(library, layer, name) {
  if (layer.kind === "dense") return library.dense(layer.out, { name });
  if (layer.kind !== "conv") throw new UnusableFile(`layer kind "${layer.kind}" is unknown`);
  const options = { padding: layer.pad ?? 0, stride: layer.stride ?? 1, name };
  if (layer.shortcut) {
    const { from, conv, stride } = layer.shortcut;
    options.shortcut = { from: `layer${from}`, conv, stride };
  }
  return library.conv2d(layer.out, layer.k, options);
}

async function runSurrogate({ description, tensors }, library, build) {
  const { layers, alpha } = description;
  if (!Array.isArray(layers) || layers.length === 0) throw new UnusableFile("the case has no layers");
  const { shape, data } = given(tensors, "input");
  const [steps, batch, ...input] = shape;
  const network = await library.createNetwork({
    input,
    encoder: library.spikes({ steps }),
    method: library.surrogate({
      decay: description.beta,
      ...(alpha === null || alpha === undefined ? {} : { synapticDecay: alpha }),
      threshold: description.threshold,
      derivative: description.surrogate,
      slope: description.slope,
      reset: description.reset,
    }),
    layers: layers.map((layer) => {
      if (layer.kind === "node") return library.neuron();
      if (layer.kind === "maxpool") return library.maxPool2d(layer.size);
      if (layer.kind === "avgpool") return library.avgPool2d(layer.size);
      return weightLayer(library, layer);
    }),
    loss: library.crossEntropy({ on: "membrane" }),
    build,
  });
  try {
    requireBuild(network, build);
    for (const name of network.parameters.names()) network.parameters.set(name, given(tensors, name).data);
    const answer = await network.gradients(batchFirst(data, steps, batch), given(tensors, "label").data, {
      record: ["spikes", "membranes"],
    });
    const answers = collect(answer);
    // The file's output are the last neurons' membranes at every step; the library's is their mean.
    answers.output = answers[`layer${layers.length - 1}.membranes`];
    return answers;
  } finally {
    network.dispose();
  }
}

async function runStdbp({ description, tensors }, library, build) {
  const { layers } = description;
  if (!Array.isArray(layers) || layers.length === 0) throw new UnusableFile("the case has no layers");
  const { shape, data } = given(tensors, "input");
  const network = await library.createNetwork({
    input: shape.slice(1),
    encoder: library.times(),
    method: library.stdbp(),
    layers: layers.flatMap((layer, i) =>
      layer.kind === "pool"
        ? [library.earliestPool2d(layer.size, { name: `layer${i}` })]
        : [weightLayer(library, layer, `layer${i}`), library.neuron({ threshold: layer.threshold })],
    ),
    build,
  });
  try {
    requireBuild(network, build);
    for (const name of network.parameters.names()) network.parameters.set(name, given(tensors, name).data);
    const answer = await network.gradients(data, given(tensors, "label").data, { record: ["spikeTimes"] });
    const answers = collect(answer);
    for (const [name, tensor] of Object.entries(answer.records)) {
      answers[name.replace(/spikeTimes$/, "spike_time")] = tensor;
    }
    return answers;
  } finally {
    network.dispose();
  }
}

async function runBpsta({ description, tensors }, library, build) {
  const { layers, threshold, decay, kappa, vote, direct } = description;
  if (!Array.isArray(layers) || layers.length === 0) throw new UnusableFile("the case has no layers");
  const { shape, data } = given(tensors, "input");
  const steps = description.time_steps;
  const [batch, ...input] = direct ? shape : shape.slice(1);
  const network = await library.createNetwork({
    input,
    encoder: direct ? library.direct({ steps }) : library.spikes({ steps }),
    method: library.bpsta({ threshold, decay, kappa, vote }),
    layers: layers.map((layer, i) => bpstaLayer(library, layer, `layer${i}`)),
    loss: library.squaredError({ reduction: "mean" }),
    build,
  });
  try {
    requireBuild(network, build);
    const dropoutMasks = {};
    for (const [name, tensor] of Object.entries(tensors)) {
      if (name.endsWith(".dropout_mask")) dropoutMasks[name.slice(0, -".dropout_mask".length)] = tensor.data;
      else if (/^layer\d+\.(weight|bias)$/.test(name)) network.parameters.set(name, tensor.data);
    }
    const inputs = direct ? data : batchFirst(data, steps, batch);
    const answer = await network.gradients(inputs, given(tensors, "label").data, {
      record: ["spikes"],
      dropoutMasks,
    });
    return collect(answer);
  } finally {
    network.dispose();
  }
}

function bpstaLayer(library, layer, name) {
  switch (layer.kind) {
    case "bn":
      return library.batchNorm({ name });
    case "relu":
      return library.relu({ name });
    case "node":
      return library.neuron({ name });
    case "maxpool":
      return library.maxPool2d(layer.size, { name });
    case "avgpool":
      return library.avgPool2d(layer.size, { name });
    case "dropout":
      return library.dropout(layer.p ?? 0.5, { name });
    default:
      return weightLayer(library, layer, name);
  }
}

/** What `network.gradients` answered, under the file's names. */
function collect({ loss, outputs, gradients, statistics, records }) {
  const answers = { output: outputs, loss: { shape: [1], data: Float32Array.of(loss) } };
  for (const [name, tensor] of Object.entries(statistics)) answers[name] = tensor;
  for (const [name, tensor] of Object.entries(gradients)) answers[`${name}.grad`] = tensor;
  for (const [name, tensor] of Object.entries(records)) answers[name] = tensor;
  return answers;
}

/** A parameter of one network takes the rows of `grads` in turn, once for each optimizer that the case names. */
async function runOptimizers({ description, tensors }, library, build) {
  const start = given(tensors, "weight").data;
  const { shape, data: gradients } = given(tensors, "grads");
  const [rows, size] = shape;
  const answers = {};
  for (const [name, options] of Object.entries(description.optimizers ?? {})) {
    const { kind, lr, weight_decay: weightDecay, eps: epsilon, ...rest } = options;
    if (typeof library[kind] !== "function") {
      answers[name] = new NotAvailable(`optimizer "${kind}" is not available`);
      continue;
    }
    const descriptor = library[kind]({
      rate: lr,
      ...(weightDecay === undefined ? {} : { weightDecay }),
      ...(epsilon === undefined ? {} : { epsilon }),
      ...rest,
    });
    const network = await library.createNetwork({
      input: [1],
      encoder: library.spikes({ steps: 1 }),
      method: library.lee(),
      layers: [library.dense(size, { name: "layer0" })],
      build,
    });
    try {
      requireBuild(network, build);
      network.parameters.set("layer0.weight", start);
      const optimizer = network.optimizer(descriptor);
      for (let row = 0; row < rows; row++) {
        optimizer.step({ "layer0.weight": gradients.slice(row * size, (row + 1) * size) });
      }
      answers[name] = { shape: [size], data: network.parameters.get("layer0.weight").data };
    } finally {
      network.dispose();
    }
  }
  return answers;
}

/** Two runs of one build would agree and show nothing. */
function requireBuild(network, build) {
  if (network.build !== build) throw new Error(`asked for the ${build} build, got ${network.build}`);
}

function given(tensors, name) {
  const tensor = tensors[name];
  if (tensor === undefined) throw new UnusableFile(`the case has no tensor "${name}"`);
  return tensor;
}

/** [T, B, ...] to [B, T, ...]. */
function batchFirst(data, steps, batch) {
  const size = data.length / (steps * batch);
  const turned = new Float32Array(data.length);
  for (let t = 0; t < steps; t++) {
    for (let b = 0; b < batch; b++) {
      const from = (t * batch + b) * size;
      turned.set(data.subarray(from, from + size), (b * steps + t) * size);
    }
  }
  return turned;
}
