/**
 * What each stage checks of the statements that it was given, before it signs its own.
 *
 * Knows nothing of stores or proofs of misbehaviour. Stages, auditors and verifiers of evidence run these same checks:
 * manifest -> route sheet -> merge sheet -> head, each of which names the hash of the one before it. All of them throw
 * DecodeError, ProofError or SignatureError.
 * @module
 */

/** @import { Bytes } from "./bytes.js" */
/** @import { Signed } from "./signing.js" */
/** @import { Roster } from "./statements.js" */
import { equal, same } from "./bytes.js";
import { ProofError } from "./errors.js";
import { Actor, Role, parseActor, parseSeq } from "./identifiers.js";
import { leafHash } from "./merkle.js";
import { placeMailbox } from "./placement.js";
import {
  EPOCH_HEAD,
  MANIFEST,
  MERGE_SHEET,
  ROUTE_ENTRY,
  ROUTE_SHEET,
  SHEET_ITEM,
  verifyStatement,
} from "./statements.js";

/**
 * Of one SheetItem, as a leaf.
 * @param {Bytes} mailbox
 * @param {number} nMessages
 * @param {Bytes} deltaRoot
 */
export function itemHash(mailbox, nMessages, deltaRoot) {
  return leafHash(SHEET_ITEM.encode({ mailbox, n_messages: nMessages, delta_root: deltaRoot }));
}

/**
 * Of one RouteEntry, as a leaf.
 * @param {Bytes} outbox the actor, encoded
 * @param {number} nMailboxes
 * @param {Bytes} root
 */
export function entryHash(outbox, nMailboxes, root) {
  return leafHash(ROUTE_ENTRY.encode({ outbox, n_mailboxes: nMailboxes, root }));
}

/**
 * The router of an inbox's lane: it has the inbox's number.
 * @param {Bytes} inbox
 */
export function routerOf(inbox) {
  const { shard, number } = parseActor(inbox);
  return new Actor(Role.ROUTER, shard, number);
}

/**
 * The receiver of an outbox: it has the outbox's number.
 * @param {Actor} outbox
 */
export function receiverOf(outbox) {
  return new Actor(Role.RECEIVER, outbox.shard, outbox.number);
}

/**
 * Through whose hands a message for a mailbox goes: inbox, router, receiver, outbox.
 *
 * Without the first two, if the seq is of no lane: then the others have nothing there. `roster`: the one in force in
 * the seq's epoch. Throws DecodeError for a seq that is none.
 * @param {Roster} roster
 * @param {Bytes} seq
 * @param {Bytes} mailbox
 */
export function wayOf(roster, seq, mailbox) {
  const lane = parseSeq(seq)[1];
  const inboxes = roster.lanes.filter((one) => one.lane === lane).map((one) => one.inbox);
  const outbox = placeMailbox(roster, mailbox);
  return [...inboxes.map(parseActor), ...inboxes.map(routerOf), receiverOf(outbox), outbox];
}

/**
 * The inbox of a lane, encoded; null where the roster has no such lane.
 * @param {Roster} roster
 * @param {number} lane
 */
function inboxOf(roster, lane) {
  return roster.lanes.find((one) => one.lane === lane)?.inbox ?? null;
}

/**
 * What the inbox of a lane signed.
 * @param {Signed} signed
 * @param {Roster} roster
 * @param {number} lane
 * @param {bigint} epoch
 */
export async function checkManifest(signed, roster, lane, epoch) {
  const manifest = MANIFEST.decode(signed.body);
  const named = [manifest.origin, manifest.actor, manifest.lane, manifest.epoch];
  if (!same(named, [roster.origin, inboxOf(roster, lane), lane, epoch])) {
    throw new ProofError("the manifest of another origin, lane or epoch", "wrong-manifest");
  }
  await verifyStatement(signed, "manifest", roster, parseActor(manifest.actor), manifest.incarnation);
  return manifest;
}

/**
 * What the router of a lane signed over this manifest.
 * @param {Signed} signed
 * @param {Roster} roster
 * @param {Bytes} rosterHash
 * @param {number} lane
 * @param {bigint} epoch
 * @param {Bytes} manifestHash
 */
export async function checkRouteSheet(signed, roster, rosterHash, lane, epoch, manifestHash) {
  const sheet = ROUTE_SHEET.decode(signed.body);
  const inbox = inboxOf(roster, lane);
  const router = inbox && routerOf(inbox).encode();
  const expected = [roster.origin, router, lane, epoch, rosterHash, roster.countOf(Role.OUTBOX)];
  const named = [sheet.origin, sheet.actor, sheet.lane, sheet.epoch, sheet.roster_hash, sheet.n_outboxes];
  if (!same(named, expected)) {
    throw new ProofError("the route sheet of another origin, lane, epoch or roster", "wrong-sheet");
  }
  if (!equal(sheet.manifest_hash, manifestHash)) {
    throw new ProofError("the route sheet was made from another manifest", "wrong-sheet");
  }
  await verifyStatement(signed, "route", roster, parseActor(sheet.actor), sheet.incarnation);
  return sheet;
}

/**
 * What the receiver of an outbox signed over these route sheets, by hash, in the order of lanes.
 * @param {Signed} signed
 * @param {Roster} roster
 * @param {Bytes} rosterHash
 * @param {Actor} outbox
 * @param {bigint} epoch
 * @param {readonly Bytes[]} inputs
 */
export async function checkMergeSheet(signed, roster, rosterHash, outbox, epoch, inputs) {
  const sheet = MERGE_SHEET.decode(signed.body);
  const receiver = receiverOf(outbox);
  const expected = [roster.origin, receiver.encode(), epoch, rosterHash];
  if (!same([sheet.origin, sheet.actor, sheet.epoch, sheet.roster_hash], expected)) {
    throw new ProofError("the merge sheet of another origin, outbox, epoch or roster", "wrong-sheet");
  }
  if (!same(sheet.inputs, inputs)) {
    throw new ProofError("the merge sheet was made from other route sheets", "wrong-sheet");
  }
  await verifyStatement(signed, "merge", roster, receiver, sheet.incarnation);
  return sheet;
}

/**
 * What an outbox signed over this merge sheet.
 * @param {Signed} signed
 * @param {Roster} roster
 * @param {Bytes} rosterHash
 * @param {Actor} outbox
 * @param {bigint} epoch
 * @param {Bytes} mergeSheetHash
 */
export async function checkHead(signed, roster, rosterHash, outbox, epoch, mergeSheetHash) {
  const head = EPOCH_HEAD.decode(signed.body);
  const expected = [roster.origin, outbox.encode(), epoch, rosterHash];
  if (!same([head.origin, head.actor, head.epoch, head.roster_hash], expected)) {
    throw new ProofError("the head of another origin, outbox, epoch or roster", "wrong-head");
  }
  if (!equal(head.merge_sheet_hash, mergeSheetHash)) {
    throw new ProofError("the head was made from another merge sheet", "wrong-head");
  }
  await verifyStatement(signed, "head", roster, outbox, head.incarnation);
  return head;
}
