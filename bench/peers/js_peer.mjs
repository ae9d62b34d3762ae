// Plain JavaScript on Float32Array: js_peer.mjs WORKLOAD --start FILE. What one would write by hand who knows the method: the
// same algorithms as the library, typed arrays, loops that follow the spikes; no WebAssembly.
import { Lee } from "./js/lee.mjs";
import { Stdbp } from "./js/stdbp.mjs";
import { Surrogate } from "./js/surrogate.mjs";
import { readArguments, repeated, serve, skip } from "./serve.mjs";

const NETWORKS = { lee: Lee, stdbp: Stdbp, surrogate: Surrogate };

const { workload, start, rateScale } = readArguments();
if (!Object.hasOwn(NETWORKS, workload)) skip(`there is no ${workload} in plain JavaScript`);
const network = new NETWORKS[workload](start, rateScale);
const batch = start.label.data.length;
await serve(
  { peer: `plain JavaScript, Node ${process.versions.node}`, threads: 1, batch },
  {
    train: repeated(() => network.train()),
    infer: repeated(() => network.predict(batch)),
    latency: repeated(() => network.predict(1)),
    loss: () => network.gradients(),
    rates: () => network.rates(),
  },
);
