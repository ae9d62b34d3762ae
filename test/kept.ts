// Properties whose counterexamples are kept: each one found is written to counterexamples.json, to be committed, and is
// tried first from then on.
import { readFileSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import { expect } from "vitest";

const FILE = new URL("./counterexamples.json", import.meta.url);

function kept(file: URL): Record<string, unknown[]> {
  return JSON.parse(readFileSync(file, "utf8"));
}

/**
 * Like `fc.assert` of a property of cases that JSON can hold.
 *
 * @param name under which counterexamples are kept
 */
export async function check<T>(
  name: string,
  cases: fc.Arbitrary<T>,
  property: (each: T) => Promise<void>,
  { numRuns, file = FILE }: { numRuns: number; file?: URL },
): Promise<void> {
  const known = (kept(file)[name] ?? []) as T[];
  const examples = known.map((each): [T] => [each]);
  const details = await fc.check(fc.asyncProperty(cases, property), { numRuns, examples });
  if (!details.failed) return;
  const [found] = details.counterexample ?? [];
  if (found !== undefined && !known.some((each) => JSON.stringify(each) === JSON.stringify(found))) {
    const all = kept(file);
    all[name] = [...known, found];
    writeFileSync(file, `${JSON.stringify(all, undefined, 2)}\n`);
  }
  const message = await fc.asyncDefaultReportMessage(details);
  expect.fail(`${message ?? "failed"}\nkept as a counterexample of "${name}" in ${file.pathname}`);
}
