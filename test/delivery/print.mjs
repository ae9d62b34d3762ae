// What Node, Deno and Bun run.
import { run } from "./train.mjs";

console.log(JSON.stringify(await run()));
