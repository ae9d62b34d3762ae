// From training to answers, as a user goes: every command on the files of the one before.
import { spawnSync } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { loadNetwork } from "spikegrad";
import { mnist } from "spikegrad/data/node";
import { readSafetensors, writeSafetensors } from "spikegrad/io";
import { afterAll, beforeAll, describe, expect, type TestContext, test } from "vitest";
import { idxFile } from "../io/shared.ts";
import { cli, type Outcome, run, sameBytes, temporaryFolder, writeDigits } from "./shared.ts";

const TINY = ["--data", "digits", "--steps", "5", "--epochs", "1"];

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let trained: Outcome;
const at = (name: string) => join(folder.path, name);
const call = (...args: string[]) => run(args, { cwd: folder.path });

beforeAll(async () => {
  folder = await temporaryFolder();
  await writeDigits(at("digits"));
  trained = await call("train", ...TINY, "--out", "model.safetensors");
});
afterAll(() => folder.remove());

describe("train", () => {
  test("says what it does, and puts progress on standard error", () => {
    expect(trained.code).toBe(0);
    expect(trained.stdout).toMatch(/^network .*poisson steps 5, gain 1.*517,500 parameters\n/);
    expect(trained.stdout).toMatch(/\ndata {6}digits: 64 training images\n/);
    expect(trained.stdout).toMatch(/\ntrained {3}in 0:0\d, [\d,]+ images\/s; last epoch: loss \d\.\d+/);
    expect(trained.stdout).toMatch(
      /\nsaved {5}model.safetensors \(2\.0 MiB\)\ntested {4}\d+\.\d+ % of 50 test images/,
    );
    expect(trained.stderr).toMatch(/^train {3}0%\ntrain {2}50% {2}loss/);
    expect(trained.stderr).toMatch(
      /\ntrain 100% {2}loss \d\.\d+ {2}\d+\.\d% right {2}0:00 left {2}[\d,]+\/s {2}\d+\.\d+ spikes\/neuron\n/,
    );
  });

  test("writes a model that the library reads", async () => {
    const network = await loadNetwork(await readFile(at("model.safetensors")));
    expect(network.description).toMatchObject({ input: [1, 28, 28], encoder: { steps: 5 }, seed: 1 });
    network.dispose();
  });

  test("comes to the same bytes again", async () => {
    await call("train", ...TINY, "--out", "again.safetensors", "--test-images", "0");
    expect(await sameBytes(at("again.safetensors"), at("model.safetensors"))).toBe(true);
  });

  test("comes to the same bytes on threads, and says how many", async () => {
    const args = ["train", ...TINY, "--test-images", "0"];
    const { code, stdout } = await call(...args, "--threads", "2", "--out", "threads.safetensors");
    expect(code).toBe(0);
    expect(stdout).toMatch(/\nthreads {3}2\ndata /);
    expect(trained.stdout).not.toContain("threads");
    expect(await sameBytes(at("threads.safetensors"), at("model.safetensors"))).toBe(true);
  });

  test("refuses to replace a file, before it trains; --force replaces it", async () => {
    await writeFile(at("precious"), "precious");
    const args = ["train", ...TINY, "--train-images", "8", "--test-images", "0", "--out", "precious"];
    expect(await call(...args)).toEqual({
      code: 1,
      stdout: "",
      stderr:
        'spikegrad: cannot write "precious": it is there already; choose another name, or replace it with --force\n',
    });
    expect(await readFile(at("precious"), "utf8")).toBe("precious");
    const checkpoint = await call(...args.slice(0, -1), "other", "--checkpoint", "precious");
    expect(checkpoint).toMatchObject({ code: 1, stdout: "" });
    expect(await call(...args, "--force")).toMatchObject({ code: 0 });
    expect((await readFile(at("precious"))).length).toBeGreaterThan(1e6);
  });

  test("takes a network from a file, and options before what the file says", async () => {
    const layers = [
      { kind: "dense", out: 20 },
      { kind: "dense", out: 10 },
    ];
    await writeFile(
      at("net.json"),
      JSON.stringify({ layers, seed: 5, encoder: { kind: "poisson", steps: 9 } }),
    );
    const outcome = await call(
      ...["train", "--data", "digits", "--network", "net.json", "--out", "net.safetensors"],
      ...["--gain", "0.5", "--test-images", "0", "--schedule", "step:1,2:0.5", "--batch", "16"],
    );
    expect(outcome.stdout).toMatch(/poisson steps 9, signed false, gain 0.5|poisson steps 9, gain 0.5/);
    expect(outcome.stdout).toContain("seed 5; 15,880 parameters");
    expect(outcome.stdout).toContain("schedule stepDecay at [1,2], factor 0.5");
    expect(outcome.code).toBe(0);
  });

  test.each<[string, string, number, RegExp]>([
    ["no JSON", "{ layers", 1, /net2\.json: found .*expected a JSON file/],
    ["no object", "[1]", 1, /expected an object/],
    ["a foreign key", '{ "wasm": "http://localhost/x.wasm" }', 1, /found "wasm"; expected only/],
    ["no layers", "{}", 2, /net2\.json: layers: got undefined; expected/],
  ])("refuses a network file with %s", async (_, content, code, pattern) => {
    await writeFile(at("net2.json"), content);
    const outcome = await call(
      "train",
      "--data",
      "digits",
      "--network",
      "net2.json",
      "--out",
      "net2.safetensors",
    );
    expect(outcome.stderr).toMatch(pattern);
    expect(outcome.code).toBe(code);
  });

  test("takes recordings of events", async () => {
    for (const split of ["Train", "Test"]) {
      for (const label of [0, 1]) {
        await mkdir(at(`events/${split}/${label}`), { recursive: true });
        const events = [0, 9, 99].flatMap((time) => [label, 1, 128, 0, time]);
        await writeFile(at(`events/${split}/${label}/0000${label}.bin`), Uint8Array.from(events));
      }
    }
    const args = ["--network", "bpsta-nmnist", "--width", "0.02", "--steps", "2", "--epochs", "1"];
    const outcome = await call(
      "train",
      ...["--data", "nmnist:events", "--out", "events.safetensors", "--warm-up-epochs", "1", ...args],
    );
    expect(outcome).toMatchObject({ code: 0 });
    expect(outcome.stdout).toMatch(/input 2x34x34; spikes steps 2; bpsta/);
    expect(outcome.stderr).toMatch(/^warm-up {3}0%(.|\n)*\ntrain {3}0%/);
    const drawn = await call("predict", "events.safetensors", "--data", "nmnist:events", "--index", "1");
    expect(drawn.stdout).toMatch(/^ \+\n/);
    expect(drawn.stdout).toMatch(/#1: \d (right|WRONG: is 1)/);
    const images = await call("train", "--data", "digits", "--out", "none", ...args);
    expect(images).toMatchObject({ code: 2, stdout: "" });
    expect(images.stderr).toMatch(/bpsta-nmnist takes recordings of events, as of --data nmnist:PATH/);
  });

  test("rescales the layers of decolle first", async () => {
    const outcome = await call(
      ...["train", "--data", "digits", "--network", "decolle-mlp", "--width", "0.05", "--steps", "8"],
      ...["--epochs", "1", "--out", "local.safetensors"],
    );
    expect(outcome.stdout).toMatch(/\nrescaled {2}all layers, on 64 training images\n/);
    expect(outcome.code).toBe(0);
  });

  test("puts dropout after hidden layers", async () => {
    await call(
      "train",
      ...TINY,
      "--dropout",
      "0.2",
      "--train-images",
      "8",
      "--test-images",
      "0",
      "--out",
      "drop",
    );
    const network = await loadNetwork(await readFile(at("drop")));
    expect(network.layers.filter((layer) => layer.kind === "dropout")).toHaveLength(3);
    network.dispose();
  });
});

describe("evaluate", () => {
  let outcome: Outcome;
  beforeAll(async () => {
    outcome = await call("evaluate", "model.safetensors", "--data", "digits", "--top", "3");
  });

  test("tells accuracy, confusions, activity and operations", async () => {
    expect(outcome.code).toBe(0);
    expect(outcome.stdout).toMatch(
      /^\d+\.\d\d % of 50 test images right, \d+\.\d\d % among the best 3; loss/,
    );
    const matrix = outcome.stdout.split("confusion")[1]?.match(/^ {2}\d( +(\d+|\.)){10}$/gm) ?? [];
    const counts = matrix.flatMap((row) =>
      row
        .trim()
        .split(/ +/)
        .slice(1)
        .map((cell) => Number(cell) || 0),
    );
    expect(counts).toHaveLength(100);
    expect(counts.reduce((a, b) => a + b)).toBe(50);
    expect(outcome.stdout).toMatch(/\n {2}layer0 +conv2d +15,680 +[\d.]+ +0\.\d{4}\n/);
    // 20·28²·25 + 50·14²·500 + 2450·200 + 2000, without the windows' parts outside the picture.
    expect(outcome.stdout).toMatch(/\ndense network, multiply-accumulates +4,947,120 +4\.6 +22756\.8\n/);
  });

  test("says the same on threads", async () => {
    const args = ["evaluate", "model.safetensors", "--data", "digits", "--top", "3"];
    const { code, stdout, stderr } = await call(...args, "--threads", "2");
    expect({ code, stdout }).toEqual({ code: 0, stdout: outcome.stdout });
    expect(stderr).toMatch(/^threads {3}2\n/);
    expect(outcome.stderr).not.toContain("threads");
  });

  test("counts energy with the parameters given", async () => {
    const other = await call(
      ...["evaluate", "model.safetensors", "--data", "digits", "--energy-add", "0.2", "--energy-mac", "2.3"],
    );
    const ratio = ({ stdout }: Outcome) => Number(/energy: ([\d.]+) times less/.exec(stdout)?.[1]);
    expect(ratio(outcome)).toBeGreaterThan(1);
    expect(Math.abs(ratio(other) - ratio(outcome) / 4)).toBeLessThan(0.1);
  });
});

describe("predict", () => {
  test("draws in plain ASCII where there is no terminal", async () => {
    const { code, stdout, stderr } = await call(
      "predict",
      "model.safetensors",
      "--data",
      "digits",
      "--index",
      "3,1-2",
    );
    expect(code).toBe(0);
    expect(stderr).toBe("");
    expect(stdout).toMatch(/^[\x20-\x7e\n]+$/);
    expect(stdout).toMatch(/#3: \d (right|WRONG: is 0) +#1: \d .*#2: \d /s);
    expect(stdout).toContain("@");
  });

  test("says the same on threads", async () => {
    const args = ["predict", "model.safetensors", "--data", "digits", "--index", "0-4"];
    const one = await call(...args);
    expect(await call(...args, "--threads", "2")).toEqual({ ...one, stderr: "threads   2\n" });
    expect(one).toMatchObject({ code: 0, stderr: "" });
  });

  test("answers as the evaluation does", async () => {
    const { stdout } = await call("predict", "model.safetensors", "--data", "digits", "--index", "0-49");
    const right = stdout.match(/#\d+: \d right/g)?.length ?? 0;
    expect(trained.stdout).toContain(`tested    ${(2 * right).toFixed(2)} %`);
  });

  test("takes PGM and IDX files, and inverts", async () => {
    const { test: set } = await mnist();
    const image = set.inputs.slice(0, 784) as Uint8Array;
    await writeFile(at("seven.pgm"), Buffer.concat([Buffer.from("P5\n# seven\n28 28\n255\n"), image]));
    await writeFile(
      at("black.pgm"),
      Buffer.concat([Buffer.from("P5 28 28 255\n"), image.map((v) => 255 - v)]),
    );
    await writeFile(at("images.idx"), idxFile(8, [2, 28, 28], set.inputs.slice(0, 1568) as Uint8Array));
    const plain = await call("predict", "model.safetensors", "seven.pgm", "images.idx");
    expect(plain.stdout).toMatch(/seven\.pgm: \d +images\.idx #0: \d/);
    expect(plain.stdout).toMatch(/images\.idx #1: \d/);
    const picture = ({ stdout }: Outcome) =>
      stdout
        .split("\n")
        .slice(0, 14)
        .map((line) => line.slice(0, 28).trimEnd());
    const inverted = await call("predict", "model.safetensors", "black.pgm", "--invert");
    expect(inverted.code).toBe(0);
    expect(picture(inverted)).toEqual(picture(plain));
    await writeFile(at("small.pgm"), "P2 2 2 1 0 1 1 0");
    const small = await call("predict", "model.safetensors", "small.pgm");
    expect(small.code).toBe(2);
    expect(small.stderr).toMatch(/small\.pgm: got "a picture of 2x2"; expected 28x28/);
  });

  test("refuses pictures that are not there", async () => {
    const { code, stderr } = await call("predict", "model.safetensors", "--data", "digits", "--index", "50");
    expect([code, stderr]).toEqual([2, "spikegrad: --index 50: there are 50 pictures, from 0\n"]);
  });
});

describe("info", () => {
  test("shows network, memory and tensors", async () => {
    const { code, stdout } = await call("info", "model.safetensors");
    expect(code).toBe(0);
    for (const line of [
      "model.safetensors: 2.0 MiB",
      "  parameters        517,500",
      "  layer0  conv2d     20x28x28   15,680",
      "  layer4.weight  F32    200x2450  490,000",
      "  format      spikegrad",
    ]) {
      expect(stdout.split("\n")).toContain(line);
    }
    expect(stdout).toMatch(/memory, batch 32 +\d+\.\d MiB to train, \d+\.\d MiB to run/);
    expect(stdout).not.toContain("\ntraining\n");
  });

  test("cleans what a foreign file says", async () => {
    const tensors = { "\x1b[31mred\u202e\x9b2J": { shape: [2], data: new Float32Array(2) } };
    await writeFile(
      at("foreign"),
      writeSafetensors(tensors, { "a\x1b]0;t\x07": "b\r\nc\u2028", long: "x".repeat(9999) }),
    );
    const { code, stdout } = await call("info", "foreign");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^[\x20-\x7e\n]+$/);
    expect(stdout).toContain("not written by spikegrad");
    expect(stdout).toMatch(/\n {2}\?\[31mred\?\?2J +F32 +2 +2\n/);
    expect(stdout.length).toBeLessThan(1000);
  });

  test("cleans what a model of ours with changed metadata says", async () => {
    const { tensors, metadata } = readSafetensors(await readFile(at("model.safetensors")));
    const training = JSON.stringify({
      epoch: -1,
      epochs: "\x1b[1m",
      optimizer: { kind: "\x1b[5m", "\x07": [] },
    });
    await writeFile(
      at("hostile"),
      writeSafetensors(tensors, { ...metadata, training, "\x1b[7m": "\x1b[8m" }),
    );
    const { code, stdout } = await call("info", "hostile");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^[\x20-\x7e\n]+$/);
    expect(stdout).toContain("in epoch ? of ?");
  });
});

describe("demo", () => {
  const args = ["demo", "--train-images", "64", "--test-images", "50"];

  test("trains, tests, writes, reads and draws", async () => {
    const { code, stdout } = await call(...args);
    expect(stdout).toMatch(
      /saved {5}lenet\.safetensors.*\nloaded {4}lenet\.safetensors\ntested .* 50 test images/,
    );
    expect(stdout).toMatch(/test image 0: \d (right|WRONG)/);
    expect(stdout).toMatch(/\nsynaptic operations, \d+ steps/);
    expect(code).toBe(0);
  });

  test("replaces its own file, and no other", async () => {
    expect(await call(...args)).toMatchObject({ code: 0 });
    const outcome = await call(...args, "--out", "model.safetensors");
    expect(outcome).toMatchObject({ code: 1, stdout: "" });
    expect(outcome.stderr).toMatch(/it is there already; it is not from a demo/);
  });
});

test("no output to a pipe has escape codes", async () => {
  const outcomes = [
    trained,
    await call("evaluate", "model.safetensors", "--data", "digits"),
    await run(["predict", "model.safetensors", "--data", "digits"], {
      cwd: folder.path,
      env: { FORCE_COLOR: "3" },
    }),
  ];
  for (const { stdout, stderr } of outcomes) expect(stdout + stderr).toMatch(/^[\x20-\x7e\n]+$/);
});

describe("on a terminal", () => {
  /** What a terminal of 80 columns is sent; `script` of util-linux is one. */
  function onTerminal(
    context: TestContext,
    args: readonly string[],
    env: Record<string, string> = {},
  ): string {
    const probe = spawnSync("script", ["--version"], { encoding: "utf8" });
    if (!probe.stdout?.includes("util-linux")) context.skip("needs script of util-linux to make a terminal");
    const command = `stty cols 80; '${process.execPath}' '${cli}' ${args.join(" ")}`;
    const { NO_COLOR: _, FORCE_COLOR: __, ...rest } = process.env;
    const { stdout } = spawnSync("script", ["-qec", command, "/dev/null"], {
      cwd: folder.path,
      env: { ...rest, TERM: "xterm", ...env },
      encoding: "utf8",
    });
    return stdout;
  }

  test("training has a bar no wider than it", (context) => {
    const output = onTerminal(context, ["train", ...TINY, "--test-images", "0", "--out", "bar.safetensors"]);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the codes between the bar's states
    const states = output.split(/\x1b\[1G|[\r\n]|\x1b[78]/).filter((state) => state.startsWith("train "));
    expect(states.at(-1)).toMatch(/^train █+ 100% {2}loss \d\.\d+ {2}[\d.]+% right {2}0:00 left/);
    for (const state of states) expect(state.replace("\x1b[0K", "").length).toBeLessThanOrEqual(80);
  });

  test("pictures are grey, and of block characters under NO_COLOR", (context) => {
    const args = ["predict", "model.safetensors", "--data", "digits", "--index", "0"];
    expect(onTerminal(context, args)).toContain("\x1b[38;5;255;48;5;255m▀");
    const plain = onTerminal(context, args, { NO_COLOR: "1" });
    expect(plain).toContain("█");
    expect(plain).not.toContain("\x1b");
  });
});
