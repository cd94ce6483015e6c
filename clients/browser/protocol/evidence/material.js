/**
 * What a client keeps of its provider's word about one mailbox, and how that is opened again.
 *
 * Knows nothing of where it is kept, nor of when something may be forgotten, nor of who asks.
 * @module
 */

/** @import { Bytes } from "../bytes.js" */
/** @import { DeltaShared, OtherLeaf, SignedRoster } from "../delta.js" */
/** @import { RecipientSet } from "../envelope.js" */
/** @import { MailboxState } from "../history.js" */
/** @import { CompactRange, NodeSource } from "../merkle.js" */
/** @import { Signed } from "../signing.js" */
/** @import { Trusted } from "../trust.js" */
/** @import { LeafOpening, PlacedLeaf, RecipientOpening, RecordOpening, StateOpening } from "./openings.js" */
import { EMPTY, equal } from "../bytes.js";
import { recipientLeafHashes } from "../envelope.js";
import { NoiseError, ProofError } from "../errors.js";
import { MAILBOX_STATE } from "../history.js";
import { Tree, inclusionProof, leafHashes } from "../merkle.js";
import { hasher } from "../signing.js";
import { EPOCH_RECORD, hashRoster } from "../statements.js";
import { patchwork } from "./patchwork.js";

const hashSalt = hasher("rsalt");

/** What is kept does not suffice. It says nothing about the provider; the code says why. */
export class EvidenceUnavailable extends NoiseError {
  static defaultCode = "evidence-dropped";
}

/**
 * What a client keeps about one mailbox.
 *
 * `trusted`: the latest. `base`: the history records that are not kept any more. `records`: the encoded HistoryRecords
 * from `base.size` on, up to `trusted.delivered`. `leaves_of(k)`: the encoded MessageLeaves of record k, in order.
 * `recipients_of(recipientsRoot)`: a recipient list. For what was forgotten these two give nothing, and null.
 * @typedef {object} Material
 * @property {Bytes} origin
 * @property {Bytes} mailbox
 * @property {Trusted} trusted
 * @property {CompactRange} base
 * @property {readonly Bytes[]} records
 * @property {(k: bigint) => readonly Bytes[]} leaves_of
 * @property {(recipientsRoot: Bytes) => RecipientSet | null} recipients_of
 */

/**
 * A mailbox's history up to a signed state, as far as it is known, with the rosters that verify it.
 *
 * `opening` opens `state` (null: there is none). `records[i]` is record `first_index + i`; `nodes`: of their tree.
 * `leaves_of`, `recipients_of`: as in Material.
 */
export class Attested {
  /**
   * @param {object} members
   * @param {SignedRoster[]} members.rosters
   * @param {StateOpening} members.opening
   * @param {MailboxState | null} members.state
   * @param {bigint} members.first_index
   * @param {readonly Bytes[]} members.records
   * @param {NodeSource} members.nodes
   * @param {(k: bigint) => readonly Bytes[]} members.leaves_of
   * @param {(recipientsRoot: Bytes) => RecipientSet | null} members.recipients_of
   */
  constructor({ rosters, opening, state, first_index, records, nodes, leaves_of, recipients_of }) {
    this.rosters = rosters;
    this.opening = opening;
    this.state = state;
    this.first_index = first_index;
    this.records = records;
    this.nodes = nodes;
    this.leaves_of = leaves_of;
    this.recipients_of = recipients_of;
  }

  get mailbox() {
    return this.opening.mailbox;
  }

  /** As of this epoch. */
  get epoch() {
    return this.opening.head.log.place;
  }

  /** Of the first record that is not known. */
  get nextIndex() {
    return this.first_index + BigInt(this.records.length);
  }

  /**
   * Throws ProofError when the record, or a part of the tree that its proof needs, is not known.
   * @param {bigint} index
   * @returns {RecordOpening}
   */
  record(index) {
    if (this.state === null || index < this.first_index || index >= this.nextIndex) {
      throw new ProofError(`record ${index} is not known`, "unknown-node");
    }
    const proof = inclusionProof(this.nodes, index, this.state.hist_size);
    return { state: this.opening, place: index, record: this.records[Number(index - this.first_index)], proof };
  }

  /**
   * Leaf `place` of record `index`. Throws ProofError as `record` does.
   * @param {bigint} index
   * @param {number} place
   * @returns {LeafOpening}
   */
  leaf(index, place) {
    return { record: this.record(index), ...placeLeaf(this.leaves_of(index), place) };
  }
}

/**
 * The one that an encoded epoch record names, if it is among them. Throws DecodeError.
 * @param {Bytes} record
 * @param {readonly Signed[]} rosters
 * @returns {SignedRoster[]}
 */
export function rosterOf(record, rosters) {
  const wanted = EPOCH_RECORD.decode(record).roster_hash;
  return rosters.filter((signed) => equal(hashRoster(signed.body), wanted)).slice(0, 1);
}

/**
 * The state of a mailbox, encoded or empty, with all that leads to it from the checkpoint. Throws DecodeError.
 * @param {DeltaShared} shared
 * @param {readonly Bytes[]} logProof
 * @param {Bytes} mailbox
 * @param {Bytes} state
 * @param {readonly Bytes[]} path
 * @param {OtherLeaf | null} other
 * @returns {StateOpening}
 */
export function openShared(shared, logProof, mailbox, state, path, other) {
  const place = EPOCH_RECORD.decode(shared.record).epoch;
  const log = { note: shared.note, place, record: shared.record, proof: [...logProof] };
  return { head: { log, head: shared.head, proof: shared.head_proof }, mailbox, state, path: [...path], other };
}

/**
 * What a client has trusted. Throws EvidenceUnavailable when that is nothing yet.
 * @param {Material} material
 */
export function attested(material) {
  const { mailbox, trusted, base, records, leaves_of, recipients_of } = material;
  if (trusted.shared === null) throw new EvidenceUnavailable("no epoch was verified yet", "evidence-future");
  const state = trusted.state ? MAILBOX_STATE.encode(trusted.state) : EMPTY;
  return new Attested({
    rosters: rosterOf(trusted.shared.record, trusted.rosters),
    opening: openShared(trusted.shared, trusted.log_proof, mailbox, state, trusted.path, trusted.other),
    state: trusted.state,
    first_index: base.size,
    records,
    nodes: patchwork(base, leafHashes(records)),
    leaves_of,
    recipients_of,
  });
}

/**
 * Leaf `index` of all those of a record. Throws ProofError when there is no such leaf.
 * @param {readonly Bytes[]} leaves
 * @param {number} index
 * @returns {PlacedLeaf}
 */
export function placeLeaf(leaves, index) {
  const proof = new Tree(leafHashes(leaves)).inclusion(BigInt(index));
  return { place: index, leaf: leaves[index], proof };
}

/**
 * Recipient `index` of a list: nothing is said about the others. Throws ProofError when there is no such recipient.
 * @param {RecipientSet} recipients
 * @param {number} index
 * @returns {RecipientOpening}
 */
export function openDevice({ env_salt, device_ids }, index) {
  const proof = new Tree(recipientLeafHashes(env_salt, device_ids)).inclusion(BigInt(index));
  return {
    device_id: device_ids[index],
    salt: hashSalt(env_salt, device_ids[index]).slice(0, 16),
    place: index,
    proof,
  };
}
