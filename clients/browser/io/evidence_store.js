/**
 * What a client keeps of its provider's word, to show it to others: in memory, and in the journal.
 *
 * Knows nothing of IndexedDB, nor of when something may be forgotten: `retention.js` decides that. The signed part
 * (checkpoint, head, path) is in the trusted blob; here is what it commits to, and what peers have said about it. Every
 * method is synchronous, and what it changes is durable after the `commit` of the call that it is part of.
 * Of `evidence_store.py` this keeps the contract, and of `trust_store_memory_evidence.py` the way.
 * @module
 */

/** @import { Bytes } from "../protocol/bytes.js" */
/** @import { RecipientSet } from "../protocol/envelope.js" */
/** @import { Key } from "./indexed_db.js" */
/** @import { Journal } from "./journal.js" */
import { compare, equal, fromHex, toHex } from "../protocol/bytes.js";
import { CompactRange, EMPTY_RANGE } from "../protocol/merkle.js";
import { NO_PREKEY_ID } from "../protocol/prekeys.js";

/** Checkpoints kept with their signatures, of each kind: some 250 bytes each. */
export const NOTES_MAX = 64;

/** Proofs kept: each convicts, so the first is the one that matters. */
export const PROOFS_MAX = 64;

/**
 * History record `k` of our mailbox, encoded.
 * @typedef {{ k: bigint, record: Bytes }} KeptRecord
 */

/**
 * A message of history record `k`. `leaf`: the encoded MessageLeaf.
 * @typedef {{ seq: Bytes, k: bigint, recipients_root: Bytes, leaf: Bytes }} KeptMessage
 */

/**
 * A checkpoint note of the log at `size`, verbatim. `is_distinguished`: one of those that every client keeps.
 * @typedef {{ size: bigint, note: Bytes, is_distinguished: boolean }} KeptNote
 */

/**
 * Our pair chain with a peer. `base_*`: where what is kept of it begins: last seq, length and head before that.
 *
 * `matched_length`, `matched_epoch`: the last cut at which both chains were the same; epoch -1: never compared.
 * `disputed_seq`: where the last dispute found the first difference; empty: there was none.
 * @typedef {{ peer: Bytes, base_seq: Bytes, base_length: bigint, base_head: Bytes, matched_length: bigint,
 *   matched_epoch: bigint, disputed_seq: Bytes }} Pair
 */

/**
 * A receipt that is not honoured yet: the encoded bundle, and the encoded receipt. `first_seq` of the bundle.
 * @typedef {{ first_seq: Bytes, bundle: Bytes, receipt: Bytes }} KeptReceipt
 */

/**
 * A proof of misbehaviour that was verified. `time_ms`: when we had it.
 * @typedef {{ time_ms: bigint, proof: Bytes }} KeptProof
 */

/**
 * Our half of a prekey, which no script can read, and the public one. `kind`: as in `protocol/prekeys.js`. `made_ms`: when.
 * @typedef {{ prekey_id: Bytes, kind: number, private_key: CryptoKey, public: Bytes, made_ms: bigint }} PrivatePrekey
 */

/**
 * What a verified step adds. `spent`: ids of one-time prekeys that opened something: they are forgotten.
 * @typedef {{ records: KeptRecord[], messages: KeptMessage[], sets: (readonly [Bytes, RecipientSet])[],
 *   notes: KeptNote[], spent: Bytes[] }} Gained
 */

/** @type {Readonly<Gained>} */
export const NOTHING_GAINED = Object.freeze({ records: [], messages: [], sets: [], notes: [], spent: [] });

/**
 * A number as a key that sorts as it does.
 * @param {bigint} number
 */
function keyOf(number) {
  return number.toString(16).padStart(16, "0");
}

/** @param {KeptNote} note */
function noteKey(note) {
  return `${note.is_distinguished ? 1 : 0}${keyOf(note.size)}`;
}

/**
 * The first index at which `isBehind` holds, in a list in which it holds from somewhere on.
 * @template T
 * @param {T[]} list
 * @param {(item: T) => boolean} isBehind
 */
function firstIndex(list, isBehind) {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBehind(list[middle])) high = middle;
    else low = middle + 1;
  }
  return low;
}

export class EvidenceStore {
  /** @type {Journal} */
  journal;
  #base = EMPTY_RANGE;
  /** @type {KeptRecord[]} by k */
  #records = [];
  /** @type {{ message: KeptMessage, root: string }[]} by seq */
  #messages = [];
  /** @type {Map<bigint, KeptMessage[]>} by k */
  #byRecord = new Map();
  /** @type {Map<string, RecipientSet>} by root */
  #sets = new Map();
  /** @type {Map<string, Set<string>>} roots by member */
  #roots = new Map();
  /** @type {Map<string, Pair>} by peer */
  #pairs = new Map();
  /** @type {[KeptNote[], KeptNote[]]} of each kind, by size */
  #notes = [[], []];
  /** @type {Map<string, KeptReceipt>} by first seq */
  #receipts = new Map();
  /** @type {KeptProof[]} */
  #proofs = [];
  /** @type {Map<string, [number, PrivatePrekey]>} by id, in the order in which they were made */
  #prekeys = new Map();
  #nextPrekey = 1;
  #lastPrekeyId = NO_PREKEY_ID;

  /**
   * @param {Journal} journal
   * @param {Map<string, Map<Key, any>>} tables
   */
  constructor(journal, tables) {
    this.journal = journal;
    /** @param {string} table */
    const rows = (table) => [...(tables.get(table)?.values() ?? [])];
    const device = tables.get("device");
    const base = device?.get("base");
    if (base) this.#base = new CompactRange(base.size, base.peaks);
    this.#lastPrekeyId = device?.get("last_prekey_id") ?? NO_PREKEY_ID;
    this.#records = rows("records");
    for (const [root, recipientSet] of tables.get("sets") ?? []) this.#holdSet(String(root), recipientSet);
    for (const message of rows("leaves")) this.#holdMessage(message);
    for (const pair of rows("pairs")) this.#pairs.set(toHex(pair.peer), pair);
    for (const note of rows("notes")) this.#notes[note.is_distinguished ? 1 : 0].push(note);
    for (const receipt of rows("receipts")) this.#receipts.set(toHex(receipt.first_seq), receipt);
    this.#proofs = rows("proofs");
    for (const [number, prekey] of tables.get("prekeys") ?? []) {
      this.#prekeys.set(toHex(prekey.prekey_id), [Number(number), prekey]);
      this.#nextPrekey = Number(number) + 1;
    }
  }

  /**
   * What is kept already stays as it is.
   * @param {Gained} gained
   */
  gain(gained) {
    for (const kept of gained.records) {
      if (this.#records.length && kept.k <= this.#records[this.#records.length - 1].k) continue;
      this.#records.push(kept);
      this.journal.put("records", keyOf(kept.k), kept);
    }
    for (const message of gained.messages) {
      const last = this.#messages[this.#messages.length - 1];
      if (last && compare(message.seq, last.message.seq) <= 0) continue;
      this.#holdMessage(message);
      this.journal.put("leaves", toHex(message.seq), message);
    }
    for (const [root, recipientSet] of gained.sets) {
      const key = toHex(root);
      if (this.#sets.has(key)) continue;
      this.#holdSet(key, recipientSet);
      this.journal.put("sets", key, recipientSet);
    }
    for (const note of gained.notes) this.saveNote(note);
    this.dropPrekeys(gained.spent);
  }

  /** @param {KeptMessage} message */
  #holdMessage(message) {
    this.#messages.push({ message, root: toHex(message.recipients_root) });
    const others = this.#byRecord.get(message.k);
    if (others) others.push(message);
    else this.#byRecord.set(message.k, [message]);
  }

  /**
   * @param {string} root
   * @param {RecipientSet} recipientSet
   */
  #holdSet(root, recipientSet) {
    this.#sets.set(root, recipientSet);
    for (const deviceId of recipientSet.device_ids) {
      const member = toHex(deviceId);
      const roots = this.#roots.get(member);
      if (roots) roots.add(root);
      else this.#roots.set(member, new Set([root]));
    }
  }

  /** The range over the records that were forgotten. */
  base() {
    return this.#base;
  }

  /**
   * The encoded records from record `firstK` on, in order.
   * @param {bigint} firstK
   * @returns {Bytes[]}
   */
  records(firstK) {
    return this.#records.filter(({ k }) => k >= firstK).map(({ record }) => record);
  }

  /**
   * The encoded leaves of a record, in seq order; empty when it is not kept.
   * @param {bigint} k
   * @returns {Bytes[]}
   */
  leaves(k) {
    return (this.#byRecord.get(k) ?? []).map(({ leaf }) => leaf);
  }

  /**
   * A recipient list by its root.
   * @param {Bytes} root
   * @returns {RecipientSet | null}
   */
  recipientSet(root) {
    return this.#sets.get(toHex(root)) ?? null;
  }

  /**
   * The first `count` kept leaves after `afterSeq` whose recipients include `peer`, in seq order.
   * @param {Bytes} peer
   * @param {Bytes} afterSeq
   * @param {number} count
   * @returns {Bytes[]}
   */
  chainLeaves(peer, afterSeq, count) {
    const roots = this.#roots.get(toHex(peer));
    /** @type {Bytes[]} */
    const found = [];
    if (!roots) return found;
    let i = firstIndex(this.#messages, ({ message }) => compare(message.seq, afterSeq) > 0);
    for (; i < this.#messages.length && found.length < count; i++) {
      if (roots.has(this.#messages[i].root)) found.push(this.#messages[i].message.leaf);
    }
    return found;
  }

  /**
   * All recipients of the kept messages of records before `nextK`, in order.
   * @param {bigint} nextK
   * @returns {Bytes[]}
   */
  peers(nextK) {
    const roots = new Set(this.#messages.filter(({ message }) => message.k < nextK).map(({ root }) => root));
    const found = new Set([...roots].flatMap((root) => this.#sets.get(root)?.device_ids.map(toHex) ?? []));
    return [...found].sort().map(fromHex);
  }

  /**
   * Everybody with whom we share a kept message, or have a pair chain of forgotten ones, in order.
   * @returns {Bytes[]}
   */
  knownPeers() {
    return [...new Set([...this.#roots.keys(), ...this.#pairs.keys()])].sort().map(fromHex);
  }

  /**
   * What was saved last about a peer.
   * @param {Bytes} peer
   * @returns {Pair | null}
   */
  pair(peer) {
    return this.#pairs.get(toHex(peer)) ?? null;
  }

  /**
   * Replace what is known of these peers.
   * @param {readonly Pair[]} pairs
   */
  savePairs(pairs) {
    for (const pair of pairs) {
      this.#pairs.set(toHex(pair.peer), pair);
      this.journal.put("pairs", toHex(pair.peer), pair);
    }
  }

  /**
   * Forget the records before `base.size`, their messages, and the sets that only they had; save these pairs.
   * @param {CompactRange} base
   * @param {readonly Pair[]} pairs
   */
  forget(base, pairs) {
    this.#base = base;
    this.journal.put("device", "base", { size: base.size, peaks: base.peaks });
    const nRecords = firstIndex(this.#records, ({ k }) => k >= base.size);
    for (const { k } of this.#records.splice(0, nRecords)) {
      this.#byRecord.delete(k);
      this.journal.delete("records", keyOf(k));
    }
    const nMessages = firstIndex(this.#messages, ({ message }) => message.k >= base.size);
    for (const { message } of this.#messages.splice(0, nMessages)) {
      this.journal.delete("leaves", toHex(message.seq));
    }
    const kept = new Set(this.#messages.map(({ root }) => root));
    for (const root of [...this.#sets.keys()].filter((one) => !kept.has(one))) this.#dropSet(root);
    this.savePairs(pairs);
  }

  /** @param {string} root */
  #dropSet(root) {
    for (const deviceId of this.#sets.get(root)?.device_ids ?? []) {
      const member = toHex(deviceId);
      const roots = this.#roots.get(member);
      roots?.delete(root);
      if (roots?.size === 0) this.#roots.delete(member);
    }
    this.#sets.delete(root);
    this.journal.delete("sets", root);
  }

  /**
   * All that are kept, by size.
   * @returns {KeptNote[]}
   */
  notes() {
    const rank = (/** @type {KeptNote} */ note) => [note.size, note.is_distinguished ? 1n : 0n];
    return this.#notes.flat().sort((a, b) => {
      const [[sizeA, kindA], [sizeB, kindB]] = [rank(a), rank(b)];
      return sizeA === sizeB ? Number(kindA - kindB) : sizeA < sizeB ? -1 : 1;
    });
  }

  /**
   * Keep it among those of its kind: the NOTES_MAX largest sizes.
   * @param {KeptNote} note
   */
  saveNote(note) {
    const kept = this.#notes[note.is_distinguished ? 1 : 0];
    const place = firstIndex(kept, ({ size }) => size >= note.size);
    if (kept[place]?.size === note.size) return;
    kept.splice(place, 0, note);
    this.journal.put("notes", noteKey(note), note);
    for (const old of kept.splice(0, Math.max(0, kept.length - NOTES_MAX))) this.journal.delete("notes", noteKey(old));
  }

  /**
   * Keep it until it is dropped.
   * @param {KeptReceipt} receipt
   */
  saveReceipt(receipt) {
    this.#receipts.set(toHex(receipt.first_seq), receipt);
    this.journal.put("receipts", toHex(receipt.first_seq), receipt);
    this.journal.beStrict();
  }

  /**
   * By first seq.
   * @returns {KeptReceipt[]}
   */
  receipts() {
    return [...this.#receipts.values()].sort((a, b) => compare(a.first_seq, b.first_seq));
  }

  /**
   * It was honoured, or became a proof.
   * @param {Bytes} firstSeq
   */
  dropReceipt(firstSeq) {
    if (this.#receipts.delete(toHex(firstSeq))) this.journal.delete("receipts", toHex(firstSeq));
  }

  /**
   * Whether it was new. The first PROOFS_MAX are kept.
   * @param {KeptProof} proof
   */
  saveProof(proof) {
    if (this.#proofs.length >= PROOFS_MAX || this.#proofs.some((kept) => equal(kept.proof, proof.proof))) return false;
    this.#proofs.push(proof);
    this.journal.put("proofs", this.#proofs.length, proof);
    this.journal.beStrict();
    return true;
  }

  /**
   * Oldest first.
   * @returns {KeptProof[]}
   */
  proofs() {
    return [...this.#proofs];
  }

  /**
   * Before their public halves are published.
   * @param {readonly PrivatePrekey[]} prekeys
   */
  savePrekeys(prekeys) {
    for (const prekey of prekeys) {
      const number = this.#nextPrekey++;
      this.#prekeys.set(toHex(prekey.prekey_id), [number, prekey]);
      this.journal.put("prekeys", number, prekey);
      if (compare(prekey.prekey_id, this.#lastPrekeyId) > 0) this.#lastPrekeyId = prekey.prekey_id;
    }
    this.journal.put("device", "last_prekey_id", this.#lastPrekeyId);
    this.journal.beStrict();
  }

  /**
   * One of ours.
   * @param {Bytes} prekeyId
   * @returns {PrivatePrekey | null}
   */
  prekey(prekeyId) {
    return this.#prekeys.get(toHex(prekeyId))?.[1] ?? null;
  }

  /**
   * All of a kind, the newest last.
   * @param {number} kind
   * @returns {PrivatePrekey[]}
   */
  prekeys(kind) {
    return [...this.#prekeys.values()].map(([, prekey]) => prekey).filter((prekey) => prekey.kind === kind);
  }

  /** The highest id that was ever saved, that of a forgotten key too; NO_PREKEY_ID: there was none. */
  lastPrekeyId() {
    return this.#lastPrekeyId;
  }

  /**
   * Forget these: what was sealed for them cannot be opened any more.
   * @param {readonly Bytes[]} prekeyIds
   */
  dropPrekeys(prekeyIds) {
    for (const prekeyId of prekeyIds) {
      const kept = this.#prekeys.get(toHex(prekeyId));
      if (!kept) continue;
      this.#prekeys.delete(toHex(prekeyId));
      this.journal.delete("prekeys", kept[0]);
    }
  }

  /**
   * How many messages are kept, and the bytes that records, messages and sets take.
   * @returns {[count: number, size: number]}
   */
  evidenceBytes() {
    let size = 0;
    for (const { record } of this.#records) size += record.length;
    for (const { message } of this.#messages) size += 16 + 32 + message.leaf.length;
    for (const recipientSet of this.#sets.values()) size += 48 + 32 * recipientSet.device_ids.length;
    return [this.#messages.length, size];
  }
}
