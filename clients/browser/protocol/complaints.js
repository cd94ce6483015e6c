/**
 * What a provider answers to whoever complains about it: the structures of its HTTP answers.
 *
 * Knows nothing of HTTP, and trusts nothing: whoever reads an answer checks it. A complaint is a proof that convicts
 * the provider, and its own authorisation: who received what is shown for such a proof alone.
 * @module
 */

/** @import { ValueOf } from "./encoding.js" */
import { CHALLENGE, CHALLENGE_STATE, SIGNED_ADMISSION } from "./challenges.js";
import { OTHER_LEAF } from "./delta.js";
import { BYTES32, embedded, listOf, optional, structCodec } from "./encoding.js";
import { LOG_OPENING, ProofHashes } from "./evidence/openings.js";
import { CUSTODY_ANSWER, QUESTION } from "./evidence/stage_views.js";

export const QUESTIONS_MAX = 16;

/**
 * `complaint_id`: `hashComplaint` of the proof. `questions`: what its actors may be asked about now.
 *
 * `admissions`: of actors that take the blame at once.
 */
export const COMPLAINT_ANSWER = structCodec("ComplaintAnswer", {
  complaint_id: BYTES32,
  questions: listOf(QUESTION, QUESTIONS_MAX),
  admissions: listOf(SIGNED_ADMISSION, QUESTIONS_MAX),
});
/** @typedef {ValueOf<typeof COMPLAINT_ANSWER>} ComplaintAnswer */

/** What one actor answers to a complaint's questions; nothing, where it has no answer. */
export const CUSTODY_ANSWERS = listOf(CUSTODY_ANSWER, QUESTIONS_MAX);

/**
 * What the newest record, `log`, says of a challenge. `path`, `other`: in the map under its `challenges_root`.
 *
 * `challenge`, `state`: empty when it is not in the map. `asked`: the record of the epoch that it is about. `answer`:
 * an encoded CustodyAnswer; empty while there is none, and for whoever has not complained.
 */
export const CHALLENGE_STATUS = structCodec("ChallengeStatus", {
  log: LOG_OPENING,
  asked: optional(LOG_OPENING),
  challenge: embedded(CHALLENGE),
  state: embedded(CHALLENGE_STATE),
  path: ProofHashes,
  other: optional(OTHER_LEAF),
  answer: embedded(CUSTODY_ANSWER, 4),
});
/** @typedef {ValueOf<typeof CHALLENGE_STATUS>} ChallengeStatus */
