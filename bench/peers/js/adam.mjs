/** Adam, betas 0.9 and 0.999. */
export class Adam {
  #moments;
  #rate;
  #steps = 0;

  constructor(tensors, rate) {
    this.#rate = rate;
    this.#moments = tensors.map((w) => ({ w, m: new Float32Array(w.length), v: new Float32Array(w.length) }));
  }

  step(gradients) {
    this.#steps++;
    const rate = this.#rate / (1 - 0.9 ** this.#steps);
    const correction = Math.sqrt(1 - 0.999 ** this.#steps);
    this.#moments.forEach(({ w, m, v }, i) => {
      const gradient = gradients[i];
      for (let n = 0; n < w.length; n++) {
        const g = gradient[n];
        m[n] = 0.9 * m[n] + 0.1 * g;
        v[n] = 0.999 * v[n] + 0.001 * g * g;
        w[n] -= (rate * m[n]) / (Math.sqrt(v[n]) / correction + 1e-8);
      }
    });
  }
}
