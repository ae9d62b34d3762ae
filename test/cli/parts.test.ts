import { describe, expect, test } from "vitest";
import { readPgm } from "../../src/cli/pgm.ts";
import { draw, pictureOf } from "../../src/cli/picture.ts";
import { bytes, clean, clock, percent, styleOf, table, whole } from "../../src/cli/terminal.ts";
import { FormatError } from "../../src/errors.ts";

describe("numbers for people", () => {
  test.each([
    [whole(1234567.4), "1,234,567"],
    [whole(999), "999"],
    [percent(0.97314), "97.31 %"],
    [bytes(1023), "1023 bytes"],
    [bytes(5 * 2 ** 20), "5.0 MiB"],
    [clock(59.6), "1:00"],
    [clock(3723), "1:02:03"],
    [clock(Number.POSITIVE_INFINITY), "-:--"],
  ])("%s", (found, expected) => expect(found).toBe(expected));

  test("tables put numbers to the right", () => {
    const rows = [
      ["name", "size"],
      ["a", "1,000"],
      ["long", "5"],
    ];
    expect(table(rows)).toBe("  name   size\n  a     1,000\n  long      5\n");
  });
});

test("clean takes what moves a terminal, and leaves letters", () => {
  expect(clean("\x1b[31m\x9b\u202e\u200b\ud800\r\n")).toBe("?[31m??????");
  expect(clean("Größe 数字 🙂")).toBe("Größe 数字 🙂");
  expect(clean("abcdef", 3)).toBe("abc...");
});

describe("style", () => {
  const stream = (isTTY: boolean, columns = 100) => ({ isTTY, columns }) as NodeJS.WriteStream;
  test.each([
    [stream(false), {}, { terminal: false, colour: false, columns: 80 }],
    [stream(true), {}, { terminal: true, colour: true, columns: 100 }],
    [stream(true), { NO_COLOR: "1" }, { terminal: true, colour: false, columns: 100 }],
    [stream(true), { NO_COLOR: "" }, { terminal: true, colour: true, columns: 100 }],
    [stream(true), { TERM: "dumb" }, { terminal: false, colour: false, columns: 80 }],
  ])("%#", (given, environment, expected) => {
    expect(styleOf(given, environment)).toEqual(expected);
  });
});

describe("pictures", () => {
  const plain = { terminal: false, colour: false, columns: 20 };
  const checks = pictureOf(Uint8Array.of(255, 0, 255, 0, 128, 255), [1, 3, 2])!;

  test("two pixels a character, captions below", () => {
    expect(draw([{ picture: checks, caption: "c" }], plain)).toBe("@\n+@\nc\n\n");
    expect(draw([{ picture: checks, caption: "c" }], { ...plain, terminal: true })).toBe("█\n▒█\nc\n\n");
  });

  test("greys with colours", () => {
    const text = draw([{ picture: checks, caption: "c" }], { terminal: true, colour: true, columns: 20 });
    expect(text.split("\n")[0]).toBe("\x1b[38;5;255;48;5;255m▀\x1b[38;5;232;48;5;232m▀\x1b[0m");
  });

  test("side by side as far as they fit", () => {
    const three = Array.from({ length: 3 }, (_, i) => ({ picture: checks, caption: `caption ${i}` }));
    expect(draw(three, plain)).toBe(
      "@          @\n+@         +@\ncaption 0  caption 1\n\n@\n+@\ncaption 2\n\n",
    );
  });

  test("wide ones shrink", () => {
    const wide = pictureOf(new Float32Array(50).fill(1), [1, 1, 50])!;
    expect(draw([{ picture: wide, caption: "" }], plain)).toBe(`${"@".repeat(17)}\n\n\n`);
  });

  test("of several channels the mean; of a vector none", () => {
    expect(pictureOf(Float32Array.of(1, 0, 0, 0), [2, 1, 2])?.grey).toEqual(Float32Array.of(0.5, 0));
    expect(pictureOf(new Float32Array(4), [4])).toBeUndefined();
  });
});

describe("PGM", () => {
  const file = (text: string, ...pixels: number[]) =>
    new Uint8Array([...new TextEncoder().encode(text), ...pixels]);

  test.each<[string, Uint8Array, number[]]>([
    ["binary", file("P5 2 1 255\n", 0, 255), [0, 255]],
    ["two bytes a pixel", file("P5\n2 1\n65535\n", 0x80, 0, 0xff, 0xff), [128, 255]],
    ["text", file("P2\n# a comment\n2 1 # more\n4\n1 4\n"), [64, 255]],
    ["another white", file("P5 2 1 100\n", 50, 200), [128, 255]],
  ])("%s", (_, bytes, pixels) => {
    expect(readPgm(bytes)).toEqual({ width: 2, height: 1, pixels: Uint8Array.from(pixels) });
  });

  test.each<[string, Uint8Array]>([
    ["nothing", file("")],
    ["another format", file("P6 1 1 255\n", 1, 2, 3)],
    ["no size", file("P5")],
    ["an empty size", file("P5 0 1 255\n")],
    ["a huge size", file("P5 99999999999 99999999999 255\n")],
    ["a negative size", file("P5 -1 1 255\n", 0)],
    ["no white", file("P5 1 1 0\n", 0)],
    ["too few pixels", file("P5 2 2 255\n", 0, 0, 0)],
    ["too few numbers", file("P2 2 2 255 1 2 3")],
    ["a number too large", file("P2 1 1 255 256")],
    ["letters", file("P2 1 1 255 x")],
  ])("refuses %s", (_, bytes) => {
    expect(() => readPgm(bytes)).toThrow(FormatError);
  });

  test("any cut of a good file is refused or read, never a crash", () => {
    const whole = file("P5\n# c\n3 2\n255\n", 1, 2, 3, 4, 5, 6);
    for (let end = 0; end < whole.length; end++)
      expect(() => readPgm(whole.subarray(0, end))).toThrow(FormatError);
    expect(readPgm(whole).pixels).toEqual(Uint8Array.of(1, 2, 3, 4, 5, 6));
  });
});
