// LeNet 20C5p2-2A-50C5p2-2A-200-10, 50 steps. Everything follows the spikes: currents are rows of weights added at spikes,
// gradients enter a neuron at its spikes alone and stay until the one before. Maps are [y][x][channel], so that what one
// spike adds lies together.
import { transpose } from "./arrays.mjs";

const [STEPS, LEAK, RATE] = [50, 0.99, 1e-3];
const [KERNEL, PADDING] = [5, 2];
const CLASSES = 10;

/** Spikes of one layer and sample: those of step t lie between `ends[t - 1]` and `ends[t]`. */
class Train {
  constructor(size) {
    this.size = size;
    this.indices = new Uint16Array(STEPS * size);
    this.ends = new Int32Array(STEPS);
    this.count = 0;
  }

  first(t) {
    return t > 0 ? this.ends[t - 1] : 0;
  }
}

/** Neurons that leak and are reset; F and N are the leaky and plain counts of their spikes. */
class Neurons {
  constructor(size) {
    this.train = new Train(size);
    this.membrane = new Float32Array(size);
    this.leaky = new Float32Array(size);
    this.plain = new Float32Array(size);
    this.delta = new Float32Array(size);
  }

  reset() {
    this.train.count = 0;
    for (const array of [this.membrane, this.leaky, this.plain, this.delta]) array.fill(0);
  }

  fire(t) {
    const { membrane, leaky, plain, train } = this;
    const { indices } = train;
    const late = LEAK ** (STEPS - 1 - t);
    let { count } = train;
    for (let n = 0; n < membrane.length; n++) {
      const u = membrane[n];
      if (u > 1) {
        indices[count++] = n;
        membrane[n] = 0;
        leaky[n] += late;
        plain[n]++;
      } else {
        membrane[n] = LEAK * u;
      }
    }
    train.ends[t] = train.count = count;
  }

  /** What a gradient at neuron n is multiplied by; n has spiked. */
  factor(n) {
    return 1 + (Math.log(LEAK) * this.leaky[n]) / this.plain[n];
  }
}

/** 2×2 averages that spike above 0.75 and do not leak. */
class Pool {
  constructor(side, channels) {
    const size = (side / 2) ** 2 * channels;
    this.train = new Train(size);
    this.membrane = new Float32Array(size);
    this.delta = new Float32Array(size);
    /** Place in the pooled map of each neuron below. */
    this.target = Uint16Array.from({ length: side * side * channels }, (_, n) => {
      const [x, y, c] = [Math.floor(n / channels) % side, Math.floor(n / channels / side), n % channels];
      return ((y >> 1) * (side / 2) + (x >> 1)) * channels + c;
    });
  }

  reset() {
    this.train.count = 0;
    this.membrane.fill(0);
    this.delta.fill(0);
  }

  forward(from, t) {
    const { membrane, target, train } = this;
    for (let k = from.first(t); k < from.ends[t]; k++) membrane[target[from.indices[k]]] += 0.25;
    let { count } = train;
    for (let n = 0; n < membrane.length; n++) {
      if (membrane[n] > 0.75) {
        train.indices[count++] = n;
        membrane[n] = 0;
      }
    }
    train.ends[t] = train.count = count;
  }

  /** Gradients of the neurons below, at their spikes. */
  backward(neurons, t) {
    const { train, delta } = neurons;
    for (let k = train.first(t); k < train.ends[t]; k++) {
      const n = train.indices[k];
      delta[n] = 0.25 * this.delta[this.target[n]] * neurons.factor(n);
    }
  }
}

/** 5×5 with a border of two zeros: same sides before and after. */
class Convolution {
  /**
   * Weights `[out, in, y, x]` become `[in][y][x][out]`, mirrored: what one spike adds to a row of the map is then one run.
   */
  constructor({ shape: [out, channels], data }, side) {
    Object.assign(this, { side, channels, out });
    const taps = KERNEL * KERNEL;
    const mirrored = data.map((_, n) => data[n - (n % taps) + taps - 1 - (n % taps)]);
    this.weight = transpose(mirrored, out, channels * taps);
    this.gradient = new Float32Array(data.length);
  }

  forward(from, membrane, t) {
    const { weight, side, channels, out } = this;
    const { indices, ends } = from;
    for (let k = from.first(t); k < ends[t]; k++) {
      const n = indices[k];
      const c = n % channels;
      const place = ((n - c) / channels) | 0;
      const x = place % side;
      const y = ((place - x) / side) | 0;
      const left = Math.max(0, x - PADDING);
      const length = (Math.min(side, x + PADDING + 1) - left) * out;
      for (let oy = Math.max(0, y - PADDING); oy < Math.min(side, y + PADDING + 1); oy++) {
        const w = ((c * KERNEL + oy - y + PADDING) * KERNEL + left - x + PADDING) * out;
        const m = (oy * side + left) * out;
        for (let o = 0; o < length; o++) membrane[m + o] += weight[w + o];
      }
    }
  }

  /** Adds the weights' gradients at the spikes of step t; puts those of the inputs into `back`, if given. */
  backward(from, delta, t, back) {
    const { weight, gradient, side, channels, out } = this;
    const { indices, ends } = from;
    for (let k = from.first(t); k < ends[t]; k++) {
      const n = indices[k];
      const c = n % channels;
      const place = ((n - c) / channels) | 0;
      const x = place % side;
      const y = ((place - x) / side) | 0;
      const left = Math.max(0, x - PADDING);
      const length = (Math.min(side, x + PADDING + 1) - left) * out;
      let sum = 0;
      for (let oy = Math.max(0, y - PADDING); oy < Math.min(side, y + PADDING + 1); oy++) {
        const w = ((c * KERNEL + oy - y + PADDING) * KERNEL + left - x + PADDING) * out;
        const m = (oy * side + left) * out;
        for (let o = 0; o < length; o++) {
          const d = delta[m + o];
          gradient[w + o] += d;
          sum += weight[w + o] * d;
        }
      }
      if (back) back[n] = sum;
    }
  }
}

class Dense {
  constructor(weight, inputs, out) {
    Object.assign(this, { weight, out });
    this.gradient = new Float32Array(inputs * out);
  }

  forward(from, membrane, t) {
    const { weight, out } = this;
    for (let k = from.first(t); k < from.ends[t]; k++) {
      const row = from.indices[k] * out;
      for (let o = 0; o < out; o++) membrane[o] += weight[row + o];
    }
  }

  backward(from, delta, t, back) {
    const { weight, gradient, out } = this;
    for (let k = from.first(t); k < from.ends[t]; k++) {
      const row = from.indices[k] * out;
      let sum = 0;
      for (let o = 0; o < out; o++) {
        gradient[row + o] += delta[o];
        sum += weight[row + o] * delta[o];
      }
      back[from.indices[k]] = sum;
    }
  }
}

export class Lee {
  #images;
  #labels;
  #input = new Train(784);
  #neurons1 = new Neurons(28 * 28 * 20);
  #pool1 = new Pool(28, 20);
  #neurons2 = new Neurons(14 * 14 * 50);
  #pool2 = new Pool(14, 50);
  #neurons3 = new Neurons(200);
  #answer = new Float32Array(CLASSES);
  #conv1;
  #conv2;
  #dense1;
  #dense2;

  #rate;
  #random;

  constructor(start, rateScale = 1, random = Math.random) {
    this.#rate = RATE * rateScale;
    this.#random = random;
    this.#images = start.input.data;
    this.#labels = start.label.data;
    this.#conv1 = new Convolution(start["layer0.weight"], 28);
    this.#conv2 = new Convolution(start["layer2.weight"], 14);
    const dense1 = start["layer4.weight"].data;
    // Of [out, channel, place] to [place, channel, out].
    const turned = new Float32Array(dense1.length);
    for (let o = 0; o < 200; o++) {
      for (let c = 0; c < 50; c++) {
        for (let place = 0; place < 49; place++)
          turned[(place * 50 + c) * 200 + o] = dense1[(o * 50 + c) * 49 + place];
      }
    }
    this.#dense1 = new Dense(turned, 2450, 200);
    this.#dense2 = new Dense(transpose(start["layer5.weight"].data, CLASSES, 200), 200, CLASSES);
  }

  train() {
    this.gradients();
    for (const { weight, gradient } of this.synapses) {
      for (let n = 0; n < weight.length; n++) weight[n] -= this.#rate * gradient[n];
    }
  }

  /** Answers of the first `count` images. */
  predict(count) {
    const outputs = new Float32Array(count * CLASSES);
    for (let b = 0; b < count; b++) {
      this.#forward(b);
      for (let k = 0; k < CLASSES; k++) outputs[b * CLASSES + k] = this.#answer[k] / STEPS;
    }
    return outputs;
  }

  /** Spikes a neuron and step. */
  rates() {
    const trains = {
      input: this.#input,
      layer0: this.#neurons1.train,
      layer1: this.#pool1.train,
      layer2: this.#neurons2.train,
      layer3: this.#pool2.train,
      layer4: this.#neurons3.train,
    };
    const rates = Object.fromEntries(Object.keys(trains).map((name) => [name, 0]));
    const batch = this.#labels.length;
    for (let b = 0; b < batch; b++) {
      this.#forward(b);
      for (const [name, { count, size }] of Object.entries(trains))
        rates[name] += count / (batch * STEPS * size);
    }
    return rates;
  }

  /** The loss of the batch, summed; fills the gradients. */
  gradients() {
    for (const { gradient } of this.synapses) gradient.fill(0);
    let loss = 0;
    for (let b = 0; b < this.#labels.length; b++) {
      this.#forward(b);
      loss += this.#backward(this.#labels[b]);
    }
    return loss;
  }

  /** By layer; their weights and gradients lie as the loops want them. */
  get synapses() {
    return [this.#conv1, this.#conv2, this.#dense1, this.#dense2];
  }

  #forward(b) {
    const [input, answer] = [this.#input, this.#answer];
    input.count = 0;
    answer.fill(0);
    for (const part of [this.#neurons1, this.#pool1, this.#neurons2, this.#pool2, this.#neurons3])
      part.reset();
    for (let t = 0; t < STEPS; t++) {
      this.#encode(b, t);
      this.#conv1.forward(input, this.#neurons1.membrane, t);
      this.#neurons1.fire(t);
      this.#pool1.forward(this.#neurons1.train, t);
      this.#conv2.forward(this.#pool1.train, this.#neurons2.membrane, t);
      this.#neurons2.fire(t);
      this.#pool2.forward(this.#neurons2.train, t);
      this.#dense1.forward(this.#pool2.train, this.#neurons3.membrane, t);
      this.#neurons3.fire(t);
      this.#dense2.forward(this.#neurons3.train, answer, t);
      for (let k = 0; k < CLASSES; k++) answer[k] *= LEAK;
    }
  }

  /** A pixel spikes with half its value as probability. */
  #encode(b, t) {
    const [images, random, { indices, ends }] = [this.#images, this.#random, this.#input];
    let { count } = this.#input;
    for (let i = 0; i < 784; i++) {
      const x = images[b * 784 + i];
      if (x > 0 && random() < x / 2) indices[count++] = i;
    }
    ends[t] = this.#input.count = count;
  }

  /** Adds the gradients of the sample in work; its loss. */
  #backward(label) {
    const delta = new Float32Array(CLASSES);
    let loss = 0;
    for (let k = 0; k < CLASSES; k++) {
      const error = this.#answer[k] / STEPS - (k === label ? 1 : 0);
      loss += error * error;
      delta[k] = (2 * error) / STEPS;
    }
    const [neurons1, neurons2, neurons3] = [this.#neurons1, this.#neurons2, this.#neurons3];
    for (let t = STEPS - 1; t >= 0; t--) {
      this.#dense2.backward(neurons3.train, delta, t, neurons3.delta);
      for (let k = neurons3.train.first(t); k < neurons3.train.ends[t]; k++) {
        const n = neurons3.train.indices[k];
        neurons3.delta[n] *= neurons3.factor(n);
      }
      this.#dense1.backward(this.#pool2.train, neurons3.delta, t, this.#pool2.delta);
      this.#pool2.backward(neurons2, t);
      this.#conv2.backward(this.#pool1.train, neurons2.delta, t, this.#pool1.delta);
      this.#pool1.backward(neurons1, t);
      this.#conv1.backward(this.#input, neurons1.delta, t);
    }
    return loss;
  }
}
