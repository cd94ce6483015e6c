/**
 * What a client trusts, and the only way to trust more: verify a delta whole, then adopt it.
 *
 * Knows nothing of transport, storage or time. `checkDelta` throws and leaves the trusted state untouched, or returns
 * the next state with the deliveries that it proves; the caller stores both in one transaction and then adopts the
 * state.
 * After "Parse, verify, then commit" of python-tuf's `trusted_metadata_set`, and the client of RFC 9162.
 * @module
 */

/** @import { Bytes } from "./bytes.js" */
/** @import { Checkpoint } from "./checkpoint.js" */
/** @import { Delivery, Delta, HistoryEntry, RecipientLists } from "./delta.js" */
/** @import { Bundle } from "./envelope.js" */
/** @import { Cursor, Receipt } from "./frames.js" */
/** @import { History, MailboxState } from "./history.js" */
/** @import { CompactRange } from "./merkle.js" */
/** @import { Signed } from "./signing.js" */
/** @import { EpochHead, EpochRecord, Roster } from "./statements.js" */
/** @import { Bound } from "./trust.js" */
import { compare, equal, readBigEndian, same, toHex } from "./bytes.js";
import { logNameOf, verifyCheckpoint } from "./checkpoint.js";
import { DELTA, openSection } from "./delta.js";
import { Recipients } from "./envelope.js";
import { DecodeError, NoiseError, ProofError, ProviderMisbehaved } from "./errors.js";
import {
  HISTORY_RECORD,
  MAILBOX_STATE,
  applyRecord,
  hashState,
  mapKeyOf,
  newHistory,
  nextRecord,
  ownCiphertextsRoot,
} from "./history.js";
import { Actor, NO_EPOCH, Role } from "./identifiers.js";
import { EMPTY_RANGE, checkInclusion, leafHash, leafHashes, subtreeSpans, treeRoot } from "./merkle.js";
import { placeMailbox } from "./placement.js";
import { openReceipt } from "./receipts.js";
import { SIGNED } from "./signing.js";
import { rootFromProof } from "./state_map.js";
import {
  EPOCH_HEAD,
  EPOCH_RECORD,
  NO_OVERRIDES,
  ROSTER,
  checkSuccessor,
  hashHead,
  hashRoster,
  openRoster,
  statementLeafHash,
  verifyStatement,
} from "./statements.js";
import { NOTHING, ROSTERS_KEPT, Trusted } from "./trust.js";

/**
 * What a verified delta leads to. `counters`: the last sender_ctr of each sender that appears in it, by its id in hex.
 * @typedef {object} Step
 * @property {Trusted} trusted
 * @property {bigint} epoch
 * @property {bigint} time_ms
 * @property {Delivery[]} deliveries
 * @property {Map<string, bigint>} counters
 */

/** Follows one mailbox at one provider. `trusted` changes only through `adopt`. */
export class Follower {
  /**
   * For `Follower.open` only. `rosters`: those of `trusted`, opened.
   * @param {Bytes} origin
   * @param {Bytes} mailbox
   * @param {Trusted} trusted
   * @param {Roster[]} rosters
   * @param {(sender: Bytes) => bigint | null} lastCounter
   */
  constructor(origin, mailbox, trusted, rosters, lastCounter) {
    this.origin = origin;
    this.mailbox = mailbox;
    this.trusted = trusted;
    this.rosters = rosters;
    this.lastCounter = lastCounter;
  }

  /**
   * `lastCounter(sender)` looks up the last verified counter of a sender, or null. Throws DecodeError or SignatureError
   * when `trusted` is not this origin's.
   * @param {Bytes} origin
   * @param {Bytes} mailbox
   * @param {Trusted} trusted
   * @param {{ lastCounter: (sender: Bytes) => bigint | null }} lookUp
   */
  static async open(origin, mailbox, trusted = NOTHING, { lastCounter }) {
    const rosters = [];
    for (const signed of trusted.rosters) rosters.push(await openRoster(signed, origin));
    return new Follower(origin, mailbox, trusted, rosters, lastCounter);
  }

  /**
   * Where to resume.
   * @returns {Cursor}
   */
  get cursor() {
    const { log, state, delivered } = this.trusted;
    return {
      log_size: log.size,
      roster_version: this.rosters.at(-1)?.version ?? 0,
      hist_size: state ? state.hist_size : 0n,
      hist_next: delivered ? delivered.state.hist_size : 0n,
      last_epoch: delivered ? delivered.state.last_epoch : NO_EPOCH,
    };
  }

  /**
   * Trust what `checkDelta` verified, once it is stored.
   * @param {Step} step
   */
  adopt(step) {
    if (!same(step.trusted.rosters, this.trusted.rosters)) {
      this.rosters = step.trusted.rosters.map((signed) => ROSTER.decode(signed.body));
    }
    this.trusted = step.trusted;
  }

  /**
   * Verify everything that a delta says against what is trusted. Pure.
   *
   * `lists`: what this connection sent before; admit `newLists(delta)` to it afterwards. Throws ProviderMisbehaved,
   * with the delta's bytes as evidence. Neither `lists` nor what is trusted may change meanwhile: one delta at a time.
   * @param {Delta} delta
   * @param {RecipientLists} lists
   * @returns {Promise<Step>}
   */
  async checkDelta(delta, lists) {
    try {
      return await this.check(delta, lists);
    } catch (error) {
      if (!(error instanceof NoiseError)) throw error;
      throw new ProviderMisbehaved(error.detail, error.code, [DELTA.encode(delta)]);
    }
  }

  /**
   * @param {Delta} delta
   * @param {RecipientLists} lists
   * @returns {Promise<Step>}
   */
  async check(delta, lists) {
    const old = this.trusted;
    const [rosters, roster] = await this.checkRosters(delta);
    const checkpoint = await verifyCheckpoint(delta.shared.note, logNameOf(this.origin), logKey(roster));
    const [record, log, log_proof] = checkLog(old, checkpoint, delta);
    const inForce = rosters[rosters.length - 1];
    if (!equal(record.roster_hash, hashOf(inForce)) || roster.valid_from_epoch > record.epoch) {
      throw new ProofError("the epoch ran under another roster", "wrong-roster");
    }
    if (!equal(record.placement_root, NO_OVERRIDES) || record.placement_count !== 0) {
      throw new ProofError("unknown placement", "wrong-placement");
    }
    const head = await this.checkHead(delta, record, roster);
    const state = this.checkState(delta, head, record);
    const reachedBefore = old.state ? old.state.hist_size : 0n;
    const bounds = old.bounds.filter((bound) => bound.hist_size < reachedBefore);
    bounds.push({ hist_size: reachedBefore, log_size: old.log.size }); // of two for one size the later says more
    const find = finder(delta, lists);
    const [delivered, deliveries] = await this.checkHistory(delta, state, record, bounds, find);
    checkTail(old.state, state, delivered, delta.tail_hashes);
    const reached = delivered ? delivered.state.hist_size : 0n;
    const size = state ? state.hist_size : 0n;
    if (reached < size && !deliveries.length) {
      throw new ProofError("records are there, and none of them came", "withheld");
    }
    const ahead = bounds.filter((bound) => reached <= bound.hist_size && bound.hist_size < size);
    const { shared, path, other } = delta;
    const trusted = new Trusted({ rosters, log, log_proof, shared, path, other, state, delivered, bounds: ahead });
    const counters = this.checkCounters(deliveries);
    return { trusted, epoch: record.epoch, time_ms: record.time_ms, deliveries, counters };
  }

  /**
   * @param {Delta} delta
   * @returns {Promise<[rosters: Signed[], inForce: Roster]>}
   */
  async checkRosters(delta) {
    const rosters = [...this.trusted.rosters];
    let roster = this.rosters.at(-1) ?? null;
    for (const candidate of delta.rosters) {
      roster = await openRoster(candidate, this.origin);
      if (rosters.length) {
        checkSuccessor(rosters[rosters.length - 1], roster);
        if (roster.valid_from_epoch < this.trusted.log.size) {
          throw new ProofError("a roster for epochs that were verified under another", "wrong-roster");
        }
      }
      rosters.push(candidate);
    }
    if (roster === null) throw new DecodeError("a first delta needs a roster", "no-roster");
    return [rosters.slice(-ROSTERS_KEPT), roster];
  }

  /**
   * @param {Delta} delta
   * @param {EpochRecord} record
   * @param {Roster} roster
   * @returns {Promise<EpochHead>}
   */
  async checkHead(delta, record, roster) {
    const signed = delta.shared.head;
    const head = EPOCH_HEAD.decode(signed.body);
    const actor = placeMailbox(roster, this.mailbox);
    if (!equal(head.actor, actor.encode()) || !equal(head.origin, this.origin) || head.epoch !== record.epoch) {
      throw new ProofError("the head of another outbox, origin or epoch", "wrong-head");
    }
    if (!equal(head.roster_hash, record.roster_hash)) {
      throw new ProofError("head and record name different rosters", "wrong-roster");
    }
    await verifyStatement(signed, "head", roster, actor, head.incarnation);
    const signers = roster.signers();
    if (record.statements_count !== signers.length) {
      throw new ProofError("an epoch needs one statement of every actor", "statement-count");
    }
    const leaf = statementLeafHash(head.actor, hashHead(signed.body));
    const index = BigInt(signers.findIndex((signer) => equal(signer, head.actor)));
    const size = BigInt(record.statements_count);
    checkInclusion(record.statements_root, size, index, leaf, delta.shared.head_proof);
    return head;
  }

  /**
   * @param {Delta} delta
   * @param {EpochHead} head
   * @param {EpochRecord} record
   * @returns {MailboxState | null}
   */
  checkState(delta, head, record) {
    const valueHash = delta.state.length ? hashState(delta.state) : null;
    const proof = { siblings: delta.path, other: delta.other };
    if (!equal(rootFromProof(mapKeyOf(this.mailbox), valueHash, proof), head.map_root)) {
      throw new ProofError("state map path does not lead to the signed root", "bad-map-proof");
    }
    const old = this.trusted.state;
    if (!delta.state.length) {
      if (old !== null) throw new ProofError("the mailbox vanished from the state map", "mailbox-vanished");
      return null;
    }
    const state = MAILBOX_STATE.decode(delta.state);
    if (!equal(state.mailbox, this.mailbox) || state.hist_size < 1n || state.last_epoch > record.epoch) {
      throw new ProofError("the state of another mailbox, or of no epoch", "wrong-state");
    }
    if (old !== null) {
      if (state.gen !== old.gen || state.since_epoch !== old.since_epoch) {
        throw new ProofError("the mailbox changed its generation", "wrong-state");
      }
      const grew =
        state.hist_size > old.hist_size && state.total > old.total && compare(state.last_seq, old.last_seq) > 0;
      if (!same(state, old) && !(grew && state.last_epoch >= this.trusted.log.size)) {
        throw new ProofError("the mailbox's state went back, or grew in the past", "mailbox-rollback");
      }
    }
    return state;
  }

  /**
   * @param {Delta} delta
   * @param {MailboxState | null} state
   * @param {EpochRecord} record
   * @param {readonly Bound[]} bounds
   * @param {(root: Bytes) => Recipients} find
   * @returns {Promise<[delivered: History | null, deliveries: Delivery[]]>}
   */
  async checkHistory(delta, state, record, bounds, find) {
    let { delivered } = this.trusted;
    const boundary = this.trusted.state;
    /** @type {Delivery[]} */
    const deliveries = [];
    for (const entry of delta.history) {
      if (state === null) throw new ProofError("history without a state", "wrong-state");
      if (delivered === null) {
        delivered = newHistory(this.mailbox, state.since_epoch);
        if (HISTORY_RECORD.decode(entry.record).epoch !== state.since_epoch) {
          throw new ProofError("the first record is not of the mailbox's first epoch", "bad-history");
        }
      }
      const index = delivered.state.hist_size;
      const [after, added] = await this.checkEntry(entry, delivered, record.epoch, find);
      delivered = after;
      for (const delivery of added) deliveries.push(delivery);
      const reached = after.state;
      if (bounds.some((bound) => index >= bound.hist_size && reached.last_epoch < bound.log_size)) {
        throw new ProofError("a record of an epoch in which nothing had arrived", "bad-history");
      }
      if (boundary !== null && reached.hist_size === boundary.hist_size && !same(reached, boundary)) {
        throw new ProofError("history does not lead to the state that was trusted", "bad-history");
      }
    }
    return [delivered, deliveries];
  }

  /**
   * @param {HistoryEntry} entry
   * @param {History} delivered
   * @param {bigint} epoch
   * @param {(root: Bytes) => Recipients} find
   * @returns {Promise<[after: History, deliveries: Delivery[]]>}
   */
  async checkEntry(entry, delivered, epoch, find) {
    const record = HISTORY_RECORD.decode(entry.record);
    const previous = delivered.state.last_epoch;
    if (!(previous === NO_EPOCH || previous < record.epoch) || record.epoch > epoch) {
      throw new ProofError("history record out of its order", "bad-history");
    }
    /** @type {Delivery[]} */
    const deliveries = [];
    /** @type {[seq: Bytes, hash: Bytes][]} */
    const own = [];
    let nextSeq = 0n;
    for (const section of entry.sections) {
      const firstSeq = readBigEndian(section.first_seq);
      if (firstSeq < nextSeq) throw new ProofError("sections are out of order, or overlap", "bad-order");
      nextSeq = firstSeq + BigInt(section.n_envelopes);
      const opened = await openSection(section, this.origin, this.mailbox, record.epoch, find);
      for (const delivery of opened.deliveries) deliveries.push(delivery);
      for (const item of opened.own_ciphertexts) own.push(item);
    }
    if (!deliveries.length) throw new ProofError("a history record without deliveries", "bad-history");
    const deltaRoot = treeRoot(leafHashes(deliveries.map((delivery) => delivery.leaf)));
    const expected = nextRecord(delivered, record.epoch, deliveries.length, deltaRoot, ownCiphertextsRoot(own));
    const names = /** @type {(keyof typeof record)[]} */ (Object.keys(record));
    const wrong = names.filter((name) => !same(record[name], expected[name]));
    if (wrong.length) {
      throw new ProofError(`history record contradicts what came: ${wrong.join(", ")}`, "bad-history");
    }
    return [applyRecord(delivered, record, entry.record, deliveries[deliveries.length - 1].seq), deliveries];
  }

  /**
   * @param {readonly Delivery[]} deliveries
   * @returns {Map<string, bigint>}
   */
  checkCounters(deliveries) {
    /** @type {Map<string, bigint>} */
    const counters = new Map();
    for (const { sender, sender_ctr } of deliveries) {
      const name = toHex(sender);
      const last = counters.get(name) ?? this.lastCounter(sender);
      if (last !== null && sender_ctr <= last) {
        throw new ProofError("a sender's counter came twice or went back", "counter-reused");
      }
      counters.set(name, sender_ctr);
    }
    return counters;
  }

  /**
   * The positions (seq) of a bundle's messages, which an inbox's signed manifest commits to. Pure.
   *
   * Throws ProviderMisbehaved; DecodeError "no-roster" when the roster of that epoch is not, or no longer, known here,
   * which says nothing about the provider.
   * @param {Receipt} receipt
   * @param {Bundle} bundle
   */
  async checkReceipt(receipt, bundle) {
    try {
      return await openReceipt(receipt, bundle, this.origin, this.rosters);
    } catch (error) {
      if (!(error instanceof NoiseError) || error.code === "no-roster") throw error;
      throw new ProviderMisbehaved(error.detail, error.code, [SIGNED.encode(receipt.manifest), bundle.body]);
    }
  }
}

/**
 * The recipient lists that a delta brings. Throws Rejected for lists that no provider may accept.
 * @param {Delta} delta
 */
export function newLists(delta) {
  return delta.sets.map((recipientSet) => new Recipients(recipientSet));
}

/**
 * @param {Delta} delta
 * @param {RecipientLists} lists
 * @returns {(root: Bytes) => Recipients}
 */
function finder(delta, lists) {
  const brought = new Map(newLists(delta).map((recipients) => [toHex(recipients.root), recipients]));
  return (root) => {
    const found = brought.get(toHex(root)) ?? lists.get(root);
    if (found === null) throw new DecodeError("a recipient list that was never sent", "unknown-recipients");
    return found;
  };
}

/** Of rosters that were verified: every epoch names the same one again. @type {WeakMap<Signed, Bytes>} */
const hashes = new WeakMap();

/** @param {Signed} roster not to be changed */
function hashOf(roster) {
  const hash = hashes.get(roster) ?? hashRoster(roster.body);
  hashes.set(roster, hash);
  return hash;
}

/** @param {Roster} roster */
function logKey(roster) {
  return roster.entry(new Actor(Role.LOG, 0, 0)).key;
}

/**
 * Extend the trusted log to the checkpoint: append-only, and the record is its last leaf, with this proof.
 * @param {Trusted} old
 * @param {Checkpoint} checkpoint
 * @param {Delta} delta
 * @returns {[record: EpochRecord, log: CompactRange, proof: Bytes[]]}
 */
function checkLog(old, checkpoint, delta) {
  const record = EPOCH_RECORD.decode(delta.shared.record);
  const oldRecord = old.shared ? EPOCH_RECORD.decode(old.shared.record) : null;
  if (checkpoint.size !== record.epoch + 1n) {
    throw new ProofError("checkpoint and epoch record disagree about the epoch", "wrong-epoch");
  }
  if (checkpoint.size < old.log.size) {
    throw new ProofError("the log went back behind what was verified", "log-rollback");
  }
  if (checkpoint.size === old.log.size) {
    const isRecord = old.shared !== null && equal(delta.shared.record, old.shared.record);
    if (delta.log_hashes.length || !equal(checkpoint.root, old.log.root()) || !isRecord) {
      throw new ProofError("another log of the same size", "log-fork");
    }
    return [record, old.log, old.log_proof];
  }
  if (oldRecord !== null && record.challenges_count < oldRecord.challenges_count) {
    throw new ProofError("challenges vanished from the log", "wrong-challenges");
  }
  const before = old.log.extend(record.epoch, delta.log_hashes);
  if (!equal(record.prev_root, before.root())) {
    throw new ProofError("the epoch does not continue the verified log", "log-fork");
  }
  const log = before.append(leafHash(delta.shared.record));
  if (!equal(log.root(), checkpoint.root)) {
    throw new ProofError("the checkpoint does not cover the epoch record", "log-fork");
  }
  if (oldRecord !== null && record.time_ms < oldRecord.time_ms) {
    throw new ProofError("the log's clock went back", "time-went-back");
  }
  return [record, log, [...before.peaks].reverse()];
}

/**
 * The history goes on from what was delivered, over what was trusted, to the state's root.
 * @param {MailboxState | null} old
 * @param {MailboxState | null} state
 * @param {History | null} delivered
 * @param {readonly Bytes[]} tail
 */
function checkTail(old, state, delivered, tail) {
  if (state === null) {
    if (tail.length) throw new ProofError("history without a state", "wrong-state");
    return;
  }
  let reached = delivered ? delivered.records : EMPTY_RANGE;
  if (delivered !== null && reached.size === state.hist_size) {
    if (tail.length || !same(delivered.state, state)) {
      throw new ProofError("history does not lead to the signed state", "bad-history");
    }
    return;
  }
  if (reached.size > state.hist_size) {
    throw new ProofError("more history than the signed state has", "bad-history");
  }
  let rest = tail;
  if (old !== null && reached.size < old.hist_size) {
    const cut = subtreeSpans(reached.size, old.hist_size).length;
    reached = reached.extend(old.hist_size, rest.slice(0, cut));
    rest = rest.slice(cut);
    if (!equal(reached.root(), old.hist_root)) {
      throw new ProofError("history does not lead to the state that was trusted", "bad-history");
    }
  }
  if (!equal(reached.extend(state.hist_size, rest).root(), state.hist_root)) {
    throw new ProofError("history does not lead to the signed state", "bad-history");
  }
}
