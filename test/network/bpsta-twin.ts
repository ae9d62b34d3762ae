// A plain second reading of `bpsta` in f64: every layer of the canonical list on its own, all samples of a step at once.
import type { BpstaDescriptor, Network } from "spikegrad";

type Grid = Float64Array[]; // [sample][channel, row, column]

export interface TwinAnswer {
  readonly loss: number;
  readonly outputs: number[];
  /** By name: gradients of parameters, and running statistics afterwards. */
  readonly tensors: Record<string, Float64Array>;
  /** `[step][sample]` by the neuron's name. */
  readonly spikes: Record<string, Grid[]>;
  /** How close a membrane came to its threshold, or a rectified current to 0. */
  readonly margin: number;
}

interface Layer {
  readonly from: readonly number[];
  readonly to: readonly number[];
  /** Gives the output and its way back. */
  step(x: Grid, t: number): { y: Grid; back(dy: Grid): Grid };
}

const volume = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
const zeros = (batch: number, n: number): Grid => Array.from({ length: batch }, () => new Float64Array(n));

/**
 * Loss, answers, gradients and statistics of a batch. `frames[b][t]` are the inputs, `bypass` hands currents on.
 */
export function twin(
  network: Network,
  frames: readonly (readonly ArrayLike<number>[])[],
  labels: ArrayLike<number>,
  masks: Readonly<Record<string, ArrayLike<number>>>,
  bypass = false,
): TwinAnswer {
  const method = network.description.method as BpstaDescriptor;
  const batch = frames.length;
  const tensors: Record<string, Float64Array> = {};
  const spikes: Record<string, Grid[]> = {};
  const notes = { margin: Number.POSITIVE_INFINITY };
  const parameter = (name: string) => Float64Array.from(network.parameters.get(name).data);
  const layers: Layer[] = [];
  let shape: readonly number[] = network.inputShape;
  for (const layer of network.layers) {
    const from = shape;
    const same = (step: Layer["step"]): Layer => ({ from, to: from, step });
    const name = layer.name ?? "";
    let made: Layer;
    if (layer.kind === "conv2d" || layer.kind === "dense") {
      made = synapse(layer.kind === "dense" ? [layer.out] : convolved(from, layer), from, layer);
    } else if (layer.kind === "batchNorm") made = same(normalised(from, name, layer));
    else if (layer.kind === "relu") {
      made = same((x) => {
        for (const row of x) for (const v of row) notes.margin = Math.min(notes.margin, Math.abs(v));
        return {
          y: x.map((row) => row.map((v) => Math.max(v, 0))),
          back: (dy) => dy.map((row, b) => row.map((g, i) => (x[b][i] > 0 ? g : 0))),
        };
      });
    } else if (layer.kind === "neuron") {
      made = same(
        bypass ? (x) => ({ y: x, back: (dy) => dy }) : neurons(volume(from), name, layer.threshold),
      );
    } else if (layer.kind === "dropout") {
      const n = volume(from);
      const scale = (x: Grid) => x.map((row, b) => row.map((v, i) => v * masks[name][b * n + i]));
      made = same((x) => ({ y: scale(x), back: scale }));
    } else if (layer.kind === "maxPool2d" || layer.kind === "avgPool2d") {
      made = pool(from, layer.size, layer.kind === "avgPool2d");
    } else throw new Error(layer.kind);
    layers.push(made);
    shape = made.to;
  }

  function convolved(
    from: readonly number[],
    { out, kernel, stride, padding }: { out: number; kernel: number; stride: number; padding: number },
  ) {
    const side = (n: number) => Math.floor((n + 2 * padding - kernel) / stride) + 1;
    return [out, side(from[1]), side(from[2])];
  }

  function synapse(
    to: readonly number[],
    from: readonly number[],
    layer: { kind: string; name?: string },
  ): Layer {
    const w = parameter(`${layer.name}.weight`);
    const bias = parameter(`${layer.name}.bias`);
    const dw = new Float64Array(w.length);
    const db = new Float64Array(bias.length);
    tensors[`${layer.name}.weight`] = dw;
    tensors[`${layer.name}.bias`] = db;
    const area = volume(to) / to[0];
    const each = (visit: (o: number, i: number, k: number) => void) => {
      if (layer.kind === "dense") {
        const n = volume(from);
        for (let o = 0; o < to[0]; o++) for (let i = 0; i < n; i++) visit(o, i, o * n + i);
        return;
      }
      const { kernel, stride, padding } = layer as unknown as {
        kernel: number;
        stride: number;
        padding: number;
      };
      const [channels, height, width] = from;
      for (let o = 0; o < volume(to); o++) {
        const c = Math.floor(o / area);
        const y = Math.floor((o % area) / to[2]) * stride - padding;
        const x = (o % to[2]) * stride - padding;
        for (let d = 0; d < channels; d++) {
          for (let ky = 0; ky < kernel; ky++) {
            for (let kx = 0; kx < kernel; kx++) {
              if (y + ky < 0 || y + ky >= height || x + kx < 0 || x + kx >= width) continue;
              visit(
                o,
                (d * height + y + ky) * width + x + kx,
                ((c * channels + d) * kernel + ky) * kernel + kx,
              );
            }
          }
        }
      }
    };
    return {
      from,
      to,
      step: (x) => ({
        y: x.map((row) => {
          const y = Float64Array.from({ length: volume(to) }, (_, o) => bias[Math.floor(o / area)]);
          each((o, i, k) => {
            y[o] += w[k] * row[i];
          });
          return y;
        }),
        back: (dy) =>
          dy.map((g, b) => {
            const dx = new Float64Array(volume(from));
            each((o, i, k) => {
              dx[i] += w[k] * g[o];
              dw[k] += g[o] * x[b][i];
            });
            g.forEach((v, o) => {
              db[Math.floor(o / area)] += v;
            });
            return dx;
          }),
      }),
    };
  }

  function normalised(
    from: readonly number[],
    name: string,
    { momentum, epsilon }: { momentum: number; epsilon: number },
  ): Layer["step"] {
    const weight = parameter(`${name}.weight`);
    const bias = parameter(`${name}.bias`);
    const mean = parameter(`${name}.running_mean`);
    const variance = parameter(`${name}.running_var`);
    const dw = new Float64Array(weight.length);
    const db = new Float64Array(bias.length);
    Object.assign(tensors, {
      [`${name}.weight`]: dw,
      [`${name}.bias`]: db,
      [`${name}.running_mean`]: mean,
      [`${name}.running_var`]: variance,
    });
    const area = volume(from) / from[0];
    const n = batch * area;
    const over = (c: number, x: Grid, f: (v: number, b: number, i: number) => number) => {
      let sum = 0;
      for (let b = 0; b < batch; b++) for (let i = c * area; i < (c + 1) * area; i++) sum += f(x[b][i], b, i);
      return sum;
    };
    return (x) => {
      const means = Array.from(weight, (_, c) => over(c, x, (v) => v) / n);
      const squares = Array.from(weight, (_, c) => over(c, x, (v) => (v - means[c]) ** 2));
      const deviations = squares.map((s) => Math.sqrt(s / n + epsilon));
      means.forEach((m, c) => {
        mean[c] += momentum * (m - mean[c]);
        variance[c] += momentum * (squares[c] / Math.max(n - 1, 1) - variance[c]);
      });
      const hat = x.map((row) =>
        row.map((v, i) => (v - means[Math.floor(i / area)]) / deviations[Math.floor(i / area)]),
      );
      return {
        y: hat.map((row) => row.map((v, i) => v * weight[Math.floor(i / area)] + bias[Math.floor(i / area)])),
        back: (dy) => {
          const sums = Array.from(weight, (_, c) => over(c, dy, (g) => g));
          const products = Array.from(weight, (_, c) => over(c, dy, (g, b, i) => g * hat[b][i]));
          for (const c of weight.keys()) {
            db[c] += sums[c];
            dw[c] += products[c];
          }
          return dy.map((row, b) =>
            row.map((g, i) => {
              const c = Math.floor(i / area);
              return (weight[c] / deviations[c]) * (g - sums[c] / n - (hat[b][i] * products[c]) / n);
            }),
          );
        },
      };
    };
  }

  function neurons(n: number, name: string, threshold = method.threshold): Layer["step"] {
    const v = zeros(batch, n);
    const carry = zeros(batch, n);
    spikes[name] = [];
    return (x, t) => {
      const u = x.map((row, b) => row.map((z, i) => v[b][i] + z));
      const s = u.map((row) => row.map((m) => (m >= Math.fround(threshold) ? 1 : 0)));
      for (const row of u)
        for (const m of row) notes.margin = Math.min(notes.margin, Math.abs(m - threshold));
      spikes[name][t] = s;
      u.forEach((row, b) => {
        row.forEach((m, i) => {
          v[b][i] = method.decay * (s[b][i] ? 0 : m);
        });
      });
      return {
        y: s,
        back: (g) =>
          g.map((row, b) => {
            row.forEach((G, i) => {
              const c = method.decay * carry[b][i];
              carry[b][i] = s[b][i] ? (G + method.kappa * c) / u[b][i] : c;
            });
            return carry[b].slice();
          }),
      };
    };
  }

  const classes = network.classes;
  const voters = method.vote;
  const steps = bypass ? 1 : network.steps;
  const passes: { back(dy: Grid): Grid }[][] = [];
  const answer = zeros(batch, classes);
  for (let t = 0; t < steps; t++) {
    let x: Grid = frames.map((sample) => {
      if (!bypass) return Float64Array.from(sample[t]);
      return Float64Array.from(sample[0], (_, i) => sample.reduce((sum, f) => sum + f[i], 0) / sample.length);
    });
    passes.push([]);
    for (const layer of layers) {
      const pass = layer.step(x, t);
      passes[t].push(pass);
      x = pass.y;
    }
    x.forEach((row, b) => {
      row.forEach((v, j) => {
        answer[b][Math.floor(j / voters)] += v / (voters * steps);
      });
    });
  }
  const target = (b: number, k: number) => (labels[b] === k ? 1 : 0);
  const scale = 1 / (batch * classes);
  let loss = 0;
  answer.forEach((row, b) => {
    row.forEach((y, k) => {
      loss += scale * (y - target(b, k)) ** 2;
    });
  });
  for (let t = steps - 1; t >= 0; t--) {
    let g: Grid = answer.map((row, b) =>
      Float64Array.from({ length: classes * voters }, (_, j) => {
        const k = Math.floor(j / voters);
        return (2 * scale * (row[k] - target(b, k))) / (voters * steps);
      }),
    );
    for (const pass of passes[t].reverse()) g = pass.back(g);
  }
  return { loss, outputs: answer.flatMap((row) => [...row]), tensors, spikes, margin: notes.margin };
}

function pool(from: readonly number[], size: number, average: boolean): Layer {
  const [channels, height, width] = from;
  const to = [channels, Math.floor(height / size), Math.floor(width / size)];
  const windows = Array.from({ length: volume(to) }, (_, o) => {
    const c = Math.floor(o / (to[1] * to[2]));
    const y = Math.floor(o / to[2]) % to[1];
    const x = o % to[2];
    return Array.from(
      { length: size * size },
      (_, k) => (c * height + y * size + Math.floor(k / size)) * width + x * size + (k % size),
    );
  });
  const share = 1 / (size * size);
  return {
    from,
    to,
    step: (x) => {
      const first = x.map((row) =>
        windows.map((w) => w.reduce((best, i) => (row[i] > row[best] ? i : best), w[0])),
      );
      return {
        y: x.map((row, b) =>
          Float64Array.from(windows, (w, o) =>
            average ? w.reduce((sum, i) => sum + row[i], 0) * share : row[first[b][o]],
          ),
        ),
        back: (dy) =>
          dy.map((g, b) => {
            const dx = new Float64Array(volume(from));
            windows.forEach((w, o) => {
              if (average) for (const i of w) dx[i] += g[o] * share;
              else dx[first[b][o]] += g[o];
            });
            return dx;
          }),
      };
    },
  };
}
