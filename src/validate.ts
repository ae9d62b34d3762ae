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
        `no such option; known are ${keys.join(", ") || "none"}`,
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

/** Checks what is given for a field, undefined for nothing; gives what is kept, undefined to leave the field out. */
export type Check = (argument: string, value: unknown) => unknown;

/** Checks of fields; `usual` is taken where nothing is given. */
export const anInteger =
  (low: number, high?: number, usual?: number): Check =>
  (argument, value = usual) =>
    integer(argument, value, low, high);
export const aNumber =
  (expected: string, ok: (value: number) => boolean, usual?: number): Check =>
  (argument, value = usual) =>
    number(argument, value, expected, ok);
export const aPositive =
  (usual?: number): Check =>
  (argument, value = usual) =>
    positive(argument, value);
export const aNumberWithin =
  (low: number, high: number, usual?: number): Check =>
  (argument, value = usual) =>
    within(argument, value, low, high);
export const aChoice =
  (choices: readonly string[], usual?: string): Check =>
  (argument, value = usual) =>
    choice(argument, value, choices);
export const aBoolean =
  (usual?: boolean): Check =>
  (argument, value = usual) => {
    if (typeof value !== "boolean") throw new ArgumentError(argument, value, "true or false");
    return value;
  };
/** A field that may be missing. */
export const optional =
  (check: Check): Check =>
  (argument, value) =>
    value === undefined ? value : check(argument, value);
/** A boolean that is kept where it is true. */
export const aFlag: Check = (argument, value) => aBoolean(false)(argument, value) || undefined;
/** A number from 0 to less than 1, also in 32 bits. */
export const aShare = (usual?: number): Check =>
  aNumber("a number from 0 to less than 1", (v) => v >= 0 && Math.fround(v) < 1, usual);

/** The fields of an object by their checks, in the order of these; others are refused. */
export function fields(
  argument: string,
  value: object | undefined,
  checks: Readonly<Record<string, Check>>,
): object {
  const given: Readonly<Record<string, unknown>> = { ...options(argument, value, Object.keys(checks)) };
  const kept: Record<string, unknown> = {};
  for (const [key, check] of Object.entries(checks)) {
    const checked = check(`${argument}.${key}`, given[key]);
    if (checked !== undefined) kept[key] = checked;
  }
  return kept;
}

/**
 * A descriptor of a kind, whose fields are checked. `named`: those that have a parameter of their own, not in `option`.
 */
export function described<T extends { readonly kind: string }>(
  kind: T["kind"],
  option: object | undefined,
  checks: Readonly<Record<string, Check>>,
  named: object = {},
): T {
  const known = Object.keys(checks).filter((key) => !(key in named));
  return { kind, ...fields(kind, { ...options(kind, option, known), ...named }, checks) } as T;
}

/** Place of the first number that is not finite, or -1. A loop: a callback a number is slow the first time. */
export function findNonFinite(values: ArrayLike<number>): number {
  for (let i = 0; i < values.length; i++) if (values[i] - values[i] !== 0) return i;
  return -1;
}
