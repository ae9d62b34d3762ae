// A peer is a process that holds a workload warm, reads a command a line and answers a JSON object a line.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const PYTHONS = [process.env.PYTHON, "python3", "/usr/bin/python3"].filter(Boolean);

/** Interpreters to try in turn. */
const interpreters = (script) => (script.endsWith(".py") ? [...new Set(PYTHONS)] : [process.execPath]);

/**
 * Starts a peer; `{ skip }` with the reason if it cannot run here.
 *
 * @param {{ script: string, workload: string, rateScale?: number }} peer file in bench/peers/, what it runs, and what learning rates are
 *   multiplied by
 * @param {number} threads
 * @param {string} start file with the weights, pictures and labels to begin with
 */
export async function startPeer({ script, workload, rateScale }, threads, start) {
  const file = fileURLToPath(new URL(`../peers/${script}`, import.meta.url));
  const args = [file, workload, "--threads", String(threads), "--start", start];
  if (rateScale !== undefined) args.push("--rate-scale", String(rateScale));
  const reasons = [];
  for (const interpreter of interpreters(script)) {
    const peer = new Peer(interpreter, args, { OMP_NUM_THREADS: String(threads) });
    const hello = await peer.next().catch((error) => ({ skip: error.message }));
    if (hello.ready !== undefined) {
      peer.ready = hello.ready;
      return peer;
    }
    reasons.push(script.endsWith(".py") ? `${interpreter}: ${hello.skip}` : hello.skip);
    await peer.close();
  }
  return { skip: reasons.join("; ") };
}

class Peer {
  /** What it said when it was: `peer` (name and version), `threads`, `batch`. */
  ready;
  #child;
  #waiting;
  #ended;

  constructor(file, args, environment) {
    this.#child = spawn(file, args, {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, ...environment },
    });
    this.#ended = new Promise((done) => {
      this.#child.on("error", (error) => done(error));
      this.#child.on("exit", (code, signal) =>
        done(new Error(`${file} ended (${signal ?? `status ${code}`})`)),
      );
    });
    // A peer that has died refuses what is written to it; its end is reported where the answer is awaited.
    this.#child.stdin.on("error", () => {});
    const lines = createInterface({ input: this.#child.stdout });
    // What a library prints of itself is no answer.
    lines.on("line", (line) => line.startsWith("{") && this.#waiting?.(line));
  }

  /** The next line that the peer writes. */
  async next() {
    const line = new Promise((done) => {
      this.#waiting = done;
    });
    const answer = await Promise.race([line, this.#ended]);
    if (answer instanceof Error) throw answer;
    const value = JSON.parse(answer);
    if (value.error !== undefined) throw new Error(value.error);
    return value;
  }

  ask(command) {
    const answer = this.next();
    this.#child.stdin.write(`${command}\n`);
    return answer;
  }

  /** Ends the peer: it stops at the end of its input. */
  async close() {
    this.#child.stdin.end();
    await this.#ended;
  }
}
