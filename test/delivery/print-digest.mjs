// What Node, Deno and Bun run.
import { digests } from "./digest.mjs";

console.log(JSON.stringify(await digests()));
