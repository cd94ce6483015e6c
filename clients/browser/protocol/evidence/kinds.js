/**
 * The classes of evidence that stand alone, and how a proof file of any class is opened.
 *
 * Knows nothing of custody, nor of the classes that hold another proof: `proof.js` has all of them.
 * @module
 */

/** @import { Bytes } from "../bytes.js" */
/** @import { Codec, ValueOf } from "../encoding.js" */
/** @import { SuppressedChallenge, UnansweredChallenge } from "./challenges.js" */
/** @import { InvalidRecord, LogFork } from "./logs.js" */
/** @import { HistoryViolation, MailboxFork, MailboxRollback } from "./mailboxes.js" */
/** @import { AlteredMessage, Conflict, CounterViolation, Misdelivery, Omission } from "./messages.js" */
/** @import { PosthumousStatement, RosterEquivocation } from "./roster_lies.js" */
/** @import { ManifestEquivocation, StageEquivocation } from "./slots.js" */
/** @import { StageInsertion, StageOmission } from "./stages.js" */
/** @import { Verdict } from "./verdict.js" */
import { equal } from "../bytes.js";
import { SIGNED_ROSTER } from "../delta.js";
import { BYTES32, TEXT, VEC32, listOf, structCodec } from "../encoding.js";
import { DecodeError } from "../errors.js";
import * as challenges from "./challenges.js";
import * as logs from "./logs.js";
import * as mailboxes from "./mailboxes.js";
import * as messages from "./messages.js";
import * as rosterLies from "./roster_lies.js";
import { Rosters } from "./rosters.js";
import * as slots from "./slots.js";
import * as stages from "./stages.js";
import { NotProven, nothingElse } from "./verdict.js";

/** A proof file: two or three openings are some 20 KiB, and each roster may have 64 KiB. */
export const PROOF_BYTES_MAX = 1 << 20;

/** Rosters in a proof: each costs a signature check, and no contradiction has so many statements. */
export const PROOF_ROSTERS_MAX = 16;

/** `kind`: the name of a class of evidence. `body`: the encoding of its structure. */
export const PROOF = structCodec(
  "Proof",
  { origin: BYTES32, rosters: listOf(SIGNED_ROSTER, PROOF_ROSTERS_MAX), kind: TEXT, body: VEC32 },
  { recordType: 27 },
);
/** @typedef {ValueOf<typeof PROOF>} Proof */

/**
 * A contradiction of a class that stands alone. `body`: the value of the structure that has the name `kind`.
 * @typedef {{ kind: "ManifestEquivocation", body: ManifestEquivocation }
 *   | { kind: "StageEquivocation", body: StageEquivocation }
 *   | { kind: "Omission", body: Omission }
 *   | { kind: "Conflict", body: Conflict }
 *   | { kind: "AlteredMessage", body: AlteredMessage }
 *   | { kind: "CounterViolation", body: CounterViolation }
 *   | { kind: "Misdelivery", body: Misdelivery }
 *   | { kind: "MailboxFork", body: MailboxFork }
 *   | { kind: "MailboxRollback", body: MailboxRollback }
 *   | { kind: "HistoryViolation", body: HistoryViolation }
 *   | { kind: "LogFork", body: LogFork }
 *   | { kind: "InvalidRecord", body: InvalidRecord }
 *   | { kind: "StageOmission", body: StageOmission }
 *   | { kind: "StageInsertion", body: StageInsertion }
 *   | { kind: "RosterEquivocation", body: RosterEquivocation }
 *   | { kind: "PosthumousStatement", body: PosthumousStatement }
 *   | { kind: "UnansweredChallenge", body: UnansweredChallenge }
 *   | { kind: "SuppressedChallenge", body: SuppressedChallenge }} PlainFinding
 */

/**
 * A class of evidence: its structure, and the check that ends in a verdict or throws a NoiseError.
 * @typedef {{ codec: Codec<any>, verify: (rosters: Rosters, body: any) => Promise<Verdict> }} Kind
 */

/** By name. @type {ReadonlyMap<string, Kind>} */
export const PLAIN_KINDS = new Map([
  ["ManifestEquivocation", { codec: slots.MANIFEST_EQUIVOCATION, verify: slots.verifyManifestEquivocation }],
  ["StageEquivocation", { codec: slots.STAGE_EQUIVOCATION, verify: slots.verifyStageEquivocation }],
  ["Omission", { codec: messages.OMISSION, verify: messages.verifyOmission }],
  ["Conflict", { codec: messages.CONFLICT, verify: messages.verifyConflict }],
  ["AlteredMessage", { codec: messages.ALTERED_MESSAGE, verify: messages.verifyAlteredMessage }],
  ["CounterViolation", { codec: messages.COUNTER_VIOLATION, verify: messages.verifyCounterViolation }],
  ["Misdelivery", { codec: messages.MISDELIVERY, verify: messages.verifyMisdelivery }],
  ["MailboxFork", { codec: mailboxes.MAILBOX_FORK, verify: mailboxes.verifyMailboxFork }],
  ["MailboxRollback", { codec: mailboxes.MAILBOX_ROLLBACK, verify: mailboxes.verifyMailboxRollback }],
  ["HistoryViolation", { codec: mailboxes.HISTORY_VIOLATION, verify: mailboxes.verifyHistoryViolation }],
  ["LogFork", { codec: logs.LOG_FORK, verify: logs.verifyLogFork }],
  ["InvalidRecord", { codec: logs.INVALID_RECORD, verify: logs.verifyInvalidRecord }],
  ["StageOmission", { codec: stages.STAGE_OMISSION, verify: stages.verifyStageOmission }],
  ["StageInsertion", { codec: stages.STAGE_INSERTION, verify: stages.verifyStageInsertion }],
  ["RosterEquivocation", { codec: rosterLies.ROSTER_EQUIVOCATION, verify: rosterLies.verifyRosterEquivocation }],
  ["PosthumousStatement", { codec: rosterLies.POSTHUMOUS_STATEMENT, verify: rosterLies.verifyPosthumousStatement }],
  ["UnansweredChallenge", { codec: challenges.UNANSWERED_CHALLENGE, verify: challenges.verifyUnansweredChallenge }],
  ["SuppressedChallenge", { codec: challenges.SUPPRESSED_CHALLENGE, verify: challenges.verifySuppressedChallenge }],
]);

/**
 * What a proof file of one of these kinds proves about one of the `origins`: the only thing that is trusted. `finding`:
 * a Finding of `proof.js`, of no other kind than these.
 *
 * Pure, total and bounded: throws DecodeError for what is malformed, NotProven for all else, and nothing but these.
 * @param {Uint8Array} data
 * @param {readonly Bytes[]} origins
 * @param {ReadonlyMap<string, Kind>} kinds
 * @returns {Promise<{ proof: Proof, finding: any, verdict: Verdict }>}
 */
export async function openProof(data, origins, kinds) {
  if (data.length > PROOF_BYTES_MAX) throw new DecodeError(`a proof has at most ${PROOF_BYTES_MAX} bytes`);
  const proof = PROOF.decode(data);
  const kind = kinds.get(proof.kind);
  if (kind === undefined) throw new DecodeError("an unknown class of evidence");
  const body = kind.codec.decode(proof.body);
  const verdict = await nothingElse(async () => {
    if (!origins.some((origin) => equal(origin, proof.origin))) {
      throw new NotProven("the proof is about another provider");
    }
    return await kind.verify(await Rosters.open(proof.origin, proof.rosters), body);
  });
  return { proof, finding: { kind: proof.kind, body }, verdict };
}
