import { fromHex } from "../../../clients/browser/protocol/bytes.js";
import {
  HISTORY_RECORD,
  MAILBOX_STATE,
  applyRecord,
  hashState,
  mapKeyOf,
  newHistory,
  nextRecord,
  ownCiphertextsRoot,
} from "../../../clients/browser/protocol/history.js";
import { NO_EPOCH } from "../../../clients/browser/protocol/identifiers.js";
import { leafHash, treeRoot } from "../../../clients/browser/protocol/merkle.js";

function checkHistory(history, stored, what, t) {
  const encoded = MAILBOX_STATE.encode(history.state);
  t.equal(encoded, stored.encoded, `encoded state ${what}`);
  t.equal(MAILBOX_STATE.decode(fromHex(stored.encoded)), history.state, `decoded state ${what}`);
  t.equal(MAILBOX_STATE.toJson(history.state), stored.fields, `fields of the state ${what}`);
  t.equal(hashState(encoded), stored.hash, `hash of the state ${what}`);
  t.equal(history.records.peaks, stored.peaks.map(fromHex), `peaks ${what}`);
}

export async function check(vectors, t) {
  const mailbox = fromHex(vectors.mailbox);
  t.equal(mapKeyOf(mailbox), vectors.map_key, "map key");
  t.equal(NO_EPOCH, BigInt(vectors.no_epoch), "no epoch");
  let history = newHistory(mailbox, BigInt(vectors.new.fields.since_epoch));
  checkHistory(history, vectors.new, "of a new mailbox", t);
  for (const { leaf_hashes, own_ciphertexts, last_seq, record: fields, encoded, leaf_hash, state } of vectors.records) {
    const own = ownCiphertextsRoot(own_ciphertexts.map(({ seq, hash }) => [fromHex(seq), fromHex(hash)]));
    const deltaRoot = treeRoot(leaf_hashes.map(fromHex));
    const record = nextRecord(history, BigInt(fields.epoch), leaf_hashes.length, deltaRoot, own);
    t.equal(HISTORY_RECORD.toJson(record), fields, `fields of record ${fields.k}`);
    t.equal(HISTORY_RECORD.encode(record), encoded, `record ${fields.k}`);
    t.equal(HISTORY_RECORD.decode(fromHex(encoded)), record, `decoded record ${fields.k}`);
    t.equal(leafHash(fromHex(encoded)), leaf_hash, `leaf hash of record ${fields.k}`);
    history = applyRecord(history, record, fromHex(encoded), fromHex(last_seq));
    checkHistory(history, state, `after record ${fields.k}`, t);
  }
  for (const { why, encoded, code } of vectors.refused_states) {
    await t.refuses(code, () => MAILBOX_STATE.decode(fromHex(encoded)), why);
  }
}
