import { fromHex } from "../../../clients/browser/protocol/bytes.js";
import {
  SMALL_ORDER_KEYS,
  signatureInput,
  verifyRaw,
  verifyStrict,
} from "../../../clients/browser/protocol/signing.js";
import { signerOf } from "./private_keys.js";

export async function check(vectors, t) {
  for (const one of vectors.rfc_8032) {
    const signer = await signerOf(fromHex(one.seed));
    t.equal(signer.publicKey, one.public_key, "RFC 8032 public key");
    t.equal(await signer.signRaw(fromHex(one.message)), one.signature, "RFC 8032 signature");
  }
  t.equal([...SMALL_ORDER_KEYS].sort(), [...vectors.small_order_keys].sort(), "keys of small order");
  const signer = await signerOf(fromHex(vectors.seed));
  for (const { label, origin, body, input, signature } of vectors.inputs) {
    t.equal(signatureInput(label, fromHex(origin), fromHex(body)), input, `input of ${label}`);
    const signed = await signer.sign(label, fromHex(origin), fromHex(body));
    t.equal(signed.signature, signature, `signature of ${label}`);
    await verifyStrict(signer.publicKey, signed.signature, label, fromHex(origin), signed.body);
  }
  for (const { why, public_key, signature, message } of vectors.accepted) {
    await verifyRaw(fromHex(public_key), fromHex(signature), fromHex(message));
    t.equal(true, true, why);
  }
  for (const { why, public_key, signature, message, code } of vectors.refused) {
    await t.refuses(code, () => verifyRaw(fromHex(public_key), fromHex(signature), fromHex(message)), why);
  }
}
