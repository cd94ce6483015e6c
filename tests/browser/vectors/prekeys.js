import { fromHex, toHex } from "../../../clients/browser/protocol/bytes.js";
import { AgreementKey, sealHpke } from "../../../clients/browser/protocol/hpke.js";
import {
  FALLBACK,
  ONE_TIME,
  PREKEY,
  PREKEY_COUNT,
  PREKEY_OFFER,
  PREKEY_UPLOAD,
  SMALL_ORDER_PUBLICS,
  checkAgreementKey,
  checkUpload,
  numberOf,
  openOffer,
  openPrekey,
  prekeyIdOf,
} from "../../../clients/browser/protocol/prekeys.js";

function prekeyOf(one) {
  return {
    origin: fromHex(one.origin),
    device_id: fromHex(one.device_id),
    key: fromHex(one.key),
    prekey_id: fromHex(one.prekey_id),
    kind: one.kind,
    public: fromHex(one.public),
    not_after_ms: BigInt(one.not_after_ms),
  };
}

async function checkAccepted(vectors, origin, deviceId, t) {
  const signed = vectors.prekeys.map(({ body, signature }) => ({ body: fromHex(body), signature: fromHex(signature) }));
  for (const [i, { prekey, body }] of vectors.prekeys.entries()) {
    t.equal(PREKEY.encode(prekeyOf(prekey)), body, "encoded prekey");
    t.equal(await openPrekey(signed[i], origin, deviceId), prekeyOf(prekey), "opened prekey");
    checkAgreementKey(fromHex(prekey.public));
    t.equal(prekeyIdOf(numberOf(fromHex(prekey.prekey_id))), prekey.prekey_id, "id and number");
  }
  t.equal(PREKEY_UPLOAD.encode({ prekeys: signed }), vectors.upload, "encoded upload");
  t.equal(PREKEY_UPLOAD.decode(fromHex(vectors.upload)).prekeys, signed, "decoded upload");
  checkUpload(vectors.prekeys.map(({ prekey }) => prekeyOf(prekey)));
  for (const { encoded, now_ms, usable_ids } of vectors.offers) {
    const opened = await openOffer(PREKEY_OFFER.decode(fromHex(encoded)), origin, deviceId, BigInt(now_ms));
    const ids = opened.map((prekey) => prekey && toHex(prekey.prekey_id));
    t.equal(ids, usable_ids, `what an offer has at ${now_ms}`);
    t.equal(
      opened.map((prekey, i) => prekey?.kind ?? [ONE_TIME, FALLBACK][i]),
      [ONE_TIME, FALLBACK],
      "kinds",
    );
  }
  const count = PREKEY_COUNT.decode(fromHex(vectors.count));
  const [last, fallback] = [vectors.prekeys[2].prekey, vectors.prekeys[1].prekey];
  const expected = {
    one_time: 3,
    fallback_not_after_ms: BigInt(fallback.not_after_ms),
    last_id: fromHex(last.prekey_id),
  };
  t.equal(count, expected, "count");
  t.equal(PREKEY_COUNT.encode(count), vectors.count, "encoded count");
}

async function checkPublics(vectors, t) {
  for (const { public: key, code } of vectors.refused_publics) {
    await t.refuses(code, () => checkAgreementKey(fromHex(key)), `public key ${key}`);
    // RFC 7748 takes keys modulo p and without their top bit. All of these are of small order then, but for 18.
    const seal = () => sealHpke(fromHex(key), new Uint8Array(0), new Uint8Array(0));
    if (key.startsWith("ff".repeat(31))) t.equal((await seal()).length, 48, `HPKE to 18, written as ${key}`);
    else await t.refuses("bad-hpke", seal, `HPKE to ${key}`);
  }
  t.equal(SMALL_ORDER_PUBLICS.size, 5, "keys of small order");
  for (const key of SMALL_ORDER_PUBLICS) {
    t.equal(
      vectors.refused_publics.some((refused) => refused.public === key),
      true,
      `${key} is refused`,
    );
  }
  checkAgreementKey((await AgreementKey.generate()).publicKey);
  for (const size of [0, 31, 33]) {
    await t.refuses("bad-key", () => checkAgreementKey(new Uint8Array(size)), `a public key of ${size} bytes`);
  }
}

export async function check(vectors, t) {
  const [origin, deviceId] = [fromHex(vectors.origin), fromHex(vectors.device_id)];
  await checkAccepted(vectors, origin, deviceId, t);
  for (const { reason, device_id, body, signature, code } of vectors.refused_prekeys) {
    const signed = { body: fromHex(body), signature: fromHex(signature) };
    await t.refuses(code, () => openPrekey(signed, origin, fromHex(device_id)), reason);
  }
  const nowMs = BigInt(vectors.offers[0].now_ms);
  for (const { reason, encoded, code } of vectors.refused_offers) {
    await t.refuses(code, () => openOffer(PREKEY_OFFER.decode(fromHex(encoded)), origin, deviceId, nowMs), reason);
  }
  for (const { reason, encoded, code } of vectors.refused_uploads) {
    const { prekeys } = PREKEY_UPLOAD.decode(fromHex(encoded));
    await t.refuses(code, () => checkUpload(prekeys.map(({ body }) => PREKEY.decode(body))), reason);
  }
  await checkPublics(vectors, t);
  for (const number of [0n, -1n, 2n ** 64n]) await t.refuses("malformed", () => prekeyIdOf(number), `id of ${number}`);
  await t.refuses("malformed", () => numberOf(new Uint8Array(7)), "a short id");
}
