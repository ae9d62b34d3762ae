import { clearLine, cursorTo } from "node:readline";
import cliProgress from "cli-progress";
import { clean, styleOf } from "./terminal.ts";

/** How far some work has come, shown on standard error: a bar on a terminal, a line now and then elsewhere. */
export interface ProgressDisplay {
  /** `done` of `total`; what else there is to say, the most important first: a bar leaves out what does not fit. */
  update(done: number, total: number, parts: readonly string[]): void;
  /** A line of its own, above the bar. */
  note(text: string): void;
  /** Leaves the last state standing. */
  stop(): void;
}

const GAP = "  ";
/** Characters of a bar. */
const NARROWEST = 4;
const WIDEST = 30;
/** Least time in ms and least share between two lines. */
const LINE_EVERY = 3000;
const LINE_SHARE = 0.01;

/** @param label what is being done, e.g. `"train"` */
export function showProgress(label: string): ProgressDisplay {
  return styleOf(process.stderr).terminal ? bar(label) : lines(label);
}

function bar(label: string): ProgressDisplay {
  const stream = process.stderr;
  const display = new cliProgress.SingleBar({
    stream,
    // Cuts what is wider than the terminal instead of switching its wrapping off, which a kill would leave behind.
    linewrap: true,
    format: (_, { progress, maxWidth }, { parts }) => {
      let end = share(progress);
      let room = maxWidth - label.length - end.length - 3;
      for (const part of parts) {
        if (room - part.length - GAP.length < NARROWEST) break;
        end += GAP + part;
        room -= part.length + GAP.length;
      }
      const width = Math.min(WIDEST, Math.max(NARROWEST, room));
      const full = Math.round(progress * width);
      return `${label} ${"█".repeat(full)}${"░".repeat(width - full)} ${end}`;
    },
  });
  const leave = (): void => display.stop();
  process.once("exit", leave);
  display.start(1, 0, { parts: [] });
  return {
    update: (done, total, parts) => {
      display.setTotal(total);
      display.update(done, { parts });
    },
    note: (text) => {
      cursorTo(stream, 0);
      clearLine(stream, 0);
      // The bar goes back to the place saved where it began, which is now a line further down.
      stream.write(`${clean(text)}\n\x1b7`);
    },
    stop: () => {
      process.off("exit", leave);
      leave();
    },
  };
}

function lines(label: string): ProgressDisplay {
  let at = Number.NEGATIVE_INFINITY;
  let written = Number.NEGATIVE_INFINITY;
  let last = { progress: 0, text: "" };
  const write = (): void => {
    at = performance.now();
    written = last.progress;
    process.stderr.write(`${label} ${share(last.progress)}${GAP}${last.text}\n`);
  };
  process.stderr.write(`${label} ${share(0)}\n`);
  return {
    update: (done, total, parts) => {
      last = { progress: done / total, text: parts.join(GAP) };
      if (performance.now() - at >= LINE_EVERY && last.progress - written >= LINE_SHARE) write();
    },
    note: (text) => process.stderr.write(`${clean(text)}\n`),
    stop: () => {
      if (last.text !== "" && last.progress !== written) write();
    },
  };
}

function share(progress: number): string {
  return `${Math.floor(100 * progress)}%`.padStart(4);
}
