/**
 * What a receipt proves: that an inbox signed for the places of a bundle's messages in its lane.
 *
 * Knows nothing of trust: the caller says which rosters it has verified.
 * @module
 */

/** @import { Bytes } from "./bytes.js" */
/** @import { Bundle } from "./envelope.js" */
/** @import { Receipt } from "./frames.js" */
/** @import { Roster } from "./statements.js" */
import { equal, same } from "./bytes.js";
import { DecodeError, ProofError } from "./errors.js";
import { makeSeqs, parseActor, parseSeq } from "./identifiers.js";
import { leafHashes, rootFromSubset } from "./merkle.js";
import { MANIFEST, messageLeaves, verifyStatement } from "./statements.js";

/**
 * The positions (seq) of a bundle's messages, which a signed manifest commits to.
 *
 * Throws DecodeError, ProofError or SignatureError.
 * @param {Receipt} receipt
 * @param {Bundle} bundle
 * @param {Bytes} origin
 * @param {readonly Roster[]} rosters verified, in order
 */
export async function openReceipt(receipt, bundle, origin, rosters) {
  const manifest = MANIFEST.decode(receipt.manifest.body);
  const [epoch, lane, firstPos] = parseSeq(receipt.first_seq);
  const roster = rosters.findLast((one) => one.valid_from_epoch <= epoch);
  if (roster === undefined) throw new DecodeError("no roster is known for the epoch of the receipt", "no-roster");
  const inbox = roster.lanes.find((one) => one.lane === lane)?.inbox ?? null;
  if (!same([manifest.origin, manifest.epoch, manifest.lane, manifest.actor], [origin, epoch, lane, inbox])) {
    throw new ProofError("the manifest of another lane, origin or epoch", "wrong-manifest");
  }
  await verifyStatement(receipt.manifest, "manifest", roster, parseActor(manifest.actor), manifest.incarnation);
  if (firstPos + bundle.count > manifest.n_messages) {
    throw new ProofError("positions beyond the manifest", "wrong-manifest");
  }
  const seqs = makeSeqs(epoch, lane, firstPos, bundle.count);
  const hashes = leafHashes(messageLeaves(bundle, seqs));
  const positions = seqs.map((_, i) => BigInt(firstPos + i));
  const root = rootFromSubset(BigInt(manifest.n_messages), positions, hashes, receipt.proof);
  if (!equal(root, manifest.root)) throw new ProofError("the bundle is not in the manifest", "bad-receipt");
  return seqs;
}
