import { compare, fromHex } from "../../../clients/browser/protocol/bytes.js";
import { logNameOf } from "../../../clients/browser/protocol/checkpoint.js";
import {
  Actor,
  NO_EPOCH,
  NO_SEQ,
  deviceIdOf,
  formatId,
  makeSeq,
  originOf,
  parseActor,
  parseId,
  parseSeq,
} from "../../../clients/browser/protocol/identifiers.js";

export async function check(vectors, t) {
  t.equal(NO_EPOCH, BigInt(vectors.no_epoch), "no epoch");
  t.equal(NO_SEQ, vectors.no_seq, "no seq");
  for (const { public_key, device_id, text } of vectors.devices) {
    t.equal(deviceIdOf(fromHex(public_key)), device_id, "device id");
    t.equal(formatId(fromHex(device_id)), text, "text of a device id");
    t.equal(parseId(text), device_id, "device id of a text");
  }
  for (const { root_public_key, origin, log_name } of vectors.origins) {
    t.equal(originOf(fromHex(root_public_key)), origin, "origin");
    t.equal(logNameOf(fromHex(origin)), log_name, "log name");
  }
  for (const { role, shard, number, encoded, text } of vectors.actors) {
    const actor = new Actor(role, shard, number);
    t.equal(actor.encode(), encoded, text);
    t.equal(actor.toString(), text, text);
    t.equal(parseActor(fromHex(encoded)), actor, text);
  }
  for (const { epoch, lane, pos, seq } of vectors.seqs) {
    const position = [BigInt(epoch), lane, Number(pos)];
    t.equal(makeSeq(...position), seq, "seq");
    t.equal(parseSeq(fromHex(seq)), position, "position");
  }
  const seqs = vectors.seqs.map((one) => fromHex(one.seq));
  t.equal([...seqs].sort(compare), seqs, "byte order is delivery order");
  for (const encoded of vectors.no_actors) {
    await t.refuses("malformed", () => parseActor(fromHex(encoded)), `actor ${encoded}`);
  }
  for (const text of vectors.no_ids) await t.refuses("malformed", () => parseId(text), `id ${text}`);
}
