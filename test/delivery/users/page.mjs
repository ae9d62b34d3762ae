// A page's own script.
import { answer } from "./answer.mjs";

globalThis.answers = (async () => {
  const response = await fetch("/trained.safetensors");
  return { answers: await answer(new Uint8Array(await response.arrayBuffer())) };
})().catch(({ name, code, message }) => ({ error: { name, code, message } }));
