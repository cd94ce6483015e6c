import { concat, fromHex } from "../../../clients/browser/protocol/bytes.js";
import { verifyProof } from "../../../clients/browser/protocol/evidence/proof.js";

const FAMILIES = ["challenges", "equivocations", "histories", "logs", "mailboxes", "messages", "omissions", "stages"];

/** Changed proofs convict nobody. The proofs that were changed stand in the other files. */
export async function check(vectors, t) {
  const origin = fromHex(vectors.origin);
  const proofs = new Map();
  for (const family of FAMILIES) {
    const { default: file } = await import(`../../vectors/evidence_${family}.json`, { with: { type: "json" } });
    for (const { name, encoded } of file.proofs) proofs.set(name, fromHex(encoded));
  }
  for (const { of, at, cut, put, why, code } of vectors.refused) {
    const whole = proofs.get(of);
    const data = concat(whole.slice(0, at), fromHex(put), whole.slice(at + cut));
    await t.refuses(code, () => verifyProof(data, [origin]), why);
  }
}
