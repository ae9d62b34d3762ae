import type { Style } from "./terminal.ts";

/** Shades of grey, 0 (black) to 1 (white), row by row. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly grey: Float32Array;
}

const ASCII = " .:-=+*#%@";
const BLOCKS = " ░▒▓█";
/** First and number of the terminal's 256 colours that are shades of grey. */
const GREY = { first: 232, count: 24 };
const GAP = 2;

/**
 * One sample as a picture; of several channels the mean, of several frames the sum, as bright as it can be.
 *
 * @param shape `[channels, height, width]`
 * @param values bytes stand for value / 255
 * @returns undefined where the shape is none of a picture's
 */
export function pictureOf(values: Float32Array | Uint8Array, shape: readonly number[]): Picture | undefined {
  if (shape.length !== 3) return undefined;
  const [channels, height, width] = shape as [number, number, number];
  const grey = new Float32Array(height * width);
  const planes = Math.floor(values.length / grey.length);
  for (let i = 0; i < grey.length; i++) {
    for (let plane = 0; plane < planes; plane++) grey[i]! += values[plane * grey.length + i]!;
  }
  const brightest = grey.reduce((a, b) => Math.max(a, b), 0);
  const scale = planes > channels ? brightest || 1 : (values instanceof Uint8Array ? 255 : 1) * channels;
  for (let i = 0; i < grey.length; i++) grey[i] = Math.min(1, Math.max(0, grey[i]! / scale));
  return { width, height, grey };
}

/**
 * Pictures side by side, as many as fit in a row, each with its caption below. A character stands for two
 * pixels, one above the other: a half block in two greys, a block's shade without colours, plain ASCII
 * where there is no terminal.
 */
export function draw(pictures: readonly { picture: Picture; caption: string }[], style: Style): string {
  let text = "";
  const cells = pictures.map(({ picture, caption }) => {
    const fitting = shrink(picture, style.columns);
    return { rows: rowsOf(fitting, style), width: fitting.width, caption };
  });
  for (let first = 0; first < cells.length; ) {
    let end = first;
    let used = 0;
    for (; end < cells.length; end++) {
      const width = Math.max(cells[end]!.width, cells[end]!.caption.length);
      if (end > first && used + width > style.columns) break;
      used += width + GAP;
    }
    text += sideBySide(cells.slice(first, end));
    first = end;
  }
  return text;
}

interface Cell {
  readonly rows: readonly string[];
  readonly width: number;
  readonly caption: string;
}

function sideBySide(cells: readonly Cell[]): string {
  const height = Math.max(...cells.map((cell) => cell.rows.length));
  const line = (parts: readonly { text: string; width: number }[]): string => {
    // A coloured row is longer than it is wide, so its width is counted from the picture.
    const padded = parts.map(({ text, width }, i) => {
      const full = Math.max(cells[i]!.width, cells[i]!.caption.length);
      return text + " ".repeat(full - width);
    });
    return `${padded.join(" ".repeat(GAP)).trimEnd()}\n`;
  };
  let text = "";
  for (let row = 0; row < height; row++) {
    text += line(
      cells.map((cell) => ({ text: cell.rows[row] ?? "", width: row < cell.rows.length ? cell.width : 0 })),
    );
  }
  return `${text + line(cells.map((cell) => ({ text: cell.caption, width: cell.caption.length })))}\n`;
}

function rowsOf({ width, height, grey }: Picture, style: Style): string[] {
  const rows: string[] = [];
  for (let y = 0; y < height; y += 2) {
    let row = "";
    for (let x = 0; x < width; x++) {
      const upper = grey[y * width + x]!;
      const lower = y + 1 < height ? grey[(y + 1) * width + x]! : upper;
      if (style.colour) row += `\x1b[38;5;${shade(upper)};48;5;${shade(lower)}m▀`;
      else row += pick(style.terminal ? BLOCKS : ASCII, (upper + lower) / 2);
    }
    rows.push(style.colour ? `${row}\x1b[0m` : row);
  }
  return rows;
}

function shade(grey: number): number {
  return GREY.first + Math.round(grey * (GREY.count - 1));
}

function pick(ramp: string, grey: number): string {
  return ramp[Math.round(grey * (ramp.length - 1))]!;
}

/** The mean of square windows, as small as lets the picture fit. */
function shrink(picture: Picture, columns: number): Picture {
  const { width, height, grey } = picture;
  const side = Math.ceil(width / columns);
  if (side <= 1) return picture;
  const small = { width: Math.ceil(width / side), height: Math.ceil(height / side) };
  const means = new Float32Array(small.width * small.height);
  for (let y = 0; y < small.height; y++) {
    for (let x = 0; x < small.width; x++) {
      let sum = 0;
      let count = 0;
      for (let v = y * side; v < Math.min((y + 1) * side, height); v++) {
        for (let u = x * side; u < Math.min((x + 1) * side, width); u++, count++) sum += grey[v * width + u]!;
      }
      means[y * small.width + x] = sum / count;
    }
  }
  return { ...small, grey: means };
}
