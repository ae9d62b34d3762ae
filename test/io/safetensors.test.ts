import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ArgumentError, FormatError } from "../../src/errors.ts";
import {
  readSafetensors,
  type SafetensorsDtype,
  type SafetensorsInput,
  type SafetensorsTensor,
  toFloat32,
  writeSafetensors,
} from "../../src/io/index.ts";
import { golden, goldenNames, safetensorsFile, thrown } from "./shared.ts";

const ascii = new TextDecoder();

/** The header of a file as text, without its padding, and its data. */
function split(file: Uint8Array): { header: string; padded: number; data: Uint8Array } {
  const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const padded = ascii.decode(file.subarray(8, 8 + length));
  return { header: padded.trimEnd(), padded: length, data: file.subarray(8 + length) };
}

function bytesOf(data: ArrayBufferView): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function refusal(header: string, dataLength = 0): string {
  const error = thrown(() => readSafetensors(safetensorsFile(header, new Uint8Array(dataLength))));
  expect(error).toBeInstanceOf(FormatError);
  return (error as FormatError).message;
}

const u8 = (shape: string, begin: number | string, end: number | string) =>
  `{"dtype":"U8","shape":${shape},"data_offsets":[${begin},${end}]}`;

describe("the layout of the reference implementation", () => {
  test("one tensor", () => {
    const file = writeSafetensors({
      "attn.0": { shape: [1, 2, 3], data: Float32Array.of(0, 1, 2, 3, 4, 5) },
    });
    const { header, padded, data } = split(file);
    expect(header).toBe('{"attn.0":{"dtype":"F32","shape":[1,2,3],"data_offsets":[0,24]}}');
    expect(padded).toBe(64);
    expect([...data.subarray(4, 12)]).toEqual([0, 0, 128, 63, 0, 0, 0, 64]);
  });

  test("the header is padded with spaces to a multiple of 8 bytes", () => {
    const file = writeSafetensors({
      attn0: { shape: [1, 1, 2, 3], data: Float32Array.of(0, 1, 2, 3, 4, 5) },
    });
    const { header, padded } = split(file);
    expect(header.length).toBe(65);
    expect(padded).toBe(72);
    expect([...file.subarray(8 + 65, 8 + 72)]).toEqual(Array(7).fill(0x20));
  });

  test("nothing, and metadata alone", () => {
    expect([...writeSafetensors({})]).toEqual([8, 0, 0, 0, 0, 0, 0, 0, 123, 125, 32, 32, 32, 32, 32, 32]);
    const { header, padded } = split(writeSafetensors({}, { framework: "pt" }));
    expect(header).toBe('{"__metadata__":{"framework":"pt"}}');
    expect(padded).toBe(40);
  });

  test("widest types first, then names by code point; metadata by key", () => {
    const scalar = (data: SafetensorsInput["data"], dtype?: SafetensorsDtype) => ({ dtype, shape: [], data });
    const file = writeSafetensors(
      {
        bool: scalar(Uint8Array.of(1), "BOOL"),
        u8: scalar(Uint8Array.of(1)),
        i8: scalar(Int8Array.of(1)),
        i16: scalar(Int16Array.of(1)),
        u16: scalar(Uint16Array.of(1)),
        f16: scalar(Uint16Array.of(1), "F16"),
        bf16: scalar(Uint16Array.of(1), "BF16"),
        i32: scalar(Int32Array.of(1)),
        u32: scalar(Uint32Array.of(1)),
        "\u{1f600}": scalar(Float32Array.of(1)),
        "\uff5e": scalar(Float32Array.of(1)),
        f32b: scalar(Float32Array.of(1)),
        f32: scalar(Float32Array.of(1)),
        f64: scalar(Float64Array.of(1)),
        i64: scalar(BigInt64Array.of(1n)),
        u64: scalar(BigUint64Array.of(1n)),
      },
      { b: "2", a: "1" },
    );
    expect([...readSafetensors(file).tensors.keys()]).toEqual(
      "u64 i64 f64 f32 f32b \uff5e \u{1f600} u32 i32 bf16 f16 u16 i16 i8 u8 bool".split(" "),
    );
    expect(split(file).header.startsWith('{"__metadata__":{"a":"1","b":"2"},"u64":')).toBe(true);
  });

  test("the order in which tensors are given does not show", () => {
    const a: SafetensorsInput = { shape: [2], data: Float32Array.of(1, 2) };
    const b: SafetensorsInput = { shape: [1], data: Int32Array.of(3) };
    const file = writeSafetensors({ a, b }, { x: "1", y: "2" });
    expect(writeSafetensors(new Map(Object.entries({ b, a })), { y: "2", x: "1" })).toEqual(file);
    expect(writeSafetensors(Object.entries({ b, a }), { y: "2", x: "1" })).toEqual(file);
  });
});

describe.skipIf(goldenNames.length === 0)("golden files", () => {
  test.each(goldenNames)("%s comes back bit for bit", (name) => {
    const bytes = golden(name);
    const { header, data } = split(bytes);
    const expected = JSON.parse(header);
    const { tensors, metadata } = readSafetensors(bytes);
    expect(metadata).toEqual(expected.__metadata__);
    expect(JSON.parse(metadata.case as string)).toHaveProperty("method");
    expect([...tensors.keys()]).toEqual(Object.keys(expected).filter((key) => key !== "__metadata__"));
    for (const [key, tensor] of tensors) {
      const { dtype, shape, data_offsets: range } = expected[key];
      expect([tensor.dtype, tensor.shape]).toEqual([dtype, shape]);
      expect(Buffer.compare(bytesOf(tensor.data), data.subarray(range[0], range[1]))).toBe(0);
    }
    const written = writeSafetensors(tensors, metadata);
    const again = readSafetensors(written);
    expect(again.metadata).toEqual(metadata);
    expect(new Set(again.tensors.keys())).toEqual(new Set(tensors.keys()));
    for (const [key, { dtype, shape, data: values }] of again.tensors) {
      const before = tensors.get(key) as SafetensorsTensor;
      expect([dtype, shape]).toEqual([before.dtype, before.shape]);
      expect(Buffer.compare(bytesOf(values), bytesOf(before.data))).toBe(0);
    }
    expect(Buffer.compare(writeSafetensors(again.tensors, again.metadata), written)).toBe(0);
  });
});

describe("hostile headers", () => {
  test("lengths", () => {
    const at = (length: number) => thrown(() => readSafetensors(new Uint8Array(length)));
    expect(at(0)).toBeInstanceOf(FormatError);
    expect(at(7)).toBeInstanceOf(FormatError);
    expect(at(8)).toBeInstanceOf(FormatError);
    const file = safetensorsFile("{}");
    const lengthened = (length: bigint) => {
      new DataView(file.buffer).setBigUint64(0, length, true);
      return String(thrown(() => readSafetensors(file)));
    };
    expect(lengthened(3n)).toContain("safetensors header length: found 3n; expected at most the 2 bytes");
    expect(lengthened(100_000_001n)).toContain("at most 100000000 bytes");
    expect(lengthened(2n ** 64n - 1n)).toContain("18446744073709551615n");
    expect(lengthened(2n ** 32n)).toContain("4294967296n");
  });

  test.each([
    ["[]", "starts with"],
    ["", "starts with"],
    [" {}", "starts with"],
    ["\ufeff{}", "starts with"],
    ["{", '""; expected a string'],
    ["{} x", "nothing after the value"],
    ["{}{}", "nothing after the value"],
    ["{}\0", "nothing after the value"],
    ['{"a"}', '":"'],
    ["{'a':1}", "a string"],
    [`{"a":${u8("[0]", 0, 0)}`, '"}"'],
    [`{"a":${u8("[0]", 0, 0)},}`, "a string"],
    ['{"a\n":{}}', "control character"],
    ['{"a\\x":{}}', "a JSON escape"],
    ['{"\\ud800":{}}', "unpaired surrogates"],
    ['{"a":nul}', "true, false or null"],
    ['{"a":{"x":01}}', '"}"'],
    ['{"a":{"x":1.}}', "a digit"],
    ['{"a":{"x":-}}', "a digit"],
    ['{"a":{"x":1e}}', "a digit"],
    ['{"a":{"x":+1}}', "a JSON value"],
    ['{"a":{"x":NaN}}', "a JSON value"],
  ])("no JSON: %j", (header, expected) => {
    expect(refusal(header)).toContain(expected);
  });

  test("nesting does not overflow the stack", () => {
    expect(refusal(`{"a":{"x":${"[".repeat(1_000_000)}}}`)).toContain("at most 64 nested levels");
    expect(refusal(`{"a":{"x":${'{"x":'.repeat(1_000_000)}}}`)).toContain("at most 64 nested levels");
  });

  test("no UTF-8", () => {
    const error = thrown(() => readSafetensors(safetensorsFile(Uint8Array.of(0x7b, 0xff, 0x7d))));
    expect(error).toBeInstanceOf(FormatError);
    expect(String(error)).toContain("UTF-8");
  });

  test.each([
    ['{"a":1}', 'safetensors header "a": found 1; expected an object'],
    ['{"a":null}', 'safetensors header "a"'],
    ['{"a":[]}', 'safetensors header "a"'],
    ['{"a":{}}', 'safetensors header "a".dtype'],
    ['{"a":{"dtype":"U8","shape":[]}}', 'safetensors header "a".data_offsets'],
    ['{"a":{"dtype":"U8","data_offsets":[0,0]}}', 'safetensors header "a".shape'],
    ['{"a":{"dtype":8,"shape":[],"data_offsets":[0,1]}}', 'safetensors header "a".dtype: found 8'],
    ['{"a":{"dtype":"F8_E4M3","shape":[],"data_offsets":[0,1]}}', 'found "F8_E4M3"; expected one of U64,'],
    ['{"a":{"dtype":"u8","shape":[],"data_offsets":[0,1]}}', "one of"],
    ['{"a":{"dtype":"toString","shape":[],"data_offsets":[0,1]}}', "one of"],
    [`{"a":${u8("[-1]", 0, 1)}}`, 'safetensors header "a".shape[0]: found -1'],
    [`{"a":${u8("[1.0]", 0, 1)}}`, '"1.0"'],
    [`{"a":${u8("[1.5]", 0, 1)}}`, "found 1.5"],
    [`{"a":${u8("[1e0]", 0, 1)}}`, '"1e0"'],
    [`{"a":${u8("[-0]", 0, 0)}}`, '"-0"'],
    [`{"a":${u8("[9007199254740992]", 0, 1)}}`, "found 9007199254740992"],
    [`{"a":${u8("[9007199254740993]", 0, 1)}}`, '"9007199254740993"'],
    [`{"a":${u8('["1"]', 0, 1)}}`, "an integer"],
    [`{"a":${u8("[[1]]", 0, 1)}}`, "an integer"],
    [`{"a":${u8("[true]", 0, 1)}}`, "an integer"],
    [`{"a":${u8('"1"', 0, 1)}}`, "an array of integers"],
    [`{"a":${u8("[4294967296,4294967296]", 0, 1)}}`, "fewer than 2^53 bytes"],
    [`{"a":${u8("[4294967296,4294967296,0]", 0, 0)}}`, "fewer than 2^53 bytes"],
    [
      '{"a":{"dtype":"F64","shape":[2251799813685248],"data_offsets":[0,1]}}',
      'safetensors header "a".shape: found [2251799813685248]',
    ],
    [`{"a":${u8(`[${Array(65).fill(1)}]`, 0, 1)}}`, "at most 64"],
    [`{"a":${u8("[1]", 0, 2)}}`, "begin ≤ end ≤ 1"],
    [`{"a":${u8("[0]", 2, 2)}}`, "begin ≤ end ≤ 1"],
    [`{"a":${u8("[1]", 1, 0)}}`, "begin ≤ end ≤ 1"],
    [`{"a":${u8("[1]", -1, 0)}}`, "data_offsets[0]"],
    [`{"a":${u8("[2]", 0, 1)}}`, "2 bytes for shape [2] of U8"],
    ['{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,1]}}', "4 bytes for shape [1] of F32"],
    ['{"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}}', "[begin, end]"],
    ['{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,1]}}', "at most 2"],
    [`{"a":${u8("[1]", 0, 1)},"a":${u8("[1]", 0, 1)}}`, 'found "a"; expected every name once'],
    [`{"a":${u8("[1]", 0, 1)},"\\u0061":${u8("[1]", 0, 1)}}`, "every name once"],
    ['{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}', "every field once"],
    ['{"a":{"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1]}}', "every field once"],
    ['{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"data_offsets":[0,1]}}', "every field once"],
    [`{"a":${u8("[1]", 0, 1)},"b":${u8("[1]", 0, 1)}}`, "an overlap"],
    ["{}", "safetensors data: found 1; expected 0 bytes"],
    ['{"__metadata__":{}}', "safetensors data"],
    ['{"__metadata__":null}', "an object of strings"],
    ['{"__metadata__":{"k":1}}', 'safetensors header __metadata__["k"]: found 1; expected a string'],
    ['{"__metadata__":{"k":"a","k":"b"}}', "every key once"],
    ['{"__metadata__":{},"__metadata__":{}}', "every name once"],
  ])("%j", (header, expected) => {
    expect(refusal(header, 1)).toContain(expected);
  });

  test("holes and overlaps between tensors in any order", () => {
    expect(refusal(`{"b":${u8("[2]", 4, 6)},"a":${u8("[3]", 0, 3)}}`, 6)).toContain("a hole before");
    expect(refusal(`{"b":${u8("[2]", 1, 3)},"a":${u8("[2]", 0, 2)}}`, 3)).toContain("an overlap");
    expect(refusal(`{"a":${u8("[3]", 0, 3)}}`, 4)).toContain("3 bytes, the end of the last tensor");
    const apart = `{"b":${u8("[2]", 1, 3)},"e":${u8("[0]", 1, 1)},"a":${u8("[1]", 0, 1)}}`;
    expect([...readSafetensors(safetensorsFile(apart, new Uint8Array(3))).tensors.keys()]).toEqual([
      "b",
      "e",
      "a",
    ]);
  });

  test("a control character of the file does not reach the terminal", () => {
    expect(refusal('{"\\u001b[2J":1}')).toContain('"\\u001b[2J"');
    expect(refusal('{"\u009b2J":1}')).not.toContain("\u009b");
  });

  test("nothing is allocated for what is refused", () => {
    const huge = `{"a":${u8("[9007199254740991]", 0, 9007199254740991)}}`;
    expect(refusal(huge)).toContain("begin ≤ end ≤ 0");
  });
});

describe("names that are no names elsewhere", () => {
  test("__proto__, digits, the empty name, fields that the format does not know", () => {
    const entry = `{"x":[{"x":1,"x":-2.5e+3}],"dtype":"U8","shape":[1],"data_offsets":[0,1],"y":[true,null,""]}`;
    const header = `{"__metadata__":{"__proto__":"p","constructor":"c"},"__proto__":${entry}}`;
    const { tensors, metadata } = readSafetensors(safetensorsFile(header, Uint8Array.of(7)));
    expect([...tensors.keys()]).toEqual(["__proto__"]);
    expect(Object.getPrototypeOf(metadata)).toBe(null);
    expect(Object.entries(metadata)).toEqual([
      ["__proto__", "p"],
      ["constructor", "c"],
    ]);
    expect(({} as Record<string, unknown>).p).toBeUndefined();
    const odd = new Map(
      ["__proto__", "", "10", "9", 'quo"te\\', "\u2028"].map((name) => [
        name,
        { shape: [1], data: Float32Array.of(1) },
      ]),
    );
    const again = readSafetensors(writeSafetensors(odd, metadata));
    expect([...again.tensors.keys()].sort()).toEqual([...odd.keys()].sort());
    expect(again.metadata).toEqual(metadata);
  });
});

describe("arguments of the writer", () => {
  const data = Float32Array.of(1, 2);
  test.each<[unknown, unknown, string]>([
    [null, {}, "tensors: got null"],
    [new Uint8Array(2), {}, "tensors"],
    [[1], {}, "[name, tensor] pairs"],
    [{ a: null }, {}, 'tensors["a"]'],
    [{ a: { shape: [2] } }, {}, 'tensors["a"].data'],
    [{ a: { shape: [2], data: [1, 2] } }, {}, "a typed array"],
    [{ a: { shape: [2], data: new DataView(new ArrayBuffer(2)) } }, {}, "a typed array"],
    [{ a: { shape: [3], data } }, {}, "a product of 2"],
    [{ a: { shape: [1.5], data } }, {}, 'tensors["a"].shape'],
    [{ a: { shape: [-2], data } }, {}, 'tensors["a"].shape'],
    [{ a: { shape: "2", data } }, {}, 'tensors["a"].shape'],
    [{ a: { shape: Array(65).fill(1), data: data.subarray(1) } }, {}, "at most 64"],
    [{ a: { dtype: "F64", shape: [2], data } }, {}, "a Float64Array for dtype F64"],
    [{ a: { dtype: "F8", shape: [2], data } }, {}, "one of U64"],
    [{ __metadata__: { shape: [2], data } }, {}, "any other name"],
    [{ "\ud800": { shape: [2], data } }, {}, "unpaired surrogates"],
    [
      [
        ["a", { shape: [2], data }],
        ["a", { shape: [2], data }],
      ],
      {},
      "every name once",
    ],
    [{}, null, "metadata: got null"],
    [{}, { a: 1 }, 'metadata["a"]: got 1'],
    [{}, { a: "\udc00" }, "unpaired surrogates"],
  ])("%s", (tensors, metadata, expected) => {
    const error = thrown(() => writeSafetensors(tensors as never, metadata as never));
    expect(error).toBeInstanceOf(ArgumentError);
    expect((error as ArgumentError).message).toContain(expected);
  });

  test("a header of more than 100 MB", () => {
    const error = thrown(() => writeSafetensors({}, { a: "x".repeat(100_000_000) }));
    expect(error).toBeInstanceOf(ArgumentError);
  });

  test("the reader takes bytes only", () => {
    for (const bytes of [undefined, "", new ArrayBuffer(16), new Int8Array(16)]) {
      expect(thrown(() => readSafetensors(bytes as never))).toBeInstanceOf(ArgumentError);
    }
  });
});

describe("what is read", () => {
  const file = writeSafetensors({ a: { shape: [2], data: Float32Array.of(1, 2) } });

  test("is a copy, aligned wherever the bytes lie", () => {
    const shifted = new Uint8Array(file.length + 3);
    shifted.set(file, 3);
    const { tensors } = readSafetensors(shifted.subarray(3));
    shifted.fill(0);
    expect(tensors.get("a")?.data).toEqual(Float32Array.of(1, 2));
    expect(readSafetensors(Buffer.from(file)).tensors).toEqual(tensors);
  });

  test("may come from shared memory", () => {
    const shared = new Uint8Array(new SharedArrayBuffer(file.length));
    shared.set(file);
    const { data } = readSafetensors(shared).tensors.get("a") as SafetensorsTensor;
    expect(data).toEqual(Float32Array.of(1, 2));
    expect(data.buffer).toBeInstanceOf(ArrayBuffer);
  });

  test("keeps the bits of NaN", () => {
    const bits = Uint32Array.of(0x7fc00001, 0xffc12345, 0x7f800001, 0x80000000);
    const { tensors } = readSafetensors(
      writeSafetensors({ a: { shape: [4], data: new Float32Array(bits.buffer) } }),
    );
    const tensor = tensors.get("a") as SafetensorsTensor;
    expect(new Uint32Array(tensor.data.buffer)).toEqual(bits);
    expect(new Uint32Array(toFloat32(tensor).buffer)).toEqual(bits);
  });
});

describe("toFloat32", () => {
  test("widens every half-precision value exactly", () => {
    const data = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const values = toFloat32({ dtype: "F16", shape: [65536], data });
    for (let half = 0; half < 65536; half++) {
      const sign = half & 0x8000 ? -1 : 1;
      const exponent = (half >> 10) & 31;
      const fraction = half & 1023;
      let expected = sign * 2 ** (exponent - 15) * (1 + fraction / 1024);
      if (exponent === 0) expected = sign * 2 ** -24 * fraction;
      if (exponent === 31) expected = fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
      if (!Object.is(values[half], expected)) expect([half, values[half]]).toEqual([half, expected]);
    }
  });

  test("widens bfloat16 by its bits", () => {
    const data = Uint16Array.of(0x3f80, 0xc000, 0x7f80, 0x0001, 0xffc1);
    const values = toFloat32({ dtype: "BF16", shape: [5], data });
    expect(new Uint32Array(values.buffer)).toEqual(
      Uint32Array.of(0x3f800000, 0xc0000000, 0x7f800000, 0x00010000, 0xffc10000),
    );
  });

  test("rounds doubles and refuses what is no float", () => {
    expect(toFloat32({ dtype: "F64", shape: [2], data: Float64Array.of(0.1, 1e300) })).toEqual(
      Float32Array.of(Math.fround(0.1), Number.POSITIVE_INFINITY),
    );
    const integers = { dtype: "I32", shape: [1], data: Int32Array.of(1) } as const;
    expect(thrown(() => toFloat32(integers))).toBeInstanceOf(ArgumentError);
    expect(thrown(() => toFloat32(undefined as never))).toBeInstanceOf(ArgumentError);
    expect(
      thrown(() => toFloat32({ dtype: "F16", shape: [1], data: integers.data } as never)),
    ).toBeInstanceOf(ArgumentError);
  });
});

test("any tensors come back as they were", () => {
  const dtypes = fc.constantFrom<
    [SafetensorsDtype, (buffer: ArrayBuffer) => SafetensorsInput["data"], number]
  >(
    ["U64", (buffer) => new BigUint64Array(buffer), 8],
    ["I64", (buffer) => new BigInt64Array(buffer), 8],
    ["F64", (buffer) => new Float64Array(buffer), 8],
    ["F32", (buffer) => new Float32Array(buffer), 4],
    ["U32", (buffer) => new Uint32Array(buffer), 4],
    ["I32", (buffer) => new Int32Array(buffer), 4],
    ["BF16", (buffer) => new Uint16Array(buffer), 2],
    ["F16", (buffer) => new Uint16Array(buffer), 2],
    ["U16", (buffer) => new Uint16Array(buffer), 2],
    ["I16", (buffer) => new Int16Array(buffer), 2],
    ["I8", (buffer) => new Int8Array(buffer), 1],
    ["U8", (buffer) => new Uint8Array(buffer), 1],
    ["BOOL", (buffer) => new Uint8Array(buffer), 1],
  );
  const tensor = fc
    .tuple(dtypes, fc.array(fc.nat(4), { maxLength: 4 }))
    .chain(([[dtype, over, size], shape]) => {
      const length = size * shape.reduce((product, n) => product * n, 1);
      return fc
        .uint8Array({ minLength: length, maxLength: length })
        .map((bytes) => ({ dtype, shape, data: over(bytes.slice().buffer) }));
    });
  const text = fc.string({ unit: "binary", maxLength: 8 }).filter((each) => !/\p{Surrogate}/u.test(each));
  const name = text.filter((each) => each !== "__metadata__");
  const names = fc.uniqueArray(fc.tuple(name, tensor), { maxLength: 6, selector: ([each]) => each });
  const metadata = fc.array(fc.tuple(text, text), { maxLength: 3 }).map((pairs) => Object.fromEntries(pairs));
  fc.assert(
    fc.property(names, metadata, (tensors, free) => {
      const file = writeSafetensors(tensors, free);
      expect(split(file).padded % 8).toBe(0);
      const read = readSafetensors(file);
      expect({ ...read.metadata }).toEqual(free);
      expect(read.tensors.size).toBe(tensors.length);
      for (const [key, before] of tensors) {
        const after = read.tensors.get(key) as SafetensorsTensor;
        expect([after.dtype, after.shape]).toEqual([before.dtype, before.shape]);
        expect(after.data.constructor).toBe(before.data.constructor);
        expect(Buffer.compare(bytesOf(after.data), bytesOf(before.data))).toBe(0);
      }
      expect(Buffer.compare(writeSafetensors(read.tensors, read.metadata), file)).toBe(0);
    }),
    { numRuns: 300 },
  );
});
