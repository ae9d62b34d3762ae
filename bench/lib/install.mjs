// Packages that one part of the benchmark needs have a package.json of their own, and are installed when first needed: a
// manifest further up would hide the library from the rest of bench/.
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** Installs the packages of a folder of bench/, unless they are there. */
export async function install(folder, say) {
  const path = fileURLToPath(new URL(`../${folder}/`, import.meta.url));
  if (existsSync(`${path}node_modules/.package-lock.json`)) return;
  say(`installing the packages of bench/${folder} (npm ci)`);
  await promisify(execFile)("npm", ["ci", "--prefix", path, "--no-audit", "--no-fund", "--ignore-scripts"]);
}
