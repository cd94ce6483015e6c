/**
 * How often each peer may have something done for it in a minute.
 *
 * Knows nothing of what is done.
 * @module
 */

/** @import { Bytes } from "../protocol/bytes.js" */
import { toHex } from "../protocol/bytes.js";

const PEERS_MAX = 1024;
const MINUTE_MS = 60_000;

export class Allowance {
  /**
   * @param {number} countMax for each peer
   * @param {() => number} timeMs the wall clock
   */
  constructor(countMax, timeMs) {
    this.countMax = countMax;
    this.timeMs = timeMs;
    /** @type {Map<string, number>} */
    this.counts = new Map();
    this.minute = 0;
  }

  /**
   * Whether the next `take` is within what the peer may.
   * @param {Bytes} peer
   */
  hasLeft(peer) {
    const minute = Math.floor(this.timeMs() / MINUTE_MS);
    if (minute !== this.minute) {
      this.minute = minute;
      this.counts.clear();
    }
    const count = this.counts.get(toHex(peer));
    return (count !== undefined || this.counts.size < PEERS_MAX) && (count ?? 0) < this.countMax;
  }

  /**
   * Whether it is still within what the peer may; it counts.
   * @param {Bytes} peer
   */
  take(peer) {
    const hasLeft = this.hasLeft(peer);
    if (hasLeft) this.counts.set(toHex(peer), (this.counts.get(toHex(peer)) ?? 0) + 1);
    return hasLeft;
  }
}
