/**
 * Attested deltas: the bytes that carry an epoch to a mailbox, and how a recipient opens them.
 *
 * Knows nothing of trust: `follower.js` decides what to believe. A delta is a shared part, encoded once per epoch and
 * outbox, and an own part. Messages travel in sections, one per bundle; whatever follows from other fields is left out
 * and reconstructed.
 * @module
 */

/** @import { Bytes } from "./bytes.js" */
/** @import { ValueOf } from "./encoding.js" */
import { concat, toHex } from "./bytes.js";
import {
  BYTES16,
  BYTES32,
  BYTES64,
  HASHES,
  INDEXES,
  U16,
  U64,
  VEC16,
  VEC32,
  embedded,
  listOf,
  optional,
  structCodec,
} from "./encoding.js";
import {
  BUNDLE_HEADER,
  CIPHERTEXT_LEAF,
  ENVELOPE_ROW,
  RECIPIENT_SET,
  Recipients,
  checkLimits,
  checkSender,
  envelopeLeafHashes,
  hashBundle,
  hashCiphertext,
  hashEnvelopes,
  splitCommons,
} from "./envelope.js";
import { DecodeError, ProofError } from "./errors.js";
import { HISTORY_RECORD, MAILBOX_STATE } from "./history.js";
import { deviceIdOf, makeSeqs, parseSeq } from "./identifiers.js";
import {
  BUNDLE_MESSAGES_MAX,
  CONNECTION_RECIPIENT_IDS_MAX,
  EPOCH_MESSAGES_MAX,
  PAGE_RECORDS_MAX,
  ROSTERS_MAX,
} from "./limits.js";
import { EMPTY_ROOT, leafHash, rootFromSubset } from "./merkle.js";
import { verifyStrict } from "./signing.js";
import { EPOCH_HEAD, EPOCH_RECORD, MESSAGE_LEAF, ROSTER } from "./statements.js";

export const SIGNED_ROSTER = structCodec("SignedRoster", { body: embedded(ROSTER), signature: BYTES64 });
/** @typedef {ValueOf<typeof SIGNED_ROSTER>} SignedRoster */

export const SIGNED_HEAD = structCodec("SignedHead", { body: embedded(EPOCH_HEAD), signature: BYTES64 });
/** @typedef {ValueOf<typeof SIGNED_HEAD>} SignedHead */

/**
 * What one recipient gets of one bundle. `first_seq`: position of the bundle's envelope 0.
 *
 * `indexes`: which of the bundle's `n_envelopes`, strictly increasing; empty: all. `roots`: recipient roots that `rows`
 * refer to. `proof`: subset proof of the envelopes in the bundle's tree. Then the recipient's own part: `ciphertexts`
 * and, for each row that has one, `ciphertext_proofs` (its place in the envelope's tree).
 */
export const SECTION = structCodec("Section", {
  first_seq: BYTES16,
  key: BYTES32,
  first_ctr: U64,
  n_envelopes: U16,
  signature: BYTES64,
  indexes: INDEXES,
  roots: HASHES,
  rows: listOf(ENVELOPE_ROW, BUNDLE_MESSAGES_MAX),
  commons: VEC32,
  proof: HASHES,
  ciphertexts: VEC32,
  ciphertext_proofs: listOf(HASHES, BUNDLE_MESSAGES_MAX),
});
/** @typedef {ValueOf<typeof SECTION>} Section */

export const HISTORY_ENTRY = structCodec("HistoryEntry", {
  record: embedded(HISTORY_RECORD),
  sections: listOf(SECTION, EPOCH_MESSAGES_MAX),
});
/** @typedef {ValueOf<typeof HISTORY_ENTRY>} HistoryEntry */

/** A leaf of the state map that stands where the wanted key would be. */
export const OTHER_LEAF = structCodec("OtherLeaf", { key: BYTES32, value_hash: BYTES32 });
/** @typedef {ValueOf<typeof OTHER_LEAF>} OtherLeaf */

/** The same for every mailbox of one outbox in one epoch. `head_proof`: inclusion of the head in the record. */
export const DELTA_SHARED = structCodec("DeltaShared", {
  note: VEC16,
  record: embedded(EPOCH_RECORD),
  head: SIGNED_HEAD,
  head_proof: HASHES,
});
/** @typedef {ValueOf<typeof DELTA_SHARED>} DeltaShared */

/**
 * What a mailbox received up to an epoch, attested. Without history entries: a heartbeat.
 *
 * `log_hashes` extend the recipient's compact range of the log to the record; `rosters`: those it has not seen. `sets`:
 * recipient lists not yet sent on this connection. `state`: the mailbox's state, or empty when the map has none, with
 * its path. `tail_hashes` extend the recipient's history beyond the entries to the state's root, cut at the size of the
 * state it trusted before when the entries end before that.
 */
export const DELTA = structCodec("Delta", {
  shared: DELTA_SHARED,
  log_hashes: HASHES,
  rosters: listOf(SIGNED_ROSTER, ROSTERS_MAX),
  sets: listOf(RECIPIENT_SET),
  state: embedded(MAILBOX_STATE),
  path: HASHES,
  other: optional(OTHER_LEAF),
  history: listOf(HISTORY_ENTRY, PAGE_RECORDS_MAX),
  tail_hashes: HASHES,
});
/** @typedef {ValueOf<typeof DELTA>} Delta */

/**
 * One verified message. `ciphertext`: the recipient's own, or empty. `leaf`: its encoded MessageLeaf.
 * @typedef {object} Delivery
 * @property {Bytes} seq
 * @property {Bytes} sender
 * @property {bigint} sender_ctr
 * @property {bigint} created_ms
 * @property {Bytes} common
 * @property {Bytes} ciphertext
 * @property {Recipients} recipients
 * @property {Bytes} leaf
 */

/**
 * `own_ciphertexts`: position and hash of each.
 * @typedef {{ deliveries: Delivery[], own_ciphertexts: [seq: Bytes, hash: Bytes][] }} OpenedSection
 */

/**
 * @param {Section} section
 * @returns {number[]}
 */
function chosenOf(section) {
  const { indexes, n_envelopes } = section;
  if (!indexes.length) return Array.from({ length: n_envelopes }, (_, i) => i);
  const increasing = indexes.every((index, i) => i === 0 || indexes[i - 1] < index);
  if (!increasing || indexes[indexes.length - 1] >= n_envelopes || indexes.length === n_envelopes) {
    throw new DecodeError("section indexes are not a proper part of the bundle");
  }
  return indexes;
}

/**
 * Own ciphertext and ciphertexts root of each row.
 * @param {Section} section
 * @param {Bytes} mailbox
 * @param {readonly Recipients[]} recipients the mailbox is in each
 * @returns {[own: Bytes[], roots: Bytes[]]}
 */
function openCiphertexts(section, mailbox, recipients) {
  /** @type {Bytes[]} */
  const own = [];
  /** @type {Bytes[]} */
  const roots = [];
  let pos = 0;
  let nProofs = 0;
  for (const { set_index, ciphertext_len: size } of section.rows) {
    const ciphertext = section.ciphertexts.slice(pos, pos + size);
    pos += size;
    own.push(ciphertext);
    if (size) {
      const members = recipients[set_index];
      const leaf = leafHash(concat(CIPHERTEXT_LEAF, hashCiphertext(ciphertext)));
      const proof = section.ciphertext_proofs[nProofs++] ?? [];
      roots.push(rootFromSubset(BigInt(members.device_ids.length), [BigInt(members.index(mailbox))], [leaf], proof));
    } else {
      roots.push(EMPTY_ROOT);
    }
  }
  if (pos !== section.ciphertexts.length || nProofs < section.ciphertext_proofs.length) {
    throw new DecodeError("own ciphertexts do not fill their column");
  }
  return [own, roots];
}

/**
 * What a section's rows refer to, checked before anything is hashed: which envelopes of the bundle they are, the first
 * position, and the recipients.
 * @param {Section} section
 * @param {Bytes} mailbox
 * @param {bigint} epoch
 * @param {(root: Bytes) => Recipients} recipientsOf
 */
function checkReferences(section, mailbox, epoch, recipientsOf) {
  const chosen = chosenOf(section);
  const { rows, roots } = section;
  if (rows.length !== chosen.length) throw new DecodeError("section rows do not match its indexes");
  checkLimits(section.first_ctr, section.n_envelopes, rows);
  const used = [...new Set(rows.map((row) => row.set_index))];
  const inOrder = used.length === roots.length && used.every((place, i) => place === i);
  if (!inOrder || new Set(roots.map(toHex)).size !== used.length) {
    throw new DecodeError("recipient roots must stand in the order of their first use, each once");
  }
  const [firstEpoch, lane, firstPos] = parseSeq(section.first_seq);
  if (firstEpoch !== epoch) throw new DecodeError("section positions are outside of its epoch");
  const recipients = roots.map((root) => recipientsOf(root));
  if (recipients.some((members) => members.index(mailbox) < 0)) {
    throw new ProofError("a message for others in this mailbox", "not-a-recipient");
  }
  return { chosen, lane, firstPos, recipients };
}

/**
 * Reconstruct a section's messages and verify what needs no provider: bundle, signature, membership.
 *
 * `recipientsOf` finds a recipient list by its root. Throws DecodeError, ProofError, SignatureError, or Rejected for
 * what no provider may accept.
 * @param {Section} section
 * @param {Bytes} origin
 * @param {Bytes} mailbox
 * @param {bigint} epoch
 * @param {(root: Bytes) => Recipients} recipientsOf
 * @returns {Promise<OpenedSection>}
 */
export async function openSection(section, origin, mailbox, epoch, recipientsOf) {
  const { chosen, lane, firstPos, recipients } = checkReferences(section, mailbox, epoch, recipientsOf);
  const { rows, key, first_ctr, n_envelopes } = section;
  const commons = splitCommons(rows, section.commons);
  const [own, ciphertextsRoots] = openCiphertexts(section, mailbox, recipients);
  const sender = deviceIdOf(key);
  checkSender(sender, recipients);
  const ctrs = chosen.map((i) => first_ctr + BigInt(i));
  const [envHashes, payloadHashes] = hashEnvelopes(sender, ctrs, rows, recipients, commons, ciphertextsRoots);
  const indexes = chosen.map((i) => BigInt(i));
  const root = rootFromSubset(BigInt(n_envelopes), indexes, envelopeLeafHashes(envHashes), section.proof);
  const header = BUNDLE_HEADER.encode({ origin, sender, key, first_ctr, n_envelopes, root });
  await verifyStrict(key, section.signature, "bundle", origin, header);
  const bundleHash = hashBundle(header);
  const seqs = makeSeqs(epoch, lane, firstPos, n_envelopes);
  const deliveries = rows.map((row, i) => {
    const members = recipients[row.set_index];
    const seq = seqs[chosen[i]];
    const leaf = MESSAGE_LEAF.encode({
      seq,
      sender,
      sender_ctr: ctrs[i],
      env_hash: envHashes[i],
      bundle_hash: bundleHash,
      n_recipients: members.device_ids.length,
      recipients_root: members.root,
      payload_hash: payloadHashes[i],
      ciphertexts_root: ciphertextsRoots[i],
    });
    const { created_ms } = row;
    const common = commons[i];
    return { seq, sender, sender_ctr: ctrs[i], created_ms, common, ciphertext: own[i], recipients: members, leaf };
  });
  /** @type {[Bytes, Bytes][]} */
  const ownCiphertexts = deliveries
    .filter((delivery) => delivery.ciphertext.length)
    .map((delivery) => [delivery.seq, hashCiphertext(delivery.ciphertext)]);
  return { deliveries, own_ciphertexts: ownCiphertexts };
}

/**
 * The recipient lists that both ends of one push connection remember, by root.
 *
 * Both ends follow the same rule, so they forget the same lists at the same time: a delta brings lists that are
 * unknown, and after it they are admitted in order; beyond CONNECTION_RECIPIENT_IDS_MAX ids the oldest go.
 */
export class RecipientLists {
  constructor() {
    /** @type {Map<string, Recipients>} */
    this.lists = new Map();
    this.nIds = 0;
  }

  /**
   * @param {Bytes} root
   * @returns {Recipients | null}
   */
  get(root) {
    return this.lists.get(toHex(root)) ?? null;
  }

  /** @param {readonly Recipients[]} added */
  admit(added) {
    for (const recipients of added) {
      const root = toHex(recipients.root);
      if (this.lists.has(root)) continue;
      this.lists.set(root, recipients);
      this.nIds += recipients.device_ids.length;
    }
    for (const [root, oldest] of this.lists) {
      if (this.nIds <= CONNECTION_RECIPIENT_IDS_MAX) break;
      this.lists.delete(root);
      this.nIds -= oldest.device_ids.length;
    }
  }
}
