import { fromHex, toHex } from "../../../clients/browser/protocol/bytes.js";
import { ProofError } from "../../../clients/browser/protocol/errors.js";
import {
  CompactRange,
  EMPTY_RANGE,
  EMPTY_ROOT,
  Tree,
  checkConsistency,
  checkInclusion,
  consistencyProof,
  inclusionProof,
  leafHash,
  leafHashes,
  makeRange,
  nodeHash,
  proveSubset,
  rangeHashes,
  rootAt,
  rootFromSubset,
  subtreeSpans,
  treeRoot,
} from "../../../clients/browser/protocol/merkle.js";

/** A stored value as the code holds it: the names tell bytes from numbers. */
function read(value, name = "") {
  if (Array.isArray(value)) return value.map((part) => read(part, name));
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, read(part, key)]));
  }
  if (name === "verifier" || name === "why") return value;
  return /size|index|spans/.test(name) ? BigInt(value) : fromHex(value);
}

/** Perfect subtrees of a list too long to build: every leaf is the first hash, but the marked one. */
function endlessNode([plainLeaf, markedLeaf], markedIndex) {
  return (level, index) => {
    const isMarked = index === markedIndex >> BigInt(level);
    let [node, plain] = [isMarked ? markedLeaf : plainLeaf, plainLeaf];
    for (let height = 0; height < level; height++) {
      if (!isMarked) node = nodeHash(node, node);
      else node = (markedIndex >> BigInt(height)) & 1n ? nodeHash(plain, node) : nodeHash(node, plain);
      plain = nodeHash(plain, plain);
    }
    return node;
  };
}

function checkRoot(root, expected) {
  if (toHex(root) !== toHex(expected)) throw new ProofError("another root");
}

const CHECKS = {
  inclusion: (c) => checkInclusion(c.root, c.size, c.index, c.leaf_hash, c.proof),
  consistency: (c) => checkConsistency(c.old_size, c.old_root, c.new_size, c.new_root, c.proof),
  subset: (c) => checkRoot(rootFromSubset(c.size, c.indexes, c.leaf_hashes, c.proof), c.root),
  range: (c) => makeRange(c.size, c.peaks),
};

function checkProofs(vectors, hashes, t) {
  const trees = hashes.map((_, size) => new Tree(hashes.slice(0, size))).concat(new Tree(hashes));
  const node = (level, index) => trees[8].node(level, index);
  for (const { index, size, proof } of vectors.inclusion) {
    const tree = trees[Number(size)];
    t.equal(inclusionProof(node, index, size), proof, `inclusion of ${index} in ${size}`);
    t.equal(tree.inclusion(index), proof, `inclusion of ${index} in a tree of ${size}`);
    checkInclusion(tree.root, size, index, hashes[Number(index)], proof);
  }
  for (const { old_size: old, new_size: size, proof } of vectors.consistency) {
    t.equal(consistencyProof(node, old, size), proof, `consistency of ${old} and ${size}`);
    checkConsistency(old, trees[Number(old)].root, size, trees[Number(size)].root, proof);
  }
  for (const { size, indexes, proof } of vectors.subset) {
    const tree = trees[Number(size)];
    const chosen = indexes.map((index) => hashes[Number(index)]);
    t.equal(proveSubset(tree, indexes), proof, `proof of ${indexes} in ${size}`);
    t.equal(rootFromSubset(size, indexes, chosen, proof), tree.root, `root from ${indexes} in ${size}`);
  }
}

function checkRanges(vectors, hashes, t) {
  const tree = new Tree(hashes);
  const node = (level, index) => tree.node(level, index);
  const ranges = [EMPTY_RANGE];
  for (const hash of hashes) ranges.push(ranges[ranges.length - 1].append(hash));
  for (const { size, peaks } of vectors.ranges) {
    const range = ranges[Number(size)];
    t.equal(new CompactRange(range.size, range.peaks), new CompactRange(size, peaks), `${size} leaves, one by one`);
    t.equal(makeRange(size, peaks).root(), vectors.roots[Number(size)], `root of a range of ${size}`);
    t.equal(rootAt(node, size), vectors.roots[Number(size)], `root at ${size}`);
  }
  for (const { size, next_size: next, hashes: given } of vectors.extend) {
    t.equal(rangeHashes(node, size, next), given, `hashes of [${size}, ${next})`);
    t.equal(ranges[Number(size)].extend(next, given), ranges[Number(next)], `${size} leaves extended to ${next}`);
  }
}

function checkEndless(endless, hashes, t) {
  const node = endlessNode(hashes, endless.marked_index);
  const leafAt = (index) => hashes[index === endless.marked_index ? 1 : 0];
  for (const { index, size, root, proof } of endless.inclusion) {
    t.equal(rootAt(node, size), root, `root at ${size}`);
    t.equal(inclusionProof(node, index, size), proof, `inclusion of ${index} in ${size}`);
    checkInclusion(root, size, index, leafAt(index), proof);
  }
  for (const c of endless.consistency) {
    t.equal(rootAt(node, c.old_size), c.old_root, `root at ${c.old_size}`);
    t.equal(rootAt(node, c.new_size), c.new_root, `root at ${c.new_size}`);
    t.equal(consistencyProof(node, c.old_size, c.new_size), c.proof, `consistency of ${c.old_size} and ${c.new_size}`);
    checkConsistency(c.old_size, c.old_root, c.new_size, c.new_root, c.proof);
  }
  for (const { size, indexes, root, proof } of endless.subset) {
    t.equal(rootFromSubset(size, indexes, indexes.map(leafAt), proof), root, `root from ${indexes} in ${size}`);
  }
}

export async function check(stored, t) {
  const vectors = read(stored);
  const hashes = vectors.leaf_hashes;
  t.equal(EMPTY_ROOT, vectors.empty_root, "root of no leaves");
  t.equal(vectors.leaves.map(leafHash), hashes, "leaf hashes, one by one");
  t.equal(leafHashes(vectors.leaves), hashes, "leaf hashes");
  for (const [size, root] of vectors.roots.entries()) {
    t.equal(treeRoot(hashes.slice(0, size)), root, `root of ${size} leaves`);
    t.equal(new Tree(hashes.slice(0, size)).root, root, `root of a tree of ${size} leaves`);
  }
  for (const { first_index: first, next_index: next, spans } of vectors.subtree_spans) {
    const found = subtreeSpans(first, next).map(([level, index]) => [BigInt(level), index]);
    t.equal(found, spans, `subtrees of [${first}, ${next})`);
  }
  checkProofs(vectors, hashes, t);
  checkRanges(vectors, hashes, t);
  checkEndless(vectors.endless, hashes, t);
  for (const { verifier, good, cases } of vectors.refused) {
    CHECKS[verifier](good);
    for (const { why, changed } of cases) {
      await t.refuses("bad-proof", () => CHECKS[verifier]({ ...good, ...changed }), `${verifier}: ${why}`);
    }
  }
}
