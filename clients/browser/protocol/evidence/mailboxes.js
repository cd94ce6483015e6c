/**
 * Contradictions about one mailbox: forked, rolled back, or with a history that no honest provider makes.
 *
 * Knows nothing of the messages' content. An honest provider keeps one history of a mailbox, to which epochs append and
 * nothing else, and says the same of it under every head.
 * @module
 */

/** @import { ValueOf } from "../encoding.js" */
/** @import { MailboxState } from "../history.js" */
/** @import { OpenedState } from "./openings.js" */
/** @import { Rosters } from "./rosters.js" */
import { compare, equal, same } from "../bytes.js";
import { listOf, optional, structCodec } from "../encoding.js";
import { DecodeError } from "../errors.js";
import { MAILBOX_STATE } from "../history.js";
import { formatId } from "../identifiers.js";
import { FIRST_INCARNATION } from "../statements.js";
import { PLACED_LEAF, RECORD_OPENING, STATE_OPENING, openRecord, openRecordLeaf, openState } from "./openings.js";
import { findAgainstState, findInLeaves, findInNeighbours, findInRecord, findInState, findInTotal } from "./records.js";
import { NotProven, PROVIDER, Verdict, nameSigner } from "./verdict.js";

/** Two states of one size, or two records at one place. Two in all. */
export const MAILBOX_FORK = structCodec("MailboxFork", {
  states: listOf(STATE_OPENING, 2),
  records: listOf(RECORD_OPENING, 2),
});
/** @typedef {ValueOf<typeof MAILBOX_FORK>} MailboxFork */

/** Two states as of two epochs of which the later one does not continue the earlier. */
export const MAILBOX_ROLLBACK = structCodec("MailboxRollback", { one: STATE_OPENING, other: STATE_OPENING });
/** @typedef {ValueOf<typeof MAILBOX_ROLLBACK>} MailboxRollback */

/**
 * What contradicts itself or the rules: a state alone, a record alone, or a record with one of these.
 *
 * `state`: another state. `other`: another record. `leaves`: one or two of the messages that it delivered.
 */
export const HISTORY_VIOLATION = structCodec("HistoryViolation", {
  record: optional(RECORD_OPENING),
  state: optional(STATE_OPENING),
  other: optional(RECORD_OPENING),
  leaves: listOf(PLACED_LEAF, 2),
});
/** @typedef {ValueOf<typeof HISTORY_VIOLATION>} HistoryViolation */

/**
 * @param {Rosters} rosters
 * @param {MailboxFork} finding
 */
export async function verifyMailboxFork(rosters, finding) {
  const [nStates, nRecords] = [finding.states.length, finding.records.length];
  if (nStates * nRecords !== 0 || nStates + nRecords !== 2) {
    throw new DecodeError("a fork has two sides, both states or both records");
  }
  const [one, other, what] = await (nStates ? openStates(rosters, finding) : openRecords(rosters, finding));
  const epoch = one.epoch > other.epoch ? one.epoch : other.epoch;
  const detail = `the mailbox ${formatId(one.mailbox)} had, as of epochs ${one.epoch} and ${other.epoch}, ${what}`;
  return convict("MailboxFork", rosters, [one, other], epoch, detail);
}

/**
 * Two states of one size, and how they differ. Throws NotProven.
 * @param {Rosters} rosters
 * @param {MailboxFork} finding
 * @returns {Promise<[one: OpenedState, other: OpenedState, what: string]>}
 */
async function openStates(rosters, finding) {
  const one = await openState(rosters, finding.states[0]);
  const other = await openState(rosters, finding.states[1]);
  const [a, b] = [present(one), present(other)];
  checkOneMailbox(one, other);
  if (a.hist_size !== b.hist_size || same(a, b)) throw new NotProven("states of two sizes, or one state");
  const names = MAILBOX_STATE.fields.map(([name]) => /** @type {keyof MailboxState} */ (name));
  const differing = names.filter((name) => !same(a[name], b[name])).join(", ");
  return [one, other, `two states with the same ${a.hist_size} records, which differ in ${differing}`];
}

/**
 * The states that have two records at one place, and what is wrong. Throws NotProven.
 * @param {Rosters} rosters
 * @param {MailboxFork} finding
 * @returns {Promise<[one: OpenedState, other: OpenedState, what: string]>}
 */
async function openRecords(rosters, { records }) {
  const [one] = await openRecordLeaf(rosters, records[0]);
  const [other] = await openRecordLeaf(rosters, records[1]);
  checkOneMailbox(one, other);
  if (records[0].place !== records[1].place || equal(records[0].record, records[1].record)) {
    throw new NotProven("records at two places, or one record");
  }
  return [one, other, `two different records number ${records[0].place}`];
}

/**
 * @param {Rosters} rosters
 * @param {MailboxRollback} finding
 */
export async function verifyMailboxRollback(rosters, finding) {
  const one = await openState(rosters, finding.one);
  const other = await openState(rosters, finding.other);
  const [earlier, later] = one.epoch <= other.epoch ? [one, other] : [other, one];
  checkOneMailbox(earlier, later);
  if (earlier.epoch === later.epoch) throw new NotProven("two states as of one epoch");
  const what = findRollback(earlier, later);
  const mailbox = formatId(later.mailbox);
  const detail = `the mailbox ${mailbox} went back between epochs ${earlier.epoch} and ${later.epoch}: ${what}`;
  return convict("MailboxRollback", rosters, [one, other], later.epoch, detail);
}

/**
 * @param {Rosters} rosters
 * @param {HistoryViolation} finding
 */
export async function verifyHistoryViolation(rosters, finding) {
  const { state, other, leaves } = finding;
  const nBeside = Number(state !== null) + Number(other !== null) + Number(leaves.length > 0);
  if (nBeside > 1) throw new DecodeError("a violation is of a state, or of a record with one thing more at most");
  if (finding.record === null) {
    if (state === null) throw new DecodeError("a violation is of a state or of a record");
    const opened = await openState(rosters, state);
    return violation(rosters, [opened], findInState(present(opened), opened.epoch));
  }
  if (nBeside === 0) {
    const [opened] = await openRecordLeaf(rosters, finding.record);
    return violation(rosters, [opened], findInRecord(finding.record, present(opened), opened.epoch));
  }
  const record = await openRecord(rosters, finding.record);
  if (state !== null) {
    const beside = await openState(rosters, state);
    checkOneMailbox(record.state, beside);
    const what =
      findAgainstState(record.record, beside.state, beside.epoch) ||
      findInTotal(record.record, present(record.state), beside.state);
    return violation(rosters, [record.state, beside], what);
  }
  if (other !== null) {
    const beside = await openRecord(rosters, other);
    checkOneMailbox(record.state, beside.state);
    return violation(rosters, [record.state, beside.state], findInNeighbours(record.record, beside.record));
  }
  return violation(rosters, [record.state], findInLeaves(record.record, present(record.state), leaves));
}

/**
 * Throws NotProven when nothing was found.
 * @param {Rosters} rosters
 * @param {OpenedState[]} states
 * @param {string} what
 */
function violation(rosters, states, what) {
  if (!what) throw new NotProven("nothing is wrong with this history");
  const asOf = [...new Set(states.map((state) => state.epoch))].join(" and ");
  const detail = `the history of the mailbox ${formatId(states[0].mailbox)}, as of ${asOf}, breaks its rules: ${what}`;
  const epoch = states.reduce((latest, state) => (state.epoch > latest ? state.epoch : latest), 0n);
  const verdict = convict("HistoryViolation", rosters, states, epoch, detail);
  if (states.some((state) => state.head.head.incarnation > FIRST_INCARNATION)) {
    verdict.accused = PROVIDER; // it may have inherited all of this
  }
  return verdict;
}

/**
 * @param {string} kind
 * @param {Rosters} rosters
 * @param {OpenedState[]} states
 * @param {bigint} epoch
 * @param {string} detail
 */
function convict(kind, rosters, states, epoch, detail) {
  const accused = nameSigner(...states.map((state) => state.signer));
  return new Verdict(kind, accused, rosters.origin, epoch, detail);
}

/** @param {OpenedState} opened */
function present(opened) {
  if (opened.state === null) throw new NotProven("the mailbox has no state");
  return opened.state;
}

/**
 * @param {OpenedState} one
 * @param {OpenedState} other
 */
function checkOneMailbox(one, other) {
  if (!equal(one.mailbox, other.mailbox)) throw new NotProven("two mailboxes");
}

/**
 * How the later state does not continue the earlier one. Throws NotProven.
 * @param {OpenedState} earlier
 * @param {OpenedState} later
 */
function findRollback(earlier, later) {
  const [before, after] = [earlier.state, later.state];
  if (before === null) {
    if (after === null || after.since_epoch > earlier.epoch) {
      throw new NotProven("the mailbox began after the earlier state");
    }
    return `there was none as of epoch ${earlier.epoch}, and later it had begun in epoch ${after.since_epoch}`;
  }
  if (after === null) return "it vanished";
  const nNew = after.hist_size - before.hist_size;
  if (nNew < 0n) return `it had ${before.hist_size} records, and later ${after.hist_size}`;
  if (after.since_epoch !== before.since_epoch) {
    return `it began in epoch ${before.since_epoch}, and later in epoch ${after.since_epoch}`;
  }
  if (after.total < before.total + nNew) {
    return `it had ${before.total} messages in ${before.hist_size} records, and later ${after.total}`;
  }
  if (compare(after.last_seq, before.last_seq) < 0) return "its last message was at a later position before";
  if (after.last_epoch < before.last_epoch) {
    return `its last delivery was in epoch ${before.last_epoch}, and later in epoch ${after.last_epoch}`;
  }
  if (nNew && after.last_epoch <= earlier.epoch) {
    return `it got ${nNew} records more, and all of them in epochs that were over`;
  }
  throw new NotProven("the later state continues the earlier one");
}
