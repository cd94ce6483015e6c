/**
 * The rules of a mailbox's history, one function for each pair of things that can break them.
 *
 * Knows nothing of signatures: what it is given is what a provider signed of a mailbox that was never elsewhere. Each
 * function says what is wrong, in a few words, or nothing (""). What is found wrong here no honest outbox signs.
 * @module
 */

/** @import { HistoryRecord, MailboxState } from "../history.js" */
/** @import { PlacedLeaf, RecordOpening } from "./openings.js" */
import { compare, equal } from "../bytes.js";
import { DecodeError } from "../errors.js";
import { HISTORY_RECORD } from "../history.js";
import { NO_EPOCH, parseSeq } from "../identifiers.js";
import { CompactRange, EMPTY_ROOT } from "../merkle.js";
import { MESSAGE_LEAF } from "../statements.js";
import { checkPlaced } from "./openings.js";

/**
 * A state by itself, as of an epoch.
 * @param {MailboxState} state
 * @param {bigint} epoch
 */
export function findInState(state, epoch) {
  if (!state.hist_size) return "a mailbox that began without a delivery";
  if (state.last_epoch > epoch || parseSeq(state.last_seq)[0] !== state.last_epoch) {
    return `its last delivery is said to be of epoch ${state.last_epoch}, and at another place`;
  }
  if (state.total < state.hist_size) return `${state.hist_size} records with ${state.total} messages`;
  if (state.since_epoch > state.last_epoch) {
    return `it began in epoch ${state.since_epoch}, after its last delivery in ${state.last_epoch}`;
  }
  return "";
}

/**
 * What the bytes say, or null when they are not of this structure.
 * @template T
 * @param {{ decode: (data: Uint8Array) => T }} codec
 * @param {Uint8Array} data
 */
function decoded(codec, data) {
  try {
    return codec.decode(data);
  } catch (error) {
    if (error instanceof DecodeError) return null;
    throw error;
  }
}

/**
 * A record by itself, whatever bytes it is, at its place under its own state as of an epoch.
 * @param {RecordOpening} opening
 * @param {MailboxState} state
 * @param {bigint} epoch
 */
export function findInRecord(opening, state, epoch) {
  const record = decoded(HISTORY_RECORD, opening.record);
  if (record === null) return `what stands at place ${opening.place} is no record`;
  const name = `record ${opening.place}`;
  if (!equal(record.mailbox, state.mailbox) || record.k !== opening.place) {
    return `${name} says that it is another mailbox's, or number ${record.k}`;
  }
  if (record.k === 0n && (record.prev_epoch !== NO_EPOCH || !equal(record.prev_root, EMPTY_ROOT))) {
    return `${name} claims to continue something`;
  }
  const before = new CompactRange(opening.place, opening.proof.toReversed()); // of the last leaf: all beside its path
  if (record.k + 1n === state.hist_size && !equal(record.prev_root, before.root())) {
    return `${name} claims to continue other records than those that it ends`;
  }
  if (record.k && record.prev_epoch >= record.epoch) {
    return `${name} of epoch ${record.epoch} claims to follow one of epoch ${record.prev_epoch}`;
  }
  if (record.epoch > epoch) return `${name} is of epoch ${record.epoch}, which was not over`;
  if (!record.n_messages) return `${name} has no messages`;
  if (record.own_ciphertexts_count > record.n_messages) return `${name} has more own ciphertexts than messages`;
  if ((record.own_ciphertexts_count === 0) !== equal(record.own_ciphertexts_root, EMPTY_ROOT)) {
    return `${name} has ${record.own_ciphertexts_count} own ciphertexts under a root of another number`;
  }
  if (record.k === 0n && record.epoch !== state.since_epoch) {
    return `${name} is of epoch ${record.epoch}, and the mailbox began in epoch ${state.since_epoch}`;
  }
  if (BigInt(record.n_messages) > state.total) return `${name} has ${record.n_messages} messages of ${state.total}`;
  return findAgainstEnd(record, state);
}

/**
 * A record of a mailbox, against another state of it (null: it had none) as of an epoch.
 * @param {HistoryRecord} record
 * @param {MailboxState | null} state
 * @param {bigint} epoch
 */
export function findAgainstState(record, state, epoch) {
  if (state === null) {
    return record.epoch <= epoch ? `a record of epoch ${record.epoch}, and no mailbox as of epoch ${epoch}` : "";
  }
  const size = state.hist_size;
  if (record.k >= size && record.epoch <= epoch) {
    return `a record number ${record.k} of epoch ${record.epoch}, and only ${size} records as of epoch ${epoch}`;
  }
  const follows = record.prev_epoch === state.last_epoch && equal(record.prev_root, state.hist_root);
  if (record.k === size && !follows)
    return `record ${record.k} does not continue the ${size} records of epoch ${epoch}`;
  return findAgainstEnd(record, state);
}

/**
 * The state that a record leads to, against the one from which it does (null: the mailbox began with it).
 * @param {HistoryRecord} record
 * @param {MailboxState} state
 * @param {MailboxState | null} before
 */
export function findInTotal(record, state, before) {
  const [size, total] = before ? [before.hist_size, before.total] : [0n, 0n];
  const isNext = size === record.k && state.hist_size === record.k + 1n;
  if (!isNext || state.total === total + BigInt(record.n_messages)) return "";
  return `record ${record.k} has ${record.n_messages} messages, and with it they grow from ${total} to ${state.total}`;
}

/**
 * A record that a state has, against the epoch of the last.
 * @param {HistoryRecord} record
 * @param {MailboxState} state
 */
function findAgainstEnd(record, state) {
  const isLast = record.k + 1n === state.hist_size;
  const isThere = record.k < state.hist_size;
  if (isLast && record.epoch !== state.last_epoch) {
    return `the last record is of epoch ${record.epoch}, and the last delivery of epoch ${state.last_epoch}`;
  }
  if (isThere && !isLast && record.epoch >= state.last_epoch) {
    return `record ${record.k} is of epoch ${record.epoch}, and the last delivery of epoch ${state.last_epoch}`;
  }
  return "";
}

/**
 * Two records of one mailbox at two places.
 * @param {HistoryRecord} one
 * @param {HistoryRecord} other
 */
export function findInNeighbours(one, other) {
  if (one.k === other.k) return "";
  const [first, second] = one.k < other.k ? [one, other] : [other, one];
  if (first.epoch >= second.epoch) {
    return `record ${first.k} is of epoch ${first.epoch}, and record ${second.k} of epoch ${second.epoch}`;
  }
  const areNeighbours = second.k === first.k + 1n;
  const follows = areNeighbours ? second.prev_epoch === first.epoch : first.epoch < second.prev_epoch;
  if (follows) return "";
  return (
    `record ${first.k} is of epoch ${first.epoch}, and record ${second.k} claims to follow one of epoch ` +
    `${second.prev_epoch}`
  );
}

/**
 * One or two messages that a record delivered. Throws ProofError when it did not.
 * @param {HistoryRecord} record
 * @param {MailboxState} state
 * @param {readonly PlacedLeaf[]} leaves
 */
export function findInLeaves(record, state, leaves) {
  const seqs = [];
  for (const placed of leaves) {
    checkPlaced(record, placed);
    const leaf = decoded(MESSAGE_LEAF, placed.leaf);
    if (leaf === null) return `what stands at place ${placed.place} of record ${record.k} is no message`;
    const [epoch, lane, pos] = parseSeq(leaf.seq);
    if (epoch !== record.epoch) {
      return `a message of epoch ${epoch}/${lane}/${pos} in a record of epoch ${record.epoch}`;
    }
    const isLast = placed.place + 1 === record.n_messages && record.k + 1n === state.hist_size;
    if (isLast && !equal(leaf.seq, state.last_seq))
      return "the last message is at another position than the state says";
    seqs.push({ place: placed.place, seq: leaf.seq });
  }
  const [first, second] = seqs.sort((a, b) => a.place - b.place || compare(a.seq, b.seq));
  if (second !== undefined && first.place < second.place && compare(first.seq, second.seq) >= 0) {
    return `messages ${first.place} and ${second.place} of record ${record.k} are not in order`;
  }
  return "";
}
