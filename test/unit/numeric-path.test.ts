// Nothing that computes may ask the host for what hosts answer differently: the rules of the bits contract, by syntax.
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Exact by the language's definition, in every engine. */
const EXACT = [
  "PI",
  "abs",
  "ceil",
  "clz32",
  "floor",
  "fround",
  "imul",
  "max",
  "min",
  "round",
  "sqrt",
  "trunc",
];

/** Clocks and other sources of chance, and where they may be read: none of it reaches a number that is computed. */
const CLOCKS: Record<string, string[]> = {
  // Samples a second, when the event loop gets its turn, how many ranks a program is worth, and which pool is meant.
  performance: ["training-run.ts", "yield.ts", "core/engine.ts", "core/workers.ts"],
  // Ranks wake each other; who computes what is settled before.
  Atomics: ["core/worker.ts", "core/workers.ts"],
  // Locks that tell workers that their page is gone.
  navigator: ["core/worker.ts"],
  // Names of temporary files.
  randomUUID: ["io/file.ts"],
};
const SOURCES = ["Date", "Intl", "Temporal", "performance", "crypto", "randomUUID", "navigator", "Atomics"];

/** Every sort outside of the command line, by its order: none leaves two different elements equal, but as it says. */
const SORTS: Record<string, string[]> = {
  // Elements by gradient, then by place.
  "gradient-check.ts": ["(a, b) => Math.abs(gradient[b]) - Math.abs(gradient[a]) || a - b"],
  // Regions of memory, each at an address of its own.
  "core/memory.ts": ["(a, b) => a.address - b.address"],
  // Which worker takes part has no part in the result.
  "core/workers.ts": ["(a, b) => Number(a.holds(id)) - Number(b.holds(id))"],
  "data/nmnist.ts": [
    "(a, b) => a.number - b.number || a.label - b.label || compareCodePoints(a.name, b.name)",
  ],
  // Names of files, each once; by UTF-16 units, whatever the locale.
  "data/node.ts": [""],
  // Which of two empty tensors comes first is not looked at.
  "io/safetensors-header.ts": ["(a, b) => a.begin - b.begin || a.end - b.end"],
  // Names are there once.
  "io/safetensors-write.ts": [
    "(a, b) => rank(a.dtype) - rank(b.dtype) || compareCodePoints(a.name, b.name)",
    "([a], [b]) => compareCodePoints(a, b)",
  ],
};

interface Findings {
  readonly faults: string[];
  readonly sorts: string[];
}

/** What of the rules a source breaks, and its sorts. */
function scan(file: string, text: string): Findings {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const found: Findings = { faults: [], sorts: [] };
  const fault = (node: ts.Node) => found.faults.push(`${file}: ${node.getText().replace(/\s+/g, " ")}`);
  const isMath = (node: ts.Node) => ts.isIdentifier(node) && node.text === "Math";
  const visit = (node: ts.Node): void => {
    if (ts.isIdentifier(node)) {
      const { parent } = node;
      const member = ts.isPropertyAccessExpression(parent) && parent.name === node;
      if (node.text === "Math" && !(ts.isPropertyAccessExpression(parent) && isMath(parent.expression)))
        fault(parent);
      if (SOURCES.includes(node.text) && !member && !CLOCKS[node.text]?.includes(file)) fault(parent);
    } else if (ts.isPropertyAccessExpression(node)) {
      if (isMath(node.expression) && !EXACT.includes(node.name.text)) fault(node);
      if (/^toLocale|^localeCompare$/.test(node.name.text)) fault(node);
      if (/^(sort|toSorted)$/.test(node.name.text) && ts.isCallExpression(node.parent))
        found.sorts.push(
          node.parent.arguments.map((order) => order.getText().replace(/\s+/g, " ")).join(", "),
        );
    } else if (ts.isBinaryExpression(node)) {
      // Powers of whole numbers are exact, others are not even the same in one engine at all times.
      const power = node.operatorToken.kind === ts.SyntaxKind.AsteriskAsteriskToken;
      const whole = [node.left, node.right].every((side) => /^-?\d+$/.test(side.getText()));
      if (power && !whole) fault(node);
      if (node.operatorToken.kind === ts.SyntaxKind.AsteriskAsteriskEqualsToken) fault(node);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

describe("what computes", () => {
  const files = readdirSync(`${root}/src`, { recursive: true, encoding: "utf8" })
    .map((name) => name.replaceAll("\\", "/"))
    .filter((name) => name.endsWith(".ts") && !name.startsWith("cli/"));
  const all = files.map((file) => ({ file, ...scan(file, readFileSync(`${root}/src/${file}`, "utf8")) }));

  test("asks the host for no transcendental function, no power, no clock, no locale", () => {
    expect(files.length).toBeGreaterThan(50);
    expect(all.flatMap(({ faults }) => faults)).toEqual([]);
  });

  test("sorts by orders that leave nothing equal", () => {
    const sorts = Object.fromEntries(
      all.filter(({ sorts }) => sorts.length > 0).map(({ file, sorts }) => [file, sorts]),
    );
    expect(sorts).toEqual(SORTS);
  });

  test.each([
    "Math.exp(1)",
    "Math.hypot(1, 2)",
    "Math.random()",
    "const { cos } = Math",
    'Math["sin"](1)',
    "const m = Math",
    "x ** 2",
    "2 ** x",
    "x **= 2",
    "Date.now()",
    "new Date()",
    "a.localeCompare(b)",
    "n.toLocaleString()",
    "performance.now()",
  ])("would not get away with %s", (code) => {
    expect(scan("x.ts", code).faults).not.toEqual([]);
  });

  test.each([
    "Math.sqrt(2)",
    "2 ** 32 - 1",
    "2 ** -23",
    "a.performance",
    "Math.max(1, 2)",
  ])("may say %s", (code) => {
    expect(scan("x.ts", code).faults).toEqual([]);
  });

  test("has no other source in the core: its own Math, without a seed from the host", () => {
    const folder = `${root}/assembly`;
    const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((n) => n.endsWith(".ts"));
    for (const name of names) {
      const text = readFileSync(`${folder}/${name}`, "utf8");
      expect(text, name).not.toMatch(/JSMath|\bDate\b|seedRandom|\bMathf?\.random/);
    }
    // What Math means is set by the compiler: NativeMath unless it is told otherwise.
    expect(readFileSync(`${root}/asconfig.json`, "utf8")).not.toMatch(/Math=/);
  });
});
