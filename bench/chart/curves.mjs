// bench/results/*.svg of the kernel benchmark and the cost curves, with Observable Plot.
import { writeFile } from "node:fs/promises";
import { loadPlot } from "./draw.mjs";

const at = (name) => new URL(`../results/${name}.svg`, import.meta.url);

/** Draws how many times as fast as the dense product spikes are, by density. */
export async function drawKernels(results, say) {
  const rows = results.filter(({ kernel }) => kernel === "spikes");
  await draw("kernels", say, {
    x: { type: "log", label: "spike density", tickFormat: "~%" },
    y: { type: "log", label: "times as fast as the dense product", grid: true, tickFormat: "~g" },
    lines: [{ rows, x: "density", y: "ratio", stroke: "shape" }],
    rule: 1,
  });
}

/** Draws the time of training against density and against size. */
export async function drawCurves(points, say) {
  const of = (curve) => points.filter((point) => point.curve === curve);
  const synapse = of("synapse").flatMap(({ density, ms, dense }) => [
    { density, ms, way: "following spikes" },
    { density, ms: dense, way: "three dense products" },
  ]);
  const against = {
    x: { label: "spike density", tickFormat: "~%" },
    y: { label: "milliseconds", grid: true, zero: true },
  };
  await draw("curve-synapse", say, {
    ...against,
    lines: [{ rows: synapse, x: "density", y: "ms", stroke: "way" }],
  });
  const network = of("network").map((point) => ({ ...point, way: "a sample" }));
  await draw("curve-network", say, {
    ...against,
    lines: [{ rows: network, x: "density", y: "ms", stroke: "way" }],
  });
  const size = of("size").map((point) => ({ ...point, way: "a sample" }));
  await draw("curve-size", say, {
    x: { type: "log", label: "hidden neurons", tickFormat: "~g" },
    y: { type: "log", label: "milliseconds", grid: true, tickFormat: "~g" },
    lines: [{ rows: size, x: "size", y: "ms", stroke: "way" }],
  });
}

async function draw(name, say, { x, y, lines, rule }) {
  if (lines.every(({ rows }) => rows.length === 0)) return;
  try {
    const { Plot, document } = await loadPlot(say);
    const root = Plot.plot({
      document,
      width: 720,
      height: 360,
      marginLeft: 60,
      marginRight: 150,
      marginBottom: 45,
      style: { background: "white", color: "black", fontFamily: "sans-serif", fontSize: "12px" },
      x,
      y,
      marks: [
        ...(rule === undefined ? [] : [Plot.ruleY([rule], { strokeDasharray: "4 3" })]),
        ...lines.flatMap(({ rows, ...channels }) => [
          Plot.line(rows, { ...channels, marker: true }),
          Plot.text(
            rows,
            Plot.selectLast({
              x: channels.x,
              y: channels.y,
              z: channels.stroke,
              text: channels.stroke,
              textAnchor: "start",
              dx: 8,
            }),
          ),
        ]),
      ],
    });
    root.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    await writeFile(at(name), `${root.outerHTML}\n`);
  } catch (error) {
    say(`no chart ${name}: ${error.message.split("\n", 1)[0]}`);
  }
}
