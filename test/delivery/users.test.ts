// The package as packed and installed, used as its users do: by require, through bundlers, in pages and workers, at the edge. A
// trained file is loaded everywhere, and its answers are Node's, bit for bit.
import { execFile } from "node:child_process";
import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { build as esbuild } from "esbuild";
import { afterAll, beforeAll, describe, expect, type TestContext, test } from "vitest";
import { buildForWorkerd } from "../../examples/edge/build.mjs";
import { Installation } from "../../scripts/lib/delivery.mjs";
import { startWorkerd } from "../../scripts/lib/edge.mjs";
import { findRuntimes, loadPlaywright } from "../../scripts/runtimes.mjs";

const execute = promisify(execFile);
const here = fileURLToPath(new URL(".", import.meta.url));
const tool = (path: string) => join(here, "node_modules", path);

interface Found {
  answers?: number[];
  count?: number;
  reason?: string;
  error?: { name: string; code?: string; message: string };
}

let installation: Installation;
let runtimes: Awaited<ReturnType<typeof findRuntimes>>;
let answers: number[];
type Browser = Awaited<ReturnType<Awaited<ReturnType<typeof loadPlaywright>>["chromium"]["launch"]>>;
type Tab = Awaited<ReturnType<Browser["newPage"]>>;
let browser: Browser;
const at = (path: string) => join(installation.folder, path);

beforeAll(async () => {
  const files = await readdir(join(here, "users"));
  installation = await Installation.make(files.map((file) => join(here, "users", file)));
  runtimes = await findRuntimes();
  answers = await installation.run("node", process.execPath, "make-model.mjs");
  if ("path" in runtimes.chromium) {
    browser = await launch(runtimes.chromium.path);
  }
}, 300_000);

afterAll(async () => {
  await browser?.close();
  await installation?.remove();
});

/** Skips, saying why, where a runtime is missing; in continuous integration, fails. */
function need(name: keyof typeof runtimes, context: TestContext): string {
  const runtime = runtimes[name];
  if ("path" in runtime) return runtime.path;
  if (process.env.SPIKEGRAD_REQUIRE_RUNTIMES === "1")
    throw new Error(`${name} is required: ${runtime.missing}`);
  return context.skip(runtime.missing);
}

test("the answers are those of a trained network", () => {
  expect(answers).toHaveLength(24 * 4);
  expect(new Set(answers).size).toBeGreaterThan(4);
});

describe("package.json", () => {
  test("has nothing that publint finds fault with", async () => {
    const { publint } = await import(pathToFileURL(tool("publint/src/index-node.js")).href);
    const { messages } = await publint({
      pkgDir: at("node_modules/spikegrad"),
      pack: false,
      level: "suggestion",
    });
    expect(messages).toEqual([]);
  });

  test("gives TypeScript the types of what it gives at run time", async () => {
    const archive = (await readdir(installation.folder)).find((file) => file.endsWith(".tgz")) ?? "";
    const untyped = [
      "./spikegrad.wasm",
      "./spikegrad.infer.wasm",
      "./spikegrad.scalar.wasm",
      "./spikegrad.threads.wasm",
      "./worker",
    ];
    const { stdout } = await execute(
      process.execPath,
      [
        tool("@arethetypeswrong/cli/dist/index.js"),
        at(archive),
        "--profile",
        "node16",
        "--format",
        "json",
        "--exclude-entrypoints",
        ...untyped,
      ],
      { maxBuffer: 1 << 24 },
    );
    const { analysis } = JSON.parse(stdout);
    // TypeScript's way before Node had exports is of no use to this package.
    expect(
      analysis.problems.filter((found: { resolutionKind: string }) => found.resolutionKind !== "node10"),
    ).toEqual([]);
    expect(Object.keys(analysis.entrypoints)).toContain("./io");
  });
});

test("Node takes it by require(), and errors are of one class with those of import", async () => {
  expect(await installation.run("node", process.execPath, "required.cjs")).toEqual({
    same: true,
    bits: answers,
  });
});

describe("Chromium, built with", () => {
  test("esbuild, in parts", async (context) => {
    need("chromium", context);
    await esbuildInto("built/esbuild", ["page.mjs"], { splitting: true });
    expect(await inPage("built/esbuild", "page.html")).toEqual({ answers });
  });

  test("Vite", async (context) => {
    need("chromium", context);
    const { build } = await import("vite");
    await mkdir(at("vite"), { recursive: true });
    const html = (await readFile(at("page.html"), "utf8")).replace("./page.js", "../page.mjs");
    await writeFile(at("vite/page.html"), html);
    await build({
      root: installation.folder,
      configFile: false,
      logLevel: "error",
      build: { outDir: at("built/vite"), target: "es2022", rollupOptions: { input: at("vite/page.html") } },
    });
    expect(await inPage("built/vite", "vite/page.html")).toEqual({ answers });
  });

  test("webpack", async (context) => {
    need("chromium", context);
    const { default: webpack } = await import(pathToFileURL(tool("webpack/lib/index.js")).href);
    const compiler = webpack({
      mode: "production",
      context: installation.folder,
      entry: at("page.mjs"),
      output: { path: at("built/webpack"), filename: "page.js" },
      performance: false,
    });
    const stats: { compilation: { errors: unknown[]; warnings: unknown[] } } = await promisify(
      compiler.run.bind(compiler),
    )();
    expect([stats.compilation.errors, stats.compilation.warnings]).toEqual([[], []]);
    await copyFile(at("page.html"), at("built/webpack/page.html"));
    expect(await inPage("built/webpack", "page.html")).toEqual({ answers });
  });
});

describe("Chromium, without a bundler:", () => {
  test("one file in a plain script", async (context) => {
    need("chromium", context);
    expect(await inPage(".", "one-file.html")).toEqual({ answers });
  });

  test("a page with cross-origin isolation", async (context) => {
    need("chromium", context);
    const isolated = {
      "Cross-Origin-Opener-Policy": "same-origin",
      "Cross-Origin-Embedder-Policy": "require-corp",
    };
    expect(await inPage(".", "one-file.html", isolated)).toEqual({ answers });
    expect(await inPage(".", "one-file.html", isolated, "({ isolated: crossOriginIsolated })")).toEqual({
      isolated: true,
    });
  });

  test("a policy of 'self' and 'wasm-unsafe-eval'", async (context) => {
    need("chromium", context);
    const policy = {
      "Content-Security-Policy":
        "default-src 'none'; connect-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'",
    };
    expect(await inPage(".", "one-file.html", policy)).toEqual({ answers });
  });

  test("threads under a policy of worker-src 'self': by a worker from a file, and none without", async (context) => {
    need("chromium", context);
    const headers = {
      "Cross-Origin-Opener-Policy": "same-origin",
      "Cross-Origin-Embedder-Policy": "require-corp",
      "Content-Security-Policy": "script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'",
    };
    expect(await inPage(".", "threads.html?worker", headers)).toEqual({ answers, count: 2 });
    const { reason, ...without } = await inPage(".", "threads.html", headers);
    expect(without).toEqual({ answers, count: 1 });
    expect(reason).toMatch(/worker/);
  });

  test("a policy without 'wasm-unsafe-eval' is named in the error", async (context) => {
    need("chromium", context);
    const policy = { "Content-Security-Policy": "default-src 'none'; connect-src 'self'; script-src 'self'" };
    const { error } = await inPage(".", "one-file.html", policy);
    expect(error).toMatchObject({ name: "MissingError", code: "ERR_MISSING" });
    expect(error?.message).toContain("'wasm-unsafe-eval'");
  });
});

describe("Chromium, on threads:", () => {
  const isolated = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
  };
  const ask = (what: string) => `import("./pool.mjs").then((page) => page.${what}())`;

  test("a page with cross-origin isolation has them", async (context) => {
    need("chromium", context);
    expect(await inPage(".", "plain.html", isolated, ask("loaded"))).toEqual({
      threads: { count: 2 },
      answers,
    });
  });

  test("a page without has one, says why, and gives the same bits", async (context) => {
    need("chromium", context);
    expect(await inPage(".", "plain.html", {}, ask("loaded"))).toEqual({
      threads: { count: 1, reason: expect.stringContaining("the page is not cross-origin isolated") },
      answers,
    });
  });

  test("a worker that is ended while it computes is an error soon; other networks go on", async (context) => {
    need("chromium", context);
    const found = (await inPage(".", "plain.html", isolated, ask("endWorker"))) as unknown as {
      waited: number;
    };
    expect(found).toMatchObject({
      error: { name: "WorkerError", code: "ERR_WORKER" },
      threads: { count: 2 },
      same: true,
    });
    expect(found.waited).toBeLessThan(1000);
  });

  test("nothing goes on when the page is closed while they train, and the browser closes", async (context) => {
    const own = await launch(need("chromium", context));
    try {
      const session = await own.newBrowserCDPSession();
      /** Seconds that all renderers have computed, those that are gone left out. */
      const computed = async () => {
        const { processInfo } = await session.send("SystemInfo.getProcessInfo");
        const processes = processInfo as { type: string; id: number; cpuTime: number }[];
        const renderers = processes.filter(({ type }) => type === "renderer");
        return new Map(renderers.map(({ id, cpuTime }) => [id, cpuTime]));
      };
      const growth = async () => {
        const before = await computed();
        await sleep(1000);
        return [...(await computed())].reduce((sum, [id, time]) => sum + time - (before.get(id) ?? 0), 0);
      };
      const training = async (use: (tab: Tab) => Promise<void>) => {
        await served(".", isolated, async (address) => {
          const tab = await own.newPage();
          await tab.goto(`${address}/plain.html`);
          expect(await tab.evaluate(ask("train"))).toEqual({ count: 2 });
          await use(tab);
        });
      };
      await training(async (tab) => {
        expect(tab.workers()).toHaveLength(2);
        expect(await growth()).toBeGreaterThan(0.2);
        await tab.close();
        await sleep(500);
        expect(await growth()).toBeLessThan(0.1);
      });
      await training(async () => {
        const began = performance.now();
        await own.close();
        expect(performance.now() - began).toBeLessThan(10_000);
      });
    } finally {
      await own.close();
    }
  });
});

describe("Chromium, in the background:", () => {
  const ask = (get: string) => `(async () => {
    const bytes = new Uint8Array(await (await fetch("/trained.safetensors")).arrayBuffer());
    return await new Promise(async (resolve, reject) => {
      ${get}
    });
  })()`;
  const serviceWorker = ask(`
    navigator.serviceWorker.addEventListener("message", ({ data }) => resolve(data));
    await navigator.serviceWorker.register("./worker.js", { type: "module" });
    (await navigator.serviceWorker.ready).active.postMessage(bytes);`);

  test("a web worker", async (context) => {
    need("chromium", context);
    await esbuildInto("built/worker", ["worker.mjs"], { splitting: true });
    const worker = ask(`
      const worker = new Worker("./worker.js", { type: "module" });
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = ({ message }) => reject(new Error(message));
      worker.postMessage(bytes);`);
    expect(await inPage("built/worker", "page.html", {}, worker)).toEqual({ answers });
  });

  test("a service worker, in one file", async (context) => {
    need("chromium", context);
    await esbuildInto("built/service", ["worker.mjs"], { splitting: false });
    expect(await inPage("built/service", "page.html", {}, serviceWorker)).toEqual({ answers });
  });

  test("a service worker in parts says that it needs one file", async (context) => {
    need("chromium", context);
    await esbuildInto("built/parts", ["worker.mjs"], { splitting: true });
    const { error } = await inPage("built/parts", "page.html", {}, serviceWorker);
    expect(error).toMatchObject({ name: "MissingError", code: "ERR_MISSING" });
    expect(error?.message).toContain("spikegrad/bundle");
  });
});

test("a CDN worker, in workerd", async (context) => {
  const program = need("workerd", context);
  await buildForWorkerd(at("edge.mjs"), at("built/workerd"));
  const worker = await startWorkerd(program, at("built/workerd"));
  try {
    const response = await fetch(worker.url, {
      method: "POST",
      body: await readFile(at("trained.safetensors")),
    });
    expect(await response.json()).toMatchObject({
      answers,
      inferred: answers,
      sameErrors: true,
      threads: { count: 1, reason: "this runtime has no workers" },
      threaded: answers,
    });
  } finally {
    await worker.stop();
  }
});

// ---- helpers

async function launch(chromium: string): Promise<Browser> {
  const playwright = await loadPlaywright();
  const args = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"];
  return await playwright.chromium.launch({ executablePath: chromium, args });
}

async function esbuildInto(folder: string, entries: string[], option: { splitting: boolean }): Promise<void> {
  await esbuild({
    absWorkingDir: installation.folder,
    entryPoints: entries,
    outdir: at(folder),
    bundle: true,
    format: "esm",
    logLevel: "error",
    ...option,
  });
  await copyFile(at("page.html"), at(`${folder}/page.html`));
}

/** What a page comes to: what its script leaves in `answers`, or an expression of one's own. */
async function inPage(
  folder: string,
  page: string,
  headers: Readonly<Record<string, string>> = {},
  expression = "globalThis.answers",
): Promise<Found> {
  return await served(folder, headers, async (address) => {
    const context = await browser.newContext();
    try {
      const tab = await context.newPage();
      await tab.goto(`${address}/${page}`);
      return (await tab.evaluate(expression)) as Found;
    } finally {
      await context.close();
    }
  });
}

/** Serves a folder while it is used. */
async function served<T>(
  folder: string,
  headers: Readonly<Record<string, string>>,
  use: (address: string) => Promise<T>,
): Promise<T> {
  const types: Record<string, string> = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
  };
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    const file = pathname === "/trained.safetensors" ? at(pathname) : at(join(folder, pathname));
    const body = await readFile(file).catch(() => undefined);
    response.writeHead(body ? 200 : 404, {
      ...headers,
      "Content-Type": types[extname(pathname)] ?? "application/octet-stream",
    });
    response.end(body);
  });
  await new Promise<void>((listening) => server.listen(0, "localhost", listening));
  try {
    return await use(`http://localhost:${(server.address() as AddressInfo).port}`);
  } finally {
    server.close();
  }
}
