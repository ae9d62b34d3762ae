import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { gunzipAll } from "../../src/data/gzip.ts";
import {
  eventDataset,
  eventFrames,
  nmnist as nmnistFromBytes,
  parseNmnist,
  parseTar,
  validateDataset,
} from "../../src/data/index.ts";
import { nmnist } from "../../src/data/node.ts";
import { ArgumentError, FormatError, MissingError } from "../../src/errors.ts";

type Event = readonly [x: number, y: number, polarity: number, time: number];

/** An N-MNIST file of these events. */
function recording(...events: Event[]): Uint8Array {
  return Uint8Array.from(
    events.flatMap(([x, y, p, t]) => [x, y, (p << 7) | (t >> 16), (t >> 8) & 255, t & 255]),
  );
}

interface TarEntry {
  readonly name: string;
  readonly contents?: Uint8Array;
  readonly type?: string;
  readonly prefix?: string;
}

/** A POSIX archive. */
function tar(entries: readonly TarEntry[], { end = true } = {}): Uint8Array {
  const blocks: Uint8Array[] = [];
  for (const { name, contents = new Uint8Array(0), type = "0", prefix = "" } of entries) {
    const header = Buffer.alloc(512);
    header.write(name, 0);
    header.write("0000644\0", 100);
    header.write(`${contents.length.toString(8).padStart(11, "0")}\0`, 124);
    header.write("        ", 148);
    header.write(type, 156);
    header.write("ustar\x0000", 257);
    header.write(prefix, 345);
    const sum = header.reduce((a, b) => a + b);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
    blocks.push(header, contents, new Uint8Array((512 - (contents.length % 512)) % 512));
  }
  return new Uint8Array(Buffer.concat([...blocks, new Uint8Array(end ? 1024 : 0)]));
}

const text = (value: string) => new TextEncoder().encode(value);

describe("parseNmnist", () => {
  test("takes bits apart", () => {
    const found = parseNmnist(recording([0, 33, 1, 0], [33, 0, 0, 0x7fffff]));
    expect(found).toEqual({
      width: 34,
      height: 34,
      x: Uint16Array.of(0, 33),
      y: Uint16Array.of(33, 0),
      polarity: Uint8Array.of(1, 0),
      time: Uint32Array.of(0, 0x7fffff),
    });
  });

  test("adds 8192 µs at each overflow", () => {
    const { time, x } = parseNmnist(recording([1, 1, 0, 8000], [0, 240, 0, 0], [2, 2, 0, 10]));
    expect([[...time], [...x]]).toEqual([
      [8000, 8202],
      [1, 2],
    ]);
  });

  test("takes no events for a recording", () => {
    expect(parseNmnist(new Uint8Array(0)).time.length).toBe(0);
  });

  test.each<[string, Uint8Array, RegExp]>([
    ["an event cut off", recording([1, 1, 0, 1]).subarray(0, 4), /N-MNIST file: found "4 bytes"/],
    ["an event outside", recording([34, 1, 0, 1]), /event 0: found \[34,1\]; expected x < 34, y < 34/],
    [
      "time that steps back",
      recording([1, 1, 0, 9], [1, 1, 0, 8]),
      /event 1: time: found 8; expected at least 9/,
    ],
  ])("refuses %s", (_, bytes, pattern) => {
    expect(() => parseNmnist(bytes)).toThrow(FormatError);
    expect(() => parseNmnist(bytes)).toThrow(pattern);
  });

  test("refuses arguments", () => {
    expect(() => parseNmnist("1.bin" as never)).toThrow(ArgumentError);
    expect(() => parseNmnist(new Uint8Array(0), { width: 257 })).toThrow(ArgumentError);
    expect(() => parseNmnist(new Uint8Array(0), { height: 241 })).toThrow(ArgumentError);
  });
});

describe("eventFrames", () => {
  const events = parseNmnist(
    recording([0, 0, 1, 100], [1, 0, 0, 100], [0, 0, 1, 119], [0, 1, 1, 150], [1, 1, 0, 199]),
    { width: 2, height: 2 },
  );
  /** Channels of a step, OFF then ON, rows one after another. */
  const steps = (data: ArrayLike<number>) =>
    Array.from({ length: data.length / 8 }, (_, t) =>
      Array.from(data)
        .slice(t * 8, t * 8 + 8)
        .join(""),
    );

  test("frames of equal length", () => {
    const { data, shape } = eventFrames(events, { steps: 5, values: "count" });
    expect(shape).toEqual([5, 2, 2, 2]);
    expect(steps(data)).toEqual(["01002000", "00000000", "00000010", "00000000", "00010000"]);
  });

  test("frames of equally many events", () => {
    const { data } = eventFrames(events, { steps: 2, by: "count", values: "count" });
    expect(steps(data)).toEqual(["01002000", "00010010"]);
  });

  test("binary frames stand for 0 and 1", () => {
    const { data } = eventFrames(events, { steps: 1 });
    expect(data).toEqual(Uint8Array.of(0, 255, 0, 255, 255, 0, 255, 0));
  });

  test("a duration leaves out what comes later", () => {
    const { data } = eventFrames(events, { steps: 2, duration: 40, values: "count" });
    expect(steps(data)).toEqual(["01002000", "00000000"]);
  });

  test("a smaller size puts pixels together", () => {
    const { data, shape } = eventFrames(events, { steps: 1, size: [1, 1], values: "count" });
    expect([shape, [...data]]).toEqual([
      [1, 2, 1, 1],
      [2, 3],
    ]);
  });

  test("no events give empty frames", () => {
    expect(eventFrames(parseNmnist(new Uint8Array(0)), { steps: 2 }).data.some(Boolean)).toBe(false);
  });

  test.each<[string, object]>([
    ["steps", { steps: 0 }],
    ["by", { steps: 1, by: "event" }],
    ["duration", { steps: 1, duration: 0 }],
    ["a duration by count", { steps: 1, duration: 9, by: "count" }],
    ["values", { steps: 1, values: "sum" }],
    ["size", { steps: 1, size: [1] }],
  ])("refuses %s", (_, options) => {
    expect(() => eventFrames(events, options as never)).toThrow(ArgumentError);
  });

  test("refuses recordings that are none", () => {
    expect(() => eventFrames({ ...events, x: new Uint16Array(2) }, { steps: 1 })).toThrow(/of one length/);
    expect(() => eventFrames({ ...events, width: 1 }, { steps: 1 })).toThrow(/event 1.*x < 1/);
    const back = { ...events, time: events.time.slice().reverse() };
    expect(() => eventFrames(back, { steps: 1 })).toThrow(/never step back/);
  });

  test("as a data set", () => {
    const data = eventDataset([events, events], Uint8Array.of(0, 1), 2, { steps: 5 });
    validateDataset(data);
    expect(data.shape).toEqual([5, 2, 2, 2]);
    expect(() => eventDataset([events], Uint8Array.of(0, 1), 2, { steps: 5 })).toThrow(ArgumentError);
    expect(() => eventDataset([events, events], Uint8Array.of(0), 2, { steps: 5 })).toThrow(ArgumentError);
    const other = parseNmnist(new Uint8Array(0));
    expect(() => eventDataset([events, other], Uint8Array.of(0, 1), 2, { steps: 5 })).toThrow(
      /as those before/,
    );
  });
});

describe("parseTar", () => {
  const contents = Uint8Array.from({ length: 700 }, (_, i) => i);

  test("reads files, passes over folders", () => {
    const archive = tar([
      { name: "a/", type: "5" },
      { name: "./a/b", contents },
      { name: "c", type: "\0", prefix: "long/way" },
      { name: "pax", type: "x", contents: text("20 mtime=1.5\n") },
    ]);
    expect([...parseTar(archive)]).toEqual([
      ["a/b", contents],
      ["long/way/c", new Uint8Array(0)],
    ]);
    expect(parseTar(tar([{ name: "a", contents }], { end: false })).size).toBe(1);
  });

  const good = tar([{ name: "a", contents }]);
  test.each<[string, Uint8Array, RegExp]>([
    ["nothing", new Uint8Array(0), /tar header/],
    ["a header cut off", good.subarray(0, 500), /tar header: found "500 bytes"/],
    ["contents cut off", good.subarray(0, 1000), /tar entry a.*truncated/],
    ["a changed header", good.map((byte, i) => (i === 1 ? byte + 1 : byte)), /checksum at byte 0/],
    ["text", text("no archive ".repeat(100)), /checksum/],
    ["a link", tar([{ name: "a", type: "2" }]), /type 2/],
    ["a path that leads out", tar([{ name: "a/../../b" }]), /a path inside the archive/],
    ["a path from the root", tar([{ name: "/etc/passwd" }]), /a path inside the archive/],
    ["a path twice", tar([{ name: "a" }, { name: "a" }]), /a second one/],
    ["a pax path", tar([{ name: "p", type: "x", contents: text("9 path=b\n") }]), /another path or size/],
  ])("refuses %s", (_, bytes, pattern) => {
    expect(() => parseTar(bytes)).toThrow(FormatError);
    expect(() => parseTar(bytes)).toThrow(pattern);
  });

  test("any cut of an archive is refused or read, never a crash", () => {
    for (let end = 0; end < good.length; end += 7) {
      try {
        parseTar(good.subarray(0, end));
      } catch (error) {
        expect(error).toBeInstanceOf(FormatError);
      }
    }
  });
});

describe("nmnist", () => {
  const FILES: Record<string, Uint8Array> = {
    "set/1.bin": recording([0, 0, 1, 0]),
    "set/2.bin": recording([1, 0, 1, 0]),
    "set/60001.bin": recording([2, 0, 1, 0]),
    "set/train2.txt": text("#sample #class\n2\t5\n1\t0\n"),
    "set/test1.txt": text("60001 7 # a seven\r\n"),
  };
  const entries = (files: Record<string, Uint8Array>) =>
    Object.entries(files).map(([name, contents]) => ({ name, contents }));
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "spikegrad-nmnist-"));
    for (const [name, bytes] of Object.entries(FILES)) {
      await mkdir(dirname(join(folder, name)), { recursive: true });
      await writeFile(join(folder, name), bytes);
    }
    await writeFile(join(folder, "set.tar.gz"), gzipSync(tar(entries(FILES))));
  });
  afterAll(() => rm(folder, { recursive: true }));

  test("from bytes, an archive or a folder", async () => {
    const sets = await nmnistFromBytes({ bytes: tar(entries(FILES)), steps: 1 });
    expect(sets.train).toMatchObject({ shape: [1, 2, 34, 34], labels: Uint8Array.of(5, 0), classes: 10 });
    expect(sets.train.inputs.indexOf(255)).toBe(34 * 34 + 1);
    expect(sets.test.labels).toEqual(Uint8Array.of(7));
    validateDataset(sets.test);
    expect(await nmnist({ path: join(folder, "set.tar.gz"), steps: 1 })).toEqual(sets);
    expect(await nmnist({ path: join(folder, "set"), steps: 1 })).toEqual(sets);
    expect(await nmnist({ path: pathToFileURL(join(folder, "set")), steps: 1 })).toEqual(sets);
  });

  test("from folders a class, as in the original set", async () => {
    const files = {
      "Train/5/00002.bin": FILES["set/2.bin"]!,
      "Train/0/00001.bin": FILES["set/1.bin"]!,
      "Test/7/00001.bin": FILES["set/60001.bin"]!,
    };
    const sets = await nmnistFromBytes({ bytes: tar(entries(files)), steps: 1 });
    expect(sets.train.labels).toEqual(Uint8Array.of(0, 5));
    expect(sets.test.labels).toEqual(Uint8Array.of(7));
  });

  test.each<[string, Record<string, Uint8Array>, typeof FormatError | typeof MissingError, RegExp]>([
    ["no list", { "a.bin": FILES["set/1.bin"]! }, MissingError, /neither a list test\*\.txt/],
    ["a recording missing", { ...FILES, "set/test1.txt": text("9 1\n") }, MissingError, /has no set\/9\.bin/],
    [
      "a class that is none",
      { ...FILES, "set/test1.txt": text("1 10\n") },
      FormatError,
      /test1\.txt, line 1/,
    ],
    ["two lists", { ...FILES, "set/test2.txt": text("1 1\n") }, FormatError, /one list test\*\.txt/],
    [
      "a broken recording",
      { ...FILES, "set/60001.bin": text("1234") },
      FormatError,
      /set\/60001\.bin: N-MNIST file/,
    ],
  ])("refuses %s", async (_, files, kind, pattern) => {
    const promise = nmnistFromBytes({ bytes: tar(entries(files)), steps: 1 });
    await expect(promise).rejects.toThrow(pattern);
    await expect(promise).rejects.toBeInstanceOf(kind);
  });

  test("refuses arguments", async () => {
    const bytes = tar(entries(FILES));
    await expect(nmnistFromBytes({ bytes } as never)).rejects.toThrow(/options\.steps/);
    await expect(nmnistFromBytes({ bytes, steps: 1, side: 2 } as never)).rejects.toBeInstanceOf(
      ArgumentError,
    );
    await expect(nmnist({ path: "", steps: 1 })).rejects.toBeInstanceOf(ArgumentError);
    await expect(nmnist({ path: join(folder, "none"), steps: 1 })).rejects.toBeInstanceOf(MissingError);
    const cut = gzipSync(bytes).subarray(0, 60);
    await expect(nmnistFromBytes({ bytes: cut, steps: 1 })).rejects.toBeInstanceOf(FormatError);
  });
});

const path = fileURLToPath(new URL("../../../shared/data/nmnist-small.tar.gz", import.meta.url));
test("the real recordings, counted", async (context) => {
  if (!existsSync(path)) context.skip(`no recordings in ${path}`);
  const files = parseTar(await gunzipAll(await readFile(path), 2 ** 30));
  let events = 0;
  let on = 0;
  let recordings = 0;
  for (const [name, bytes] of files) {
    if (!name.endsWith(".bin")) continue;
    const { time, polarity } = parseNmnist(bytes);
    events += time.length;
    for (const p of polarity) on += p;
    recordings++;
  }
  expect([recordings, events, on]).toEqual([1100, 4_518_827, 2_250_078]);
  const { train, test } = await nmnist({ path, steps: 2 });
  expect([train.labels.length, test.labels.length, train.shape]).toEqual([1000, 100, [2, 2, 34, 34]]);
  expect([...train.labels.subarray(0, 3), ...test.labels.subarray(0, 3)]).toEqual([5, 0, 4, 7, 2, 1]);
});

test("an archive that unpacks to far more than recordings do is refused on the way", async () => {
  const bomb = gzipSync(Buffer.alloc(1 << 26));
  await expect(nmnist({ bytes: new Uint8Array(bomb), steps: 1 })).rejects.toThrow(
    `at most ${64 * bomb.length} decompressed`,
  );
});
