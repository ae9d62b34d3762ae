// A peer is a process that holds a workload warm, reads a command a line and answers a JSON object a line.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const PYTHONS = [process.env.PYTHON, "python3", "/usr/bin/python3"].filter(Boolean);

const COMMANDS = {
  torch: (workload, threads, start) => {
    const script = fileURLToPath(new URL("../peers/torch_peer.py", import.meta.url));
    const environment = { OMP_NUM_THREADS: String(threads) };
    const args = [script, workload, "--threads", String(threads), "--start", start];
    return PYTHONS.map((python) => ({ file: python, args, environment }));
  },
};

/**
 * Starts a peer; `{ skip }` with the reason if it cannot run here.
 *
 * @param start file with the weights, pictures and labels to begin with
 */
export async function startPeer({ script, workload }, threads, start) {
  const reasons = new Set();
  for (const command of COMMANDS[script](workload, threads, start)) {
    const peer = new Peer(command);
    const hello = await peer.next().catch((error) => ({ skip: error.message }));
    if (hello.ready !== undefined) {
      peer.ready = hello.ready;
      return peer;
    }
    reasons.add(`${command.file}: ${hello.skip}`);
    await peer.close();
  }
  return { skip: [...reasons].join("; ") };
}

class Peer {
  #child;
  #lines;
  #waiting;
  #ended;

  constructor({ file, args, environment }) {
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
    this.#lines = createInterface({ input: this.#child.stdout });
    this.#lines.on("line", (line) => this.#waiting?.(line));
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
