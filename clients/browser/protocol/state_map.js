/**
 * The state map: a persistent Merkle prefix tree over 32-byte keys. Here: its proofs of membership and of absence.
 *
 * Knows nothing of mailboxes, of what a value means or how it is encoded, of signatures or storage.
 *
 * A key's bits, the most significant first, lead from the root downwards; a leaf stands at its shortest unique prefix.
 * Leaf `SHA-256(0x20 || key || value_hash)`, inner node `SHA-256(0x21 || left || right)`, empty subtree
 * `SHA-256(0x22)`.
 *
 * **What a proof binds.** Whatever was signed as a root, canonical or not: a key's path ends in one place at most, for
 * a leaf, an inner node and an empty subtree never hash alike. No root proves both that a key is absent and that it is
 * present, nor two values for it.
 *
 * **What canonical form lets a verifier see.** An inner node has at least two leaves below it, and no leaf stands in
 * two places. Seen from one path, and all of it enforced by `rootFromProof`:
 *
 * 1. The deepest sibling of a terminal is never empty. (Beside a leaf there is another leaf at least; beside an empty
 *    subtree two, but that they are two cannot be seen: the hash of one leaf looks like any other.)
 * 2. No two hashes on or beside the path are equal, the empty subtree's apart: equal hashes are equal leaves, and these
 *    would stand in two places.
 * 3. Another leaf in the key's place is another key, and agrees with the key in as many bits as there are siblings.
 * 4. A path has at most 128 siblings: further down, two keys agree in more than 128 bits, which hashes do not.
 *
 * Hashes that keep these rules are, for all that one path shows, those of a canonical tree: there is no more to
 * enforce.
 * @module
 */

/** @import { Bytes } from "./bytes.js" */
import { equal, toHex } from "./bytes.js";
import { ProofError } from "./errors.js";
import { sha256 } from "./signing.js";

const LEAF = Uint8Array.of(0x20);
const NODE = Uint8Array.of(0x21);

export const EMPTY_HASH = sha256(Uint8Array.of(0x22));
export const SIBLINGS_MAX = 128;

/**
 * What stands beside the path of a key, and where the path ends. Its key and value hash travel elsewhere.
 *
 * `siblings`: from the root downwards, 32 bytes each, at most `SIBLINGS_MAX`. `other`: key and value hash of the leaf
 * that takes the key's place; null when the path ends at the key's own leaf, or at an empty subtree.
 * @typedef {{ siblings: readonly Bytes[], other: { key: Bytes, value_hash: Bytes } | null }} MapProof
 */

/**
 * Root of the map in which the key has this value hash, or, for null, in which it is absent.
 *
 * Nothing is shown until the caller has compared it with a root that is signed.
 * Throws `ProofError` for a proof that no canonical map has: see the head of this file.
 * @param {Bytes} key
 * @param {Bytes | null} valueHash
 * @param {MapProof} proof
 */
export function rootFromProof(key, valueHash, { siblings, other }) {
  const depth = siblings.length;
  if (depth > SIBLINGS_MAX) throw new ProofError(`${depth} siblings, at most ${SIBLINGS_MAX}`);
  if (key.length !== 32 || siblings.some((sibling) => sibling.length !== 32)) {
    throw new ProofError("a key or a sibling is not 32 bytes");
  }
  if (depth && equal(siblings[depth - 1], EMPTY_HASH)) {
    throw new ProofError("an empty subtree beside the end of the path");
  }
  let node = terminal(key, valueHash, other, depth);
  const seen = new Set([toHex(node)]);
  for (let i = depth - 1; i >= 0; i--) {
    node = bitAt(key, i) ? sha256(NODE, siblings[i], node) : sha256(NODE, node, siblings[i]);
    seen.add(toHex(node));
  }
  const filled = siblings.filter((sibling) => !equal(sibling, EMPTY_HASH));
  for (const sibling of filled) seen.add(toHex(sibling));
  if (seen.size !== 1 + depth + filled.length) throw new ProofError("one subtree in two places");
  return node;
}

/**
 * Hash of what is at the end of the key's path.
 * @param {Bytes} key
 * @param {Bytes | null} valueHash
 * @param {MapProof["other"]} other
 * @param {number} depth
 */
function terminal(key, valueHash, other, depth) {
  if (valueHash !== null) {
    if (other !== null) throw new ProofError("another leaf in the place of a present key");
    return leafHash(key, valueHash);
  }
  if (other === null) return EMPTY_HASH;
  const leaf = leafHash(other.key, other.value_hash);
  if (equal(other.key, key) || !agree(other.key, key, depth)) {
    throw new ProofError("a leaf that is not in the place of the absent key");
  }
  return leaf;
}

/**
 * Whether two keys begin with the same `n` bits.
 * @param {Uint8Array} a
 * @param {Uint8Array} b
 * @param {number} n
 */
function agree(a, b, n) {
  for (let i = 0; i < n; i++) if (bitAt(a, i) !== bitAt(b, i)) return false;
  return true;
}

/**
 * @param {Bytes} key
 * @param {Bytes} valueHash
 */
function leafHash(key, valueHash) {
  if (key.length !== 32 || valueHash.length !== 32) throw new ProofError("a key or a value hash is not 32 bytes");
  return sha256(LEAF, key, valueHash);
}

/**
 * One of a key's bits, the most significant first.
 * @param {Uint8Array} key
 * @param {number} i
 */
function bitAt(key, i) {
  return (key[i >> 3] >> (7 - (i & 7))) & 1;
}
