// @ts-check
// Bun.   bun examples/edge/bun.mjs
import { digits } from "./handler.mjs";

const file = await Bun.file(new URL("digits.safetensors", import.meta.url)).bytes();
const { port } = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.env.PORT ?? 8080),
  fetch: digits(file),
});
console.log(`http://127.0.0.1:${port}/`);
