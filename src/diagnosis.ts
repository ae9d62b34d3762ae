import type { Lowered } from "./core/engine.ts";
import { MemoryError } from "./errors.ts";
import type { Samples } from "./inputs.ts";
import type { Purpose } from "./methods/method.ts";
import { largest } from "./overflow.ts";
import type { Runner } from "./runner.ts";
import { findNonFinite } from "./validate.ts";

/** About the largest f32. */
const LARGEST = 3.4e38;
const KEY = "diagnosis";

/** What a batch of training was. */
export interface Suspect {
  readonly samples: Samples;
  readonly labels: ArrayLike<number>;
  readonly order: Uint32Array;
  readonly epoch: number;
  readonly bypass: boolean;
}

/**
 * Where in a batch a number that is not finite arose: the sample, and the first layer (input side first) whose membranes or
 * spike times are no numbers; else the output's loss; else the tensor nearest to the output whose gradient is no number. Runs
 * the batch once more with everything recorded: sample by sample, then, under batch statistics, as a whole. Undefined if
 * nothing is found, or there is no memory for it.
 *
 * @param forward look at membranes and spike times alone
 */
export async function diagnose(
  runner: Runner,
  suspect: Suspect,
  forward: boolean,
): Promise<string | undefined> {
  const { order } = suspect;
  const together = runner.model.parameters.some(({ statistic }) => statistic);
  const groups = Array.from(order, (_, i) => order.subarray(i, i + 1));
  // What only arises in the statistics of all has no sample.
  if (together) groups.push(order);
  const weights = forward && runner.model.earliest ? overflowing(runner) : undefined;
  if (weights !== undefined) return weights;
  try {
    for (const group of groups) {
      const found = await examine(runner, suspect, group, forward);
      if (found !== undefined) return found;
    }
    return undefined;
  } catch (error) {
    if (error instanceof MemoryError) return undefined;
    throw error;
  } finally {
    if (!runner.disposed) runner.engine.drop(KEY);
  }
}

async function examine(
  runner: Runner,
  { samples, labels, epoch, bypass }: Suspect,
  group: Uint32Array,
  forward: boolean,
): Promise<string | undefined> {
  const { engine, model } = runner;
  const record: Purpose["record"] = {
    spikes: false,
    membranes: !model.earliest && !bypass,
    spikeTimes: model.earliest === true,
    readouts: false,
  };
  const lowered = engine.lower(KEY, runner.purpose("train", group.length, { record, bypass }));
  runner.load(lowered, samples, group, labels, epoch, 0);
  await runner.runBatch(lowered);
  const state = recorded(runner, lowered, group);
  if (state !== undefined || forward) return state;
  const losses = engine.f32(lowered.ports.losses, group.length);
  const bad = findNonFinite(losses);
  if (bad >= 0) {
    const output = model.local ? "" : `, layer "${model.layers[model.layers.length - 1].name}"`;
    return `sample ${group[bad]}${output}: the loss is ${losses[bad]}`;
  }
  await engine.reduceGradients(lowered);
  const tensor = spoiledGradient(runner);
  if (tensor === undefined) return undefined;
  return group.length === 1 ? `sample ${group[0]}, ${tensor}` : tensor;
}

/** The first state that is no number in what was recorded, layers ascending. */
function recorded(runner: Runner, lowered: Lowered, group: Uint32Array): string | undefined {
  for (const port of lowered.ports.records) {
    if (port.kind !== "values") continue;
    const { layout, address } = port;
    const steps = Math.max(port.steps, 1);
    const values = runner.engine.f32(address, group.length * steps * layout.length);
    const positions = layout.positions();
    // A neuron that stays silent has its spike at Infinity.
    const silent = port.steps === 0 ? Number.POSITIVE_INFINITY : Number.NaN;
    for (let row = 0; row < group.length * steps; row++) {
      const base = row * layout.length;
      const at = positions.find((p) => !Number.isFinite(values[base + p]) && values[base + p] !== silent);
      if (at === undefined) continue;
      const [layer, kind] = [port.name.slice(0, port.name.lastIndexOf(".")), port.name.split(".").pop()];
      const what = kind === "spikeTimes" ? "a spike time" : "a membrane";
      const when = port.steps === 0 ? "" : ` at step ${row % steps}`;
      const sample = group[Math.floor(row / steps)];
      return `sample ${sample}, layer "${layer}": ${what} is ${values[base + at]}${when}`;
    }
  }
  return undefined;
}

/** The tensor nearest to the output whose gradient is no number: gradients go from there to the input. */
function spoiledGradient({ engine, model }: Runner): string | undefined {
  for (let i = model.parameters.length - 1; i >= 0; i--) {
    const { name, trainable, statistic } = model.parameters[i];
    if (!trainable && !statistic) continue;
    const gradient = engine.gradient(i);
    const bad = gradient[findNonFinite(gradient)];
    if (bad === undefined) continue;
    const layer = name.slice(0, name.lastIndexOf("."));
    return `layer "${layer}": ${statistic ? `${name} would become` : `the gradient of ${name} is`} ${bad}`;
  }
  return undefined;
}

/** Where time is continuous potentials are not kept, and weights speak for them. */
function overflowing({ engine, model }: Runner): string | undefined {
  const at = model.parameters.findIndex(({ fanIn }, i) => !(largest(engine.parameter(i)) * fanIn < LARGEST));
  if (at < 0) return undefined;
  const { name } = model.parameters[at];
  const layer = name.slice(0, name.lastIndexOf("."));
  const most = largest(engine.parameter(at));
  return `layer "${layer}": weights of magnitude ${most} take a potential past the range of 32 bits to Infinity`;
}
