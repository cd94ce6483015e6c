/**
 * What may be wrong with a delta that a follower refused: findings to try, the most telling first.
 *
 * Knows nothing of signatures: it compares what the delta says, with what was trusted and within itself, and leaves the
 * judgement to the verifier.
 * @module
 */

/** @import { Bytes } from "../bytes.js" */
/** @import { DeltaShared } from "../delta.js" */
/** @import { Recipients } from "../envelope.js" */
/** @import { PlainFinding } from "./kinds.js" */
/** @import { Committed } from "./lenient.js" */
/** @import { Attested } from "./material.js" */
/** @import { LogOpening, RecipientOpening, RecordOpening } from "./openings.js" */
/** @import { Refusal } from "./refusals.js" */
import { compare, equal, toHex } from "../bytes.js";
import { DecodeError, ProofError } from "../errors.js";
import { HISTORY_RECORD } from "../history.js";
import { parseSeq } from "../identifiers.js";
import { MESSAGE_LEAF } from "../statements.js";
import { openDevice, placeLeaf } from "./material.js";
import { findAgainstState, findInNeighbours, findInRecord, findInTotal } from "./records.js";

/**
 * One or two views of the log, each a checkpoint note, or an epoch record under one.
 * @param {...(LogOpening | Bytes)} views
 * @returns {Generator<PlainFinding>}
 */
export function* logFindings(...views) {
  const notes = views.map((view) => ("note" in view ? view.note : view));
  const records = views.filter((view) => "note" in view);
  if (notes.length === 2) yield { kind: "LogFork", body: { notes, records: [] } };
  if (records.length === 2) yield { kind: "LogFork", body: { notes: [], records } };
  for (const note of notes) {
    for (const record of records) yield { kind: "LogFork", body: { notes: [note], records: [record] } };
  }
  for (const record of records) yield { kind: "InvalidRecord", body: { record, other: null } };
  if (records.length === 2) yield { kind: "InvalidRecord", body: { record: records[0], other: records[1] } };
}

/**
 * `trusted`, `said`: the shared parts of what was trusted last and of the refused delta.
 * @param {Refusal} refusal
 * @param {DeltaShared | null} trusted
 * @param {DeltaShared} said
 * @returns {Generator<PlainFinding>}
 */
export function* refusalFindings(refusal, trusted, said) {
  const { ours, theirs, log } = refusal;
  /** @type {(LogOpening | Bytes)[]} */
  const views = [log ? log : said.note];
  if (trusted !== null) views.push(ours ? ours.opening.head.log : trusted.note);
  yield* logFindings(...views);
  if (trusted !== null) yield { kind: "StageEquivocation", body: { one: trusted.head, other: said.head } };
  if (theirs === null) return;
  if (ours !== null) {
    yield { kind: "MailboxRollback", body: { one: ours.opening, other: theirs.opening } };
    yield { kind: "MailboxFork", body: { states: [ours.opening, theirs.opening], records: [] } };
  }
  if (theirs.state !== null) yield violation({ state: theirs.opening });
  yield* recordFindings(refusal.first_new, ours, theirs);
  yield* leafFindings(refusal.leaves, theirs);
  yield* counterFindings(refusal.leaves, theirs);
}

/**
 * @param {Partial<Extract<PlainFinding, { kind: "HistoryViolation" }>["body"]>} parts
 * @returns {PlainFinding}
 */
function violation(parts) {
  return { kind: "HistoryViolation", body: { record: null, state: null, other: null, leaves: [], ...parts } };
}

/**
 * @param {bigint} firstNew
 * @param {Attested | null} ours
 * @param {Attested} theirs
 */
function* recordFindings(firstNew, ours, theirs) {
  /** @type {RecordOpening | null} */
  let previous = null;
  const first = firstNew - 1n > theirs.first_index ? firstNew - 1n : theirs.first_index;
  for (let index = first; index < theirs.nextIndex; index++) {
    const opening = recordAt(theirs, index);
    if (opening === null) return;
    if (index >= firstNew) yield* findingsOfRecord(opening, previous, ours, theirs);
    previous = opening;
  }
}

/**
 * @param {Attested} theirs
 * @param {bigint} index
 */
function recordAt(theirs, index) {
  try {
    return theirs.record(index);
  } catch (error) {
    if (error instanceof ProofError) return null;
    throw error;
  }
}

/**
 * @param {RecordOpening} opening
 * @param {RecordOpening | null} previous
 * @param {Attested | null} ours
 * @param {Attested} theirs
 */
function* findingsOfRecord(opening, previous, ours, theirs) {
  if (theirs.state !== null && findInRecord(opening, theirs.state, theirs.epoch)) yield violation({ record: opening });
  let record;
  let before;
  try {
    record = HISTORY_RECORD.decode(opening.record);
    before = previous && HISTORY_RECORD.decode(previous.record);
  } catch (error) {
    if (error instanceof DecodeError) return;
    throw error;
  }
  if (
    ours !== null &&
    (findAgainstState(record, ours.state, ours.epoch) ||
      (theirs.state !== null && findInTotal(record, theirs.state, ours.state)))
  ) {
    yield violation({ record: opening, state: ours.opening });
  }
  if (before !== null && findInNeighbours(before, record)) yield violation({ record: opening, other: previous });
}

/**
 * @param {Map<bigint, Committed[]>} leaves
 * @param {Attested} theirs
 * @returns {Generator<PlainFinding>}
 */
function* leafFindings(leaves, theirs) {
  for (const [index, committed] of leaves) {
    const opening = recordAt(theirs, index);
    if (opening === null) continue;
    const { epoch } = HISTORY_RECORD.decode(opening.record);
    const encoded = committed.map((one) => one.leaf);
    for (const places of wrongPlaces(theirs, index, epoch, encoded)) {
      yield violation({ record: opening, leaves: places.map((place) => placeLeaf(encoded, place)) });
    }
    const place = committed.findIndex((one) => one.recipients.index(theirs.mailbox) < 0);
    if (place >= 0) {
      const message = { record: opening, ...placeLeaf(encoded, place) };
      yield { kind: "Misdelivery", body: { message, recipients: around(committed[place].recipients, theirs.mailbox) } };
    }
  }
}

/**
 * Where the messages of record `index` break the rules: one or two places for each way in which they do.
 * @param {Attested} theirs
 * @param {bigint} index
 * @param {bigint} epoch of the record
 * @param {readonly Bytes[]} encoded
 */
function wrongPlaces(theirs, index, epoch, encoded) {
  const seqs = encoded.map((leaf) => MESSAGE_LEAF.decode(leaf).seq);
  /** @type {number[][]} */
  const wrong = [];
  const falling = seqs.slice(1).findIndex((seq, i) => compare(seqs[i], seq) >= 0);
  if (falling >= 0) wrong.push([falling, falling + 1]);
  const foreign = seqs.findIndex((seq) => parseSeq(seq)[0] !== epoch);
  if (foreign >= 0) wrong.push([foreign]);
  const [last, { state }] = [seqs.at(-1), theirs];
  const isNewest = state !== null && index + 1n === state.hist_size;
  if (isNewest && last !== undefined && !equal(last, state.last_seq)) wrong.push([seqs.length - 1]);
  return wrong;
}

/**
 * The neighbours between which a device that is no recipient is not.
 * @param {Recipients} recipients
 * @param {Bytes} deviceId
 * @returns {RecipientOpening[]}
 */
function around(recipients, deviceId) {
  const ids = recipients.device_ids;
  const place = ids.filter((id) => compare(id, deviceId) < 0).length;
  return [place - 1, place].filter((i) => i >= 0 && i < ids.length).map((i) => openDevice(recipients, i));
}

/**
 * Each new message against the last of its sender before it, here or in a record that is kept.
 * @param {Map<bigint, Committed[]>} leaves
 * @param {Attested} theirs
 * @returns {Generator<PlainFinding>}
 */
function* counterFindings(leaves, theirs) {
  /** @type {Map<string, { ctr: bigint, record: bigint, place: number }>} */
  const last = new Map();
  for (let index = theirs.first_index; index < theirs.nextIndex; index++) {
    const committed = leaves.get(index) ?? [];
    const encoded = committed.length ? committed.map((one) => one.leaf) : theirs.leaves_of(index);
    for (const [place, one] of encoded.entries()) {
      const leaf = MESSAGE_LEAF.decode(one);
      const sender = toHex(leaf.sender);
      const before = last.get(sender);
      const seen = { ctr: leaf.sender_ctr, record: index, place };
      const pair = before && before.ctr >= seen.ctr ? leafPair(theirs, before, seen) : [];
      if (pair === null) continue;
      if (pair.length) yield { kind: "CounterViolation", body: { one: pair[0], other: pair[1] } };
      last.set(sender, seen);
    }
  }
}

/**
 * Both messages, opened; null: they cannot be.
 * @param {Attested} theirs
 * @param {...{ record: bigint, place: number }} places
 */
function leafPair(theirs, ...places) {
  try {
    return places.map((one) => ({ sequenced: null, delivered: theirs.leaf(one.record, one.place) }));
  } catch (error) {
    if (error instanceof ProofError) return null;
    throw error;
  }
}
