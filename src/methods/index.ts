import { ArgumentError, MissingError } from "../errors.ts";
import type { BpstaDescriptor } from "./bpsta.ts";
import type { DecolleDescriptor } from "./decolle.ts";
import type { LeeDescriptor } from "./lee.ts";
import type { Method } from "./method.ts";
import type { StdbpDescriptor } from "./stdbp.ts";
import type { SurrogateDescriptor } from "./surrogate.ts";

/** A gradient method. Plain data. */
export type MethodDescriptor =
  | LeeDescriptor
  | BpstaDescriptor
  | DecolleDescriptor
  | StdbpDescriptor
  | SurrogateDescriptor;

/** What makes programs of each method comes when a network needs it: a file of its own in the package. */
// biome-ignore lint/suspicious/noExplicitAny: each method takes its own descriptor, looked up by its kind
const METHODS: Readonly<Record<string, () => Promise<Method<any>>>> = {
  lee: async () => (await import("./lee-model.ts")).leeMethod,
  stdbp: async () => (await import("./stdbp-model.ts")).stdbpMethod,
  bpsta: async () => (await import("./bpsta-model.ts")).bpstaMethod,
  surrogate: async () => (await import("./surrogate-model.ts")).surrogateMethod,
  decolle: async () => (await import("./decolle-model.ts")).decolleMethod,
};

/**
 * The method of a descriptor.
 *
 * @throws ArgumentError for a descriptor of none
 * @throws MissingError if the package's file of the method cannot be loaded
 */
export async function methodOf<D extends MethodDescriptor>(descriptor: D): Promise<Method<D>> {
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
  return (await fileOf(kind, METHODS[kind])) as Method<D>;
}

/** What `load` brings by import(): a file of the method `kind`. */
export async function fileOf<T>(kind: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    const hint = "a service worker cannot load files on demand, and needs spikegrad/bundle";
    throw new MissingError("method", `the package's file of ${kind} cannot be loaded (${cause}); ${hint}`, {
      cause,
    });
  }
}
