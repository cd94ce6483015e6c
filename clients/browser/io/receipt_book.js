/**
 * Receipts that the provider has not honoured yet: each owes us our own copy of what we sent, as it was signed.
 *
 * Knows nothing of connections. A receipt is settled once everything up to its epoch is verified: honoured, or a proof.
 * @module
 */

/** @import { Bytes } from "../protocol/bytes.js" */
/** @import { Bundle } from "../protocol/envelope.js" */
/** @import { Material } from "../protocol/evidence/material.js" */
/** @import { Receipt } from "../protocol/frames.js" */
/** @import { KeptReceipt } from "./evidence_store.js" */
/** @import { TrustStore } from "./trust_store.js" */
import { EMPTY, bigEndian, concat, readBigEndian, same } from "../protocol/bytes.js";
import { openBundle } from "../protocol/envelope.js";
import { accuseReceipt } from "../protocol/evidence/accuse.js";
import { EvidenceUnavailable } from "../protocol/evidence/material.js";
import { RECEIPT } from "../protocol/frames.js";
import { NO_EPOCH, makeSeqs, parseSeq } from "../protocol/identifiers.js";
import { messageLeaves } from "../protocol/statements.js";

/** Calls the store. */
export class ReceiptBook {
  /** @param {TrustStore} store */
  constructor(store) {
    this.store = store;
    this.waiting = store.receipts();
  }

  /**
   * A verified receipt for a bundle of ours.
   * @param {Bundle} bundle
   * @param {Receipt} receipt
   */
  add(bundle, receipt) {
    const kept = { first_seq: receipt.first_seq, bundle: bundle.encode(), receipt: RECEIPT.encode(receipt) };
    this.store.saveReceipt(kept);
    this.waiting.push(kept);
  }

  /** Of the first that waits; NO_EPOCH: none does. */
  get firstEpoch() {
    const epochs = this.waiting.map((kept) => parseSeq(kept.first_seq)[0]);
    return epochs.reduce((least, epoch) => (epoch < least ? epoch : least), NO_EPOCH);
  }

  /**
   * The proofs of those that are not honoured. `nextEpoch`: everything before it is verified.
   *
   * In the middle of catching up there is nothing yet to prove it with: then a receipt waits.
   * @param {bigint} nextEpoch
   * @param {Material} material
   */
  async settle(nextEpoch, material) {
    const proofs = [];
    for (const kept of this.waiting.filter((one) => parseSeq(one.first_seq)[0] < nextEpoch)) {
      let proof = null;
      try {
        proof = await this.check(kept, material);
      } catch (error) {
        if (!(error instanceof EvidenceUnavailable)) throw error;
        if (error.code === "evidence-future") continue;
        proof = null; // it was settled long ago, and came again
      }
      if (proof !== null) proofs.push(proof);
      this.store.dropReceipt(kept.first_seq);
      this.waiting = this.waiting.filter((one) => one !== kept);
    }
    return proofs;
  }

  /**
   * @param {KeptReceipt} kept
   * @param {Material} material
   * @returns {Promise<Bytes | null>}
   */
  async check(kept, material) {
    const bundle = await openBundle(kept.bundle, material.origin);
    const receipt = RECEIPT.decode(kept.receipt);
    const [epoch, lane, pos] = parseSeq(receipt.first_seq);
    const seqs = makeSeqs(epoch, lane, pos, bundle.count);
    const stored = this.store.chainLeaves(material.mailbox, seqBefore(seqs[0]), bundle.count);
    return same(stored, messageLeaves(bundle, seqs)) ? null : accuseReceipt(material, receipt, bundle);
  }
}

/**
 * The greatest seq below; empty: there is none.
 * @param {Bytes} seq
 */
function seqBefore(seq) {
  const before = readBigEndian(seq) - 1n;
  return before < 0n ? EMPTY : concat(bigEndian(before >> 64n, 8), bigEndian(BigInt.asUintN(64, before), 8));
}
