/**
 * What comes of challenges: an actor that does not answer, a challenge that was hidden, blame that was accepted.
 *
 * Knows nothing of what an answer says. Silence is not a lie: an unanswered challenge is a suspicion, and worded as one.
 * @module
 */

/** @import { ValueOf } from "../encoding.js" */
/** @import { EpochRecord } from "../statements.js" */
/** @import { Rosters } from "./rosters.js" */
import { equal } from "../bytes.js";
import {
  ADMISSION_BODY,
  CHALLENGE,
  CHALLENGE_RECEIPT,
  CHALLENGE_STATE,
  SIGNED_ADMISSION,
  SIGNED_CHALLENGE_RECEIPT,
  hashChallenge,
  hashComplaint,
  isAnswerable,
  isOnTheWay,
  isOpen,
} from "../challenges.js";
import { OTHER_LEAF } from "../delta.js";
import { VEC32, embedded, optional, structCodec } from "../encoding.js";
import { Actor, Role, parseActor } from "../identifiers.js";
import { rootFromProof } from "../state_map.js";
import { LOG_OPENING, ProofHashes, openLog } from "./openings.js";
import { NotProven, PROVIDER, Verdict, nameSigner } from "./verdict.js";

const LOG = new Actor(Role.LOG, 0, 0);

/**
 * `log`: a record, of the deadline or later, under whose `challenges_root` the challenge is still open.
 *
 * `asked`: the record of the epoch that the challenge is about, whose roster says who had to do with it.
 */
export const UNANSWERED_CHALLENGE = structCodec("UnansweredChallenge", {
  log: LOG_OPENING,
  asked: LOG_OPENING,
  challenge: embedded(CHALLENGE),
  state: embedded(CHALLENGE_STATE),
  path: ProofHashes,
});
/** @typedef {ValueOf<typeof UNANSWERED_CHALLENGE>} UnansweredChallenge */

/**
 * A receipt, and a record of its `by_epoch` or later that lacks the challenge. `path`, `other`: of its absence.
 *
 * The log promised, and the log broke it: who can sign records could otherwise make a liar of whoever promised.
 */
export const SUPPRESSED_CHALLENGE = structCodec("SuppressedChallenge", {
  receipt: SIGNED_CHALLENGE_RECEIPT,
  log: LOG_OPENING,
  path: ProofHashes,
  other: optional(OTHER_LEAF),
});
/** @typedef {ValueOf<typeof SUPPRESSED_CHALLENGE>} SuppressedChallenge */

/** A proof of misbehaviour, and the actor that takes the blame for it. */
export const ADMISSION = structCodec("Admission", { proof: VEC32, admission: SIGNED_ADMISSION });
/** @typedef {ValueOf<typeof ADMISSION>} Admission */

/**
 * @param {Rosters} rosters
 * @param {UnansweredChallenge} finding
 */
export async function verifyUnansweredChallenge(rosters, finding) {
  const challenge = CHALLENGE.decode(finding.challenge);
  const state = CHALLENGE_STATE.decode(finding.state);
  const log = await openLog(rosters, finding.log);
  const asked = await openLog(rosters, finding.asked);
  const key = hashChallenge(finding.challenge);
  const root = rootFromProof(key, hashChallenge(finding.state), { siblings: finding.path, other: null });
  if (!equal(root, log.record.challenges_root)) {
    throw new NotProven("the path does not lead to the root of the challenges");
  }
  if (!isOpen(state) || log.epoch < state.deadline_epoch) {
    throw new NotProven("the challenge was answered, or there was still time");
  }
  if (!equal(challenge.origin, rosters.origin) || challenge.epoch !== asked.epoch) {
    throw new NotProven("a challenge about another provider, or another epoch");
  }
  if (!isOnTheWay(challenge, asked.roster)) throw new NotProven("the actor had nothing to do with what it was asked");
  const timeGiven = state.deadline_epoch - state.opened_epoch;
  if ([log, asked].every(({ roster }) => timeGiven < BigInt(roster.parameters.challenge_epochs))) {
    throw new NotProven("the actor was given too little time");
  }
  if (challenge.epoch >= state.opened_epoch) {
    throw new NotProven("the actor was asked before there was anything to show");
  }
  if (!isAnswerable(challenge.epoch, state.deadline_epoch, log.roster, asked.roster)) {
    throw new NotProven("the actor was asked for what it need not have kept any more");
  }
  const accused = parseActor(challenge.actor).toString();
  const detail =
    `${accused} was asked in epoch ${state.opened_epoch} for what it was given and made in epoch ` +
    `${challenge.epoch}, and had until epoch ${state.deadline_epoch}; as of epoch ${log.epoch} it is unresponsive, ` +
    "which proves no lie";
  return new Verdict("UnansweredChallenge", accused, rosters.origin, challenge.epoch, detail, { is_suspicion: true });
}

/**
 * @param {Rosters} rosters
 * @param {SuppressedChallenge} finding
 */
export async function verifySuppressedChallenge(rosters, finding) {
  const receipt = CHALLENGE_RECEIPT.decode(finding.receipt.body);
  if (!equal(receipt.origin, rosters.origin) || !equal(receipt.actor, LOG.encode())) {
    throw new NotProven("a receipt of another origin, or not of the log");
  }
  const key = await rosters.slotKey([finding.receipt], "challenge", LOG, receipt.incarnation, receipt.by_epoch);
  const log = await openLog(rosters, finding.log);
  if (log.epoch < receipt.by_epoch) throw new NotProven(`the challenge is promised by epoch ${receipt.by_epoch}`);
  const root = rootFromProof(receipt.challenge_hash, null, { siblings: finding.path, other: finding.other });
  if (!equal(root, log.record.challenges_root)) {
    throw new NotProven("the path does not lead to the root of the challenges");
  }
  const detail =
    `${LOG} signed that a challenge is in the log's record of epoch ${receipt.by_epoch} and in every later one, ` +
    `and the record of epoch ${log.epoch} lacks it`;
  const accused = nameSigner([LOG, key], [LOG, log.note.key]);
  return new Verdict("SuppressedChallenge", accused, rosters.origin, log.epoch, detail);
}

/**
 * `admitted`: what the proof inside was found to prove about the same origin.
 * @param {Rosters} rosters
 * @param {Admission} finding
 * @param {Verdict} admitted
 */
export async function verifyAdmission(rosters, finding, admitted) {
  const body = ADMISSION_BODY.decode(finding.admission.body);
  const actor = parseActor(body.actor);
  if (!equal(body.origin, rosters.origin) || !equal(body.proof_hash, hashComplaint(finding.proof))) {
    throw new NotProven("an admission of something else");
  }
  if (body.epoch !== admitted.epoch || ![PROVIDER, actor.toString()].includes(admitted.accused)) {
    throw new NotProven("nobody takes the blame for another epoch, or for another actor");
  }
  await rosters.slotKey([finding.admission], "admission", actor, body.incarnation, body.epoch);
  const detail = `${actor} accepts the blame for this ${admitted.kind}: ${admitted.detail}`;
  return new Verdict("Admission", actor.toString(), rosters.origin, admitted.epoch, detail);
}

/**
 * Two records of one log, the earlier first: no challenge is ever taken out. Empty: nothing is wrong.
 * @param {EpochRecord} before
 * @param {EpochRecord} after
 */
export function findFewerChallenges(before, after) {
  if (before.epoch < after.epoch && before.challenges_count > after.challenges_count) {
    return (
      `its log had ${before.challenges_count} challenges in epoch ${before.epoch} and ` +
      `${after.challenges_count} in epoch ${after.epoch}`
    );
  }
  return "";
}
