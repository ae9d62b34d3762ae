/** What may be sent to a stream: colours and pictures to a terminal, plain ASCII anywhere else. */
export interface Style {
  readonly terminal: boolean;
  readonly colour: boolean;
  readonly columns: number;
}

/** The style of a stream. `NO_COLOR` (https://no-color.org) takes the colours away, `TERM=dumb` everything. */
export function styleOf(stream: NodeJS.WriteStream, environment = process.env): Style {
  const terminal = stream.isTTY === true && environment.TERM !== "dumb";
  return {
    terminal,
    colour: terminal && (environment.NO_COLOR ?? "") === "",
    columns: terminal ? Math.max(stream.columns || 80, 20) : 80,
  };
}

const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;

/** Text from outside without what could move a terminal's cursor, colour it or turn its direction. */
export function clean(text: string, longest = Number.POSITIVE_INFINITY): string {
  const visible = text.replace(UNSEEN, "?");
  return visible.length > longest ? `${visible.slice(0, longest)}...` : visible;
}

/** `clean`, for text of several lines of our own making. */
export function cleanLines(text: string): string {
  return text
    .split("\n")
    .map((line) => clean(line))
    .join("\n");
}

/** Rows in aligned columns, numbers (and what looks like them) to the right. */
export function table(rows: readonly (readonly string[])[], indent = "  "): string {
  const widths: number[] = [];
  for (const row of rows)
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, cell.length);
    });
  const right = widths.map((_, i) => rows.slice(1).every((row) => /^([-\d.,%]|$)/.test(row[i] ?? "")));
  return rows
    .map(
      (row) =>
        indent +
        row.map((cell, i) => (right[i] ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!))).join("  "),
    )
    .map((line) => `${line.trimEnd()}\n`)
    .join("");
}

/** 12,345,678 */
export function whole(n: number): string {
  return Math.round(n)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, ",");
}

/** 97.15 % */
export function percent(share: number, digits = 2): string {
  return `${(100 * share).toFixed(digits)} %`;
}

/** 4.5 MiB */
export function bytes(n: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  let size = n;
  for (; size >= 1024 && i < units.length - 1; i++) size /= 1024;
  return i === 0 ? `${n} bytes` : `${size.toFixed(1)} ${units[i]}`;
}

/** 1:02:03 or 2:03 */
export function clock(seconds: number): string {
  if (!Number.isFinite(seconds)) return "-:--";
  const s = Math.max(0, Math.round(seconds));
  const two = (n: number): string => String(n).padStart(2, "0");
  const rest = `${Math.floor((s % 3600) / 60)}:${two(s % 60)}`;
  return s < 3600 ? rest : `${Math.floor(s / 3600)}:${rest.padStart(5, "0")}`;
}
