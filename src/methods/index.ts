import { ArgumentError } from "../errors.ts";
import { type BpstaDescriptor, bpstaMethod } from "./bpsta.ts";
import { type DecolleDescriptor, decolleMethod } from "./decolle.ts";
import { type LeeDescriptor, leeMethod } from "./lee.ts";
import type { Method } from "./method.ts";
import { type StdbpDescriptor, stdbpMethod } from "./stdbp.ts";
import { type SurrogateDescriptor, surrogateMethod } from "./surrogate.ts";

/** A gradient method. Plain data. */
export type MethodDescriptor =
  | LeeDescriptor
  | BpstaDescriptor
  | DecolleDescriptor
  | StdbpDescriptor
  | SurrogateDescriptor;

// biome-ignore lint/suspicious/noExplicitAny: each method takes its own descriptor, looked up by its kind
const METHODS: Readonly<Record<string, Method<any>>> = {
  lee: leeMethod,
  stdbp: stdbpMethod,
  bpsta: bpstaMethod,
  surrogate: surrogateMethod,
  decolle: decolleMethod,
};

/** The method of a descriptor. */
export function methodOf<D extends MethodDescriptor>(descriptor: D): Method<D> {
  const kind = (descriptor as { kind?: unknown } | undefined)?.kind;
  if (typeof kind !== "string" || !Object.hasOwn(METHODS, kind)) {
    throw new ArgumentError(
      "method",
      kind ?? descriptor,
      `a method: ${Object.keys(METHODS)
        .map((k) => `${k}()`)
        .join(", ")}`,
    );
  }
  return METHODS[kind] as Method<D>;
}
