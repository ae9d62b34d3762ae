// The runtimes in which the package is tried beside the Node at hand: the newest Node, Deno, Bun and workerd from npm,
// Chromium and Firefox from the system.
//   node scripts/runtimes.mjs   installs what is missing and says what there is
import { execFile } from "node:child_process";
import { access, constants, readdir, readFile } from "node:fs/promises";
import { delimiter, dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";

const execute = promisify(execFile);
const home = resolve(dirname(fileURLToPath(import.meta.url)), "../test/delivery");

/**
 * @typedef {{ path: string, version: string } | { missing: string }} Runtime
 * @returns {Promise<{ newestNode: Runtime, deno: Runtime, bun: Runtime, workerd: Runtime, chromium: Runtime, firefox: Runtime }>}
 */
export async function findRuntimes() {
  const problem = await install();
  const explain = (what) => (problem === undefined ? what : `${what}; ${problem}`);
  const newest = `node-${process.platform}-${process.arch}`;
  const platform = `${process.platform}-${process.arch === "x64" ? "64" : process.arch}`;
  const [newestNode, deno, bun, workerd, chromium, firefox] = await Promise.all([
    firstThatRuns([join(home, "node_modules", newest, "bin/node")]),
    firstThatRuns(await binaries("@deno", ["deno", "deno.exe"])),
    firstThatRuns([
      ...(await binaries("@oven", ["bin/bun", "bin/bun.exe"])),
      // Where bun's install script, if npm lets it run, moves it.
      join(home, "node_modules/bun/bin/bun.exe"),
    ]),
    firstThatRuns([join(home, `node_modules/@cloudflare/workerd-${platform}/bin/workerd`)]),
    firstThatRuns(
      inPath("CHROMIUM", ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]),
    ),
    firstThatRuns(inPath("FIREFOX", ["firefox", "firefox-esr"])),
  ]);
  return {
    newestNode: newestNode ?? { missing: explain(`no ${newest} in test/delivery/node_modules`) },
    deno: deno ?? { missing: explain("no deno binary for this platform in test/delivery/node_modules") },
    bun: bun ?? { missing: explain("no bun binary for this platform in test/delivery/node_modules") },
    workerd: workerd ?? { missing: explain(`no workerd for ${platform} in test/delivery/node_modules`) },
    chromium: chromium ?? { missing: "no chromium in PATH; SPIKEGRAD_CHROMIUM may name one" },
    firefox: firefox ?? { missing: "no firefox in PATH; SPIKEGRAD_FIREFOX may name one" },
  };
}

/** playwright-core, from test/delivery. */
export async function loadPlaywright() {
  return await import(pathToFileURL(join(home, "node_modules/playwright-core/index.mjs")).href);
}

/** Installs the packages of test/delivery unless they are there. Returns what went wrong, if anything. */
async function install() {
  if (await installed()) return undefined;
  // Without a lock: the versions are pinned, and a lock would have to name the binaries of platforms that not every
  // registry holds, which npm ci then refuses. Without install scripts: npm may hold them back, and the binaries are used where npm puts them.
  const npm = process.env.npm_execpath;
  const command = npm?.endsWith(".js") ? [process.execPath, npm] : ["npm"];
  try {
    const options = {
      cwd: home,
      maxBuffer: 1 << 24,
      shell: command[0] === "npm" && process.platform === "win32",
    };
    await execute(
      command[0],
      [...command.slice(1), "install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund"],
      options,
    );
    return undefined;
  } catch (error) {
    return `npm install in test/delivery failed: ${String(error.stderr || error.message).trim()}`;
  }
}

async function installed() {
  const manifest = JSON.parse(await readFile(join(home, "package.json"), "utf8"));
  const newest = `node-${process.platform}-${process.arch}`;
  const wanted = { ...manifest.devDependencies };
  if (newest in manifest.optionalDependencies) wanted[newest] = manifest.optionalDependencies[newest];
  for (const [name, version] of Object.entries(wanted)) {
    try {
      const file = join(home, "node_modules", name, "package.json");
      if (JSON.parse(await readFile(file, "utf8")).version !== version) return false;
    } catch {
      return false;
    }
  }
  return true;
}

/** The wrapper packages `deno` and `bun` depend on one package a platform; the binary is in there. */
async function binaries(scope, names) {
  const folder = join(home, "node_modules", scope);
  const packages = await readdir(folder).catch(() => []);
  return packages.flatMap((name) => names.map((file) => join(folder, name, file)));
}

/** A browser's programs: the one that a variable names, or all of these names in PATH. */
function inPath(browser, names) {
  const given = process.env[`SPIKEGRAD_${browser}`];
  if (given) return [given];
  const folders = (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  return names.flatMap((name) => folders.map((folder) => join(folder, name)));
}

async function firstThatRuns(paths) {
  for (const path of paths) {
    try {
      await access(path, constants.X_OK);
      const { stdout } = await execute(path, ["--version"], { timeout: 60_000 });
      return { path, version: stdout.split("\n")[0].trim() };
    } catch {
      // Not there, or made for another system (musl, another processor): try the next.
    }
  }
  return undefined;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [name, runtime] of Object.entries(await findRuntimes())) {
    console.log(
      `${name}: ${"missing" in runtime ? `missing: ${runtime.missing}` : `${runtime.version} at ${runtime.path}`}`,
    );
  }
}
