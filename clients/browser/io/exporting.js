/**
 * Signed views as files, for comparison where no connection leads: what a client writes, and how it reads a peer's.
 *
 * Knows nothing of files on a disk. The comparing itself is that of every other carrier.
 * @module
 */

/** @import { Bytes } from "../protocol/bytes.js" */
/** @import { LogOpening } from "../protocol/evidence/openings.js" */
/** @import { Testimony } from "../protocol/evidence/testimony.js" */
/** @import { ExportedSection, SharedTestimony } from "../protocol/exported_view.js" */
/** @import { CompactCheckpoint } from "../protocol/gossip.js" */
/** @import { Cut } from "../protocol/pair_chain.js" */
/** @import { PairWatch } from "./pair_watch.js" */
import { equal, toHex } from "../protocol/bytes.js";
import { TESTIMONY } from "../protocol/evidence/testimony.js";
import { EXPORTED_CHECKPOINTS_MAX, EXPORTED_ITEMS_MAX, answerFromView } from "../protocol/exported_view.js";
import { compact } from "../protocol/gossip.js";
import { CUT } from "../protocol/pair_chain.js";
import { ignoringNoise } from "./errors.js";

/** Of the last messages of a chain: a difference is likely there, and a round of files is saved. */
const TESTIMONIES = 8;

/**
 * The newest checkpoints that we hold, one of each size.
 * @param {LogOpening[]} openings
 * @returns {CompactCheckpoint[]}
 */
export function exportedCheckpoints(openings) {
  const bySize = new Map(openings.map((opening) => compact(opening.note)).map((one) => [one.size, one]));
  return [...bySize.values()].sort((a, b) => (a.size < b.size ? -1 : 1)).slice(-EXPORTED_CHECKPOINTS_MAX);
}

/**
 * For one peer: the end of our chain as far back as it is kept and fits, and what the provider said about its last
 * messages, and about the one that the peer's own file disputed.
 *
 * The peer may not know of a match that we know of. So the chain begins before it, and the cut that matched stands before
 * the newest one.
 * @param {PairWatch} pairs
 * @param {Bytes} peer
 * @param {(seq: Bytes, peer: Bytes) => Promise<Testimony>} testify
 * @returns {Promise<ExportedSection>}
 */
export async function exportedSection(pairs, peer, testify) {
  const baseLength = pairs.chains.known(peer, pairs.nextEpoch).base.length;
  const kept = pairs.chains.items(peer)(baseLength, Number.MAX_SAFE_INTEGER);
  const items = kept.slice(-EXPORTED_ITEMS_MAX);
  const matched = pairs.chains.matched(peer, pairs.nextEpoch);
  const cuts = uniqueCuts(matched ? [matched, ...pairs.cuts(peer)] : pairs.cuts(peer));
  const seqs = items.slice(-TESTIMONIES).map((item) => item.seq);
  const disputed = pairs.chains.disputedSeq(peer);
  const isMissing = disputed.length > 0 && !seqs.some((seq) => equal(seq, disputed));
  /** @type {SharedTestimony[]} */
  const testimonies = [];
  for (const seq of isMissing ? [disputed, ...seqs] : seqs) {
    await ignoringNoise(async () => {
      testimonies.push({ seq, testimony: TESTIMONY.encode(await testify(seq, peer)) });
    });
  }
  const first = baseLength + BigInt(kept.length - items.length);
  return { peer_id: peer, cuts, after_length: first, items, testimonies };
}

/** @param {Cut[]} cuts */
function uniqueCuts(cuts) {
  return [...new Map(cuts.map((cut) => [toHex(CUT.encode(cut)), cut])).values()];
}

/**
 * What comes of a cut in a peer's file, the file answering for its author.
 * @param {PairWatch} pairs
 * @param {Bytes} peer
 * @param {ExportedSection} section
 * @param {Cut} cut
 */
export async function compareSection(pairs, peer, section, cut) {
  let finding = await pairs.hearCut(peer, cut);
  while (finding.question?.type === "section-request" || finding.question?.type === "statement-request") {
    finding = await pairs.hearAnswer(peer, answerFromView(section, finding.question));
  }
  return finding;
}
