/**
 * From a proof that convicts a provider, and what its actors answer, to the one actor that lied.
 *
 * Knows nothing of how answers are gathered. An answer that does not verify is no answer; an actor that did not lie is
 * never named, whoever answers what. Who shows nothing is unresponsive, which is not a lie and not proven.
 * @module
 */

/** @import { Bytes } from "../bytes.js" */
/** @import { SignedRoster } from "../delta.js" */
/** @import { CustodyAnswer, Question } from "./stage_views.js" */
/** @import { ProvenLie } from "./trail.js" */
/** @import { Step } from "./verdict.js" */
/** @import { Shown } from "./walk.js" */
import { EMPTY, compare, concat, equal, same } from "../bytes.js";
import { DecodeError, NoiseError } from "../errors.js";
import { parseSeq } from "../identifiers.js";
import { questionsIn } from "./cases.js";
import { openProof } from "./kinds.js";
import { KINDS, makeProof } from "./proof.js";
import { Rosters } from "./rosters.js";
import { QUESTION, STAGE_CUSTODY } from "./stage_views.js";
import { custodyOf, findLiar, openWays } from "./trail.js";
import { PROVIDER, nothingElse } from "./verdict.js";
import { findSilent, makeWay } from "./walk.js";

export const UNRESPONSIVE = "Unresponsive";

/**
 * Custodies that are looked at, to all questions together, in the order of their encodings: more than eight actors, on
 * two ways, can answer at once. To look at as many that are all garbage takes about a second.
 */
export const STAGES_MAX = 640;

/** Rosters that are looked at: the proof's own first, then those of the answers, by the order of their bytes. */
export const ROSTERS_MAX = 2048;

/**
 * Who lied, and in which epoch. `kind`: the class that it is convicted of.
 *
 * Not proven: `kind` is UNRESPONSIVE, or that of a suspicion. `way`: of the message through the stages, as far as it
 * is known. `proof`: the file that convicts the actor, with the custody that leads to it; empty for UNRESPONSIVE, and
 * then `question` is what it did not answer.
 * @typedef {object} Blame
 * @property {string} actor
 * @property {string} kind
 * @property {bigint} epoch
 * @property {boolean} is_proven
 * @property {Step[]} way
 * @property {Bytes} proof
 * @property {Question | null} question
 */

/**
 * What to ask actors about; nothing where the proof names one already.
 *
 * Throws DecodeError or NotProven when it proves nothing.
 * @param {Bytes} proof
 * @param {Bytes} origin
 */
export async function questionsOf(proof, origin) {
  const { finding, verdict } = await openProof(proof, [origin], KINDS);
  return verdict.accused === PROVIDER ? questionsIn(finding) : [];
}

/**
 * The one actor that a proof comes down to. The same in whatever order the answers come.
 *
 * PROVIDER where the proof leads to no stage. Throws DecodeError or NotProven when the proof proves nothing, and
 * NotProven when no roster is shown that says who was to answer.
 * @param {Bytes} proof
 * @param {readonly CustodyAnswer[]} answers
 * @param {Bytes} origin
 * @returns {Promise<Blame>}
 */
export async function assignBlame(proof, answers, origin) {
  const opened = await openProof(proof, [origin], KINDS);
  const { accused: actor, kind, epoch, is_suspicion, way } = opened.verdict;
  const asItIs = { actor, kind, epoch, is_proven: !is_suspicion, way, proof, question: null };
  const questions = questionsIn(opened.finding);
  if (actor !== PROVIDER || !questions.length) return asItIs;
  const given = answers.flatMap((answer) => answer.rosters);
  const known = await trueRosters(origin, opened.proof.rosters, given);
  return await nothingElse(async () => {
    const rosters = await Rosters.open(origin, known);
    const ways = await openWays(rosters, opened.finding, lookAt(questions, answers));
    const liar = await findLiar(rosters, opened.finding, ways);
    if (liar !== null) return await convict(origin, known, proof, ways, liar);
    return findUnresponsive(rosters, ways) ?? asItIs;
  });
}

/**
 * Each actor's custody by itself, each once, without rosters: STAGES_MAX at most.
 * @param {readonly Question[]} questions
 * @param {readonly CustodyAnswer[]} answers
 * @returns {CustodyAnswer[]}
 */
function lookAt(questions, answers) {
  const found = answers
    .filter((answer) => questions.some((question) => same(answer.question, question)))
    .flatMap(({ question, stages }) =>
      stages.map((custody) => ({
        key: concat(QUESTION.encode(question), STAGE_CUSTODY.encode(custody)),
        answer: { rosters: [], question, stages: [custody] },
      })),
    );
  found.sort((a, b) => compare(a.key, b.key));
  const distinct = found.filter(({ key }, i) => !i || !equal(found[i - 1].key, key));
  return distinct.slice(0, STAGES_MAX).map(({ answer }) => answer);
}

/**
 * The enlarged proof: the case, and all that verifies of the answers, or of them what convicts the liar.
 *
 * Throws NotProven.
 * @param {Bytes} origin
 * @param {readonly SignedRoster[]} known
 * @param {Bytes} proof
 * @param {readonly Shown[]} ways
 * @param {ProvenLie} liar
 * @returns {Promise<Blame>}
 */
async function convict(origin, known, proof, ways, liar) {
  const answers = ways.flatMap((shown) =>
    shown.custody().map((custody) => ({ rosters: [], question: shown.question, stages: [custody] })),
  );
  let enlarged;
  try {
    enlarged = await makeProof(origin, known, { kind: "BlameTrail", body: { case: proof, answers } });
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error; // else it is more than a proof may hold, or under more rosters
    const fewer = custodyOf(liar.lie, ways);
    enlarged = await makeProof(origin, known, { kind: "BlameTrail", body: { case: proof, answers: fewer } });
  }
  const { accused, kind, epoch, way } = (await openProof(enlarged, [origin], KINDS)).verdict;
  return { actor: accused, kind, epoch, is_proven: true, way, proof: enlarged, question: null };
}

/**
 * The first stage on any way that showed nothing.
 * @param {Rosters} rosters
 * @param {readonly Shown[]} ways
 * @returns {Blame | null}
 */
function findUnresponsive(rosters, ways) {
  /** @type {{ stage: number, actor: string, shown: Shown } | null} */
  let first = null;
  for (const shown of ways) {
    const silent = findSilent(rosters, shown);
    if (silent === null) continue;
    const [stage, actor] = silent;
    if (first === null || stage < first.stage) first = { stage, actor, shown };
  }
  if (first === null) return null;
  const { actor, shown } = first;
  const [epoch] = parseSeq(shown.question.seq);
  const way = makeWay(shown, null);
  return { actor, kind: UNRESPONSIVE, epoch, is_proven: false, way, proof: EMPTY, question: shown.question };
}

/**
 * Each of the origin's own, once: of ROSTERS_MAX that are looked at.
 * @param {Bytes} origin
 * @param {readonly SignedRoster[]} own
 * @param {readonly SignedRoster[]} given
 */
async function trueRosters(origin, own, given) {
  const signed = [...own, ...inOrder(given)].slice(0, ROSTERS_MAX);
  /** @type {SignedRoster[]} */
  const found = [];
  for (const one of inOrder(signed)) {
    try {
      await Rosters.open(origin, [one]);
      found.push(one);
    } catch (error) {
      if (!(error instanceof NoiseError)) throw error;
    }
  }
  return found;
}

/**
 * Each once, by the order of their bytes.
 * @param {readonly SignedRoster[]} rosters
 */
function inOrder(rosters) {
  const sorted = [...rosters].sort((a, b) => compare(a.body, b.body) || compare(a.signature, b.signature));
  return sorted.filter((one, i) => !i || !same(sorted[i - 1], one));
}
