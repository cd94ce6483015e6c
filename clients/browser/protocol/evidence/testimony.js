/**
 * What one client can show of its provider's word about one message, and what two such words prove together.
 *
 * Knows nothing of why anybody asks, and nothing of how testimonies travel. A testimony is all signed by the provider: its
 * word that it delivered a message to a mailbox, or that nothing stands there at that seq. Who brings it need not be
 * believed.
 * @module
 */

/** @import { Bytes } from "../bytes.js" */
/** @import { ValueOf } from "../encoding.js" */
/** @import { Attested, Material } from "./material.js" */
/** @import { Omission } from "./messages.js" */
/** @import { RecordOpening } from "./openings.js" */
import { compare, equal } from "../bytes.js";
import { SIGNED_ROSTER } from "../delta.js";
import { listOf, optional, structCodec } from "../encoding.js";
import { DecodeError, ProofError } from "../errors.js";
import { HISTORY_RECORD } from "../history.js";
import { parseSeq } from "../identifiers.js";
import { leafHashes, treeRoot } from "../merkle.js";
import { MESSAGE_LEAF } from "../statements.js";
import { ABSENCE, openAbsence } from "./absences.js";
import { EvidenceUnavailable, attested, openDevice, placeLeaf } from "./material.js";
import { LEAF_OPENING, RECIPIENT_OPENING, openLeaf, openRecipient } from "./openings.js";
import { makeProof } from "./proof.js";
import { Rosters } from "./rosters.js";
import { NotProven, nothingElse } from "./verdict.js";

export const TESTIMONY_ROSTERS_MAX = 4;

/** Either `delivered`, and that the peer who asks is among the message's recipients, or `absent`. */
export const TESTIMONY = structCodec(
  "Testimony",
  {
    rosters: listOf(SIGNED_ROSTER, TESTIMONY_ROSTERS_MAX),
    delivered: optional(LEAF_OPENING),
    recipient: optional(RECIPIENT_OPENING),
    absent: optional(ABSENCE),
  },
  {
    check: ({ delivered, recipient, absent }) => {
      if ((delivered === null) === (absent === null)) throw new DecodeError("a message was delivered, or it was not");
      if (delivered === null && recipient !== null) {
        throw new DecodeError("a recipient of a message that was not delivered");
      }
    },
  },
);
/** @typedef {ValueOf<typeof TESTIMONY>} Testimony */

/**
 * What the provider said about `seq` in this mailbox: that it delivered it, also for `peer`, or that it did not.
 *
 * Throws EvidenceUnavailable: `evidence-future` when the epoch, or what came in it, is not verified yet;
 * `evidence-dropped` when too much of what it takes was forgotten; `evidence-private` when the message is not for
 * `peer`, whose business it then is not. To ourselves (our mailbox as `peer`) we show that too; it must not leave
 * before the peer has shown that it has a message there.
 * @param {Material} material
 * @param {Bytes} seq
 * @param {Bytes} peer
 */
export function testify(material, seq, peer) {
  return testifyFrom(attested(material), seq, peer);
}

/**
 * `testify`, from what is known of a history under a signed state, trusted or not.
 * @param {Attested} known
 * @param {Bytes} seq
 * @param {Bytes} peer
 * @returns {Testimony}
 */
export function testifyFrom(known, seq, peer) {
  const [epoch] = parseSeq(seq);
  const { rosters, state, records } = known;
  if (epoch > known.epoch) throw new EvidenceUnavailable(`epoch ${epoch} is not verified yet`, "evidence-future");
  if (state === null || state.last_epoch < epoch) {
    const absent = { state: known.opening, record: null, before: null, after: null };
    return { rosters, delivered: null, recipient: null, absent };
  }
  const at = bisect(records.length, (i) => HISTORY_RECORD.decode(records[i]).epoch < epoch);
  if (at === records.length) {
    if (known.nextIndex === state.hist_size) {
      throw new EvidenceUnavailable(`what came in epoch ${epoch} was forgotten`);
    }
    throw new EvidenceUnavailable(`what came in epoch ${epoch} is not verified yet`, "evidence-future");
  }
  const index = known.first_index + BigInt(at);
  const record = HISTORY_RECORD.decode(records[at]);
  if (record.epoch > epoch && index && record.prev_epoch >= epoch) {
    throw new EvidenceUnavailable(`what came in epoch ${epoch} was forgotten`);
  }
  const opening = openRecordAt(known, index);
  if (record.epoch > epoch) {
    const absent = { state: null, record: opening, before: null, after: null };
    return { rosters, delivered: null, recipient: null, absent };
  }
  const leaves = known.leaves_of(index);
  if (!equal(treeRoot(leafHashes(leaves)), record.delta_root)) {
    throw new EvidenceUnavailable(`the messages of epoch ${epoch} were forgotten`);
  }
  return testifyInside(known, opening, leaves, seq, peer);
}

/**
 * @param {Attested} known
 * @param {bigint} index
 */
function openRecordAt(known, index) {
  try {
    return known.record(index);
  } catch (error) {
    if (!(error instanceof ProofError)) throw error; // else there are more records than have come
    throw new EvidenceUnavailable("what came since is not verified yet", "evidence-future");
  }
}

/**
 * From the record of the very epoch.
 * @param {Attested} known
 * @param {RecordOpening} opening
 * @param {readonly Bytes[]} leaves
 * @param {Bytes} seq
 * @param {Bytes} peer
 * @returns {Testimony}
 */
function testifyInside(known, opening, leaves, seq, peer) {
  const { rosters } = known;
  const at = bisect(leaves.length, (i) => compare(MESSAGE_LEAF.decode(leaves[i]).seq, seq) < 0);
  if (at === leaves.length || !equal(MESSAGE_LEAF.decode(leaves[at]).seq, seq)) {
    const before = at ? placeLeaf(leaves, at - 1) : null;
    const after = at < leaves.length ? placeLeaf(leaves, at) : null;
    return { rosters, delivered: null, recipient: null, absent: { state: null, record: opening, before, after } };
  }
  const recipients = known.recipients_of(MESSAGE_LEAF.decode(leaves[at]).recipients_root);
  if (recipients === null) throw new EvidenceUnavailable("the recipient list of the message was forgotten");
  const place = recipients.device_ids.findIndex((id) => equal(id, peer));
  if (place < 0 && !equal(peer, known.mailbox)) {
    throw new EvidenceUnavailable("the message is not for the peer", "evidence-private");
  }
  const recipient = place < 0 ? null : openDevice(recipients, place);
  return { rosters, delivered: { record: opening, ...placeLeaf(leaves, at) }, recipient, absent: null };
}

/**
 * The first of `count` places, in order, for which `isBefore` does not hold.
 * @param {number} count
 * @param {(place: number) => boolean} isBefore
 */
function bisect(count, isBefore) {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isBefore(middle)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * The leaf, encoded, that the provider delivered to `mailbox` at `seq`; null: by its word there is none.
 *
 * Throws DecodeError or NotProven, and then it is nobody's word. `testimony.recipient` is a recipient of that message,
 * whoever that is.
 * @param {Testimony} testimony
 * @param {Bytes} origin
 * @param {Bytes} mailbox
 * @param {Bytes} seq
 * @returns {Promise<Bytes | null>}
 */
export async function checkTestimony(testimony, origin, mailbox, seq) {
  parseSeq(seq);
  return await nothingElse(async () => {
    const rosters = await Rosters.open(origin, testimony.rosters);
    if (testimony.absent !== null) {
      const nothing = await openAbsence(rosters, testimony.absent, seq);
      if (!equal(nothing.mailbox, mailbox)) throw new NotProven("it is about another mailbox");
      return null;
    }
    if (testimony.delivered === null) throw new DecodeError("a message was delivered, or it was not");
    const opened = await openLeaf(rosters, testimony.delivered);
    if (opened.mailbox === null || !equal(opened.mailbox, mailbox) || !equal(opened.leaf.seq, seq)) {
      throw new NotProven("it is about another mailbox, or another message");
    }
    if (testimony.recipient !== null) openRecipient(opened.leaf, testimony.recipient);
    return opened.encoded;
  });
}

/**
 * The proof that two testimonies about one seq make together: Conflict or Omission.
 *
 * For an Omission, whoever has the message must have testified for the other. Throws DecodeError or NotProven, when a
 * testimony is nobody's word, or when the provider says the same to both.
 * @param {Bytes} origin
 * @param {Testimony} ours
 * @param {Bytes} ourId
 * @param {Testimony} theirs
 * @param {Bytes} theirId
 * @param {Bytes} seq
 */
export async function accuseMessage(origin, ours, ourId, theirs, theirId, seq) {
  await checkTestimony(ours, origin, ourId, seq);
  await checkTestimony(theirs, origin, theirId, seq);
  const rosters = [...ours.rosters, ...theirs.rosters];
  if (ours.delivered !== null && theirs.delivered !== null) {
    const one = { sequenced: null, delivered: ours.delivered };
    const other = { sequenced: null, delivered: theirs.delivered };
    return await makeProof(origin, rosters, { kind: "Conflict", body: { one, other } });
  }
  const [has, lacks] = ours.delivered !== null ? [ours, theirs] : [theirs, ours];
  return await makeProof(origin, rosters, { kind: "Omission", body: omission(has, lacks) });
}

/**
 * @param {Testimony} has
 * @param {Testimony} lacks
 * @returns {Omission}
 */
function omission(has, lacks) {
  if (has.delivered === null || lacks.absent === null) throw new NotProven("neither has a message there");
  if (has.recipient === null) throw new NotProven("it is not shown that the message was for both");
  const message = { sequenced: null, delivered: has.delivered };
  return { message, recipient: has.recipient, absence: lacks.absent };
}
