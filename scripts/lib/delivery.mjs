// The package as packed, installed in an empty folder, and run in every runtime. Shared by the delivery test and the digest.
import { execFile, spawn } from "node:child_process";
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { loadPlaywright } from "../runtimes.mjs";

const execute = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));

/** A folder with the packed library installed and `files` beside it. */
export class Installation {
  /** @param {string} folder */
  constructor(folder) {
    this.folder = folder;
  }

  /** @param {readonly string[]} files to copy beside the package */
  static async make(files) {
    const folder = await mkdtemp(join(tmpdir(), "spikegrad-delivery-"));
    const installation = new Installation(folder);
    await writeFile(join(folder, "package.json"), '{ "type": "module" }\n');
    const { stdout } = await npm(root, "pack", "--ignore-scripts", "--json", "--pack-destination", folder);
    const packed = join(folder, JSON.parse(stdout)[0].filename);
    await npm(folder, "install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund", packed);
    for (const file of files) await copyFile(file, join(folder, basename(file)));
    return installation;
  }

  async remove() {
    await rm(this.folder, { recursive: true, force: true });
  }

  /**
   * Runs a script of the folder in Node, Deno or Bun; what it prints, parsed as JSON.
   * @param {"node" | "deno" | "bun"} name
   * @param {string} path of the runtime
   * @param {string} script
   * @returns {Promise<any>}
   */
  async run(name, path, script) {
    // Deno without a permission: the default entry must not need one.
    const words = {
      node: [],
      deno: ["run", "--no-prompt", "--no-remote", "--node-modules-dir=manual"],
      bun: ["run"],
    };
    // A home of its own: nothing that a runtime has cached or configured elsewhere takes part.
    const env = {
      PATH: process.env.PATH,
      HOME: this.folder,
      DENO_DIR: join(this.folder, ".deno"),
      DENO_NO_UPDATE_CHECK: "1",
    };
    const options = { cwd: this.folder, env, timeout: 300_000, maxBuffer: 1 << 24 };
    const { stdout } = await execute(path, [...words[name], script], options).catch((error) => {
      // The line of the bundle that Node shows above it is long.
      const lines = String(error.stderr)
        .split("\n")
        .filter((line) => line.length < 1000 && line.trim() !== "");
      throw new Error(`${name}: ${lines.slice(-12).join("\n") || error.message}`);
    });
    return JSON.parse(stdout);
  }

  /**
   * Evaluates an expression in a page of Chromium that is served the folder under a content security policy.
   * As text: what reaches the page must not have been through a bundler.
   * @param {string} chromium path
   * @param {string} policy "" for none
   * @param {string} expression
   * @param {boolean} [isolated] cross-origin isolated, so that memory can be shared
   * @returns {Promise<any>}
   */
  async evaluate(chromium, policy, expression, isolated = false) {
    const server = await serve(this.folder, policy, isolated);
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
      await page.goto(`http://localhost:${server.address().port}/page.html`);
      return await page.evaluate(expression);
    } finally {
      await browser.close();
      server.close();
    }
  }

  /**
   * The same in Firefox, which needs no driver for this: the page sends what the expression comes to.
   * @param {string} firefox path
   * @param {string} expression a promise of what JSON can hold
   * @returns {Promise<any>}
   */
  async report(firefox, expression) {
    const profile = await mkdtemp(join(tmpdir(), "spikegrad-firefox-"));
    const send = 'fetch("/report", { method: "POST", body: JSON.stringify(answer) })';
    const page = await readFile(join(this.folder, "page.html"), "utf8");
    const script = `${expression}.then((value) => ({ value }), (error) => ({ error: String(error) }))
      .then((answer) => ${send});`;
    await writeFile(join(this.folder, "report.html"), `${page}<script type="module">${script}</script>\n`);
    let timer;
    let server;
    try {
      const done = new Promise((resolve, reject) => {
        timer = setTimeout(() => reject(new Error("firefox: no answer in 300 s")), 300_000);
        server = serve(this.folder, "", true, resolve);
      });
      const { port } = (await server).address();
      const address = `http://localhost:${port}/report.html`;
      const { value, error } = await during(
        firefox,
        ["--headless", "--no-remote", "--profile", profile, address],
        done,
      );
      if (error !== undefined) throw new Error(`firefox: ${error}`);
      return value;
    } finally {
      clearTimeout(timer);
      (await server)?.close();
      await rm(profile, { recursive: true, force: true, maxRetries: 5 });
    }
  }
}

/** Runs `program` with `args` until `done` settles, and no longer than it takes. */
async function during(program, args, done) {
  const child = spawn(program, args, { stdio: "ignore" });
  const over = new Promise((_, reject) => {
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`${program} ended by itself, with exit code ${code}`)));
  });
  try {
    return await Promise.race([done, over]);
  } finally {
    over.catch(() => undefined);
    const ended = new Promise((resolve) => child.on("close", resolve));
    if (child.exitCode === null && child.kill()) await ended;
  }
}

/**
 * @param {string} cwd
 * @param {string[]} args
 */
function npm(cwd, ...args) {
  const path = process.env.npm_execpath;
  const [command, first] = path?.endsWith(".js") ? [process.execPath, [path]] : ["npm", []];
  return execute(command, [...first, ...args], { cwd, maxBuffer: 1 << 24 });
}

/**
 * @param {string} folder
 * @param {string} policy
 * @param {boolean} isolated
 * @param {(answer: any) => void} [report] gets what is sent to /report
 */
async function serve(folder, policy, isolated, report) {
  /** @type {Record<string, string>} */
  const types = { html: "text/html", js: "text/javascript", mjs: "text/javascript" };
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    try {
      if (report !== undefined && request.method === "POST" && pathname === "/report") {
        const parts = [];
        for await (const part of request) parts.push(part);
        response.end();
        return report(JSON.parse(Buffer.concat(parts).toString()));
      }
      const body = await readFile(join(folder, pathname));
      const type = types[pathname.split(".").pop() ?? ""] ?? "application/octet-stream";
      response.setHeader("Content-Type", type);
      if (policy !== "") response.setHeader("Content-Security-Policy", policy);
      if (isolated) {
        response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
        response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
      }
      response.end(body);
    } catch {
      response.statusCode = 404;
      response.end();
    }
  });
  await new Promise((listening) => server.listen(0, "localhost", () => listening(undefined)));
  return server;
}
