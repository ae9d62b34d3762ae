import { FormatError } from "../errors.ts";

/** A grey picture as bytes, 0 (black) to 255 (white). */
export interface GreyImage {
  readonly width: number;
  readonly height: number;
  readonly pixels: Uint8Array;
}

const MAX_SIDE = 4096;

/** Whether these may be the bytes of a PGM file. */
export function isPgm(bytes: Uint8Array): boolean {
  return bytes[0] === 0x50 && (bytes[1] === 0x32 || bytes[1] === 0x35);
}

/**
 * Reads a grey picture in Netpbm's format, binary (P5) or as text (P2): magic number, width, height, largest value,
 * separated by white space, `#` starts a comment; then the pixels by rows (https://netpbm.sourceforge.net/doc/pgm.html).
 *
 * @throws FormatError if it is no such file, truncated, or larger than 4096 pixels a side
 */
export function readPgm(bytes: Uint8Array): GreyImage {
  if (!isPgm(bytes)) throw new FormatError("PGM magic number", [...bytes.subarray(0, 2)], "P5 or P2");
  let at = 2;
  const isSpace = (byte: number | undefined): boolean =>
    byte !== undefined && (byte === 0x20 || (byte >= 0x09 && byte <= 0x0d));
  const number = (what: string, largest: number): number => {
    for (;;) {
      if (isSpace(bytes[at])) at++;
      else if (bytes[at] === 0x23) while (at < bytes.length && bytes[at] !== 0x0a) at++;
      else break;
    }
    let value = -1;
    for (; at < bytes.length && bytes[at]! >= 0x30 && bytes[at]! <= 0x39; at++) {
      value = Math.max(value, 0) * 10 + bytes[at]! - 0x30;
      if (value > largest) throw new FormatError(`PGM ${what}`, value, `at most ${largest}`);
    }
    if (value < 0 || (at < bytes.length && !isSpace(bytes[at]) && bytes[at] !== 0x23)) {
      throw new FormatError(`PGM ${what}`, at < bytes.length ? bytes[at] : "the end of the file", "a number");
    }
    return value;
  };
  const positive = (what: string, largest: number): number => {
    const value = number(what, largest);
    if (value === 0) throw new FormatError(`PGM ${what}`, 0, `1 ... ${largest}`);
    return value;
  };
  const width = positive("width", MAX_SIDE);
  const height = positive("height", MAX_SIDE);
  const white = positive("largest value", 65535);
  const count = width * height;
  let sample: (i: number) => number;
  if (bytes[1] === 0x32) sample = () => number("pixel", white);
  else {
    at++;
    const size = white > 255 ? 2 : 1;
    if (bytes.length - at < count * size) {
      throw new FormatError(
        "PGM file",
        `${Math.max(bytes.length - at, 0)} bytes of pixels`,
        `${count * size}`,
      );
    }
    sample = (i) => (size === 1 ? bytes[at + i]! : 256 * bytes[at + 2 * i]! + bytes[at + 2 * i + 1]!);
  }
  const pixels = new Uint8Array(count);
  for (let i = 0; i < count; i++) pixels[i] = Math.min(255, Math.round((255 * sample(i)) / white));
  return { width, height, pixels };
}
