// Training that does not come to its end: Ctrl-C, a kill, a disk that is full, a folder that went away.
import { readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { cli, run, sameBytes, start, temporaryFolder, writeDigits } from "./shared.ts";

const LONG = [
  "train",
  "--data",
  "digits",
  "--steps",
  "5",
  "--epochs",
  "4",
  "--batch",
  "8",
  "--test-images",
  "0",
];
/** One batch takes a second or more. */
const SLOW = [
  "train",
  "--data",
  "digits",
  "--steps",
  "60",
  "--batch",
  "400",
  "--epochs",
  "9",
  "--test-images",
  "0",
];

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
const at = (name: string) => join(folder.path, name);
const call = (...args: string[]) => run(args, { cwd: folder.path });
const begin = (...args: string[]) => start(args, { cwd: folder.path });

beforeAll(async () => {
  folder = await temporaryFolder();
  await writeDigits(at("digits"), { train: 400 });
});
afterAll(() => folder.remove());

test("after Ctrl-C and resume, on threads, the file has the bytes of a run that went through on one", async () => {
  const whole = await call(...LONG, "--out", "whole.safetensors");
  expect(whole.code).toBe(0);

  const first = begin(...LONG, "--threads", "2", "--out", "stopped.safetensors");
  await first.wrote("% right ");
  first.child.kill("SIGINT");
  const stopped = await first.outcome;
  expect(stopped.code).toBe(130);
  expect(stopped.stderr).toContain("stopping after this batch; press Ctrl-C again to stop at once");
  const [, command] =
    /a checkpoint is in stopped\.checkpoint\.safetensors; go on with\n {2}(.*)\n$/.exec(stopped.stderr) ?? [];
  expect(command).toMatch(
    /^node \S+cli\.js train --resume stopped\.checkpoint\.safetensors --data digits --threads 2 --test-images 0 --out stopped\.safetensors$/,
  );
  expect(await readdir(folder.path)).not.toContain("stopped.safetensors");

  const info = await call("info", "stopped.checkpoint.safetensors");
  expect(info.stdout).toMatch(
    /position +in epoch \d of 4, \d+ of 50 batches done\n +data +400 samples in batches of 8/,
  );
  const evaluated = await call("evaluate", "stopped.checkpoint.safetensors", "--data", "digits");
  expect(evaluated.code).toBe(0);

  const [, ...args] = command!.split(" ");
  expect(args[0]).toBe(cli);
  const resumed = begin(...args.slice(1));
  await resumed.wrote("% right ");
  resumed.child.kill("SIGTERM");
  // Where this run came from is replaced by where it got to.
  expect(await resumed.outcome).toMatchObject({ code: 143 });
  expect(await call(...args.slice(1))).toMatchObject({ code: 0 });
  expect(await sameBytes(at("stopped.safetensors"), at("whole.safetensors"))).toBe(true);
});

test("a checkpoint on the way and at the end; more epochs from it", async () => {
  const args = [...LONG, "--checkpoint", "kept", "--checkpoint-every", "10"];
  const running = begin(...args, "--out", "killed.safetensors");
  while (!(await readdir(folder.path)).includes("kept")) await sleep(20);
  running.child.kill("SIGKILL");
  await running.outcome;
  const resume = ["train", "--resume", "kept", "--data", "digits", "--test-images", "0"];
  expect(await call(...resume, "--out", "killed.safetensors", "--checkpoint", "kept")).toMatchObject({
    code: 0,
  });
  expect(await sameBytes(at("killed.safetensors"), at("whole.safetensors"))).toBe(true);
  expect((await call("info", "kept")).stdout).toMatch(/position +all 4 epochs done/);
  const more = await call(...resume, "--epochs", "5", "--out", "more.safetensors");
  expect(more.code).toBe(0);
  expect((await call("info", "more.safetensors")).stdout).toMatch(/\n {2}epoch +5\n/);
});

test("another file with the name of the checkpoint stays", async () => {
  await writeFile(at("other.checkpoint.safetensors"), "mine");
  const running = begin(...LONG, "--out", "other.safetensors");
  await running.wrote("% right ");
  running.child.kill("SIGINT");
  const { code, stderr } = await running.outcome;
  expect(code).toBe(130);
  expect(stderr).toContain("a checkpoint is in other.checkpoint-2.safetensors");
  expect(await readFile(at("other.checkpoint.safetensors"), "utf8")).toBe("mine");
});

test("Ctrl-C twice stops at once, one press that arrives twice does not", async () => {
  const running = begin(...SLOW, "--out", "slow.safetensors");
  await running.wrote("train   0%");
  await sleep(100);
  running.child.kill("SIGINT");
  running.child.kill("SIGINT");
  await running.wrote("stopping after this batch");
  await sleep(400);
  expect(running.child.exitCode).toBeNull();
  running.child.kill("SIGINT");
  const { code, stderr } = await running.outcome;
  expect(code).toBe(130);
  expect(stderr).not.toContain("a checkpoint is in");
});

test("the folder of the output goes away: the network is kept elsewhere", async () => {
  const target = at("going");
  await writeDigits(target, { train: 1, test: 1 });
  const running = begin(...LONG, "--out", "going/away.safetensors");
  await running.wrote("% right ");
  await rename(target, at("gone"));
  const { code, stderr } = await running.outcome;
  expect(code).toBe(1);
  const [, kept] =
    /^spikegrad: cannot write "going\/away.safetensors": .*; it is kept as "(.*)"\n$/m.exec(stderr) ?? [];
  expect(kept).toContain(tmpdir());
  expect(await sameBytes(kept!, at("whole.safetensors"))).toBe(true);
  await rm(kept!);
});

test("a disk that is full", async (context) => {
  if (process.platform === "win32") context.skip("Windows has no ulimit");
  // A limit on the size of files fails a write as a full disk does.
  const limited = await temporaryFolder();
  try {
    const script = join(limited.path, "limited.mjs");
    await writeFile(
      script,
      `import { spawnSync } from "node:child_process";
       const words = [${JSON.stringify(process.execPath)}, ${JSON.stringify(cli)}, ...process.argv.slice(2)];
       const { status } = spawnSync("sh", ["-c", 'ulimit -f 100; exec "$@"', "sh", ...words], { stdio: "inherit" });
       process.exit(status);`,
    );
    const args = [...LONG, "--epochs", "1", "--checkpoint", "full.checkpoint", "--checkpoint-every", "20"];
    const { outcome } = start([...args, "--out", "full.safetensors"], { cwd: folder.path, script });
    const { code, stderr } = await outcome;
    expect(code).toBe(1);
    expect(stderr).toMatch(/warning: cannot write "full\.checkpoint": it is larger.*; training goes on\n/);
    expect(stderr).toMatch(
      /\nspikegrad: cannot write "full\.safetensors": .*; there was no other place to keep it\n$/,
    );
    // Nothing half-written stays.
    expect((await readdir(folder.path)).filter((name) => /full|\.tmp/.test(name))).toEqual([]);
  } finally {
    await limited.remove();
  }
});
