/**
 * From what a client has to a proof that convicts: one function for each thing that it may have.
 *
 * Knows nothing of what counts as a contradiction. It proposes findings, and `makeProof` judges: whatever leaves here was
 * verified as a stranger would verify it. null: nothing can be proven from this alone, which does not acquit.
 * @module
 */

/** @import { Bytes } from "../bytes.js" */
/** @import { Delta, RecipientLists, SignedRoster } from "../delta.js" */
/** @import { Bundle, Recipients } from "../envelope.js" */
/** @import { Receipt } from "../frames.js" */
/** @import { Signed } from "../signing.js" */
/** @import { Trusted } from "../trust.js" */
/** @import { PlainFinding } from "./kinds.js" */
/** @import { Material } from "./material.js" */
/** @import { CommittedLeaf, LogOpening } from "./openings.js" */
/** @import { Finding } from "./proof.js" */
/** @import { Testimony } from "./testimony.js" */
import { EMPTY, equal } from "../bytes.js";
import { ENVELOPE } from "../envelope.js";
import { NoiseError } from "../errors.js";
import { makeSeqs, parseSeq } from "../identifiers.js";
import { leafHashes, proveSubset } from "../merkle.js";
import { MESSAGE_LEAF, ROSTER, hashRoster, messageLeaves } from "../statements.js";
import { EvidenceUnavailable, openDevice } from "./material.js";
import { makeProof } from "./proof.js";
import { keptAlone, keptBefore, openRefusal } from "./refusals.js";
import { logFindings, refusalFindings } from "./suspicions.js";
import { checkTestimony, testify, testifyFrom } from "./testimony.js";

/**
 * The proof of the first of these findings that proves anything.
 * @param {Bytes} origin
 * @param {readonly SignedRoster[]} rosters
 * @param {Iterable<Finding>} findings
 * @returns {Promise<Bytes | null>}
 */
export async function firstProof(origin, rosters, findings) {
  for (const finding of findings) {
    try {
      return await makeProof(origin, rosters, finding);
    } catch (error) {
      if (!(error instanceof NoiseError)) throw error;
    }
  }
  return null;
}

/**
 * LogFork, or InvalidRecord, from two views of the log, each a checkpoint note or an epoch record under one.
 *
 * `rosters`: at least those that name the log keys and that the records name.
 * @param {Bytes} origin
 * @param {readonly SignedRoster[]} rosters
 * @param {LogOpening | Bytes} ours
 * @param {LogOpening | Bytes} theirs
 */
export async function accuseLogs(origin, rosters, ours, theirs) {
  return await firstProof(origin, rosters, logFindings(ours, theirs));
}

/**
 * ManifestEquivocation, from two signed manifests.
 * @param {Bytes} origin
 * @param {readonly SignedRoster[]} rosters
 * @param {Signed} one
 * @param {Signed} other
 */
export async function accuseManifests(origin, rosters, one, other) {
  return await firstProof(origin, rosters, [{ kind: "ManifestEquivocation", body: { one, other } }]);
}

/**
 * StageEquivocation, from two signed heads.
 * @param {Bytes} origin
 * @param {readonly SignedRoster[]} rosters
 * @param {Signed} one
 * @param {Signed} other
 */
export async function accuseHeads(origin, rosters, one, other) {
  return await firstProof(origin, rosters, [{ kind: "StageEquivocation", body: { one, other } }]);
}

/**
 * AlteredMessage, from a message that was delivered to somebody, and a bundle from which it claims to be.
 * @param {Bytes} origin
 * @param {Testimony} theirs
 * @param {Bundle} bundle
 */
export async function accuseBundle(origin, theirs, bundle) {
  const { delivered, rosters } = theirs;
  if (delivered === null) return null;
  return await firstProof(origin, rosters, bundleFindings({ sequenced: null, delivered }, delivered.leaf, bundle));
}

/**
 * @param {CommittedLeaf} message
 * @param {Bytes} encoded
 * @param {Bundle} bundle
 * @returns {Generator<PlainFinding>}
 */
function* bundleFindings(message, encoded, bundle) {
  const leaf = MESSAGE_LEAF.decode(encoded);
  const nothing = { message, envelope: EMPTY, header: EMPTY, places: [], env_hashes: [], proof: [] };
  const at = bundle.env_hashes.findIndex((hash) => equal(hash, leaf.env_hash));
  if (at >= 0) yield { kind: "AlteredMessage", body: { ...nothing, envelope: envelopeOf(bundle, at) } };
  if (!equal(leaf.bundle_hash, bundle.bundle_hash)) return;
  yield { kind: "AlteredMessage", body: { ...nothing, header: bundle.body } };
  const place = leaf.sender_ctr - bundle.first_ctr;
  if (place < 0n || place >= BigInt(bundle.count)) return;
  const places = [Number(place)];
  const env_hashes = [bundle.env_hashes[Number(place)]];
  const proof = proveSubset(bundle.tree(), [place]);
  yield { kind: "AlteredMessage", body: { ...nothing, header: bundle.body, places, env_hashes, proof } };
}

/**
 * The encoded envelope of a bundle's message, which never travels.
 * @param {Bundle} bundle
 * @param {number} index
 */
export function envelopeOf(bundle, index) {
  const row = bundle.rows[index];
  const recipients = bundle.recipients[row.set_index];
  const n_recipients = recipients.device_ids.length;
  return ENVELOPE.encode({
    sender: bundle.sender,
    sender_ctr: bundle.first_ctr + BigInt(index),
    recipients_root: recipients.root,
    n_recipients,
    common_len: row.common_len,
    payload_hash: bundle.payload_hashes[index],
    n_ciphertexts: row.ciphertext_len ? n_recipients : 0,
    ciphertexts_root: bundle.ciphertexts_roots[index],
    created_ms: row.created_ms,
  });
}

/**
 * Omission or Conflict, from a receipt for our own bundle that our own mailbox contradicts. null: it was honoured.
 *
 * Throws EvidenceUnavailable when nothing is proven and the mailbox, or the rosters that are kept, do not cover all of
 * the bundle's messages: `evidence-future` while its epoch is not verified.
 * @param {Material} material
 * @param {Receipt} receipt
 * @param {Bundle} bundle
 * @returns {Promise<Bytes | null>}
 */
export async function accuseReceipt(material, receipt, bundle) {
  const [epoch, lane, first_pos] = parseSeq(receipt.first_seq);
  const signed = rosterInForce(material.trusted, epoch);
  /** @type {EvidenceUnavailable | null} */
  let unavailable = null;
  const leaves = messageLeaves(bundle, makeSeqs(epoch, lane, first_pos, bundle.count));
  const leaf_hashes = leafHashes(leaves);
  const roster_hash = hashRoster(signed.body);
  const { manifest, proof } = receipt;
  for (const [place, leaf] of leaves.entries()) {
    const sequenced = { manifest, roster_hash, first_pos, leaf_hashes, place, leaf, proof };
    const recipients = bundle.recipients[bundle.rows[place].set_index];
    let ours;
    try {
      ours = testify(material, MESSAGE_LEAF.decode(leaf).seq, material.mailbox);
    } catch (error) {
      if (!(error instanceof EvidenceUnavailable)) throw error;
      unavailable ??= error;
      continue;
    }
    const findings = receiptFindings({ sequenced, delivered: null }, recipients, ours, material.mailbox);
    const found = await firstProof(material.origin, [...ours.rosters, signed], findings);
    if (found !== null) return found;
  }
  if (unavailable !== null) throw unavailable;
  return null;
}

/**
 * @param {CommittedLeaf} sequenced
 * @param {Recipients} recipients
 * @param {Testimony} ours
 * @param {Bytes} mailbox
 * @returns {Generator<PlainFinding>}
 */
function* receiptFindings(sequenced, recipients, ours, mailbox) {
  const { delivered, absent } = ours;
  if (delivered !== null) yield { kind: "Conflict", body: { one: sequenced, other: { sequenced: null, delivered } } };
  const place = recipients.index(mailbox);
  if (absent !== null && place >= 0) {
    const recipient = openDevice(recipients, place);
    yield { kind: "Omission", body: { message: sequenced, recipient, absence: absent } };
  }
}

/**
 * @param {Trusted} trusted
 * @param {bigint} epoch
 * @returns {SignedRoster}
 */
function rosterInForce(trusted, epoch) {
  const found = trusted.rosters.findLast((signed) => ROSTER.decode(signed.body).valid_from_epoch <= epoch);
  if (found === undefined) throw new EvidenceUnavailable(`the roster of epoch ${epoch} is not kept`);
  return found;
}

/**
 * Whatever a delta that the follower refused proves, with what was trusted before it.
 *
 * `lists`: what the connection had brought before. `kept`: what else is there of the mailbox, in which an earlier
 * message may contradict a new one. A delta damaged on its way proves nothing: only what is signed counts.
 * @param {Trusted} trusted
 * @param {Delta} delta
 * @param {Bytes} origin
 * @param {Bytes} mailbox
 * @param {RecipientLists} lists
 * @param {Material | null} [kept]
 */
export async function accuseRefusal(trusted, delta, origin, mailbox, lists, kept = null) {
  const before = keptBefore(trusted, kept ?? keptAlone(trusted, origin, mailbox));
  const refusal = await openRefusal(before, delta, lists);
  return await firstProof(origin, refusal.rosters, refusalFindings(refusal, trusted.shared, delta.shared));
}

/**
 * `testify` from a delta that the follower refused: what the provider stands by there, for a peer to contradict it.
 *
 * Throws EvidenceUnavailable as `testify` does, and `evidence-unsigned` when no signature leads to it.
 * @param {Trusted} trusted
 * @param {Delta} delta
 * @param {RecipientLists} lists
 * @param {Bytes} seq
 * @param {Bytes} peer
 * @param {Material} kept
 */
export async function testifyRefused(trusted, delta, lists, seq, peer, kept) {
  const { theirs } = await openRefusal(keptBefore(trusted, kept), delta, lists);
  if (theirs === null) throw new EvidenceUnavailable("nothing in this delta is signed", "evidence-unsigned");
  const testimony = testifyFrom(theirs, seq, peer);
  try {
    await checkTestimony(testimony, kept.origin, kept.mailbox, seq);
  } catch (error) {
    if (!(error instanceof NoiseError)) throw error;
    throw new EvidenceUnavailable("no signature leads to it", "evidence-unsigned");
  }
  return testimony;
}
