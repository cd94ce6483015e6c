/**
 * The records of our mailbox that are kept: what each verified step adds, and how they are forgotten from the front.
 *
 * Knows nothing of peers but how far they have compared. Calls the store.
 * @module
 */

/** @import { Bytes } from "../protocol/bytes.js" */
/** @import { Delta } from "../protocol/delta.js" */
/** @import { RecipientSet } from "../protocol/envelope.js" */
/** @import { Material } from "../protocol/evidence/material.js" */
/** @import { Step } from "../protocol/follower.js" */
/** @import { Trusted } from "../protocol/trust.js" */
/** @import { Gained, KeptMessage, KeptNote, KeptRecord } from "./evidence_store.js" */
/** @import { PairChains } from "./pair_chains.js" */
/** @import { Policy } from "./retention.js" */
/** @import { TrustStore } from "./trust_store.js" */
import { equal, toHex } from "../protocol/bytes.js";
import { LOG_OPENING } from "../protocol/evidence/openings.js";
import { HISTORY_RECORD } from "../protocol/history.js";
import { parseSeq } from "../protocol/identifiers.js";
import { leafHashes } from "../protocol/merkle.js";
import { MESSAGE_LEAF } from "../protocol/statements.js";

/**
 * Records and messages that are kept at least before anything is forgotten: asking the policy costs time. All of them
 * are in memory, 1.3 KB each.
 */
export const ROWS_BETWEEN_PRUNING = 1024;

/**
 * What a verified step adds to what is kept: to be stored with it. `before`: what was trusted then. Pure.
 * @param {Trusted} before
 * @param {Step} step
 * @param {Delta} delta
 * @param {Bytes[]} spent ids of one-time prekeys that opened something
 * @returns {Gained}
 */
export function gainedBy(before, step, delta, spent = []) {
  const firstK = before.delivered ? before.delivered.state.hist_size : 0n;
  /** @type {KeptRecord[]} */
  const records = delta.history.map((entry, i) => ({ k: firstK + BigInt(i), record: entry.record }));
  const kOf = new Map(records.map(({ k, record }) => [HISTORY_RECORD.decode(record).epoch, k]));
  /** @type {KeptMessage[]} */
  const messages = [];
  /** @type {Map<string, [Bytes, RecipientSet]>} */
  const sets = new Map();
  for (const { seq, recipients, leaf } of step.deliveries) {
    const k = /** @type {bigint} */ (kOf.get(parseSeq(seq)[0]));
    messages.push({ seq, k, recipients_root: recipients.root, leaf });
    sets.set(toHex(recipients.root), [
      recipients.root,
      { env_salt: recipients.env_salt, device_ids: recipients.device_ids },
    ]);
  }
  const { shared, log, log_proof } = step.trusted;
  /** @type {KeptNote[]} */
  const notes = [];
  if (shared !== null && log.size > before.log.size && records.length) {
    const opening = { note: shared.note, place: log.size - 1n, record: shared.record, proof: [...log_proof] };
    notes.push({ size: log.size, note: LOG_OPENING.encode(opening), is_distinguished: false });
  }
  return { records, messages, sets: [...sets.values()], notes, spent };
}

/**
 * Itself and its messages.
 * @param {Bytes} record
 */
function rowsOf(record) {
  return 1 + HISTORY_RECORD.decode(record).n_messages;
}

export class KeptHistory {
  /**
   * @param {TrustStore} store
   * @param {Bytes} deviceId whose mailbox it is
   * @param {Policy} policy how long
   */
  constructor(store, deviceId, policy) {
    this.store = store;
    this.deviceId = deviceId;
    this.policy = policy;
    this.base = store.base();
    this.records = store.records(this.base.size);
    this.nRows = this.records.reduce((count, record) => count + rowsOf(record), 0);
    this.pruneAt = ROWS_BETWEEN_PRUNING;
  }

  /**
   * These were stored.
   * @param {KeptRecord[]} records
   */
  extend(records) {
    for (const { record } of records) {
      this.records.push(record);
      this.nRows += rowsOf(record);
    }
  }

  /** Whether enough has come since anything was forgotten last. */
  get isDue() {
    return this.nRows >= this.pruneAt;
  }

  /**
   * All that evidence is made of.
   * @param {Bytes} origin
   * @param {Trusted} trusted
   * @returns {Material}
   */
  material(origin, trusted) {
    const { store, base, records, deviceId } = this;
    return {
      origin,
      mailbox: deviceId,
      trusted,
      base,
      records,
      leaves_of: (k) => store.leaves(k),
      recipients_of: (root) => store.recipientSet(root),
    };
  }

  /**
   * Forget what the policy does not keep. `lastEpoch`: verified; `neededEpoch`: open matters begin there.
   * @param {PairChains} chains
   * @param {bigint} lastEpoch
   * @param {bigint} neededEpoch
   */
  forget(chains, lastEpoch, neededEpoch) {
    const epochs = this.records.map((record) => HISTORY_RECORD.decode(record).epoch);
    const firstK = this.base.size;
    const neededK = firstK + BigInt(epochs.filter((epoch) => epoch < neededEpoch).length);
    const stableK = this.stableK(epochs, chains);
    const keepFrom = Number(this.policy({ firstK, epochs, stableK, epoch: lastEpoch, neededK }) - firstK);
    const nForgotten = Math.min(Math.max(0, keepFrom), epochs.length);
    if (nForgotten) {
      let base = this.base;
      for (const hashed of leafHashes(this.records.slice(0, nForgotten))) base = base.append(hashed);
      this.store.forget(base, chains.folded(base.size, epochs[nForgotten - 1]));
      chains.forgetCached();
      this.base = base;
      this.records = this.records.slice(nForgotten);
      this.nRows = this.records.reduce((count, record) => count + rowsOf(record), 0);
    }
    this.pruneAt = Math.max(ROWS_BETWEEN_PRUNING, 2 * this.nRows);
  }

  /**
   * All records before it are of messages beyond which every recipient's cut has matched ours.
   * @param {bigint[]} epochs
   * @param {PairChains} chains
   */
  stableK(epochs, chains) {
    /** @type {Map<string, bigint>} */
    const matched = new Map();
    for (const [i, epoch] of epochs.entries()) {
      const k = this.base.size + BigInt(i);
      for (const encoded of this.store.leaves(k)) {
        const recipients = this.store.recipientSet(MESSAGE_LEAF.decode(encoded).recipients_root);
        for (const peer of recipients?.device_ids ?? []) {
          if (equal(peer, this.deviceId)) continue;
          const key = toHex(peer);
          const reached = matched.get(key) ?? chains.matchedEpoch(peer);
          matched.set(key, reached);
          if (reached < epoch) return k;
        }
      }
    }
    return this.base.size + BigInt(epochs.length);
  }
}
