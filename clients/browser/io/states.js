/**
 * The state of a client, and how others learn of each change, of this or of anything else.
 *
 * Knows nothing of what leads from one state to the next.
 * @module
 */

import { same } from "../protocol/bytes.js";

/**
 * "connecting": opening a connection. "syncing": connected; catching up with the mailbox. "live": everything that the
 * provider attested is verified and stored. "backoff": no connection; waiting before the next attempt. "closed": for good:
 * closed by the application, or failed.
 * @typedef {"connecting" | "syncing" | "live" | "backoff" | "closed"} ClientState
 */

/**
 * A present value, and a listener that hears of every change, in order.
 * @template T
 */
export class ChangeLog {
  #value;
  #isLast = false;
  #onChange;

  /**
   * @param {T} first
   * @param {(value: T) => void} onChange
   */
  constructor(first, onChange) {
    this.#value = first;
    this.#onChange = onChange;
  }

  get value() {
    return this.#value;
  }

  /**
   * Entering the present value again changes nothing, and after the end nothing does.
   * @param {T} value
   */
  enter(value) {
    if (this.#isLast || same(this.#value, value)) return;
    this.#value = value;
    this.#onChange(value);
  }

  /** There will be no other value. */
  end() {
    this.#isLast = true;
  }
}
