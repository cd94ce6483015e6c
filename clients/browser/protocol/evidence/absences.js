/**
 * Negative statements: a provider's signed word that a message did not arrive in a mailbox.
 *
 * Knows nothing of who should have received it. There are four, and which one it is follows from what is there:
 *
 * - *gap*: a record of the mailbox, before whose epoch, back to the record before it, nothing arrived (`record` alone);
 * - *in-delta*: the record of that very epoch, with the two neighbours between which the message is not, or with the
 *   end beyond which there is none (`record` and `before`, `after` or both);
 * - *idle tail*: a state as of that epoch or later, whose last delivery was earlier (`state`);
 * - *no mailbox*: no state as of that epoch or later (`state`, an absent one). Sound where the epoch's record commits
 *   to no overrides: a mailbox begins with its first delivery, never ends, and is where hashing says.
 *
 * A mailbox that was never elsewhere (generation 0, and no other opens) is covered from epoch 0 on.
 * @module
 */

/** @import { Bytes } from "../bytes.js" */
/** @import { ValueOf } from "../encoding.js" */
/** @import { OpenedRecord, OpenedState, PlacedLeaf, Signer } from "./openings.js" */
/** @import { Rosters } from "./rosters.js" */
import { compare } from "../bytes.js";
import { optional, structCodec } from "../encoding.js";
import { DecodeError } from "../errors.js";
import { NO_EPOCH, parseSeq } from "../identifiers.js";
import { MESSAGE_LEAF } from "../statements.js";
import { PLACED_LEAF, RECORD_OPENING, STATE_OPENING, checkPlaced, openRecord, openState } from "./openings.js";
import { NotProven } from "./verdict.js";

/** See the head of this file. Either `state` is there, or `record`. */
export const ABSENCE = structCodec("Absence", {
  state: optional(STATE_OPENING),
  record: optional(RECORD_OPENING),
  before: optional(PLACED_LEAF),
  after: optional(PLACED_LEAF),
});
/** @typedef {ValueOf<typeof ABSENCE>} Absence */

/**
 * `form`: what the provider said, for a person. `as_of`: the epoch whose head says so.
 * @typedef {{ mailbox: Bytes, form: string, as_of: bigint, signer: Signer }} OpenedAbsence
 */

/**
 * The mailbox in which, by the provider's word, the message at `seq` did not arrive.
 * @param {Rosters} rosters
 * @param {Absence} absence
 * @param {Bytes} seq
 * @returns {Promise<OpenedAbsence>}
 */
export async function openAbsence(rosters, absence, seq) {
  const { state, record, before, after } = absence;
  if (state !== null && record === null && before === null && after === null) {
    const opened = await openState(rosters, state);
    return said(opened, checkState(opened, seq));
  }
  if (record !== null && state === null) {
    const opened = await openRecord(rosters, record);
    return said(opened.state, checkRecord(opened, before, after, seq));
  }
  throw new DecodeError("an absence is shown by a state, or by a record and neighbours in it");
}

/**
 * @param {OpenedState} opened
 * @param {string} form
 */
function said(opened, form) {
  return { mailbox: opened.mailbox, form, as_of: opened.epoch, signer: opened.signer };
}

/**
 * @param {OpenedState} opened
 * @param {Bytes} seq
 */
function checkState(opened, seq) {
  const [epoch] = parseSeq(seq);
  if (opened.epoch < epoch) throw new NotProven("the state is older than the message");
  const { state } = opened;
  if (state === null) return `as of epoch ${opened.epoch} it had no such mailbox`;
  if (state.last_epoch >= epoch) throw new NotProven("something arrived in that epoch or later");
  return `as of epoch ${opened.epoch} nothing had arrived there since epoch ${state.last_epoch}`;
}

/**
 * @param {OpenedRecord} opened
 * @param {PlacedLeaf | null} before
 * @param {PlacedLeaf | null} after
 * @param {Bytes} seq
 */
function checkRecord(opened, before, after, seq) {
  const { record } = opened;
  const [epoch] = parseSeq(seq);
  if (record.epoch > opened.state.epoch) throw new NotProven("the record of an epoch that was not over");
  if (before !== null || after !== null) {
    if (record.epoch !== epoch) throw new NotProven("the record of another epoch");
    checkBetween(opened, before, after, seq);
    return `what it delivered there in epoch ${epoch}, as it said in epoch ${opened.state.epoch}, goes without it`;
  }
  const isFirst = record.k === 0n && record.prev_epoch === NO_EPOCH;
  const isAfterPrevious = isFirst || (record.k !== 0n && record.prev_epoch < epoch);
  if (epoch >= record.epoch || !isAfterPrevious) throw new NotProven("something may have arrived in that epoch");
  const since = isFirst ? "ever" : `since epoch ${record.prev_epoch}`;
  return `when something arrived there in epoch ${record.epoch}, nothing had ${since}`;
}

/**
 * `before` and `after` are neighbours, or one of them is at an end, and `seq` is between or beyond.
 * @param {OpenedRecord} opened
 * @param {PlacedLeaf | null} before
 * @param {PlacedLeaf | null} after
 * @param {Bytes} seq
 */
function checkBetween(opened, before, after, seq) {
  const { record } = opened;
  let nextIndex = 0;
  if (before !== null) {
    checkPlaced(record, before);
    if (compare(MESSAGE_LEAF.decode(before.leaf).seq, seq) >= 0) {
      throw new NotProven("the message is not after its neighbour");
    }
    nextIndex = before.place + 1;
  }
  if (after !== null) {
    checkPlaced(record, after);
    if (compare(seq, MESSAGE_LEAF.decode(after.leaf).seq) >= 0) {
      throw new NotProven("the message is not before its neighbour");
    }
  }
  if (nextIndex !== (after === null ? record.n_messages : after.place)) {
    throw new NotProven("there is something between the neighbours");
  }
}
