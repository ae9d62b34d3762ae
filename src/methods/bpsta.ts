import { aNumber, anInteger, aPositive, described } from "../validate.ts";

/** What `bpsta` takes. */
export interface BpstaOptions {
  /** θ of every neuron whose `neuron({ threshold })` says nothing else, in units of the current; greater than 0. Default 0.5. */
  readonly threshold?: number;
  /** What a step leaves of a membrane that did not spike; in [0, 1]. Default 0.9. */
  readonly decay?: number;
  /** κ, how much gradient crosses a spike's reset; 0 or more. 0: the spatial adjustment alone. Default 0.2. */
  readonly kappa?: number;
  /** Output neurons a class, from 1 to 65,536: the last layer has `classes · vote`. Default 10. */
  readonly vote?: number;
}

/** Backpropagation with spatio-temporal adjustment of Shen et al. 2022. Made by `bpsta`. */
export interface BpstaDescriptor extends Required<BpstaOptions> {
  readonly kind: "bpsta";
}

const FIELDS = {
  threshold: aPositive(0.5),
  decay: aNumber("a number from 0 to 1", (v) => v >= 0 && v <= 1, 0.9),
  kappa: aNumber("a number of at least 0", (v) => v >= 0, 0.2),
  vote: anInteger(1, 65536, 10),
};

/**
 * Backpropagation with spatio-temporal adjustment: Shen, Zhao, Zeng, "Backpropagation with biologically plausible
 * spatiotemporal adjustment for training deep spiking neural networks", Patterns 3(6) (2022), arXiv 2110.08858.
 *
 * Forward, at each step t, with I the current of a neuron and v its membrane:
 * `u = v + I`, `s = u >= threshold`, `v = decay · (s ? 0 : u)`. Backward, with `G[t]` = dL/ds[t] and `C = D[t + 1]` (0 at T) the
 * gradient that comes from the next step: `D[t] = dL/dI[t] = (G[t] + kappa · decay · C) / u[t]` at a spike (1/u: spatial, the
 * κ term: temporal adjustment), `decay · C` elsewhere.
 *
 * Layers: `conv2d`, `dense`, `batchNorm`, `relu`, `maxPool2d` and `avgPool2d` (both hand on real values), `dropout`; with biases.
 * A list without `neuron()` is completed: `conv2d` to `conv2d, batchNorm, relu, neuron`, hidden `dense` to `dense, relu, neuron`,
 * the last one to `dense, neuron`. Weights and biases start by `torchUniform`. The last layer has `classes · vote` neurons; the
 * answer is the spikes of each class's `vote` neighbours, averaged over them and over T: in [0, 1]. Loss: `squaredError`, mean
 * over batch and classes, or `crossEntropy`.
 *
 * An output neuron that never spikes gets no gradient. So train the same weights as an ordinary network first:
 * `fit(data, { bypassNeurons: true, … })`, the paper's warm-up.
 *
 * @param option threshold, decay, κ and voters: see `BpstaOptions`
 * @throws ArgumentError for values out of range, or an unknown option
 */
export function bpsta(option?: BpstaOptions): BpstaDescriptor {
  return described("bpsta", option, FIELDS);
}
