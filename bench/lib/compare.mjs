// One workload, ours beside its peers: every side begins with the same weights and the same batch.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RATE_SCALE } from "../workloads.mjs";
import { install } from "./install.mjs";
import { differences, rateLines, resultLine } from "./lines.mjs";
import { measure, median, percentile } from "./measure.mjs";
import { Ours } from "./ours.mjs";
import { startPeer } from "./peer.mjs";

/** A round of a side (ms), but single samples: of a batch of 3 ms one would see how idle threads wake. */
const ROUND_MS = 100;

/**
 * Times a workload in each of `modes`.
 *
 * @param settings `threads`, `seconds` a mode, `peers` if not all, `here` (see environment.mjs), `say` for what people read
 * @returns one result a mode and peer
 */
export async function compare({ library, io }, name, workload, modes, settings) {
  const { threads, peers: wanted, say } = settings;
  const ours = await Ours.create(library, workload, threads);
  if (ours.threads !== threads)
    say(`${name}: ours runs on ${ours.threads} of ${threads} threads: ${ours.reason}`);
  const peers = [];
  const folder = await mkdtemp(join(tmpdir(), "spikegrad-bench-"));
  try {
    const start = join(folder, "start.safetensors");
    await writeFile(start, ours.start(io));
    for (const [label, peer, peerThreads] of peersOf(workload, threads)) {
      if (wanted?.includes(label) === false) continue;
      // What cannot be installed is missing; the peer says so.
      if (peer.packages) await install("peers", say).catch((error) => say(firstLine(error)));
      const started = await startPeer({ workload: name, rateScale: RATE_SCALE, ...peer }, peerThreads, start);
      if (started.skip === undefined) peers.push({ ...peer, label, process: started });
      else say(`${name}: peer ${label} skipped: ${started.skip}`);
    }
    if (peers.length === 0) say(`${name}: no peer to compare with`);
    const losses = await firstLosses(ours, peers);
    const atStart = await allRates(ours, peers);
    for (const line of differences(name, losses, atStart)) say(line);
    const results = [];
    for (const mode of modes) results.push(...(await runMode(name, mode, ours, peers, settings)));
    const rates = await allRates(ours, peers);
    for (const line of rateLines(name, rates)) say(line);
    for (const result of results) {
      result.loss = losses[result.peer];
      result.first_rates = { ours: atStart.ours, peer: atStart[result.peer] };
      result.rates = { ours: rates.ours, peer: rates[result.peer] };
    }
    return results;
  } finally {
    await ours.close();
    for (const { process } of peers) await process.close();
    await rm(folder, { recursive: true });
  }
}

/**
 * Peers by label, and their threads. On several threads: with one, too, where a peer has the choice, since more are not always
 * faster; and as many processes of ours with one thread each.
 */
function peersOf({ peers }, threads) {
  const all = Object.entries(peers).map(([label, peer]) => [label, peer, threads]);
  if (threads === 1) return all;
  const single = all
    .filter(([, { script }]) => script === "torch_peer.py")
    .map(([label, peer]) => [`${label}-1`, peer, 1]);
  const label = threads === 2 ? "two-processes" : `${threads}-processes`;
  return [...all, ...single, [label, { script: "processes_peer.mjs" }, threads]];
}

/** Spikes a neuron and step, by side and layer. */
async function allRates(ours, peers) {
  const rates = { ours: await ours.rates() };
  for (const { label, process } of peers) rates[label] = (await process.ask("rates")).rates;
  return rates;
}

/** The loss that each peer finds for the weights it was handed, beside ours for the same samples. */
async function firstLosses(ours, peers) {
  const losses = {};
  for (const { label, process } of peers) {
    const { loss } = await process.ask("loss");
    losses[label] = { ours: await ours.loss(process.ready.batch), peer: loss };
  }
  return losses;
}

async function runMode(name, mode, ours, peers, { threads, seconds, here, say }) {
  const one = mode === "latency";
  const sides = [
    { batch: one ? 1 : ours.batch, run: (batches) => ours[mode](batches) },
    ...peers.map(({ process, rounds }) => ({
      batch: one ? 1 : process.ready.batch,
      rounds,
      run: (batches) => process.ask(`${mode} ${batches}`),
    })),
  ];
  const { timed, others } = await measure(sides, seconds, one ? 0 : ROUND_MS);
  const [mine, ...theirs] = timed.map(({ times, batch }) => ({
    ms: median(times) / batch,
    min: Math.min(...times) / batch,
    p99: percentile(times, 0.99) / batch,
    rounds: times.length,
    batch,
  }));
  if (theirs.length === 0) say(`${name} ${mode}: ours ${mine.ms.toPrecision(3)} ms a sample`);
  return theirs.map((other, i) => {
    const result = {
      workload: name,
      mode,
      threads,
      peer: peers[i].label,
      ours_ms: mine.ms,
      peer_ms: other.ms,
      ratio: other.ms / mine.ms,
      ours_min_ms: mine.min,
      peer_min_ms: other.min,
      min_ratio: other.min / mine.min,
      ...(one ? { ours_p99_ms: mine.p99, peer_p99_ms: other.p99 } : {}),
      ours_batch: mine.batch,
      peer_batch: other.batch,
      ours_threads: ours.threads,
      rounds: mine.rounds,
      peer_rounds: other.rounds,
      others,
      peer_version: peers[i].process.ready.peer,
      ...here,
    };
    say(resultLine(result));
    return result;
  });
}

function firstLine({ message }) {
  return message.split("\n", 1)[0];
}
