/**
 * A condition that many tasks may wait for, again and again.
 *
 * Knows nothing of what changed. Nothing is missed by taking `wait()` first, looking then, and awaiting it last.
 * @module
 */

export class Changed {
  constructor() {
    /** @type {PromiseWithResolvers<void>} */
    this.moment = Promise.withResolvers();
  }

  /** Wake everybody who waits now. */
  notify() {
    const { resolve } = this.moment;
    this.moment = Promise.withResolvers();
    resolve();
  }

  /** Until the next `notify`. */
  wait() {
    return this.moment.promise;
  }
}
