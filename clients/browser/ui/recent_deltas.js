/**
 * The newest deltas that a part of the page can still explain: bounded in number and in bytes.
 *
 * Knows nothing of what they say.
 * @module
 */

/** @import { DeltaSeen } from "./contract.js" */

export const DELTAS_MAX = 60;
/** A page of catching up may have a megabyte, so a few of those are all. */
const BYTES_MAX = 8 << 20;

export class RecentDeltas {
  constructor() {
    /** Newest first. @type {DeltaSeen[]} */
    this.all = [];
    this.nBytes = 0;
  }

  /** @param {DeltaSeen} seen newer than all. It is kept however large it is */
  add(seen) {
    this.all.unshift(seen);
    this.nBytes += seen.nBytes;
    while (this.all.length > DELTAS_MAX || (this.nBytes > BYTES_MAX && this.all.length > 1)) {
      this.nBytes -= /** @type {DeltaSeen} */ (this.all.pop()).nBytes;
    }
  }
}
