/**
 * What each stage's signed statement says of one message and one mailbox, opened.
 *
 * Knows nothing of who lied: a view is a leaf, or nothing, by the word of one signer. There are four, one for each stage:
 * the manifest (is the mailbox's device a recipient?), the route sheet, the merge sheet, the mailbox's history.
 *
 * A view is about a question: a seq and a mailbox. Sheets name the roster that they were made under; where that roster
 * keeps the mailbox is where the view must look. All that opens throws DecodeError for what is not well formed, and
 * NotProven, ProofError or SignatureError for the rest.
 * @module
 */

/** @import { Bytes } from "../bytes.js" */
/** @import { SignedHead } from "../delta.js" */
/** @import { ValueOf } from "../encoding.js" */
/** @import { Actor } from "../identifiers.js" */
/** @import { MergeSheet, Roster, RouteSheet, SheetItem } from "../statements.js" */
/** @import { Absence } from "./absences.js" */
/** @import { LeafOpening, PlacedLeaf } from "./openings.js" */
/** @import { Rosters } from "./rosters.js" */
import { compare, equal } from "../bytes.js";
import { SIGNED_HEAD, SIGNED_ROSTER } from "../delta.js";
import { BYTES16, BYTES32, BYTES5, U32, listOf, optional, structCodec } from "../encoding.js";
import { DecodeError } from "../errors.js";
import { SIGNED_MANIFEST } from "../frames.js";
import { parseSeq } from "../identifiers.js";
import { SIGNED_MERGE, SIGNED_ROUTE } from "../log_pages.js";
import { checkInclusion, leafHash } from "../merkle.js";
import { checkManifest, checkMergeSheet, checkRouteSheet, entryHash, itemHash } from "../stages.js";
import {
  MERGE_SHEET,
  MESSAGE_LEAF,
  ROUTE_ENTRY,
  ROUTE_SHEET,
  SHEET_ITEM,
  hashManifest,
  hashMerge,
  hashRoute,
} from "../statements.js";
import { ABSENCE, openAbsence } from "./absences.js";
import { checkNotAmong } from "./messages.js";
import {
  LEAF_OPENING,
  PLACED_LEAF,
  ProofHashes,
  RECIPIENT_OPENING,
  SEQUENCED_LEAF,
  openLeaf,
  openRecipient,
  openSequenced,
} from "./openings.js";
import { NotProven } from "./verdict.js";

export const ANSWER_ROSTERS_MAX = 8;

/** One actor answers for itself; what several answered may stand in one, of one question. */
export const ANSWER_STAGES_MAX = 4;

/** What became of the message at `seq` for `mailbox`? */
export const QUESTION = structCodec("Question", { seq: BYTES16, mailbox: BYTES32 });
/** @typedef {ValueOf<typeof QUESTION>} Question */

/** A manifest that ends before a position: nothing was sequenced there. */
export const ENDED_LANE = structCodec("EndedLane", { manifest: SIGNED_MANIFEST, roster_hash: BYTES32 });
/** @typedef {ValueOf<typeof ENDED_LANE>} EndedLane */

/**
 * The message at a seq, and of its recipients the mailbox's own device, or the neighbours between which that is not (as
 * in Misdelivery); or that the lane ended before.
 */
export const SEQUENCED_VIEW = structCodec("SequencedView", {
  message: optional(SEQUENCED_LEAF),
  recipients: listOf(RECIPIENT_OPENING, 2),
  ended: optional(ENDED_LANE),
});
/** @typedef {ValueOf<typeof SEQUENCED_VIEW>} SequencedView */

/** `item`: number `place` of what a sheet holds for an outbox. */
export const PLACED_ITEM = structCodec("PlacedItem", { place: U32, item: SHEET_ITEM, proof: ProofHashes });
/** @typedef {ValueOf<typeof PLACED_ITEM>} PlacedItem */

/**
 * Of what a sheet holds for an outbox: the mailbox's `item`, and in it the `leaf` at the seq, or the neighbours `before`
 * and `after` between which it is not; or no item, but its neighbours. One neighbour, at an end.
 */
export const SHEET_VIEW = structCodec("SheetView", {
  item: optional(PLACED_ITEM),
  leaf: optional(PLACED_LEAF),
  before: optional(PLACED_LEAF),
  after: optional(PLACED_LEAF),
  item_before: optional(PLACED_ITEM),
  item_after: optional(PLACED_ITEM),
});
/** @typedef {ValueOf<typeof SHEET_VIEW>} SheetView */

/** `entry`: of one outbox, at its number. `content`: what is under that entry. */
export const ROUTE_VIEW = structCodec("RouteView", {
  sheet: SIGNED_ROUTE,
  entry: ROUTE_ENTRY,
  proof: ProofHashes,
  content: SHEET_VIEW,
});
/** @typedef {ValueOf<typeof ROUTE_VIEW>} RouteView */

export const MERGE_VIEW = structCodec("MergeView", { sheet: SIGNED_MERGE, content: SHEET_VIEW });
/** @typedef {ValueOf<typeof MERGE_VIEW>} MergeView */

/**
 * What one actor was given and what it made of it. Whatever is not its business is left out.
 *
 * An inbox: `sequenced`. A router: `sequenced`, `routed`. A receiver: `routed`, `merged`. An outbox: `merged`, its
 * `head` of the seq's epoch, and `delivered` or `absent`, under any head that the same key signed.
 */
export class StageCustody {
  /**
   * @param {Bytes} actor encoded
   * @param {Partial<Omit<StageCustody, "actor">>} [shown]
   */
  constructor(actor, shown = {}) {
    this.actor = actor;
    /** @type {SequencedView | null} */
    this.sequenced = shown.sequenced ?? null;
    /** @type {RouteView | null} */
    this.routed = shown.routed ?? null;
    /** @type {MergeView | null} */
    this.merged = shown.merged ?? null;
    /** @type {SignedHead | null} */
    this.head = shown.head ?? null;
    /** @type {LeafOpening | null} */
    this.delivered = shown.delivered ?? null;
    /** @type {Absence | null} */
    this.absent = shown.absent ?? null;
  }
}

export const STAGE_CUSTODY = structCodec("StageCustody", {
  actor: BYTES5,
  sequenced: optional(SEQUENCED_VIEW),
  routed: optional(ROUTE_VIEW),
  merged: optional(MERGE_VIEW),
  head: optional(SIGNED_HEAD),
  delivered: optional(LEAF_OPENING),
  absent: optional(ABSENCE),
});

/** What actors answer to a question, with the rosters that verify it. */
export const CUSTODY_ANSWER = structCodec("CustodyAnswer", {
  rosters: listOf(SIGNED_ROSTER, ANSWER_ROSTERS_MAX),
  question: QUESTION,
  stages: listOf(STAGE_CUSTODY, ANSWER_STAGES_MAX),
});
/** @typedef {ValueOf<typeof CUSTODY_ANSWER>} CustodyAnswer */

/**
 * `leaf`: the message, when the mailbox's device is among its recipients.
 * @typedef {{ manifest_hash: Bytes, roster_hash: Bytes, leaf: Bytes | null }} OpenedManifest
 */
/** @typedef {{ sheet: RouteSheet, sheet_hash: Bytes, roster: Roster, leaf: Bytes | null }} OpenedRoute */
/** @typedef {{ sheet: MergeSheet, sheet_hash: Bytes, roster: Roster, leaf: Bytes | null }} OpenedMerge */
/**
 * `signer`: (actor, key) of the head that it was opened under.
 * @typedef {{ signer: [actor: Actor, key: Bytes], leaf: Bytes | null }} OpenedHistory
 */

/**
 * @param {Rosters} rosters
 * @param {SequencedView} view
 * @param {Question} question
 * @returns {Promise<OpenedManifest>}
 */
export async function openSequencedView(rosters, view, question) {
  const [epoch, lane, pos] = parseSeq(question.seq);
  if (view.message !== null && view.ended === null) {
    const message = await openSequenced(rosters, view.message);
    if (!equal(message.leaf.seq, question.seq)) throw new NotProven("the message at another position");
    const manifest_hash = hashManifest(view.message.manifest.body);
    const { roster_hash } = view.message;
    const ids = view.recipients.map((one) => openRecipient(message.leaf, one));
    if (ids.length === 1 && equal(ids[0], question.mailbox)) {
      return { manifest_hash, roster_hash, leaf: message.encoded };
    }
    checkNotAmong(message.leaf, view.recipients, question.mailbox);
    return { manifest_hash, roster_hash, leaf: null };
  }
  if (view.ended === null || view.message !== null || view.recipients.length) {
    throw new DecodeError("a view of a manifest is of a message, or of the lane's end");
  }
  const { roster_hash } = view.ended;
  const roster = rosters.find(roster_hash, epoch);
  const manifest = await checkManifest(view.ended.manifest, roster, lane, epoch);
  if (pos < manifest.n_messages) throw new NotProven("the lane goes on");
  return { manifest_hash: hashManifest(view.ended.manifest.body), roster_hash, leaf: null };
}

/**
 * Under the entry of the outbox that keeps the mailbox, in the sheet of the seq's lane and epoch.
 * @param {Rosters} rosters
 * @param {RouteView} view
 * @param {Question} question
 * @returns {Promise<OpenedRoute>}
 */
export async function openRouteView(rosters, view, question) {
  const [epoch, lane] = parseSeq(question.seq);
  const named = ROUTE_SHEET.decode(view.sheet.body);
  const roster = rosters.find(named.roster_hash, epoch);
  const sheet = await checkRouteSheet(view.sheet, roster, named.roster_hash, lane, epoch, named.manifest_hash);
  const outbox = rosters.place(named.roster_hash, question.mailbox);
  const { entry, content } = view;
  const entryLeaf = entryHash(entry.outbox, entry.n_mailboxes, entry.root);
  checkInclusion(sheet.root, BigInt(sheet.n_outboxes), BigInt(outbox.number), entryLeaf, view.proof);
  const leaf = openContent(entry.root, entry.n_mailboxes, content, question);
  return { sheet, sheet_hash: hashRoute(view.sheet.body), roster, leaf };
}

/**
 * In the sheet for the outbox that keeps the mailbox, of the seq's epoch.
 * @param {Rosters} rosters
 * @param {MergeView} view
 * @param {Question} question
 * @returns {Promise<OpenedMerge>}
 */
export async function openMergeView(rosters, view, question) {
  const [epoch] = parseSeq(question.seq);
  const named = MERGE_SHEET.decode(view.sheet.body);
  const roster = rosters.find(named.roster_hash, epoch);
  const outbox = rosters.place(named.roster_hash, question.mailbox);
  const sheet = await checkMergeSheet(view.sheet, roster, named.roster_hash, outbox, epoch, named.inputs);
  const leaf = openContent(sheet.root, sheet.n_mailboxes, view.content, question);
  return { sheet, sheet_hash: hashMerge(view.sheet.body), roster, leaf };
}

/**
 * Under a head of the seq's epoch or a later one.
 * @param {Rosters} rosters
 * @param {LeafOpening | null} delivered
 * @param {Absence | null} absent
 * @param {Question} question
 * @returns {Promise<OpenedHistory>}
 */
export async function openHistoryView(rosters, delivered, absent, question) {
  if (delivered !== null && absent === null) {
    const opened = await openLeaf(rosters, delivered);
    if (opened.mailbox === null || !equal(opened.mailbox, question.mailbox) || !equal(opened.leaf.seq, question.seq)) {
      throw new NotProven("another message, or another mailbox");
    }
    return { signer: opened.signer, leaf: opened.encoded };
  }
  if (absent !== null && delivered === null) {
    const nothing = await openAbsence(rosters, absent, question.seq);
    if (!equal(nothing.mailbox, question.mailbox)) throw new NotProven("the absence from another mailbox");
    return { signer: nothing.signer, leaf: null };
  }
  throw new DecodeError("a message was delivered, or it was not");
}

/**
 * `placed` is among the items of a sheet, or of an entry in it. Throws ProofError.
 * @param {Bytes} root
 * @param {number} nItems
 * @param {PlacedItem} placed
 */
export function checkItem(root, nItems, placed) {
  const { mailbox, n_messages, delta_root } = placed.item;
  const leaf = itemHash(mailbox, n_messages, delta_root);
  checkInclusion(root, BigInt(nItems), BigInt(placed.place), leaf, placed.proof);
}

/**
 * `placed.leaf`, whatever these bytes are, is among the messages of an item. Throws ProofError.
 * @param {SheetItem} item
 * @param {PlacedLeaf} placed
 */
export function checkItemLeaf(item, placed) {
  checkInclusion(item.delta_root, BigInt(item.n_messages), BigInt(placed.place), leafHash(placed.leaf), placed.proof);
}

/**
 * The leaf of the question under a root of items.
 * @param {Bytes} root
 * @param {number} nItems
 * @param {SheetView} view
 * @param {Question} question
 * @returns {Bytes | null}
 */
function openContent(root, nItems, view, question) {
  const { item: placedItem, leaf, before, after, item_before: itemBefore, item_after: itemAfter } = view;
  if (placedItem === null) {
    if (leaf !== null || before !== null || after !== null) throw new DecodeError("messages of no item");
    for (const one of [itemBefore, itemAfter]) if (one !== null) checkItem(root, nItems, one);
    checkBetween(
      itemBefore && { place: itemBefore.place, key: itemBefore.item.mailbox },
      itemAfter && { place: itemAfter.place, key: itemAfter.item.mailbox },
      nItems,
      question.mailbox,
    );
    return null;
  }
  if (itemBefore !== null || itemAfter !== null) throw new DecodeError("neighbours of an item that is there");
  checkItem(root, nItems, placedItem);
  const { item } = placedItem;
  if (!equal(item.mailbox, question.mailbox)) throw new NotProven("the item of another mailbox");
  for (const placed of [leaf, before, after]) if (placed !== null) checkItemLeaf(item, placed);
  if (leaf !== null) {
    if (before !== null || after !== null) throw new DecodeError("neighbours of a message that is there");
    if (!equal(seqOf(leaf.leaf), question.seq)) throw new NotProven("the message at another position");
    return leaf.leaf;
  }
  checkBetween(
    before && { place: before.place, key: seqOf(before.leaf) },
    after && { place: after.place, key: seqOf(after.leaf) },
    item.n_messages,
    question.seq,
  );
  return null;
}

/**
 * Neighbours among `count`, or one at an end: `wanted` is between or beyond.
 * @param {{ place: number, key: Bytes } | null} before
 * @param {{ place: number, key: Bytes } | null} after
 * @param {number} count
 * @param {Bytes} wanted
 */
function checkBetween(before, after, count, wanted) {
  const nextPlace = before === null ? 0 : before.place + 1;
  if (nextPlace !== (after === null ? count : after.place)) {
    throw new NotProven("there is something between the neighbours");
  }
  if ((before !== null && compare(before.key, wanted) >= 0) || (after !== null && compare(wanted, after.key) >= 0)) {
    throw new NotProven("it may be elsewhere");
  }
}

/** @param {Bytes} leaf */
function seqOf(leaf) {
  return MESSAGE_LEAF.decode(leaf).seq;
}
