// What the README asks a user to type; test/docs/guide.test.ts runs its programs.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import manifest from "../../package.json" with { type: "json" };
import { blocksOf } from "../docs/markdown.ts";
import { root } from "./shared.ts";

test("two commands are enough on a fresh machine, and their scripts exist", async () => {
  const blocks = blocksOf(await readFile(join(root, "README.md"), "utf8"));
  const lines = blocks.filter(({ language }) => language === "sh").flatMap(({ text }) => text.split("\n"));
  const npm = lines.filter((line) => line.startsWith("npm "));
  expect(npm.map((line) => line.replace(/ +#.*/, ""))).toEqual(["npm ci && npm start", "npm ci && npm test"]);
  expect(Object.keys(manifest.scripts)).toEqual(expect.arrayContaining(["start", "test"]));
  expect(manifest.engines.node).toBe(">=20");
});
