// A plain second reading of `surrogate` in f64, one sample at a time. Its spikes are steps, or, for checks against finite
// differences, the primitive of the surrogate: then its gradient is a true derivative.
import type { SurrogateDescriptor } from "spikegrad";

/** One weight layer with its pool and neurons; everything flat in the order C, H, W. */
export interface TwinStage {
  /** `[channels, height, width]` of what comes in and of the current. */
  readonly from: readonly number[];
  readonly to: readonly number[];
  /** 0 for dense. */
  readonly kernel: number;
  readonly padding: number;
  readonly stride: number;
  readonly pool?: { readonly average: boolean; readonly size: number };
  readonly weight: Float64Array;
  readonly bias: Float64Array;
  /** The layer's own, where they are learned. */
  readonly decay?: Float64Array;
  readonly threshold?: Float64Array;
  /** `[out, out]`: from the neurons' own spikes of the step before. */
  readonly recurrent?: Float64Array;
  readonly mask?: ArrayLike<number>;
}

export interface TwinSettings {
  readonly method: SurrogateDescriptor;
  readonly loss: "crossEntropy" | "squaredError";
  readonly on: "membrane" | "rate";
  readonly smooth: boolean;
}

export interface TwinAnswer {
  readonly loss: number;
  readonly outputs: number[];
  /** `[step][layer]`. */
  readonly spikes: Float64Array[][];
  readonly membranes: Float64Array[][];
  readonly weights: Float64Array[];
  readonly biases: Float64Array[];
  readonly decays: Float64Array[];
  readonly thresholds: Float64Array[];
  readonly recurrents: (Float64Array | undefined)[];
  /** How close a membrane came to its threshold. */
  readonly margin: number;
}

const volume = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

/** h(x), the surrogate of ds/du. */
function derivative({ derivative: kind, slope: k }: SurrogateDescriptor, x: number): number {
  if (kind === "fastSigmoid") return 1 / (k * Math.abs(x) + 1) ** 2;
  if (kind === "atan") return k / 2 / (1 + ((Math.PI * k * x) / 2) ** 2);
  return Math.abs(x) < 0.5 ? 1 : 0;
}

/** Its primitive. */
function primitive({ derivative: kind, slope: k }: SurrogateDescriptor, x: number): number {
  if (kind === "fastSigmoid") return x / (1 + k * Math.abs(x));
  if (kind === "atan") return Math.atan((Math.PI * k * x) / 2) / Math.PI;
  return Math.min(Math.max(x, -0.5), 0.5);
}

/** Calls `visit(output, input, weight)` for every synapse. */
function synapses(s: TwinStage, visit: (o: number, i: number, w: number) => void): void {
  const [channels, height, width] = s.from;
  const [out, rows, columns] = s.to;
  if (s.kernel === 0) {
    const inputs = volume(s.from);
    for (let o = 0; o < out; o++) for (let i = 0; i < inputs; i++) visit(o, i, o * inputs + i);
    return;
  }
  for (let o = 0; o < out; o++)
    for (let y = 0; y < rows; y++)
      for (let x = 0; x < columns; x++)
        for (let c = 0; c < channels; c++)
          for (let ky = 0; ky < s.kernel; ky++)
            for (let kx = 0; kx < s.kernel; kx++) {
              const iy = y * s.stride + ky - s.padding;
              const ix = x * s.stride + kx - s.padding;
              if (iy < 0 || ix < 0 || iy >= height || ix >= width) continue;
              const w = ((o * channels + c) * s.kernel + ky) * s.kernel + kx;
              visit((o * rows + y) * columns + x, (c * height + iy) * width + ix, w);
            }
}

/** Shape of a stage's neurons. */
export function neuronsOf({ to: [c, h, w], pool }: TwinStage): number[] {
  return pool ? [c, Math.floor(h / pool.size), Math.floor(w / pool.size)] : [c, h, w];
}

/** For every neuron the places of its window, row-major. */
function windows(s: TwinStage): number[][] {
  const [channels, rows, columns] = neuronsOf(s);
  const size = s.pool?.size ?? 1;
  const [, height, width] = s.to;
  const list: number[][] = [];
  for (let c = 0; c < channels; c++)
    for (let y = 0; y < rows; y++)
      for (let x = 0; x < columns; x++) {
        const places: number[] = [];
        for (let dy = 0; dy < size; dy++)
          for (let dx = 0; dx < size; dx++) places.push((c * height + y * size + dy) * width + x * size + dx);
        list.push(places);
      }
  return list;
}

/** l(z) of one sample and its derivative. */
function lossOf(kind: TwinSettings["loss"], z: ArrayLike<number>, label: number): [number, number[]] {
  const values = Array.from(z);
  if (kind === "squaredError") {
    const e = values.map((v, k) => v - (k === label ? 1 : 0));
    return [e.reduce((sum, v) => sum + v * v, 0) / e.length, e.map((v) => (2 * v) / e.length)];
  }
  const top = Math.max(...values);
  const sum = values.reduce((total, v) => total + Math.exp(v - top), 0);
  const loss = Math.log(sum) + top - values[label];
  return [loss, values.map((v, k) => Math.exp(v - top) / sum - (k === label ? 1 : 0))];
}

/** A stage's decay and threshold. */
function own(s: TwinStage, method: SurrogateDescriptor): { decay: number; threshold: number } {
  return { decay: s.decay?.[0] ?? method.decay, threshold: s.threshold?.[0] ?? method.threshold };
}

/** Forward and backward for one sample, `inputs[t]` flat. */
export function twin(
  stages: readonly TwinStage[],
  settings: TwinSettings,
  inputs: readonly ArrayLike<number>[],
  label: number,
): TwinAnswer {
  const { method } = settings;
  const { reset } = method;
  const decays = stages.map(() => new Float64Array(1));
  const thresholds = stages.map(() => new Float64Array(1));
  const alpha = method.synapticDecay ?? 0;
  const zero = reset === "zero";
  const steps = inputs.length;
  const u: Float64Array[][] = [];
  const spikes: Float64Array[][] = [];
  const presynaptic: ArrayLike<number>[][] = [];
  const shown: Float64Array[][] = [];
  const chosen: number[][][] = [];
  let margin = Number.POSITIVE_INFINITY;
  const pools = stages.map(windows);
  const synaptic = stages.map((s) => new Float64Array(volume(neuronsOf(s))));
  for (let t = 0; t < steps; t++) {
    let x: ArrayLike<number> = inputs[t];
    u.push([]);
    spikes.push([]);
    presynaptic.push([]);
    shown.push([]);
    chosen.push([]);
    stages.forEach((s, l) => {
      const [, height, width] = s.to;
      const { decay, threshold } = own(s, method);
      const current = Float64Array.from(
        { length: volume(s.to) },
        (_, o) => s.bias[Math.floor(o / (height * width))],
      );
      synapses(s, (o, i, w) => {
        current[o] += s.weight[w] * x[i];
      });
      if (s.recurrent && t > 0) {
        const n = s.to[0];
        const before = shown[t - 1][l];
        for (let o = 0; o < n; o++)
          for (let j = 0; j < n; j++) current[o] += s.recurrent[o * n + j] * before[j];
      }
      const places: number[] = [];
      const membrane = new Float64Array(synaptic[l].length);
      const fired = new Float64Array(synaptic[l].length);
      pools[l].forEach((window, n) => {
        const best = window.reduce((a, b) => (current[b] > current[a] ? b : a));
        places.push(best);
        const drive = s.pool?.average
          ? window.reduce((sum, p) => sum + current[p], 0) / window.length
          : current[best];
        synaptic[l][n] = alpha * synaptic[l][n] + drive;
        const before = t > 0 ? u[t - 1][l][n] : 0;
        const was = before > threshold;
        membrane[n] = (zero && was ? 0 : decay * before) + synaptic[l][n] - (!zero && was ? threshold : 0);
        const above = membrane[n] - threshold;
        margin = Math.min(margin, Math.abs(above));
        fired[n] = settings.smooth ? primitive(method, above) : above > 0 ? 1 : 0;
      });
      u[t].push(membrane);
      spikes[t].push(fired);
      presynaptic[t].push(x);
      chosen[t].push(places);
      shown[t].push(s.mask ? fired.map((v, n) => v * (s.mask as ArrayLike<number>)[n]) : fired);
      x = shown[t][l];
    });
  }

  const last = stages.length - 1;
  const read = (t: number) => (settings.on === "rate" ? spikes[t][last] : u[t][last]);
  const classes = read(0).length;
  const outputs = Array.from({ length: classes }, (_, k) => {
    let sum = 0;
    for (let t = 0; t < steps; t++) sum += read(t)[k];
    return sum / steps;
  });
  let loss = 0;
  const errors: number[][] = [];
  if (settings.on === "rate") {
    const [value, slope] = lossOf(settings.loss, outputs, label);
    loss = value;
    for (let t = 0; t < steps; t++) errors.push(slope.map((v) => v / steps));
  } else {
    for (let t = 0; t < steps; t++) {
      const [value, slope] = lossOf(settings.loss, read(t), label);
      loss += value;
      errors.push(slope);
    }
  }

  const weights = stages.map((s) => new Float64Array(s.weight.length));
  const biases = stages.map((s) => new Float64Array(s.bias.length));
  const recurrents = stages.map((s) => s.recurrent && new Float64Array(s.recurrent.length));
  let delivered = errors.map((e) => Float64Array.from(e));
  for (let l = last; l >= 0; l--) {
    const s = stages[l];
    const { decay, threshold } = own(s, method);
    const [, height, width] = s.to;
    const carried = new Float64Array(synaptic[l].length);
    const trace = new Float64Array(synaptic[l].length);
    const next = inputs.map(() => new Float64Array(volume(s.from)));
    for (let t = steps - 1; t >= 0; t--) {
      const current = new Float64Array(volume(s.to));
      pools[l].forEach((window, n) => {
        const membrane = u[t][l][n];
        const onMembrane = l === last && settings.on === "membrane";
        const slope = onMembrane ? 1 : derivative(method, membrane - threshold);
        const g = delivered[t][n] * (s.mask ? s.mask[n] : 1);
        carried[n] = g * slope + (zero && membrane > threshold ? 0 : decay * carried[n]);
        const before = t > 0 ? u[t - 1][l][n] : 0;
        const was = before > threshold;
        decays[l][0] += zero && was ? 0 : carried[n] * before;
        thresholds[l][0] -= (onMembrane ? 0 : g * slope) + (!zero && was ? carried[n] : 0);
        trace[n] = carried[n] + alpha * trace[n];
        if (s.pool?.average) for (const p of window) current[p] += trace[n] / window.length;
        else current[chosen[t][l][n]] += trace[n];
      });
      const mine = recurrents[l];
      if (s.recurrent && mine && t > 0) {
        const n = s.to[0];
        for (let o = 0; o < n; o++) {
          for (let j = 0; j < n; j++) {
            mine[o * n + j] += current[o] * shown[t - 1][l][j];
            delivered[t - 1][j] += s.recurrent[o * n + j] * current[o];
          }
        }
      }
      synapses(s, (o, i, w) => {
        weights[l][w] += current[o] * presynaptic[t][l][i];
        next[t][i] += s.weight[w] * current[o];
      });
      current.forEach((d, o) => {
        biases[l][Math.floor(o / (height * width))] += d;
      });
    }
    delivered = next;
  }
  return { loss, outputs, spikes, membranes: u, weights, biases, decays, thresholds, recurrents, margin };
}
