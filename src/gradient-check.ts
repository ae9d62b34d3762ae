import { Engine } from "./core/engine.ts";
import { gather } from "./core/places.ts";
import type { Build } from "./core/wasm.ts";
import { differentiate, type GradientOptions } from "./gradients.ts";
import type { Samples } from "./inputs.ts";
import { Runner } from "./runner.ts";
import { integer, options, within } from "./validate.ts";

/** Slopes of the loss over two steps agree within this, relative to the largest gradient, where it is smooth. */
const AGREEMENT = 0.005;

/** Spacing of f32 numbers near 1. */
const F32_STEP = 2 ** -23;

/** What `checkGradients` takes beside inputs and labels. */
export interface GradientCheckOptions
  extends Pick<GradientOptions, "dropoutMasks" | "bypassNeurons" | "epoch" | "firstSample"> {
  /** Elements of each parameter to take differences for. Default 8. */
  readonly samples?: number;
  /** Largest error allowed, relative to the tensor's largest gradient. Default 0.02. */
  readonly tolerance?: number;
}

/** What a check found about one parameter. */
export interface ParameterCheck {
  /** The parameter's name. */
  readonly name: string;
  /** Whether the other build of the core, a program of its own, gives the same bits. */
  readonly equalBits: boolean;
  /** Finite differences, where the method's gradient is a derivative. */
  readonly differences?: {
    /** Elements compared. */
    readonly samples: number;
    /** Elements passed over: a spike comes or goes close by, or the loss is flatter than f32 can tell. */
    readonly skipped: number;
    /** Largest |difference - gradient| over the tensor's largest gradient. */
    readonly error: number;
  };
  /** Equal bits, and an error within the tolerance. */
  readonly ok: boolean;
}

/** What `checkGradients` finds. */
export interface GradientCheck {
  /** Whether every parameter is. */
  readonly ok: boolean;
  /**
   * What the differences are taken of: the `"loss"`; the loss of the `"smooth"` network, in which each spike is the primitive
   * of its surrogate; or nothing, null, where the method's gradient is no derivative: `lee`, `bpsta`, `surrogate` with a loss on
   * rates, `stdbp` with guards or stand-ins. With `bypassNeurons` it is the loss.
   */
  readonly differences: "loss" | "smooth" | null;
  /** One entry a trainable parameter. */
  readonly parameters: readonly ParameterCheck[];
}

/**
 * Checks a network's gradients: against the other build of the core bit by bit, and against central finite differences
 * where the method's gradient is a derivative. Works on a copy of the network.
 */
export async function checkGradients(
  runner: Runner,
  samples: Samples,
  labels: ArrayLike<number>,
  option: GradientCheckOptions,
): Promise<GradientCheck> {
  const known = ["samples", "tolerance", "dropoutMasks", "bypassNeurons", "epoch", "firstSample"];
  const { samples: count = 8, tolerance = 0.02, ...rest } = options("checkGradients options", option, known);
  integer("samples", count, 1);
  within("tolerance", tolerance, 0, 1);
  const { gradients } = await differentiate(runner, samples, labels, undefined, rest);
  const other = await copy(runner, runner.engine.build === "scalar" ? "simd" : "scalar");
  const twin = (await differentiate(other, samples, labels, undefined, rest)).gradients;
  const exact = rest.bypassNeurons ? "loss" : runner.model.exact;
  const smooth = exact === "smooth";
  const reference = smooth
    ? (await differentiate(other, samples, labels, undefined, rest, smooth)).gradients
    : gradients;
  const measure = async () => (await differentiate(other, samples, labels, undefined, rest, smooth)).loss;
  const parameters: ParameterCheck[] = [];
  for (const [i, { name, trainable }] of runner.model.parameters.entries()) {
    if (!trainable) continue;
    const equalBits = sameBits(gradients[name].data, twin[name].data);
    if (!exact) {
      parameters.push({ name, equalBits, ok: equalBits });
      continue;
    }
    const differences = await compare(other, i, reference[name].data, count, measure);
    parameters.push({ name, equalBits, differences, ok: equalBits && differences.error <= tolerance });
  }
  other.dispose();
  return { ok: parameters.every(({ ok }) => ok), differences: exact ?? null, parameters };
}

/** The same network on memory of its own. */
async function copy(runner: Runner, build: Build): Promise<Runner> {
  const { description, model } = runner;
  const engine = await Engine.create(model, description.seed, { build });
  engine.allParameters().set(runner.engine.allParameters());
  return new Runner(description, engine);
}

/** Differences for `count` elements of parameter `i`: those with the largest gradients, and others evenly spread. */
async function compare(
  runner: Runner,
  i: number,
  gradient: Float32Array,
  count: number,
  measure: () => Promise<number>,
): Promise<{ samples: number; skipped: number; error: number }> {
  const stored = () => runner.engine.parameter(i);
  const { places, shape, length } = runner.model.parameters[i];
  const place = new Uint32Array(gradient.length);
  gather(
    places,
    shape[0],
    Uint32Array.from({ length }, (_, at) => at),
    place,
  );
  const scale = gradient.reduce((most, g) => Math.max(most, Math.abs(g)), 0);
  let square = 0;
  for (const at of place) square += stored()[at] * stored()[at];
  const step = Math.max(Math.sqrt(square / place.length), 0.1) / 8;
  const base = await measure();
  const slopes = async (at: number, h: number) => {
    const value = stored()[at];
    const [right, left] = [Math.fround(value + h), Math.fround(value - h)];
    stored()[at] = right;
    const above = await measure();
    stored()[at] = left;
    const below = await measure();
    stored()[at] = value;
    return {
      central: (above - below) / (right - left),
      // What curvature, or a bend close by, leaves between the slopes of the two sides.
      bend: (above - base) / (right - value) - (base - below) / (value - left),
    };
  };
  const result = { samples: 0, skipped: 0, error: 0 };
  for (const k of chosen(gradient, count)) {
    // Steps agree where the loss is smooth and they are large enough for f32; where none do, a spike comes or goes.
    let agreed = 0;
    let last = Number.NaN;
    for (let h = step; agreed < 2 && h > step / 1000; h /= 2) {
      // What rounding the loss to f32 does to a slope must be small too.
      if (Math.abs(base) * F32_STEP > 4 * AGREEMENT * scale * h) break;
      const { central, bend } = await slopes(place[k], h);
      const smooth = Math.abs(central - last) <= AGREEMENT * scale && Math.abs(bend) <= 4 * AGREEMENT * scale;
      agreed = smooth ? agreed + 1 : 0;
      last = central;
    }
    if (agreed < 2) result.skipped++;
    else {
      result.samples++;
      const error = Math.abs(last - gradient[k]);
      if (error > 0) result.error = Math.max(result.error, error / scale);
    }
  }
  return result;
}

function chosen(gradient: Float32Array, count: number): number[] {
  const all = Array.from(gradient.keys());
  if (all.length <= count) return all;
  const largest = all.sort((a, b) => Math.abs(gradient[b]) - Math.abs(gradient[a]) || a - b);
  const picked = new Set(largest.slice(0, Math.ceil(count / 2)));
  for (let j = 0; picked.size < count; j++)
    picked.add(Math.floor((j * gradient.length) / count) % gradient.length);
  return [...picked];
}

function sameBits(a: Float32Array, b: Float32Array): boolean {
  const [x, y] = [a, b].map((values) => new Uint32Array(values.buffer, values.byteOffset, values.length));
  return x.every((word, i) => word === y[i]);
}
