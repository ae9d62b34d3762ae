// @ts-check
// Node's http.   node examples/edge/node.mjs
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { Readable } from "node:stream";
import { digits } from "./handler.mjs";

const handle = digits(await readFile(new URL("digits.safetensors", import.meta.url)));

const server = createServer(async (incoming, outgoing) => {
  try {
    const { method = "GET", url = "/" } = incoming;
    /** @type {RequestInit & { duplex: "half" }} */
    const option = {
      method,
      headers: /** @type {Record<string, string>} */ (incoming.headers),
      body: method === "GET" || method === "HEAD" ? undefined : /** @type {any} */ (Readable.toWeb(incoming)),
      duplex: "half",
    };
    const response = await handle(new Request(new URL(url, "http://localhost"), option));
    outgoing.writeHead(response.status, Object.fromEntries(response.headers));
    outgoing.end(Buffer.from(await response.arrayBuffer()));
  } catch (error) {
    console.error(error);
    outgoing.writeHead(500).end();
  }
});
server.listen(Number(process.env.PORT ?? 8080), "127.0.0.1", () => {
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  console.log(`http://127.0.0.1:${port}/`);
});
