/**
 * Rosters that contradict each other or the log, and statements of actors whose time had ended.
 *
 * Knows nothing of what the statements commit to. A roster binds epochs to come: an honest root signs one of each
 * version, an honest log has each epoch under the roster that binds it, and an actor's incarnation ends with the last
 * roster that names it. Who keeps a key beyond that, or has stolen it, convicts that actor and nobody else.
 * @module
 */

/** @import { Bytes } from "../bytes.js" */
/** @import { StructCodec, ValueOf } from "../encoding.js" */
/** @import { Signed } from "../signing.js" */
/** @import { Roster, RosterEntry } from "../statements.js" */
/** @import { LogOpening } from "./openings.js" */
/** @import { Rosters } from "./rosters.js" */
import { equal } from "../bytes.js";
import { logNameOf, verifyCheckpoint } from "../checkpoint.js";
import { BYTES32, VEC16, optional, structCodec } from "../encoding.js";
import { DecodeError, SignatureError } from "../errors.js";
import { Actor, Role, parseActor } from "../identifiers.js";
import { SIGNED, verifyStrict } from "../signing.js";
import { EPOCH_HEAD, EPOCH_OPEN, MANIFEST, MERGE_SHEET, ROUTE_SHEET } from "../statements.js";
import { LOG_OPENING, openLog } from "./openings.js";
import { NotProven, PROVIDER, Verdict } from "./verdict.js";

export const ROOT = "root";

const LOG = new Actor(Role.LOG, 0, 0);

/** @type {Map<number, [label: string, codec: StructCodec<any>]>} */
const STATEMENTS = new Map([
  [Role.INBOX, ["manifest", MANIFEST]],
  [Role.ROUTER, ["route", ROUTE_SHEET]],
  [Role.RECEIVER, ["merge", MERGE_SHEET]],
  [Role.OUTBOX, ["head", EPOCH_HEAD]],
  [Role.SEQUENCER, ["open", EPOCH_OPEN]],
]);

/** Of any statement: behind its record type and origin. */
const ACTOR_AT = 34;

/**
 * Two rosters, by hash, that no honest root signs both, or no honest log obeys both.
 *
 * Without `record`: of one version. With it: the record of an epoch that `other` binds, under `one`, which is older.
 */
export const ROSTER_EQUIVOCATION = structCodec("RosterEquivocation", {
  one: BYTES32,
  other: BYTES32,
  record: optional(LOG_OPENING),
});
/** @typedef {ValueOf<typeof ROSTER_EQUIVOCATION>} RosterEquivocation */

/**
 * What an incarnation signed, by the key that roster `older` gives it, for an epoch that roster `newer` binds.
 *
 * `newer` names another incarnation, or no such actor. Either a statement or a checkpoint note of the log is there.
 * `record`: of an earlier epoch that ran under `newer`. By then the end of the incarnation was there to be seen: a
 * roster that the root signs afterwards ends nothing, nor does the first epoch of a new one, which a crash may have cut
 * off under the roster before.
 */
export const POSTHUMOUS_STATEMENT = structCodec("PosthumousStatement", {
  older: BYTES32,
  newer: BYTES32,
  statement: optional(SIGNED),
  note: optional(VEC16),
  record: LOG_OPENING,
});
/** @typedef {ValueOf<typeof POSTHUMOUS_STATEMENT>} PosthumousStatement */

/**
 * What was signed, by whom, and for which epoch.
 * @typedef {[what: string, entry: RosterEntry, epoch: bigint]} Word
 */

/**
 * With a record it names the provider: a root that signs too late and a log that obeys too late look alike.
 * @param {Rosters} rosters
 * @param {RosterEquivocation} finding
 */
export async function verifyRosterEquivocation(rosters, finding) {
  const one = rosters.get(finding.one);
  const other = rosters.get(finding.other);
  if (finding.record !== null) return await verifyRetroactive(rosters, finding.one, other, finding.record);
  if (equal(finding.one, finding.other)) throw new NotProven("one roster twice");
  if (one.version !== other.version) throw new NotProven("rosters of two versions");
  const detail = `the root signed two different rosters of version ${one.version}`;
  const epoch = one.valid_from_epoch < other.valid_from_epoch ? one.valid_from_epoch : other.valid_from_epoch;
  return new Verdict("RosterEquivocation", ROOT, rosters.origin, epoch, detail);
}

/**
 * @param {Rosters} rosters
 * @param {Bytes} rosterHash
 * @param {Roster} other
 * @param {LogOpening} record
 */
async function verifyRetroactive(rosters, rosterHash, other, record) {
  const log = await openLog(rosters, record);
  if (!equal(log.record.roster_hash, rosterHash)) throw new NotProven("the record names another roster");
  if (log.roster.version >= other.version || other.valid_from_epoch > log.epoch) {
    throw new NotProven("the other roster is none that replaced the record's by then");
  }
  if (!equal(log.note.key, other.entry(LOG).key)) {
    throw new NotProven("a key of the log signed that the other roster had replaced: it speaks for nobody else");
  }
  const detail =
    `epoch ${log.epoch} ran under the roster of version ${log.roster.version}, and that of version ${other.version} ` +
    `binds epochs from ${other.valid_from_epoch} on`;
  return new Verdict("RosterEquivocation", PROVIDER, rosters.origin, log.epoch, detail);
}

/**
 * @param {Rosters} rosters
 * @param {PosthumousStatement} finding
 */
export async function verifyPosthumousStatement(rosters, finding) {
  const older = rosters.get(finding.older);
  const newer = rosters.get(finding.newer);
  if (older.version >= newer.version) throw new NotProven("the rosters are not an older and a newer one");
  const [what, entry, epoch] = await openWord(rosters.origin, older, finding);
  const actor = parseActor(entry.actor);
  const log = await openLog(rosters, finding.record);
  if (!equal(log.record.roster_hash, finding.newer)) {
    throw new NotProven("the record names another roster than the newer one");
  }
  if (log.epoch >= epoch) {
    throw new NotProven("no epoch before this one is shown to have run under the newer roster");
  }
  if (newer.actors.some((one) => equal(one.actor, entry.actor) && one.incarnation === entry.incarnation)) {
    throw new NotProven("the newer roster names this incarnation too");
  }
  const detail =
    `incarnation ${entry.incarnation} of ${actor} signed ${what} for epoch ${epoch}; the roster of version ` +
    `${newer.version} had ended it, and epoch ${log.epoch} ran under that`;
  return new Verdict("PosthumousStatement", actor.toString(), rosters.origin, epoch, detail);
}

/**
 * @param {Bytes} origin
 * @param {Roster} roster
 * @param {PosthumousStatement} finding
 */
async function openWord(origin, roster, { statement, note }) {
  if (statement !== null && note === null) return await openStatement(origin, roster, statement);
  if (note !== null && statement === null) return await openNote(origin, roster, note);
  throw new DecodeError("either a statement or a checkpoint was signed");
}

/**
 * @param {Bytes} origin
 * @param {Roster} roster
 * @param {Signed} signed
 * @returns {Promise<Word>}
 */
async function openStatement(origin, roster, signed) {
  const actor = parseActor(signed.body.slice(ACTOR_AT, ACTOR_AT + 5));
  const sort = STATEMENTS.get(actor.role);
  if (sort === undefined) throw new NotProven(`${actor} makes no statements`);
  const [label, codec] = sort;
  const statement = codec.decode(signed.body);
  const entry = roster.entry(actor);
  if (!equal(statement.origin, origin) || statement.incarnation !== entry.incarnation) {
    throw new NotProven("the statement of another origin, or of an incarnation that the older roster does not name");
  }
  await verifyStrict(entry.key, signed.signature, label, origin, signed.body);
  return [`its ${label}`, entry, statement.epoch];
}

/**
 * Like `openStatement`. The epoch of a checkpoint: the last that is in its log.
 * @param {Bytes} origin
 * @param {Roster} roster
 * @param {Bytes} note
 * @returns {Promise<Word>}
 */
async function openNote(origin, roster, note) {
  const entry = roster.entry(LOG);
  try {
    const { size } = await verifyCheckpoint(note, logNameOf(origin), entry.key);
    return [`a checkpoint of ${size} epochs`, entry, size - 1n];
  } catch (error) {
    if (!(error instanceof DecodeError) && !(error instanceof SignatureError)) throw error;
    throw new NotProven(`not a checkpoint by the log key of the older roster: ${error.detail}`);
  }
}
