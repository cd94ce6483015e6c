/**
 * HPKE (RFC 9180), single shot, in base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM.
 *
 * Knows nothing of `noise`: no browser has HPKE, so here it is from its parts. Private keys stay in WebCrypto;
 * ephemeral ones are drawn by it. Has no counterpart in `noise/protocol`, which has a library for it. Sections are
 * those of the RFC.
 * @module
 */

/** @import { Bytes } from "./bytes.js" */
import { EMPTY, bigEndian, concat, utf8, zeros } from "./bytes.js";
import { NoiseError } from "./errors.js";
import { sha256 } from "./signing.js";

/** What a sealed text has more than its plain one: the encapsulation, and the tag of AES-GCM. */
export const OVERHEAD_BYTES = 32 + 16;

const VERSION = utf8("HPKE-v1");
const KEM_SUITE = concat(utf8("KEM"), bigEndian(0x0020, 2));
const HPKE_SUITE = concat(utf8("HPKE"), bigEndian(0x0020, 2), bigEndian(0x0001, 2), bigEndian(0x0001, 2));
const MODE_BASE = zeros(1);
const INNER_PAD = new Uint8Array(64).fill(0x36);
const OUTER_PAD = new Uint8Array(64).fill(0x5c);
const NO_PSK_HASH = labeledExtract(HPKE_SUITE, EMPTY, "psk_id_hash", EMPTY);

/** A public key of no use, or a text that was not sealed for this key and these circumstances. */
export class HpkeError extends NoiseError {
  static defaultCode = "bad-hpke";
}

/** An X25519 key of ours. Its private half never leaves WebCrypto. */
export class AgreementKey {
  /**
   * @param {CryptoKey} privateKey of X25519, usable for "deriveBits"; may be non-extractable
   * @param {Bytes} publicKey 32 bytes
   */
  constructor(privateKey, publicKey) {
    this.privateKey = privateKey;
    this.publicKey = publicKey;
  }

  /** A new key that no script can read. */
  static async generate() {
    const pair = /** @type {CryptoKeyPair} */ (await crypto.subtle.generateKey("X25519", false, ["deriveBits"]));
    return new AgreementKey(pair.privateKey, new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey)));
  }
}

/**
 * Encapsulation || ciphertext (section 6.1). `ephemeral`: given only to get known bytes. Throws HpkeError.
 * @param {Bytes} publicKey the recipient's
 * @param {Bytes} info
 * @param {Bytes} plain
 * @param {{ aad?: Bytes, ephemeral?: AgreementKey }} [options]
 * @returns {Promise<Bytes>}
 */
export async function sealHpke(publicKey, info, plain, { aad = EMPTY, ephemeral } = {}) {
  const own = ephemeral ?? (await AgreementKey.generate());
  const agreed = await agree(own, publicKey);
  const { key, nonce } = await keySchedule(sharedSecret(agreed, own.publicKey, publicKey), info);
  return concat(own.publicKey, new Uint8Array(await crypto.subtle.encrypt(gcm(nonce, aad), key, plain)));
}

/**
 * The plain text of what `sealHpke` made for this key, `info` and `aad`. Throws HpkeError.
 * @param {AgreementKey} own the recipient's
 * @param {Bytes} info
 * @param {Bytes} sealed
 * @param {{ aad?: Bytes }} [options]
 * @returns {Promise<Bytes>}
 */
export async function openHpke(own, info, sealed, { aad = EMPTY } = {}) {
  if (sealed.length < OVERHEAD_BYTES) throw new HpkeError("too short for an encapsulation and a tag");
  const enc = sealed.slice(0, 32);
  const agreed = await agree(own, enc);
  const { key, nonce } = await keySchedule(sharedSecret(agreed, enc, own.publicKey), info);
  try {
    return new Uint8Array(await crypto.subtle.decrypt(gcm(nonce, aad), key, sealed.slice(32)));
  } catch (error) {
    throw refusal(error, "not sealed for this key");
  }
}

/**
 * X25519, section 4.1 and 7.1.4: a shared secret of zeros is refused.
 * @param {AgreementKey} own
 * @param {Bytes} publicKey
 * @returns {Promise<Bytes>}
 */
async function agree(own, publicKey) {
  let agreed;
  try {
    const imported = await crypto.subtle.importKey("raw", publicKey, "X25519", true, []);
    agreed = await crypto.subtle.deriveBits({ name: "X25519", public: imported }, own.privateKey, 256);
  } catch (error) {
    throw refusal(error, "not a usable X25519 public key");
  }
  const secret = new Uint8Array(agreed);
  if (secret.every((byte) => byte === 0)) throw new HpkeError("X25519 public key of small order");
  return secret;
}

/**
 * Section 4.1, ExtractAndExpand.
 * @param {Bytes} agreed
 * @param {Bytes} enc
 * @param {Bytes} publicKey
 */
function sharedSecret(agreed, enc, publicKey) {
  const prk = labeledExtract(KEM_SUITE, EMPTY, "eae_prk", agreed);
  return labeledExpand(KEM_SUITE, prk, "shared_secret", concat(enc, publicKey), 32);
}

/**
 * Section 5.1.
 * @param {Bytes} secret
 * @param {Bytes} info
 */
async function keySchedule(secret, info) {
  const context = concat(MODE_BASE, NO_PSK_HASH, labeledExtract(HPKE_SUITE, EMPTY, "info_hash", info));
  const prk = labeledExtract(HPKE_SUITE, secret, "secret", EMPTY);
  const raw = labeledExpand(HPKE_SUITE, prk, "key", context, 16);
  const key = await crypto.subtle.importKey("raw", raw, "AES-GCM", false, ["encrypt", "decrypt"]);
  return { key, nonce: labeledExpand(HPKE_SUITE, prk, "base_nonce", context, 12) };
}

/**
 * Section 4.
 * @param {Bytes} suite
 * @param {Bytes} salt
 * @param {string} label
 * @param {Bytes} ikm
 */
function labeledExtract(suite, salt, label, ikm) {
  return hmac(salt, concat(VERSION, suite, utf8(label), ikm));
}

/**
 * Section 4, for at most 32 bytes: one block of RFC 5869.
 * @param {Bytes} suite
 * @param {Bytes} prk
 * @param {string} label
 * @param {Bytes} info
 * @param {number} size
 */
function labeledExpand(suite, prk, label, info, size) {
  return hmac(prk, concat(bigEndian(size, 2), VERSION, suite, utf8(label), info, Uint8Array.of(1))).slice(0, size);
}

/**
 * RFC 2104 with SHA-256, for keys of at most 64 bytes.
 * @param {Bytes} key
 * @param {Bytes} message
 */
function hmac(key, message) {
  const inner = INNER_PAD.slice();
  const outer = OUTER_PAD.slice();
  for (let i = 0; i < key.length; i++) {
    inner[i] ^= key[i];
    outer[i] ^= key[i];
  }
  return sha256(outer, sha256(inner, message));
}

/**
 * @param {Bytes} nonce
 * @param {Bytes} aad
 */
function gcm(nonce, aad) {
  return { name: "AES-GCM", iv: nonce, additionalData: aad };
}

/**
 * What WebCrypto refuses is our error; whatever else was thrown stays what it is.
 * @param {unknown} error
 * @param {string} detail
 */
function refusal(error, detail) {
  return error instanceof DOMException ? new HpkeError(detail) : error;
}
