/**
 * How long to wait before trying again: exponential backoff with full jitter.
 *
 * Knows nothing of what is tried. Source: "Exponential Backoff And Jitter", AWS Architecture Blog (2015): a wait that is
 * uniform between zero and the bound spreads the clients of a restarted provider best.
 * @module
 */

/** Waits of up to `firstS`, then up to twice that, and so on, up to `maxS`, in seconds. */
export class Backoff {
  #firstS;
  #maxS;
  #boundS;

  /**
   * @param {number} firstS
   * @param {number} maxS
   */
  constructor(firstS, maxS) {
    this.#firstS = firstS;
    this.#maxS = maxS;
    this.#boundS = firstS;
  }

  /** How long to wait now, in seconds. */
  nextS() {
    const waitS = Math.random() * this.#boundS;
    this.#boundS = Math.min(2 * this.#boundS, this.#maxS);
    return waitS;
  }

  /** It worked: the next wait is short again. */
  reset() {
    this.#boundS = this.#firstS;
  }
}
