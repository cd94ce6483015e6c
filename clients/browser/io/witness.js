/**
 * What a client remembers of its provider's word, compares with its peers', and proves: over a trust store, without I/O.
 *
 * Knows nothing of connections or tasks. Whoever owns it hands it every verified step, every receipt and every frame of a
 * peer, carries away what it wants to say (`takeOutgoing`), and looks up what it asks for (`takeLookups`). Everything here
 * calls the store: it runs where the store's calls run, one at a time.
 * @module
 */

/** @import { Bytes } from "../protocol/bytes.js" */
/** @import { Delta, RecipientLists } from "../protocol/delta.js" */
/** @import { Bundle } from "../protocol/envelope.js" */
/** @import { Testimony } from "../protocol/evidence/testimony.js" */
/** @import { Verdict as ProofVerdict } from "../protocol/evidence/verdict.js" */
/** @import { Receipt } from "../protocol/frames.js" */
/** @import { CompactCheckpoint, GossipFrame, StatementFrame, View } from "../protocol/gossip.js" */
/** @import { EpochStatements, Inclusion } from "../protocol/log_pages.js" */
/** @import { Trusted } from "../protocol/trust.js" */
/** @import { Device } from "./device.js" */
/** @import { Gained } from "./evidence_store.js" */
/** @import { LogLookup, Lookup, NoteLookup } from "./log_watch.js" */
/** @import { Finding } from "./pair_watch.js" */
/** @import { Policy } from "./retention.js" */
/** @import { TrustStore } from "./trust_store.js" */
/** @import { Reason } from "./verdicts.js" */
import { equal, toHex, utf8 } from "../protocol/bytes.js";
import { NoiseError } from "../protocol/errors.js";
import { accuseRefusal } from "../protocol/evidence/accuse.js";
import { EvidenceUnavailable } from "../protocol/evidence/material.js";
import { LOG_OPENING } from "../protocol/evidence/openings.js";
import { TESTIMONY, accuseMessage, testify } from "../protocol/evidence/testimony.js";
import { NotProven } from "../protocol/evidence/verdict.js";
import { openView, signView } from "../protocol/exported_view.js";
import { VIEW, answerLog, answerStatement } from "../protocol/gossip.js";
import { NO_EPOCH, formatId, parseSeq } from "../protocol/identifiers.js";
import { Allowance } from "./allowance.js";
import { ignoringNoise } from "./errors.js";
import { compareSection, exportedCheckpoints, exportedSection } from "./exporting.js";
import { KeptHistory } from "./kept_history.js";
import { LogWatch } from "./log_watch.js";
import { NOTHING_FOUND, PairWatch } from "./pair_watch.js";
import { ProofBook } from "./proof_book.js";
import { ReceiptBook } from "./receipt_book.js";
import { Refused } from "./refused.js";
import { Docket } from "./verdicts.js";

/** The suspicion that the provider knows less than we have verified, until it shows that it does not. */
export const LOG_BEHIND = "log-behind";

const OUTGOING_MAX = 1024;
const ANSWERS_PER_MINUTE_MAX = 256;
const USELESS_PER_MINUTE_MAX = 8;
const ANSWERED_MAX = 1024;
const TOLD_MAX = 64;
const RETOLD_MAX = 4;
const RETELL_MS = 10_000;
const EPOCHS_AHEAD_MAX = 1_000_000n;
const ALL_RECORDS = 2n ** 62n;

/** A frame, and the peer that it is for. @typedef {[peer: Bytes, frame: GossipFrame]} Outgoing */

/** One device at one provider; `load` it first. `judgement` is replaced whenever it changes. */
export class Witness {
  /**
   * @param {TrustStore} store
   * @param {Bytes} deviceId
   * @param {Bytes} origin
   * @param {Trusted} trusted
   * @param {Policy} policy
   * @param {() => number} timeMs
   */
  constructor(store, deviceId, origin, trusted, policy, timeMs) {
    this.deviceId = deviceId;
    this.origin = origin;
    this.store = store;
    /** What was verified last. */
    this.trusted = trusted;
    this.history = new KeptHistory(store, deviceId, policy);
    this.timeMs = timeMs;
    this.docket = new Docket();
    this.proofBook = new ProofBook(store, origin, this.docket, timeMs);
    this.logs = new LogWatch(store, origin, timeMs);
    this.pairs = new PairWatch(store, deviceId, origin, (seq, peer) => this.testify(seq, peer), timeMs);
    /** @type {Outgoing[]} */
    this.outgoing = [];
    /** @type {Lookup[]} */
    this.lookups = [];
    this.answers = new Allowance(ANSWERS_PER_MINUTE_MAX, timeMs); // they are larger than questions
    this.useless = new Allowance(USELESS_PER_MINUTE_MAX, timeMs); // a made-up proof can take long to check
    /** @type {Map<string, number>} */
    this.toldMs = new Map();
    /** @type {Set<string>} */
    this.askedRecords = new Set();
    this.receipts = new ReceiptBook(store);
    /** @type {Refused | null} */
    this.refused = null;
    // we do not know when a bundle that is still here was sent first
    this.unansweredEpoch = store.load().bundle.length ? 0n : NO_EPOCH;
  }

  get judgement() {
    return this.docket.judgement;
  }

  /** Proofs that convict the provider, and leave open which of its actors lied. */
  get cases() {
    return this.proofBook.cases;
  }

  /** Take up what the store holds of earlier days. Throws NoiseError when that is damaged. */
  async load() {
    await this.proofBook.load();
    const offence = this.store.offences().at(-1);
    if (offence) this.suspect("refused", "refused-delta", `the provider sent what does not verify: ${offence.detail}`);
    if (this.trusted.shared !== null) await this.noteStep(this.trusted);
  }

  /**
   * A step is stored and adopted: compare what had to wait for it, and forget what may be forgotten.
   * @param {Trusted} trusted
   * @param {Gained | null} gained
   */
  async noteStep(trusted, gained = null) {
    this.trusted = trusted;
    this.history.extend(gained?.records ?? []);
    this.clear(LOG_BEHIND);
    const reached = trusted.delivered ? trusted.delivered.state.last_epoch + 1n : 0n;
    this.pairs.nextEpoch = trusted.isComplete ? trusted.log.size : reached;
    this.lookups.push(...this.logs.noteStep(trusted, gained?.notes ?? []));
    for (const [peer, checkpoint] of this.logs.ready()) {
      await ignoringNoise(() => this.compareLogs(peer, checkpoint)); // its roster may be gone meanwhile
    }
    for (const [peer, cut] of this.pairs.ready()) await this.takeFinding(peer, await this.pairs.hearCut(peer, cut));
    await this.settleReceipts();
    if (this.history.isDue) this.prune();
  }

  /**
   * A bundle leaves. Until it is answered nothing is forgotten that its receipt could contradict: or a provider could drop
   * it, and hold the receipt back until that is forgotten.
   */
  noteSent() {
    if (this.pairs.nextEpoch < this.unansweredEpoch) this.unansweredEpoch = this.pairs.nextEpoch;
  }

  /** The bundle was refused: there is nothing to be honoured. */
  noteRefusedBundle() {
    this.unansweredEpoch = NO_EPOCH;
  }

  /**
   * The provider has signed for a bundle of ours: it owes us our own copy, as it stands in the receipt.
   * @param {Bundle} bundle
   * @param {Receipt} receipt
   */
  async noteReceipt(bundle, receipt) {
    this.unansweredEpoch = NO_EPOCH;
    const [epoch] = parseSeq(receipt.first_seq);
    if (epoch > this.trusted.log.size + EPOCHS_AHEAD_MAX) {
      this.suspect(`receipt ${epoch}`, "receipt-far", `a receipt is for epoch ${epoch}, which may never come`);
    }
    this.receipts.add(bundle, receipt);
    await this.settleReceipts();
  }

  async settleReceipts() {
    for (const proof of await this.receipts.settle(this.pairs.nextEpoch, this.material())) await this.keepProof(proof);
  }

  /**
   * The follower refused a delta: prove what can be proven from it and from what is kept.
   *
   * What the delta commits to is shown to peers that ask for it: theirs may contradict it.
   * @param {Delta} delta
   * @param {RecipientLists} lists
   * @param {string} detail
   */
  async noteRefusal(delta, lists, detail) {
    const proof = await accuseRefusal(this.trusted, delta, this.origin, this.deviceId, lists, this.material());
    if (proof !== null && (await this.keepProof(proof))) return;
    this.suspect("refused", "refused-delta", `the provider sent what does not verify: ${detail}`);
    this.refused = new Refused(this.trusted, delta, lists, this.material());
    const asked = new Map(
      [...this.refused.peers, ...this.store.peers(ALL_RECORDS).slice(0, TOLD_MAX)].map((peer) => [toHex(peer), peer]),
    );
    asked.delete(toHex(this.deviceId));
    for (const peer of asked.values()) this.askAboutRefused(peer);
  }

  /**
   * What to tell a peer, unasked.
   * @param {Bytes} peer
   * @returns {View}
   */
  view(peer) {
    return { checkpoint: this.logs.compactNote(), cuts: this.pairs.cuts(peer) };
  }

  /**
   * The same, as it travels in a sealed message.
   * @param {Bytes} peer
   */
  encodedView(peer) {
    return VIEW.encode(this.view(peer));
  }

  /**
   * A view that came in a sealed message. What makes no sense says nothing about the provider.
   * @param {Bytes} peer
   * @param {Bytes} encoded
   */
  async hearView(peer, encoded) {
    await ignoringNoise(() => this.hear(peer, { type: "view", view: VIEW.decode(encoded) }));
  }

  /**
   * A frame of a peer, which is who it says it is. Throws NoiseError for what no honest peer says.
   * @param {Bytes} peer
   * @param {GossipFrame} frame
   */
  async hear(peer, frame) {
    switch (frame.type) {
      case "view":
        for (const cut of frame.view.cuts) await this.takeFinding(peer, await this.pairs.hearCut(peer, cut));
        if (frame.view.checkpoint !== null) await this.compareLogs(peer, frame.view.checkpoint);
        this.askAboutRefused(peer);
        return;
      case "statement":
        if (this.refused?.seqs.some((seq) => equal(seq, frame.seq))) return this.compareRefused(peer, frame);
        return this.takeFinding(peer, await this.pairs.hearAnswer(peer, frame));
      case "section":
        return this.takeFinding(peer, await this.pairs.hearAnswer(peer, frame));
      case "log":
        if (frame.opening.length && this.askedRecords.delete(recordKey(peer, frame.epoch))) {
          await this.hearOpening(frame.opening);
        }
        return;
      case "proof":
        return this.hearProof(peer, frame.proof);
      default:
        if (this.answers.take(peer)) await this.answer(peer, frame);
    }
  }

  /**
   * @param {Bytes} peer
   * @param {CompactCheckpoint} checkpoint
   */
  async compareLogs(peer, checkpoint) {
    const found = await this.logs.hear(peer, checkpoint);
    if (found instanceof Uint8Array) await this.keepProof(found);
    else if (found !== null) this.lookups.push(found);
  }

  /**
   * Only what convicts explains why we differ. Throws NotProven.
   * @param {Bytes} peer
   * @param {Bytes} proof
   */
  async hearProof(peer, proof) {
    const verdict = this.useless.hasLeft(peer) ? await this.keepProof(proof, { isTold: true }) : null;
    if (verdict === null) {
      this.useless.take(peer);
      throw new NotProven("what the peer calls a proof convicts nobody of ours");
    }
    if (!verdict.is_suspicion) {
      this.pairs.explain(peer);
      this.clear(pairKey(peer));
    }
  }

  /**
   * @param {Bytes} peer
   * @param {GossipFrame} frame
   */
  async answer(peer, frame) {
    if (frame.type === "section-request") this.say(peer, this.pairs.answer(peer, frame));
    else if (frame.type === "log-request") this.say(peer, await answerLog(frame, (epoch) => this.logs.opening(epoch)));
    else if (frame.type === "statement-request") {
      const shown = async (/** @type {Bytes} */ seq) => TESTIMONY.encode(await this.testifyTo(seq, peer));
      this.say(peer, await answerStatement(frame, shown));
    }
  }

  /**
   * What the provider committed to in a delta that we refused: has the peer got the same? Whoever we know is asked: the
   * list of recipients that we were shown may be what is false.
   * @param {Bytes} peer
   */
  askAboutRefused(peer) {
    for (const seq of this.refused?.seqs ?? []) this.say(peer, { type: "statement-request", request: 0, seq });
  }

  /**
   * @param {Bytes} peer
   * @param {StatementFrame} frame
   */
  async compareRefused(peer, { seq, testimony }) {
    if (this.refused === null || !testimony.length) return;
    const theirs = TESTIMONY.decode(testimony);
    try {
      const ours = await this.refused.testifyAgainst(seq, peer);
      const proof = await accuseMessage(this.origin, ours, this.deviceId, theirs, peer, seq);
      if (await this.keepProof(proof)) this.clear("refused");
    } catch (error) {
      // of most messages in a refused delta all say the same
      if (!(error instanceof EvidenceUnavailable || error instanceof NotProven)) throw error;
    }
  }

  /**
   * A signed view as a file: for one peer, or for everybody with our checkpoints alone. Throws NoiseError.
   * @param {Device} device
   * @param {Bytes | null} peer
   */
  async export(device, peer) {
    const testify = (/** @type {Bytes} */ seq, /** @type {Bytes} */ about) => this.testify(seq, about);
    return signView(device.signer, {
      origin: this.origin,
      device_id: this.deviceId,
      key: device.signer.publicKey,
      created_ms: BigInt(this.timeMs()),
      checkpoints: exportedCheckpoints(this.logs.openings()),
      section: peer === null ? null : await exportedSection(this.pairs, peer, testify),
    });
  }

  /**
   * A peer's view from a file, compared; the peer's id. Throws NoiseError for what is no view for us.
   * @param {Bytes} data
   */
  async hearExported(data) {
    const { device_id: peer, section, checkpoints } = await openView(data, this.origin);
    if (equal(peer, this.deviceId)) throw new NoiseError("this view is our own: give it to a peer", "own-view");
    if (section !== null && !equal(section.peer_id, this.deviceId)) {
      throw new NoiseError("this view is for another device: ask for one for ours", "foreign-view");
    }
    for (const checkpoint of checkpoints) await ignoringNoise(() => this.compareLogs(peer, checkpoint));
    if (section !== null) {
      this.pairs.retry(peer);
      for (const cut of section.cuts) {
        await this.takeFinding(peer, await compareSection(this.pairs, peer, section, cut));
      }
    }
    return peer;
  }

  /**
   * A peer does not know yet what we can prove: what we said may have been lost, or dropped.
   * @param {Bytes} peer
   */
  retell(peer) {
    const now = this.timeMs();
    const told = this.toldMs.get(toHex(peer)) ?? now - RETELL_MS;
    if (now - told < RETELL_MS || this.toldMs.size >= ANSWERED_MAX) return;
    this.toldMs.set(toHex(peer), now);
    for (const frame of this.proofFrames()) this.say(peer, frame);
  }

  /**
   * The first proofs that are kept, for a peer that may have been away when they were new.
   * @returns {GossipFrame[]}
   */
  proofFrames() {
    return this.proofBook.proofs(RETOLD_MAX).map((proof) => ({ type: "proof", proof }));
  }

  /**
   * What a peer may know: messages that are for it, too. That there is none would show our others': whoever lacks a
   * message has the proof, and tells.
   * @param {Bytes} seq
   * @param {Bytes} peer
   */
  async testifyTo(seq, peer) {
    const testimony = await this.testify(seq, peer);
    if (testimony.absent === null) return testimony;
    throw new EvidenceUnavailable("what is not there is nobody's business", "evidence-private");
  }

  /** What was asked and not answered yet, to be asked again after a while. @returns {Outgoing[]} */
  questions() {
    return this.pairs.questions();
  }

  /**
   * @param {Bytes} peer
   * @param {Finding} finding
   */
  async takeFinding(peer, finding) {
    if (finding === NOTHING_FOUND) return;
    const { proof, suspicion, question, isProven } = finding;
    if (isProven) this.retell(peer);
    if (question !== null) this.say(peer, question);
    if (proof.length && (await this.keepProof(proof))) {
      this.say(peer, { type: "proof", proof });
      this.clear(pairKey(peer));
    } else if (suspicion) this.suspect(pairKey(peer), "peer-differs", suspicion);
    else if (suspicion === "") this.clear(pairKey(peer));
  }

  /** What to ask the provider for over HTTP; each is answered by one of the three methods that follow. */
  takeLookups() {
    const { lookups } = this;
    this.lookups = [];
    return lookups;
  }

  /**
   * Whether the provider's answer shows that a peer's log is the beginning of ours. If not, `hearFork`.
   * @param {LogLookup} lookup
   * @param {Bytes[]} proof
   */
  hearLog(lookup, proof) {
    const name = formatId(lookup.peer);
    const isOurs = this.logs.checkLog(lookup, proof);
    const doubt = `the provider does not show that the log of ${lookup.checkpoint.size} epochs that ${name} saw is ours`;
    if (isOurs) this.clear(`log:${name}`);
    else this.suspect(`log:${name}`, "log-differs", doubt);
    return isOurs;
  }

  /**
   * What our log has where the peer's ends: kept, and the peer is asked for its own. Throws NoiseError.
   * @param {LogLookup} lookup
   * @param {EpochStatements} statements
   * @param {Inclusion} inclusion
   */
  hearFork(lookup, statements, inclusion) {
    this.logs.keepFork(lookup, statements, inclusion);
    const epoch = lookup.checkpoint.size - 1n;
    if (this.askedRecords.size < ANSWERED_MAX) this.askedRecords.add(recordKey(lookup.peer, epoch));
    this.say(lookup.peer, { type: "log-request", request: 0, epoch });
  }

  /**
   * A distinguished checkpoint, kept. Throws NoiseError for one that does not lead to our log.
   * @param {NoteLookup} lookup
   * @param {EpochStatements} statements
   * @param {Inclusion} inclusion
   * @param {Bytes[]} proof
   */
  async hearNote(lookup, statements, inclusion, proof) {
    await this.logs.keepDistinguished(lookup, statements, inclusion, proof);
  }

  /** What is to be carried to peers, if there is a way. */
  takeOutgoing() {
    const { outgoing } = this;
    this.outgoing = [];
    return outgoing;
  }

  /**
   * What the provider said to us about a message. Throws EvidenceUnavailable, with the reason as its code.
   * @param {Bytes} seq
   * @param {Bytes} peer
   * @returns {Promise<Testimony>}
   */
  async testify(seq, peer) {
    try {
      return testify(this.material(), seq, peer);
    } catch (error) {
      const isLater = error instanceof EvidenceUnavailable && error.code === "evidence-future";
      if (!isLater || this.refused === null) throw error;
      return this.refused.testify(seq, peer);
    }
  }

  /** All that is kept. */
  material() {
    return this.history.material(this.origin, this.trusted);
  }

  /** Every epoch record that we can open by ourselves, newest first. */
  openings() {
    return this.logs.openings();
  }

  /**
   * A record as the provider's log has it now. Throws NoiseError for what makes no sense.
   * @param {bigint} epoch
   * @param {EpochStatements} statements
   * @param {Inclusion} inclusion
   */
  async hearRecord(epoch, { note, record }, { proof }) {
    await this.hearOpening(LOG_OPENING.encode({ note: utf8(note), place: epoch, record, proof }));
  }

  /**
   * A record of the log as somebody else saw it. Throws NoiseError for what makes no sense.
   * @param {Bytes} encoded
   */
  async hearOpening(encoded) {
    const proof = await this.logs.hearOpening(encoded);
    if (proof !== null) await this.keepProof(proof);
  }

  /**
   * Nothing newer was verified for too long; null: that is over.
   * @param {Reason | null} reason
   */
  setStale(reason) {
    if (reason === null) this.docket.remove("stale", "stale");
    else this.docket.add("stale", "stale", reason);
  }

  /**
   * Something that an honest provider has no reason for.
   * @param {string} key
   * @param {string} code
   * @param {string} detail
   */
  suspect(key, code, detail) {
    this.docket.add("suspected", key, { code, detail, accused: "" });
  }

  /** Forget what the policy does not keep. */
  prune() {
    const { nextEpoch, isDisputing, chains } = this.pairs;
    if (!nextEpoch) return;
    const { firstEpoch } = this.receipts;
    const needed = this.unansweredEpoch < firstEpoch ? this.unansweredEpoch : firstEpoch;
    this.history.forget(chains, nextEpoch - 1n, isDisputing ? 0n : needed);
  }

  /**
   * Nothing more is to be found out: this names an actor, or says that one is silent, or is the case again.
   * @param {Bytes} proof of the case
   * @param {Bytes} found
   */
  async noteBlame(proof, found) {
    await this.keepProof(found);
    this.proofBook.dropCase(proof);
  }

  /**
   * What it proves, if anything. The first of a class and accused, if nobody has told us, we tell our peers: a lie may go
   * on in every epoch, and telling makes epochs.
   * @param {Bytes} proof
   * @param {{ isTold?: boolean }} [options]
   * @returns {Promise<ProofVerdict | null>}
   */
  async keepProof(proof, { isTold = false } = {}) {
    const ruling = await this.proofBook.keep(proof);
    if (ruling?.news === "first" && !isTold) {
      for (const peer of this.store.peers(ALL_RECORDS).slice(0, TOLD_MAX)) {
        if (!equal(peer, this.deviceId)) this.say(peer, { type: "proof", proof });
      }
    }
    return ruling?.verdict ?? null;
  }

  /**
   * @param {Bytes} peer
   * @param {GossipFrame} frame
   */
  say(peer, frame) {
    if (this.outgoing.length < OUTGOING_MAX) this.outgoing.push([peer, frame]);
  }

  /** @param {string} key */
  clear(key) {
    this.docket.remove("suspected", key);
  }
}

/** @param {Bytes} peer */
function pairKey(peer) {
  return `pair:${formatId(peer)}`;
}

/**
 * @param {Bytes} peer
 * @param {bigint} epoch
 */
function recordKey(peer, epoch) {
  return `${toHex(peer)} ${epoch}`;
}
