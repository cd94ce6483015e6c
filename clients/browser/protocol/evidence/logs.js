/**
 * Contradictions in the log of epochs: two logs, and records that no honest log holds.
 *
 * Knows nothing of mailboxes. Fields that are reserved (placement) convict nobody: a later provider may use them. Nor
 * does a record that names an older roster than might have been in force, by itself: see `roster_lies.js`.
 * @module
 */

/** @import { ValueOf } from "../encoding.js" */
/** @import { LogOpening, OpenedNote } from "./openings.js" */
/** @import { Rosters } from "./rosters.js" */
import { equal } from "../bytes.js";
import { VEC16, listOf, optional, structCodec } from "../encoding.js";
import { DecodeError } from "../errors.js";
import { Actor, Role } from "../identifiers.js";
import { CompactRange, EMPTY_ROOT } from "../merkle.js";
import { EPOCH_RECORD } from "../statements.js";
import { findFewerChallenges } from "./challenges.js";
import { LOG_OPENING, openLogLeaf, openNote } from "./openings.js";
import { NotProven, Verdict, nameSigner } from "./verdict.js";

const LOG = new Actor(Role.LOG, 0, 0);

/**
 * Two views of the log, two in all: checkpoint notes, or records with the note that has them.
 *
 * Two notes: of one size. Two records: at one place. One each: the note has the size that the record's place is, so
 * that the record's `prev_root` speaks of the same leaves.
 */
export const LOG_FORK = structCodec("LogFork", { notes: listOf(VEC16, 2), records: listOf(LOG_OPENING, 2) });
/** @typedef {ValueOf<typeof LOG_FORK>} LogFork */

/** A leaf of the log that breaks a rule by itself, or, with `other`, in one log with another. */
export const INVALID_RECORD = structCodec("InvalidRecord", { record: LOG_OPENING, other: optional(LOG_OPENING) });
/** @typedef {ValueOf<typeof INVALID_RECORD>} InvalidRecord */

/**
 * @param {Rosters} rosters
 * @param {LogFork} finding
 */
export async function verifyLogFork(rosters, finding) {
  if (finding.notes.length + finding.records.length !== 2) throw new DecodeError("a fork has two sides");
  const notes = [];
  for (const note of finding.notes) notes.push(await openNote(rosters, note));
  for (const opening of finding.records) notes.push(await openLogLeaf(rosters, opening));
  const accused = nameLog(notes);
  if (finding.notes.length === 2) {
    const [one, other] = notes;
    if (one.size !== other.size || equal(one.root, other.root)) {
      throw new NotProven("checkpoints of two sizes, or of one log");
    }
    const detail = `it signed two different logs of the same ${one.size} epochs`;
    return new Verdict("LogFork", accused, rosters.origin, one.size - 1n, detail);
  }
  if (finding.records.length === 2) {
    const [first, second] = finding.records;
    if (first.place !== second.place || equal(first.record, second.record)) {
      throw new NotProven("records of two places, or one record twice");
    }
    const detail = `it signed two logs that have different records of epoch ${first.place}`;
    return new Verdict("LogFork", accused, rosters.origin, first.place, detail);
  }
  const [{ place, record: encoded }] = finding.records;
  const record = EPOCH_RECORD.decode(encoded);
  if (place !== notes[0].size || equal(record.prev_root, notes[0].root)) {
    throw new NotProven("a record of another place, or one that continues the checkpoint");
  }
  const other = `a log whose record of epoch ${place} continues another one`;
  const detail = `it signed a log of ${place} epochs, and ${other}`;
  return new Verdict("LogFork", accused, rosters.origin, place, detail);
}

/**
 * @param {Rosters} rosters
 * @param {InvalidRecord} finding
 */
export async function verifyInvalidRecord(rosters, finding) {
  const note = await openLogLeaf(rosters, finding.record);
  if (finding.other !== null) {
    const other = await openLogLeaf(rosters, finding.other);
    const [epoch, what] = findReversal(finding.record, finding.other);
    return new Verdict("InvalidRecord", nameLog([note, other]), rosters.origin, epoch, what);
  }
  const epoch = finding.record.place;
  const what = findWrong(rosters, finding.record, note);
  const detail = `the log's leaf ${epoch}, which it signed, ${what}`;
  return new Verdict("InvalidRecord", nameLog([note]), rosters.origin, epoch, detail);
}

/** @param {readonly OpenedNote[]} notes */
function nameLog(notes) {
  return nameSigner(...notes.map((note) => /** @type {[Actor, OpenedNote["key"]]} */ ([LOG, note.key])));
}

/**
 * What no honest log has at this place. Throws NotProven.
 * @param {Rosters} rosters
 * @param {LogOpening} opening
 * @param {OpenedNote} note
 */
function findWrong(rosters, opening, note) {
  let record;
  try {
    record = EPOCH_RECORD.decode(opening.record);
  } catch (error) {
    if (error instanceof DecodeError) return "is no epoch record";
    throw error;
  }
  if (record.epoch !== opening.place) return `is a record of epoch ${record.epoch}`;
  if (record.epoch === 0n && !equal(record.prev_root, EMPTY_ROOT)) {
    return "claims to continue a log, and is the first of it";
  }
  const before = new CompactRange(opening.place, opening.proof.toReversed()); // of the last leaf: all beside its path
  if (record.epoch + 1n === note.size && !equal(record.prev_root, before.root())) {
    return "claims to continue another log than the one that it ends";
  }
  const roster = rosters.get(record.roster_hash);
  if (roster.valid_from_epoch > record.epoch) {
    return `names a roster that binds epochs from ${roster.valid_from_epoch} on`;
  }
  const nSigners = roster.signers().length;
  if (record.statements_count !== nSigners) {
    return `has ${record.statements_count} statements of the ${nSigners} actors that make one`;
  }
  throw new NotProven("nothing is wrong with this record");
}

/**
 * What is wrong, and in which epoch, of two records at their places. Throws NotProven.
 * @param {LogOpening} one
 * @param {LogOpening} other
 * @returns {[epoch: bigint, what: string]}
 */
function findReversal(one, other) {
  const [earlier, later] = one.place <= other.place ? [one, other] : [other, one];
  const before = recordAtItsPlace(earlier);
  const after = recordAtItsPlace(later);
  const fewer = findFewerChallenges(before, after);
  if (fewer) return [after.epoch, fewer];
  if (before.epoch === after.epoch || before.time_ms <= after.time_ms) {
    throw new NotProven("nothing went back between these records");
  }
  const what = `its log's clock went back from ${before.time_ms} ms in epoch ${before.epoch} to ${after.time_ms} ms`;
  return [after.epoch, `${what} in epoch ${after.epoch}`];
}

/** @param {LogOpening} opening */
function recordAtItsPlace(opening) {
  const record = EPOCH_RECORD.decode(opening.record);
  if (record.epoch !== opening.place) throw new NotProven("the epoch record is not at its place in the log");
  return record;
}
