import { fromHex } from "../../../clients/browser/protocol/bytes.js";
import {
  ADMISSION_BODY,
  CHALLENGE,
  CHALLENGE_RECEIPT,
  CHALLENGE_STATE,
  NO_ANSWER,
  NO_CHALLENGES,
  SIGNED_ADMISSION,
  SIGNED_CHALLENGE_RECEIPT,
  hashChallenge,
  hashComplaint,
  isOpen,
} from "../../../clients/browser/protocol/challenges.js";
import { NO_EPOCH } from "../../../clients/browser/protocol/identifiers.js";
import { rootFromProof } from "../../../clients/browser/protocol/state_map.js";

function checkMap({ challenges_root, challenges_count, states, paths }, t) {
  t.equal(states.length, challenges_count, "challenges in the map");
  const values = new Map();
  for (const { key, state, value_hash } of states) {
    t.equal(hashChallenge(fromHex(state)), value_hash, "value hash of a state");
    const decoded = CHALLENGE_STATE.decode(fromHex(state));
    t.equal(CHALLENGE_STATE.encode(decoded), state, "encoded state");
    t.equal(isOpen(decoded), decoded.answered_epoch === NO_EPOCH, "open");
    values.set(key, fromHex(value_hash));
  }
  for (const { key, siblings, other } of paths) {
    const proof = {
      siblings: siblings.map(fromHex),
      other: other && { key: fromHex(other[0]), value_hash: fromHex(other[1]) },
    };
    t.equal(rootFromProof(fromHex(key), values.get(key) ?? null, proof), challenges_root, `path of ${key}`);
  }
}

export async function check(vectors, t) {
  t.equal(NO_CHALLENGES, vectors.no_challenges, "root of no challenges");
  t.equal(NO_ANSWER, new Uint8Array(32), "hash of no answer");
  for (const { fields, encoded, key } of vectors.challenges) {
    const challenge = CHALLENGE.decode(fromHex(encoded));
    t.equal(CHALLENGE.encode(challenge), encoded, "encoded challenge");
    t.equal(CHALLENGE.encode(CHALLENGE.fromJson(fields)), encoded, "challenge from JSON");
    t.equal(CHALLENGE.toJson(challenge), fields, "challenge in JSON");
    t.equal(hashChallenge(fromHex(encoded)), key, "key of a challenge");
  }
  t.equal(hashChallenge(fromHex(vectors.answer.bytes)), vectors.answer.answer_hash, "hash of an answer");
  t.equal(hashComplaint(fromHex(vectors.complaint.proof)), vectors.complaint.proof_hash, "hash of a proof");
  for (const map of vectors.maps) checkMap(map, t);
  for (const { label, fields, encoded } of vectors.signed) {
    const [outer, inner] =
      label === "challenge" ? [SIGNED_CHALLENGE_RECEIPT, CHALLENGE_RECEIPT] : [SIGNED_ADMISSION, ADMISSION_BODY];
    const signed = outer.decode(fromHex(encoded));
    t.equal(outer.encode(signed), encoded, `encoded ${label}`);
    t.equal(inner.toJson(inner.decode(signed.body)), fields, `${label} in JSON`);
    t.equal(inner.encode(inner.fromJson(fields)), signed.body, `${label} from JSON`);
  }
  for (const { why, encoded, code } of vectors.refused) {
    const codec = encoded.startsWith("001c") ? CHALLENGE : CHALLENGE_STATE;
    await t.refuses(code, () => codec.decode(fromHex(encoded)), why);
  }
}
