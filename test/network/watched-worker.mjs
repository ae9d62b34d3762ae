// The package's worker, with an eye on its core: what it runs is counted, and one of its ranks can be made to die.
// `workerData`: `script`, the package's file; `watch`, shared words (see WATCH below); `abi`, what must be known of programs.
import { workerData } from "node:worker_threads";

/** Words of `watch`. */
const WATCH = { runs: 0, steps: 1, fate: 2 };
/** What becomes of the rank when it has run so many steps of the optimizer: `fate`. */
const FATE = { none: 0, beforeStep: 1, inStep: 2 };

const { script, watch, abi } = workerData;
const { Instance } = WebAssembly;

class Watched {
  constructor(module, imports) {
    const { exports } = new Instance(module, imports);
    const run = (...operands) => {
      Atomics.add(watch, WATCH.runs, 1);
      if (watch[WATCH.fate] !== FATE.none) live(exports, imports.env.memory, operands);
      else exports.run(...operands);
    };
    this.exports = { ...exports, run };
  }
}
Object.assign(WebAssembly, { Instance: Watched });
await import(script);

/** Runs a program as rank 1 does until its time has come. */
function live(core, { buffer }, [address, length, frames, rank, ranks, team]) {
  const run = (from, to) => core.run(address + 4 * from, to - from, frames, rank, ranks, team);
  if (rank !== 1) return run(0, length);
  if (watch[WATCH.fate] === FATE.beforeStep && watch[WATCH.steps] === 0) die();
  const program = new Int32Array(buffer, address, length);
  let [step, met] = [length, 0];
  for (let at = 0; at < length; at += program[at + 1]) {
    if (program[at] === abi.commit) step = at;
    if (program[at] === abi.barrier) met = at + program[at + 1];
  }
  if (step === length || watch[WATCH.steps]-- > 0) return run(0, length);
  const words = new Int32Array(buffer, team);
  // It meets the others for the last time, draws tickets for parts of the step, and leaves them undone.
  run(0, step);
  const body = step + program[step + 1];
  if (met > body) run(body, met);
  Atomics.add(words, abi.next, 4);
  // These were no ends of a program.
  Atomics.sub(words, abi.done, met > body ? 2 : 1);
  while (Atomics.load(words, abi.step) !== abi.begun);
  // The others are done with theirs.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
  die();
}

function die() {
  watch[WATCH.fate] = FATE.none;
  process.exit(7);
}
