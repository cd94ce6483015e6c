import { fromHex } from "../../../clients/browser/protocol/bytes.js";
import { UNRESPONSIVE, assignBlame, questionsOf } from "../../../clients/browser/protocol/evidence/blame.js";
import { PROOF, verifyProof } from "../../../clients/browser/protocol/evidence/proof.js";
import { BLAME_TRAIL } from "../../../clients/browser/protocol/evidence/trail.js";
import { check as checkProofs } from "./evidence_equivocations.js";

/** Besides what holds for all proofs: one that names an actor asks nothing more, and a trail leads there again. */
export async function check(vectors, t) {
  await checkProofs(vectors, t);
  const origin = fromHex(vectors.origin);
  for (const { name, encoded, kind, accused, epoch } of vectors.proofs) {
    const proof = fromHex(encoded);
    t.equal(await questionsOf(proof, origin), [], `${name}: questions`);
    const { way } = await verifyProof(proof, [origin]);
    const convicted = { actor: accused, kind, epoch: BigInt(epoch), is_proven: true };
    t.equal(await assignBlame(proof, [], origin), { ...convicted, way, proof, question: null }, `${name}: blame`);
    if (PROOF.decode(proof).kind === "BlameTrail") await checkTrail(proof, convicted, origin, t, name);
  }
}

async function checkTrail(proof, convicted, origin, t, name) {
  const { rosters, body } = PROOF.decode(proof);
  const trail = BLAME_TRAIL.decode(body);
  const { way } = await verifyProof(proof, [origin]);
  t.equal(
    way.filter((step) => step.is_lie).map((step) => step.actor),
    [convicted.actor],
    `${name}: the lie on the way`,
  );
  const [question] = await questionsOf(trail.case, origin);
  t.equal(question, trail.answers[0].question, `${name}: question`);
  const shown = { rosters, question, stages: [] };
  const found = await assignBlame(trail.case, [...trail.answers, shown], origin);
  t.equal(
    { ...found, proof: null },
    { ...convicted, way, proof: null, question: null },
    `${name}: blame by its custody`,
  );
  const silent = await assignBlame(trail.case, [shown], origin);
  t.equal([silent.kind, silent.is_proven, silent.question], [UNRESPONSIVE, false, question], `${name}: nobody answers`);
}
