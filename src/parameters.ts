import { ArgumentError, FormatError } from "./errors.ts";
import type { ParameterSpec } from "./methods/method.ts";
import type { ModelFile } from "./model-file.ts";
import type { Runner } from "./runner.ts";
import type { Tensor } from "./tensor.ts";
import { findNonFinite } from "./validate.ts";

/** Reads and writes a network's parameters by name, in PyTorch's layout. */
export interface Parameters {
  /** Names, input side first: `<layer>.weight`, `<layer>.bias`, … */
  names(): string[];
  /**
   * A copy of a parameter; while the network learns, of one step: the last, or before the batch in work where weights change
   * within it.
   *
   * @param name one of `names()`
   * @returns weights `[out, in, kernel, kernel]` or `[out, in]`, biases `[out]`
   * @throws ArgumentError for a name that is none
   * @throws StateError if the network was disposed
   */
  get(name: string): Tensor;
  /**
   * Replaces a parameter's values.
   *
   * @param name one of `names()`
   * @param values as many as its shape says, last axis fastest; of a tensor the shape is not compared
   * @throws ArgumentError for a name that is none, another length, NaN and infinities
   * @throws StateError while the network computes, or if it was disposed
   */
  set(name: string, values: Float32Array | Tensor): void;
  /**
   * Copies of all, in the order of `names()`, of one step.
   *
   * @throws StateError if the network was disposed
   */
  entries(): [string, Tensor][];
}

/** The parameters of a runner's network. */
export function openParameters(runner: Runner): Parameters {
  const specs = runner.model.parameters;
  const find = (name: string): number => {
    const i = specs.findIndex((spec) => spec.name === name);
    if (i < 0)
      throw new ArgumentError("parameters name", name, `one of ${specs.map((spec) => spec.name).join(", ")}`);
    return i;
  };
  const get = (name: string): Tensor => {
    const i = find(name);
    const { engine } = runner;
    const stored = runner.stored?.() ?? engine.allParameters();
    const data = engine.gather(i, stored.subarray(engine.offset(i) / 4));
    return { shape: specs[i].shape, data };
  };
  return {
    names: () => specs.map((spec) => spec.name),
    get,
    set: (name, values) => {
      const i = find(name);
      const data = values instanceof Float32Array ? values : values?.data;
      const count = product(specs[i].shape);
      if (!(data instanceof Float32Array) || data.length !== count) {
        throw new ArgumentError(
          `parameters["${name}"]`,
          data?.length === undefined ? data : `${data.length} values`,
          `a Float32Array of ${count} values [${specs[i].shape.join(", ")}]`,
        );
      }
      const bad = findNonFinite(data);
      if (bad >= 0) throw new ArgumentError(`parameters["${name}"][${bad}]`, data[bad], "a finite number");
      runner.requireIdle("parameters.set");
      runner.engine.store(i, data);
    },
    entries: () => specs.map((spec) => [spec.name, get(spec.name)]),
  };
}

/** Puts a file's parameters into the network: those that `checkParameters` found to be its. */
export function restoreParameters({ engine, model }: Runner, { parameters }: ModelFile): void {
  model.parameters.forEach(({ name }, i) => {
    engine.store(i, (parameters.get(name) as Tensor).data);
  });
}

/** Refuses a file's parameters unless they are those of the network. */
export function checkParameters(specs: readonly ParameterSpec[], file: ModelFile): void {
  const names = new Set(file.parameters.keys());
  for (const { name, shape } of specs) {
    names.delete(name);
    checkTensor(name, file.parameters.get(name), shape);
  }
  for (const name of names) {
    const known = specs.map((spec) => spec.name).join(", ");
    throw new FormatError(`tensor "${name}"`, "an unknown tensor", `only ${known}`);
  }
}

function product(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

/** The values of a tensor from a file, if it is there, of the right shape and finite. */
export function checkTensor(
  name: string,
  tensor: Tensor | undefined,
  shape: readonly number[],
): Float32Array {
  if (
    tensor === undefined ||
    tensor.shape.length !== shape.length ||
    tensor.shape.some((n, i) => n !== shape[i])
  ) {
    throw new FormatError(
      `tensor "${name}"`,
      tensor && `shape [${tensor.shape.join(", ")}]`,
      `shape [${shape.join(", ")}]`,
    );
  }
  const bad = findNonFinite(tensor.data);
  if (bad >= 0) throw new FormatError(`tensor "${name}"[${bad}]`, tensor.data[bad], "a finite number");
  return tensor.data;
}
