/**
 * Openings: one value each that a provider signed for, with all that leads from its signature to the value.
 *
 * Knows nothing of contradictions. Each opening is a structure and an `open*` that checks it against rosters that are
 * verified, and returns plain values. An opening holds the one before it: log, head, state, record, leaf.
 *
 * Every size comes from the signed bytes that carry the root. An honest provider signs what these functions return, and
 * nothing that contradicts it, whoever puts the pieces together. All of them throw DecodeError for what is not well
 * formed and NotProven, ProofError or SignatureError for the rest: see `nothingElse` in `verdict.js`.
 * @module
 */

/** @import { Bytes } from "../bytes.js" */
/** @import { ValueOf } from "../encoding.js" */
/** @import { HistoryRecord, MailboxState } from "../history.js" */
/** @import { Actor } from "../identifiers.js" */
/** @import { EpochHead, EpochRecord, MessageLeaf, Roster } from "../statements.js" */
/** @import { Rosters } from "./rosters.js" */
import { concat, equal } from "../bytes.js";
import { logNameOf, parseCheckpoint } from "../checkpoint.js";
import { OTHER_LEAF, SIGNED_HEAD } from "../delta.js";
import { BYTES16, BYTES32, U16, U32, U64, VEC16, embedded, listOf, optional, structCodec } from "../encoding.js";
import { RECIPIENT_LEAF } from "../envelope.js";
import { DecodeError } from "../errors.js";
import { SIGNED_MANIFEST } from "../frames.js";
import { HISTORY_RECORD, MAILBOX_STATE, hashState, mapKeyOf } from "../history.js";
import { Role, makeSeq, parseActor, parseSeq } from "../identifiers.js";
import { BUNDLE_MESSAGES_MAX } from "../limits.js";
import { checkInclusion, leafHash, rootFromSubset } from "../merkle.js";
import { placeMailbox } from "../placement.js";
import { hasher } from "../signing.js";
import { rootFromProof } from "../state_map.js";
import {
  EPOCH_HEAD,
  EPOCH_RECORD,
  MANIFEST,
  MESSAGE_LEAF,
  NO_OVERRIDES,
  hashHead,
  statementLeafHash,
  verifyStatement,
} from "../statements.js";
import { NotProven } from "./verdict.js";

/** Hashes in one Merkle or state-map proof: a path in a state map may have 128, and no other has more. */
export const PROOF_HASHES_MAX = 128;

export const ProofHashes = listOf(BYTES32, PROOF_HASHES_MAX);
export const LeafHashes = listOf(BYTES32, BUNDLE_MESSAGES_MAX);

const hashRecipient = hasher("rcpt");

/** `record`: leaf `place` of the log of a checkpoint note. */
export const LOG_OPENING = structCodec("LogOpening", {
  note: VEC16,
  place: U64,
  record: embedded(EPOCH_RECORD),
  proof: ProofHashes,
});
/** @typedef {ValueOf<typeof LOG_OPENING>} LogOpening */

/** `proof`: inclusion of the head among the statements of the epoch record. */
export const HEAD_OPENING = structCodec("HeadOpening", { log: LOG_OPENING, head: SIGNED_HEAD, proof: ProofHashes });
/** @typedef {ValueOf<typeof HEAD_OPENING>} HeadOpening */

/** A mailbox's state in the map under a head. `state`: empty for none. `path`, `other`: as in a delta. */
export const STATE_OPENING = structCodec("StateOpening", {
  head: HEAD_OPENING,
  mailbox: BYTES32,
  state: embedded(MAILBOX_STATE),
  path: ProofHashes,
  other: optional(OTHER_LEAF),
});
/** @typedef {ValueOf<typeof STATE_OPENING>} StateOpening */

/** `record`: leaf `place` of the history under a state. */
export const RECORD_OPENING = structCodec("RecordOpening", {
  state: STATE_OPENING,
  place: U64,
  record: embedded(HISTORY_RECORD),
  proof: ProofHashes,
});
/** @typedef {ValueOf<typeof RECORD_OPENING>} RecordOpening */

/** `leaf`: the message at `place` of a history record that is opened beside it. */
export const PLACED_LEAF = structCodec("PlacedLeaf", { place: U32, leaf: embedded(MESSAGE_LEAF), proof: ProofHashes });
/** @typedef {ValueOf<typeof PLACED_LEAF>} PlacedLeaf */

/** `leaf`: the message at `place` of a history record: it was delivered to that mailbox. */
export const LEAF_OPENING = structCodec("LeafOpening", {
  record: RECORD_OPENING,
  place: U32,
  leaf: embedded(MESSAGE_LEAF),
  proof: ProofHashes,
});
/** @typedef {ValueOf<typeof LEAF_OPENING>} LeafOpening */

/**
 * `leaf`: message `place` of a bundle that has the positions from `first_pos` on in an inbox's manifest.
 *
 * `leaf_hashes`: of the whole bundle, or of any run of neighbours. `proof`: subset proof of the run.
 */
export const SEQUENCED_LEAF = structCodec("SequencedLeaf", {
  manifest: SIGNED_MANIFEST,
  roster_hash: BYTES32,
  first_pos: U32,
  leaf_hashes: LeafHashes,
  place: U16,
  leaf: embedded(MESSAGE_LEAF),
  proof: ProofHashes,
});
/** @typedef {ValueOf<typeof SEQUENCED_LEAF>} SequencedLeaf */

/** A message that the provider committed to: by an inbox's manifest, or by delivering it. Exactly one is there. */
export const COMMITTED_LEAF = structCodec("CommittedLeaf", {
  sequenced: optional(SEQUENCED_LEAF),
  delivered: optional(LEAF_OPENING),
});
/** @typedef {ValueOf<typeof COMMITTED_LEAF>} CommittedLeaf */

/** Recipient `place` of a message, by its leaf's `recipients_root`; `salt` is the recipient's own. */
export const RECIPIENT_OPENING = structCodec("RecipientOpening", {
  device_id: BYTES32,
  salt: BYTES16,
  place: U16,
  proof: ProofHashes,
});
/** @typedef {ValueOf<typeof RECIPIENT_OPENING>} RecipientOpening */

/** @typedef {[actor: Actor, key: Bytes]} Signer */

/** @typedef {{ size: bigint, root: Bytes, key: Bytes }} OpenedNote */

/**
 * A committed epoch record, and the roster that it names.
 * @typedef {{ note: OpenedNote, record: EpochRecord, roster: Roster, epoch: bigint }} OpenedLog
 */

/**
 * A committed head.
 * @typedef {{ log: OpenedLog, head: EpochHead, signer: Signer, epoch: bigint }} OpenedHead
 */

/**
 * What a provider said of a mailbox as of an epoch, its deliveries included. `state`: null for none.
 * @typedef {{
 *   head: OpenedHead, mailbox: Bytes, state: MailboxState | null, epoch: bigint, signer: Signer,
 * }} OpenedState
 */

/** @typedef {{ state: OpenedState, record: HistoryRecord, signer: Signer }} OpenedRecord */

/**
 * A committed message. `mailbox`: to which it was delivered; null: it was sequenced.
 * @typedef {{ encoded: Bytes, leaf: MessageLeaf, epoch: bigint, mailbox: Bytes | null, signer: Signer }} OpenedLeaf
 */

/**
 * Size and root that a log key signed.
 * @param {Rosters} rosters
 * @param {Bytes} note
 * @returns {Promise<OpenedNote>}
 */
export async function openNote(rosters, note) {
  const [checkpoint] = parseCheckpoint(note);
  if (checkpoint.log_name !== logNameOf(rosters.origin)) throw new NotProven("the checkpoint is another log's");
  return { size: checkpoint.size, root: checkpoint.root, key: await rosters.logKey(note) };
}

/**
 * The note under which `opening.record`, whatever these bytes are, is leaf `opening.place`.
 * @param {Rosters} rosters
 * @param {LogOpening} opening
 */
export async function openLogLeaf(rosters, opening) {
  const note = await openNote(rosters, opening.note);
  checkInclusion(note.root, note.size, opening.place, leafHash(opening.record), opening.proof);
  return note;
}

/**
 * The epoch record that stands at its own index, under a roster that may bind its epoch.
 * @param {Rosters} rosters
 * @param {LogOpening} opening
 * @returns {Promise<OpenedLog>}
 */
export async function openLog(rosters, opening) {
  const note = await openLogLeaf(rosters, opening);
  const record = EPOCH_RECORD.decode(opening.record);
  if (record.epoch !== opening.place) throw new NotProven("the epoch record is not at its place in the log");
  return { note, record, roster: rosters.find(record.roster_hash, record.epoch), epoch: record.epoch };
}

/**
 * The head that an outbox signed for the epoch of a record, and that the record commits to.
 * @param {Rosters} rosters
 * @param {HeadOpening} opening
 * @returns {Promise<OpenedHead>}
 */
export async function openHead(rosters, opening) {
  const log = await openLog(rosters, opening.log);
  const { record, roster } = log;
  const signed = opening.head;
  const head = EPOCH_HEAD.decode(signed.body);
  const actor = parseActor(head.actor);
  if (actor.role !== Role.OUTBOX) throw new NotProven("not the head of an outbox");
  const isOfRecord = head.epoch === record.epoch && equal(head.roster_hash, record.roster_hash);
  if (!equal(head.origin, rosters.origin) || !isOfRecord) {
    throw new NotProven("the head of another origin, epoch or roster");
  }
  await verifyStatement(signed, "head", roster, actor, head.incarnation);
  const signers = roster.signers();
  if (record.statements_count !== signers.length) {
    throw new NotProven("the epoch has not one statement of every actor");
  }
  const leaf = statementLeafHash(head.actor, hashHead(signed.body));
  const place = signers.findIndex((signer) => equal(signer, head.actor));
  checkInclusion(record.statements_root, BigInt(signers.length), BigInt(place), leaf, opening.proof);
  return { log, head, signer: [actor, roster.entry(actor).key], epoch: record.epoch };
}

/**
 * The state of a mailbox, or that it has none, by the word of the outbox that keeps it in that epoch.
 *
 * Of generation 0 only: what a mailbox that moved brings with it may speak of another provider's epochs.
 * @param {Rosters} rosters
 * @param {StateOpening} opening
 * @returns {Promise<OpenedState>}
 */
export async function openState(rosters, opening) {
  const head = await openHead(rosters, opening.head);
  const { mailbox, other } = opening;
  const { record, roster } = head.log;
  if (!equal(record.placement_root, NO_OVERRIDES) || record.placement_count !== 0) {
    throw new NotProven("mailboxes may be elsewhere than hashing says");
  }
  if (!equal(placeMailbox(roster, mailbox).encode(), head.head.actor)) {
    throw new NotProven("another outbox keeps this mailbox");
  }
  const valueHash = opening.state.length ? hashState(opening.state) : null;
  const root = rootFromProof(mapKeyOf(mailbox), valueHash, { siblings: opening.path, other });
  if (!equal(root, head.head.map_root)) {
    throw new NotProven("the path does not lead to the root of the state map");
  }
  const state = opening.state.length ? MAILBOX_STATE.decode(opening.state) : null;
  if (state !== null && (!equal(state.mailbox, mailbox) || state.gen !== 0)) {
    throw new NotProven("the state of another mailbox, or of one that was elsewhere before");
  }
  return { head, mailbox, state, epoch: head.epoch, signer: head.signer };
}

/**
 * The state under which `opening.record`, whatever these bytes are, is leaf `opening.place` of the history.
 * @param {Rosters} rosters
 * @param {RecordOpening} opening
 * @returns {Promise<[opened: OpenedState, state: MailboxState]>}
 */
export async function openRecordLeaf(rosters, opening) {
  const opened = await openState(rosters, opening.state);
  const { state } = opened;
  if (state === null) throw new NotProven("a mailbox without a state has no records");
  checkInclusion(state.hist_root, state.hist_size, opening.place, leafHash(opening.record), opening.proof);
  return [opened, state];
}

/**
 * A mailbox's own record, at its own place in its history.
 * @param {Rosters} rosters
 * @param {RecordOpening} opening
 * @returns {Promise<OpenedRecord>}
 */
export async function openRecord(rosters, opening) {
  const [state] = await openRecordLeaf(rosters, opening);
  const record = HISTORY_RECORD.decode(opening.record);
  if (!equal(record.mailbox, opening.state.mailbox) || record.k !== opening.place) {
    throw new NotProven("the record of another mailbox, or of another place");
  }
  return { state, record, signer: state.signer };
}

/**
 * `placed.leaf`, whatever these bytes are, is leaf `placed.place` of what a record delivered. Throws ProofError.
 * @param {HistoryRecord} record
 * @param {PlacedLeaf} placed
 */
export function checkPlaced(record, placed) {
  const size = BigInt(record.n_messages);
  checkInclusion(record.delta_root, size, BigInt(placed.place), leafHash(placed.leaf), placed.proof);
}

/**
 * A message that was delivered to a mailbox, in the epoch that its seq names.
 * @param {Rosters} rosters
 * @param {LeafOpening} opening
 * @returns {Promise<OpenedLeaf>}
 */
export async function openLeaf(rosters, opening) {
  const opened = await openRecord(rosters, opening.record);
  checkPlaced(opened.record, opening);
  const leaf = MESSAGE_LEAF.decode(opening.leaf);
  const [epoch] = parseSeq(leaf.seq);
  if (epoch !== opened.record.epoch || epoch > opened.state.epoch) throw new NotProven("the message of another epoch");
  return { encoded: opening.leaf, leaf, epoch, mailbox: opened.record.mailbox, signer: opened.signer };
}

/**
 * A message that an inbox sequenced, at the position that its seq names.
 * @param {Rosters} rosters
 * @param {SequencedLeaf} opening
 * @returns {Promise<OpenedLeaf>}
 */
export async function openSequenced(rosters, opening) {
  const signed = opening.manifest;
  const manifest = MANIFEST.decode(signed.body);
  const roster = rosters.find(opening.roster_hash, manifest.epoch);
  const lane = roster.lanes.find((entry) => entry.lane === manifest.lane);
  if (!equal(manifest.origin, rosters.origin) || lane === undefined || !equal(manifest.actor, lane.inbox)) {
    throw new NotProven("the manifest of another origin, or of another lane's inbox");
  }
  const actor = parseActor(manifest.actor);
  await verifyStatement(signed, "manifest", roster, actor, manifest.incarnation);
  const { leaf_hashes: hashes, first_pos, place } = opening;
  if (place >= hashes.length || !equal(hashes[place], leafHash(opening.leaf))) {
    throw new NotProven("the message is not in its bundle");
  }
  const positions = hashes.map((_, i) => BigInt(first_pos + i));
  const root = rootFromSubset(BigInt(manifest.n_messages), positions, hashes, opening.proof);
  if (!equal(root, manifest.root)) throw new NotProven("the bundle is not in the manifest");
  const leaf = MESSAGE_LEAF.decode(opening.leaf);
  if (!equal(leaf.seq, makeSeq(manifest.epoch, manifest.lane, first_pos + place))) {
    throw new NotProven("the message names another position");
  }
  const signer = /** @type {Signer} */ ([actor, roster.entry(actor).key]);
  return { encoded: opening.leaf, leaf, epoch: manifest.epoch, mailbox: null, signer };
}

/**
 * A message that the provider committed to, one way or the other.
 * @param {Rosters} rosters
 * @param {CommittedLeaf} opening
 */
export async function openCommitted(rosters, opening) {
  if (opening.delivered !== null && opening.sequenced === null) return await openLeaf(rosters, opening.delivered);
  if (opening.sequenced !== null && opening.delivered === null) {
    return await openSequenced(rosters, opening.sequenced);
  }
  throw new DecodeError("a committed message is either sequenced or delivered");
}

/**
 * The device id of recipient `opening.place` of a message. Throws ProofError.
 * @param {MessageLeaf} leaf
 * @param {RecipientOpening} opening
 */
export function openRecipient(leaf, opening) {
  const recipient = leafHash(concat(RECIPIENT_LEAF, hashRecipient(opening.salt, opening.device_id)));
  const size = BigInt(leaf.n_recipients);
  checkInclusion(leaf.recipients_root, size, BigInt(opening.place), recipient, opening.proof);
  return opening.device_id;
}
