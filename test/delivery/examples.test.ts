// The examples as their readers run them, beside the packed package, on a network trained for a moment: every server of examples/edge gives
// Node's answers, a digit drawn with the mouse is read, a stream of events is understood while it comes.
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import { promisify } from "node:util";
import { loadNetwork } from "spikegrad";
import { mnist } from "spikegrad/data/node";
import { afterAll, beforeAll, describe, expect, type TestContext, test } from "vitest";
import type { Installation } from "../../scripts/lib/delivery.mjs";
import { installExamples, serveEdge } from "../../scripts/lib/edge.mjs";
import { findRuntimes, loadPlaywright } from "../../scripts/runtimes.mjs";

const execute = promisify(execFile);
const POSTED = 20;

let installation: Installation;
let runtimes: Awaited<ReturnType<typeof findRuntimes>>;
let images: Uint8Array<ArrayBuffer>[];
let labels: number[];
const at = (path: string) => join(installation.folder, "examples", path);

beforeAll(async () => {
  const { test } = await mnist();
  images = Array.from({ length: POSTED }, (_, i) =>
    Uint8Array.from(test.inputs.subarray(784 * i, 784 * (i + 1))),
  );
  labels = [...test.labels.subarray(0, POSTED)];
  installation = await installExamples(12_000);
  runtimes = await findRuntimes();
}, 300_000);

afterAll(() => installation?.remove());

/** Skips, saying why, where a runtime is missing; in continuous integration, fails. */
function need(name: keyof typeof runtimes, context: TestContext): string {
  const runtime = runtimes[name];
  if ("path" in runtime) return runtime.path;
  if (process.env.SPIKEGRAD_REQUIRE_RUNTIMES === "1")
    throw new Error(`${name} is required: ${runtime.missing}`);
  return context.skip(runtime.missing);
}

describe("examples/edge", () => {
  let wanted: { digit: number; outputs: number[] }[];

  beforeAll(async () => {
    const network = await loadNetwork(await readFile(at("edge/digits.safetensors")));
    wanted = [];
    for (const image of images) {
      const { classes, outputs } = await network.predict(image);
      wanted.push({ digit: classes[0], outputs: [...outputs.data] });
    }
  });

  test("the network reads digits", () => {
    expect(wanted.filter(({ digit }, i) => digit === labels[i]).length).toBeGreaterThan(0.8 * POSTED);
  });

  for (const [name, runtime] of [
    ["node", undefined],
    ["node", "newestNode"],
    ["deno", "deno"],
    ["bun", "bun"],
    ["workerd", "workerd"],
  ] as const)
    test(`${runtime ?? "this Node"} answers posted digits with the bits of Node, and refuses what is none`, async (context) => {
      const program = runtime === undefined ? process.execPath : need(runtime, context);
      if (name === "workerd")
        await execute(process.execPath, ["examples/edge/build.mjs"], { cwd: installation.folder });
      const server = await serveEdge(name, program, installation.folder);
      const post = (body: Uint8Array<ArrayBuffer>) => fetch(server.url, { method: "POST", body });
      try {
        // At once, the first of them too, which load the network.
        const answers = await Promise.all(images.map(async (image) => (await post(image)).json()));
        expect(answers).toEqual(wanted);
        const refused = [
          await fetch(server.url),
          await post(new Uint8Array(783)),
          await post(new Uint8Array(785)),
        ];
        expect(refused.map(({ status }) => status)).toEqual([405, 400, 413]);
        // In chunks a body says nothing of its length.
        const chunked = (...parts: Uint8Array<ArrayBuffer>[]) =>
          fetch(server.url, {
            method: "POST",
            body: new Blob(parts).stream(),
            duplex: "half",
          } as RequestInit);
        const longer = await chunked(images[0], new Uint8Array(1));
        expect(longer.status).toBe(413);
        expect(await longer.json()).toEqual({ error: "more than 784 bytes" });
        const whole = await chunked(images[0].slice(0, 300), images[0].slice(300));
        expect(await whole.json()).toEqual(wanted[0]);
        expect(await refused[1].json()).toEqual({ error: "got 783 bytes; expected 784" });
        expect(await (await post(images[0])).json()).toEqual(wanted[0]);
      } finally {
        await server.stop();
      }
    });
});

test("examples/page reads what is drawn with the mouse", async (context) => {
  const executablePath = need("chromium", context);
  const server = createServer(async (request, response) => {
    const types: Record<string, string> = { ".html": "text/html", ".js": "text/javascript" };
    const path = `${request.url}`;
    const body = await readFile(at(join("page", path))).catch(() => undefined);
    response.writeHead(body ? 200 : 404, {
      "Content-Type": types[extname(path)] ?? "application/octet-stream",
    });
    response.end(body);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const args = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"];
  const browser = await (await loadPlaywright()).chromium.launch({ executablePath, args });
  try {
    const page = await browser.newPage();
    const errors: Error[] = [];
    page.on("pageerror", (error: Error) => errors.push(error));
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/index.html`);
    const box = (await page.locator("canvas").boundingBox())!;
    const draw = async (points: readonly (readonly [number, number])[]) => {
      await page.locator("button").click();
      expect(await page.locator("output").textContent()).toBe("");
      const [first, ...rest] = points.map(([x, y]) => [box.x + x, box.y + y] as const);
      await page.mouse.move(...first);
      await page.mouse.down();
      for (const point of rest) await page.mouse.move(...point, { steps: 4 });
      await page.mouse.up();
      await page.locator("output:not(:empty)").waitFor({ timeout: 20_000 });
      return await page.locator("output").textContent();
    };
    const turn = (i: number) => (2 * Math.PI * i) / 24;
    const circle = Array.from(
      { length: 25 },
      (_, i) => [140 + 55 * Math.cos(turn(i)), 140 + 85 * Math.sin(turn(i))] as const,
    );
    // Until the script has loaded the network, nothing listens to the button.
    await page.waitForFunction("document.querySelector('canvas').getContext('2d').lineWidth === 22");
    expect(await draw(circle)).toBe("0");
    expect(
      await draw([
        [150, 50],
        [130, 230],
      ]),
    ).toBe("1");
    expect(
      await draw([
        [80, 60],
        [200, 60],
        [130, 230],
      ]),
    ).toBe("7");
    expect(await page.locator("meter").count()).toBe(10);
    expect(errors).toEqual([]);
  } finally {
    await browser.close();
    server.close();
  }
});

test("examples/stream tells digits while their events come", async () => {
  const words = ["examples/stream/stream.mjs", "--count", "20", "--pace", "0"];
  const { stdout } = await execute(process.execPath, words, { cwd: installation.folder });
  const shown = stdout.trim().split("\n\n");
  const summary = shown.pop();
  expect(shown).toHaveLength(POSTED);
  const digits = shown.map((text) => {
    const lines = text.split("\n");
    const steps = lines.slice(0, -1).map((line) => {
      const [, step, answer, sure] =
        /^step +(\d+): (\d) \(([01]\.\d\d)\), [1-9]\d* events, \d+ spikes$/.exec(line) ?? [];
      return { step: Number(step), answer: Number(answer), sure: Number(sure) };
    });
    expect(
      steps.map(({ step }) => step),
      text,
    ).toEqual([1, 5, 10, 15, 20, 25]);
    const [, answer, label] = /^ {2}read (\d), it was (\d)$/.exec(lines.at(-1) ?? "")?.map(Number) ?? [];
    return { sure: [steps[0].sure, steps[5].sure], answer, label };
  });
  expect(digits.map(({ label }) => label)).toEqual(labels);
  const surest = [0, 1].map((i) => digits.reduce((sum, { sure }) => sum + sure[i], 0) / POSTED);
  expect(surest[1]).toBeGreaterThan(surest[0] + 0.1);
  const right = digits.filter(({ answer, label }) => answer === label).length;
  expect(right).toBeGreaterThan(0.8 * POSTED);
  expect(summary).toMatch(new RegExp(`^${right} of ${POSTED} right; a step takes [\\d.]+ ms`));
});
