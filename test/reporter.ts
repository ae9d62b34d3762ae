import type { TestCase, TestModule } from "vitest/node";
import { DefaultReporter } from "vitest/node";

/**
 * The default report, then every skipped test with its reason, then one line that counts.
 * A test that is skipped without a reason fails the run: skip with `context.skip("why")`.
 */
export default class CountingReporter extends DefaultReporter {
  override async onTestRunEnd(...args: Parameters<DefaultReporter["onTestRunEnd"]>): Promise<void> {
    await super.onTestRunEnd(...args);
    const modules: readonly TestModule[] = args[0];
    const count = { passed: 0, failed: 0, skipped: 0 };
    for (const module of modules) {
      const tests = [...module.children.allTests()];
      // A file that could not be collected has no tests to count, and an error.
      if (module.state() === "failed" && !tests.some((test) => test.result().state === "failed"))
        count.failed++;
      for (const test of tests) {
        const { state } = test.result();
        if (state === "passed" || state === "failed") count[state]++;
        else {
          count.skipped++;
          this.log(`skipped: ${test.fullName}: ${reason(test)}`);
        }
      }
    }
    this.log(`${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`);
  }
}

function reason(test: TestCase): string {
  const result = test.result();
  const note = result.state === "skipped" ? result.note : undefined;
  if (note) return note;
  process.exitCode = 1;
  return "NO REASON GIVEN, which fails the run";
}
