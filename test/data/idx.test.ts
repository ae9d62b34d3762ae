import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseIdx, readIdx } from "../../src/data/index.ts";
import { ArgumentError, FormatError } from "../../src/errors.ts";
import { idxFile, thrown } from "../io/shared.ts";

function refusal(bytes: Uint8Array): string {
  const error = thrown(() => parseIdx(bytes));
  expect(error).toBeInstanceOf(FormatError);
  return (error as FormatError).message;
}

const gzip = (bytes: Uint8Array) => new Uint8Array(gzipSync(bytes));

async function gzipRefusal(bytes: Uint8Array, options?: { maxBytes: number }): Promise<string> {
  const error = await readIdx(bytes, options).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(FormatError);
  return (error as FormatError).message;
}

describe("element types, big endian", () => {
  test.each([
    [0x08, "u8", [1, 255], Uint8Array.of(1, 255)],
    [0x09, "i8", [1, 255], Int8Array.of(1, -1)],
    [0x0b, "i16", [1, 2, 0xff, 0xfe], Int16Array.of(0x0102, -2)],
    [0x0c, "i32", [1, 2, 3, 4, 0xff, 0xff, 0xff, 0xfe], Int32Array.of(0x01020304, -2)],
    [0x0d, "f32", [0x3f, 0xc0, 0, 0, 0x80, 0, 0, 0], Float32Array.of(1.5, -0)],
    [
      0x0e,
      "f64",
      [0x3f, 0xf8, ...Array(6).fill(0), 0xbf, 0xf0, ...Array(6).fill(0)],
      Float64Array.of(1.5, -1),
    ],
  ])("0x%s %s", (code, type, data, expected) => {
    expect(parseIdx(idxFile(code, [2], data))).toEqual({ type, shape: [2], data: expected });
    expect(parseIdx(idxFile(code, [1, 2, 1], data))).toEqual({ type, shape: [1, 2, 1], data: expected });
  });

  test("bits of NaN are kept", () => {
    const { data } = parseIdx(idxFile(0x0d, [1], [0xff, 0x81, 0x23, 0x45]));
    expect(new Uint32Array(data.buffer)[0]).toBe(0xff812345);
    const double = parseIdx(idxFile(0x0e, [1], [0x7f, 0xf0, 0, 0, 0, 0, 0, 1])).data;
    expect(new BigUint64Array(double.buffer)[0]).toBe(0x7ff0000000000001n);
  });

  test("the data are a copy, wherever the bytes lie", () => {
    const bytes = Buffer.concat([Buffer.of(9), idxFile(0x0c, [1], [0, 0, 0, 7])]);
    const { data } = parseIdx(bytes.subarray(1));
    bytes.fill(0);
    expect(data).toEqual(Int32Array.of(7));
  });
});

describe("hostile files", () => {
  test.each<[string, number[], string]>([
    ["empty", [], "a whole header"],
    ["three bytes", [0, 0, 8], "a whole header"],
    ["no axes", [0, 0, 8, 0], "IDX axes: found 0; expected 1 … 255"],
    ["a foreign file", [0x89, 0x50, 0x4e, 0x47], "IDX magic number: found [137,80,78,71]"],
    ["little endian", [1, 8, 0, 0], "IDX magic number"],
    ["type 0x0A", [0, 0, 10, 1, 0, 0, 0, 1, 0], "IDX type: found 10"],
    ["type 0", [0, 0, 0, 1, 0, 0, 0, 1, 0], "IDX type: found 0"],
    ["half a size", [0, 0, 8, 1, 0, 0], "a whole header"],
    ["a missing size", [0, 0, 8, 2, 0, 0, 0, 1], "a whole header"],
    ["a size of 0", [0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 0], "IDX size of axis 1: found 0; expected 1 or more"],
    [
      "truncated data",
      [0, 0, 8, 1, 0, 0, 0, 3, 1, 2],
      'found "10 bytes"; expected 11 bytes for shape [3] of u8',
    ],
    ["bytes after the data", [0, 0, 8, 1, 0, 0, 0, 1, 1, 2], "bytes follow its data"],
    ["four gigabytes", [0, 0, 8, 1, 255, 255, 255, 255, 1], "expected 4294967303 bytes"],
    ["a product past 2^53", [0, 0, 14, 2, ...Array(8).fill(255), 1], "fewer than 2^53 bytes"],
    ["a product past 2^1024", [0, 0, 8, 255, ...Array(1020).fill(255)], "fewer than 2^53 bytes"],
  ])("%s", (_, bytes, expected) => {
    expect(refusal(Uint8Array.from(bytes))).toContain(expected);
  });

  test("no bytes at all", () => {
    for (const bytes of [undefined, [0, 0, 8], new ArrayBuffer(8)]) {
      expect(thrown(() => parseIdx(bytes as never))).toBeInstanceOf(ArgumentError);
    }
  });
});

describe("gzip", () => {
  const plain = idxFile(0x0b, [3], [0, 1, 0, 2, 0, 3]);

  test("plain and compressed files give the same", async () => {
    expect(await readIdx(plain)).toEqual(parseIdx(plain));
    expect(await readIdx(gzip(plain))).toEqual(parseIdx(plain));
    const large = idxFile(0x08, [300_000], new Uint8Array(300_000).fill(7));
    expect(await readIdx(gzip(large))).toEqual(parseIdx(large));
  });

  test("incompressible data cross the borders of the pieces", async () => {
    const noise = Uint8Array.from({ length: 200_001 }, (_, i) => Math.imul(i, 0x9e3779b1) >>> 24);
    const large = idxFile(0x08, [noise.length], noise);
    expect((await readIdx(gzip(large))).data).toEqual(noise);
  });

  test("corrupt and truncated data", async () => {
    const whole = gzip(
      idxFile(
        0x08,
        [5000],
        Uint8Array.from({ length: 5000 }, (_, i) => i * i),
      ),
    );
    for (let length = 2; length < whole.length; length += 37) {
      expect(await gzipRefusal(whole.subarray(0, length))).toContain("gzip file");
    }
    const wrongSum = whole.slice();
    wrongSum[whole.length - 5]! ^= 1;
    expect(await gzipRefusal(wrongSum)).toContain("gzip file");
    expect(await gzipRefusal(Uint8Array.of(0x1f, 0x8b, 9, 9))).toContain("gzip file");
  });

  test("what is inside is no IDX, too short, too long", async () => {
    expect(await gzipRefusal(gzip(Buffer.from("<!doctype html>")))).toContain("IDX magic number");
    expect(await gzipRefusal(gzip(new Uint8Array(0)))).toContain("a whole header");
    expect(await gzipRefusal(gzip(plain.subarray(0, 5)))).toContain("a whole header");
    expect(await gzipRefusal(gzip(plain.subarray(0, 12)))).toContain("it is truncated");
    expect(await gzipRefusal(gzip(Buffer.concat([plain, Buffer.of(0)])))).toContain("more than 14 bytes");
    expect(await gzipRefusal(gzip(gzip(plain)))).toContain("IDX magic number");
  });

  test("a bomb is stopped at the size that its header declares", async () => {
    const bomb = gzip(Buffer.concat([idxFile(0x08, [10], []), Buffer.alloc(1 << 26)]));
    const before = process.memoryUsage().arrayBuffers;
    expect(await gzipRefusal(bomb)).toContain("more than 18 bytes");
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1 << 25);
  });

  test("a size that the file cannot hold is refused before memory is taken for it", async () => {
    const claim = gzip(idxFile(0x08, [1 << 30], [1, 2, 3]));
    expect(await gzipRefusal(claim)).toContain("at most 1032 times");
    expect(await gzipRefusal(gzip(idxFile(0x08, [255, 4_000_000_000], [1])))).toContain(
      "at most 2147483648 bytes",
    );
    expect(await gzipRefusal(gzip(plain), { maxBytes: 13 })).toContain("at most 13 bytes; this is 14");
    expect((await readIdx(gzip(plain), { maxBytes: 14 })).shape).toEqual([3]);
  });

  test("arguments", async () => {
    await expect(readIdx("x" as never)).rejects.toBeInstanceOf(ArgumentError);
    await expect(readIdx(plain, { maxBytes: Number.NaN })).rejects.toBeInstanceOf(ArgumentError);
  });
});

test("any array comes back", () => {
  const sizes: [number, number][] = [
    [0x08, 1],
    [0x09, 1],
    [0x0b, 2],
    [0x0c, 4],
    [0x0d, 4],
    [0x0e, 8],
  ];
  const shapes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(
      fc.constantFrom(...sizes),
      shapes,
      fc.infiniteStream(fc.nat(255)),
      ([code, size], shape, stream) => {
        const length = size * shape.reduce((product, n) => product * n, 1);
        const data = Uint8Array.from(stream.take(length));
        const array = parseIdx(idxFile(code, shape, data));
        expect(array.shape).toEqual(shape);
        const back = new Uint8Array(array.data.buffer);
        // Each element's bytes, turned round again.
        const swapped = back.map((_, i) => back[i - (i % size) + size - 1 - (i % size)]!);
        expect(swapped).toEqual(data);
      },
    ),
  );
});
