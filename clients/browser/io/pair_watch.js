/**
 * Compares our pair chains with those of our peers, and walks every difference to the message that explains it.
 *
 * Knows nothing of carriers, and believes no peer: only what the provider signed becomes a proof.
 * @module
 */

/** @import { Bytes } from "../protocol/bytes.js" */
/** @import { Testimony } from "../protocol/evidence/testimony.js" */
/** @import { GossipFrame, SectionRequest } from "../protocol/gossip.js" */
/** @import { Outcome } from "../protocol/dispute.js" */
/** @import { Cut, KnownCuts } from "../protocol/pair_chain.js" */
/** @import { TrustStore } from "./trust_store.js" */
import { EMPTY, same, toHex } from "../protocol/bytes.js";
import { Contradiction, Dispute, PeerLied, Unavailable } from "../protocol/dispute.js";
import { NoiseError } from "../protocol/errors.js";
import { TESTIMONY, accuseMessage } from "../protocol/evidence/testimony.js";
import { NotProven } from "../protocol/evidence/verdict.js";
import { Reason, answerSection } from "../protocol/gossip.js";
import { formatId } from "../protocol/identifiers.js";
import { Comparison, compare, newChain } from "../protocol/pair_chain.js";
import { PairChains } from "./pair_chains.js";

const PEERS_MAX = 256;
const DISPUTES_MAX = 256;

/** A question that was not answered for so long is asked again at the next occasion: its carrier may have lost it. */
const ASK_AGAIN_MS = 5_000;

/** For so long a difference that nobody could explain is left alone. */
const HOPELESS_MS = 600_000;

/**
 * A dispute that is under way. `isOurs`: with somebody whom we have written to. `askedMs`: when, last. `isWhole`: it began
 * where both chains were once the same, or empty; else where what we keep of ours begins.
 * @typedef {{ peer: Bytes, dispute: Dispute, isOurs: boolean, askedMs: number, isWhole: boolean }} Open
 */

/**
 * What came of a comparison. `proof`: encoded, or empty. `suspicion`: why the pair's chains differ; "" clears it; null: as
 * before. `question`: for the peer. `isProven`: they differ, and a proof that we hold says why.
 * @typedef {{ proof: Bytes, suspicion: string | null, question: GossipFrame | null, isProven: boolean }} Finding
 */

/** @type {Readonly<Finding>} */
export const NOTHING_FOUND = Object.freeze({ proof: EMPTY, suspicion: null, question: null, isProven: false });
/** @type {Readonly<Finding>} */
const ALL_THE_SAME = Object.freeze({ ...NOTHING_FOUND, suspicion: "" });
/** @type {Readonly<Finding>} */
const PROVEN = Object.freeze({ ...NOTHING_FOUND, isProven: true });

export class PairWatch {
  /**
   * @param {TrustStore} store
   * @param {Bytes} deviceId
   * @param {Bytes} origin
   * @param {(seq: Bytes, peer: Bytes) => Promise<Testimony>} testify our own testimony; it throws NoiseError
   * @param {() => number} timeMs the wall clock
   */
  constructor(store, deviceId, origin, testify, timeMs) {
    this.chains = new PairChains(store, deviceId);
    /** Epochs before this one are verified, with all their messages. */
    this.nextEpoch = 0n;
    this.deviceId = deviceId;
    this.origin = origin;
    this.testify = testify;
    this.timeMs = timeMs;
    /** @type {Map<string, [Bytes, Cut]>} */
    this.later = new Map();
    /** @type {Map<string, Open>} */
    this.open = new Map();
    /** @type {Map<string, bigint>} */
    this.disputed = new Map();
    /** @type {Map<string, number>} */
    this.hopeless = new Map();
    this.nRequests = 0;
    /** Peers whose chains differ from ours for ever, by a lie that is proven. @type {Set<string>} */
    this.explained = new Set();
  }

  get isDisputing() {
    return this.open.size > 0;
  }

  /**
   * For a view: how our chain with a peer stands where what we keep of it begins, and at the last epoch that is verified.
   * From the first on we can answer; a peer that finds it equal asks for nothing before it.
   * @param {Bytes} peer
   * @returns {Cut[]}
   */
  cuts(peer) {
    if (!this.nextEpoch || toHex(peer) === toHex(this.deviceId)) return [];
    const known = this.chains.known(peer, this.nextEpoch);
    const cut = known.at(this.nextEpoch - 1n);
    const begin = known.base.length ? [known.base] : [];
    return isCut(cut) ? [...begin, cut] : begin;
  }

  /**
   * Cuts of peers that can be compared by now.
   * @returns {[Bytes, Cut][]}
   */
  ready() {
    const ready = [...this.later].filter(([, [, cut]]) => cut.epoch < this.nextEpoch);
    for (const [key] of ready) this.later.delete(key);
    return ready.map(([, waiting]) => waiting);
  }

  /**
   * Compare a peer's cut, now or when its epoch is verified here.
   * @param {Bytes} peer
   * @param {Cut} cut
   * @returns {Promise<Finding>}
   */
  async hearCut(peer, cut) {
    const key = toHex(peer);
    const known = this.chains.known(peer, this.nextEpoch);
    const result = compare(known, cut);
    if (result === Comparison.MATCH) return this.noteMatch(peer, cut);
    if (result === Comparison.LATER) remember(this.later, key, this.later.get(key) ?? [peer, cut]);
    const ours = known.at(cut.epoch);
    if (result !== Comparison.DIFFERS || !isCut(ours)) return NOTHING_FOUND;
    if (this.explained.has(key)) return PROVEN;
    const now = this.timeMs();
    const opened = this.open.get(key);
    if (opened !== undefined) {
      if (now - opened.askedMs < ASK_AGAIN_MS) return NOTHING_FOUND;
      opened.askedMs = now;
      return { ...NOTHING_FOUND, question: opened.dispute.question() };
    }
    if (now - (this.hopeless.get(key) ?? now - HOPELESS_MS) < HOPELESS_MS) return NOTHING_FOUND;
    return this.dispute(peer, known, ours, cut);
  }

  /**
   * @param {Bytes} peer
   * @param {Cut} cut
   * @returns {Finding}
   */
  noteMatch(peer, cut) {
    const key = toHex(peer);
    if (this.chains.noteMatch(peer, cut)) this.hopeless.delete(key);
    if (cut.epoch < (this.disputed.get(key) ?? 0n)) return NOTHING_FOUND; // it is older than the cut that differs
    for (const table of [this.open, this.disputed, this.hopeless]) table.delete(key);
    return ALL_THE_SAME;
  }

  /**
   * @param {Bytes} peer
   * @param {KnownCuts} known
   * @param {Cut} ours
   * @param {Cut} theirs
   * @returns {Promise<Finding>}
   */
  async dispute(peer, known, ours, theirs) {
    const isKnown = this.chains.hasWritten(peer);
    if (this.open.size >= DISPUTES_MAX && !this.makeRoom(isKnown)) return NOTHING_FOUND;
    let matched = this.chains.matched(peer, this.nextEpoch);
    const isWhole = matched !== null || !known.base.length;
    if (!isWhole && ours.length >= known.base.length && known.base.length <= theirs.length) {
      matched = known.base; // before that, we have forgotten: if there is a difference, it cannot be found
    }
    this.nRequests = (this.nRequests + 2 ** 16) % 2 ** 32;
    const chain = newChain(this.deviceId, peer);
    const options = { matched, firstRequest: this.nRequests };
    const dispute = new Dispute(chain, ours, theirs, this.chains.items(peer), options);
    this.open.set(toHex(peer), { peer, dispute, isOurs: isKnown, askedMs: this.timeMs(), isWhole });
    remember(this.disputed, toHex(peer), theirs.epoch);
    const name = formatId(peer);
    const doubt =
      ours.length === theirs.length
        ? `by epoch ${theirs.epoch} what we share with ${name} differs`
        : `by epoch ${theirs.epoch} we count ${ours.length} shared with ${name}, which counts ${theirs.length}`;
    const finding = await this.follow(peer);
    return finding.suspicion === null ? { ...finding, suspicion: doubt } : finding;
  }

  /**
   * Give up the oldest dispute with a stranger; for somebody whom we know, the oldest of all.
   * @param {boolean} isForKnown
   */
  makeRoom(isForKnown) {
    const stranger = [...this.open].find(([, opened]) => !opened.isOurs);
    const oldest = stranger?.[0] ?? (isForKnown ? this.open.keys().next().value : undefined);
    return oldest !== undefined && this.open.delete(oldest);
  }

  /**
   * A proof says why a peer's chain differs from ours, as it will for ever.
   * @param {Bytes} peer
   */
  explain(peer) {
    this.explained.add(toHex(peer));
    this.open.delete(toHex(peer));
  }

  /**
   * There is a new way to ask a peer: a difference that nobody could explain may be explained now.
   * @param {Bytes} peer
   */
  retry(peer) {
    this.hopeless.delete(toHex(peer));
    this.open.delete(toHex(peer));
  }

  /**
   * What a peer answers in our dispute with it.
   * @param {Bytes} peer
   * @param {GossipFrame} frame
   * @returns {Promise<Finding>}
   */
  async hearAnswer(peer, frame) {
    const opened = this.open.get(toHex(peer));
    if (opened === undefined) return NOTHING_FOUND;
    const before = opened.dispute.question();
    opened.dispute.receive(frame);
    if (same(opened.dispute.question(), before)) return NOTHING_FOUND; // a stray: what was asked stands
    return this.follow(peer);
  }

  /**
   * A page of our chain with a peer.
   * @param {Bytes} peer
   * @param {SectionRequest} request
   */
  answer(peer, request) {
    return answerSection(request, this.chains.known(peer, this.nextEpoch), this.chains.items(peer));
  }

  /**
   * What is asked and not answered: to be sent again now and then.
   * @returns {[Bytes, GossipFrame][]}
   */
  questions() {
    /** @type {[Bytes, GossipFrame][]} */
    const asked = [];
    for (const { peer, dispute } of this.open.values()) {
      const question = dispute.question();
      if (question !== null) asked.push([peer, question]);
    }
    return asked;
  }

  /**
   * @param {Bytes} peer
   * @returns {Promise<Finding>}
   */
  async follow(peer) {
    const opened = /** @type {Open} */ (this.open.get(toHex(peer)));
    const { dispute, isWhole } = opened;
    if (dispute.difference !== null) this.chains.noteDifference(peer, dispute.difference.seq);
    if (dispute.outcome === null) return { ...NOTHING_FOUND, question: dispute.question() };
    this.open.delete(toHex(peer));
    const finding = await this.judge(peer, dispute.outcome, isWhole);
    if (finding.suspicion) remember(this.hopeless, toHex(peer), this.timeMs());
    return finding;
  }

  /**
   * @param {Bytes} peer
   * @param {Outcome} outcome
   * @param {boolean} isWhole
   * @returns {Promise<Finding>}
   */
  async judge(peer, outcome, isWhole) {
    const name = formatId(peer);
    if (outcome instanceof PeerLied) {
      if (isWhole) return ALL_THE_SAME; // about the provider, its words say nothing
      outcome = new Unavailable(Reason.FORGOTTEN, true, "the difference may lie before what we keep");
    }
    if (outcome instanceof Unavailable) {
      if (outcome.reason === Reason.LATER) return NOTHING_FOUND; // its next cut begins again
      const doubt = `our messages differ from those of ${name}, and nothing proves why: ${outcome.detail}`;
      return { ...NOTHING_FOUND, suspicion: doubt };
    }
    try {
      const proof = await this.accuse(peer, /** @type {Contradiction} */ (outcome));
      this.explain(peer);
      return { ...NOTHING_FOUND, proof };
    } catch (error) {
      if (!(error instanceof NoiseError)) throw error;
      if (error.code === "evidence-future") return NOTHING_FOUND;
      const why = error instanceof NotProven ? "which shows no proof" : "and we cannot prove it";
      return { ...NOTHING_FOUND, suspicion: `our messages differ from those of ${name}, ${why}: ${error.detail}` };
    }
  }

  /**
   * @param {Bytes} peer
   * @param {Contradiction} contradiction
   */
  async accuse(peer, { difference, testimony }) {
    let ours;
    try {
      ours = await this.testify(difference.seq, peer);
    } catch (error) {
      if (!(error instanceof NoiseError) || error.code !== "evidence-private") throw error;
      ours = await this.testify(difference.seq, this.deviceId);
    }
    const theirs = TESTIMONY.decode(testimony);
    return accuseMessage(this.origin, ours, this.deviceId, theirs, peer, difference.seq);
  }
}

/**
 * @param {Cut | string} cut
 * @returns {cut is Cut}
 */
function isCut(cut) {
  return typeof cut !== "string";
}

/**
 * @template T
 * @param {Map<string, T>} table
 * @param {string} peer
 * @param {T} value
 */
function remember(table, peer, value) {
  table.set(peer, value);
  if (table.size > PEERS_MAX) table.delete(/** @type {string} */ (table.keys().next().value));
}
