// The command line of npm run bench.
import { parseArgs } from "node:util";

/**
 * Reads the command line; on `--help` or a mistake it says what there is and ends the process.
 *
 * @param topics what can be named: name and title
 */
export function readOptions(topics) {
  const list = Object.entries(topics).map(([name, title]) => `    ${name.padEnd(12)}${title}`);
  const usage = `usage: npm run bench -- [TOPIC...] [--threads N] [--json] [--seconds S] [--peer P] [--latency] [--no-chart]
  TOPIC       what to measure; all of it if none is named
${list.join("\n")}
  --threads   threads of ours and of the peers, 1 unless given
  --json      one JSON object a line instead of text; writes no file
  --seconds   time for each workload and mode, 20 unless given; a round of a side is 100 ms of batches, or one
  --peer      beside this one alone: torch, tuned, js, two-processes …; may be given again
  --latency   also a single sample at a time, in every workload
  --no-chart  draw no charts`;
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        threads: { type: "string", default: "1" },
        json: { type: "boolean", default: false },
        seconds: { type: "string", default: "20" },
        peer: { type: "string", multiple: true },
        latency: { type: "boolean", default: false },
        "no-chart": { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    if (values.help) {
      console.log(usage);
      process.exit(0);
    }
    const unknown = positionals.find((name) => !Object.hasOwn(topics, name));
    if (unknown !== undefined) throw new Error(`nothing is called "${unknown}"`);
    const threads = Number(values.threads);
    if (!Number.isInteger(threads) || threads < 1)
      throw new Error(`--threads ${values.threads}: expected 1, 2, …`);
    const seconds = Number(values.seconds);
    if (!(seconds > 0)) throw new Error(`--seconds ${values.seconds}: expected a positive number`);
    return {
      names: positionals.length > 0 ? positionals : Object.keys(topics),
      threads,
      seconds,
      json: values.json,
      peers: values.peer,
      latency: values.latency,
      chart: !values["no-chart"],
    };
  } catch (error) {
    console.error(`${error.message}\n${usage}`);
    return process.exit(2);
  }
}
