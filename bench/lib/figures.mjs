// How figures and tables are written.

/** Three significant digits. */
export function figure(value) {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

export function percent(share) {
  return `${(share * 100).toPrecision(3)} %`;
}

/** A table in Markdown. */
export function table(head, rows) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}
