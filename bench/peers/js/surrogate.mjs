// 784-1000-10 with the surrogate derivative 1 / (1 + (π (u - 1))²), 25 steps. The first layer's current is the same at every
// step: computed once, from the pixels that are not 0. The second layer adds up rows of weights at the spikes.
import { Adam } from "./adam.mjs";
import { crossEntropy, transpose } from "./arrays.mjs";

const [STEPS, DECAY] = [25, 0.95];
const [PIXELS, HIDDEN, CLASSES] = [784, 1000, 10];

export class Surrogate {
  #weight1;
  #bias1;
  #weight2;
  #bias2;
  #images;
  #labels;
  #adam;
  #gradients;
  #current = new Float32Array(HIDDEN);
  /** Of every step, for the way back. */
  #membranes = new Float32Array(STEPS * HIDDEN);
  #answers = new Float32Array(STEPS * CLASSES);
  #spikes = new Uint16Array(STEPS * HIDDEN);
  #ends = new Int32Array(STEPS);
  #answerSpikes = 0;

  constructor(start, rateScale = 1) {
    // Inputs first, so that what one input adds lies together.
    this.#weight1 = transpose(start["layer0.weight"].data, HIDDEN, PIXELS);
    this.#weight2 = transpose(start["layer1.weight"].data, CLASSES, HIDDEN);
    this.#bias1 = start["layer0.bias"].data;
    this.#bias2 = start["layer1.bias"].data;
    this.#images = start.input.data;
    this.#labels = start.label.data;
    const tensors = [this.#weight1, this.#bias1, this.#weight2, this.#bias2];
    this.#gradients = tensors.map((tensor) => new Float32Array(tensor.length));
    this.#adam = new Adam(tensors, 5e-4 * rateScale);
  }

  train() {
    this.gradients();
    this.#adam.step(this.#gradients);
  }

  /** Mean membranes of the first `count` images. */
  predict(count) {
    const outputs = new Float32Array(count * CLASSES);
    for (let b = 0; b < count; b++) {
      this.#forward(b);
      for (let t = 0; t < STEPS; t++) {
        for (let k = 0; k < CLASSES; k++) outputs[b * CLASSES + k] += this.#answers[t * CLASSES + k] / STEPS;
      }
    }
    return outputs;
  }

  /** Spikes a neuron and step. */
  rates() {
    const batch = this.#labels.length;
    let [hidden, answers] = [0, 0];
    for (let b = 0; b < batch; b++) {
      this.#forward(b);
      hidden += this.#ends[STEPS - 1];
      answers += this.#answerSpikes;
    }
    return { layer0: hidden / (batch * STEPS * HIDDEN), layer1: answers / (batch * STEPS * CLASSES) };
  }

  /** The loss of the batch; fills the gradients. */
  gradients() {
    for (const gradient of this.#gradients) gradient.fill(0);
    const batch = this.#labels.length;
    let loss = 0;
    for (let b = 0; b < batch; b++) {
      this.#forward(b);
      loss += this.#backward(b, batch);
    }
    return loss / batch;
  }

  #forward(b) {
    const [current, membranes, answers, spikes] = [
      this.#current,
      this.#membranes,
      this.#answers,
      this.#spikes,
    ];
    const [weight1, weight2, bias2, images] = [this.#weight1, this.#weight2, this.#bias2, this.#images];
    current.set(this.#bias1);
    for (let i = 0; i < PIXELS; i++) {
      const x = images[b * PIXELS + i];
      if (x === 0) continue;
      const row = i * HIDDEN;
      for (let j = 0; j < HIDDEN; j++) current[j] += x * weight1[row + j];
    }
    let end = 0;
    this.#answerSpikes = 0;
    for (let t = 0; t < STEPS; t++) {
      const [at, before] = [t * HIDDEN, (t - 1) * HIDDEN];
      const out = t * CLASSES;
      for (let k = 0; k < CLASSES; k++) answers[out + k] = bias2[k];
      for (let j = 0; j < HIDDEN; j++) {
        const last = t > 0 ? membranes[before + j] : 0;
        const u = DECAY * last + current[j] - (last > 1 ? 1 : 0);
        membranes[at + j] = u;
        if (u > 1) {
          spikes[end++] = j;
          for (let k = 0; k < CLASSES; k++) answers[out + k] += weight2[j * CLASSES + k];
        }
      }
      this.#ends[t] = end;
      for (let k = 0; k < CLASSES; k++) {
        const last = t > 0 ? answers[out - CLASSES + k] : 0;
        answers[out + k] += DECAY * last - (last > 1 ? 1 : 0);
        if (answers[out + k] > 1) this.#answerSpikes++;
      }
    }
  }

  /** Adds the gradients of image b; its loss. */
  #backward(b, batch) {
    const [membranes, spikes, ends, weight2] = [this.#membranes, this.#spikes, this.#ends, this.#weight2];
    const [dWeight1, dBias1, dWeight2, dBias2] = this.#gradients;
    const delta2 = new Float32Array(CLASSES);
    const delta1 = new Float32Array(HIDDEN);
    const sum1 = new Float32Array(HIDDEN);
    let loss = 0;
    for (let t = STEPS - 1; t >= 0; t--) {
      const scores = this.#answers.slice(t * CLASSES, (t + 1) * CLASSES);
      loss += crossEntropy(scores, this.#labels[b]);
      for (let k = 0; k < CLASSES; k++) {
        delta2[k] = scores[k] / batch + DECAY * delta2[k];
        dBias2[k] += delta2[k];
      }
      for (let n = t > 0 ? ends[t - 1] : 0; n < ends[t]; n++) {
        const row = spikes[n] * CLASSES;
        for (let k = 0; k < CLASSES; k++) dWeight2[row + k] += delta2[k];
      }
      for (let j = 0; j < HIDDEN; j++) {
        let sum = 0;
        for (let k = 0; k < CLASSES; k++) sum += weight2[j * CLASSES + k] * delta2[k];
        const x = Math.PI * (membranes[t * HIDDEN + j] - 1);
        delta1[j] = sum / (1 + x * x) + DECAY * delta1[j];
        sum1[j] += delta1[j];
      }
    }
    for (let j = 0; j < HIDDEN; j++) dBias1[j] += sum1[j];
    for (let i = 0; i < PIXELS; i++) {
      const x = this.#images[b * PIXELS + i];
      if (x === 0) continue;
      const row = i * HIDDEN;
      for (let j = 0; j < HIDDEN; j++) dWeight1[row + j] += x * sum1[j];
    }
    return loss;
  }
}
