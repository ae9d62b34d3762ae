// The package as packed, installed in an empty folder, in every runtime: the same bits.
import { execFile } from "node:child_process";
import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, type TestContext, test } from "vitest";
import { findRuntimes, loadPlaywright } from "../../scripts/runtimes.mjs";

type Runtimes = Awaited<ReturnType<typeof findRuntimes>>;
type Hashes = Record<"simd" | "scalar", { before: string; after: string }>;

const execute = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));
const here = fileURLToPath(new URL(".", import.meta.url));

let folder: string;
let runtimes: Runtimes;
let expected: Hashes;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "spikegrad-delivery-"));
  const [packed] = await Promise.all([
    pack(),
    writeFile(join(folder, "package.json"), '{ "type": "module" }\n'),
  ]);
  await npm(folder, "install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund", packed);
  for (const file of ["train.mjs", "print.mjs", "page.html"])
    await copyFile(join(here, file), join(folder, file));
  runtimes = await findRuntimes();
  expected = await print(process.execPath, ["print.mjs"]);
}, 300_000);

afterAll(() => rm(folder, { recursive: true, force: true }));

/** The path of the runtime, or a skip that says why; in continuous integration, a failure. */
function need(name: keyof Runtimes, context: TestContext): string {
  const runtime = runtimes[name];
  if ("path" in runtime) return runtime.path;
  if (process.env.SPIKEGRAD_REQUIRE_RUNTIMES === "1")
    throw new Error(`${name} is required: ${runtime.missing}`);
  return context.skip(runtime.missing);
}

test("the tarball brings no other package", async () => {
  const installed = (await readdir(join(folder, "node_modules"))).filter((name) => !name.startsWith("."));
  expect(installed).toEqual(["spikegrad"]);
});

test("Node trains, to the same bits with SIMD and without", () => {
  expect(expected.simd.after).toMatch(/^[0-9a-f]{64}$/);
  expect(expected.simd.after).not.toBe(expected.simd.before);
  expect(expected.scalar).toEqual(expected.simd);
});

test("Deno, without a permission, comes to Node's bits", async (context) => {
  const deno = need("deno", context);
  expect(
    await print(deno, ["run", "--no-prompt", "--no-remote", "--node-modules-dir=manual", "print.mjs"]),
  ).toEqual(expected);
});

test("Bun comes to Node's bits", async (context) => {
  expect(await print(need("bun", context), ["run", "print.mjs"])).toEqual(expected);
});

describe("Chromium", () => {
  test("comes to Node's bits", async (context) => {
    expect(await runInPage(need("chromium", context), "")).toEqual({ hashes: expected });
  });

  test("needs no more of a content security policy than 'wasm-unsafe-eval'", async (context) => {
    const policy = "default-src 'none'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'";
    expect(await runInPage(need("chromium", context), policy)).toEqual({ hashes: expected });
  });

  test("says what a policy without it lacks", async (context) => {
    const policy = "default-src 'none'; script-src 'self' 'unsafe-inline'";
    const { error } = await runInPage(need("chromium", context), policy);
    expect(error).toMatchObject({ name: "MissingError", code: "ERR_MISSING" });
    expect(error?.message).toContain("'wasm-unsafe-eval'");
  });
});

async function pack(): Promise<string> {
  const { stdout } = await npm(root, "pack", "--ignore-scripts", "--json", "--pack-destination", folder);
  return join(folder, JSON.parse(stdout)[0].filename);
}

function npm(cwd: string, ...args: string[]) {
  const path = process.env.npm_execpath;
  const [command, first] = path?.endsWith(".js") ? [process.execPath, [path]] : ["npm", []];
  return execute(command, [...first, ...args], { cwd, maxBuffer: 1 << 24 });
}

async function print(command: string, args: string[]): Promise<Hashes> {
  // A home of its own: nothing that a runtime has cached or configured elsewhere takes part.
  const env = {
    PATH: process.env.PATH,
    HOME: folder,
    DENO_DIR: join(folder, ".deno"),
    DENO_NO_UPDATE_CHECK: "1",
  };
  const { stdout } = await execute(command, args, { cwd: folder, env, timeout: 120_000 });
  return JSON.parse(stdout);
}

interface PageResult {
  hashes?: Hashes;
  error?: { name: string; code?: string; message: string };
}

// As text: what reaches the page must not have been through Vite, which replaces import().
const IN_PAGE = `import("/train.mjs").then((module) => module.run()).then(
  (hashes) => ({ hashes }),
  ({ name, code, message }) => ({ error: { name, code, message } }),
)`;

async function runInPage(chromium: string, policy: string): Promise<PageResult> {
  const server = await serve(policy);
  const playwright = await loadPlaywright();
  const browser = await playwright.chromium.launch({
    executablePath: chromium,
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--no-first-run",
    ],
  });
  try {
    const page = await browser.newPage();
    await page.goto(`http://localhost:${(server.address() as AddressInfo).port}/page.html`);
    return await page.evaluate(IN_PAGE);
  } finally {
    await browser.close();
    server.close();
  }
}

/** Serves the folder of the installed package. */
async function serve(policy: string): Promise<Server> {
  const types: Record<string, string> = { html: "text/html", js: "text/javascript", mjs: "text/javascript" };
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    try {
      const body = await readFile(join(folder, pathname));
      const type = types[pathname.split(".").pop() ?? ""] ?? "application/octet-stream";
      response.setHeader("Content-Type", type);
      if (policy !== "") response.setHeader("Content-Security-Policy", policy);
      response.end(body);
    } catch {
      response.statusCode = 404;
      response.end();
    }
  });
  await new Promise<void>((listening) => server.listen(0, "localhost", listening));
  return server;
}
