// What runs leave behind in bench/results/: one file of JSON a topic, a line an entry.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { MODES, WORKLOADS } from "../workloads.mjs";
import { MAX_OTHERS } from "./lines.mjs";

const FOLDER = new URL("../results/", import.meta.url);

/** Entries of a topic, [] if there are none yet. */
export async function readResults(topic) {
  try {
    return JSON.parse(await readFile(fileOf(topic), "utf8"));
  } catch (error) {
    if (error.code === "ENOENT") return [];
    throw error;
  }
}

export async function writeResults(topic, entries) {
  await mkdir(FOLDER, { recursive: true });
  await writeFile(
    fileOf(topic),
    `[\n${entries.map((entry) => `  ${JSON.stringify(entry)}`).join(",\n")}\n]\n`,
  );
}

function fileOf(topic) {
  return new URL(`${topic}.json`, FOLDER);
}

/** Those of `measured` that were taken while the machine was free, or do not depend on it. */
export function undisturbed(measured) {
  return measured.filter(({ others = 0 }) => others <= MAX_OTHERS);
}

/** New results of workloads in place of old ones for the same workload, mode, threads and peer; in the order of the tables. */
export function merge(old, fresh) {
  const kept = old.filter((result) => !fresh.some((other) => key(result) === key(other)));
  const workloads = Object.keys(WORKLOADS);
  return [...kept, ...fresh].sort(
    (a, b) =>
      workloads.indexOf(a.workload) - workloads.indexOf(b.workload) ||
      a.threads - b.threads ||
      MODES.indexOf(a.mode) - MODES.indexOf(b.mode) ||
      place(a) - place(b),
  );
}

/** A peer's place in its workload's list. */
function place({ workload, peer }) {
  return Object.keys(WORKLOADS[workload]?.peers ?? {}).indexOf(peer);
}

function key({ workload, mode, threads, peer }) {
  return [workload, mode, threads, peer].join();
}
