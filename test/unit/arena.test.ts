import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Frame } from "../../assembly/abi.ts";
import { Arena, createMemory } from "../../src/core/memory.ts";
import { MemoryError } from "../../src/errors.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

const START = 16384;
/** Plans ask for no more: where they lie changes nothing of their size. */
const ALIGNMENT = Frame.Size;

describe("the arena", () => {
  it("hands out zeroed regions that never overlap, takes them back, and loses nothing", () => {
    const call = fc.oneof(
      { weight: 3, arbitrary: fc.integer({ min: 0, max: 5000 }).map((bytes) => ({ bytes })) },
      { weight: 2, arbitrary: fc.nat().map((which) => ({ which })) },
    );
    fc.assert(
      fc.property(fc.array(call, { maxLength: 80 }), (calls) => {
        const arena = new Arena(createMemory());
        const taken = new Map<number, number>();
        let most = 0;
        for (const each of calls) {
          if ("bytes" in each) {
            const size = Math.ceil(Math.max(each.bytes, 1) / ALIGNMENT) * ALIGNMENT;
            const address = arena.take(each.bytes, "a test");
            expect(address % ALIGNMENT).toBe(0);
            expect(address).toBeGreaterThanOrEqual(START);
            for (const [other, bytes] of taken)
              expect(address + size <= other || other + bytes <= address).toBe(true);
            const region = new Uint8Array(arena.memory.buffer, address, size);
            expect(region.every((byte) => byte === 0)).toBe(true);
            region.fill(0xaa);
            taken.set(address, size);
          } else if (taken.size > 0) {
            const address = [...taken.keys()][each.which % taken.size];
            arena.release(address);
            taken.delete(address);
          }
          const used = [...taken.values()].reduce((a, b) => a + b, 0);
          expect(arena.used).toBe(used);
          most = Math.max(most, used);
        }
        for (const address of taken.keys()) arena.release(address);
        expect(arena.used).toBe(0);
        // All is one region again: what fitted before fits without growth.
        const grow = vi.spyOn(WebAssembly.Memory.prototype, "grow");
        if (most > 0) expect(arena.take(most, "everything")).toBe(START);
        expect(grow).not.toHaveBeenCalled();
        grow.mockRestore();
      }),
      { numRuns: 200 },
    );
  });

  it("grows a free region at the end instead of leaving it behind", () => {
    const arena = new Arena(createMemory());
    const first = arena.take(64, "a");
    const second = arena.take(1000, "b");
    arena.release(second);
    expect(arena.take(100_000, "c")).toBe(second);
    expect(first).toBe(START);
    expect(arena.reserved).toBe(Math.ceil((second + 100_032) / 65536) * 65536);
  });

  it("does nothing for an address that was not taken, or was released", () => {
    const arena = new Arena(createMemory());
    const address = arena.take(ALIGNMENT, "a");
    arena.release(address + ALIGNMENT);
    expect(arena.used).toBe(ALIGNMENT);
    arena.release(address);
    arena.release(address);
    expect(arena.take(ALIGNMENT, "b")).toBe(address);
    expect(arena.take(ALIGNMENT, "c")).toBe(address + ALIGNMENT);
  });

  it("says what it wanted the memory for, and stays as it was, when the engine refuses", () => {
    const arena = new Arena(createMemory());
    const first = arena.take(1000, "a");
    arena.release(arena.take(500, "b"));
    const { used, reserved } = arena;
    vi.spyOn(WebAssembly.Memory.prototype, "grow").mockImplementation(() => {
      throw new RangeError("no");
    });
    const call = () => arena.take(10 ** 6, "the parameters");
    expect(call).toThrow(MemoryError);
    expect(call).toThrow(
      /^memory for the parameters: 1017\d\d\d bytes of linear memory needed, 65536 held, and the engine refused/,
    );
    expect([arena.used, arena.reserved]).toEqual([used, reserved]);
    expect(arena.take(500, "b")).toBe(first + 1024);
    vi.restoreAllMocks();
    expect(arena.take(10 ** 6, "more")).toBeGreaterThan(first);
  });

  it("never asks for what cannot be addressed", () => {
    const arena = new Arena(createMemory());
    const grow = vi.spyOn(WebAssembly.Memory.prototype, "grow");
    expect(() => arena.take(2 ** 32, "a lot")).toThrow(/cannot address more than 4294967296/);
    expect(() => arena.take(2 ** 53, "everything")).toThrow(MemoryError);
    expect(grow).not.toHaveBeenCalled();
  });
});
