// A page that asks for threads; with ?worker it says where their script is.
import { init, loadNetwork } from "./node_modules/spikegrad/dist/index.js";
import { samples } from "./samples.mjs";

globalThis.answers = (async () => {
  if (location.search === "?worker") await init({ worker: "./node_modules/spikegrad/dist/worker.js" });
  const response = await fetch("/trained.safetensors");
  const network = await loadNetwork(new Uint8Array(await response.arrayBuffer()), { threads: 2 });
  const { outputs } = await network.predict(samples().inputs);
  const { count, reason } = network.threads;
  return { answers: [...new Uint32Array(outputs.data.buffer)], count, ...(reason && { reason }) };
})().catch(({ name, code, message }) => ({ error: { name, code, message } }));
