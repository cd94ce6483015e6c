/**
 * Private keys from known bytes: the browser client only ever makes keys up, and lets nobody read or choose one.
 *
 * Knows nothing of what they sign or open.
 * @module
 */

import { concat } from "../../../clients/browser/protocol/bytes.js";
import { AgreementKey } from "../../../clients/browser/protocol/hpke.js";
import { parseBase64url } from "../../../clients/browser/protocol/json_text.js";
import { Signer } from "../../../clients/browser/protocol/signing.js";

/** The 32 bytes of RFC 8032. */
export async function signerOf(seed) {
  return new Signer(...(await importKey("Ed25519", 0x70, seed, ["sign"])));
}

/** The 32 bytes of RFC 7748. */
export async function agreementKeyOf(privateBytes) {
  return new AgreementKey(...(await importKey("X25519", 0x6e, privateBytes, ["deriveBits"])));
}

/** RFC 8410, whose object identifiers of the two differ in one byte. Its public half is known to WebCrypto only. */
async function importKey(algorithm, identifier, privateBytes, usages) {
  const prefix = Uint8Array.of(0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, identifier, 4, 0x22, 4, 0x20);
  const key = await crypto.subtle.importKey("pkcs8", concat(prefix, privateBytes), algorithm, true, usages);
  const { x } = await crypto.subtle.exportKey("jwk", key);
  return [key, parseBase64url(x)];
}
