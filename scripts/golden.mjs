// Runs golden files through the public API: npm run golden -- FILE... [--build simd|scalar]
// Without --build both builds run, and their answers must agree bit for bit.
// Exit status: 0 all within bounds, 1 some not, 2 a file or an option that cannot be used.
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { parseArgs } from "node:util";
import { compareCase, differingBits, NotAvailable, readCase, runCase, UnusableFile } from "./lib/golden.mjs";

const USAGE = "usage: npm run golden -- FILE... [--build simd|scalar]";
const BUILDS = ["simd", "scalar"];

const { files, builds } = options();
const { library, io } = await load();
let failed = false;
let unusable = false;
for (const path of files) {
  try {
    failed = !(await check(path)) || failed;
  } catch (error) {
    if (!(error instanceof UnusableFile)) throw error;
    console.error(`${path}: ${error.message}`);
    unusable = true;
  }
}
process.exitCode = unusable ? 2 : failed ? 1 : 0;

/** Whether every tensor of the file is within its bound in every build. */
async function check(path) {
  const file = basename(path);
  const golden = readCase(await bytesOf(path), io);
  const runs = [];
  let ok = true;
  for (const build of builds) {
    let answers;
    try {
      answers = await runCase(golden, library, build);
    } catch (error) {
      if (error instanceof UnusableFile) throw error;
      console.log(
        `${file}: ${error instanceof NotAvailable ? "" : `${build}: ${error.name}: `}${error.message}`,
      );
      if (error instanceof NotAvailable) return false;
      ok = false;
      continue;
    }
    runs.push(answers);
    for (const result of compareCase(golden, answers)) {
      console.log(line(file, build, result));
      ok &&= result.ok;
    }
  }
  if (runs.length === 2) {
    const different = differingBits(...runs);
    console.log(
      different.length === 0
        ? `${file}  ${BUILDS.join(" = ")}  ${Object.values(runs[0]).filter(({ data }) => data).length} tensors equal bit for bit`
        : `${file}  ${BUILDS.join(" ≠ ")}  FAIL  bits differ in ${different.join(", ")}`,
    );
    ok &&= different.length === 0;
  }
  return ok;
}

function line(file, build, { name, exact, error, bound, ok, count, note }) {
  const measured = note ?? (exact ? `${error} mismatches of ${count}` : `error ${error.toExponential(2)}`);
  const allowed = exact ? "0 mismatches" : bound.toExponential();
  return `${file}  ${build.padEnd(6)}  ${name.padEnd(28)}  ${measured}  bound ${allowed}  ${ok ? "ok" : "FAIL"}`;
}

function options() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: { build: { type: "string" }, help: { type: "boolean", short: "h" } },
    });
    if (values.help) {
      console.log(USAGE);
      process.exit(0);
    }
    if (positionals.length === 0) throw new Error("no file given");
    if (values.build !== undefined && !BUILDS.includes(values.build)) {
      throw new Error(`--build ${values.build}: expected ${BUILDS.join(" or ")}`);
    }
    return { files: positionals, builds: values.build === undefined ? BUILDS : [values.build] };
  } catch (error) {
    console.error(`${error.message}\n${USAGE}`);
    return process.exit(2);
  }
}

async function load() {
  try {
    return { library: await import("spikegrad"), io: await import("spikegrad/io") };
  } catch (error) {
    if (error.code !== "ERR_MODULE_NOT_FOUND") throw error;
    console.error(`${error.message}\nbuild the library first: npm run build`);
    return process.exit(2);
  }
}

async function bytesOf(path) {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new UnusableFile(cause.message, { cause });
  }
}
