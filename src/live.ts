import { Control } from "../assembly/abi.ts";
import { size } from "./core/geometry.ts";
import { isContinuous } from "./encoders.ts";
import { ArgumentError, StateError } from "./errors.ts";
import { checkRange, type Samples } from "./inputs.ts";
import type { Runner } from "./runner.ts";

/** What one `step` of a live network gives. */
export interface LiveStep {
  /** The answer so far, `[classes]`, in the unit of `Prediction.outputs`. */
  readonly outputs: Float32Array;
  /** Spikes of all neurons in this step. */
  readonly spikes: number;
}

/** One time step of a network whose state stays between calls. */
export class Live {
  readonly #runner: Runner;
  #steps = 0;

  constructor(runner: Runner) {
    this.#runner = runner;
  }

  step(input: Float32Array): LiveStep {
    const runner = this.#runner;
    const { description } = runner;
    if (isContinuous(description.encoder)) {
      throw new StateError(
        `${description.method.kind} has continuous time: there are no steps; use predict()`,
      );
    }
    const frame = size(runner.model.input);
    if (!(input instanceof Float32Array) || input.length !== frame) {
      throw new ArgumentError(
        "input",
        input instanceof Float32Array ? `${input.length} values` : input,
        `a Float32Array of ${frame} values [${description.input.join(", ")}]`,
      );
    }
    const samples: Samples = { values: input, length: frame, count: 1 };
    checkRange("input", samples, description.encoder);
    const engine = runner.engine;
    const lowered = engine.lower("step", runner.purpose("step", 1));
    runner.load(lowered, samples, [0], undefined, 0, 0);
    engine.u32(lowered.ports.control, Control.Size / 4)[Control.FirstStep / 4] = this.#steps++;
    engine.run(lowered, 0, 1);
    return { outputs: runner.outputs(lowered, 1), spikes: runner.sumSpikes(lowered, 1) };
  }

  /** Back to rest. */
  reset(): void {
    this.#runner.engine.drop("step");
    this.#steps = 0;
  }
}
