import { Clip, Frame, Hyper, Op, Update } from "../assembly/abi.ts";
import type { Engine, Lowered } from "./core/engine.ts";
import type { Plan, Program } from "./core/plan.ts";
import { ArgumentError, NonFiniteError, StateError } from "./errors.ts";
import type { GradientParts, Learner } from "./methods/method.ts";
import type { OptimizerDescriptor } from "./optimizers.ts";
import type { Tensor } from "./tensor.ts";
import { findNonFinite } from "./validate.ts";

/** How the core takes an optimizer's steps. */
interface Form {
  readonly op: Op;
  /** Names of the state tensors beside each parameter, at most two. */
  readonly tensors: readonly string[];
  /** f64 from Hyper.Decay on: weight decay, first and second coefficient, epsilon. */
  readonly hyper: readonly [number, number, number, number];
  readonly decoupled?: boolean;
  /** Most that rate · weight decay may be before weights grow with every step, those too that no gradient reaches. */
  readonly stable?: number;
}

const FORMS: { readonly [K in OptimizerDescriptor["kind"]]: (d: OptimizerDescriptor & { kind: K }) => Form } =
  {
    sgd: ({ momentum, weightDecay }) => ({
      op: Op.Sgd,
      tensors: momentum > 0 ? ["velocity"] : [],
      hyper: [weightDecay, momentum, 0, 0],
      stable: 2 * (1 + momentum),
    }),
    adam: ({ betas, epsilon, weightDecay }) => ({
      op: Op.Adam,
      tensors: ["mean", "square"],
      hyper: [weightDecay, ...betas, epsilon],
    }),
    adamw: ({ betas, epsilon, weightDecay }) => ({
      op: Op.Adam,
      tensors: ["mean", "square"],
      hyper: [weightDecay, ...betas, epsilon],
      decoupled: true,
      stable: 2,
    }),
    adamax: ({ betas, epsilon, weightDecay }) => ({
      op: Op.Adamax,
      tensors: ["mean", "largest"],
      hyper: [weightDecay, ...betas, epsilon],
    }),
  };

/** Tensors of state that an optimizer keeps beside each parameter. */
export function stateTensors(descriptor: OptimizerDescriptor): number {
  return FORMS[descriptor.kind](descriptor as never).tensors.length;
}

/** Bounds on gradients before a step. */
export interface ClipBounds {
  /** Largest magnitude of each element: what is past ±value becomes ±value; greater than 0. */
  readonly value?: number;
  /** Largest Euclidean norm of all together: past it all are scaled down by one factor; greater than 0. */
  readonly norm?: number;
}

/** What an optimizer's steps differ in beside the descriptor. */
export interface StepOptions {
  /** A multiplier of the rate for each parameter, 0 for those left alone; all 1 if left out. */
  readonly scales?: readonly number[];
  readonly clip?: ClipBounds | null;
}

/** Where the state's tensors begin behind its settings; bytes of one are a multiple of 64. */
const STATE_OFFSET = Math.ceil(Hyper.Size / 64) * 64;

/** Gradients and steps past these are no training any more, and would take squares and weights out of the range of f32. */
const LARGEST_GRADIENT = 1e18;
const LARGEST_STEP = 1e20;

/** Names of the tensors that an optimizer keeps beside each parameter. */
export function stateNames(descriptor: OptimizerDescriptor): readonly string[] {
  return FORMS[descriptor.kind](descriptor as never).tensors;
}

/** The state of an optimizer in the core's memory, and the program that takes its steps. */
export class OptimizerState implements Learner {
  readonly descriptor: OptimizerDescriptor;
  readonly #engine: Engine;
  readonly #form: Form;
  /** What each parameter's rate is multiplied by; 0 leaves it alone. */
  readonly #scales: readonly number[];
  readonly frozen: (i: number) => boolean;
  readonly #clip: ClipBounds;
  readonly #tensors: readonly number[];
  readonly #hyper: number;
  #disposed = false;
  /** Ends a step that threads are taking: waits for them, and tells who has asked for it. */
  #settle: (() => void) | undefined;
  #programs: { check: Placed; step: Placed; gradients: number } | undefined;

  constructor(engine: Engine, descriptor: OptimizerDescriptor, { scales, clip }: StepOptions = {}) {
    this.#engine = engine;
    this.descriptor = descriptor;
    this.#form = FORMS[descriptor.kind](descriptor as never);
    this.#scales = engine.model.parameters.map((spec, i) => (spec.trainable ? (scales?.[i] ?? 1) : 0));
    this.frozen = (i) => scales?.[i] === 0;
    this.#clip = clip ?? {};
    // Taken at once: what is refused leaves nothing behind.
    this.#hyper = engine.takeMemory(
      STATE_OFFSET + this.#form.tensors.length * engine.gradientBytes,
      "the optimizer's state",
    );
    this.#tensors = this.#form.tensors.map((_, i) => this.#hyper + STATE_OFFSET + i * engine.gradientBytes);
    this.rate = descriptor.rate;
    engine.f64(this.#hyper + Hyper.Decay, 4).set(this.#form.hyper);
    engine.u32(this.#hyper + Hyper.Decoupled, 1)[0] = this.#form.decoupled ? 1 : 0;
    this.taken = 0;
  }

  /** Whether gradients are clipped. */
  get clips(): boolean {
    return (this.#clip.value ?? this.#clip.norm) !== undefined;
  }

  /** Learning rate of the next step. */
  get rate(): number {
    return this.#engine.f64(this.#hyper + Hyper.Rate, 1)[0];
  }

  set rate(rate: number) {
    this.#engine.f64(this.#hyper + Hyper.Rate, 1)[0] = rate;
  }

  /** Steps taken; the core counts them. */
  get taken(): number {
    return this.#engine.u32(this.#hyper + Hyper.Taken, 1)[0];
  }

  set taken(steps: number) {
    const [, first, second] = this.#form.hyper;
    const powers = [1, 1];
    // The same products, one after the other, as the core forms.
    for (let k = 0; k < steps && (powers[0] > 0 || powers[1] > 0); k++) {
      powers[0] *= first;
      powers[1] *= second;
    }
    this.#engine.f64(this.#hyper + Hyper.FirstPower, 2).set(powers);
    this.#engine.u32(this.#hyper + Hyper.Taken, 1)[0] = steps;
  }

  /** Named tensors of the state, in the core's layout. */
  tensors(): Map<string, Float32Array> {
    const { parameterLength } = this.#engine;
    return new Map(
      this.#form.tensors.map((name, i) => [name, this.#engine.f32(this.#tensors[i], parameterLength)]),
    );
  }

  /** Everything that a step changes beside the parameters. */
  regions(): Float32Array[] {
    return [...this.tensors().values(), this.#engine.f32(this.#hyper, Hyper.Size / 4)];
  }

  get fused(): boolean {
    return !this.clips && this.#form.op === Op.Adamax;
  }

  /** One step of a program that learns while it runs, clipping included. */
  emit(plan: Plan, gradients: () => void, parts: GradientParts): void {
    const { clips, fused } = this;
    this.emitAdvance(plan);
    plan.barrier();
    gradients();
    if (!fused) for (const emit of parts.values()) emit(0);
    if (!fused || this.#scales.some((scale, i) => scale && !parts.has(i))) plan.barrier();
    if (clips) {
      this.#emitCheck(plan);
      plan.barrier();
    }
    this.#emitUpdates(plan, fused ? parts : undefined);
  }

  emitAdvance(plan: Plan): void {
    plan.emit(Op.Advance, this.#hyper);
  }

  /** Emits the check and clipping of the gradients; gives the clip record's address. */
  #emitCheck(plan: Plan): number {
    const bounds = Float32Array.of(this.#clip.value ?? 0, this.#clip.norm ?? 0);
    const record = plan.take(Clip.Size);
    plan.preset(record, [...this.gradientTable(plan, []), ...new Uint32Array(bounds.buffer)]);
    plan.emit(Op.Clip, record);
    return record;
  }

  /** Address and length of a table of the gradients of all that is learned, and of `more` parameters. */
  gradientTable(plan: Plan, more: readonly number[]): [number, number] {
    const engine = this.#engine;
    const tensors = engine.model.parameters.flatMap((spec, i) =>
      this.#scales[i] === 0 && !more.includes(i) ? [] : [engine.gradientAddress(i), spec.length],
    );
    return [plan.table(Uint32Array.from(tensors)), tensors.length / 2];
  }

  /** What ranks do after a batch of `lowered`, without waking again: see `Crew.end`. */
  afterBatch(lowered: Lowered): Program | undefined {
    return this.#engine.crew?.end(this.#engine, this, lowered);
  }

  emitStep(plan: Plan): void {
    this.emitAdvance(plan);
    plan.barrier();
    this.#emitUpdates(plan);
  }

  #emitUpdates(plan: Plan, parts?: GradientParts): void {
    for (const i of this.#scales.keys()) this.emitUpdate(plan, i, parts?.get(i));
  }

  emitUpdate(plan: Plan, i: number, part?: (mode: number) => void): void {
    const engine = this.#engine;
    const scale = this.#scales[i];
    if (scale === 0) return;
    const [first = 0, second = 0] = this.#tensors.map((address) => address + engine.offset(i));
    const record = plan.record(Update.Size, {
      [Update.Count]: engine.model.parameters[i].length,
      [Update.Weight]: engine.parameterAddress(i),
      [Update.Gradient]: engine.gradientAddress(i),
      [Update.First]: first,
      [Update.Second]: second,
      [Update.Hyper]: this.#hyper,
      [Update.Scale]: { f32: scale },
    });
    if (part) part(record);
    else plan.emit(this.#form.op, record);
  }

  /**
   * One step with the gradients in the engine's first block; `where` begins the message of the error.
   *
   * @throws NonFiniteError, before anything is changed, if one of them is NaN or infinite, or the step would be so large
   */
  step(where: string): void {
    const { check, step } = this.#placed();
    this.#engine.runProgram(check.program, check.result.frames);
    this.#refuse(where, check);
    this.#engine.runProgram(step.program, step.result.frames);
  }

  /**
   * Waits for threads that take a step, or leave it: `work` says which. `done` is called once, as soon as it is taken; who has a turn
   * meanwhile calls `settle` before looking at parameters.
   */
  async follow(work: Promise<boolean | undefined>, done: () => void): Promise<boolean | undefined> {
    let taken = false;
    const finish = () => {
      if (!taken) done();
      taken = true;
    };
    this.#settle = () => {
      if (this.#engine.crew?.wait()) finish();
    };
    try {
      const committed = await work;
      if (committed) finish();
      return committed;
    } finally {
      this.#settle = undefined;
    }
  }

  /**
   * Waits on the spot for threads in the midst of a step: afterwards parameters and state are those of one moment, until the event
   * loop turns.
   *
   * @throws StateError if they do not come to its end
   */
  settle(): void {
    this.#settle?.();
  }

  #placed(): { check: Placed; step: Placed } {
    const engine = this.#engine;
    if (this.#disposed) throw new StateError("the optimizer was disposed");
    if (this.#programs?.gradients !== engine.gradients) {
      this.#release();
      const place = (emit: (plan: Plan) => number) =>
        engine.placeProgram("the optimizer", (plan) => ({
          frames: plan.take(Frame.Size * plan.ranks, Frame.Size),
          record: emit(plan),
        }));
      const check = place((plan) => this.#emitCheck(plan));
      const step = place((plan) => {
        this.emitStep(plan);
        return 0;
      });
      this.#programs = { check, step, gradients: engine.gradients };
    }
    return this.#programs;
  }

  #refuse(where: string, check: Placed): void {
    const [squares] = this.#engine.f64(check.result.record + Clip.Squares, 1);
    const fault = this.fault(squares);
    if (fault === undefined) return;
    throw new NonFiniteError(
      `${where}${this.#steepest()}: ${fault}; the parameters are those before this step`,
      {
        value: Math.sqrt(squares),
      },
    );
  }

  /** Why gradients with this sum of squares must not be stepped along, if so. */
  fault(squares: number): string | undefined {
    if (!Number.isFinite(squares)) return "a gradient is NaN or infinite";
    const { value = Number.POSITIVE_INFINITY, norm = Number.POSITIVE_INFINITY } = this.#clip;
    const reach = Math.min(Math.sqrt(squares), norm, value * Math.sqrt(this.#engine.parameterLength));
    if (reach > LARGEST_GRADIENT) return `the norm of the gradients is ${reach}`;
    const rate = this.rate * Math.max(...this.#scales);
    if (rate * Math.max(reach, 1) > LARGEST_STEP)
      return `rate ${rate} makes a step past all bounds of gradients with norm ${reach}`;
    const [decay] = this.#form.hyper;
    if (rate * decay > (this.#form.stable ?? Number.POSITIVE_INFINITY))
      return `rate ${rate} and weight decay ${decay} make weights grow without bound`;
    return undefined;
  }

  /** Where the largest gradient is, NaN being larger than all. */
  #steepest(): string {
    let [most, found] = [-1, ""];
    this.#engine.model.parameters.forEach(({ name }, i) => {
      if (this.#scales[i] === 0) return;
      for (const g of this.#engine.gradient(i)) {
        const size = Number.isNaN(g) ? Number.POSITIVE_INFINITY : Math.abs(g);
        if (size > most) [most, found] = [size, name];
      }
    });
    return found === "" ? "" : `, largest gradient in ${found}`;
  }

  #release(): void {
    if (this.#programs) {
      this.#engine.releaseMemory(this.#programs.check.address);
      this.#engine.releaseMemory(this.#programs.step.address);
    }
    this.#engine.crew?.release(this.#engine, this);
    this.#programs = undefined;
  }

  /** Gives the memory back, once. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#release();
    this.#engine.releaseMemory(this.#hyper);
  }
}

interface Placed {
  readonly program: Program;
  readonly address: number;
  readonly result: { readonly frames: number; readonly record: number };
}

/** An optimizer for a training loop of the user's own; from `network.optimizer()`. */
export interface Optimizer {
  /** Learning rate of the next step; may be changed between steps. */
  rate: number;
  /**
   * Takes one step with the gradients of all trainable parameters, as `network.gradients()` gives them.
   *
   * @param gradients by name, each of its parameter's length
   * @throws ArgumentError if a gradient is missing, of the wrong size or not finite
   * @throws StateError while the network computes, or if one of them was disposed
   * @throws NonFiniteError for gradients or rates so large that parameters would leave the range of 32 bits
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
    if (!spec.trainable) return undefined;
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
    const bad = findNonFinite(array);
    if (bad >= 0) throw new ArgumentError(`gradients["${spec.name}"][${bad}]`, array[bad], "a finite number");
    return array;
  });
  arrays.forEach((array, i) => {
    if (array) engine.arrange(i, array, engine.gradient(i));
  });
}
