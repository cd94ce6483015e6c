/**
 * Domain-separated hashes and strict Ed25519: one set of rules for server, clients and offline verifier.
 *
 * Knows nothing of what is hashed or signed, and nothing of where keys are kept.
 *
 * `TAG(x) = SHA-256("noise-seq/1/" || x)`; `H(x, m) = SHA-256(TAG("h/" x) || m)`;
 * signature input = `TAG("sig/" type) || origin[32] || u32 len || body`, signed with pure Ed25519 (RFC 8032).
 * One key has one role. A signature is never an identifier; `H` of the body is.
 *
 * Hashes are made at once, signatures by WebCrypto in its own time: what awaits here checks or makes a signature.
 * @module
 */

/** @import { Bytes } from "./bytes.js" */
/** @import { ValueOf } from "./encoding.js" */
import { sha256 as nobleSha256 } from "../vendor/noble-hashes/sha2.js";
import { bigEndian, concat, toHex, utf8 } from "./bytes.js";
import { BYTES64, VEC16, structCodec } from "./encoding.js";
import { SignatureError } from "./errors.js";

const HASH_NAMES =
  "bundle challenge commit complaint ct device env head manifest mapkey merge open origin pair payload rcpt roster " +
  "route rsalt seal state";
export const HASH_LABELS = new Set(HASH_NAMES.split(" "));
export const SIGNATURE_LABELS = new Set([
  ...["ack", "admission", "auth", "bundle", "challenge", "gossip", "head", "manifest", "merge", "open", "prekey"],
  ...["roster", "route", "view"],
]);

export const SUITE_ED25519 = 1;

const P = 2n ** 255n - 19n;
const ORDER_8_Y = 55188659117513257062467267217118295137698188065244968500265048394206261417927n;
const SMALL_ORDER_Y = [0n, 1n, P - 1n, ORDER_8_Y, P - ORDER_8_Y];

/** Public keys that stay imported: some 100 KB. */
const IMPORTED_MAX = 256;

/**
 * The 14 encodings of the 8 points of small order, in hex: five y, y + p where that fits, each with both sign bits.
 *
 * Sources: libsodium's `ge25519_has_small_order`; "Taming the many EdDSAs" (2020), table 1.
 */
function smallOrderEncodings() {
  const ys = SMALL_ORDER_Y.flatMap((y) => [y, y + P]).filter((y) => y < 2n ** 255n);
  return new Set(ys.flatMap((y) => [y, y | (1n << 255n)]).map((y) => toHex(littleEndian(y))));
}

/** @param {bigint} value */
function littleEndian(value) {
  return Uint8Array.from({ length: 32 }, (_, i) => Number((value >> BigInt(8 * i)) & 255n));
}

export const SMALL_ORDER_KEYS = smallOrderEncodings();

/**
 * SHA-256 of byte strings, joined.
 * @param {...Uint8Array} parts
 * @returns {Bytes}
 */
export function sha256(...parts) {
  return /** @type {Bytes} */ (nobleSha256(parts.length === 1 ? parts[0] : concat(...parts)));
}

/**
 * `SHA-256("noise-seq/1/" || name)`.
 * @param {string} name
 */
export function tag(name) {
  return sha256(utf8(`noise-seq/1/${name}`));
}

/**
 * `m -> H(label, m)`, 32 bytes. The label is one of HASH_LABELS. Several parts are joined.
 * @param {string} label
 * @returns {(...message: Uint8Array[]) => Bytes}
 */
export function hasher(label) {
  if (!HASH_LABELS.has(label)) throw new TypeError(`no hash is labelled ${label}`);
  const prefix = tag(`h/${label}`);
  return (...message) => sha256(prefix, ...message);
}

const SIGNATURE_TAGS = new Map([...SIGNATURE_LABELS].map((label) => [label, tag(`sig/${label}`)]));

/**
 * The bytes that are signed for `body`, of the type `label` (one of SIGNATURE_LABELS), at `origin`.
 *
 * Throws SignatureError when the origin is not 32 bytes: bytes could move between it and the body.
 * @param {string} label
 * @param {Uint8Array} origin
 * @param {Uint8Array} body
 */
export function signatureInput(label, origin, body) {
  const prefix = SIGNATURE_TAGS.get(label);
  if (prefix === undefined) throw new TypeError(`no signature is labelled ${label}`);
  if (origin.length !== 32) throw new SignatureError("an origin has 32 bytes", "wrong-origin");
  return concat(prefix, origin, bigEndian(body.length, 4), body);
}

/**
 * Refuse an Ed25519 key that is not 32 bytes, not canonical, or of small order. Throws SignatureError.
 *
 * Browsers load small-order keys, and for some of them one constant signature verifies every message.
 * @param {Uint8Array} key
 */
export function checkPublicKey(key) {
  if (key.length !== 32) throw new SignatureError("a public key has 32 bytes", "bad-key");
  if (SMALL_ORDER_KEYS.has(toHex(key))) throw new SignatureError("public key of small order", "bad-key");
  // y >= p = 2^255 - 19: the last 31 bytes are ones but for the sign, and the first is at least 0xed
  if (key[0] >= 0xed && key.subarray(1, 31).every((byte) => byte === 0xff) && (key[31] & 0x7f) === 0x7f) {
    throw new SignatureError("public key is not canonical", "bad-key");
  }
}

/** As WebCrypto has them, by key in hex, oldest first. @type {Map<string, CryptoKey>} */
const imported = new Map();

/**
 * The same few keys sign everything that a client hears.
 * @param {Bytes} key
 */
async function importKey(key) {
  const name = toHex(key);
  const known = imported.get(name);
  if (known !== undefined) return known;
  const made = await crypto.subtle.importKey("raw", key, "Ed25519", true, ["verify"]);
  imported.set(name, made);
  if (imported.size > IMPORTED_MAX) imported.delete(/** @type {string} */ (imported.keys().next().value));
  return made;
}

/**
 * Strict Ed25519 over bare bytes (for C2SP notes, which bring their own domain separation). Throws SignatureError.
 *
 * R of small order is refused, as WebCrypto demands and not every implementation of it does.
 * @param {Bytes} key
 * @param {Bytes} signature
 * @param {Bytes} message
 */
export async function verifyRaw(key, signature, message) {
  checkPublicKey(key);
  if (signature.length !== 64) throw new SignatureError("a signature has 64 bytes");
  const r = toHex(signature.subarray(0, 32));
  if (SMALL_ORDER_KEYS.has(r)) throw new SignatureError("a signature's R of small order");
  let verified = false;
  try {
    verified = await crypto.subtle.verify("Ed25519", await importKey(key), signature, message);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
  }
  if (!verified) throw new SignatureError("signature does not verify");
}

/**
 * Throws SignatureError unless `signature` is `key`'s strict signature of `body` as a `label` at `origin`.
 * @param {Bytes} key
 * @param {Bytes} signature
 * @param {string} label
 * @param {Bytes} origin
 * @param {Bytes} body
 */
export async function verifyStrict(key, signature, label, origin, body) {
  await verifyRaw(key, signature, signatureInput(label, origin, body));
}

/** Signed bytes, stored and forwarded verbatim, never re-serialised. */
export const SIGNED = structCodec("Signed", { body: VEC16, signature: BYTES64 });
/** @typedef {ValueOf<typeof SIGNED>} Signed */

/** A private key with the one role that it has. The key itself never leaves WebCrypto. */
export class Signer {
  /**
   * @param {CryptoKey} privateKey of Ed25519, usable for "sign"; may be non-extractable
   * @param {Bytes} publicKey 32 bytes
   */
  constructor(privateKey, publicKey) {
    this.privateKey = privateKey;
    this.publicKey = publicKey;
  }

  /** A new key that no script can read. */
  static async generate() {
    const pair = /** @type {CryptoKeyPair} */ (await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]));
    return new Signer(pair.privateKey, new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey)));
  }

  /**
   * @param {Bytes} message
   * @returns {Promise<Bytes>}
   */
  async signRaw(message) {
    return new Uint8Array(await crypto.subtle.sign("Ed25519", this.privateKey, message));
  }

  /**
   * @param {string} label
   * @param {Bytes} origin
   * @param {Bytes} body
   * @returns {Promise<Signed>}
   */
  async sign(label, origin, body) {
    return { body, signature: await this.signRaw(signatureInput(label, origin, body)) };
  }
}
