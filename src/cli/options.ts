import { InvalidArgumentError, Option } from "commander";
import {
  cosine,
  type OptimizerDescriptor,
  type ScheduleDescriptor,
  stepDecay,
  type Threads,
} from "../index.ts";

/** The command line itself is at fault; ends the program with code 2. */
export class UsageError extends Error {}

/** What is taken where neither option, preset, file nor checkpoint says anything. */
export const DEFAULTS = {
  data: "mnist",
  network: "lenet",
  steps: 20,
  gain: 1,
  leak: 0.99,
  epochs: 1,
  batch: 32,
  rate: 0.006,
  momentum: 0.9,
  warmup: 0.1,
  seed: 1,
  checkpointEvery: 100,
} as const;

/** An option whose default is shown but not filled in, so that "not given" can be told apart. */
export function setting<T>(
  flags: string,
  description: string,
  parse: (text: string) => T,
  otherwise?: unknown,
): Option {
  const option = new Option(
    flags,
    otherwise === undefined ? description : `${description} (default: ${otherwise})`,
  );
  return option.argParser((text: string) => parse(text));
}

/** Any text but none. */
export function text(value: string): string {
  if (value === "") throw new InvalidArgumentError("It is empty.");
  return value;
}

/** A whole number of at least `least`. */
export function integer(least: number, most = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (value) => {
    const number = /^\d+$/.test(value) ? Number(value) : Number.NaN;
    if (!(number >= least && number <= most)) {
      const range = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
      throw new InvalidArgumentError(`Expected a whole number ${range}.`);
    }
    return number;
  };
}

/** A number of threads, or `auto`. */
export function threads(value: string): "auto" | number {
  return value === "auto" ? value : integer(1, 64)(value);
}

/** The option that train, evaluate and predict have in common. */
export const threadsOption = (): Option =>
  setting("--threads <n>", "threads that compute, or auto for one a processor", threads, 1);

/** One line about threads, where more than one were asked for. */
export function threadsLine(asked: "auto" | number | undefined, { count, reason }: Threads): string {
  if (asked === undefined || asked === 1) return "";
  return `threads   ${count}${reason === undefined ? "" : ` (${reason})`}\n`;
}

/** A decimal number for which `ok` holds. */
export function decimal(expected: string, ok: (value: number) => boolean): (text: string) => number {
  return (value) => {
    const number = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(value) ? Number(value) : Number.NaN;
    if (!Number.isFinite(number) || !ok(number)) throw new InvalidArgumentError(`Expected ${expected}.`);
    return number;
  };
}

export const positive = decimal("a number greater than 0", (x) => x > 0);
export const notNegative = decimal("a number of at least 0", (x) => x >= 0);
export const fraction = decimal("a number from 0 to less than 1", (x) => x >= 0 && x < 1);

const OPTIMIZERS = ["sgd", "adam", "adamw", "adamax"] as const;

/** The name of an optimizer. */
export function optimizer(value: string): OptimizerDescriptor["kind"] {
  const kind = OPTIMIZERS.find((name) => name === value);
  if (kind === undefined) throw new InvalidArgumentError(`Expected one of ${OPTIMIZERS.join(", ")}.`);
  return kind;
}

/** `0,3,5`, and `4-9` for a range. */
export function indices(value: string): number[] {
  const list: number[] = [];
  for (const part of value.split(",")) {
    const match = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(part.trim());
    const first = Number(match?.[1]);
    const last = Number(match?.[2] ?? first);
    if (match === null || last < first || last - first > 9999) {
      throw new InvalidArgumentError("Expected numbers of samples from 0, as in 0,3,5 or 4-9.");
    }
    for (let i = first; i <= last; i++) list.push(i);
  }
  return list;
}

/** `cosine`, `cosine:WARMUP`, `step:EPOCH,EPOCH` or `step:EPOCH,EPOCH:FACTOR`, `none`. */
export function schedule(value: string): ScheduleDescriptor | null {
  if (value === "none") return null;
  const [kind, first, second, ...more] = value.split(":");
  if (kind === "cosine" && second === undefined) {
    return cosine(first === undefined ? {} : { warmup: notNegative(first) });
  }
  if (kind === "step" && first !== undefined && more.length === 0) {
    const at = first.split(",").map(integer(0));
    if (at.every((epoch, i) => i === 0 || epoch > at[i - 1]!)) {
      return stepDecay(second === undefined ? { at } : { at, factor: positive(second) });
    }
  }
  throw new InvalidArgumentError(
    "Expected none, cosine, cosine:WARMUP-EPOCHS, or step:EPOCHS[:FACTOR] with ascending epochs, as in step:75,100:0.2.",
  );
}
