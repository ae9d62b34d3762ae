// @ts-check
// A CDN worker. The trained file is part of the worker, as a module of bytes.
import file from "./digits.safetensors";
import { digits } from "./handler.mjs";

export default { fetch: digits(new Uint8Array(file)) };
