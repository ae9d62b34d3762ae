// Trainings on the command line that are killed at random moments and resumed. Shared by the test and scripts/kills.mjs.
import { spawn } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const cli = fileURLToPath(new URL("../../dist/cli.js", import.meta.url));

const SIDE = 28;
const CLASSES = 10;
const IMAGES = 120;
const input = [1, SIDE, SIDE];
const conv = { kind: "conv2d", out: 4, kernel: 5, stride: 3 };
const dense = (out, more = {}) => ({ kind: "dense", out, ...more });

/** A small network of each method, as a JSON file for `--network` holds it. */
export const NETWORKS = {
  lee: {
    input,
    encoder: { kind: "poisson", steps: 8 },
    method: { kind: "lee", leak: 0.95 },
    layers: [
      conv,
      { kind: "avgPool2d", size: 2 },
      dense(16),
      { kind: "dropout", probability: 0.2 },
      dense(CLASSES),
    ],
  },
  bpsta: {
    input,
    encoder: { kind: "direct", steps: 4 },
    method: { kind: "bpsta", vote: 2 },
    layers: [conv, { kind: "maxPool2d", size: 2 }, dense(16), dense(2 * CLASSES)],
  },
  decolle: {
    input,
    encoder: { kind: "poisson", steps: 8 },
    method: { kind: "decolle", classes: CLASSES, burnIn: 2 },
    layers: [conv, dense(16)],
  },
  stdbp: {
    input,
    encoder: { kind: "firstSpike", noise: 0.02 },
    method: { kind: "stdbp", silentDelay: 1, labelNudge: 1, silentNudge: 0.001 },
    layers: [conv, dense(16), dense(CLASSES)],
  },
  surrogate: {
    input,
    encoder: { kind: "poisson", steps: 8 },
    method: { kind: "surrogate", decay: 0.9 },
    layers: [dense(24, { recurrent: true }), { kind: "dropout", probability: 0.1 }, dense(CLASSES)],
  },
};

/** Numbers in [0, 1) from a seed (mulberry32). */
export function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A bright bar a class on noise, as the four IDX files of a data set. */
async function writeData(folder) {
  const random = generator(1);
  const header = (axes) => {
    const bytes = Buffer.alloc(4 + 4 * axes.length);
    bytes.set([0, 0, 8, axes.length]);
    for (const [i, n] of axes.entries()) bytes.writeUInt32BE(n, 4 + 4 * i);
    return bytes;
  };
  await mkdir(folder, { recursive: true });
  for (const [stem, count] of /** @type {const} */ ([
    ["train", IMAGES],
    ["t10k", CLASSES],
  ])) {
    const labels = Uint8Array.from({ length: count }, (_, i) => i % CLASSES);
    const pixels = Uint8Array.from({ length: count * SIDE * SIDE }, (_, i) => {
      const place = (Math.floor(i / (SIDE * 4)) * 2 + (i % SIDE < SIDE / 2 ? 0 : 1)) % 14;
      return (place === labels[Math.floor(i / (SIDE * SIDE))] ? 160 : 30) + Math.floor(60 * random());
    });
    await writeFile(
      join(folder, `${stem}-images-idx3-ubyte`),
      Buffer.concat([header([count, SIDE, SIDE]), pixels]),
    );
    await writeFile(join(folder, `${stem}-labels-idx1-ubyte`), Buffer.concat([header([count]), labels]));
  }
}

/**
 * @param {string} folder
 * @param {string[]} args
 * @param {{ after: number, written?: string }} [death] SIGKILL so many milliseconds after the start, or after a new file has
 *   this name
 * @returns {Promise<{ code: number | null, killed: boolean, stderr: string, took: number }>}
 */
function run(folder, args, death) {
  return new Promise((resolve, reject) => {
    const inode = (name) => statSync(join(folder, name), { throwIfNoEntry: false })?.ino;
    const before = death?.written && inode(death.written);
    const began = performance.now();
    const child = spawn(process.execPath, [cli, ...args], {
      cwd: folder,
      stdio: ["ignore", "ignore", "pipe"],
    });
    const kill = () => setTimeout(() => child.kill("SIGKILL"), death.after);
    let timer;
    if (death && death.written === undefined) timer = kill();
    else if (death) {
      timer = setInterval(() => {
        if (inode(death.written) === before) return;
        clearInterval(timer);
        timer = kill();
      }, 2);
    }
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text) => {
      stderr += text;
    });
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      resolve({ code, killed: signal === "SIGKILL", stderr, took: performance.now() - began });
    });
  });
}

/**
 * Trains the network of `method` once without a stop, and once killed `kills` times and resumed each time.
 *
 * @param {keyof typeof NETWORKS} method
 * @param {{ folder: string, kills: number, seed: number, spoil?: (checkpoint: Buffer) => Buffer }} options `spoil`:
 *   damages the checkpoint after the first kill that left two
 * @returns {Promise<{ same: boolean, kills: number, resumed: number, fallbacks: string[] }>} `resumed`: starts from a
 *   checkpoint; `fallbacks`: lines that say the one before was used
 */
export async function survive(method, { folder, kills, seed, spoil }) {
  await writeData(join(folder, "data"));
  await writeFile(join(folder, `${method}.json`), JSON.stringify(NETWORKS[method]));
  const random = generator(seed);
  const settings = [
    "--batch",
    "4",
    "--epochs",
    "3",
    "--optimizer",
    "adam",
    "--rate",
    "0.005",
    "--schedule",
    "cosine",
  ];
  const common = ["train", "--data", "data", "--test-images", "0", "--force"];
  const fresh = [...common, "--network", `${method}.json`, ...settings];
  const whole = await run(folder, [...fresh, "--out", `${method}.whole`]);
  if (whole.code !== 0) throw new Error(`${method}: ${whole.stderr}`);

  const checkpoint = `${method}.checkpoint`;
  const keep = ["--checkpoint", checkpoint, "--checkpoint-every", "1", "--out", `${method}.killed`];
  const there = (name) => existsSync(join(folder, name));
  const found = { same: false, kills: 0, resumed: 0, fallbacks: /** @type {string[]} */ ([]) };
  let damage = spoil;
  for (let tries = 0; ; tries++) {
    if (tries > 4 * kills + 4) throw new Error(`${method}: ${found.kills} kills only in ${tries} tries`);
    const resumes = there(checkpoint) || there(`${checkpoint}.previous`);
    const args = resumes ? [...common, "--resume", checkpoint, ...keep] : [...fresh, ...keep];
    const last = found.kills === kills;
    // Mostly while batches and checkpoints take turns; now and then earlier: while it starts, reads, or writes its first.
    const early = random() < 0.2;
    const after = random() * (early ? 0.6 : 0.3) * whole.took;
    const death = last ? undefined : early ? { after } : { after, written: checkpoint };
    const { code, killed, stderr } = await run(folder, args, death);
    if (resumes) found.resumed++;
    found.fallbacks.push(...stderr.split("\n").filter((line) => line.includes("going on from")));
    if (killed) found.kills++;
    else if (code !== 0) throw new Error(`${method}, after ${found.kills} kills: ${stderr}`);
    else if (last) break;
    else
      await rm(join(folder, checkpoint), { force: true }).then(() =>
        rm(join(folder, `${checkpoint}.previous`), { force: true }),
      );
    if (damage && there(checkpoint) && there(`${checkpoint}.previous`)) {
      // As a new file: until the next one is written, both names may be of one.
      const bytes = damage(await readFile(join(folder, checkpoint)));
      await rm(join(folder, checkpoint));
      await writeFile(join(folder, checkpoint), bytes);
      damage = undefined;
    }
  }
  const read = (name) => readFile(join(folder, name));
  found.same = (await read(`${method}.killed`)).equals(await read(`${method}.whole`));
  return found;
}
