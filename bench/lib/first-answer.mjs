// A process whose whole work is the first answer of a LeNet; prints how long the parts took, in milliseconds.
const start = performance.now();
const { avgPool2d, conv2d, createNetwork, dense, lee, poisson } = await import("spikegrad");
const imported = performance.now();
const network = await createNetwork({
  input: [1, 28, 28],
  encoder: poisson({ steps: 50, gain: 0.5 }),
  method: lee({ leak: 0.99 }),
  layers: [
    conv2d(20, 5, { padding: 2 }),
    avgPool2d(2),
    conv2d(50, 5, { padding: 2 }),
    avgPool2d(2),
    dense(200),
    dense(10),
  ],
});
const created = performance.now();
await network.predict(Float32Array.from({ length: 784 }, (_, i) => (i % 5 === 0 ? 0.5 : 0)));
const answered = performance.now();
console.log(
  JSON.stringify({ import: imported - start, create: created - imported, predict: answered - created }),
);
