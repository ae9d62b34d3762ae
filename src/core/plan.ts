import { Op, View } from "../../assembly/abi.ts";

/** An f32 operand among integers. */
export interface Float {
  readonly f32: number;
}

/** A field of a record: an integer or address, or a float. */
export type Field = number | Float;

/** How far an address moves with rank, block, sample and step (bytes). */
export interface Strides {
  readonly rank?: number;
  readonly block?: number;
  readonly sample?: number;
  readonly step?: number;
}

const bits = new Float32Array(1);
const bitWords = new Uint32Array(bits.buffer);

function word(field: Field): number {
  if (typeof field === "number") return field >>> 0;
  bits[0] = field.f32;
  return bitWords[0];
}

/** What a finished plan needs to run. */
export interface Program {
  readonly address: number;
  readonly words: number;
}

/**
 * Lays out one region of linear memory and writes a program into it. Addresses are handed out first, bytes are written
 * when the region exists: a plan tells its size, and the same plan at another address has it too.
 */
export class Plan {
  readonly base: number;
  readonly ranks: number;
  /** Set by programs that all ranks go through together, meeting at barriers. */
  together = false;
  #at: number;
  #writes: { address: number; words: Uint32Array }[] = [];
  #views = new Map<string, number>();
  #program: number[] = [];
  #shared: { readonly fields: number[]; bytes: number } = { fields: [], bytes: 0 };

  constructor(base: number, ranks: number) {
    this.base = base;
    this.#at = base;
    this.ranks = ranks;
  }

  /** Bytes laid out so far. */
  get bytes(): number {
    return this.#at - this.base;
  }

  /** `bytes` of memory, zero at first. */
  take(bytes: number, alignment = 16): number {
    const address = Math.ceil(this.#at / alignment) * alignment;
    this.#at = address + Math.ceil(bytes / 16) * 16;
    return address;
  }

  /** Memory of each rank's own, and the view on it. */
  perRank(bytes: number, strides: Strides = {}): number {
    const size = Math.ceil(bytes / 64) * 64;
    return this.view(this.take(size * this.ranks, 64), { ...strides, rank: size });
  }

  /** Writes into the word at `field` the view of scratch of at least `bytes`: a rank's own, shared by all who ask. */
  shareScratch(field: number, bytes: number): void {
    this.#shared.fields.push(field);
    this.#shared.bytes = Math.max(this.#shared.bytes, bytes);
  }

  /** A record of `size` bytes with `fields` at their byte offsets, 0 elsewhere. */
  record(size: number, fields: Readonly<Partial<Record<number, Field>>>): number {
    const address = this.take(size, 4);
    const words = new Uint32Array(size / 4);
    for (const [offset, field = 0] of Object.entries(fields)) words[Number(offset) / 4] = word(field);
    this.#writes.push({ address, words });
    return address;
  }

  /** A table of 32-bit words. */
  table(words: Uint32Array): number {
    const address = this.take(words.byteLength);
    this.#writes.push({ address, words });
    return address;
  }

  /** A view; equal ones are shared. */
  view(base: number, strides: Strides = {}): number {
    const { rank = 0, block = 0, sample = 0, step = 0 } = strides;
    const key = `${base},${rank},${block},${sample},${step}`;
    let address = this.#views.get(key);
    if (address === undefined) {
      address = this.take(View.Size, 4);
      this.#writes.push({ address, words: Uint32Array.of(base, rank, block, sample, step) });
      this.#views.set(key, address);
    }
    return address;
  }

  /** The view `offset` bytes further on. */
  shift(view: number, offset: number): number {
    if (offset === 0) return view;
    for (const [key, address] of this.#views) {
      if (address !== view) continue;
      const [base, rank, block, sample, step] = key.split(",").map(Number);
      return this.view(base + offset, { rank, block, sample, step });
    }
    throw new Error(`no view at ${view}`);
  }

  /** Words to be written at an address taken before. */
  preset(address: number, words: readonly number[]): void {
    this.#writes.push({ address, words: Uint32Array.from(words) });
  }

  /** Appends an instruction. */
  emit(op: Op, ...operands: Field[]): void {
    this.#program.push(op, operands.length + 2, ...operands.map(word));
  }

  /** Appends a barrier: what stands before is done by all ranks, and seen by all, before anyone goes on. */
  barrier(): void {
    if (this.ranks > 1) this.emit(Op.Barrier);
  }

  /** Appends a loop around what `body` emits. */
  loop(op: Op, operands: readonly number[], body: () => void): void {
    const at = this.#program.length;
    this.emit(op, 0, ...operands);
    const start = this.#program.length;
    body();
    this.#program[at + 2] = this.#program.length - start;
  }

  /** Places the program behind the rest. */
  finish(): Program {
    const { fields, bytes } = this.#shared;
    const scratch = fields.length > 0 ? this.perRank(bytes) : 0;
    for (const field of fields) this.preset(field, [scratch]);
    const words = Uint32Array.from(this.#program);
    return { address: this.table(words), words: words.length };
  }

  /** Writes records, tables and program. */
  write(buffer: ArrayBufferLike): void {
    for (const { address, words } of this.#writes) new Uint32Array(buffer, address, words.length).set(words);
  }
}
