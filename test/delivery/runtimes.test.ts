// The package as packed, installed in an empty folder, in every runtime: the same bits.
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, type TestContext, test } from "vitest";
import { Installation } from "../../scripts/lib/delivery.mjs";
import { buildForEdgeLight, runAtEdgeLight } from "../../scripts/lib/edge-light.mjs";
import { findRuntimes } from "../../scripts/runtimes.mjs";

type Runtimes = Awaited<ReturnType<typeof findRuntimes>>;
type Hashes = Record<"simd" | "scalar", { before: string; after: string }>;

const here = fileURLToPath(new URL(".", import.meta.url));

let installation: Installation;
let runtimes: Runtimes;
let expected: Hashes;
let answers: Record<string, { outputs: number[]; live: unknown[] }>;

beforeAll(async () => {
  installation = await Installation.make(
    [
      "train.mjs",
      "print.mjs",
      "infer-make.mjs",
      "infer.mjs",
      "infer-print.mjs",
      "edge-light.mjs",
      "page.html",
    ].map((file) => join(here, file)),
  );
  runtimes = await findRuntimes();
  expected = await installation.run("node", process.execPath, "print.mjs");
  answers = await installation.run("node", process.execPath, "infer-make.mjs");
}, 300_000);

afterAll(() => installation?.remove());

/** The path of the runtime, or a skip that says why; in continuous integration, a failure. */
function need(name: keyof Runtimes, context: TestContext): string {
  const runtime = runtimes[name];
  if ("path" in runtime) return runtime.path;
  if (process.env.SPIKEGRAD_REQUIRE_RUNTIMES === "1")
    throw new Error(`${name} is required: ${runtime.missing}`);
  return context.skip(runtime.missing);
}

test("the tarball brings no other package", async () => {
  const installed = (await readdir(join(installation.folder, "node_modules"))).filter(
    (name) => !name.startsWith("."),
  );
  expect(installed).toEqual(["spikegrad"]);
});

test("Node trains, to the same bits with SIMD and without", () => {
  expect(expected.simd.after).toMatch(/^[0-9a-f]{64}$/);
  expect(expected.simd.after).not.toBe(expected.simd.before);
  expect(expected.scalar).toEqual(expected.simd);
});

test("Deno, without a permission, comes to Node's bits", async (context) => {
  const deno = need("deno", context);
  expect(await installation.run("deno", deno, "print.mjs")).toEqual(expected);
});

test("Bun comes to Node's bits", async (context) => {
  expect(await installation.run("bun", need("bun", context), "print.mjs")).toEqual(expected);
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

describe("spikegrad/infer has the answers of the whole library", () => {
  test("which are of each method, and not all the same", () => {
    expect(Object.keys(answers)).toEqual(["lee", "bpsta", "decolle", "stdbp", "surrogate"]);
    for (const { outputs } of Object.values(answers)) expect(new Set(outputs).size).toBeGreaterThan(4);
  });

  test("in Node", async () => {
    expect(await installation.run("node", process.execPath, "infer-print.mjs")).toEqual(answers);
  });

  test("in Deno, without a permission", async (context) => {
    expect(await installation.run("deno", need("deno", context), "infer-print.mjs")).toEqual(answers);
  });

  test("in Bun", async (context) => {
    expect(await installation.run("bun", need("bun", context), "infer-print.mjs")).toEqual(answers);
  });

  const inPage = 'import("/infer.mjs").then((module) => module.run())';

  test("in Chromium", async (context) => {
    expect(await installation.evaluate(need("chromium", context), "", inPage)).toEqual(answers);
  });

  test("in Firefox", async (context) => {
    expect(await installation.report(need("firefox", context), inPage)).toEqual(answers);
  });

  test("where bytes may not be compiled, under the condition edge-light; so has the whole library", async () => {
    await buildForEdgeLight(
      join(installation.folder, "edge-light.mjs"),
      join(installation.folder, "edge-light"),
    );
    expect(await runAtEdgeLight(join(installation.folder, "edge-light"))).toEqual({
      refusals: ["CompileError", "CompileError", "EvalError"],
      inferred: answers,
      whole: answers,
    });
  });
});

interface PageResult {
  hashes?: Hashes;
  error?: { name: string; code?: string; message: string };
}

// As text: what reaches the page must not have been through Vite, which replaces import().
const IN_PAGE = `import("/train.mjs").then((module) => module.run()).then(
  (hashes) => ({ hashes }),
  ({ name, code, message }) => ({ error: { name, code, message } }),
)`;

function runInPage(chromium: string, policy: string): Promise<PageResult> {
  return installation.evaluate(chromium, policy, IN_PAGE);
}
