import {
  ArgumentError,
  conv2d,
  createNetwork,
  dense,
  type InitializerDescriptor,
  lee,
  loadNetwork,
  orthogonal,
  scaledNormal,
  spikes,
  torchUniform,
} from "spikegrad";
import { describe, expect, it } from "vitest";

async function weights(initializer: InitializerDescriptor | undefined, inputs: number, outputs: number) {
  const network = await createNetwork({
    input: [inputs],
    encoder: spikes({ steps: 1 }),
    method: lee(),
    layers: [dense(outputs)],
    seed: 3,
    initializer,
  });
  const { data } = network.parameters.get("layer0.weight");
  network.dispose();
  return data;
}

function moments(values: Float32Array): { mean: number; deviation: number } {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const square = values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length;
  return { mean, deviation: Math.sqrt(square) };
}

describe("initialisers", () => {
  it("start weights with the distribution they name", async () => {
    const he = moments(await weights(undefined, 200, 300));
    expect(he.mean).toBeCloseTo(0, 2);
    expect(he.deviation).toBeCloseTo(Math.sqrt(2 / 200), 3);
    expect(await weights({ kind: "heNormal" }, 20, 30)).toEqual(await weights(undefined, 20, 30));
    const uniform = await weights(torchUniform(), 400, 100);
    expect(Math.max(...uniform)).toBeLessThanOrEqual(Math.fround(1 / 20));
    expect(Math.min(...uniform)).toBeGreaterThanOrEqual(-Math.fround(1 / 20));
    expect(moments(uniform).deviation).toBeCloseTo(1 / 20 / Math.sqrt(3), 3);
    const scaled = moments(await weights(scaledNormal({ mean: 0.1, deviation: 0.7 }), 100, 500));
    expect(scaled.mean).toBeCloseTo(0.01, 3);
    expect(scaled.deviation).toBeCloseTo(0.07, 3);
  });

  it.each([
    [7, 12],
    [12, 7],
    [40, 40],
  ])("make %i rows of %i orthonormal times the gain", async (rows, columns) => {
    const w = await weights(orthogonal({ gain: 2 }), columns, rows);
    const byRow = rows <= columns;
    const count = Math.min(rows, columns);
    const length = Math.max(rows, columns);
    const at = (i: number, k: number) => (byRow ? w[i * columns + k] : w[k * columns + i]);
    for (let i = 0; i < count; i++) {
      for (let j = 0; j <= i; j++) {
        let sum = 0;
        for (let k = 0; k < length; k++) sum += at(i, k) * at(j, k);
        expect(sum).toBeCloseTo(i === j ? 4 : 0, 5);
      }
    }
  });

  it("hold for a layer before they hold for the network, and are saved", async () => {
    const make = () =>
      createNetwork({
        input: [2, 6, 6],
        encoder: spikes({ steps: 2 }),
        method: lee(),
        layers: [conv2d(3, 3, { initializer: orthogonal() }), dense(4)],
        initializer: torchUniform(),
      });
    const network = await make();
    const kernel = network.parameters.get("layer0.weight").data;
    let dot = 0;
    for (let k = 0; k < 18; k++) dot += kernel[k] * kernel[18 + k];
    expect(dot).toBeCloseTo(0, 6);
    const bound = 1 / Math.sqrt(3 * 16);
    expect(network.parameters.get("layer1.weight").data.every((x) => Math.abs(x) <= bound)).toBe(true);
    const loaded = await loadNetwork(network.save());
    expect(loaded.description).toEqual(network.description);
    expect(loaded.parameters.entries()).toEqual(network.parameters.entries());
  });

  it("are refused by name when they are none", async () => {
    const bad = { kind: "xavier" } as never;
    await expect(weights(bad, 2, 2)).rejects.toThrow(ArgumentError);
    await expect(weights({ kind: "heNormal", gain: 2 } as never, 2, 2)).rejects.toThrow("initializer.gain");
    expect(() => dense(3, { initializer: bad })).toThrow("dense.initializer.kind");
    expect(() => orthogonal({ gain: 0 })).toThrow("orthogonal.gain");
    const layers = [{ kind: "dense", out: 3, initializer: bad } as never];
    const made = createNetwork({ input: [2], encoder: spikes({ steps: 1 }), method: lee(), layers });
    await expect(made).rejects.toThrow("layers[0].initializer.kind");
  });
});
