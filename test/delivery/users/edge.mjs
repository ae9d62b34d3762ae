// A CDN worker.
import { ArgumentError, createNetwork, loadNetwork as loadWhole } from "spikegrad";
import { loadNetwork } from "spikegrad/infer";
import { readSafetensors } from "spikegrad/io";
import { answer } from "./answer.mjs";
import { samples } from "./samples.mjs";

export default {
  async fetch(request) {
    const bytes = new Uint8Array(await request.arrayBuffer());
    const sameErrors = await createNetwork({}).catch((error) => error instanceof ArgumentError);
    const { outputs } = await (await loadNetwork(bytes)).predict(samples().inputs);
    const asked = await loadWhole(bytes, { threads: 2 });
    const threaded = await asked.predict(samples().inputs);
    return Response.json({
      answers: await answer(bytes),
      inferred: [...new Uint32Array(outputs.data.buffer)],
      sameErrors,
      threads: asked.threads,
      threaded: [...new Uint32Array(threaded.outputs.data.buffer)],
      tensors: readSafetensors(bytes).tensors.size,
    });
  },
};
