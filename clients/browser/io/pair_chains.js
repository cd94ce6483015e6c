/**
 * Our pair chains, computed from the kept messages when they are needed, and how far each was compared.
 *
 * Knows nothing of how cuts travel, nor what a difference means. Calls the store.
 * @module
 */

/** @import { Bytes } from "../protocol/bytes.js" */
/** @import { ItemsReader } from "../protocol/gossip.js" */
/** @import { ChainItem, Cut } from "../protocol/pair_chain.js" */
/** @import { Pair } from "./evidence_store.js" */
/** @import { TrustStore } from "./trust_store.js" */
import { EMPTY, equal, toHex } from "../protocol/bytes.js";
import { NoiseError } from "../protocol/errors.js";
import { NO_SEQ, parseSeq } from "../protocol/identifiers.js";
import { Comparison, KnownCuts, PairChain, newChain } from "../protocol/pair_chain.js";
import { MESSAGE_LEAF } from "../protocol/statements.js";

const PAGE_LEAVES = 1024;
const PEERS_CACHED_MAX = 256;

/** One pair's, from its base on. */
class Chain {
  /**
   * @param {PairChain} base
   * @param {Bytes} baseSeq
   */
  constructor(base, baseSeq) {
    this.base = base;
    this.baseEpoch = parseSeq(baseSeq)[0];
    this.now = base;
    this.lastSeq = baseSeq;
    /** @type {ChainItem[]} */
    this.items = [];
    /** @type {Cut[]} */
    this.steps = [];
    this.hasWritten = base.length > 0n;
  }

  /**
   * @param {Bytes[]} leaves encoded
   * @param {Bytes} deviceId ours
   */
  extend(leaves, deviceId) {
    for (const encoded of leaves) {
      const { seq, sender, env_hash } = MESSAGE_LEAF.decode(encoded);
      this.hasWritten ||= equal(sender, deviceId);
      this.now = this.now.append(seq, env_hash);
      this.items.push({ seq, env_hash });
      this.lastSeq = seq;
      const cut = this.now.cutAt(parseSeq(seq)[0]);
      if (this.steps.at(-1)?.epoch === cut.epoch) this.steps.pop();
      this.steps.push(cut);
    }
  }
}

export class PairChains {
  /**
   * @param {TrustStore} store
   * @param {Bytes} deviceId
   */
  constructor(store, deviceId) {
    this.store = store;
    this.deviceId = deviceId;
    /** @type {Map<string, Chain>} least recently used first */
    this.chains = new Map();
  }

  /**
   * @param {Bytes} peer
   * @returns {Pair}
   */
  pair(peer) {
    const { head } = newChain(this.deviceId, peer);
    const unknown = { matched_length: 0n, matched_epoch: -1n, disputed_seq: EMPTY };
    return this.store.pair(peer) ?? { peer, base_seq: NO_SEQ, base_length: 0n, base_head: head, ...unknown };
  }

  /** @param {Bytes} peer */
  chain(peer) {
    const key = toHex(peer);
    let chain = this.chains.get(key);
    if (chain === undefined) {
      const { base_seq, base_length, base_head } = this.pair(peer);
      chain = new Chain(new PairChain(newChain(this.deviceId, peer).pair, base_length, base_head), base_seq);
      for (const oldest of this.chains.keys()) {
        if (this.chains.size < PEERS_CACHED_MAX) break;
        this.chains.delete(oldest);
      }
    }
    this.chains.delete(key);
    this.chains.set(key, chain);
    for (;;) {
      const after = chain.now.length ? chain.lastSeq : EMPTY; // a first message may stand at NO_SEQ
      const leaves = this.store.chainLeaves(peer, after, PAGE_LEAVES);
      if (!leaves.length) return chain;
      chain.extend(leaves, this.deviceId);
    }
  }

  /**
   * Our side of every comparison with a peer. `nextEpoch`: those before are verified, with all their messages.
   *
   * Throws DecodeError when the peer is ourselves, or no device.
   * @param {Bytes} peer
   * @param {bigint} nextEpoch
   */
  known(peer, nextEpoch) {
    const chain = this.chain(peer);
    return new KnownCuts(chain.base.cutAt(chain.baseEpoch), chain.steps, nextEpoch);
  }

  /**
   * Whether we ever wrote to a peer, as far as is kept: nobody else can make that so.
   * @param {Bytes} peer
   */
  hasWritten(peer) {
    return this.chain(peer).hasWritten;
  }

  /**
   * A reader of our chain's items. It throws NoiseError "evidence-dropped" behind the base.
   * @param {Bytes} peer
   * @returns {ItemsReader}
   */
  items(peer) {
    const chain = this.chain(peer);
    return (afterLength, count) => {
      const first = Number(afterLength - chain.base.length);
      if (first < 0) throw new NoiseError("the chain is not kept that far back", "evidence-dropped");
      return chain.items.slice(first, first + count);
    };
  }

  /**
   * The last cut that matched, if it is still known.
   * @param {Bytes} peer
   * @param {bigint} nextEpoch
   * @returns {Cut | null}
   */
  matched(peer, nextEpoch) {
    const epoch = this.matchedEpoch(peer);
    const cut = epoch < 0n ? null : this.known(peer, nextEpoch).at(epoch);
    return cut === Comparison.LATER || cut === Comparison.FORGOTTEN ? null : /** @type {Cut | null} */ (cut);
  }

  /**
   * Of the last cut that matched; -1: none did.
   * @param {Bytes} peer
   */
  matchedEpoch(peer) {
    return this.pair(peer).matched_epoch;
  }

  /**
   * Both chains are the same at a cut. Whether that is news.
   * @param {Bytes} peer
   * @param {Cut} cut
   */
  noteMatch(peer, cut) {
    const pair = this.pair(peer);
    if (cut.epoch <= pair.matched_epoch) return false;
    this.store.savePairs([{ ...pair, matched_length: cut.length, matched_epoch: cut.epoch }]);
    return true;
  }

  /**
   * Where the last dispute found the first difference; empty: there was none.
   * @param {Bytes} peer
   */
  disputedSeq(peer) {
    return this.pair(peer).disputed_seq;
  }

  /**
   * A dispute has found the first difference: the peer will want to know what we were told there.
   * @param {Bytes} peer
   * @param {Bytes} seq
   */
  noteDifference(peer, seq) {
    const pair = this.pair(peer);
    if (!equal(pair.disputed_seq, seq)) this.store.savePairs([{ ...pair, disputed_seq: seq }]);
  }

  /**
   * The pairs as they are once the records before `nextK`, up to `lastEpoch`, are forgotten.
   * @param {bigint} nextK
   * @param {bigint} lastEpoch
   * @returns {Pair[]}
   */
  folded(nextK, lastEpoch) {
    const folded = [];
    for (const peer of this.store.peers(nextK)) {
      if (equal(peer, this.deviceId)) continue;
      const chain = this.chain(peer);
      const items = chain.items.filter((item) => parseSeq(item.seq)[0] <= lastEpoch);
      if (!items.length) continue;
      const base = chain.base.extend(items);
      const base_seq = items[items.length - 1].seq;
      folded.push({ ...this.pair(peer), base_seq, base_length: base.length, base_head: base.head });
    }
    return folded;
  }

  /** The bases have moved. */
  forgetCached() {
    this.chains.clear();
  }
}
