// spikegrad/infer: files of the whole library, the same bits.
import * as fullLibrary from "spikegrad";
import {
  avgPool2d,
  batchNorm,
  bpsta,
  conv2d,
  createNetwork,
  crossEntropy,
  decolle,
  dense,
  direct,
  dropout,
  earliestPool2d,
  firstSpike,
  latency,
  lee,
  maxPool2d,
  type Network,
  type NetworkOptions,
  neuron,
  poisson,
  residual,
  sgd,
  spikes,
  stdbp,
  surrogate,
  times,
} from "spikegrad";
import * as inference from "spikegrad/infer";
import { describe, expect, test } from "vitest";
import { generator } from "./cases.ts";
import { bits, failure } from "./support.ts";

/** What a call throws: the bundle that infers has error classes of its own. */
async function thrown(call: () => unknown): Promise<inference.SpikegradError> {
  const error = await Promise.resolve()
    .then(call)
    .catch((cause: unknown) => cause);
  expect(error).toBeInstanceOf(inference.SpikegradError);
  return error as inference.SpikegradError;
}

const image = [2, 8, 8];
const NETWORKS: Record<string, NetworkOptions> = {
  "lee, convolution, pool, dropout, residual": {
    input: image,
    encoder: poisson({ steps: 9, signed: true }),
    method: lee(),
    layers: [
      conv2d(6, 3, { padding: 1 }),
      dropout(0.2),
      avgPool2d(2),
      residual([conv2d(6, 3, { padding: 1 }), conv2d(6, 3, { padding: 1 })]),
      dense(5),
    ],
    loss: crossEntropy(),
  },
  "lee, latency": {
    input: [20],
    encoder: latency({ steps: 7 }),
    method: lee(),
    layers: [dense(24), dense(4)],
  },
  "bpsta, batch normalisation, max pool": {
    input: image,
    encoder: direct({ steps: 6 }),
    method: bpsta(),
    layers: [conv2d(8, 3), batchNorm(), neuron(), maxPool2d(2), dense(20), neuron(), dense(20), neuron()],
  },
  "bpsta, dense": {
    input: [30],
    encoder: spikes({ steps: 6 }),
    method: bpsta(),
    layers: [dense(40), dense(20)],
  },
  "surrogate, recurrent": {
    input: [18],
    encoder: spikes({ steps: 8 }),
    method: surrogate({ decay: 0.9, synapticDecay: 0.8 }),
    layers: [dense(21, { recurrent: true }), dense(3)],
  },
  "surrogate, convolution, direct": {
    input: image,
    encoder: direct({ steps: 5 }),
    method: surrogate(),
    layers: [conv2d(5, 3), maxPool2d(2), dense(33), dense(4)],
  },
  "surrogate, dense, direct": {
    input: [25],
    encoder: direct({ steps: 5 }),
    method: surrogate(),
    layers: [dense(40), dense(4)],
  },
  "decolle, convolution": {
    input: image,
    encoder: spikes({ steps: 10 }),
    method: decolle({ classes: 4, burnIn: 2 }),
    layers: [conv2d(5, 3), maxPool2d(2), dropout(0.3), dense(12)],
  },
  "decolle, dense": {
    input: [18],
    encoder: poisson({ steps: 10 }),
    method: decolle({ classes: 4, burnIn: 2 }),
    layers: [dense(40), dense(12)],
  },
  "stdbp, convolution, pool": {
    input: [1, 8, 8],
    encoder: firstSpike({}),
    method: stdbp(),
    layers: [conv2d(4, 3), earliestPool2d(2), dense(5)],
  },
  "stdbp, dense": { input: [12], encoder: times({}), method: stdbp(), layers: [dense(17), dense(3)] },
};

/** Eleven samples, more than go together anywhere. */
function samplesFor(network: Network, count: number): Float32Array {
  const random = generator(7);
  const { encoder, input } = network.description;
  const length = input.reduce((a, b) => a * b, 1) * (encoder.kind === "spikes" ? encoder.steps : 1);
  const binary = encoder.kind === "spikes";
  return Float32Array.from({ length: count * length }, () => (binary ? (random() < 0.4 ? 1 : 0) : random()));
}

describe("spikegrad/infer", () => {
  test.each(Object.entries(NETWORKS))("%s: predicts and steps with the same bits", async (_, option) => {
    using whole = await createNetwork({ ...option, seed: 11 });
    // Random numbers of a stale state would hide a parameter at the wrong place; zeros would too.
    const random = generator(5);
    for (const [name, { data }] of whole.parameters.entries()) {
      const positive = name.endsWith("running_var");
      whole.parameters.set(
        name,
        data.map((x) => (positive ? 0.5 + random() : x * 1.5 + 0.05 * random())),
      );
    }
    using small = await inference.loadNetwork(whole.save());
    expect(small.description).toEqual(whole.description);
    const inputs = samplesFor(whole, 11);
    const expected = await whole.predict(inputs, { epoch: 2, firstSample: 3 });
    const found = await small.predict(inputs, { epoch: 2, firstSample: 3 });
    expect(bits(found.outputs.data)).toEqual(bits(expected.outputs.data));
    expect(found.classes).toEqual(expected.classes);
    expect(new Set(found.outputs.data).size, "answers that differ").toBeGreaterThan(1);
    if (whole.description.method.kind === "stdbp") {
      expect(await thrown(() => small.step(new Float32Array(12)))).toBeInstanceOf(inference.StateError);
      return;
    }
    const size = whole.inputShape.reduce((a, b) => a * b, 1);
    const frames = inputs.length / size;
    for (const round of [0, 1]) {
      let spikesSeen = 0;
      for (let t = 0; t < 12; t++) {
        const frame = inputs.subarray((t % frames) * size, ((t % frames) + 1) * size);
        const [a, b] = [whole.step(frame), small.step(frame)];
        expect(bits(b.outputs), `round ${round}, step ${t}`).toEqual(bits(a.outputs));
        expect(b.spikes).toBe(a.spikes);
        spikesSeen += b.spikes;
      }
      expect(spikesSeen).toBeGreaterThan(0);
      whole.reset();
      small.reset();
    }
  });

  test("takes a checkpoint, and any core of the package", async () => {
    using whole = await createNetwork({ ...NETWORKS["lee, latency"], seed: 3 });
    const inputs = samplesFor(whole, 4);
    const data = { inputs, shape: [20], labels: Uint8Array.of(0, 1, 2, 3), classes: 4 };
    for await (const _ of whole.fit(data, { epochs: 1, batchSize: 2, optimizer: sgd({ rate: 0.01 }) }));
    const expected = await whole.predict(inputs);
    const { readFile } = await import("node:fs/promises");
    for (const file of ["spikegrad.infer.wasm", "spikegrad.wasm", "spikegrad.scalar.wasm"]) {
      const wasm = await readFile(new URL(`../../dist/${file}`, import.meta.url));
      using small = await inference.loadNetwork(whole.checkpoint(), { wasm });
      expect(bits((await small.predict(inputs)).outputs.data), file).toEqual(bits(expected.outputs.data));
    }
    const core = await readFile(new URL("../../dist/spikegrad.infer.wasm", import.meta.url));
    const refusal = await failure(() => fullLibrary.loadNetwork(whole.save(), { wasm: core }));
    expect(refusal).toBeInstanceOf(fullLibrary.FormatError);
    expect(refusal.message).toContain("infer");
  });

  test("refuses what is no file of a network, with its own typed errors", async () => {
    using whole = await createNetwork({ ...NETWORKS["lee, latency"], seed: 3 });
    const file = whole.save();
    const text = (from: string, to: string) => {
      const changed = Buffer.from(Buffer.from(file).toString("latin1").replace(from, to), "latin1");
      expect(changed.equals(file), from).toBe(false);
      return new Uint8Array(changed);
    };
    const bad: [string, Uint8Array][] = [
      ["empty", new Uint8Array()],
      ["torn", file.subarray(0, file.length - 5)],
      ["longer", Uint8Array.of(...file, 0)],
      ["another program's", text('"spikegrad"', '"spikegrid"')],
      ["another shape", text('\\"out\\":24', '\\"out\\":23')],
      ["an unknown layer", text('\\"kind\\":\\"dense\\"', '\\"kind\\":\\"dance\\"')],
      ["an unknown method", text('\\"kind\\":\\"lee\\"', '\\"kind\\":\\"lea\\"')],
    ];
    for (const [what, bytes] of bad) {
      const error = await thrown(() => inference.loadNetwork(bytes));
      expect(error, what).toBeInstanceOf(inference.FormatError);
      // Files have no residual blocks, so it knows none.
      const { message } = await failure(() => fullLibrary.loadNetwork(bytes));
      expect(error.message, what).toBe(message.replace(", residual", ""));
    }
    expect(await thrown(() => inference.loadNetwork("x" as never))).toBeInstanceOf(inference.ArgumentError);
    const unknown = await thrown(() => inference.loadNetwork(file, { threads: 2 } as never));
    expect(unknown).toBeInstanceOf(inference.ArgumentError);
    using small = await inference.loadNetwork(file);
    const length = await thrown(() => small.predict(new Float32Array(3)));
    expect(length).toBeInstanceOf(inference.ArgumentError);
    expect(await thrown(() => small.step(new Float32Array(3)))).toBeInstanceOf(inference.ArgumentError);
    small.dispose();
    expect(small.disposed).toBe(true);
    expect(await thrown(() => small.predict(new Float32Array(20)))).toBeInstanceOf(inference.StateError);
  });

  test("hostile headers are refused", async () => {
    using whole = await createNetwork({ ...NETWORKS["lee, latency"], seed: 3 });
    const file = Buffer.from(whole.save());
    const length = Number(file.readBigUInt64LE());
    const header = file.toString("utf8", 8, 8 + length).trimEnd();
    const refusal = async (changed: string) => {
      const bytes = Buffer.concat([Buffer.alloc(8), Buffer.from(changed), file.subarray(8 + length)]);
      bytes.writeBigUInt64LE(BigInt(Buffer.byteLength(changed)));
      const error = await thrown(() => inference.loadNetwork(new Uint8Array(bytes)));
      expect(error).toBeInstanceOf(inference.FormatError);
      return error.message;
    };
    const [entry] = /"layer0\.weight":\{[^}]*\}/.exec(header) ?? [""];
    const changed = (from: string | RegExp, to: string) => {
      const text = header.replace(from, to);
      expect(text).not.toBe(header);
      return refusal(text);
    };
    const doubled = await changed(entry, `${entry},${entry}`);
    expect(doubled).toContain("every name once");
    expect(await changed(entry, `${entry},${entry.replace("layer0", "\\u006cayer0")}`)).toBe(doubled);
    expect(await changed('"format"', '"format":"spikegrad","format"')).toContain("every name once");
    expect(await changed('"dtype"', '"dtype":"F32","dtype"')).toContain("every name once");
    expect(await changed('"F32"', '"F64"')).toContain("expected F32");
    for (const shape of ["[1.5,20]", "[-24,-20]", "24", "[1e999]", '["24",20]', `[${Array(65).fill(1)}]`])
      expect(await changed(/"shape":\[24,20\]/, `"shape":${shape}`), shape).toContain("whole numbers");
    expect(await changed(/"shape":\[24,20\]/, '"shape":[9007199254740991,9]')).toContain("2^53");
    expect(await changed(/"data_offsets":\[0,/, '"data_offsets":[4,')).toContain("data_offsets");
    expect(await changed(entry, '"layer0.weight":null')).toContain("F32");
    for (const text of ["", "[]", `${header}x`, ` ${header}`, `\ufeff${header}`, header.slice(1), '{"a"}'])
      await refusal(text);
    for (const deep of ["[".repeat(1e6), '{"a":'.repeat(1e6), `"a":${"[".repeat(1e6)}${"]".repeat(1e6)}`])
      await refusal(`{${deep}}`);
    expect(await refusal(`{"${"\\n".repeat(5e6)}":1}`)).toContain("F32");
    await refusal(`${header}${" ".repeat(2 ** 24)}`);
  });

  test("of files with faults, each is refused with a typed error or loaded", async () => {
    using whole = await createNetwork({ ...NETWORKS["decolle, dense"], seed: 3 });
    const file = whole.save();
    const random = generator(19);
    const end = 8 + Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
    for (let i = 0; i < 400; i++) {
      const faulty = file.slice(0, random() < 0.1 ? Math.floor(random() * file.length) : file.length);
      for (let faults = Math.ceil(random() * 3); faults > 0; faults--) {
        const at = Math.floor(random() * Math.min(end, faulty.length));
        faulty[at] = random() < 0.5 ? 0x20 + random() * 95 : faulty[at] ^ (1 << (random() * 8));
      }
      const outcome = await inference.loadNetwork(faulty).then(
        (network) => network.dispose(),
        (error) => error,
      );
      if (outcome !== undefined) expect(outcome, `${i}`).toBeInstanceOf(inference.SpikegradError);
    }
  });
});
