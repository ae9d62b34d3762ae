// Every public name is documented, with every parameter, field and error.
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, test } from "vitest";
import { entryPoints, programOf, Walk } from "./public.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const faulty = join(root, "test/docs/faulty.ts");

/** Errors that the code could throw if its callers were others: names and dtypes are its own, the core is compiled already. */
const UNREACHABLE = new Set([
  "src/network.ts createNetwork can throw StateError",
  "src/network.ts loadNetwork can throw StateError",
  "src/infer.ts loadNetwork can throw StateError",
  "src/network.ts Network: save can throw ArgumentError",
  "src/network.ts Network: checkpoint can throw ArgumentError",
  "src/network.ts Network: foldBatchNorm can throw ArgumentError",
  "src/network.ts Network: foldBatchNorm can throw FileError",
  "src/network.ts Network: foldBatchNorm can throw FormatError",
  "src/network.ts Network: foldBatchNorm can throw MissingError",
]);

let program: ReturnType<typeof programOf>;
beforeAll(() => {
  program = programOf(root, [faulty]);
}, 120_000);

test("every public name has a docstring that says all", () => {
  const walk = new Walk(root, program, [...entryPoints(root).values()]).run();
  expect(walk.names.size).toBeGreaterThan(150);
  for (const name of ["conv2d", "createNetwork", "Network", "Progress", "readIdx", "nmnist", "toFloat32"])
    expect(walk.names).toContain(name);
  const found = walk.faults.map(({ where, what }) => `${where} ${what}`);
  const excused = (fault: string) => UNREACHABLE.has(fault.replace(/, which no @throws names$/, ""));
  expect(found.filter((fault) => !excused(fault))).toEqual([]);
  // An excuse for what is no longer there hides what comes next.
  expect(found.filter(excused)).toHaveLength(UNREACHABLE.size);
}, 120_000);

test("faults are found", () => {
  const { faults } = new Walk(root, program, [faulty]).run();
  const found = faults.map(({ where, what }) => `${where.replace("test/docs/faulty.ts ", "")} ${what}`);
  const expected = [
    "unnamed has no description",
    "Fields: unsaid has no description",
    "Fields: inner: part has no description",
    "parameters parameter first has no @param",
    "parameters parameter second has no @param",
    "parameters(second) names Hidden, which no entry point exports",
    "Hidden: inside has no description",
    "parameters @param third: there is no such parameter",
    "parameters can throw ArgumentError, which no @throws names",
    "Methods: undocumented has no description",
    "Methods: documented has no description",
    "Methods: documented @throws ArgumentError: when?",
  ];
  expect(found.sort()).toEqual(expected.sort());
});
