/**
 * A delta that the follower refused, and what the provider stands by in it all the same.
 *
 * Knows nothing of peers but their ids. What a refused delta commits to may contradict what others were given: that is
 * how an altered message becomes a proof, though the altered message itself verifies nowhere.
 * @module
 */

/** @import { Bytes } from "../protocol/bytes.js" */
/** @import { Delta, RecipientLists } from "../protocol/delta.js" */
/** @import { Committed } from "../protocol/evidence/lenient.js" */
/** @import { Material } from "../protocol/evidence/material.js" */
/** @import { Testimony } from "../protocol/evidence/testimony.js" */
/** @import { Trusted } from "../protocol/trust.js" */
import { compare, equal, toHex } from "../protocol/bytes.js";
import { NoiseError } from "../protocol/errors.js";
import { testifyRefused } from "../protocol/evidence/accuse.js";
import { committedLeaves, finder } from "../protocol/evidence/lenient.js";
import { EvidenceUnavailable } from "../protocol/evidence/material.js";
import { MESSAGE_LEAF } from "../protocol/statements.js";

const SEQS_MAX = 64;
const PEERS_MAX = 64;

/** With what was trusted and kept when it came. */
export class Refused {
  /**
   * @param {Trusted} trusted
   * @param {Delta} delta
   * @param {RecipientLists} lists
   * @param {Material} material
   */
  constructor(trusted, delta, lists, material) {
    this.trusted = trusted;
    this.delta = delta;
    this.lists = lists;
    this.material = material;
    this.committed = committedBy(delta, lists, material);
  }

  /**
   * What the provider stands by there, though it does not verify. Throws EvidenceUnavailable.
   * @param {Bytes} seq
   * @param {Bytes} peer
   * @returns {Promise<Testimony>}
   */
  async testify(seq, peer) {
    return testifyRefused(this.trusted, this.delta, this.lists, seq, peer, this.material);
  }

  /**
   * To compare with what `peer` has there: also about a message that is for others, as we were shown it.
   * @param {Bytes} seq
   * @param {Bytes} peer
   */
  async testifyAgainst(seq, peer) {
    try {
      return await this.testify(seq, peer);
    } catch (error) {
      if (!(error instanceof EvidenceUnavailable) || error.code !== "evidence-private") throw error;
      return this.testify(seq, this.material.mailbox);
    }
  }

  /** Of the messages that it commits to. */
  get seqs() {
    return this.committed.map((one) => MESSAGE_LEAF.decode(one.leaf).seq).slice(0, SEQS_MAX);
  }

  /** Who should have messages that it commits to. */
  get peers() {
    const found = new Map(this.committed.flatMap((one) => one.recipients.device_ids.map((id) => [toHex(id), id])));
    const others = [...found.values()].filter((id) => !equal(id, this.material.mailbox));
    return others.sort(compare).slice(0, PEERS_MAX);
  }
}

/**
 * @param {Delta} delta
 * @param {RecipientLists} lists
 * @param {Material} material
 */
function committedBy(delta, lists, { origin, mailbox }) {
  /** @type {Committed[]} */
  const found = [];
  for (const entry of delta.history) {
    try {
      found.push(...committedLeaves(entry, origin, mailbox, finder(delta, lists)));
    } catch (error) {
      if (!(error instanceof NoiseError)) throw error;
    }
  }
  return found;
}
