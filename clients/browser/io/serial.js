/**
 * All that reads and changes a client's state, one call after the other, each durable before anybody sees what came of it.
 *
 * Knows nothing of what the calls do. Verifying awaits, so two calls could come between each other: they may not. A call
 * must not wait for the network, nor for another call. Counterpart of `StoreCalls` in `noise_client/trust_store.py`.
 * @module
 */

import { NoiseError } from "../protocol/errors.js";
import { TrustStoreError } from "./errors.js";

/** @import { TrustStore } from "./trust_store.js" */

/**
 * What a call led to, and when all that it changed is durable: nothing of it may be shown, or leave, before.
 * @template T
 * @typedef {{ value: T, stored: Promise<void> }} Done
 */

/** Calls into one store. */
export class StoreCalls {
  #store;
  /** @type {Promise<unknown>} */
  #last = Promise.resolve();

  /** @param {TrustStore} store */
  constructor(store) {
    this.#store = store;
  }

  /**
   * Run a function when all calls before it have ended; what it returns, once all that it changed is durable.
   *
   * What it throws comes out then, too. Throws TrustStoreError when it cannot be made durable: the store is of no use
   * any more. Never abandoned: a call that began goes on when nobody waits for it.
   * @template T
   * @param {() => T | Promise<T>} call
   * @returns {Promise<T>}
   */
  async run(call) {
    const { value, stored } = await this.begin(call);
    await stored;
    return value;
  }

  /**
   * The same, but without waiting for the disk: the next call may begin meanwhile, and one write serves both.
   * @template T
   * @param {() => T | Promise<T>} call
   * @returns {Promise<Done<T>>}
   */
  begin(call) {
    const turn = this.#last.then(() => this.#runAlone(call));
    const settled = () => {};
    this.#last = turn.then(settled, settled);
    return turn.then(async ({ done, error }) => {
      if (error === null) return done;
      await done.stored;
      throw error;
    });
  }

  /**
   * @template T
   * @param {() => T | Promise<T>} call
   * @returns {Promise<{ done: Done<T>, error: NoiseError | null }>}
   */
  async #runAlone(call) {
    /** @type {T | undefined} */
    let value;
    /** @type {NoiseError | null} */
    let error = null;
    try {
      value = await call();
    } catch (thrown) {
      if (!(thrown instanceof NoiseError)) {
        // in the middle of something
        this.#store.abandon(new TrustStoreError("a mistake of this page: load it again", "store-abandoned"));
        throw thrown;
      }
      error = thrown;
    }
    const stored = this.#store.commit();
    stored.catch(() => {}); // who waits for it is told
    return { done: { value: /** @type {T} */ (value), stored }, error };
  }
}
