// The bits contract, as `npm run digest` checks it.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const execute = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));

test("every method comes to the committed bits in every runtime", { timeout: 300_000 }, async () => {
  const { stdout } = await execute(process.execPath, ["scripts/digest.mjs"], { cwd: root });
  const lines = stdout.trim().split("\n");
  expect(lines.filter((line) => !/ ok$|: skipped: /.test(line))).toEqual([]);
  expect(lines.filter((line) => line.startsWith("node v")).length).toBe(4);
});
