// Property tests draw the same cases every time, so that a run can be repeated; SPIKEGRAD_SEED=n draws others.
import fc from "fast-check";

fc.configureGlobal({ seed: Number(process.env.SPIKEGRAD_SEED ?? 1) });
