/**
 * Prekeys: X25519 keys that a device signs in advance, so that others can seal for it while it is away.
 *
 * Knows nothing of HPKE (`sealing.js`), nor of where keys are kept or how they travel.
 *
 * A *one-time* key is handed out once; its owner forgets the private half when it has opened what came for it. The
 * *fallback* is handed out to everybody whenever there is no other. Ids of one device, of both kinds together, rise as
 * bytes: `prekeyIdOf(1n)`, `prekeyIdOf(2n)` and so on. A provider keeps the last id of each device and stores nothing
 * at or below it, so that nobody can bring back a key that was used, or an older fallback, by uploading it again.
 * @module
 */

/** @import { Bytes } from "./bytes.js" */
/** @import { ValueOf } from "./encoding.js" */
/** @import { Signer } from "./signing.js" */
import { bigEndian, compare, equal, readBigEndian, toHex, zeros } from "./bytes.js";
import { BYTES32, BYTES64, BYTES8, U32, U64, U8, embedded, listOf, optional, structCodec } from "./encoding.js";
import { DecodeError, SignatureError } from "./errors.js";
import { deviceIdOf } from "./identifiers.js";
import { PREKEYS_IN_UPLOAD_MAX } from "./limits.js";
import { verifyStrict } from "./signing.js";

export const ONE_TIME = 1;
export const FALLBACK = 2;

/** In `PrekeyCount.last_id`: the device never uploaded any. Never a real id. */
export const NO_PREKEY_ID = zeros(8);

const P = 2n ** 255n - 19n;
const ORDER_8_U = [
  325606250916557431795983626356110631294008115727848805560023387167927233504n,
  39382357235489614581723060781553021112529911719440698176882885853963445705823n,
];

/** In hex, canonical X25519 keys with which every shared secret is zero: https://cr.yp.to/ecdh.html, "validate". */
export const SMALL_ORDER_PUBLICS = new Set([0n, 1n, P - 1n, ...ORDER_8_U].map((u) => toHex(littleEndian(u))));

/** @param {bigint} u */
function littleEndian(u) {
  return Uint8Array.from({ length: 32 }, (_, i) => Number((u >> BigInt(8 * i)) & 255n));
}

/**
 * What a device signs, with its own `key` (Ed25519). `public`: X25519. `kind`: ONE_TIME or FALLBACK.
 *
 * After `not_after_ms` nobody hands it out or seals for it; its owner opens what came before.
 */
export const PREKEY = structCodec(
  "Prekey",
  {
    origin: BYTES32,
    device_id: BYTES32,
    key: BYTES32,
    prekey_id: BYTES8,
    kind: U8,
    public: BYTES32,
    not_after_ms: U64,
  },
  { recordType: 24 },
);
/** @typedef {ValueOf<typeof PREKEY>} Prekey */

export const SIGNED_PREKEY = structCodec("SignedPrekey", { body: embedded(PREKEY), signature: BYTES64 });
/** @typedef {ValueOf<typeof SIGNED_PREKEY>} SignedPrekey */

/** Keys of one device, ids rising, at most one of them a fallback. */
export const PREKEY_UPLOAD = structCodec("PrekeyUpload", { prekeys: listOf(SIGNED_PREKEY, PREKEYS_IN_UPLOAD_MAX) });
/** @typedef {ValueOf<typeof PREKEY_UPLOAD>} PrekeyUpload */

/** What a provider hands to whoever wants to seal for a device: the fallback, and one other key, only this once. */
export const PREKEY_OFFER = structCodec("PrekeyOffer", {
  one_time: optional(SIGNED_PREKEY),
  fallback: optional(SIGNED_PREKEY),
});
/** @typedef {ValueOf<typeof PREKEY_OFFER>} PrekeyOffer */

/**
 * What a provider holds of a device: unexpired one-time keys, and until when it has a fallback (0: it has none).
 *
 * `last_id`: the highest id that it was ever given; keys to come need higher ones.
 */
export const PREKEY_COUNT = structCodec("PrekeyCount", { one_time: U32, fallback_not_after_ms: U64, last_id: BYTES8 });
/** @typedef {ValueOf<typeof PREKEY_COUNT>} PrekeyCount */

/**
 * The id of a device's prekey `number` (u64, from 1): 8 bytes, big-endian. Throws DecodeError.
 * @param {bigint} number
 */
export function prekeyIdOf(number) {
  if (number < 1n || BigInt.asUintN(64, number) !== number) throw new DecodeError("no such number of a prekey");
  return bigEndian(number, 8);
}

/**
 * The exact inverse of `prekeyIdOf`, and 0 for NO_PREKEY_ID. Throws DecodeError.
 * @param {Bytes} prekeyId
 */
export function numberOf(prekeyId) {
  if (prekeyId.length !== 8) throw new DecodeError("a prekey id has 8 bytes");
  return readBigEndian(prekeyId);
}

/**
 * Refuse an X25519 public key that is not 32 bytes, not canonical, or of small order. Throws SignatureError.
 * @param {Bytes} publicKey
 */
export function checkAgreementKey(publicKey) {
  if (publicKey.length !== 32) throw new SignatureError("an X25519 public key has 32 bytes", "bad-key");
  if (readBigEndian(publicKey.slice().reverse()) >= P) {
    throw new SignatureError("X25519 public key is not canonical", "bad-key");
  }
  if (SMALL_ORDER_PUBLICS.has(toHex(publicKey))) {
    throw new SignatureError("X25519 public key of small order", "bad-key");
  }
}

/**
 * A prekey of the device whose key `signer` has, for `origin`.
 * @param {Signer} signer
 * @param {Bytes} origin
 * @param {Bytes} prekeyId
 * @param {number} kind
 * @param {Bytes} publicKey
 * @param {bigint} notAfterMs
 * @returns {Promise<SignedPrekey>}
 */
export async function signPrekey(signer, origin, prekeyId, kind, publicKey, notAfterMs) {
  const body = PREKEY.encode({
    origin,
    device_id: deviceIdOf(signer.publicKey),
    key: signer.publicKey,
    prekey_id: prekeyId,
    kind,
    public: publicKey,
    not_after_ms: notAfterMs,
  });
  return await signer.sign("prekey", origin, body);
}

/**
 * Decode and verify a prekey that has to be `deviceId`'s, for `origin`. Throws DecodeError, SignatureError.
 *
 * Whether it has expired is not looked at.
 * @param {SignedPrekey} signed
 * @param {Bytes} origin
 * @param {Bytes} deviceId
 * @returns {Promise<Prekey>}
 */
export async function openPrekey(signed, origin, deviceId) {
  const prekey = PREKEY.decode(signed.body);
  if (prekey.kind !== ONE_TIME && prekey.kind !== FALLBACK) throw new DecodeError("a prekey is one-time or fallback");
  if (equal(prekey.prekey_id, NO_PREKEY_ID)) throw new DecodeError("ids of prekeys begin with 1");
  if (!equal(prekey.origin, origin)) throw new SignatureError("the prekey is for another provider", "wrong-origin");
  if (!equal(prekey.device_id, deviceId) || !equal(deviceIdOf(prekey.key), deviceId)) {
    throw new SignatureError("the prekey is another device's", "wrong-key");
  }
  checkAgreementKey(prekey.public);
  await verifyStrict(prekey.key, signed.signature, "prekey", origin, signed.body);
  return prekey;
}

/**
 * [one-time, fallback] of `deviceId`, both verified. One that has expired by `nowMs` is left out: null.
 *
 * Throws DecodeError, SignatureError: an honest provider hands out nothing that does so.
 * @param {PrekeyOffer} offer
 * @param {Bytes} origin
 * @param {Bytes} deviceId
 * @param {bigint} nowMs
 * @returns {Promise<[oneTime: Prekey | null, fallback: Prekey | null]>}
 */
export async function openOffer(offer, origin, deviceId, nowMs) {
  const oneTime = await openAs(ONE_TIME, offer.one_time, origin, deviceId, nowMs);
  return [oneTime, await openAs(FALLBACK, offer.fallback, origin, deviceId, nowMs)];
}

/**
 * @param {number} kind
 * @param {SignedPrekey | null} signed
 * @param {Bytes} origin
 * @param {Bytes} deviceId
 * @param {bigint} nowMs
 */
async function openAs(kind, signed, origin, deviceId, nowMs) {
  if (signed === null) return null;
  const prekey = await openPrekey(signed, origin, deviceId);
  if (prekey.kind !== kind) throw new DecodeError("a prekey stands in the place of the other kind");
  return prekey.not_after_ms >= nowMs ? prekey : null;
}

/**
 * Throws DecodeError unless these are keys of one device, ids rising, at most one of them a fallback.
 * @param {Prekey[]} prekeys
 */
export function checkUpload(prekeys) {
  if (!prekeys.length) throw new DecodeError("an upload without prekeys");
  for (let i = 1; i < prekeys.length; i++) {
    if (!equal(prekeys[i].device_id, prekeys[i - 1].device_id)) {
      throw new DecodeError("an upload with prekeys of several devices");
    }
    if (compare(prekeys[i].prekey_id, prekeys[i - 1].prekey_id) <= 0) {
      throw new DecodeError("ids of prekeys must rise");
    }
  }
  if (prekeys.filter((prekey) => prekey.kind === FALLBACK).length > 1) {
    throw new DecodeError("an upload with two fallbacks");
  }
}
