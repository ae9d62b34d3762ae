// Random small networks for property tests.
import fc from "fast-check";
import {
  avgPool2d,
  conv2d,
  createNetwork,
  dense,
  dropout,
  type LayerDescriptor,
  lee,
  type Network,
  residual,
  spikes,
} from "spikegrad";
import { stagesOf, type TwinNetwork } from "./twin.ts";

/** Uniform numbers in [0, 1) that a test can repeat (mulberry32). */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

type Wish = readonly [kind: number, a: number, b: number, c: number];

export interface Case {
  readonly input: readonly number[];
  readonly wishes: readonly Wish[];
  readonly classes: number;
  readonly steps: number;
  readonly batch: number;
  readonly leak: number;
  readonly threshold: number;
  /** 0: silent; up to 1: sparse to busy; above: every neuron at every step. */
  readonly drive: number;
  readonly values: "ones" | "signed" | "real";
  readonly density: number;
  readonly seed: number;
}

const side = fc.integer({ min: 1, max: 9 });
const image = fc.tuple(fc.integer({ min: 1, max: 5 }), side, side).map((shape) => [...shape]);
const flat = fc.integer({ min: 1, max: 40 }).map((n) => [n]);
const wish = fc.tuple(fc.nat(7), fc.nat(255), fc.nat(255), fc.nat(255));

export const anyCase: fc.Arbitrary<Case> = fc.record({
  input: fc.oneof({ weight: 4, arbitrary: image }, { weight: 1, arbitrary: flat }),
  wishes: fc.array(wish, { maxLength: 4 }),
  classes: fc.integer({ min: 1, max: 6 }),
  steps: fc.integer({ min: 1, max: 9 }),
  batch: fc.integer({ min: 1, max: 5 }),
  leak: fc.constantFrom(0.99, 0.5, 0.9, 1, 0.05),
  threshold: fc.constantFrom(1, 0.5, 1.7),
  drive: fc.constantFrom(0.6, 0.6, 0.9, 0, 4),
  values: fc.constantFrom("ones", "signed", "real"),
  density: fc.constantFrom(0.3, 0.7, 1, 0),
  seed: fc.nat(),
});

/** Layers that fit the case's input, one a wish. */
export function layersOf({ input, wishes, classes }: Case): LayerDescriptor[] {
  const layers: LayerDescriptor[] = [];
  let [, h = 1, w = 1] = input;
  /** Channels of the last layer that spikes. */
  let spiking: number | undefined;
  let poolable = false;
  for (const [kind, a, b, c] of wishes) {
    const limit = Math.min(h, w);
    if (kind <= 2) {
      const padding = c % 4;
      const kernel = 1 + (a % Math.min(5, limit + 2 * padding));
      // Large maps are rarer than small ones, and have the more to go wrong.
      const stride = b % 8 < 5 ? 1 : 1 + (b % 4);
      const out = b % 8 < 2 ? 9 + ((a >> 3) % 9) : 1 + ((a >> 3) % 9);
      layers.push(conv2d(out, kernel, { stride, padding }));
      h = Math.floor((h + 2 * padding - kernel) / stride) + 1;
      w = Math.floor((w + 2 * padding - kernel) / stride) + 1;
      spiking = out;
      poolable = true;
    } else if (kind === 3 && spiking !== undefined) {
      const size = 1 + (a % Math.min(4, limit));
      layers.push(avgPool2d(size));
      h = Math.floor(h / size);
      w = Math.floor(w / size);
      poolable = false;
    } else if (kind === 4 && spiking !== undefined) {
      const through = a % 2 === 0;
      const [k1, k2] = [1 + 2 * (b % 2), 1 + 2 * ((b >> 1) % 2)];
      const [s1, s2] = [1 + (c % 3), 1 + ((c >> 2) % 2)];
      const out: number = through ? 1 + ((a >> 2) % 6) : spiking;
      const block = [
        conv2d(1 + ((a >> 4) % 5), k1, { stride: s1, padding: (k1 - 1) / 2 }),
        conv2d(out, k2, { stride: s2, padding: (k2 - 1) / 2 }),
      ];
      layers.push(
        residual(b & 4 ? block : [conv2d(out, k1, { stride: s1, padding: (k1 - 1) / 2 })], { conv: through }),
      );
      const stride = b & 4 ? s1 * s2 : s1;
      h = Math.floor((h - 1) / stride) + 1;
      w = Math.floor((w - 1) / stride) + 1;
      spiking = out;
      poolable = true;
    } else if (kind === 7 && spiking !== undefined) {
      // A block that begins with a pool: two listen to the layer before it.
      const [height, width] = [h, w];
      const sizes = [1, 2, 3, 4].filter((n) => height % n === 0 && width % n === 0);
      const size = sizes[a % sizes.length];
      const through = b % 2 === 0;
      const out: number = through ? 1 + (c % 6) : spiking;
      const k = 1 + 2 * ((b >> 1) % 2);
      const block = [avgPool2d(size), conv2d(out, k, { padding: (k - 1) / 2 })];
      layers.push(residual(block, { conv: through, stride: size }));
      h /= size;
      w /= size;
      spiking = out;
      poolable = true;
    } else if (kind === 5 && poolable) {
      layers.push(dropout([0.2, 0.5, 0.9][a % 3]));
      poolable = false;
    } else if (kind === 6) {
      const out = 1 + (a % 20);
      layers.push(dense(out));
      [h, w, spiking, poolable] = [1, 1, out, true];
    }
  }
  layers.push(dense(classes));
  return layers;
}

export interface Prepared {
  readonly network: Network;
  readonly twin: TwinNetwork;
  readonly weights: Record<string, Float32Array>;
  /** `[B, T, …input]` */
  readonly inputs: Float32Array;
  readonly labels: number[];
  readonly masks: Record<string, Float32Array>;
}

/** The network of a case with random weights, inputs, labels and masks. */
export async function prepare(
  c: Case,
  core: { readonly build?: "simd" | "scalar"; readonly threads?: number },
): Promise<Prepared> {
  const random = generator(c.seed);
  const { leak, threshold, steps, input, batch } = c;
  const network = await createNetwork({
    input,
    encoder: spikes({ steps }),
    method: lee({ leak, threshold }),
    layers: layersOf(c),
    ...core,
  });
  const twin: TwinNetwork = { input, layers: network.layers, leak, threshold, steps };
  const weights: Record<string, Float32Array> = {};
  for (const [name, { shape, data }] of network.parameters.entries()) {
    const fan = shape.slice(1).reduce((a, b) => a * b, 1);
    const spread = (c.drive * 4) / Math.sqrt(fan);
    weights[name] = data.map(() => (c.drive > 1 ? 2 + random() : (random() - 0.4) * spread));
    network.parameters.set(name, weights[name]);
  }
  const size = input.reduce((a, b) => a * b, 1);
  const inputs = Float32Array.from({ length: batch * steps * size }, () => {
    if (random() >= c.density) return 0;
    if (c.values === "ones") return 1;
    const sign = random() < 0.5 ? -1 : 1;
    return c.values === "signed" ? sign : sign * random();
  });
  const labels = Array.from({ length: batch }, () => Math.floor(random() * c.classes));
  const masks: Record<string, Float32Array> = {};
  for (const { name, dropout: p, neurons } of stagesOf(twin)) {
    if (p > 0)
      masks[name] = Float32Array.from({ length: batch * neurons }, () => (random() < p ? 0 : 1 / (1 - p)));
  }
  return { network, twin, weights, inputs, labels, masks };
}

/** Sample `b` of `[B, T, …size]` as one array a step. */
export function trainOf(inputs: Float32Array, b: number, steps: number, size: number): Float32Array[] {
  return Array.from({ length: steps }, (_, t) =>
    inputs.subarray((b * steps + t) * size, (b * steps + t + 1) * size),
  );
}
