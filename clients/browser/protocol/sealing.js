/**
 * End-to-end encryption of one message: content once, its key once for each recipient, by HPKE to that one's prekey.
 *
 * Knows nothing of where keys are kept, of which prekey is chosen, or of what the content and the gossip say.
 *
 * The context names the message: origin, sender, counter and recipients. Both layers are bound to it, so that nothing
 * of one message opens as part of another, nor for another recipient. HPKE is RFC 9180 in base mode: it does not say
 * who sealed. That is said by the sender's signature of its bundle, under which every ciphertext here is hashed.
 *
 * AES-GCM does not commit to its key: for two keys there are ciphertexts that open under both, to different texts
 * (Dodis and others, "Fast Message Franking", 2018). So a commitment to the key stands in front of the content, and all
 * recipients that can open one common ciphertext read the same.
 * @module
 */

/** @import { Bytes } from "./bytes.js" */
/** @import { ValueOf } from "./encoding.js" */
/** @import { Recipients } from "./envelope.js" */
/** @import { AgreementKey } from "./hpke.js" */
import { bigEndian, concat, equal, toHex, zeros } from "./bytes.js";
import { BYTES16, Reader, VEC16, structCodec } from "./encoding.js";
import { DecodeError, NoiseError, Rejected } from "./errors.js";
import { HpkeError, openHpke, sealHpke } from "./hpke.js";
import { CIPHERTEXT_BYTES_MAX, MESSAGE_BYTES_MAX } from "./limits.js";
import { hasher, tag } from "./signing.js";

export const CONTENT_KEY_BYTES = 16;
export const PREKEY_ID_BYTES = 8;

/** The body is the application's. */
export const PAYLOAD_DATA = 1;
/** The body is for the SDK of the recipients, and no application sees it. */
export const PAYLOAD_GOSSIP = 2;
const KINDS = [PAYLOAD_DATA, PAYLOAD_GOSSIP];

export const COMMITMENT_BYTES = 32;
/** What a common ciphertext has more than its body: the commitment, the kind, the tag of AES-GCM. */
export const COMMON_OVERHEAD_BYTES = COMMITMENT_BYTES + 1 + 16;

/** A payload's body: its common ciphertext is then as long as may be. */
export const PAYLOAD_BODY_BYTES_MAX = MESSAGE_BYTES_MAX - COMMON_OVERHEAD_BYTES;

/** What a per-recipient ciphertext has more than its gossip: prekey id, encapsulation, tag, key, length. */
export const BOX_OVERHEAD_BYTES = PREKEY_ID_BYTES + 32 + 16 + CONTENT_KEY_BYTES + 2;

/** A box's gossip: its ciphertext is then as long as may be. */
export const GOSSIP_BYTES_MAX = CIPHERTEXT_BYTES_MAX - BOX_OVERHEAD_BYTES;

const NONCE = zeros(12); // every content key seals one payload
const BOX_TAG = tag("seal/box");
const hashContext = hasher("seal");
const hashCommitment = hasher("commit");

/** A ciphertext that was not sealed for this message, this recipient and this key, or not sealed at all. */
export class CannotOpen extends NoiseError {
  static defaultCode = "cannot-open";
}

/** A caller's mistake: a key for somebody who is no recipient, or none for one who is, or one of no use. */
export class CannotSeal extends NoiseError {
  static defaultCode = "cannot-seal";
}

/**
 * What a common ciphertext holds. `kind`: PAYLOAD_DATA or PAYLOAD_GOSSIP.
 * @typedef {{ kind: number, body: Bytes }} Payload
 */

/** What a per-recipient ciphertext holds, before zeros that make those of one message equally long. */
export const KEY_BOX = structCodec("KeyBox", { content_key: BYTES16, gossip: VEC16 });
/** @typedef {ValueOf<typeof KEY_BOX>} KeyBox */

/**
 * One recipient's prekey, by id (8 bytes) and X25519 public key (32 bytes), and the gossip that is for it alone.
 * @typedef {{ prekey_id: Bytes, public: Bytes, gossip: Bytes }} BoxFor
 */

/**
 * `H("seal", origin || sender || u64 ctr || recipients_root)`, 32 bytes: which message something is sealed for.
 * @param {Bytes} origin
 * @param {Bytes} sender
 * @param {bigint} ctr
 * @param {Bytes} recipientsRoot
 */
export function sealContext(origin, sender, ctr, recipientsRoot) {
  return hashContext(origin, sender, bigEndian(ctr, 8), recipientsRoot);
}

/**
 * [common ciphertext, per-recipient ciphertexts in the set's order, equally long].
 *
 * `contentKey`: 16 random bytes, fresh for every call: one key under two payloads gives both away, and lets anybody
 * forge. `boxes`: by device id in hex, for each of the set, the sender's own included, and for no other. HPKE draws its
 * own randomness from the system.
 *
 * Throws CannotSeal; Rejected with the codes of acceptance (`message-too-large`, `ciphertext-too-large`).
 * @param {Bytes} origin
 * @param {Bytes} sender
 * @param {bigint} ctr
 * @param {Recipients} recipients
 * @param {Payload} payload
 * @param {Bytes} contentKey
 * @param {ReadonlyMap<string, BoxFor>} boxes
 * @returns {Promise<[common: Bytes, ciphertexts: Bytes[]]>}
 */
export async function seal(origin, sender, ctr, recipients, payload, contentKey, boxes) {
  if (contentKey.length !== CONTENT_KEY_BYTES) throw new CannotSeal(`a content key has ${CONTENT_KEY_BYTES} bytes`);
  if (!KINDS.includes(payload.kind)) throw new CannotSeal(`no payload is of kind ${payload.kind}`);
  const given = recipients.device_ids.map((deviceId) => boxes.get(toHex(deviceId)));
  const ordered = given.filter((box) => box !== undefined);
  if (ordered.length !== given.length || ordered.length !== boxes.size) {
    throw new CannotSeal("needs a prekey for each recipient and for nobody else");
  }
  if (payload.body.length > PAYLOAD_BODY_BYTES_MAX) {
    throw new Rejected(
      `a message has at most ${PAYLOAD_BODY_BYTES_MAX} bytes before it is sealed`,
      "message-too-large",
    );
  }
  const gossipBytes = Math.max(...ordered.map((box) => box.gossip.length));
  if (gossipBytes > GOSSIP_BYTES_MAX) {
    throw new Rejected(`gossip has at most ${GOSSIP_BYTES_MAX} bytes a recipient`, "ciphertext-too-large");
  }
  const context = sealContext(origin, sender, ctr, recipients.root);
  const plain = concat(Uint8Array.of(payload.kind), payload.body);
  const key = await crypto.subtle.importKey("raw", contentKey, "AES-GCM", false, ["encrypt"]);
  const sealed = new Uint8Array(await crypto.subtle.encrypt(gcm(context), key, plain));
  const common = concat(hashCommitment(contentKey, context), sealed);
  const ciphertexts = await Promise.all(
    ordered.map((box, i) => sealBox(context, recipients.device_ids[i], contentKey, box, gossipBytes)),
  );
  return [common, ciphertexts];
}

/**
 * @param {Bytes} context
 * @param {Bytes} deviceId
 * @param {Bytes} contentKey
 * @param {BoxFor} box
 * @param {number} gossipBytes
 */
async function sealBox(context, deviceId, contentKey, box, gossipBytes) {
  if (box.prekey_id.length !== PREKEY_ID_BYTES) throw new CannotSeal(`a prekey id has ${PREKEY_ID_BYTES} bytes`);
  const keyBox = KEY_BOX.encode({ content_key: contentKey, gossip: box.gossip });
  const plain = concat(keyBox, zeros(gossipBytes - box.gossip.length));
  try {
    const sealed = await sealHpke(box.public, boxInfo(context, deviceId, box.prekey_id), plain);
    return concat(box.prekey_id, sealed);
  } catch (error) {
    if (!(error instanceof HpkeError)) throw error;
    throw new CannotSeal(`the prekey of device ${toHex(deviceId)} is no usable X25519 key`);
  }
}

/**
 * @param {Bytes} context
 * @param {Bytes} deviceId
 * @param {Bytes} prekeyId
 */
function boxInfo(context, deviceId, prekeyId) {
  return concat(BOX_TAG, context, deviceId, prekeyId);
}

/**
 * The id (8 bytes) of the prekey that a per-recipient ciphertext is for. Throws CannotOpen.
 * @param {Bytes} ciphertext
 */
export function sealedFor(ciphertext) {
  if (ciphertext.length < BOX_OVERHEAD_BYTES) throw new CannotOpen("too short for a per-recipient ciphertext");
  return ciphertext.slice(0, PREKEY_ID_BYTES);
}

/**
 * What was sealed for `deviceId`. `key`: the prekey that `sealedFor` names.
 *
 * `context` is that of `sealContext`, from the verified envelope. Throws CannotOpen.
 * @param {Bytes} context
 * @param {Bytes} deviceId
 * @param {Bytes} ciphertext
 * @param {AgreementKey} key
 * @returns {Promise<KeyBox>}
 */
export async function openBox(context, deviceId, ciphertext, key) {
  const prekeyId = sealedFor(ciphertext);
  let plain;
  try {
    plain = await openHpke(key, boxInfo(context, deviceId, prekeyId), ciphertext.slice(PREKEY_ID_BYTES));
  } catch (error) {
    if (!(error instanceof HpkeError)) throw error;
    throw new CannotOpen("not sealed for this message, this device and this prekey");
  }
  const reader = new Reader(plain);
  let box;
  try {
    box = KEY_BOX.read(reader);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    throw new CannotOpen(`sealed for this device, but no key box: ${error.detail}`);
  }
  if (plain.subarray(reader.pos).some((byte) => byte !== 0)) {
    throw new CannotOpen("sealed for this device, but padded with other than zeros");
  }
  return box;
}

/**
 * The one payload that a common ciphertext can hold. Throws CannotOpen.
 * @param {Bytes} context
 * @param {Bytes} common
 * @param {Bytes} contentKey
 * @returns {Promise<Payload>}
 */
export async function openCommon(context, common, contentKey) {
  if (common.length < COMMON_OVERHEAD_BYTES) throw new CannotOpen("too short for a common ciphertext");
  if (contentKey.length !== CONTENT_KEY_BYTES) throw new CannotOpen(`a content key has ${CONTENT_KEY_BYTES} bytes`);
  if (!equal(common.subarray(0, COMMITMENT_BYTES), hashCommitment(contentKey, context))) {
    throw new CannotOpen("the content is committed to another key or message");
  }
  const key = await crypto.subtle.importKey("raw", contentKey, "AES-GCM", false, ["decrypt"]);
  let plain;
  try {
    plain = new Uint8Array(await crypto.subtle.decrypt(gcm(context), key, common.slice(COMMITMENT_BYTES)));
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    throw new CannotOpen("the content was not sealed under its key");
  }
  if (!KINDS.includes(plain[0])) throw new CannotOpen(`no payload is of kind ${plain[0]}`);
  return { kind: plain[0], body: plain.slice(1) };
}

/** @param {Bytes} context */
function gcm(context) {
  return { name: "AES-GCM", iv: NONCE, additionalData: context };
}
