import { concat, fromHex, toHex } from "../../../clients/browser/protocol/bytes.js";
import { AgreementKey, openHpke, sealHpke } from "../../../clients/browser/protocol/hpke.js";
import { openBox, openCommon, seal, sealContext, sealedFor } from "../../../clients/browser/protocol/sealing.js";
import { tag } from "../../../clients/browser/protocol/signing.js";
import { agreementKeyOf } from "./private_keys.js";

async function checkHpke(one, t) {
  const [info, aad, pt] = [fromHex(one.info), fromHex(one.aad), fromHex(one.pt)];
  const [own, ephemeral] = await Promise.all([one.sk_r, one.sk_e].map((key) => agreementKeyOf(fromHex(key))));
  t.equal(own.publicKey, one.pk_r, "RFC 9180 A.1.1: pkRm");
  t.equal(ephemeral.publicKey, one.enc, "RFC 9180 A.1.1: enc");
  const { privateKey } = await AgreementKey.generate();
  t.equal(privateKey.extractable, false, "a private key that no script can read");
  const sealed = await sealHpke(own.publicKey, info, pt, { aad, ephemeral });
  t.equal(sealed, one.enc + one.ct, "RFC 9180 A.1.1: enc || ct");
  t.equal(await openHpke(own, info, sealed, { aad }), one.pt, "RFC 9180 A.1.1: pt");
  await t.refuses("bad-hpke", () => openHpke(own, info, sealed), "RFC 9180 A.1.1 without its aad");
  t.equal(await openHpke(own, info, await sealHpke(own.publicKey, info, pt)), one.pt, "with a fresh ephemeral key");
}

async function checkBox(box, context, message, t) {
  const key = await agreementKeyOf(fromHex(box.private_key));
  const ephemeral = await agreementKeyOf(fromHex(box.ephemeral));
  const [deviceId, prekeyId, info] = [fromHex(box.device_id), fromHex(box.prekey_id), fromHex(box.info)];
  t.equal(key.publicKey, box.public, "public half of a prekey");
  t.equal(concat(tag("seal/box"), context, deviceId, prekeyId), box.info, "info of a box");
  const sealed = await sealHpke(key.publicKey, info, fromHex(box.plain), { ephemeral });
  t.equal(concat(prekeyId, sealed), box.ciphertext, "per-recipient ciphertext");
  t.equal(sealedFor(fromHex(box.ciphertext)), box.prekey_id, "prekey that it is for");
  const opened = await openBox(context, deviceId, fromHex(box.ciphertext), key);
  t.equal(opened, { content_key: fromHex(message.content_key), gossip: fromHex(box.gossip) }, "opened box");
  return key;
}

async function checkMessage(message, t) {
  const [origin, sender] = [fromHex(message.origin), fromHex(message.sender)];
  const [ctr, root] = [BigInt(message.sender_ctr), fromHex(message.recipients_root)];
  const context = sealContext(origin, sender, ctr, root);
  t.equal(context, message.context, "context");
  const keys = [];
  for (const box of message.boxes) keys.push(await checkBox(box, context, message, t));
  const contentKey = fromHex(message.content_key);
  const payload = { kind: message.payload.kind, body: fromHex(message.payload.body) };
  t.equal(await openCommon(context, fromHex(message.common), contentKey), payload, "opened content");

  const recipients = { root, device_ids: message.boxes.map((box) => fromHex(box.device_id)) };
  const boxes = new Map(
    message.boxes.map((box) => [
      box.device_id,
      { prekey_id: fromHex(box.prekey_id), public: fromHex(box.public), gossip: fromHex(box.gossip) },
    ]),
  );
  const [common, ciphertexts] = await seal(origin, sender, ctr, recipients, payload, contentKey, boxes);
  t.equal(common, message.common, "common ciphertext");
  for (const [i, ciphertext] of ciphertexts.entries()) {
    const box = message.boxes[i];
    t.equal(ciphertext.length, box.ciphertext.length / 2, "length of a ciphertext");
    t.equal(ciphertext.slice(0, 8), box.prekey_id, "prekey id in front");
    const opened = await openBox(context, recipients.device_ids[i], ciphertext, keys[i]);
    t.equal(opened, { content_key: contentKey, gossip: fromHex(box.gossip) }, "a box of ours, opened");
  }
  await checkRefusedSeals([origin, sender, ctr, recipients], payload, contentKey, boxes, t);
}

async function checkRefusedSeals(names, payload, contentKey, boxes, t) {
  const [id, box] = [...boxes][0];
  const changed = (change) => new Map([...boxes, [id, { ...box, ...change }]]);
  const stranger = toHex(new Uint8Array(32));
  const refused = [
    ["cannot-seal", "a content key of 32 bytes", payload, new Uint8Array(32), boxes],
    ["cannot-seal", "no such kind", { ...payload, kind: 3 }, contentKey, boxes],
    ["cannot-seal", "no keys", payload, contentKey, new Map()],
    ["cannot-seal", "a stranger's key", payload, contentKey, new Map([...boxes, [stranger, box]])],
    ["cannot-seal", "a short prekey id", payload, contentKey, changed({ prekey_id: new Uint8Array(7) })],
    ["cannot-seal", "a short public key", payload, contentKey, changed({ public: new Uint8Array(31) })],
    ["cannot-seal", "a public key of small order", payload, contentKey, changed({ public: new Uint8Array(32) })],
    ["message-too-large", "a long body", { ...payload, body: new Uint8Array((256 << 10) - 48) }, contentKey, boxes],
    ["ciphertext-too-large", "long gossip", payload, contentKey, changed({ gossip: new Uint8Array(4096 - 73) })],
  ];
  for (const [code, what, ...rest] of refused) await t.refuses(code, () => seal(...names, ...rest), what);
}

export async function check(vectors, t) {
  await checkHpke(vectors.rfc_9180_a_1_1, t);
  t.equal(tag(vectors.box_label.name), vectors.box_label.tag, "tag of boxes");
  for (const message of vectors.messages) await checkMessage(message, t);
  for (const one of vectors.refused_boxes) {
    const key = await agreementKeyOf(fromHex(one.private_key));
    const [context, deviceId, ciphertext] = [one.context, one.device_id, one.ciphertext].map(fromHex);
    await t.refuses(one.code, () => openBox(context, deviceId, ciphertext, key), one.reason);
  }
  for (const one of vectors.refused_commons) {
    const [context, common, contentKey] = [one.context, one.common, one.content_key].map(fromHex);
    await t.refuses(one.code, () => openCommon(context, common, contentKey), one.reason);
  }
  for (const one of vectors.refused_ids) {
    await t.refuses(one.code, () => sealedFor(fromHex(one.ciphertext)), "too short for an id");
  }
}
