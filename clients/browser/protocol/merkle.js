/**
 * Merkle trees as in RFC 6962 and RFC 9162: roots, compact ranges, and proofs, made and checked.
 *
 * Knows nothing of what a leaf means, of signatures, encodings or storage: leaf hashes and sizes in, hashes out.
 *
 * Every hash is 32 bytes. A leaf is `SHA-256(0x00 || leaf)`, a node `SHA-256(0x01 || left || right)`, the empty tree
 * `SHA-256("")`. A tree of n > 1 leaves splits at the largest power of two below n; built level by level from the
 * leaves, that is: pair neighbours, and promote an odd last one unchanged. The node `(level, index)` covers the leaves
 * `[index << level, (index + 1) << level)`; it is perfect when the tree has all of them, ragged when it is cut short.
 * Sizes and indexes are `bigint`, levels and counts of hashes are `number`.
 *
 * **What a verifier must know: a size is never proved, it is signed.** A proof fixes the path from the leaf to the root
 * and no more, and almost every path also exists in a tree of some other size: what proves leaf 4 of 5 also proves leaf
 * 1 of 2, leaf 2 of 3 and leaf 8 of 9. So `index` and `size` come from the signed bytes that carry the root, or from
 * arithmetic on them, and never from whoever brings the proof. With a given size a proof has one length and one
 * meaning; the functions here enforce both. All of them are safe on hostile input: a size is at most 2**63, nothing
 * recurses, and the work is bounded by the hashes handed in, or by one path for each index asked for.
 *
 * Compact ranges and their names: transparency-dev/merkle, `compact`. Whatever fails throws `ProofError`.
 * @module
 */

/** @import { Bytes } from "./bytes.js" */
import { sha256 } from "../vendor/noble-hashes/sha2.js";
import { EMPTY, equal } from "./bytes.js";
import { ProofError } from "./errors.js";

export const EMPTY_ROOT = /** @type {Bytes} */ (sha256(EMPTY));

/** Leaves in a tree, at most: no inclusion proof is longer than 63 hashes. */
export const SIZE_MAX = 2n ** 63n;

/**
 * `(level, index)` to the hash of that perfect subtree.
 * @typedef {(level: number, index: bigint) => Bytes} NodeSource
 */

/**
 * A perfect subtree, or the last and ragged one.
 * @typedef {[level: number, index: bigint]} Span
 */

const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

/**
 * Hash of one leaf (RFC 9162, 2.1.1).
 * @param {Uint8Array} leaf
 */
export function leafHash(leaf) {
  return /** @type {Bytes} */ (sha256.create().update(LEAF).update(leaf).digest());
}

/**
 * `leafHash` of each.
 * @param {readonly Uint8Array[]} leaves
 */
export function leafHashes(leaves) {
  return leaves.map(leafHash);
}

/**
 * Hash of an inner node (RFC 9162, 2.1.1).
 * @param {Uint8Array} left
 * @param {Uint8Array} right
 */
export function nodeHash(left, right) {
  return /** @type {Bytes} */ (sha256.create().update(NODE).update(left).update(right).digest());
}

/**
 * Root over leaf hashes (RFC 9162, 2.1.1); `EMPTY_ROOT` over none.
 * @param {readonly Bytes[]} hashes
 */
export function treeRoot(hashes) {
  if (!hashes.length) return EMPTY_ROOT;
  let level = hashes;
  while (level.length > 1) level = parents(level);
  return level[0];
}

/** @param {readonly Bytes[]} level */
function parents(level) {
  const found = [];
  for (let i = 1; i < level.length; i += 2) found.push(nodeHash(level[i - 1], level[i]));
  if (level.length & 1) found.push(level[level.length - 1]);
  return found;
}

/**
 * Binary digits of a number that is not negative; 0 has none.
 * @param {bigint} n
 */
function bitLength(n) {
  return n ? n.toString(2).length : 0;
}

/**
 * Ones among these digits.
 * @param {bigint} n
 */
function bitCount(n) {
  let count = 0;
  for (const digit of n.toString(2)) if (digit === "1") count++;
  return count;
}

/**
 * The fewest perfect subtrees that cover the leaves `[firstIndex, nextIndex)`, left to right.
 *
 * At most 124 of them. Throws `ProofError` for what is no range within `SIZE_MAX`.
 * @param {bigint} firstIndex
 * @param {bigint} nextIndex
 */
export function subtreeSpans(firstIndex, nextIndex) {
  if (!(0n <= firstIndex && firstIndex <= nextIndex && nextIndex <= SIZE_MAX)) {
    throw new ProofError(`no range of leaves: [${firstIndex}, ${nextIndex})`);
  }
  /** @type {Span[]} */
  const spans = [];
  for (let index = firstIndex; index < nextIndex;) {
    const rest = nextIndex - index;
    let leafCount = index & -index; // as its place allows; at 0, and near the end, as the rest allows
    if (!leafCount || leafCount > rest) leafCount = 1n << BigInt(bitLength(rest) - 1);
    const level = bitLength(leafCount) - 1;
    spans.push([level, index >> BigInt(level)]);
    index += leafCount;
  }
  return spans;
}

/**
 * The fewest subtrees that cover `[firstIndex, size)` of a tree of `size` leaves; the last may be ragged.
 * @param {bigint} firstIndex
 * @param {bigint} size at least 1
 */
function tailSpans(firstIndex, size) {
  const spans = subtreeSpans(firstIndex, 1n << BigInt(bitLength(size - 1n)));
  return spans.filter(([level, index]) => index << BigInt(level) < size);
}

/**
 * Append subtrees, each beginning where the one before ended, to the peaks of a compact range.
 * @param {Bytes[]} peaks
 * @param {readonly Span[]} spans
 * @param {readonly Bytes[]} hashes one for each span
 */
function grow(peaks, spans, hashes) {
  for (let i = 0; i < spans.length; i++) {
    let index = spans[i][1];
    let merged = hashes[i];
    for (; index & 1n; index >>= 1n) merged = nodeHash(/** @type {Bytes} */ (peaks.pop()), merged); // a right child
    peaks.push(merged);
  }
}

/**
 * Root over subtrees of falling size, of which only the last may be ragged.
 * @param {readonly Bytes[]} peaks
 */
function fold(peaks) {
  if (!peaks.length) return EMPTY_ROOT;
  let root = peaks[peaks.length - 1];
  for (let i = peaks.length - 2; i >= 0; i--) root = nodeHash(peaks[i], root);
  return root;
}

/** @param {readonly Uint8Array[]} hashes */
function checkHashes(hashes) {
  for (const hash of hashes) if (hash.length !== 32) throw new ProofError("a hash is not 32 bytes");
}

/**
 * All that must be kept of a tree to append to it: its size, and its maximal perfect subtrees, largest first.
 *
 * One peak for each bit set in `size`. What comes from outside goes through `makeRange`.
 */
export class CompactRange {
  /**
   * @param {bigint} size
   * @param {Bytes[]} peaks
   */
  constructor(size, peaks) {
    this.size = size;
    this.peaks = peaks;
  }

  /**
   * The range with one more leaf. `leaf` is the caller's own hash, its length is not checked.
   * @param {Bytes} leaf
   */
  append(leaf) {
    const peaks = this.peaks.slice();
    grow(peaks, [[0, this.size]], [leaf]);
    return new CompactRange(this.size + 1n, peaks);
  }

  /**
   * The range with leaves up to `nextSize`, given the hashes of `subtreeSpans(this.size, nextSize)`.
   *
   * Throws `ProofError` when the size shrinks, or the hashes are more, fewer or no hashes.
   * @param {bigint} nextSize
   * @param {readonly Bytes[]} hashes
   */
  extend(nextSize, hashes) {
    const spans = subtreeSpans(this.size, nextSize);
    if (spans.length !== hashes.length) {
      const wanted = `${spans.length} extend ${this.size} leaves to ${nextSize}`;
      throw new ProofError(`${hashes.length} hashes where ${wanted}`);
    }
    checkHashes(hashes);
    const peaks = this.peaks.slice();
    grow(peaks, spans, hashes);
    return new CompactRange(nextSize, peaks);
  }

  /** Root of the tree; `EMPTY_ROOT` for no leaves. */
  root() {
    return fold(this.peaks);
  }
}

export const EMPTY_RANGE = new CompactRange(0n, []);

/**
 * A compact range from stored or received parts. Throws `ProofError` unless there is a peak for each bit of `size`.
 *
 * That the peaks are the true ones shows only when `root()` equals a root that is signed for this size.
 * @param {bigint} size
 * @param {readonly Bytes[]} peaks
 */
export function makeRange(size, peaks) {
  if (!(0n <= size && size <= SIZE_MAX)) throw new ProofError(`no tree has ${size} leaves`);
  if (peaks.length !== bitCount(size)) {
    throw new ProofError(`${peaks.length} peaks where ${size} leaves have ${bitCount(size)}`);
  }
  checkHashes(peaks);
  return new CompactRange(size, peaks.slice());
}

/**
 * The hashes of `subtreeSpans(firstIndex, nextIndex)`, which is what `CompactRange.extend` takes.
 * @param {NodeSource} node
 * @param {bigint} firstIndex
 * @param {bigint} nextIndex
 */
export function rangeHashes(node, firstIndex, nextIndex) {
  return subtreeSpans(firstIndex, nextIndex).map(([level, index]) => node(level, index));
}

/**
 * Root over the first `size` leaves.
 * @param {NodeSource} node
 * @param {bigint} size
 */
export function rootAt(node, size) {
  return fold(rangeHashes(node, 0n, size));
}

/**
 * Siblings from leaf `index` up to the root over `size` leaves (RFC 9162, 2.1.3.1).
 *
 * `node` is asked for perfect subtrees only. Throws `ProofError` when there is no such leaf.
 * @param {NodeSource} node
 * @param {bigint} index
 * @param {bigint} size
 */
export function inclusionProof(node, index, size) {
  checkIndex(index, size);
  return path(node, 0, index, size);
}

/**
 * What shows that the tree of `newSize` leaves begins with the tree of `oldSize` (RFC 9162, 2.1.4.1).
 *
 * Empty when nothing needs showing: `oldSize` 0, or equal sizes. `node` is asked for perfect subtrees only.
 * @param {NodeSource} node
 * @param {bigint} oldSize
 * @param {bigint} newSize
 */
export function consistencyProof(node, oldSize, newSize) {
  checkSizes(oldSize, newSize);
  if (oldSize === 0n || oldSize === newSize) return [];
  const [level, index] = lastPerfect(oldSize);
  const seed = index ? [node(level, index)] : []; // the verifier has it already: it is the old root
  return [...seed, ...path(node, level, index, newSize)];
}

/**
 * Siblings from a node up to the root. At most one is ragged, and is computed from perfect subtrees.
 * @param {NodeSource} node
 * @param {number} firstLevel
 * @param {bigint} firstIndex
 * @param {bigint} size
 */
function path(node, firstLevel, firstIndex, size) {
  const found = [];
  let [level, index, last] = [firstLevel, firstIndex, (size - 1n) >> BigInt(firstLevel)];
  for (; last; level++, index >>= 1n, last >>= 1n) {
    const sibling = index ^ 1n;
    if (sibling < last) found.push(node(level, sibling));
    else if (sibling === last) found.push(fold(rangeHashes(node, sibling << BigInt(level), size)));
  }
  return found;
}

/**
 * The smallest peak of a tree of `size` > 0 leaves: where a consistency proof begins.
 * @param {bigint} size
 * @returns {Span}
 */
function lastPerfect(size) {
  const level = bitLength(size & -size) - 1;
  return [level, (size - 1n) >> BigInt(level)];
}

/**
 * @param {bigint} index
 * @param {bigint} size
 */
function checkIndex(index, size) {
  if (!(0n <= index && index < size && size <= SIZE_MAX)) throw new ProofError(`no leaf ${index} in a tree of ${size}`);
}

/**
 * @param {bigint} oldSize
 * @param {bigint} newSize
 */
function checkSizes(oldSize, newSize) {
  if (!(0n <= oldSize && oldSize <= newSize && newSize <= SIZE_MAX)) {
    throw new ProofError(`no tree grows from ${oldSize} to ${newSize} leaves`);
  }
}

/**
 * Throw `ProofError` unless leaf `index` of the tree with this root and size has this hash (RFC 9162, 2.1.3.2).
 *
 * `size` must come from the bytes that signed `root`: see the head of this file.
 * @param {Bytes} root
 * @param {bigint} size
 * @param {bigint} index
 * @param {Bytes} leaf its hash
 * @param {readonly Bytes[]} proof
 */
export function checkInclusion(root, size, index, leaf, proof) {
  checkIndex(index, size);
  const { innerCount, pathCount } = pathCounts(index, size - 1n);
  if (proof.length !== pathCount) {
    throw new ProofError(`${proof.length} hashes where leaf ${index} of ${size} takes ${pathCount}`);
  }
  checkHashes(proof);
  let node = leaf;
  proof.forEach((sibling, level) => {
    node = isOnTheLeft(index, level, innerCount) ? nodeHash(sibling, node) : nodeHash(node, sibling);
  });
  if (!equal(node, root)) throw new ProofError(`leaf ${index} of ${size} does not lead to the root`);
}

/**
 * Throw `ProofError` unless the new tree begins with the old one (RFC 9162, 2.1.4.2).
 *
 * Both sizes must come from the bytes that signed their roots: see the head of this file. Of the empty tree every tree
 * is an extension: the proof is empty, and nothing is said about `newRoot`.
 * @param {bigint} oldSize
 * @param {Bytes} oldRoot
 * @param {bigint} newSize
 * @param {Bytes} newRoot
 * @param {readonly Bytes[]} proof
 */
export function checkConsistency(oldSize, oldRoot, newSize, newRoot, proof) {
  checkSizes(oldSize, newSize);
  if (oldSize === 0n && !equal(oldRoot, EMPTY_ROOT)) {
    throw new ProofError("the root of no leaves is not the empty root");
  }
  if (oldSize === newSize && !equal(oldRoot, newRoot)) throw new ProofError(`two roots for ${newSize} leaves`);
  if (oldSize === 0n || oldSize === newSize) {
    if (proof.length) throw new ProofError("a proof where nothing is to be proved");
    return;
  }
  const [firstLevel, index] = lastPerfect(oldSize);
  const siblings = index ? proof.slice(1) : proof;
  const { innerCount, pathCount } = pathCounts(index, (newSize - 1n) >> BigInt(firstLevel));
  if (siblings.length !== pathCount || proof.length !== pathCount + (index ? 1 : 0)) {
    throw new ProofError(`${proof.length} hashes do not lead from ${oldSize} to ${newSize} leaves`);
  }
  checkHashes(proof);
  let before = index ? proof[0] : oldRoot;
  let after = before;
  siblings.forEach((sibling, level) => {
    if (isOnTheLeft(index, level, innerCount)) {
      before = nodeHash(sibling, before);
      after = nodeHash(sibling, after);
    } else {
      after = nodeHash(after, sibling);
    }
  });
  if (!equal(before, oldRoot)) throw new ProofError(`the proof does not lead to the root of ${oldSize} leaves`);
  if (!equal(after, newRoot)) throw new ProofError(`the proof does not lead to the root of ${newSize} leaves`);
}

/**
 * Siblings on the way up before the path joins the right edge, and with the left siblings on the edge after that.
 * @param {bigint} index
 * @param {bigint} last
 */
function pathCounts(index, last) {
  const innerCount = bitLength(index ^ last);
  return { innerCount, pathCount: innerCount + bitCount(index >> BigInt(innerCount)) };
}

/**
 * @param {bigint} index where the path begins
 * @param {number} level above there
 * @param {number} innerCount of the path
 */
function isOnTheLeft(index, level, innerCount) {
  return level >= innerCount || ((index >> BigInt(level)) & 1n) === 1n;
}

/**
 * A tree held in memory with all its levels, for whoever makes many proofs from it. Not to be changed once made.
 *
 * `levels[0]` are the leaf hashes, the last is the root alone (or nothing, for no leaves).
 */
export class Tree {
  /** @param {readonly Bytes[]} hashes of the leaves */
  constructor(hashes) {
    this.levels = [hashes];
    for (let level = hashes; level.length > 1;) {
      level = parents(level);
      this.levels.push(level);
    }
  }

  /** Count of leaves. */
  get size() {
    return BigInt(this.levels[0].length);
  }

  /** Root of the tree; `EMPTY_ROOT` for no leaves. */
  get root() {
    return this.levels[0].length ? this.levels[this.levels.length - 1][0] : EMPTY_ROOT;
  }

  /**
   * The node that covers `[index << level, (index + 1) << level)`, or what of it the tree has: a `NodeSource`.
   *
   * Throws `ProofError` when the tree has nothing of it.
   * @param {number} level
   * @param {bigint} index
   */
  node(level, index) {
    const found = this.levels[level]?.[Number(index)];
    if (found === undefined) throw new ProofError(`no node ${index} on level ${level}`);
    return found;
  }

  /**
   * `inclusionProof` of one leaf for this whole tree.
   * @param {bigint} index
   */
  inclusion(index) {
    checkIndex(index, this.size);
    const proof = [];
    let place = Number(index);
    for (const level of this.levels) {
      const sibling = place % 2 ? place - 1 : place + 1;
      if (sibling < level.length) proof.push(level[sibling]);
      place = Math.floor(place / 2);
    }
    return proof;
  }
}

/**
 * One proof for many leaves, given by strictly increasing indexes (at least one): a Merkle multiproof.
 *
 * The hashes of the maximal subtrees without a chosen leaf, left to right: all that `rootFromSubset` cannot compute.
 * Empty when every leaf is chosen. Throws `ProofError` for indexes that are none, out of order or out of range.
 * @param {Tree} tree
 * @param {readonly bigint[]} indexes
 */
export function proveSubset(tree, indexes) {
  /** @type {Bytes[]} */
  const proof = [];
  let nextIndex = 0n;
  for (const [firstIndex, endIndex] of runs(tree.size, indexes)) {
    for (const [level, index] of subtreeSpans(nextIndex, firstIndex)) proof.push(tree.node(level, index));
    nextIndex = endIndex;
  }
  for (const [level, index] of tailSpans(nextIndex, tree.size)) proof.push(tree.node(level, index));
  return proof;
}

/**
 * Root of the tree of `size` leaves in which `hashes[i]` is leaf `indexes[i]`. The caller compares it.
 *
 * `size` must come from the bytes that signed the root: see the head of this file. Throws `ProofError` for indexes
 * that are none, out of order or out of range, and for too few or too many hashes. Work: one path for each index at
 * most.
 * @param {bigint} size
 * @param {readonly bigint[]} indexes
 * @param {readonly Bytes[]} hashes of the leaves
 * @param {readonly Bytes[]} proof
 */
export function rootFromSubset(size, indexes, hashes, proof) {
  if (hashes.length !== indexes.length) {
    throw new ProofError(`${hashes.length} leaf hashes for ${indexes.length} indexes`);
  }
  const chosenRuns = runs(size, indexes);
  checkHashes(hashes);
  checkHashes(proof);
  /** @type {Span[]} */
  const spans = [];
  /** @type {Bytes[]} */
  const nodes = [];
  let [nextIndex, leafCount, proofCount] = [0n, 0, 0];
  for (const [firstIndex, endIndex] of chosenRuns) {
    for (const span of subtreeSpans(nextIndex, firstIndex)) {
      spans.push(span);
      nodes.push(proof[proofCount++]);
    }
    for (const span of subtreeSpans(firstIndex, endIndex)) {
      spans.push(span);
      nodes.push(treeRoot(hashes.slice(leafCount, leafCount + 2 ** span[0])));
      leafCount += 2 ** span[0];
    }
    nextIndex = endIndex;
  }
  for (const span of tailSpans(nextIndex, size)) {
    spans.push(span);
    nodes.push(proof[proofCount++]);
  }
  if (proof.length !== proofCount) {
    const others = `the other ${size - BigInt(indexes.length)} leaves`;
    throw new ProofError(`${proof.length} hashes where ${others} have another number`);
  }
  /** @type {Bytes[]} */
  const peaks = [];
  grow(peaks, spans, nodes);
  return fold(peaks);
}

/**
 * The half-open ranges of neighbours among the chosen indexes, which must increase and be below `size`.
 *
 * An index below 0 is left to `subtreeSpans`, which refuses the range before it.
 * @param {bigint} size
 * @param {readonly bigint[]} indexes
 */
function runs(size, indexes) {
  if (!indexes.length) throw new ProofError("no leaf is chosen");
  /** @type {[firstIndex: bigint, nextIndex: bigint][]} */
  const found = [];
  let [firstIndex, nextIndex] = [indexes[0], indexes[0]];
  for (const index of indexes) {
    if (index < nextIndex) throw new ProofError("indexes are not strictly increasing");
    if (index > nextIndex) {
      found.push([firstIndex, nextIndex]);
      firstIndex = index;
    }
    nextIndex = index + 1n;
  }
  if (nextIndex > size) throw new ProofError(`no leaf ${nextIndex - 1n} in a tree of ${size}`);
  found.push([firstIndex, nextIndex]);
  return found;
}
