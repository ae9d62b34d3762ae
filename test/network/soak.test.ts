// Nothing grows over a long time; scripts/soak.mjs takes 10,000 steps and 1,000 networks.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, it } from "vitest";
import { soakNetworks, soakTraining } from "../../scripts/lib/soak.mjs";

setFlagsFromString("--expose-gc");
const collect: () => void = runInNewContext("gc");

it("a thousand steps of training leave nothing behind", async () => {
  const rows = await soakTraining(1000, collect);
  expect(rows.filter(({ ok }) => !ok)).toEqual([]);
  expect(rows.length).toBe(5);
});

it("a hundred networks made, trained and disposed of leave nothing behind", async () => {
  expect(await soakNetworks(100, collect)).toMatchObject({ ok: true });
});
