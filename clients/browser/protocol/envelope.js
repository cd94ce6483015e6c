/**
 * Messages: recipient sets, envelopes, and bundles that a device signs once.
 *
 * Knows nothing of epochs, positions or mailboxes. The bytes are `docs/protocol.md`, "Messages". On the wire everything
 * that follows from other fields is left out; `openBundle` reconstructs it and checks the one signature.
 * @module
 */

/** @import { Bytes } from "./bytes.js" */
/** @import { ValueOf } from "./encoding.js" */
/** @import { Signer } from "./signing.js" */
import { EMPTY, bigEndian, compare, concat, equal, toHex } from "./bytes.js";
import { BYTES16, BYTES32, BYTES64, HASHES, U16, U32, U64, VEC32, listOf, structCodec } from "./encoding.js";
import { DecodeError, Rejected } from "./errors.js";
import { deviceIdOf } from "./identifiers.js";
import {
  BUNDLE_BYTES_MAX,
  BUNDLE_CIPHERTEXTS_MAX,
  BUNDLE_MESSAGES_MAX,
  BUNDLE_RECIPIENT_IDS_MAX,
  CIPHERTEXT_BYTES_MAX,
  MESSAGE_BYTES_MAX,
  RECIPIENTS_MAX,
} from "./limits.js";
import { EMPTY_ROOT, Tree, leafHash, treeRoot } from "./merkle.js";
import { hasher, verifyStrict } from "./signing.js";

export const RECIPIENT_LEAF = bigEndian(16, 2);
export const ENVELOPE_LEAF = bigEndian(17, 2);
export const CIPHERTEXT_LEAF = bigEndian(18, 2);

export const hashEnvelope = hasher("env");
export const hashBundle = hasher("bundle");
export const hashCiphertext = hasher("ct");
const hashRecipient = hasher("rcpt");
const hashSalt = hasher("rsalt");
const hashPayload = hasher("payload");

/**
 * What a sender commits to for one message. `n_ciphertexts` is 0 (common ciphertext only) or `n_recipients`.
 */
export const ENVELOPE = structCodec(
  "Envelope",
  {
    sender: BYTES32,
    sender_ctr: U64,
    recipients_root: BYTES32,
    n_recipients: U16,
    common_len: U32,
    payload_hash: BYTES32,
    n_ciphertexts: U16,
    ciphertexts_root: BYTES32,
    created_ms: U64,
  },
  { recordType: 1 },
);
/** @typedef {ValueOf<typeof ENVELOPE>} Envelope */

/** What a device signs: `n_envelopes` envelopes with contiguous counters, and the root over their hashes. */
export const BUNDLE_HEADER = structCodec(
  "BundleHeader",
  { origin: BYTES32, sender: BYTES32, key: BYTES32, first_ctr: U64, n_envelopes: U16, root: BYTES32 },
  { recordType: 2 },
);
/** @typedef {ValueOf<typeof BUNDLE_HEADER>} BundleHeader */

/** Who receives (sorted, unique), and the salt that hides them in `recipients_root`; evidence never opens it. */
export const RECIPIENT_SET = structCodec("RecipientSet", { env_salt: BYTES16, device_ids: HASHES });
/** @typedef {ValueOf<typeof RECIPIENT_SET>} RecipientSet */

/** The part of an envelope that nothing else implies. `ciphertext_len` 0: no per-recipient ciphertexts. */
export const ENVELOPE_ROW = structCodec("EnvelopeRow", {
  set_index: U16,
  created_ms: U64,
  common_len: U32,
  ciphertext_len: U16,
});
/** @typedef {ValueOf<typeof ENVELOPE_ROW>} EnvelopeRow */

/**
 * A bundle as a device sends it. `sets` stand in the order of their first use.
 *
 * `commons`: the rows' common ciphertexts, joined. `ciphertexts`: for each row that has them, one of `ciphertext_len`
 * bytes for each recipient in the set's order, joined.
 */
export const BUNDLE_WIRE = structCodec("BundleWire", {
  origin: BYTES32,
  key: BYTES32,
  first_ctr: U64,
  signature: BYTES64,
  sets: listOf(RECIPIENT_SET),
  rows: listOf(ENVELOPE_ROW),
  commons: VEC32,
  ciphertexts: VEC32,
});
/** @typedef {ValueOf<typeof BUNDLE_WIRE>} BundleWire */

/** A recipient set whose root is computed. `device_ids` is sorted and unique. */
export class Recipients {
  /**
   * Throws Rejected when the set is empty, too large, unsorted or repeats, DecodeError when its parts have other
   * lengths. Costs four hashes a recipient.
   * @param {RecipientSet} recipientSet
   */
  constructor({ env_salt, device_ids }) {
    this.env_salt = env_salt;
    this.device_ids = device_ids;
    if (env_salt.length !== 16 || device_ids.some((id) => id.length !== 32)) {
      throw new DecodeError("a salt has 16 bytes, a device id 32");
    }
    if (!device_ids.length) throw new Rejected("a message needs recipients", "no-recipients");
    if (device_ids.length > RECIPIENTS_MAX) {
      throw new Rejected(`more than ${RECIPIENTS_MAX} recipients`, "too-many-recipients");
    }
    if (device_ids.some((id, i) => i > 0 && compare(device_ids[i - 1], id) >= 0)) {
      const repeats = new Set(device_ids.map(toHex)).size < device_ids.length;
      throw new Rejected(
        "recipients must be sorted and unique",
        repeats ? "duplicate-recipients" : "unsorted-recipients",
      );
    }
    this.root = treeRoot(recipientLeafHashes(env_salt, device_ids));
  }

  /**
   * The place of a device in the set, or -1.
   * @param {Bytes} deviceId
   */
  index(deviceId) {
    let low = 0;
    let high = this.device_ids.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compare(this.device_ids[middle], deviceId) < 0) low = middle + 1;
      else high = middle;
    }
    return low < this.device_ids.length && equal(this.device_ids[low], deviceId) ? low : -1;
  }
}

/**
 * Leaf hashes over `H("rcpt", salt_i || id)`, `salt_i = H("rsalt", env_salt || id)[:16]`: one opens alone.
 * @param {Bytes} envSalt
 * @param {readonly Bytes[]} deviceIds
 */
export function recipientLeafHashes(envSalt, deviceIds) {
  return deviceIds.map((id) =>
    leafHash(concat(RECIPIENT_LEAF, hashRecipient(hashSalt(envSalt, id).subarray(0, 16), id))),
  );
}

/**
 * Leaf hashes of equally long ciphertexts that stand joined; `size` is the length of one, in bytes.
 * @param {Bytes} ciphertexts
 * @param {number} size at least 1
 */
export function ciphertextLeafHashes(ciphertexts, size) {
  return Array.from({ length: Math.ceil(ciphertexts.length / size) }, (_, i) =>
    leafHash(concat(CIPHERTEXT_LEAF, hashCiphertext(ciphertexts.subarray(i * size, (i + 1) * size)))),
  );
}

/**
 * Leaf hashes of a bundle's tree.
 * @param {readonly Bytes[]} envHashes
 */
export function envelopeLeafHashes(envHashes) {
  return envHashes.map((hash) => leafHash(concat(ENVELOPE_LEAF, hash)));
}

/**
 * The joined common ciphertexts, apart. Throws DecodeError when lengths do not add up.
 * @param {readonly EnvelopeRow[]} rows
 * @param {Bytes} commons
 */
export function splitCommons(rows, commons) {
  const sizes = rows.map((row) => row.common_len);
  return split(sizes, commons, "common ciphertexts do not fill their column");
}

/**
 * @param {readonly number[]} sizes
 * @param {Bytes} joined
 * @param {string} complaint
 * @returns {Bytes[]}
 */
function split(sizes, joined, complaint) {
  const parts = [];
  let pos = 0;
  for (const size of sizes) {
    parts.push(joined.slice(pos, pos + size));
    pos += size;
  }
  if (pos !== joined.length) throw new DecodeError(complaint);
  return parts;
}

/**
 * The hash and payload hash of each envelope, from what the wire carries and what was reconstructed. Each row's
 * `set_index` must be one of `recipients`.
 * @param {Bytes} sender
 * @param {readonly bigint[]} ctrs
 * @param {readonly EnvelopeRow[]} rows
 * @param {readonly Recipients[]} recipients
 * @param {readonly Bytes[]} commons
 * @param {readonly Bytes[]} ciphertextsRoots
 * @returns {[envHashes: Bytes[], payloadHashes: Bytes[]]}
 */
export function hashEnvelopes(sender, ctrs, rows, recipients, commons, ciphertextsRoots) {
  const payloadHashes = commons.map((common) => hashPayload(common));
  const envHashes = rows.map((row, i) => {
    const { root, device_ids } = recipients[row.set_index];
    const envelope = {
      sender,
      sender_ctr: ctrs[i],
      recipients_root: root,
      n_recipients: device_ids.length,
      common_len: row.common_len,
      payload_hash: payloadHashes[i],
      n_ciphertexts: row.ciphertext_len ? device_ids.length : 0,
      ciphertexts_root: ciphertextsRoots[i],
      created_ms: row.created_ms,
    };
    return hashEnvelope(ENVELOPE.encode(envelope));
  });
  return [envHashes, payloadHashes];
}

/**
 * An opened or built bundle, with all that the wire leaves out, as columns.
 *
 * `ciphertext_columns[i]` is the joined per-recipient ciphertexts of row i (empty: none).
 */
export class Bundle {
  /**
   * Throws DecodeError. `rows` are within the limits, and of `recipients`.
   * @param {Bytes} origin
   * @param {Bytes} key
   * @param {bigint} firstCtr
   * @param {Recipients[]} recipients
   * @param {EnvelopeRow[]} rows
   * @param {Bytes[]} commons
   * @param {Bytes} ciphertexts
   */
  constructor(origin, key, firstCtr, recipients, rows, commons, ciphertexts) {
    this.origin = origin;
    this.key = key;
    this.sender = deviceIdOf(key);
    this.first_ctr = firstCtr;
    this.recipients = recipients;
    this.rows = rows;
    this.commons = commons;
    this.ciphertext_columns = splitCiphertexts(rows, recipients, ciphertexts);
    this.ciphertexts_roots = this.ciphertext_columns.map((column, i) =>
      column.length ? treeRoot(ciphertextLeafHashes(column, rows[i].ciphertext_len)) : EMPTY_ROOT,
    );
    const ctrs = rows.map((_, i) => firstCtr + BigInt(i));
    const hashes = hashEnvelopes(this.sender, ctrs, rows, recipients, commons, this.ciphertexts_roots);
    this.env_hashes = hashes[0];
    this.payload_hashes = hashes[1];
    this.envelopeTree = new Tree(envelopeLeafHashes(this.env_hashes));
    this.root = this.envelopeTree.root;
    const { sender, root } = this;
    this.body = BUNDLE_HEADER.encode({ origin, sender, key, first_ctr: firstCtr, n_envelopes: rows.length, root });
    this.bundle_hash = hashBundle(this.body);
    this.signature = EMPTY;
  }

  get count() {
    return this.rows.length;
  }

  /** The tree over the envelope hashes, for proofs of a part of the bundle. */
  tree() {
    return this.envelopeTree;
  }

  /** The wire form. Needs the signature. */
  encode() {
    return BUNDLE_WIRE.encode({
      origin: this.origin,
      key: this.key,
      first_ctr: this.first_ctr,
      signature: this.signature,
      sets: this.recipients.map(({ env_salt, device_ids }) => ({ env_salt, device_ids })),
      rows: this.rows,
      commons: concat(...this.commons),
      ciphertexts: concat(...this.ciphertext_columns),
    });
  }
}

/**
 * @param {readonly EnvelopeRow[]} rows
 * @param {readonly Recipients[]} recipients
 * @param {Bytes} ciphertexts
 */
function splitCiphertexts(rows, recipients, ciphertexts) {
  const sizes = rows.map((row) => row.ciphertext_len * recipients[row.set_index].device_ids.length);
  return split(sizes, ciphertexts, "per-recipient ciphertexts do not fill their column");
}

/**
 * One message to be bundled. `ciphertexts` is empty, or one per recipient in sorted order, equally long.
 * @typedef {{ recipients: Recipients, common: Bytes, ciphertexts: readonly Bytes[], created_ms: bigint }} Draft
 */

/**
 * Sign drafts as one bundle. The sender must be in every recipient set. Throws Rejected or DecodeError.
 * @param {Signer} signer
 * @param {Bytes} origin
 * @param {bigint} firstCtr
 * @param {readonly Draft[]} drafts
 */
export async function buildBundle(signer, origin, firstCtr, drafts) {
  /** @type {Recipients[]} */
  const recipients = [];
  /** @type {Map<string, number>} */
  const places = new Map();
  const rows = drafts.map((draft) => {
    const root = toHex(draft.recipients.root);
    const place = places.get(root) ?? recipients.push(draft.recipients) - 1;
    places.set(root, place);
    const sizes = draft.ciphertexts.map((ciphertext) => ciphertext.length);
    const isOneEach = sizes.length === draft.recipients.device_ids.length && sizes.every((size) => size === sizes[0]);
    if (sizes.length && (!isOneEach || !sizes[0])) {
      throw new DecodeError("ciphertexts are one for each recipient, equally long, and not empty");
    }
    return {
      set_index: place,
      created_ms: draft.created_ms,
      common_len: draft.common.length,
      ciphertext_len: sizes[0] ?? 0,
    };
  });
  checkLimits(firstCtr, rows.length, rows);
  const setSizes = recipients.map((members) => members.device_ids.length);
  checkCiphertexts(rows, setSizes);
  const commons = drafts.map((draft) => draft.common);
  const ciphertexts = concat(...drafts.flatMap((draft) => draft.ciphertexts));
  const bundle = new Bundle(origin, signer.publicKey, firstCtr, recipients, rows, commons, ciphertexts);
  checkSender(bundle.sender, recipients);
  bundle.signature = (await signer.sign("bundle", origin, bundle.body)).signature;
  return bundle;
}

/**
 * The limits of one bundle, of which `rows` are all or a part. Throws Rejected with a code of its own for each.
 * @param {bigint} firstCtr
 * @param {number} nEnvelopes
 * @param {readonly EnvelopeRow[]} rows
 */
export function checkLimits(firstCtr, nEnvelopes, rows) {
  if (!rows.length || nEnvelopes > BUNDLE_MESSAGES_MAX) {
    throw new Rejected(`a bundle has 1 to ${BUNDLE_MESSAGES_MAX} messages`, "bundle-count");
  }
  if (firstCtr + BigInt(nEnvelopes) > 2n ** 64n - 1n) {
    throw new Rejected("sender counter is exhausted", "counter-overflow");
  }
  if (rows.some((row) => row.common_len > MESSAGE_BYTES_MAX)) {
    throw new Rejected(`a message has at most ${MESSAGE_BYTES_MAX} bytes`, "message-too-large");
  }
  if (rows.some((row) => row.ciphertext_len > CIPHERTEXT_BYTES_MAX)) {
    throw new Rejected(`a ciphertext has at most ${CIPHERTEXT_BYTES_MAX} bytes`, "ciphertext-too-large");
  }
}

/**
 * A bundle's per-recipient ciphertexts are not too many to prove. Throws Rejected. Before anything is hashed.
 * @param {readonly EnvelopeRow[]} rows
 * @param {readonly number[]} setSizes
 */
function checkCiphertexts(rows, setSizes) {
  const count = rows.reduce((sum, row) => sum + (row.ciphertext_len ? setSizes[row.set_index] : 0), 0);
  if (count > BUNDLE_CIPHERTEXTS_MAX) {
    throw new Rejected(
      `a bundle has at most ${BUNDLE_CIPHERTEXTS_MAX} per-recipient ciphertexts`,
      "too-many-ciphertexts",
    );
  }
}

/**
 * A sender receives what it sends: it sees its own order. Throws Rejected.
 * @param {Bytes} sender
 * @param {readonly Recipients[]} recipients
 */
export function checkSender(sender, recipients) {
  if (recipients.some((members) => members.index(sender) < 0)) {
    throw new Rejected("the sender must be among the recipients", "sender-not-recipient");
  }
}

/** @param {BundleWire} wire */
function checkSets(wire) {
  const setSizes = wire.sets.map((recipientSet) => recipientSet.device_ids.length);
  if (setSizes.reduce((sum, size) => sum + size, 0) > BUNDLE_RECIPIENT_IDS_MAX) {
    throw new Rejected(`a bundle names at most ${BUNDLE_RECIPIENT_IDS_MAX} recipients`, "too-many-recipients");
  }
  const used = [...new Set(wire.rows.map((row) => row.set_index))];
  const distinct = new Set(wire.sets.map((recipientSet) => toHex(RECIPIENT_SET.encode(recipientSet))));
  if (used.length !== wire.sets.length || used.some((place, i) => place !== i) || distinct.size < wire.sets.length) {
    throw new DecodeError("recipient sets must stand in the order of their first use, once each");
  }
  checkCiphertexts(wire.rows, setSizes);
}

/**
 * Decode, reconstruct and verify a bundle that a device sent to `origin`.
 *
 * Throws DecodeError, SignatureError or Rejected.
 * @param {Uint8Array} data
 * @param {Bytes} origin
 */
export async function openBundle(data, origin) {
  if (data.length > BUNDLE_BYTES_MAX) {
    throw new Rejected(`a bundle has at most ${BUNDLE_BYTES_MAX} bytes`, "bundle-too-large");
  }
  const wire = BUNDLE_WIRE.decode(data);
  if (!equal(wire.origin, origin)) {
    throw new Rejected("the bundle is addressed to another provider", "wrong-origin");
  }
  checkLimits(wire.first_ctr, wire.rows.length, wire.rows);
  checkSets(wire);
  const recipients = wire.sets.map((recipientSet) => new Recipients(recipientSet));
  const commons = splitCommons(wire.rows, wire.commons);
  const bundle = new Bundle(origin, wire.key, wire.first_ctr, recipients, wire.rows, commons, wire.ciphertexts);
  checkSender(bundle.sender, bundle.recipients);
  await verifyStrict(wire.key, wire.signature, "bundle", origin, bundle.body);
  bundle.signature = wire.signature;
  return bundle;
}
