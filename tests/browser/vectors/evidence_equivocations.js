import { fromHex } from "../../../clients/browser/protocol/bytes.js";
import { KINDS, PROOF, makeProof, verifyProof } from "../../../clients/browser/protocol/evidence/proof.js";

/** The vectors of every family of proofs: each proof convicts as it says, and is what is made of its finding. */
export async function check(vectors, t) {
  const origin = fromHex(vectors.origin);
  for (const { name, encoded, kind, accused, epoch, is_suspicion } of vectors.proofs) {
    const verdict = await verifyProof(fromHex(encoded), [origin]);
    t.equal(verdict.kind, kind, `${name}: kind`);
    t.equal(verdict.accused, accused, `${name}: accused`);
    t.equal(verdict.origin, vectors.origin, `${name}: origin`);
    t.equal(verdict.epoch, BigInt(epoch), `${name}: epoch`);
    t.equal(verdict.is_suspicion, is_suspicion, `${name}: is_suspicion`);
    const proof = PROOF.decode(fromHex(encoded));
    const finding = { kind: proof.kind, body: KINDS.get(proof.kind).codec.decode(proof.body) };
    t.equal(await makeProof(origin, proof.rosters, finding), encoded, `${name}: made again`);
    await t.refuses("not-proven", () => verifyProof(fromHex(encoded), []), `${name}: of nobody`);
  }
}
