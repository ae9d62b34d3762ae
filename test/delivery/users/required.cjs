// The same by require().
const { readFile } = require("node:fs/promises");
const { ArgumentError, loadNetwork, preset } = require("spikegrad");
require("spikegrad/data");
require("spikegrad/data/node");
require("spikegrad/io");
require("spikegrad/infer");

(async () => {
  const { samples } = await import("./samples.mjs");
  const network = await loadNetwork(new Uint8Array(await readFile("trained.safetensors")));
  const { outputs } = await network.predict(samples().inputs);
  const imported = await import("spikegrad");
  const same = imported.ArgumentError === ArgumentError && imported.preset === preset;
  console.log(JSON.stringify({ same, bits: [...new Uint32Array(outputs.data.buffer)] }));
})();
