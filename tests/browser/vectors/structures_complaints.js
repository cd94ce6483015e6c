import { fromHex, utf8 } from "../../../clients/browser/protocol/bytes.js";
import { CHALLENGE_STATUS, COMPLAINT_ANSWER } from "../../../clients/browser/protocol/complaints.js";
import { encodeJson, parseJson } from "../../../clients/browser/protocol/json_text.js";

const CODECS = {
  "complaints.ChallengeStatus": CHALLENGE_STATUS,
  "complaints.ComplaintAnswer": COMPLAINT_ANSWER,
};

export async function check(vectors, t) {
  t.equal(Object.keys(vectors).sort(), Object.keys(CODECS).sort(), "structures");
  for (const [name, codec] of Object.entries(CODECS)) {
    const { record_type, fields, json, encoded } = vectors[name];
    t.equal(`complaints.${codec.name}`, name, "name");
    t.equal(codec.recordType, record_type, `record type of ${name}`);
    t.equal(
      codec.fields.map(([field]) => field),
      Object.keys(fields),
      `fields of ${name}`,
    );
    const value = codec.decode(fromHex(encoded));
    t.equal(codec.encode(value), encoded, `${name}, decoded and encoded`);
    t.equal(encodeJson(codec.toJson(value)), utf8(json), `${name} in JSON`);
    t.equal(codec.fromJson(parseJson(utf8(json))), value, `${name} from JSON`);
    await t.refuses("malformed", () => codec.decode(fromHex(encoded.slice(0, -2))), `${name}, one byte fewer`);
    await t.refuses("malformed", () => codec.decode(fromHex(`${encoded}00`)), `${name}, one byte more`);
  }
}
