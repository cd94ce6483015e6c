/**
 * A mailbox's history: one record per epoch in which something arrived, and the state that commits to all of them.
 *
 * Knows nothing of who delivers. The same `nextRecord` runs in the outbox that makes a record and in the client that
 * expects it.
 * @module
 */

/** @import { Bytes } from "./bytes.js" */
/** @import { ValueOf } from "./encoding.js" */
/** @import { CompactRange } from "./merkle.js" */
import { bigEndian, concat, equal, zeros } from "./bytes.js";
import { BYTES16, BYTES32, U32, U64, U8, structCodec } from "./encoding.js";
import { DecodeError } from "./errors.js";
import { NO_EPOCH, NO_SEQ } from "./identifiers.js";
import { EMPTY_RANGE, EMPTY_ROOT, leafHash, treeRoot } from "./merkle.js";
import { hasher } from "./signing.js";

export const KIND_DEVICE = 1;
export const STATUS_ACTIVE = 1;

export const OWN_CIPHERTEXT_LEAF = bigEndian(20, 2);
const NO_TARGET = zeros(32);

export const hashState = hasher("state");

/** Where a mailbox's state lives in the map: `H("mapkey", mailbox)`, so that nobody can choose ids that deepen it. */
export const mapKeyOf = hasher("mapkey");

/**
 * Record `k` of a mailbox: what arrived in `epoch`. `prev_root`: history root at size k.
 *
 * `delta_root`: tree over the `n_messages` MessageLeaves, seq strictly increasing. `own_ciphertexts_root`: tree over
 * seq and hash of the mailbox's own ciphertexts, for those of the messages that carry any.
 */
export const HISTORY_RECORD = structCodec(
  "HistoryRecord",
  {
    mailbox: BYTES32,
    k: U64,
    epoch: U64,
    prev_epoch: U64,
    prev_root: BYTES32,
    n_messages: U32,
    delta_root: BYTES32,
    own_ciphertexts_count: U32,
    own_ciphertexts_root: BYTES32,
  },
  { recordType: 9 },
);
/** @typedef {ValueOf<typeof HISTORY_RECORD>} HistoryRecord */

/** The value of a mailbox in the state map. Unchanged since `last_epoch`: nothing arrived. */
export const MAILBOX_STATE = structCodec(
  "MailboxState",
  {
    mailbox: BYTES32,
    gen: U32,
    since_epoch: U64,
    kind: U8,
    status: U8,
    until_epoch: U64,
    target: BYTES32,
    hist_size: U64,
    hist_root: BYTES32,
    last_epoch: U64,
    last_seq: BYTES16,
    total: U64,
  },
  { recordType: 10, check: checkState },
);
/** @typedef {ValueOf<typeof MAILBOX_STATE>} MailboxState */

/**
 * Only active device mailboxes exist so far: they have no end and no target.
 * @param {{ kind: number, status: number, until_epoch: bigint, target: Bytes }} state
 */
function checkState(state) {
  if (state.kind !== KIND_DEVICE || state.status !== STATUS_ACTIVE) {
    throw new DecodeError("unknown kind or status of a mailbox");
  }
  if (state.until_epoch !== NO_EPOCH || !equal(state.target, NO_TARGET)) {
    throw new DecodeError("an active mailbox has no end and no target");
  }
}

/**
 * A mailbox's state, and the compact range from which its history root follows.
 * @typedef {{ state: MailboxState, records: CompactRange }} History
 */

/**
 * A mailbox that comes into being with its first delivery, in `epoch`.
 * @param {Bytes} mailbox
 * @param {bigint} epoch
 * @returns {History}
 */
export function newHistory(mailbox, epoch) {
  const state = {
    mailbox,
    gen: 0,
    since_epoch: epoch,
    kind: KIND_DEVICE,
    status: STATUS_ACTIVE,
    until_epoch: NO_EPOCH,
    target: NO_TARGET,
    hist_size: 0n,
    hist_root: EMPTY_ROOT,
    last_epoch: NO_EPOCH,
    last_seq: NO_SEQ,
    total: 0n,
  };
  return { state, records: EMPTY_RANGE };
}

/**
 * The only record that may follow.
 * @param {History} history
 * @param {bigint} epoch
 * @param {number} nMessages
 * @param {Bytes} deltaRoot
 * @param {readonly [count: number, root: Bytes]} ownCiphertexts
 * @returns {HistoryRecord}
 */
export function nextRecord({ state }, epoch, nMessages, deltaRoot, ownCiphertexts) {
  return {
    mailbox: state.mailbox,
    k: state.hist_size,
    epoch,
    prev_epoch: state.last_epoch,
    prev_root: state.hist_root,
    n_messages: nMessages,
    delta_root: deltaRoot,
    own_ciphertexts_count: ownCiphertexts[0],
    own_ciphertexts_root: ownCiphertexts[1],
  };
}

/**
 * The history after `record`, whose encoding is `encoded`. Pure.
 * @param {History} history
 * @param {HistoryRecord} record
 * @param {Bytes} encoded
 * @param {Bytes} lastSeq
 * @returns {History}
 */
export function applyRecord(history, record, encoded, lastSeq) {
  const records = history.records.append(leafHash(encoded));
  const state = {
    ...history.state,
    hist_size: history.state.hist_size + 1n,
    hist_root: records.root(),
    last_epoch: record.epoch,
    last_seq: lastSeq,
    total: history.state.total + BigInt(record.n_messages),
  };
  return { state, records };
}

/**
 * Count and root over (seq, ciphertext hash) pairs.
 * @param {readonly (readonly [seq: Bytes, hash: Bytes])[]} items
 * @returns {[count: number, root: Bytes]}
 */
export function ownCiphertextsRoot(items) {
  return [items.length, treeRoot(items.map(([seq, hash]) => leafHash(concat(OWN_CIPHERTEXT_LEAF, seq, hash))))];
}
