// 784-800-10 in continuous time, one spike a neuron. A neuron hears its inputs in the order of their spikes and stops
// listening once it has fired.
import { Adam } from "./adam.mjs";
import { crossEntropy } from "./arrays.mjs";

const THRESHOLD = 1;
/** Time of a silent output in the loss. */
const LATE = 10;

class Layer {
  constructor(weight, [outputs, inputs]) {
    this.weight = weight;
    this.gradient = new Float32Array(weight.length);
    this.inputs = inputs;
    this.outputs = outputs;
    this.times = new Float32Array(outputs);
    /** Sum of weights at the spike, and how many inputs were heard. */
    this.slopes = new Float32Array(outputs);
    this.heard = new Int32Array(outputs);
    this.order = new Uint16Array(inputs);
    this.sorted = new Float32Array(inputs + 1);
    this.keys = new Float64Array(inputs);
    this.bits = new Uint32Array(inputs);
  }

  /** Spike times of the outputs; `Infinity` for silent ones. */
  forward(times) {
    const { weight, inputs, sorted, order } = this;
    const count = this.sort(times);
    for (let j = 0; j < this.outputs; j++) {
      const row = j * inputs;
      let [slope, moment] = [0, THRESHOLD];
      let k = 0;
      let fires = false;
      while (k < count && !fires) {
        const w = weight[row + order[k]];
        slope += w;
        moment += w * sorted[k];
        k++;
        fires = slope > 0 && moment <= slope * sorted[k];
      }
      this.times[j] = fires ? moment / slope : Number.POSITIVE_INFINITY;
      this.slopes[j] = slope;
      this.heard[j] = k;
    }
    return this.times;
  }

  /** Inputs that spike in the order of their times: bits of positive floats sort like numbers, with the index below them. */
  sort(times) {
    const { keys, bits, sorted, order } = this;
    new Float32Array(bits.buffer).set(times);
    let count = 0;
    for (let i = 0; i < this.inputs; i++) {
      if (times[i] < Number.POSITIVE_INFINITY) keys[count++] = bits[i] * 65536 + i;
    }
    keys.subarray(0, count).sort();
    for (let k = 0; k < count; k++) {
      order[k] = keys[k] % 65536;
      sorted[k] = times[order[k]];
    }
    sorted[count] = Number.POSITIVE_INFINITY;
    return count;
  }

  /** Adds the weights' gradients from those of the output times; those of the input times into `back`, if given. */
  backward(deltas, back) {
    const { weight, gradient, inputs, order, sorted } = this;
    back?.fill(0);
    for (let j = 0; j < this.outputs; j++) {
      const time = this.times[j];
      if (time === Number.POSITIVE_INFINITY || deltas[j] === 0) continue;
      const scaled = deltas[j] / this.slopes[j];
      const row = j * inputs;
      for (let k = 0; k < this.heard[j]; k++) gradient[row + order[k]] += scaled * (sorted[k] - time);
      if (back) for (let k = 0; k < this.heard[j]; k++) back[order[k]] += scaled * weight[row + order[k]];
    }
  }
}

export class Stdbp {
  #hidden;
  #answer;
  #images;
  #labels;
  #adam;
  #deltas;

  constructor(start, rateScale = 1) {
    const [hidden, answer] = ["layer0.weight", "layer1.weight"].map(
      (name) => new Layer(start[name].data, start[name].shape),
    );
    [this.#hidden, this.#answer] = [hidden, answer];
    this.#images = start.input.data;
    this.#labels = start.label.data;
    this.#deltas = new Float32Array(hidden.outputs);
    this.#adam = new Adam([hidden.weight, answer.weight], 1e-3 * rateScale);
  }

  train() {
    this.gradients();
    this.#adam.step([this.#hidden.gradient, this.#answer.gradient]);
  }

  /** Spike times of the outputs. */
  predict(count) {
    const outputs = new Float32Array(count * this.#answer.outputs);
    for (let b = 0; b < count; b++) outputs.set(this.#forward(b), b * this.#answer.outputs);
    return outputs;
  }

  /** Share of the neurons that fire. */
  rates() {
    const batch = this.#labels.length;
    const fired = { layer0: 0, layer1: 0 };
    for (let b = 0; b < batch; b++) {
      this.#forward(b);
      for (const [name, { times, outputs }] of Object.entries({
        layer0: this.#hidden,
        layer1: this.#answer,
      })) {
        for (const time of times) if (Number.isFinite(time)) fired[name] += 1 / (batch * outputs);
      }
    }
    return fired;
  }

  /** The loss of the batch; fills the gradients. */
  gradients() {
    const batch = this.#labels.length;
    for (const layer of [this.#hidden, this.#answer]) layer.gradient.fill(0);
    let loss = 0;
    for (let b = 0; b < batch; b++) {
      const scores = this.#forward(b).map((time) => -Math.min(time, LATE));
      loss += crossEntropy(scores, this.#labels[b]);
      const deltas = scores.map((score) => -score / batch);
      this.#answer.backward(deltas, this.#deltas);
      this.#hidden.backward(this.#deltas);
    }
    return loss / batch;
  }

  #forward(b) {
    const { inputs } = this.#hidden;
    return this.#answer.forward(this.#hidden.forward(this.#images.subarray(b * inputs, (b + 1) * inputs)));
  }
}
