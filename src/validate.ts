import { ArgumentError } from "./errors.ts";

/** An integer in [low, high]. */
export function integer(argument: string, value: unknown, low: number, high = 2 ** 31 - 1): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < low || value > high) {
    const range = high === 2 ** 31 - 1 ? `of at least ${low}` : `from ${low} to ${high}`;
    throw new ArgumentError(argument, value, `an integer ${range}`);
  }
  return value;
}

/** A finite number for which `ok` holds; `expected` says what that is. */
export function number(
  argument: string,
  value: unknown,
  expected: string,
  ok: (value: number) => boolean = () => true,
): number {
  if (typeof value !== "number" || !Number.isFinite(value) || !ok(value)) {
    throw new ArgumentError(argument, value, expected);
  }
  return value;
}

/** A finite number greater than 0, also in the 32 bits that the core computes with. */
export function positive(argument: string, value: unknown): number {
  return number(argument, value, "a number greater than 0, within 32-bit floats", isPositive32);
}

/** Whether a number is finite and greater than 0 when it is rounded to 32 bits. */
export function isPositive32(value: number): boolean {
  const rounded = Math.fround(value);
  return rounded > 0 && rounded < Number.POSITIVE_INFINITY;
}

/** A finite number in [low, high]. */
export function within(argument: string, value: unknown, low: number, high: number): number {
  return number(argument, value, `a number from ${low} to ${high}`, (v) => v >= low && v <= high);
}

/** An object (not an array) without keys other than `keys`: a misspelt option must not pass in silence. */
export function options<T extends object>(
  argument: string,
  value: T | undefined,
  keys: readonly string[],
): T {
  if (value === undefined) return {} as T;
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ArgumentError(argument, value, `an object with any of ${keys.join(", ") || "no keys"}`);
  }
  for (const key of Object.keys(value)) {
    if (!keys.includes(key))
      throw new ArgumentError(
        `${argument}.${key}`,
        (value as never)[key],
        `no such option; known are ${keys.join(", ")}`,
      );
  }
  return value;
}

/** One of a list of strings. */
export function choice<T extends string>(argument: string, value: unknown, choices: readonly T[]): T {
  if (typeof value !== "string" || !choices.includes(value as T)) {
    throw new ArgumentError(argument, value, `one of ${choices.map((c) => JSON.stringify(c)).join(", ")}`);
  }
  return value as T;
}

/** Place of the first number that is not finite, or -1. A loop: a callback a number is slow the first time. */
export function findNonFinite(values: ArrayLike<number>): number {
  for (let i = 0; i < values.length; i++) if (values[i] - values[i] !== 0) return i;
  return -1;
}
