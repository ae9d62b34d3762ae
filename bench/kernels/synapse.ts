// One synapse laid out in memory as the library lays it out, with activity, weights and currents of its own.
import {
  Activity,
  ActivityKind,
  EVENT_SCRATCH,
  Fanout,
  Frame,
  MATRIX_SCRATCH,
  Window,
} from "../../assembly/abi.ts";
import type { FanoutGeometry, Layout } from "../../src/core/geometry.ts";
import { Plan } from "../../src/core/plan.ts";

export interface Source {
  readonly layout: Layout;
  readonly steps: number;
  /** Values, or spikes as bits; `amplitude`: spikes that count by a factor of their own. */
  readonly kind: "bits" | "values" | "amplitude";
}

/** Records and places of one synapse in `memory`. */
export class Synapse {
  readonly fanout: number;
  /** The same without what dense activity needs: events alone. */
  readonly events: number;
  readonly frame: number;
  readonly window: number;
  readonly data: number;
  readonly amplitude: number;
  readonly source: Source;
  readonly geometry: FanoutGeometry;
  readonly memory: WebAssembly.Memory;
  readonly #weights: number;
  readonly #gradient: number;
  readonly #target: number;
  readonly #delivered: number;

  /** `base`: where its memory begins, a multiple of 64. */
  constructor(memory: WebAssembly.Memory, source: Source, geometry: FanoutGeometry, base = 65536) {
    this.memory = memory;
    this.source = source;
    this.geometry = geometry;
    const { layout, steps, kind } = source;
    const plan = new Plan(base, 1);
    this.frame = plan.take(Frame.Size);
    plan.preset(this.frame + Frame.Ranks, [1, plan.take(EVENT_SCRATCH, 64)]);
    const step = kind === "values" ? layout.length * 4 : layout.bitBytes;
    this.data = plan.take(step * steps, 64);
    this.amplitude = kind === "amplitude" ? plan.take(layout.length * 4, 64) : 0;
    const activity = plan.record(Activity.Size, {
      [Activity.Kind]: kind === "values" ? ActivityKind.Values : ActivityKind.Bits,
      [Activity.Rows]: layout.rows,
      [Activity.RowLength]: layout.rowLength,
      [Activity.RowWords]: layout.rowWords,
      [Activity.Data]: plan.view(this.data, { step }),
      [Activity.Amplitude]: this.amplitude ? plan.view(this.amplitude) : 0,
    });
    this.#weights = plan.take(geometry.weightLength * 4, 64);
    this.#gradient = plan.take(geometry.weightLength * 4, 64);
    this.#target = plan.take(geometry.target.bytes * steps, 64);
    this.#delivered = plan.take(layout.length * 4 * steps, 64);
    this.window = geometry.window
      ? plan.record(Window.Size, {
          ...geometry.window.fields,
          [Window.Places]: plan.table(geometry.window.places),
        })
      : 0;
    const record = (window: number) =>
      plan.record(Fanout.Size, {
        [Fanout.Activity]: activity,
        [Fanout.Columns]: plan.table(geometry.columns),
        [Fanout.RowTable]: plan.table(geometry.rows),
        [Fanout.Weight]: plan.view(this.#weights),
        [Fanout.Gradient]: plan.view(this.#gradient),
        [Fanout.Target]: plan.view(this.#target, { step: geometry.target.bytes }),
        [Fanout.TargetStride]: geometry.target.stride,
        [Fanout.WeightStride]: geometry.weightStride,
        [Fanout.Delivered]: plan.view(this.#delivered, { step: layout.length * 4 }),
        [Fanout.Window]: window,
      });
    this.fanout = record(this.window);
    this.events = record(0);
    plan.shareScratch(this.fanout + Fanout.Scratch, geometry.scratch ?? MATRIX_SCRATCH);
    plan.finish();
    const pages = Math.ceil((plan.base + plan.bytes) / 65536) - memory.buffer.byteLength / 65536;
    if (pages > 0) memory.grow(pages);
    plan.write(memory.buffer);
  }

  /** Which step the kernels see. */
  set step(step: number) {
    new Uint32Array(this.memory.buffer)[(this.frame + Frame.Step) / 4] = step;
  }

  get weights(): Float32Array {
    return new Float32Array(this.memory.buffer, this.#weights, this.geometry.weightLength);
  }

  get gradient(): Float32Array {
    return new Float32Array(this.memory.buffer, this.#gradient, this.geometry.weightLength);
  }

  /** Currents (or deltas) of every step, borders included. */
  get target(): Float32Array {
    return new Float32Array(
      this.memory.buffer,
      this.#target,
      (this.geometry.target.bytes / 4) * this.source.steps,
    );
  }

  get delivered(): Float32Array {
    return new Float32Array(
      this.memory.buffer,
      this.#delivered,
      this.source.layout.length * this.source.steps,
    );
  }

  /** Draws activity with each real input active with probability `density`; returns how many are. */
  fill(density: number, random: () => number): number {
    const { layout, steps, kind } = this.source;
    const { rows, rowLength, rowWords, channels, extent } = layout;
    const words = new Uint32Array(
      this.memory.buffer,
      this.data,
      kind === "values" ? 0 : (layout.bitBytes / 4) * steps,
    );
    const values = new Float32Array(
      this.memory.buffer,
      this.data,
      kind === "values" ? layout.length * steps : 0,
    );
    words.fill(0);
    values.fill(0);
    let active = 0;
    for (let t = 0; t < steps; t++) {
      for (let y = 0; y < rows; y++) {
        for (let x = 0; x < rowLength; x++) {
          if (x % channels >= extent.channels || random() >= density) continue;
          active++;
          if (kind === "values") values[(t * rows + y) * rowLength + x] = random() - 0.3;
          else words[(t * rows + y) * rowWords + (x >> 5)] |= 1 << (x & 31);
        }
      }
    }
    return active;
  }
}
