// @ts-check
// Deno.   deno run --allow-read --allow-net --allow-env=PORT examples/edge/deno.mjs
import { digits } from "./handler.mjs";

const file = await Deno.readFile(new URL("digits.safetensors", import.meta.url));
Deno.serve(
  {
    hostname: "127.0.0.1",
    port: Number(Deno.env.get("PORT") ?? 8080),
    onListen: ({ port }) => console.log(`http://127.0.0.1:${port}/`),
  },
  digits(file),
);
