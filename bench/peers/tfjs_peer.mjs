// tfjs_peer.mjs surrogate --threads N --start FILE: TensorFlow.js on its WebAssembly backend, written as one writes it there:
// a loop over steps, products from the library, its gradients and its Adam.
import { readArguments, repeated, serve, skip } from "./serve.mjs";

const [STEPS, DECAY] = [25, 0.95];
const { workload, threads, start, rateScale } = readArguments();
if (workload !== "surrogate") skip(`there is no ${workload} in TensorFlow.js`);

const { tf, wasm } = await load();
wasm.setThreadsCount(threads);
await tf.setBackend("wasm");
await tf.ready();
if (tf.getBackend() !== "wasm") skip(`TensorFlow.js has no wasm backend here, only ${tf.getBackend()}`);

const parameters = ["layer0.weight", "layer0.bias", "layer1.weight", "layer1.bias"].map((name) =>
  tf.variable(tf.tensor(start[name].data, start[name].shape)),
);
const [weight1, bias1, weight2, bias2] = parameters;
const images = tf.tensor(start.input.data, start.input.shape);
const first = images.slice([0, 0], [1, -1]).clone();
const labels = tf.oneHot(tf.tensor1d(start.label.data, "int32"), 10).toFloat();
const batch = start.label.data.length;
const optimizer = tf.train.adam(5e-4 * rateScale);

/** 1 above the threshold, with the derivative 1 / (1 + (π (u - 1))²). */
const spike = tf.customGrad((u, save) => {
  save([u]);
  return {
    value: u.greater(1).toFloat(),
    gradFunc: (dy, [saved]) => dy.div(saved.sub(1).mul(Math.PI).square().add(1)),
  };
});

/** The same value, through which no gradient passes. */
const detach = tf.customGrad((x) => ({ value: x.clone(), gradFunc: (dy) => tf.zerosLike(dy) }));

/** Membranes and spikes of every step, one after another, for `take`. */
function run(x, take) {
  let membrane1 = tf.zeros([x.shape[0], 1000]);
  let membrane2 = tf.zeros([x.shape[0], 10]);
  let [spikes1, spikes2] = [tf.zerosLike(membrane1), tf.zerosLike(membrane2)];
  for (let t = 0; t < STEPS; t++) {
    const current1 = tf.matMul(x, weight1, false, true).add(bias1);
    membrane1 = membrane1.mul(DECAY).add(current1).sub(detach(spikes1));
    spikes1 = spike(membrane1);
    const current2 = tf.matMul(spikes1, weight2, false, true).add(bias2);
    membrane2 = membrane2.mul(DECAY).add(current2).sub(detach(spikes2));
    spikes2 = spike(membrane2);
    take(membrane2, spikes1, spikes2);
  }
}

function lossOf() {
  let loss = tf.scalar(0);
  run(images, (membrane) => {
    loss = loss.add(tf.losses.softmaxCrossEntropy(labels, membrane));
  });
  return loss;
}

async function infer(x) {
  const answer = tf.tidy(() => {
    let sum = tf.zeros([x.shape[0], 10]);
    run(x, (membrane) => {
      sum = sum.add(membrane);
    });
    return sum.div(STEPS);
  });
  await answer.data();
  answer.dispose();
}

await serve(
  { peer: `TensorFlow.js ${tf.version.tfjs} (wasm), Node ${process.versions.node}`, threads, batch },
  {
    train: repeated(async () => {
      const loss = optimizer.minimize(lossOf, true, parameters);
      await loss.data();
      loss.dispose();
    }),
    infer: repeated(() => infer(images)),
    latency: repeated(() => infer(first)),
    loss: () => tf.tidy(() => lossOf().dataSync()[0]),
    rates: () => tf.tidy(rates),
  },
);

function rates() {
  let [layer0, layer1] = [0, 0];
  run(images, (_, spikes1, spikes2) => {
    layer0 += spikes1.mean().dataSync()[0] / STEPS;
    layer1 += spikes2.mean().dataSync()[0] / STEPS;
  });
  return { layer0, layer1 };
}

async function load() {
  try {
    return { tf: await import("@tensorflow/tfjs"), wasm: await import("@tensorflow/tfjs-backend-wasm") };
  } catch (error) {
    return skip(`TensorFlow.js cannot be loaded (${error.message.split("\n", 1)[0]})`);
  }
}
