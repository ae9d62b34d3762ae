// jax_peer.mjs surrogate --start FILE: jax-js on its WebAssembly backend, the only one that it has in Node; loss, gradients
// and Adam are one compiled function. Functions take over the arrays they are given: `.ref` keeps one.
import { readArguments, repeated, serve, skip } from "./serve.mjs";

const [STEPS, DECAY] = [25, 0.95];
const { workload, start, rateScale } = readArguments();
const RATE = 5e-4 * rateScale;
if (workload !== "surrogate") skip(`there is no ${workload} in jax-js`);

const jax = await load();
const { numpy: np, nn, lax } = jax;
if (!(await jax.init("wasm")).includes("wasm")) skip("jax-js has no wasm backend here");
jax.defaultDevice("wasm");

const tensor = (name) => np.array(start[name].data).reshape(start[name].shape);
let parameters = ["layer0.weight", "layer0.bias", "layer1.weight", "layer1.bias"].map(tensor);
let moments = parameters.map((p) => ({ m: np.zeros(p.shape), v: np.zeros(p.shape) }));
let updates = 0;
const images = tensor("input");
const first = np.array(start.input.data.slice(0, 784)).reshape([1, 784]);
const labels = nn.oneHot(np.array(start.label.data, { dtype: np.int32 }), 10);
const batch = start.label.data.length;

/** 1 above the threshold; in its gradient, that of atan(π (u - 1)) / π: 1 / (1 + (π (u - 1))²). */
function spike(u) {
  const x = u.sub(1);
  const hard = np.greater(x.ref, 0).astype(np.float32);
  const soft = np.atan(x.mul(Math.PI)).mul(1 / Math.PI);
  return lax.stopGradient(hard.sub(soft.ref)).add(soft);
}

/** Runs all steps; `take` gets membranes and spikes of each. */
function run([weight1, bias1, weight2, bias2], x, take) {
  let membrane1 = np.zeros([x.shape[0], 1000]);
  let membrane2 = np.zeros([x.shape[0], 10]);
  let [spikes1, spikes2] = [np.zeros(membrane1.shape), np.zeros(membrane2.shape)];
  for (let t = 0; t < STEPS; t++) {
    const current1 = np.dot(x.ref, weight1.ref.transpose()).add(bias1.ref);
    membrane1 = membrane1.mul(DECAY).add(current1).sub(lax.stopGradient(spikes1));
    spikes1 = spike(membrane1.ref);
    const current2 = np.dot(spikes1.ref, weight2.ref.transpose()).add(bias2.ref);
    membrane2 = membrane2.mul(DECAY).add(current2).sub(lax.stopGradient(spikes2));
    spikes2 = spike(membrane2.ref);
    take(membrane2.ref, spikes1.ref, spikes2.ref);
  }
  for (const array of [x, weight1, bias1, weight2, bias2, membrane1, membrane2, spikes1, spikes2])
    array.dispose();
}

function lossOf(parameters, x, labels) {
  let loss = np.array(0);
  run(parameters, x, (membrane, ...spikes) => {
    for (const array of spikes) array.dispose();
    loss = loss.sub(
      nn
        .logSoftmax(membrane, 1)
        .mul(labels.ref)
        .sum()
        .mul(1 / batch),
    );
  });
  labels.dispose();
  return loss;
}

const answersOf = jax.jit((parameters, x) => {
  let sum = np.zeros([x.shape[0], 10]);
  run(parameters, x, (membrane, ...spikes) => {
    for (const array of spikes) array.dispose();
    sum = sum.add(membrane);
  });
  return sum.mul(1 / STEPS);
});

/** `size` and `correction`: the rate over 1 - β1^k, and sqrt(1 - β2^k). */
const step = jax.jit((parameters, moments, x, labels, size, correction) => {
  const [loss, gradients] = jax.valueAndGrad(lossOf)(
    parameters.map((p) => p.ref),
    x,
    labels,
  );
  const next = parameters.map((p, i) => {
    const g = gradients[i];
    const m = moments[i].m.mul(0.9).add(g.ref.mul(0.1));
    const v = moments[i].v.mul(0.999).add(np.square(g).mul(0.001));
    const change = m.ref.mul(size.ref).div(np.sqrt(v.ref).div(correction.ref).add(1e-8));
    return { p: p.sub(change), m, v };
  });
  size.dispose();
  correction.dispose();
  return { loss, parameters: next.map(({ p }) => p), moments: next.map(({ m, v }) => ({ m, v })) };
});

const compiledLoss = jax.jit(lossOf);
const kept = () => parameters.map((p) => p.ref);

await serve(
  { peer: `jax-js ${jax.version} (wasm), Node ${process.versions.node}`, threads: 1, batch },
  {
    train: repeated(async () => {
      updates++;
      const size = np.array(RATE / (1 - 0.9 ** updates));
      const correction = np.array(Math.sqrt(1 - 0.999 ** updates));
      const next = step(parameters, moments, images.ref, labels.ref, size, correction);
      ({ parameters, moments } = next);
      await jax.blockUntilReady(parameters.map((p) => p.ref));
      await next.loss.data();
    }),
    infer: repeated(() => answersOf(kept(), images.ref).data()),
    latency: repeated(() => answersOf(kept(), first.ref).data()),
    loss: async () => (await compiledLoss(kept(), images.ref, labels.ref).data())[0],
    rates,
  },
);

async function rates() {
  const sums = { layer0: 0, layer1: 0 };
  const found = [];
  run(kept(), images.ref, (membrane, ...spikes) => {
    membrane.dispose();
    found.push(spikes.map((array) => array.mean()));
  });
  for (const [spikes1, spikes2] of found) {
    sums.layer0 += (await spikes1.data())[0] / STEPS;
    sums.layer1 += (await spikes2.data())[0] / STEPS;
  }
  return sums;
}

async function load() {
  try {
    const { readFile } = await import("node:fs/promises");
    const path = new URL("../package.json", import.meta.resolve("@jax-js/jax"));
    return { ...(await import("@jax-js/jax")), version: JSON.parse(await readFile(path, "utf8")).version };
  } catch (error) {
    return skip(`jax-js cannot be loaded (${error.message.split("\n", 1)[0]})`);
  }
}
