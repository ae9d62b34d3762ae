import { run } from "./infer.mjs";

console.log(JSON.stringify(await run()));
