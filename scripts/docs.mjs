// The reference: docs/reference/index.html, from the docstrings of every entry point, with the guide beside it. What makes it
// is installed in docs/ when first needed; it is no part of the package.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = resolve(fileURLToPath(import.meta.url), "../..");
const folder = join(root, "docs");

if (!existsSync(join(folder, "node_modules/typedoc"))) {
  console.log("installing what makes the reference (npm ci in docs)");
  run("npm", ["ci", "--prefix", folder, "--no-audit", "--no-fund", "--loglevel=error"]);
}
const { exports } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
const sources = [...new Set(Object.values(exports).map(typesOf).filter(Boolean))];
const entries = sources.flatMap((types) => [
  "--entryPoints",
  join(root, types.replace("dist/types/", "").replace(/\.d\.ts$/, ".ts")),
]);
run(process.execPath, [join(folder, "node_modules/typedoc/bin/typedoc"), "--options", folder, ...entries]);

/** The first `types` condition of an entry point, however deep. */
function typesOf(target) {
  if (typeof target !== "object" || target === null) return undefined;
  for (const [condition, inner] of Object.entries(target)) {
    const types = condition === "types" && typeof inner === "string" ? inner : typesOf(inner);
    if (types !== undefined) return types;
  }
  return undefined;
}

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: "inherit" });
  if (status === 0) return;
  console.error(`docs: ${error?.message ?? `${command} ended with ${status}`}`);
  process.exit(1);
}
