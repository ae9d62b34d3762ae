// Cold start: from a fresh process to the first answer of a LeNet that has read no weights, against a process that does
// nothing. Both run by turns.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { figure, table } from "./lib/figures.mjs";
import { disturbance } from "./lib/lines.mjs";
import { busyShare, median } from "./lib/measure.mjs";

const ROUNDS = 21;
const PROGRAM = fileURLToPath(new URL("lib/first-answer.mjs", import.meta.url));

/** Milliseconds of both processes, and of the parts that the one with the network reports. */
export async function measureColdStart({ here, say }) {
  const others = await busyShare();
  const starts = { empty: [], whole: [] };
  const parts = {};
  await run(["-e", ""]);
  await run([PROGRAM]);
  for (let i = 0; i < ROUNDS; i++) {
    starts.empty.push((await run(["-e", ""])).ms);
    const { ms, output } = await run([PROGRAM]);
    starts.whole.push(ms);
    for (const [part, took] of Object.entries(JSON.parse(output))) {
      parts[part] ??= [];
      parts[part].push(took);
    }
  }
  const [empty, whole] = [median(starts.empty), median(starts.whole)];
  const entry = {
    what: "cold start",
    ms: whole - empty,
    min_ms: Math.min(...starts.whole) - Math.min(...starts.empty),
    empty_ms: empty,
    whole_ms: whole,
    parts: Object.fromEntries(Object.entries(parts).map(([part, times]) => [part, median(times)])),
    rounds: ROUNDS,
    others,
    ...here,
  };
  const list = Object.entries(entry.parts).map(([part, ms]) => `${part} ${figure(ms)}`);
  say(
    `cold start: ${figure(entry.ms)} ms (of minima ${figure(entry.min_ms)}) above an empty process's ` +
      `${figure(empty)} ms; in the process: ${list.join(", ")} ms` +
      disturbance(others),
  );
  return entry;
}

export function coldStartTable([entry]) {
  const { ms, min_ms, empty_ms, whole_ms, parts, rounds, runtime, processor, date } = entry;
  return [
    `From the start of a fresh process to the first answer of a LeNet (T 50), weights made at random, medians of ${rounds} processes`,
    `(minima), beside a process that does nothing; ${runtime}, ${processor}, ${date}.`,
    "",
    table(
      ["empty process", "with the answer", "difference", ...Object.keys(parts)],
      [
        [
          figure(empty_ms),
          figure(whole_ms),
          `**${figure(ms)} ms** (${figure(min_ms)})`,
          ...Object.values(parts).map(figure),
        ],
      ],
    ),
  ].join("\n");
}

function run(args) {
  return new Promise((done, failed) => {
    const start = performance.now();
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    let output = "";
    child.stdout.on("data", (data) => {
      output += data;
    });
    child.on("error", failed);
    child.on("close", (status) => {
      if (status !== 0) failed(new Error(`a process for the cold start ended with status ${status}`));
      else done({ ms: performance.now() - start, output });
    });
  });
}
