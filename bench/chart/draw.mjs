// bench/results/ratios.svg with Observable Plot.
import { writeFile } from "node:fs/promises";
import { install } from "../lib/install.mjs";
import { readResults } from "../lib/results.mjs";

/** Ratios of all workloads. */
export const CHART = new URL("../results/ratios.svg", import.meta.url);

/** Draws the ratios of all saved results; says why where it cannot. */
export async function drawChart(say) {
  try {
    const { Plot, document } = await loadPlot(say);
    await writeFile(CHART, svg(Plot, document, await readResults("speed")));
  } catch (error) {
    say(`no chart: ${error.message.split("\n", 1)[0]}`);
  }
}

/** Observable Plot and a document for it to draw in; installs them where they are missing. */
export async function loadPlot(say) {
  await install("chart", say);
  const Plot = await import("@observablehq/plot");
  const { parseHTML } = await import("linkedom");
  const { document } = parseHTML("<html><body></body></html>");
  return { Plot, document };
}

function svg(Plot, document, results) {
  const rows = results.map((result) => ({
    ...result,
    label: `${result.workload} ${result.mode}${result.threads > 1 ? ` (${result.threads} threads)` : ""}, ${result.peer}`,
  }));
  const root = Plot.plot({
    document,
    width: 720,
    height: 60 + 24 * rows.length,
    marginLeft: 200,
    marginRight: 60,
    marginBottom: 45,
    style: { background: "white", color: "black", fontFamily: "sans-serif", fontSize: "12px" },
    x: {
      type: "log",
      label: "times as fast as the peer (1: equal)",
      labelOffset: 40,
      tickFormat: "~g",
      grid: true,
    },
    y: { label: null, domain: rows.map(({ label }) => label), padding: 0.2 },
    color: { legend: false },
    marks: [
      Plot.barX(rows, { x1: 1, x2: "ratio", y: "label", fill: "peer" }),
      Plot.text(rows, {
        x: ({ ratio }) => Math.max(ratio, 1),
        y: "label",
        text: ({ ratio }) => `${ratio.toPrecision(3)}×`,
        textAnchor: "start",
        dx: 4,
      }),
      Plot.ruleX([1]),
    ],
  });
  root.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  return `${root.outerHTML}\n`;
}
