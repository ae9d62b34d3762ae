// The `lee` method a second time, slow and plain, written from its equations and not from the core: one loop a symbol,
// no events, no padding, no blocks. `Math.fround` as `round` gives the bits of the contract (one chain of sums a neuron,
// presynaptic neurons ascending in y, x, channel, one rounding an operation); identity gives float64.
import type { CanonicalLayer } from "spikegrad";

export type Round = (x: number) => number;

export interface TwinNetwork {
  readonly input: readonly number[];
  readonly layers: readonly CanonicalLayer[];
  readonly leak: number;
  readonly threshold: number;
  readonly steps: number;
}

export type Weights = Readonly<Record<string, ArrayLike<number>>>;

type Shape = readonly [channels: number, height: number, width: number];

/** One weighted connection from neuron `from` to neuron `to` of flat indices C, H, W. */
interface Connection {
  readonly from: number;
  readonly to: number;
  /** Index into the weight tensor; -1 stands for a constant 1. */
  readonly weight: number;
}

interface Synapse {
  /** Stage whose spikes come in; -1 is the input. */
  readonly source: number;
  readonly parameter: string | undefined;
  /** In the order of the contract: presynaptic y, x, channel. */
  readonly connections: readonly Connection[];
}

export interface Stage {
  readonly name: string;
  readonly kind: string;
  readonly shape: Shape;
  readonly neurons: number;
  readonly synapses: readonly Synapse[];
  readonly threshold: number;
  readonly readout: boolean;
  /** Pooling window, 0 elsewhere. */
  readonly window: number;
  readonly dropout: number;
}

function count([c, h, w]: Shape): number {
  return c * h * w;
}

/** Presynaptic flat indices in the order y, x, channel. */
function* ascending([c, h, w]: Shape): Generator<[index: number, y: number, x: number, channel: number]> {
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) for (let k = 0; k < c; k++) yield [(k * h + y) * w + x, y, x, k];
  }
}

function convolution(
  from: Shape,
  to: Shape,
  kernel: number,
  stride: number,
  padding: number,
): readonly Connection[] {
  const list: Connection[] = [];
  for (const [index, y, x, c] of ascending(from)) {
    for (let ky = 0; ky < kernel; ky++) {
      for (let kx = 0; kx < kernel; kx++) {
        const down = y + padding - ky;
        const across = x + padding - kx;
        if (down < 0 || across < 0 || down % stride || across % stride) continue;
        const oy = down / stride;
        const ox = across / stride;
        if (oy >= to[1] || ox >= to[2]) continue;
        for (let o = 0; o < to[0]; o++) {
          const weight = ((o * from[0] + c) * kernel + ky) * kernel + kx;
          list.push({ from: index, to: (o * to[1] + oy) * to[2] + ox, weight });
        }
      }
    }
  }
  return list;
}

/** The stages of a network, every connection written out. */
export function stagesOf(network: TwinNetwork): Stage[] {
  const [channels, height = 1, width = 1] = network.input;
  let shape: Shape = [channels, height, width];
  const stages: Stage[] = [];
  for (const layer of network.layers) {
    const source = stages.length - 1;
    const name = layer.name ?? "";
    if (layer.kind === "dropout") stages[source] = { ...stages[source], dropout: layer.probability };
    else if (layer.kind === "neuron") {
      const { threshold = network.threshold, readout = false } = layer;
      stages[source] = { ...stages[source], threshold, readout };
    } else {
      const before = shape;
      const synapses: Synapse[] = [];
      let window = 0;
      if (layer.kind === "dense") {
        shape = [layer.out, 1, 1];
        const connections: Connection[] = [];
        for (const [index] of ascending(before)) {
          for (let o = 0; o < layer.out; o++)
            connections.push({ from: index, to: o, weight: o * count(before) + index });
        }
        synapses.push({ source, parameter: `${name}.weight`, connections });
      } else if (layer.kind === "conv2d") {
        const { kernel, stride, padding } = layer;
        const side = (n: number) => Math.floor((n + 2 * padding - kernel) / stride) + 1;
        shape = [layer.out, side(before[1]), side(before[2])];
        const connections = convolution(before, shape, kernel, stride, padding);
        synapses.push({ source, parameter: `${name}.weight`, connections });
        if (layer.shortcut) {
          const { from, conv, stride: step } = layer.shortcut;
          const origin = stages.findIndex((stage) => stage.name === from);
          const all = convolution(stages[origin].shape, shape, 1, step, 0);
          const same = all.filter(
            ({ from: i, to }) => channelOf(i, stages[origin].shape) === channelOf(to, shape),
          );
          synapses.push(
            conv
              ? { source: origin, parameter: `${name}.shortcut.weight`, connections: all }
              : {
                  source: origin,
                  parameter: undefined,
                  connections: same.map((c) => ({ ...c, weight: -1 })),
                },
          );
        }
      } else if (layer.kind === "avgPool2d") {
        window = layer.size;
        shape = [before[0], Math.floor(before[1] / window), Math.floor(before[2] / window)];
        const connections: Connection[] = [];
        for (const [index, y, x, c] of ascending(before)) {
          const oy = Math.floor(y / window);
          const ox = Math.floor(x / window);
          if (oy < shape[1] && ox < shape[2])
            connections.push({ from: index, to: (c * shape[1] + oy) * shape[2] + ox, weight: -1 });
        }
        synapses.push({ source, parameter: undefined, connections });
      } else throw new Error(`the twin knows no ${(layer as { kind: string }).kind}`);
      stages.push({
        name,
        kind: layer.kind,
        shape,
        neurons: count(shape),
        synapses,
        threshold: layer.kind === "avgPool2d" ? layer.threshold : network.threshold,
        readout: false,
        window,
        dropout: 0,
      });
    }
  }
  return stages;
}

function channelOf(index: number, [, h, w]: Shape): number {
  return Math.floor(index / (h * w));
}

export interface Forward {
  /** y = v_T / (θ T). */
  readonly outputs: Float64Array;
  /** o_t of every stage, after its mask: `spikes[stage][t][neuron]`; the readout has none. */
  readonly spikes: readonly (readonly Float64Array[])[];
  /** u_t of every stage, before the reset. */
  readonly membranes: readonly (readonly Float64Array[])[];
  /** F and N of every stage. */
  readonly filtered: readonly Float64Array[];
  readonly total: readonly Float64Array[];
  /** Least distance of a membrane from its threshold. */
  readonly margin: number;
}

/** `train[t][i]`: what comes in at step t, flat in C, H, W. `masks`: m of a stage's neurons, by name. */
export function forward(
  network: TwinNetwork,
  stages: readonly Stage[],
  weights: Weights,
  train: readonly ArrayLike<number>[],
  masks: Readonly<Record<string, ArrayLike<number>>> = {},
  round: Round = (x) => x,
): Forward {
  const leak = round(network.leak);
  const spikes = stages.map((): Float64Array[] => []);
  const membranes = stages.map((): Float64Array[] => []);
  const voltage = stages.map((stage) => new Float64Array(stage.neurons));
  const filtered = stages.map((stage) => new Float64Array(stage.neurons));
  const total = stages.map((stage) => new Float64Array(stage.neurons));
  let margin = Number.POSITIVE_INFINITY;
  for (let t = 0; t < network.steps; t++) {
    stages.forEach((stage, i) => {
      const v = voltage[i];
      const u = Float64Array.from(v);
      if (stage.window) {
        const sums = new Float64Array(stage.neurons);
        const o = spikes[i - 1][t];
        for (const { from, to } of stage.synapses[0].connections) {
          if (o[from] !== 0) sums[to] = round(sums[to] + o[from]);
        }
        const scale = round(1 / (stage.window * stage.window));
        for (let n = 0; n < stage.neurons; n++) u[n] = round(v[n] + round(sums[n] * scale));
      } else {
        for (const { source, parameter, connections } of stage.synapses) {
          const o = source < 0 ? train[t] : spikes[source][t];
          const w = parameter === undefined ? undefined : weights[parameter];
          for (const { from, to, weight } of connections) {
            if (o[from] === 0) continue;
            u[to] = round(u[to] + (w === undefined ? o[from] : round(w[weight] * o[from])));
          }
        }
      }
      membranes[i].push(u);
      if (stage.readout) {
        for (let n = 0; n < stage.neurons; n++) v[n] = round(u[n] * leak);
        return;
      }
      const threshold = round(stage.threshold);
      const mask = masks[stage.name];
      const o = new Float64Array(stage.neurons);
      for (let n = 0; n < stage.neurons; n++) {
        const s = u[n] > threshold;
        margin = Math.min(margin, Math.abs(u[n] - threshold));
        v[n] = s ? 0 : stage.window ? u[n] : round(u[n] * leak);
        if (s) o[n] = mask ? mask[n] : 1;
        filtered[i][n] = network.leak * filtered[i][n] + o[n];
        total[i][n] += o[n];
      }
      spikes[i].push(o);
      // A masked spike is a spike all the same; whether it happened shows in the membrane alone.
    });
  }
  const last = stages.length - 1;
  const scale = round(1 / (stages[last].threshold * network.steps));
  const outputs = voltage[last].map((v) => round(v * scale));
  return { outputs, spikes, membranes, filtered, total, margin };
}

/** Σ_k (y_k - onehot_k)² and its derivative. */
export function squaredError(
  outputs: ArrayLike<number>,
  label: number,
): { loss: number; delta: Float64Array } {
  const delta = Float64Array.from(outputs, (y, k) => 2 * (y - (k === label ? 1 : 0)));
  return { loss: delta.reduce((sum, d) => sum + (d / 2) ** 2, 0), delta };
}

/** ln Σ_k exp(y_k) - y_label and its derivative. */
export function crossEntropy(
  outputs: ArrayLike<number>,
  label: number,
): { loss: number; delta: Float64Array } {
  const y = Array.from(outputs);
  const sum = y.reduce((s, x) => s + Math.exp(x), 0);
  const delta = Float64Array.from(y, (x, k) => Math.exp(x) / sum - (k === label ? 1 : 0));
  return { loss: Math.log(sum) - y[label], delta };
}

/** Adds one sample's weight gradients to `gradients`, in float64, given what `forward` found and dL/dy. */
export function backward(
  network: TwinNetwork,
  stages: readonly Stage[],
  weights: Weights,
  train: readonly ArrayLike<number>[],
  masks: Readonly<Record<string, ArrayLike<number>>>,
  found: Forward,
  slope: ArrayLike<number>,
  gradients: Readonly<Record<string, Float64Array>>,
): void {
  const last = stages.length - 1;
  const logLeak = Math.log(network.leak);
  const current = stages.map((stage) => new Float64Array(stage.neurons)); // D_{t+1}, then D_t
  for (let k = 0; k < stages[last].neurons; k++)
    current[last][k] = slope[k] / (stages[last].threshold * network.steps);
  for (let t = network.steps - 1; t >= 0; t--) {
    const reached = stages.map((stage) => new Float64Array(stage.neurons)); // G_t
    for (let i = last; i >= 0; i--) {
      const stage = stages[i];
      const d = current[i];
      if (!stage.readout) {
        const mask = masks[stage.name];
        for (let n = 0; n < stage.neurons; n++) {
          if (!(found.membranes[i][t][n] > stage.threshold)) continue;
          const g = reached[i][n];
          if (stage.window) {
            d[n] = g;
            continue;
          }
          const f = found.filtered[i][n];
          const total = found.total[i][n];
          const factor = (f > 1e-3 ? 1 : 0) + (logLeak * f) / (total >= 1e-3 ? total : total + 1);
          d[n] = (g * factor * (mask ? mask[n] : 1)) / stage.threshold;
        }
      }
      for (const { source, parameter, connections } of stage.synapses) {
        const x = source < 0 ? train[t] : found.spikes[source][t];
        const w = parameter === undefined ? undefined : weights[parameter];
        const dw = parameter === undefined ? undefined : gradients[parameter];
        const scale = stage.window ? 1 / (stage.window * stage.window) : 1;
        for (const { from, to, weight } of connections) {
          if (dw) dw[weight] += d[to] * x[from];
          if (source >= 0) reached[source][from] += (w ? w[weight] : scale) * d[to];
        }
      }
    }
  }
}

// ---- random numbers ------------------------------------------------------------------------------------------------

/** Philox4x32-10 (Salmon et al. 2011) in exact integers. */
export function philox(counter: readonly number[], key: readonly number[]): number[] {
  let [c0, c1, c2, c3] = counter.map((word) => BigInt(word >>> 0));
  let [k0, k1] = key.map((word) => BigInt(word >>> 0));
  const low = 0xffffffffn;
  for (let round = 0; round < 10; round++) {
    const p0 = 0xd2511f53n * c0;
    const p1 = 0xcd9e8d57n * c2;
    [c0, c1, c2, c3] = [(p1 >> 32n) ^ c1 ^ k0, p1 & low, (p0 >> 32n) ^ c3 ^ k1, p0 & low];
    k0 = (k0 + 0x9e3779b9n) & low;
    k1 = (k1 + 0xbb67ae85n) & low;
  }
  return [c0, c1, c2, c3].map(Number);
}

/** The key of a stream under a seed: the seed's 53 bits, the stream's number above them. */
export function streamKey(seed: number, stream: number): [number, number] {
  const key = BigInt(seed) + (BigInt(stream) << 53n);
  return [Number(key & 0xffffffffn), Number((key >> 32n) & 0xffffffffn)];
}

/** Random word `index` of (key, step, sample, epoch): word (i >> 2) & 3 of counter 4 (i >> 4) + (i & 3). */
export function randomWord(
  key: readonly number[],
  index: number,
  step: number,
  sample: number,
  epoch: number,
): number {
  const first = 4 * Math.floor(index / 16) + (index % 4);
  return philox([first, step, sample, epoch], key)[Math.floor(index / 4) % 4];
}

/** Position of flat index C, H, W where channels go last and are padded to a multiple of `pad`. */
export function channelsLast(shape: readonly number[], index: number, pad = 1): number {
  const [c, h = 1, w = 1] = shape;
  const stored = Math.ceil(c / pad) * pad;
  const plane = h * w;
  return (index % plane) * stored + Math.floor(index / plane);
}

const ENCODER = 3;
const DROPOUT = 16;

/** A Poisson train of one sample: `train[t][i]` is 0, 1 or -1. */
export function poissonTrain(
  pixels: ArrayLike<number>,
  shape: readonly number[],
  steps: number,
  gain: number,
  key: { seed: number; epoch?: number; sample?: number },
): Float32Array[] {
  const stream = streamKey(key.seed, ENCODER);
  return Array.from({ length: steps }, (_, t) =>
    Float32Array.from(pixels, (x, i) => {
      const p = Math.fround(Math.fround(Math.abs(x)) * Math.fround(gain));
      const word = randomWord(stream, channelsLast(shape, i), t, key.sample ?? 0, key.epoch ?? 0);
      return p >= 1 || Math.floor(word / 2) < Math.floor(p * 2 ** 31) ? Math.sign(x) : 0;
    }),
  );
}

/** The dropout mask of one sample for stage number `index` with neurons of `shape`. */
export function dropoutMask(
  shape: readonly number[],
  probability: number,
  index: number,
  key: { seed: number; epoch?: number; sample?: number },
): Float32Array {
  const stream = streamKey(key.seed, DROPOUT + index);
  const neurons = shape.reduce((a, b) => a * b, 1);
  const limit = Math.floor(Math.fround(probability) * 2 ** 31);
  return Float32Array.from({ length: neurons }, (_, i) => {
    const word = randomWord(stream, channelsLast(shape, i, 4), 0, key.sample ?? 0, key.epoch ?? 0);
    return Math.floor(word / 2) < limit ? 0 : Math.fround(1 / (1 - probability));
  });
}

// ---- stochastic gradient descent -------------------------------------------------------------------------------------

/** One step of d = g + wd·w, b = μ b + d, w -= rate·b; `velocity` and `weights` change in place. */
export function sgdStep(
  weights: Float32Array,
  gradient: ArrayLike<number>,
  velocity: Float32Array | undefined,
  option: { rate: number; momentum: number; weightDecay: number },
  round: Round = Math.fround,
): void {
  const rate = round(option.rate);
  const momentum = round(option.momentum);
  const decay = round(option.weightDecay);
  for (let i = 0; i < weights.length; i++) {
    let d = round(gradient[i] + round(decay * weights[i]));
    if (velocity) {
      d = round(round(momentum * velocity[i]) + d);
      velocity[i] = d;
    }
    weights[i] = round(weights[i] - round(rate * d));
  }
}
