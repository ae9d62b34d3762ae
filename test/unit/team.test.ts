// Where ranks meet: whatever their pace, each part of every instruction is taken once, and none gets too far ahead.
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { Frame, Team } from "../../assembly/abi.ts";
import { compile } from "./compile.ts";

const HARNESS = `
export { barrier, endOfStretch, keepUp, nextPart, nextStretch, resetTickets } from "./assembly/team";
`;

interface Exports {
  barrier(frame: number): void;
  keepUp(lag: number, points: number, frame: number): void;
  resetTickets(frame: number): void;
  nextPart(mine: number, count: number, frame: number): number;
  nextStretch(mine: number, bytes: number, frame: number): number;
  endOfStretch(first: number, bytes: number, frame: number): number;
}

const TEAM = 1024;
const FRAMES = 2048;
const RUNS = 300;

let threaded: { exports: Exports; memory: WebAssembly.Memory };
let plain: { exports: Exports; memory: WebAssembly.Memory };

beforeAll(async () => {
  threaded = await compile<Exports>(HARNESS, false, true);
  plain = await compile<Exports>(HARNESS, false);
}, 120_000);

/** Frames of `ranks` ranks of one team. */
function team({ exports, memory }: typeof threaded, ranks: number): number[] {
  new Uint32Array(memory.buffer, TEAM, Team.Size / 4).fill(0);
  return Array.from({ length: ranks }, (_, rank) => {
    const frame = FRAMES + rank * Frame.Size;
    const words = new Uint32Array(memory.buffer, frame, Frame.Size / 4);
    words[Frame.Rank / 4] = rank;
    words[Frame.Ranks / 4] = ranks;
    words[Frame.Team / 4] = TEAM;
    exports.resetTickets(frame);
    return frame;
  });
}

describe("ranks", () => {
  it("take each part of every instruction between two barriers once, in whatever order they come", () => {
    const phases = fc.array(fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 5 }), { maxLength: 3 });
    const paces = fc.infiniteStream(fc.nat());
    fc.assert(
      fc.property(phases, fc.integer({ min: 2, max: 5 }), paces, (counts, ranks, pace) => {
        const { exports, memory } = threaded;
        const frames = team(threaded, ranks);
        for (const instructions of counts) {
          const taken = instructions.map((count) => new Array(count).fill(0));
          const at = frames.map(() => 0);
          for (;;) {
            const busy = frames.map((_, i) => i).filter((i) => at[i] < instructions.length);
            if (busy.length === 0) break;
            const rank = busy[(pace.next().value ?? 0) % busy.length];
            const count = instructions[at[rank]];
            const part = exports.nextPart(0, count, frames[rank]);
            if (part < count) taken[at[rank]][part]++;
            else at[rank]++;
          }
          expect(taken).toEqual(instructions.map((count) => new Array(count).fill(1)));
          // The last who comes to a barrier does not wait; the others would find it passed.
          new Uint32Array(memory.buffer, TEAM, Team.Size / 4)[Team.Arrived / 4] = ranks - 1;
          exports.barrier(frames[0]);
          for (const frame of frames.slice(1)) exports.resetTickets(frame);
        }
      }),
      { numRuns: RUNS },
    );
  });

  it("get as many points ahead of the last as they may lag behind, and no more", () => {
    const { keepUp, barrier } = threaded.exports;
    const [a, b, c] = team(threaded, 3);
    keepUp(2, 1, a);
    keepUp(2, 1, a);
    // Where a rank would sleep, the harness throws.
    expect(() => keepUp(2, 1, a)).toThrow("wait");
    keepUp(0, 0, b);
    keepUp(2, 1, b);
    expect(() => keepUp(2, 0, a)).toThrow("wait");
    keepUp(2, 1, c);
    keepUp(2, 0, a);
    // Points count from the barrier.
    new Uint32Array(threaded.memory.buffer, TEAM, Team.Size / 4)[Team.Arrived / 4] = 2;
    barrier(b);
    for (const frame of [a, b, c]) keepUp(0, 0, frame);
    expect(() => keepUp(0, 1, c)).toThrow("wait");
  });

  it("take stretches that cover a tensor", () => {
    for (const { build, ranks } of [
      { build: threaded, ranks: 3 },
      { build: threaded, ranks: 1 },
      { build: plain, ranks: 1 },
    ]) {
      for (const bytes of [0, 16, 32768, 32784, 1_000_000]) {
        const { nextStretch, endOfStretch } = build.exports;
        const frames = team(build, ranks);
        let [covered, turns, mine] = [0, 0, 0];
        for (;;) {
          const frame = frames[turns++ % ranks];
          const first = nextStretch(mine, bytes, frame);
          if (first >= bytes) break;
          expect(first).toBe(covered);
          covered = endOfStretch(first, bytes, frame);
          mine = covered;
        }
        expect(covered).toBe(bytes);
        if (ranks === 1) expect(turns).toBe(bytes > 0 ? 2 : 1);
      }
    }
  });
});
