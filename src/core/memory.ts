import { Frame } from "../../assembly/abi.ts";
import { MemoryError } from "../errors.ts";

const PAGE = 65536;
/** The core's constants lie below; the arena begins here. */
const ARENA_START = 16384;
const MOST_PAGES = 65536;
/** No plan asks for more, so that it has the same size wherever it lies. */
const ALIGNMENT = Frame.Size;
/** A shared memory that may not even grow to so many pages is of no use. */
const LEAST_SHARED = 1024;

interface Region {
  readonly address: number;
  readonly bytes: number;
}

/**
 * The linear memory of one network, laid out by the wrapper: the core allocates nothing. Regions are taken first-fit and
 * given back whole; memory grows when none fits, and a refused growth becomes an error that names the bytes.
 */
export class Arena {
  readonly memory: WebAssembly.Memory;
  #free: Region[] = [];
  #taken = new Map<number, number>();
  #end = ARENA_START;

  constructor(memory: WebAssembly.Memory) {
    this.memory = memory;
  }

  /** Bytes of linear memory in regions that are taken now. */
  get used(): number {
    let sum = 0;
    for (const bytes of this.#taken.values()) sum += bytes;
    return sum;
  }

  /** Bytes of linear memory as a whole, free regions and the core's constants included. */
  get reserved(): number {
    return this.memory.buffer.byteLength;
  }

  /** Where a region larger than every free one would begin. */
  get end(): number {
    const last = this.#free[this.#free.length - 1];
    return last !== undefined && last.address + last.bytes === this.#end ? last.address : this.#end;
  }

  /** A zeroed region of `bytes`. `purpose` is named when memory cannot grow. */
  take(bytes: number, purpose: string): number {
    const size = Math.ceil(Math.max(bytes, 1) / ALIGNMENT) * ALIGNMENT;
    const fit = this.#free.findIndex((region) => region.bytes >= size);
    let address: number;
    // What lies behind was never taken, and is zero.
    const end = this.#end;
    if (fit >= 0) {
      const region = this.#free[fit];
      address = region.address;
      if (region.bytes === size) this.#free.splice(fit, 1);
      else this.#free[fit] = { address: address + size, bytes: region.bytes - size };
    } else {
      // A free region at the very end is grown rather than left behind.
      address = this.end;
      this.#grow(address + size, purpose);
      if (address !== this.#end) this.#free.pop();
      this.#end = address + size;
    }
    this.#taken.set(address, size);
    if (address < end) new Uint8Array(this.memory.buffer, address, Math.min(size, end - address)).fill(0);
    return address;
  }

  /** Gives a region back. */
  release(address: number): void {
    const bytes = this.#taken.get(address);
    if (bytes === undefined) return;
    this.#taken.delete(address);
    this.#free.push({ address, bytes });
    this.#free.sort((a, b) => a.address - b.address);
    const merged: Region[] = [];
    for (const region of this.#free) {
      const before = merged[merged.length - 1];
      if (before !== undefined && before.address + before.bytes === region.address) {
        merged[merged.length - 1] = { address: before.address, bytes: before.bytes + region.bytes };
      } else merged.push(region);
    }
    this.#free = merged;
  }

  #grow(end: number, purpose: string): void {
    const have = this.memory.buffer.byteLength;
    if (end <= have) return;
    const pages = Math.ceil((end - have) / PAGE);
    const refuse = (cause?: unknown): never => {
      throw new MemoryError(
        end,
        `memory for ${purpose}: ${end} bytes of linear memory needed, ${have} held, and ${
          end > MOST_PAGES * PAGE
            ? "WebAssembly cannot address more than 4294967296"
            : "the engine refused to grow it"
        }; use a smaller batch, fewer time steps or a smaller network`,
        { cause },
      );
    };
    if (end > MOST_PAGES * PAGE) refuse();
    try {
      this.memory.grow(pages);
    } catch (cause) {
      refuse(cause);
    }
  }
}

/** A memory as small as may be; it grows when the arena needs it. One that workers share has its address space reserved. */
export function createMemory(shared = false): WebAssembly.Memory {
  let maximum = MOST_PAGES;
  for (;;) {
    try {
      return new WebAssembly.Memory({ initial: 1, maximum, shared });
    } catch (cause) {
      maximum /= 4;
      if (SPIKEGRAD_TRAINING && shared && maximum >= LEAST_SHARED) continue;
      throw new MemoryError(PAGE, `memory: the engine refused a WebAssembly memory of ${PAGE} bytes`, {
        cause,
      });
    }
  }
}
