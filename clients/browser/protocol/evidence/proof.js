/**
 * Proofs of misbehaviour as files: made from a finding, and verified by anybody who knows the provider's origin.
 *
 * Knows nothing of clients, stores, networks or clocks. A proof is a contradiction between what one provider signed,
 * with the rosters that say whose keys signed it; its root key's word is needed for nothing else. An honest provider
 * signs no contradictions, so there is no proof against it, whoever makes one up.
 * @module
 */

/** @import { Bytes } from "../bytes.js" */
/** @import { SignedRoster } from "../delta.js" */
/** @import { Admission } from "./challenges.js" */
/** @import { Kind, PlainFinding } from "./kinds.js" */
/** @import { BlameTrail } from "./trail.js" */
import { toHex } from "../bytes.js";
import { hashRoster } from "../statements.js";
import { ADMISSION, verifyAdmission as verifyAdmitted } from "./challenges.js";
import { PLAIN_KINDS, PROOF, PROOF_BYTES_MAX, openProof } from "./kinds.js";
import { Rosters } from "./rosters.js";
import { BLAME_TRAIL, verifyTrail } from "./trail.js";
import { NotProven, Verdict, nothingElse } from "./verdict.js";

export { NotProven, PROOF, PROOF_BYTES_MAX, Verdict };
/** @typedef {import("./kinds.js").Proof} Proof */

/**
 * A contradiction of any class. `body`: the value of the structure that has the name `kind`.
 * @typedef {PlainFinding | { kind: "BlameTrail", body: BlameTrail } | { kind: "Admission", body: Admission }} Finding
 */

/** @type {ReadonlyMap<string, Kind>} */
const ADMISSIBLE = new Map([...PLAIN_KINDS, ["BlameTrail", { codec: BLAME_TRAIL, verify: verifyTrail }]]);

/**
 * @param {Rosters} rosters
 * @param {Admission} finding
 */
async function verifyAdmission(rosters, finding) {
  const { verdict } = await openProof(finding.proof, [rosters.origin], ADMISSIBLE);
  return await verifyAdmitted(rosters, finding, verdict);
}

/** By name. @type {ReadonlyMap<string, Kind>} */
export const KINDS = new Map([...ADMISSIBLE, ["Admission", { codec: ADMISSION, verify: verifyAdmission }]]);

/**
 * What a proof file proves about one of the `origins`: the only thing that is trusted.
 *
 * Pure, total and bounded: throws DecodeError for what is malformed, NotProven for all else, and nothing but these.
 * @param {Uint8Array} data
 * @param {readonly Bytes[]} origins
 */
export async function verifyProof(data, origins) {
  const { verdict } = await openProof(data, origins, KINDS);
  return verdict;
}

/**
 * The file that proves a finding, with those of the rosters that it needs. It is verified before it is returned.
 *
 * Throws DecodeError or NotProven when it proves nothing.
 * @param {Bytes} origin
 * @param {readonly SignedRoster[]} rosters
 * @param {Finding} finding
 */
export async function makeProof(origin, rosters, finding) {
  const kind = /** @type {Kind} */ (KINDS.get(finding.kind));
  const opened = await nothingElse(async () => {
    const known = await Rosters.open(origin, rosters);
    await kind.verify(known, finding.body);
    return known;
  });
  const byHash = new Map(rosters.map((one) => [toHex(hashRoster(one.body)), one]));
  const needed = [...byHash].filter(([rosterHash]) => opened.used.has(rosterHash)).map(([, one]) => one);
  const data = PROOF.encode({ origin, rosters: needed, kind: finding.kind, body: kind.codec.encode(finding.body) });
  await verifyProof(data, [origin]);
  return data;
}
