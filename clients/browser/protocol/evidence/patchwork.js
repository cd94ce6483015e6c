/**
 * A Merkle tree of which only some subtrees are known, as a source of nodes for proofs about the leaves that are.
 *
 * Knows nothing of what a leaf means. A client that forgot the beginning of its history has a compact range over it;
 * one that has not got the end yet has the hashes that extend it there. In between are leaves.
 * @module
 */

/** @import { Bytes } from "../bytes.js" */
/** @import { CompactRange, NodeSource } from "../merkle.js" */
import { ProofError } from "../errors.js";
import { nodeHash, subtreeSpans } from "../merkle.js";

/**
 * Nodes of the tree that begins with `base` and goes on with these leaves, and then with unknown ones.
 *
 * `after`: what `CompactRange.extend` takes to get there, one behind the other. A perfect subtree that straddles pieces
 * is computed from its halves, once.
 * Throws ProofError for too few or too many hashes, and so does the source for what does not follow from them.
 * @param {CompactRange} base
 * @param {readonly Bytes[]} leafHashes
 * @param {...[nextSize: bigint, hashes: readonly Bytes[]]} after
 * @returns {NodeSource}
 */
export function patchwork(base, leafHashes, ...after) {
  /** @type {Map<string, Bytes>} */
  const known = new Map();
  subtreeSpans(0n, base.size).forEach(([level, index], i) => known.set(`${level}/${index}`, base.peaks[i]));
  leafHashes.forEach((leafHash, i) => known.set(`0/${base.size + BigInt(i)}`, leafHash));
  let size = base.size + BigInt(leafHashes.length);
  for (const [nextSize, hashes] of after) {
    const spans = subtreeSpans(size, nextSize);
    if (spans.length !== hashes.length) {
      const detail = `${hashes.length} hashes where ${spans.length} lead from ${size} leaves to ${nextSize}`;
      throw new ProofError(detail);
    }
    spans.forEach(([level, index], i) => known.set(`${level}/${index}`, hashes[i]));
    size = nextSize;
  }

  /**
   * @param {number} level
   * @param {bigint} index
   * @returns {Bytes}
   */
  function node(level, index) {
    const found = known.get(`${level}/${index}`);
    if (found !== undefined) return found;
    if (!level) throw new ProofError(`nothing is known of leaf ${index}`, "unknown-node");
    const made = nodeHash(node(level - 1, 2n * index), node(level - 1, 2n * index + 1n));
    known.set(`${level}/${index}`, made);
    return made;
  }

  return node;
}
