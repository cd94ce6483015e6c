/**
 * What a provider committed to, read from a delta that a follower refused.
 *
 * Knows nothing of proofs. A follower refuses a message whose bundle is not signed, or that is out of its order;
 * whether the provider stands by it is another question, and the record's `delta_root` answers it. So nothing is
 * checked here but that: what leads to the signed root was said, whatever it is.
 * @module
 */

/** @import { Bytes } from "../bytes.js" */
/** @import { Delta, HistoryEntry, RecipientLists, Section } from "../delta.js" */
import { concat, equal, toHex } from "../bytes.js";
import {
  BUNDLE_HEADER,
  CIPHERTEXT_LEAF,
  Recipients,
  envelopeLeafHashes,
  hashBundle,
  hashCiphertext,
  hashEnvelopes,
  splitCommons,
} from "../envelope.js";
import { DecodeError, NoiseError, ProofError } from "../errors.js";
import { HISTORY_RECORD } from "../history.js";
import { deviceIdOf, makeSeq, makeSeqs, parseSeq } from "../identifiers.js";
import { EMPTY_ROOT, leafHash, leafHashes, rootFromSubset, treeRoot } from "../merkle.js";
import { MESSAGE_LEAF } from "../statements.js";

/**
 * An encoded MessageLeaf under a record's `delta_root`, and the recipient list that it names.
 * @typedef {{ leaf: Bytes, recipients: Recipients }} Committed
 */

/**
 * The leaves that the record commits to, in its order. Throws NoiseError when what came does not lead there.
 * @param {HistoryEntry} entry
 * @param {Bytes} origin
 * @param {Bytes} mailbox
 * @param {(root: Bytes) => Recipients} find
 * @returns {Committed[]}
 */
export function committedLeaves(entry, origin, mailbox, find) {
  const found = entry.sections.flatMap((section) => sectionLeaves(section, origin, mailbox, find));
  const root = treeRoot(leafHashes(found.map((one) => one.leaf)));
  if (!equal(root, HISTORY_RECORD.decode(entry.record).delta_root)) {
    throw new ProofError("the record commits to other messages than those that came", "bad-history");
  }
  return found;
}

/**
 * Recipient lists by root, among those that the delta brings and those that came before. It throws DecodeError.
 * @param {Delta} delta
 * @param {RecipientLists} lists
 * @returns {(root: Bytes) => Recipients}
 */
export function finder(delta, lists) {
  /** @type {Map<string, Recipients>} */
  const brought = new Map();
  for (const recipientSet of delta.sets) {
    try {
      const recipients = new Recipients(recipientSet);
      brought.set(toHex(recipients.root), recipients);
    } catch (error) {
      if (!(error instanceof NoiseError)) throw error; // else no tree that a signed root could be of, as far as we know
    }
  }
  return (root) => {
    const found = brought.get(toHex(root)) ?? lists.get(root);
    if (!found) throw new DecodeError("a recipient list that was never sent", "unknown-recipients");
    return found;
  };
}

/**
 * As `openSection`, but nobody need have signed the bundle, or be among the recipients.
 * @param {Section} section
 * @param {Bytes} origin
 * @param {Bytes} mailbox
 * @param {(root: Bytes) => Recipients} find
 * @returns {Committed[]}
 */
function sectionLeaves(section, origin, mailbox, find) {
  const { rows, indexes, key, first_ctr, n_envelopes } = section;
  const nChosen = indexes.length || n_envelopes;
  if (rows.length !== nChosen || rows.some((row) => row.set_index >= section.roots.length)) {
    throw new DecodeError("section rows do not match its indexes");
  }
  const chosen = indexes.length ? indexes : rows.map((_, i) => i);
  const recipients = section.roots.map(find);
  const sender = deviceIdOf(key);
  const ctrs = chosen.map((i) => first_ctr + BigInt(i));
  if (ctrs.some((ctr) => ctr >= 1n << 64n)) throw new DecodeError("no such counters");
  const ctRoots = ciphertextsRoots(section, mailbox, recipients);
  const commons = splitCommons(rows, section.commons);
  const [envHashes, payloadHashes] = hashEnvelopes(sender, ctrs, rows, recipients, commons, ctRoots);
  const places = chosen.map((i) => BigInt(i));
  const root = rootFromSubset(BigInt(n_envelopes), places, envelopeLeafHashes(envHashes), section.proof);
  const bundleHash = hashBundle(BUNDLE_HEADER.encode({ origin, sender, key, first_ctr, n_envelopes, root }));
  const [epoch, lane, firstPos] = parseSeq(section.first_seq);
  makeSeqs(epoch, lane, firstPos + n_envelopes, 0); // all are in their lane; there may be 65,535 of them
  return chosen.map((i, n) => {
    const members = recipients[rows[n].set_index];
    const leaf = MESSAGE_LEAF.encode({
      seq: makeSeq(epoch, lane, firstPos + i),
      sender,
      sender_ctr: ctrs[n],
      env_hash: envHashes[n],
      bundle_hash: bundleHash,
      n_recipients: members.device_ids.length,
      recipients_root: members.root,
      payload_hash: payloadHashes[n],
      ciphertexts_root: ctRoots[n],
    });
    return { leaf, recipients: members };
  });
}

/**
 * @param {Section} section
 * @param {Bytes} mailbox
 * @param {readonly Recipients[]} recipients
 */
function ciphertextsRoots(section, mailbox, recipients) {
  let [pos, nProofs] = [0, 0];
  return section.rows.map(({ set_index, ciphertext_len: size }) => {
    if (!size) return EMPTY_ROOT;
    const members = recipients[set_index];
    const leaf = leafHash(concat(CIPHERTEXT_LEAF, hashCiphertext(section.ciphertexts.slice(pos, pos + size))));
    pos += size;
    const proof = section.ciphertext_proofs[nProofs++] ?? [];
    return rootFromSubset(BigInt(members.device_ids.length), [BigInt(members.index(mailbox))], [leaf], proof);
  });
}
