import type { Network } from "../index.ts";
import { settings } from "./checkpoints.ts";
import { clean, whole } from "./terminal.ts";

/** Number of a network's parameters. */
export function parameterCount(network: Network): number {
  return network.parameters.entries().reduce((sum, [, { data }]) => sum + data.length, 0);
}

/** `28x28x1, poisson steps 20, …` in one line. */
export function describeNetwork(network: Network): string {
  const { input, encoder, method, seed } = network.description;
  const parts = [`input ${input.join("x")}`, settings(encoder), settings(method), `seed ${seed}`];
  return clean(`${parts.join("; ")}; ${whole(parameterCount(network))} parameters`);
}
