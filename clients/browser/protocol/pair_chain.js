/**
 * Pair chains: one hash over all messages that two devices both received, and the cuts at which they compare it.
 *
 * Knows nothing of peers, files or connections, and nothing of who is right: that is `dispute.js`.
 *
 * A chain is never compared as it stands. A cut names an epoch, and an epoch that is verified never changes: whoever
 * has verified it too compares, all others wait. Messages that are under way cannot look like a difference.
 * @module
 */

/** @import { Bytes } from "./bytes.js" */
/** @import { ValueOf } from "./encoding.js" */
import { compare as compareBytes, concat, equal, same } from "./bytes.js";
import { BYTES16, BYTES32, U64, structCodec } from "./encoding.js";
import { DecodeError } from "./errors.js";
import { hasher } from "./signing.js";

const hash = hasher("pair");

/** One message in a pair chain: where it was put, and what it is. */
export const CHAIN_ITEM = structCodec("ChainItem", { seq: BYTES16, env_hash: BYTES32 });
/** @typedef {ValueOf<typeof CHAIN_ITEM>} ChainItem */

/** How a pair chain stands after all messages of epochs up to and with `epoch`. Made only of verified epochs. */
export const CUT = structCodec("Cut", { epoch: U64, length: U64, head: BYTES32 });
/** @typedef {ValueOf<typeof CUT>} Cut */

/**
 * A chain of `length` messages. `pair`: both device ids, the smaller one first, 64 bytes.
 *
 * `head_0 = H("pair", pair)`; `head_k = H("pair", head_{k-1} || pair || seq || env_hash)`.
 */
export class PairChain {
  /**
   * @param {Bytes} pair
   * @param {bigint} length
   * @param {Bytes} head
   */
  constructor(pair, length, head) {
    this.pair = pair;
    this.length = length;
    this.head = head;
  }

  /**
   * The chain with one more message, which follows all before it in seq order. Throws DecodeError.
   * @param {Bytes} seq
   * @param {Bytes} envHash
   */
  append(seq, envHash) {
    return this.extend([{ seq, env_hash: envHash }]);
  }

  /**
   * The chain with more messages, in seq order. Throws DecodeError.
   * @param {ChainItem[]} items
   */
  extend(items) {
    let head = this.head;
    for (const { seq, env_hash } of items) {
      if (seq.length !== 16 || env_hash.length !== 32) {
        throw new DecodeError("a seq has 16 bytes, a hash of an envelope 32");
      }
      head = hash(head, this.pair, seq, env_hash);
    }
    return new PairChain(this.pair, this.length + BigInt(items.length), head);
  }

  /**
   * The cut of this chain, which holds all messages of epochs up to `epoch`, verified, and none of later ones.
   * @param {bigint} epoch
   * @returns {Cut}
   */
  cutAt(epoch) {
    return { epoch, length: this.length, head: this.head };
  }
}

/**
 * The empty chain of two devices, whichever is named first. Throws DecodeError.
 * @param {Bytes} one
 * @param {Bytes} other
 */
export function newChain(one, other) {
  if (one.length !== 32 || other.length !== 32 || equal(one, other)) {
    throw new DecodeError("a pair has two device ids of 32 bytes each");
  }
  const pair = compareBytes(one, other) < 0 ? concat(one, other) : concat(other, one);
  return new PairChain(pair, 0n, hash(pair));
}

/**
 * What came of a peer's cut. LATER: its epoch is not verified here yet: keep the cut and compare then. FORGOTTEN: its
 * epoch is behind what is kept here: nothing can be said.
 */
export const Comparison = Object.freeze({
  MATCH: "match",
  DIFFERS: "differs",
  LATER: "later",
  FORGOTTEN: "forgotten",
});
/** @typedef {(typeof Comparison)[keyof typeof Comparison]} Comparison */

/**
 * How our own chain stood at every epoch of `[base.epoch, next_epoch)`.
 *
 * `steps`: the cut after each of these epochs that lengthened the chain, by epoch. `base`: the cut at the first one
 * (or the chain before it, if a step is of the same epoch). Epochs before `next_epoch` are verified, every message of
 * them included.
 */
export class KnownCuts {
  /**
   * @param {Cut} base
   * @param {readonly Cut[]} steps
   * @param {bigint} nextEpoch
   */
  constructor(base, steps, nextEpoch) {
    this.base = base;
    this.steps = steps;
    this.next_epoch = nextEpoch;
  }

  /**
   * Our cut at an epoch; or LATER, or FORGOTTEN.
   * @param {bigint} epoch
   * @returns {Cut | "later" | "forgotten"}
   */
  at(epoch) {
    if (epoch >= this.next_epoch) return Comparison.LATER;
    if (epoch < this.base.epoch) return Comparison.FORGOTTEN;
    let [start, end] = [0, this.steps.length];
    while (start < end) {
      const middle = (start + end) >> 1;
      if (this.steps[middle].epoch <= epoch) start = middle + 1;
      else end = middle;
    }
    const step = start ? this.steps[start - 1] : this.base;
    return { epoch, length: step.length, head: step.head };
  }
}

/**
 * A peer's cut of the pair's chain against ours, at the epoch that it names.
 * @param {KnownCuts} own
 * @param {Cut} cut
 * @returns {Comparison}
 */
export function compare(own, cut) {
  const ours = own.at(cut.epoch);
  if (typeof ours === "string") return ours;
  return same(ours, cut) ? Comparison.MATCH : Comparison.DIFFERS;
}
