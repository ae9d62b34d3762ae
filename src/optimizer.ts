import { Frame, Op, Sgd } from "../assembly/abi.ts";
import type { Engine } from "./core/engine.ts";
import type { Program } from "./core/plan.ts";
import { ArgumentError } from "./errors.ts";
import type { OptimizerDescriptor } from "./optimizers.ts";
import type { Tensor } from "./tensor.ts";

/** The state of an optimizer in the core's memory, and the program that takes its steps. */
export class OptimizerState {
  readonly descriptor: OptimizerDescriptor;
  /** Steps taken. */
  taken = 0;
  readonly #engine: Engine;
  #velocity = 0;
  #program:
    | { program: Program; address: number; hyper: number; frames: number; gradients: number }
    | undefined;

  constructor(engine: Engine, descriptor: OptimizerDescriptor) {
    this.#engine = engine;
    this.descriptor = descriptor;
    if (descriptor.momentum > 0) this.#velocity = engine.take(engine.gradientBytes, "the optimizer's state");
  }

  /** Named tensors of the state, in the core's layout. */
  tensors(): Map<string, Float32Array> {
    const out = new Map<string, Float32Array>();
    if (this.#velocity) out.set("velocity", this.#engine.f32(this.#velocity, this.#engine.parameterLength));
    return out;
  }

  /** One step with the gradients in the engine's first block, at `rate`. */
  step(rate: number): void {
    const engine = this.#engine;
    if (this.#program?.gradients !== engine.gradients) {
      this.#release();
      const { address, result, program } = engine.place("the optimizer", (plan) => {
        const frames = plan.take(Frame.Size);
        const hyper = plan.take(16);
        engine.model.parameters.forEach((spec, i) => {
          const record = plan.record(Sgd.Size, {
            [Sgd.Count]: spec.length,
            [Sgd.Weight]: engine.parameterAddress(i),
            [Sgd.Gradient]: engine.gradientAddress(i),
            [Sgd.Velocity]: this.#velocity ? this.#velocity + engine.offset(i) : 0,
            [Sgd.Hyper]: hyper,
          });
          plan.emit(Op.Sgd, record);
        });
        return { hyper, frames };
      });
      this.#program = { program, address, ...result, gradients: engine.gradients };
    }
    const { program, hyper, frames } = this.#program;
    engine.f32(hyper, 3).set([rate, this.descriptor.momentum, this.descriptor.weightDecay]);
    engine.runProgram(program, frames);
    this.taken++;
  }

  #release(): void {
    if (this.#program) this.#engine.release(this.#program.address);
    this.#program = undefined;
  }

  dispose(): void {
    this.#release();
    if (this.#velocity) this.#engine.release(this.#velocity);
    this.#velocity = 0;
  }
}

/** An optimizer for a training loop of the user's own; from `network.optimizer()`. */
export interface Optimizer {
  /** Learning rate of the next step; may be changed between steps. */
  rate: number;
  /**
   * Takes one step with the gradients of all parameters, as `network.gradients()` gives them.
   *
   * @throws ArgumentError if a gradient is missing, of the wrong size or not finite
   */
  step(gradients: Readonly<Record<string, Tensor | Float32Array>>): void;
  /** Gives the state's memory back. */
  dispose(): void;
}

/** Copies a user's gradients into the engine's first block, all checked before any is written. */
export function putGradients(
  engine: Engine,
  gradients: Readonly<Record<string, Tensor | Float32Array>>,
): void {
  const arrays = engine.model.parameters.map((spec) => {
    const given = gradients?.[spec.name];
    const array = given instanceof Float32Array ? given : given?.data;
    const count = spec.shape.reduce((a, b) => a * b, 1);
    if (!(array instanceof Float32Array) || array.length !== count) {
      throw new ArgumentError(
        `gradients["${spec.name}"]`,
        array === undefined ? undefined : `${array.length} values`,
        `a tensor or Float32Array of ${count} values [${spec.shape.join(", ")}]`,
      );
    }
    const bad = array.findIndex((x) => !Number.isFinite(x));
    if (bad >= 0) throw new ArgumentError(`gradients["${spec.name}"][${bad}]`, array[bad], "a finite number");
    return array;
  });
  arrays.forEach((array, i) => {
    engine.scatter(i, array, engine.gradient(i));
  });
}
