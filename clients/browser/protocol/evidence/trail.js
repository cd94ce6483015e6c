/**
 * A proof with the custody that leads from it to one actor: the enlarged proof that names a liar.
 *
 * Knows nothing of who gathered the custody, nor of actors that were silent. Whatever else stands in it can only add
 * views; each stands for itself, by its signature.
 * @module
 */

/** @import { Bytes } from "../bytes.js" */
/** @import { ValueOf } from "../encoding.js" */
/** @import { Kind } from "./kinds.js" */
/** @import { Finding } from "./proof.js" */
/** @import { CustodyAnswer, Question } from "./stage_views.js" */
/** @import { Lie, Shown } from "./walk.js" */
import { equal, same } from "../bytes.js";
import { VEC32, listOf, structCodec } from "../encoding.js";
import { NoiseError } from "../errors.js";
import { parseSeq } from "../identifiers.js";
import { NOBODY, custodyIn, questionsIn, sequencedIn } from "./cases.js";
import { PLAIN_KINDS, openProof } from "./kinds.js";
import { Rosters } from "./rosters.js";
import { CUSTODY_ANSWER, StageCustody } from "./stage_views.js";
import { NotProven, PROVIDER, Verdict } from "./verdict.js";
import { findLies, makeWay, openShown } from "./walk.js";

export const TRAIL_ANSWERS_MAX = 256;

/** `case`: an encoded proof of a class that stands alone, and names the provider: others ask nothing of custody. */
export const BLAME_TRAIL = structCodec("BlameTrail", {
  case: VEC32,
  answers: listOf(CUSTODY_ANSWER, TRAIL_ANSWERS_MAX),
});
/** @typedef {ValueOf<typeof BLAME_TRAIL>} BlameTrail */

/** @typedef {{ lie: Lie, verdict: Verdict }} ProvenLie */

/**
 * Of the class that the stage is convicted of.
 * @param {Rosters} rosters
 * @param {BlameTrail} trail
 */
export async function verifyTrail(rosters, trail) {
  const { proof, finding, verdict } = await openProof(trail.case, [rosters.origin], PLAIN_KINDS);
  const ofCase = await Rosters.open(rosters.origin, proof.rosters);
  for (const question of questionsIn(finding)) rosters.checkInForce(parseSeq(question.seq)[0], ofCase);
  const liar = await findLiar(rosters, finding, await openWays(rosters, finding, trail.answers));
  if (liar === null) throw new NotProven("what is shown of the way contradicts itself nowhere");
  const { kind, accused, origin, epoch, detail } = liar.verdict;
  const way = makeWay(liar.lie.shown, liar.lie);
  return new Verdict(kind, accused, origin, epoch, `${detail}; and so ${verdict.detail}`, { way });
}

/**
 * What verifies of all answers and of the finding itself, for each of its questions.
 * @param {Rosters} rosters
 * @param {Finding} finding
 * @param {readonly CustodyAnswer[]} answers
 */
export async function openWays(rosters, finding, answers) {
  /** @type {Shown[]} */
  const ways = [];
  for (const question of questionsIn(finding)) {
    const answered = answers.filter((answer) => same(answer.question, question)).flatMap((answer) => answer.stages);
    ways.push(await openShown(rosters, question, [...answered, ...custodyIn(finding, answered)]));
  }
  return ways;
}

/**
 * Of all that is shown, what convicts: what the stage was given and made, or its two statements, or the messages as
 * they were sequenced.
 * @param {Lie} lie
 * @param {readonly Shown[]} ways
 * @returns {CustodyAnswer[]}
 */
export function custodyOf(lie, ways) {
  const { finding, shown } = lie;
  switch (finding.kind) {
    case "StageOmission":
    case "StageInsertion":
      return [answerOf(finding.body.question, finding.body.custody)];
    case "ManifestEquivocation":
    case "StageEquivocation": {
      const bodies = [finding.body.one.body, finding.body.other.body];
      return shown
        .custody()
        .filter((custody) => bodiesIn(custody).some((body) => bodies.some((one) => equal(one, body))))
        .map((custody) => answerOf(shown.question, custody));
    }
  }
  const messages = sequencedIn(finding);
  return ways.flatMap(({ question, manifests }) =>
    manifests
      .filter(({ view }) => messages.some((message) => same(view.message, message)))
      .map(({ view }) => answerOf(question, new StageCustody(NOBODY, { sequenced: view }))),
  );
}

/**
 * @param {Question} question
 * @param {StageCustody} custody
 * @returns {CustodyAnswer}
 */
function answerOf(question, custody) {
  return { rosters: [], question, stages: [custody] };
}

/**
 * What is signed in one view of `Shown.custody`, histories aside.
 * @param {StageCustody} custody
 * @returns {Bytes[]}
 */
function bodiesIn({ sequenced, routed, merged, head }) {
  const manifest = (sequenced?.message ?? sequenced?.ended)?.manifest;
  return [routed?.sheet, merged?.sheet, manifest, head].filter((signed) => !!signed).map((signed) => signed.body);
}

/**
 * The first lie on the way that is proven. `explained`: the finding that is to be explained.
 * @param {Rosters} rosters
 * @param {Finding} explained
 * @param {readonly Shown[]} ways
 * @returns {Promise<ProvenLie | null>}
 */
export async function findLiar(rosters, explained, ways) {
  for (const lie of findLies(ways, explained)) {
    try {
      const { verify } = /** @type {Kind} */ (PLAIN_KINDS.get(lie.finding.kind));
      const verdict = await verify(rosters, lie.finding.body);
      if (verdict.accused !== PROVIDER) return { lie, verdict };
    } catch (error) {
      if (!(error instanceof NoiseError)) throw error;
    }
  }
  return null;
}
