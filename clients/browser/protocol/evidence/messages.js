/**
 * Contradictions about messages: left out, changed, reordered, or delivered to the wrong mailbox.
 *
 * Knows nothing of how an opening leads to a signature, nor of what else a mailbox's history holds. What a provider
 * commits to of a message is its leaf; a device's signature is not among it, so that one is missing, or wrong, cannot
 * be proven.
 * @module
 */

/** @import { Bytes } from "../bytes.js" */
/** @import { ValueOf } from "../encoding.js" */
/** @import { BundleHeader } from "../envelope.js" */
/** @import { MessageLeaf } from "../statements.js" */
/** @import { OpenedLeaf, RecipientOpening } from "./openings.js" */
/** @import { Rosters } from "./rosters.js" */
import { compare, equal, same } from "../bytes.js";
import { INDEXES, VEC16, listOf, structCodec } from "../encoding.js";
import { BUNDLE_HEADER, ENVELOPE, envelopeLeafHashes, hashBundle, hashEnvelope } from "../envelope.js";
import { deviceIdOf, formatId, parseSeq } from "../identifiers.js";
import { rootFromSubset } from "../merkle.js";
import { MESSAGE_LEAF } from "../statements.js";
import { ABSENCE, openAbsence } from "./absences.js";
import {
  COMMITTED_LEAF,
  LEAF_OPENING,
  LeafHashes,
  ProofHashes,
  RECIPIENT_OPENING,
  openCommitted,
  openLeaf,
  openRecipient,
} from "./openings.js";
import { NotProven, PROVIDER, Verdict, nameSigner } from "./verdict.js";

const LEAF_FIELDS = MESSAGE_LEAF.fields.map(([name]) => /** @type {keyof MessageLeaf} */ (name));

/** A message that was sequenced, or delivered to another; one recipient of it; its absence there. */
export const OMISSION = structCodec("Omission", {
  message: COMMITTED_LEAF,
  recipient: RECIPIENT_OPENING,
  absence: ABSENCE,
});
/** @typedef {ValueOf<typeof OMISSION>} Omission */

/** Two messages at one position. */
export const CONFLICT = structCodec("Conflict", { one: COMMITTED_LEAF, other: COMMITTED_LEAF });
/** @typedef {ValueOf<typeof CONFLICT>} Conflict */

/**
 * A message, and the envelope or the bundle that it names, which say something else.
 *
 * `envelope`: the Envelope that has the message's env_hash, or empty. `header`: the BundleHeader that has its
 * bundle_hash, or empty. `env_hashes`: with a header, the hashes of the bundle's envelopes `places`, and the subset
 * proof of them (of all: no proof). Empty: the header contradicts the message by itself.
 */
export const ALTERED_MESSAGE = structCodec("AlteredMessage", {
  message: COMMITTED_LEAF,
  envelope: VEC16,
  header: VEC16,
  places: INDEXES,
  env_hashes: LeafHashes,
  proof: ProofHashes,
});
/** @typedef {ValueOf<typeof ALTERED_MESSAGE>} AlteredMessage */

/** Two messages of one sender whose counters and positions run in opposite directions, or one counter twice. */
export const COUNTER_VIOLATION = structCodec("CounterViolation", { one: COMMITTED_LEAF, other: COMMITTED_LEAF });
/** @typedef {ValueOf<typeof COUNTER_VIOLATION>} CounterViolation */

/**
 * A message in a mailbox, and the neighbours among its recipients between which that mailbox's device is not.
 *
 * One of them, where it is the first or the last. None, for a message without recipients.
 */
export const MISDELIVERY = structCodec("Misdelivery", {
  message: LEAF_OPENING,
  recipients: listOf(RECIPIENT_OPENING, 2),
});
/** @typedef {ValueOf<typeof MISDELIVERY>} Misdelivery */

/**
 * @param {Rosters} rosters
 * @param {Omission} finding
 */
export async function verifyOmission(rosters, finding) {
  const message = await openCommitted(rosters, finding.message);
  const deviceId = openRecipient(message.leaf, finding.recipient);
  if (message.mailbox !== null && equal(message.mailbox, deviceId)) {
    throw new NotProven("the message was delivered to this very recipient");
  }
  const absence = await openAbsence(rosters, finding.absence, message.leaf.seq);
  if (!equal(absence.mailbox, deviceId)) throw new NotProven("the absence from another mailbox");
  const detail =
    `${describe(message)} is for ${formatId(deviceId)} too, and did not arrive there by the provider's own word: ` +
    absence.form;
  return new Verdict("Omission", PROVIDER, rosters.origin, message.epoch, detail);
}

/**
 * @param {Rosters} rosters
 * @param {Conflict} finding
 */
export async function verifyConflict(rosters, finding) {
  const one = await openCommitted(rosters, finding.one);
  const other = await openCommitted(rosters, finding.other);
  if (!equal(one.leaf.seq, other.leaf.seq) || equal(one.encoded, other.encoded)) {
    throw new NotProven("messages at two positions, or one message twice");
  }
  const differing = LEAF_FIELDS.filter((name) => !same(one.leaf[name], other.leaf[name])).join(", ");
  const detail = `${describe(one)}, and ${describe(other)}, are not the same: they differ in ${differing}`;
  return new Verdict("Conflict", PROVIDER, rosters.origin, one.epoch, detail);
}

/**
 * @param {Rosters} rosters
 * @param {AlteredMessage} finding
 */
export async function verifyAlteredMessage(rosters, finding) {
  const message = await openCommitted(rosters, finding.message);
  const what = finding.envelope.length
    ? compareEnvelope(message.leaf, finding.envelope)
    : compareBundle(rosters.origin, message.leaf, finding);
  const detail = `${describe(message)} is not what its sender made: ${what}`;
  return new Verdict("AlteredMessage", nameSequencers(message), rosters.origin, message.epoch, detail);
}

/**
 * @param {Rosters} rosters
 * @param {CounterViolation} finding
 */
export async function verifyCounterViolation(rosters, finding) {
  const one = await openCommitted(rosters, finding.one);
  const other = await openCommitted(rosters, finding.other);
  const order = compare(one.leaf.seq, other.leaf.seq);
  const [first, second] = order <= 0 ? [one, other] : [other, one];
  if (!equal(one.leaf.sender, other.leaf.sender)) throw new NotProven("messages of two senders");
  if (order === 0 || first.leaf.sender_ctr < second.leaf.sender_ctr) {
    throw new NotProven("the sender's counters run as the positions do");
  }
  const detail =
    `${describe(first)} has counter ${first.leaf.sender_ctr} of its sender ${formatId(first.leaf.sender)}, and ` +
    `${describe(second)}, which comes later, has counter ${second.leaf.sender_ctr}`;
  return new Verdict("CounterViolation", nameSequencers(one, other), rosters.origin, second.epoch, detail);
}

/**
 * @param {Rosters} rosters
 * @param {Misdelivery} finding
 */
export async function verifyMisdelivery(rosters, finding) {
  const message = await openLeaf(rosters, finding.message);
  checkNotAmong(message.leaf, finding.recipients, finding.message.record.state.mailbox);
  const detail = `${describe(message)}, whose device is not among its ${message.leaf.n_recipients} recipients`;
  return new Verdict("Misdelivery", PROVIDER, rosters.origin, message.epoch, detail);
}

/**
 * The inbox whose one key sequenced all of them. Whoever delivered one may have been given it like this.
 * @param {...OpenedLeaf} messages
 */
function nameSequencers(...messages) {
  if (messages.some((message) => message.mailbox !== null)) return PROVIDER;
  return nameSigner(...messages.map((message) => message.signer));
}

/** @param {OpenedLeaf} message */
function describe({ leaf, mailbox }) {
  const where = mailbox === null ? "sequenced" : `delivered to ${formatId(mailbox)}`;
  return `the message ${parseSeq(leaf.seq).join("/")} that was ${where}`;
}

/**
 * @param {MessageLeaf} leaf
 * @param {Bytes} encoded
 */
function compareEnvelope(leaf, encoded) {
  if (!equal(hashEnvelope(encoded), leaf.env_hash)) throw new NotProven("the envelope of another message");
  const envelope = /** @type {Record<string, unknown>} */ (ENVELOPE.decode(encoded));
  const shared = ENVELOPE.fields.map(([name]) => name).filter((name) => name in leaf);
  const differing = shared.filter((name) => !same(envelope[name], leaf[/** @type {keyof MessageLeaf} */ (name)]));
  if (!differing.length) throw new NotProven("the message is as its envelope says");
  return `its own envelope has another ${differing.join(", ")}`;
}

/**
 * @param {Bytes} origin
 * @param {MessageLeaf} leaf
 * @param {AlteredMessage} finding
 */
function compareBundle(origin, leaf, finding) {
  if (!equal(hashBundle(finding.header), leaf.bundle_hash)) throw new NotProven("the bundle of another message");
  const header = BUNDLE_HEADER.decode(finding.header);
  const wrong = compareHeader(origin, leaf, header);
  if (wrong) return wrong;
  const places = finding.places.map((place) => BigInt(place));
  const hashes = envelopeLeafHashes(finding.env_hashes);
  if (!equal(rootFromSubset(BigInt(header.n_envelopes), places, hashes, finding.proof), header.root)) {
    throw new NotProven("the envelopes of another bundle");
  }
  const shown = places.indexOf(leaf.sender_ctr - header.first_ctr);
  if (shown < 0 || equal(finding.env_hashes[shown], leaf.env_hash)) {
    throw new NotProven("the bundle has this message's envelope, or this is not shown");
  }
  return `its bundle has another envelope with counter ${leaf.sender_ctr}`;
}

/**
 * @param {Bytes} origin
 * @param {MessageLeaf} leaf
 * @param {BundleHeader} header
 */
function compareHeader(origin, leaf, header) {
  if (!equal(header.origin, origin)) return "its bundle is addressed to another provider";
  if (!equal(header.sender, leaf.sender)) return "its bundle is another sender's";
  if (!equal(header.sender, deviceIdOf(header.key))) return "its bundle names a key that is not its sender's";
  const endCtr = header.first_ctr + BigInt(header.n_envelopes);
  if (leaf.sender_ctr < header.first_ctr || leaf.sender_ctr >= endCtr) {
    return `its bundle has no message with counter ${leaf.sender_ctr}`;
  }
  return "";
}

/**
 * Recipients are sorted: these are neighbours, or one is at an end, and `deviceId` is between or beyond.
 * @param {MessageLeaf} leaf
 * @param {readonly RecipientOpening[]} openings at most two
 * @param {Bytes} deviceId
 */
export function checkNotAmong(leaf, openings, deviceId) {
  const ids = openings.map((opening) => openRecipient(leaf, opening));
  const places = openings.map((opening) => opening.place);
  let isOut;
  if (!ids.length) {
    isOut = leaf.n_recipients === 0;
  } else if (ids.length === 2) {
    isOut = places[0] + 1 === places[1] && compare(ids[0], deviceId) < 0 && compare(deviceId, ids[1]) < 0;
  } else {
    const isBefore = places[0] === 0 && compare(deviceId, ids[0]) < 0;
    isOut = isBefore || (places[0] === leaf.n_recipients - 1 && compare(ids[0], deviceId) < 0);
  }
  if (!isOut) throw new NotProven("the mailbox's device may be among the recipients");
}
