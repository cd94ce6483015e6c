/**
 * One difference with one peer, walked to the first message about which the two disagree: a sans-IO state machine.
 *
 * Knows nothing of carriers, time, or evidence: a testimony is bytes here. Whoever owns a `Dispute` sends what
 * `question()` returns, again whenever nothing has come for a while, and hands it every answer. Nothing is lost by
 * starting from scratch: questions change nothing at the peer, and answers say what they answer. Each side runs its
 * own.
 *
 *     WALKING --section, all equal--> WALKING
 *     WALKING --section, a difference--> ASKING
 *     ASKING --statement--> OVER
 *     any --an answer that cannot be true, an empty one, too many strays--> OVER
 *
 * Its costs are bounded by our own data, whatever the peer does: every page but the last costs it a page that equals
 * ours, and strays are counted.
 * @module
 */

/** @import { Bytes } from "./bytes.js" */
/** @import { GossipFrame, ItemsReader, SectionFrame, SectionRequest, StatementRequest } from "./gossip.js" */
/** @import { ChainItem, Cut } from "./pair_chain.js" */
import { EMPTY, compare, equal, readBigEndian, same } from "./bytes.js";
import { NoiseError } from "./errors.js";
import { PAGE_ITEMS_MAX, Reason } from "./gossip.js";
import { PairChain } from "./pair_chain.js";

/** Frames in a row that answer nothing asked now. A slow but honest peer answers every repeated question once more. */
export const STRAYS_MAX = 1024;

/** WALKING: a page of the peer's chain is asked for. ASKING: the peer's testimony about the first difference is. */
export const DisputeState = Object.freeze({ WALKING: "walking", ASKING: "asking", OVER: "over" });
/** @typedef {(typeof DisputeState)[keyof typeof DisputeState]} DisputeState */

/** What type of frame may answer in each state. Whatever else comes is a stray. */
export const ANSWERS = Object.freeze({ walking: "section", asking: "statement", over: null });

/**
 * The first message about which the chains disagree. Null: that side has no message at this seq.
 *
 * Both present: one seq, two messages. One present: a message that only one of the two was given.
 * @typedef {{ seq: Bytes, ours: ChainItem | null, theirs: ChainItem | null }} Difference
 */

/** The peer shows something for its side of the difference. Whether the provider signed it is not looked at here. */
export class Contradiction {
  /**
   * @param {Difference} difference
   * @param {Bytes} testimony
   */
  constructor(difference, testimony) {
    this.difference = difference;
    this.testimony = testimony;
  }
}

/** The peer's own words contradict each other. It is not believed, and says nothing about the provider. */
export class PeerLied {
  /** @param {string} detail */
  constructor(detail) {
    this.detail = detail;
  }
}

/** Nothing can be shown. `reason` is the peer's, or ours where `is_ours`; unknown numbers are UNWILLING. */
export class Unavailable {
  /**
   * @param {number} reason one of Reason
   * @param {boolean} isOurs
   * @param {string} detail
   */
  constructor(reason, isOurs, detail) {
    this.reason = reason;
    this.is_ours = isOurs;
    this.detail = detail;
  }
}

/** @typedef {Contradiction | PeerLied | Unavailable} Outcome */

/** Ours with one peer, about its cut `theirs`. Public: `state`, `difference` (from ASKING on), `outcome` (OVER). */
export class Dispute {
  #chain;
  #firstEpoch;
  #items;
  #lastSeq = EMPTY;
  #own;
  #request;
  #strays = 0;
  #theirs;

  /**
   * `chain`: the pair's, empty. `own`: our cut at the epoch of `theirs`. `matched`: the last cut that matched.
   *
   * Throws NoiseError unless both cuts are of one epoch, and differ.
   * @param {PairChain} chain
   * @param {Cut} own
   * @param {Cut} theirs
   * @param {ItemsReader} items
   * @param {{ matched?: Cut | null, firstRequest?: number }} [options]
   */
  constructor(chain, own, theirs, items, { matched = null, firstRequest = 0 } = {}) {
    if (own.epoch !== theirs.epoch || same(own, theirs)) {
      throw new NoiseError("a dispute is about two different cuts at one epoch", "no-dispute");
    }
    this.#chain = matched === null ? chain : new PairChain(chain.pair, matched.length, matched.head);
    this.#firstEpoch = matched === null ? 0n : matched.epoch + 1n;
    this.#own = own;
    this.#theirs = theirs;
    this.#items = items;
    this.#request = firstRequest;
    /** @type {DisputeState} */
    this.state = DisputeState.WALKING;
    /** @type {Difference | null} */
    this.difference = null;
    /** @type {Outcome | null} */
    this.outcome = null;
    if (theirs.epoch < this.#firstEpoch || theirs.length < this.#chain.length) {
      this.#end(new PeerLied("its cut contradicts an earlier one of its own, which matched"));
    }
  }

  /**
   * What to send now, as often as the carrier needs it; null: nothing, it is over.
   * @returns {SectionRequest | StatementRequest | null}
   */
  question() {
    if (this.state === DisputeState.OVER) return null;
    const request = this.#request;
    if (this.difference !== null) return { type: "statement-request", request, seq: this.difference.seq };
    return { type: "section-request", request, epoch: this.#theirs.epoch, after_length: this.#chain.length };
  }

  /**
   * Take a frame from the peer: an answer, or a stray.
   * @param {GossipFrame} frame
   */
  receive(frame) {
    const question = this.question();
    if (question === null) return;
    if (frame.type !== ANSWERS[this.state] || !repeats(frame, question)) {
      this.#strays++;
      if (this.#strays > STRAYS_MAX) {
        this.#end(new Unavailable(Reason.UNWILLING, false, "the peer answers what it was not asked"));
      }
      return;
    }
    this.#strays = 0;
    if (frame.type === "section") {
      this.#takePage(frame);
    } else if (frame.type === "statement" && this.difference !== null) {
      if (frame.reason !== Reason.NONE || !frame.testimony.length) {
        this.#endUnanswered(frame.reason, "the peer shows nothing for its side");
      } else {
        this.#end(new Contradiction(this.difference, frame.testimony));
      }
    }
  }

  /** @param {SectionFrame} frame */
  #takePage(frame) {
    if (frame.reason !== Reason.NONE) {
      this.#endUnanswered(frame.reason, "the peer does not show its chain");
    } else if (frame.items.length !== this.#pageSize(this.#theirs)) {
      this.#end(new PeerLied("its chain has another length than its cut says"));
    } else if (!this.#areInOrder(frame.items)) {
      this.#end(new PeerLied("its chain is out of order, or of other epochs than its cut"));
    } else {
      this.#walk(frame.items);
    }
  }

  /**
   * Items of the next page of the chain that leads to a cut.
   * @param {Cut} cut
   */
  #pageSize(cut) {
    const left = cut.length - this.#chain.length;
    if (left <= 0n) return 0;
    return left < PAGE_ITEMS_MAX ? Number(left) : PAGE_ITEMS_MAX;
  }

  /** @param {ChainItem[]} items */
  #areInOrder(items) {
    let lastSeq = this.#lastSeq;
    for (const { seq } of items) {
      const epoch = readBigEndian(seq.subarray(0, 8));
      if (compare(seq, lastSeq) <= 0 || epoch < this.#firstEpoch || epoch > this.#theirs.epoch) return false;
      lastSeq = seq;
    }
    return true;
  }

  /**
   * Compare a page of theirs with ours from the same number on. Both are full, or end where the chain ends.
   * @param {ChainItem[]} page
   */
  #walk(page) {
    const ours = this.#ourPage();
    if (ours === null) {
      this.#end(new Unavailable(Reason.FORGOTTEN, true, "we do not keep our own chain that far back"));
      return;
    }
    const reached = this.#chain.extend(page);
    const isLast = reached.length === this.#theirs.length;
    if (isLast && !equal(reached.head, this.#theirs.head)) {
      this.#end(new PeerLied("its chain does not lead to the head of its cut"));
      return;
    }
    this.difference = firstDifference(ours, page);
    if (this.difference !== null) {
      this.#ask(DisputeState.ASKING);
    } else if (isLast && this.#own.length <= reached.length) {
      this.#end(new Unavailable(Reason.UNWILLING, true, "the chains are the same: it is our own cut that is wrong"));
    } else {
      this.#chain = reached;
      this.#lastSeq = page[page.length - 1].seq;
      this.#ask(DisputeState.WALKING);
    }
  }

  /** Null: it is not kept any more. */
  #ourPage() {
    const count = this.#pageSize(this.#own);
    try {
      const page = count ? this.#items(this.#chain.length, count) : [];
      return page.length === count ? page : null;
    } catch (error) {
      if (!(error instanceof NoiseError)) throw error;
      return null;
    }
  }

  /** @param {DisputeState} state */
  #ask(state) {
    this.state = state;
    this.#request = (this.#request + 1) % 2 ** 32;
  }

  /**
   * @param {number} reason
   * @param {string} detail
   */
  #endUnanswered(reason, detail) {
    const isKnown = reason === Reason.LATER || reason === Reason.FORGOTTEN;
    this.#end(new Unavailable(isKnown ? reason : Reason.UNWILLING, false, detail));
  }

  /** @param {Outcome} outcome */
  #end(outcome) {
    this.state = DisputeState.OVER;
    this.outcome = outcome;
  }
}

/**
 * Whether an answer says what it answers.
 * @param {GossipFrame} answer
 * @param {SectionRequest | StatementRequest} question
 */
function repeats(answer, question) {
  const members = /** @type {Record<string, unknown>} */ (answer);
  return Object.entries(question).every(([name, value]) => name === "type" || same(members[name], value));
}

/**
 * Of two runs that begin at one number and end at one, or where a chain ends. The smaller seq is in one only.
 * @param {ChainItem[]} ours
 * @param {ChainItem[]} theirs
 * @returns {Difference | null}
 */
function firstDifference(ours, theirs) {
  for (let i = 0; i < Math.max(ours.length, theirs.length); i++) {
    const [our, their] = [ours[i] ?? null, theirs[i] ?? null];
    if (same(our, their)) continue;
    const order = our === null ? 1 : their === null ? -1 : compare(our.seq, their.seq);
    return { seq: order <= 0 ? our.seq : their.seq, ours: order <= 0 ? our : null, theirs: order >= 0 ? their : null };
  }
  return null;
}
