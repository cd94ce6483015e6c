import { compare, concat, equal, fromHex, toHex } from "../../../clients/browser/protocol/bytes.js";
import { ProofError } from "../../../clients/browser/protocol/errors.js";
import { sha256 } from "../../../clients/browser/protocol/signing.js";
import { EMPTY_HASH, SIBLINGS_MAX, rootFromProof } from "../../../clients/browser/protocol/state_map.js";

function read(value, name = "") {
  if (Array.isArray(value)) return value.map((part) => read(part));
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, read(part, key)]));
  }
  return typeof value === "string" && name !== "verifier" && name !== "why" ? fromHex(value) : value;
}

/** The tree over these leaves, naively: what the client never builds, but must be able to check. */
function hashOf(leaves, depth) {
  if (leaves.length === 0) return EMPTY_HASH;
  if (leaves.length === 1) return sha256(Uint8Array.of(0x20), leaves[0].key, leaves[0].value_hash);
  return sha256(Uint8Array.of(0x21), ...split(leaves, depth).map((half) => hashOf(half, depth + 1)));
}

function bitOf(key, depth) {
  return (key[depth >> 3] >> (7 - (depth % 8))) & 1;
}

function split(leaves, depth) {
  return [0, 1].map((bit) => leaves.filter((leaf) => bitOf(leaf.key, depth) === bit));
}

function proveKey(all, key) {
  const siblings = [];
  let leaves = all;
  while (leaves.length > 1) {
    const halves = split(leaves, siblings.length);
    const bit = bitOf(key, siblings.length);
    siblings.push(hashOf(halves[1 - bit], siblings.length + 1));
    leaves = halves[bit];
  }
  const isTaken = leaves.length === 1 && !equal(leaves[0].key, key);
  return { siblings, other: isTaken ? leaves[0] : null };
}

function rootOf({ key, value_hash: valueHash, siblings, other }) {
  return rootFromProof(key, valueHash, { siblings, other: other && { key: other[0], value_hash: other[1] } });
}

function checkRoot(parts) {
  if (!equal(rootOf(parts), parts.root)) throw new ProofError("another root");
}

export async function check(stored, t) {
  const vectors = read(stored);
  t.equal(EMPTY_HASH, vectors.empty_root, "root of no leaves");
  const leaves = new Map();
  const versions = new Map([[toHex(EMPTY_HASH), []]]);
  for (const { items, count, root } of vectors.batches) {
    for (const item of items) leaves.set(toHex(item.key), item);
    const all = [...leaves.values()].sort((a, b) => compare(a.key, b.key));
    t.equal(BigInt(all.length), BigInt(count), "count of a version");
    t.equal(hashOf(all, 0), root, "root of a version");
    versions.set(toHex(root), all);
    for (const { key, value_hash: valueHash } of all) {
      const proof = proveKey(all, key);
      if (proof.siblings.length <= SIBLINGS_MAX) t.equal(rootFromProof(key, valueHash, proof), root, "a member");
    }
  }
  for (const one of vectors.proofs) {
    t.equal(rootOf(one), one.root, "root from a proof");
    const { siblings, other } = proveKey(versions.get(toHex(one.root)), one.key);
    t.equal(siblings, one.siblings, "siblings");
    t.equal(other && concat(other.key, other.value_hash), one.other && concat(...one.other), "another leaf");
  }
  t.equal(vectors.deepest.siblings.length, SIBLINGS_MAX, "the deepest path");
  t.equal(rootOf(vectors.deepest), vectors.deepest.root, "root from the deepest path");
  for (const { verifier, good, cases } of vectors.refused) {
    checkRoot(good);
    for (const { why, changed } of cases) {
      const parts = { ...good, ...changed };
      const call = verifier === "map form" ? () => rootOf(parts) : () => checkRoot(parts);
      await t.refuses("bad-proof", call, `${verifier}: ${why}`);
    }
  }
}
