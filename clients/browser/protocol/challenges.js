/**
 * Challenges: what asks an actor to show what it was given and what it made of it, for everybody to see.
 *
 * Knows nothing of custody, proofs or transport. A challenge asks one actor about one message and one mailbox. All that
 * were ever opened are in a state map: key `H("challenge", challenge)`, value hash `H("challenge", state)`. Every epoch
 * record holds its root, so everybody sees what is open, until when, and what was answered.
 * @module
 */

/** @import { ValueOf } from "./encoding.js" */
/** @import { Roster } from "./statements.js" */
import { equal, zeros } from "./bytes.js";
import { BYTES16, BYTES32, BYTES5, BYTES64, U32, U64, embedded, structCodec } from "./encoding.js";
import { DecodeError } from "./errors.js";
import { NO_EPOCH, parseSeq } from "./identifiers.js";
import { hasher } from "./signing.js";
import { wayOf } from "./stages.js";
import { EMPTY_HASH } from "./state_map.js";

/** `challenges_root` of a record before the first challenge. */
export const NO_CHALLENGES = EMPTY_HASH;

export const NO_ANSWER = zeros(32);

/** Of an encoded Challenge: its key; of an encoded ChallengeState: its value hash; of an answer: its `answer_hash`. */
export const hashChallenge = hasher("challenge");

/** Of a proof of misbehaviour: by this name its provider is asked about it. */
export const hashComplaint = hasher("complaint");

/** What did this incarnation of `actor` have to do with `seq` and `mailbox`? `epoch`: that of the seq. */
export const CHALLENGE = structCodec(
  "Challenge",
  { origin: BYTES32, actor: BYTES5, incarnation: U32, epoch: U64, seq: BYTES16, mailbox: BYTES32 },
  {
    recordType: 28,
    check: (challenge) => {
      if (parseSeq(challenge.seq)[0] !== challenge.epoch) {
        throw new DecodeError("a challenge is about the epoch of its seq");
      }
    },
  },
);
/** @typedef {ValueOf<typeof CHALLENGE>} Challenge */

/**
 * What became of a challenge. Answered in `deadline_epoch` at the latest, it was in time.
 *
 * `answered_epoch`: NO_EPOCH while it is open, and then `answer_hash` is NO_ANSWER.
 */
export const CHALLENGE_STATE = structCodec(
  "ChallengeState",
  { opened_epoch: U64, deadline_epoch: U64, answered_epoch: U64, answer_hash: BYTES32 },
  {
    recordType: 29,
    check: (state) => {
      if (state.opened_epoch > state.deadline_epoch || state.opened_epoch >= state.answered_epoch) {
        throw new DecodeError("a challenge ends before it begins");
      }
      if (isOpen(state) !== equal(state.answer_hash, NO_ANSWER)) {
        throw new DecodeError("a challenge is open until it is answered");
      }
    },
  },
);
/** @typedef {ValueOf<typeof CHALLENGE_STATE>} ChallengeState */

/** @param {{ answered_epoch: bigint }} state of a challenge */
export function isOpen(state) {
  return state.answered_epoch === NO_EPOCH;
}

/** The log's promise: the challenge is in the record of `by_epoch`, and in every later one. */
export const CHALLENGE_RECEIPT = structCodec(
  "ChallengeReceipt",
  { origin: BYTES32, actor: BYTES5, incarnation: U32, challenge_hash: BYTES32, by_epoch: U64 },
  { recordType: 30 },
);
/** @typedef {ValueOf<typeof CHALLENGE_RECEIPT>} ChallengeReceipt */

/** Signed under "challenge". */
export const SIGNED_CHALLENGE_RECEIPT = structCodec("SignedChallengeReceipt", {
  body: embedded(CHALLENGE_RECEIPT),
  signature: BYTES64,
});
/** @typedef {ValueOf<typeof SIGNED_CHALLENGE_RECEIPT>} SignedChallengeReceipt */

/** An actor accepts the blame for what a proof shows. `epoch`: that of the proof's verdict. */
export const ADMISSION_BODY = structCodec(
  "AdmissionBody",
  { origin: BYTES32, actor: BYTES5, incarnation: U32, epoch: U64, proof_hash: BYTES32 },
  { recordType: 31 },
);
/** @typedef {ValueOf<typeof ADMISSION_BODY>} AdmissionBody */

/** Signed under "admission". `proof_hash` is `hashComplaint` of the proof. */
export const SIGNED_ADMISSION = structCodec("SignedAdmission", {
  body: embedded(ADMISSION_BODY),
  signature: BYTES64,
});
/** @typedef {ValueOf<typeof SIGNED_ADMISSION>} SignedAdmission */

/**
 * Whether the challenged incarnation had to do with the challenge's message and mailbox.
 *
 * `roster`: the one in force in the challenge's epoch.
 * @param {Challenge} challenge
 * @param {Roster} roster
 */
export function isOnTheWay(challenge, roster) {
  const isThere = wayOf(roster, challenge.seq, challenge.mailbox).some((actor) =>
    equal(actor.encode(), challenge.actor),
  );
  const signer = roster.actors.findLast((entry) => equal(entry.actor, challenge.actor));
  return isThere && signer !== undefined && signer.incarnation === challenge.incarnation;
}

/**
 * Whether what actors keep of `epoch` is kept until the deadline, by the parameters of all of these rosters.
 * @param {bigint} epoch
 * @param {bigint} deadlineEpoch
 * @param {Roster[]} rosters
 */
export function isAnswerable(epoch, deadlineEpoch, ...rosters) {
  return rosters.every((roster) => deadlineEpoch <= epoch + BigInt(roster.parameters.custody_epochs));
}
