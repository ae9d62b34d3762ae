// @ts-check
// Measures the examples in every runtime that is there, from the package as packed: one line each. Needs a checkout that is built.
//   node examples/measure.mjs [--requests 1000] [--starts 7]
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { cpus, loadavg } from "node:os";
import { extname, join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { mnist } from "spikegrad/data/node";
import { installExamples, serveEdge } from "../scripts/lib/edge.mjs";
import { findRuntimes, loadPlaywright } from "../scripts/runtimes.mjs";

const { values } = parseArgs({
  options: {
    requests: { type: "string", default: "1000" },
    starts: { type: "string", default: "7" },
  },
});
const [requests, starts] = [Number(values.requests), Number(values.starts)];
const { inputs } = (await mnist()).test;
const images = Array.from({ length: 100 }, (_, i) => inputs.slice(784 * i, 784 * (i + 1)));
const runtimes = await findRuntimes();
const load = loadavg()[0];
const installation = await installExamples(12_000);
const { folder } = installation;

console.log(
  `${cpus()[0].model}, ${cpus().length} cores, load before: ${load.toFixed(1)}; cold start: median of ${starts}; latency: ${requests} requests, one after another`,
);
try {
  await promisify(execFile)(process.execPath, ["examples/edge/build.mjs"], { cwd: folder });
  const node = { path: process.execPath, version: process.version };
  await edge("node", node);
  for (const name of /** @type {const} */ (["deno", "bun", "workerd"])) await edge(name, runtimes[name]);
  await page(runtimes.chromium);
  await stream(node);
} finally {
  await installation.remove();
}

/**
 * @param {"node" | "deno" | "bun" | "workerd"} name
 * @param {import("../scripts/runtimes.mjs").Runtime} runtime
 */
async function edge(name, runtime) {
  if ("missing" in runtime) return console.log(`edge in ${name}: not measured, ${runtime.missing}`);
  /** @type {number[]} */
  const cold = [];
  for (let i = 0; ; i++) {
    const began = performance.now();
    const server = await serveEdge(name, runtime.path, folder);
    try {
      const post = () => fetch(server.url, { method: "POST", body: images[i % images.length] });
      const first = await post();
      if (!first.ok) throw new Error(`${name}: ${first.status} ${await first.text()}`);
      await first.json();
      cold.push(performance.now() - began);
      if (cold.length < starts) continue;
      const latency = await timed(async (k) => {
        await (await fetch(server.url, { method: "POST", body: images[k % images.length] })).json();
      });
      // What HTTP takes without an answer to compute.
      const refused = await timed(async () => void (await (await fetch(server.url)).json()));
      say(
        `edge in ${name} (${runtime.version})`,
        cold,
        latency,
        `; a refused request ${ms(at(refused, 0.5))}`,
      );
      return;
    } finally {
      await server.stop();
    }
  }
}

/** @param {import("../scripts/runtimes.mjs").Runtime} runtime */
async function page(runtime) {
  if ("missing" in runtime) return console.log(`page in Chromium: not measured, ${runtime.missing}`);
  const server = createServer(async (request, response) => {
    const path = request.url === "/" ? "/index.html" : `${request.url}`;
    const types = { ".html": "text/html", ".js": "text/javascript" };
    const type = types[/** @type {".html"} */ (extname(path))] ?? "application/octet-stream";
    const body = await readFile(join(folder, "examples/page", path)).catch(() => undefined);
    // Isolated pages have finer clocks.
    const isolation = {
      "Cross-Origin-Opener-Policy": "same-origin",
      "Cross-Origin-Embedder-Policy": "require-corp",
    };
    response.writeHead(body ? 200 : 404, { "Content-Type": type, ...isolation }).end(body);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  const browser = await (await loadPlaywright()).chromium.launch({
    executablePath: runtime.path,
    args: ["--no-sandbox", "--disable-gpu"],
  });
  try {
    /** @type {number[]} */
    const cold = [];
    /** @type {number[]} */
    let latency = [];
    for (let i = 0; i < starts; i++) {
      const context = await browser.newContext();
      const tab = await context.newPage();
      await tab.goto(`http://127.0.0.1:${port}/`, { waitUntil: "commit" });
      // In the page, by its own clock, from the beginning of navigation; then the same network, again and again.
      const found = await tab.evaluate(`(async () => {
        const image = Uint8Array.from(${JSON.stringify([...images[0]])});
        const { loadNetwork } = await import("./spikegrad.js");
        const file = await (await fetch("./digits.safetensors")).arrayBuffer();
        const network = await loadNetwork(new Uint8Array(file));
        await network.predict(image);
        const cold = performance.now();
        const latency = [];
        for (let k = 0; k < ${i + 1 < starts ? 0 : requests}; k++) {
          const began = performance.now();
          await network.predict(image);
          latency.push(performance.now() - began);
        }
        return { cold, latency };
      })()`);
      cold.push(found.cold);
      latency = found.latency;
      await context.close();
    }
    say(`page in Chromium (${runtime.version}), from navigation, predict() alone`, cold, latency);
  } finally {
    await browser.close();
    server.close();
  }
}

/** @param {{ path: string, version: string }} runtime */
async function stream(runtime) {
  /** @type {number[]} */
  const cold = [];
  for (let i = 0; i < starts; i++) {
    const began = performance.now();
    const child = spawn(runtime.path, ["examples/stream/stream.mjs", "--count", "1"], { cwd: folder });
    await once(child.stdout, "data");
    cold.push(performance.now() - began);
    child.stdout.resume();
    await once(child, "close");
  }
  const args = ["examples/stream/stream.mjs", "--count", "40"];
  const { stdout } = await promisify(execFile)(runtime.path, args, { cwd: folder });
  console.log(
    `stream in node (${runtime.version}): to the first answer ${ms(at(cold, 0.5))}; ${stdout.trim().split("\n").at(-1)}`,
  );
}

/** @param {(k: number) => Promise<void>} work */
async function timed(work) {
  const times = [];
  for (let k = 0; k < requests; k++) {
    const began = performance.now();
    await work(k);
    times.push(performance.now() - began);
  }
  return times;
}

/**
 * @param {string} what
 * @param {number[]} cold
 * @param {number[]} latency
 */
function say(what, cold, latency, more = "") {
  const [median, p99] = [ms(at(latency, 0.5)), ms(at(latency, 0.99))];
  console.log(`${what}: cold start ${ms(at(cold, 0.5))}; latency ${median} (median), ${p99} (p99)${more}`);
}

/**
 * @param {number[]} times
 * @param {number} share of them that is at most the answer
 */
function at(times, share) {
  return [...times].sort((a, b) => a - b)[Math.floor(share * (times.length - 1))];
}

/** @param {number} time */
function ms(time) {
  return `${time < 10 ? time.toFixed(2) : time.toFixed(0)} ms`;
}
