// A web worker, or a service worker, that answers once it is asked.
import { answer } from "./answer.mjs";

globalThis.addEventListener("message", async ({ data, source }) => {
  const found = await answer(data).then(
    (answers) => ({ answers }),
    ({ name, code, message }) => ({ error: { name, code, message } }),
  );
  (source ?? globalThis).postMessage(found);
});
