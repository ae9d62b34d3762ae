// Memory over a long time: 10,000 steps of training, shared out among the methods, and 1,000 networks made, trained and
// disposed. Neither linear memory nor the heap may grow after the first of them.
//   node --expose-gc scripts/soak.mjs [steps=10000] [networks=1000]
// One line a row; exit 1 if something grew.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { soakNetworks, soakTraining } from "./lib/soak.mjs";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc");
const [steps = 10_000, networks = 1000] = process.argv.slice(2).map(Number);
const rows = [...(await soakTraining(steps, collect)), await soakNetworks(networks, collect)];
for (const { name, linear, heap, external, ok } of rows) {
  if (!ok) process.exitCode = 1;
  const kilobytes = (bytes) => `${(bytes / 1024).toFixed(0)} KiB`;
  console.log(
    `${name}: linear memory grew by ${linear} bytes, heap by ${kilobytes(heap)}, outside of the heap by ${kilobytes(external)}: ${ok ? "ok" : "GREW"}`,
  );
}
