/**
 * A stage's signed output against its signed input: a message left out, or put in.
 *
 * Knows nothing of how the statements were found, nor of who was deceived. A router's sheet names the manifest that it
 * was made from, a receiver's the route sheets, an outbox's head the merge sheet. An honest stage passes on what it was
 * given, byte by byte, and nothing else. It checks what it is given before it signs; so whoever names a statement by its
 * hash has accepted it. Without that hash two statements of neighbours contradict nothing: the one before may have signed
 * another.
 * @module
 */

/** @import { Bytes } from "../bytes.js" */
/** @import { SignedHead } from "../delta.js" */
/** @import { ValueOf } from "../encoding.js" */
/** @import { EpochHead, MessageLeaf, Roster } from "../statements.js" */
/** @import { PlacedLeaf } from "./openings.js" */
/** @import { Rosters } from "./rosters.js" */
/** @import { MergeView, OpenedHistory, OpenedManifest, OpenedMerge, OpenedRoute } from "./stage_views.js" */
/** @import { PlacedItem, Question, RouteView, SheetView, StageCustody } from "./stage_views.js" */
import { compare, equal, same } from "../bytes.js";
import { structCodec } from "../encoding.js";
import { DecodeError } from "../errors.js";
import { Actor, Role, formatId, parseActor, parseSeq } from "../identifiers.js";
import { checkInclusion } from "../merkle.js";
import { placeMailbox } from "../placement.js";
import { checkHead, checkMergeSheet, checkRouteSheet, entryHash } from "../stages.js";
import { EPOCH_HEAD, MERGE_SHEET, MESSAGE_LEAF, ROUTE_SHEET } from "../statements.js";
import {
  QUESTION,
  STAGE_CUSTODY,
  checkItem,
  checkItemLeaf,
  openHistoryView,
  openMergeView,
  openRouteView,
  openSequencedView,
} from "./stage_views.js";
import { NotProven, Verdict } from "./verdict.js";

/** A message that a stage was given for a mailbox, and that it passed on with other bytes, or not at all. */
export const STAGE_OMISSION = structCodec("StageOmission", { question: QUESTION, custody: STAGE_CUSTODY });
/** @typedef {ValueOf<typeof STAGE_OMISSION>} StageOmission */

/**
 * A message that a stage passed on to a mailbox, and that it was not given for it.
 *
 * With one sheet alone in `custody`: it holds what no sheet of its place may hold, or in an order that none has.
 */
export const STAGE_INSERTION = structCodec("StageInsertion", { question: QUESTION, custody: STAGE_CUSTODY });
/** @typedef {ValueOf<typeof STAGE_INSERTION>} StageInsertion */

/**
 * What a stage was given for a mailbox at a seq, and what it made of it.
 * @typedef {{ actor: Actor, given: Bytes | null, made: Bytes | null }} StagePair
 */

/**
 * `signer`: (actor, key).
 * @typedef {{ head: EpochHead, signer: [actor: Actor, key: Bytes] }} OpenedStageHead
 */

/**
 * @param {Rosters} rosters
 * @param {StageOmission} finding
 */
export async function verifyStageOmission(rosters, finding) {
  const { actor, given, made } = await openPair(rosters, finding.question, finding.custody);
  if (given === null || (made !== null && equal(given, made))) {
    throw new NotProven("the stage was given nothing, or it passed on what it was given");
  }
  const how =
    made === null
      ? "and passed on nothing there"
      : `and passed on another, which differs in ${differences(given, made)}`;
  const detail = `${actor} was given ${describe(finding.question)}, ${how}`;
  return convict("StageOmission", rosters, actor, finding.question, detail);
}

/**
 * @param {Rosters} rosters
 * @param {StageInsertion} finding
 */
export async function verifyStageInsertion(rosters, finding) {
  const { sequenced, routed, merged, head, delivered, absent } = finding.custody;
  if (sequenced === null && head === null && delivered === null && absent === null) {
    if (routed !== null && merged === null) return await verifyLoneRoute(rosters, finding, routed);
    if (routed === null && merged !== null) return await verifyLoneMerge(rosters, finding, merged);
  }
  const { actor, given, made } = await openPair(rosters, finding.question, finding.custody);
  if (made === null || given !== null) throw new NotProven("the stage passed on nothing, or it was given something");
  const detail = `${actor} passed on ${describe(finding.question)}, and was not given it`;
  return convict("StageInsertion", rosters, actor, finding.question, detail);
}

/**
 * The input and the output that one stage's own statement binds together, and nothing else. Throws NoiseErrors.
 * @param {Rosters} rosters
 * @param {Question} question
 * @param {StageCustody} custody
 * @returns {Promise<StagePair>}
 */
export async function openPair(rosters, question, custody) {
  const [pair, isBound] = await openBothSides(rosters, question, custody);
  if (!equal(custody.actor, pair.actor.encode())) throw new NotProven("the custody of another actor");
  if (!isBound) throw new NotProven("the one was not made from the other");
  return pair;
}

/**
 * @param {Rosters} rosters
 * @param {Question} question
 * @param {StageCustody} custody
 * @returns {Promise<[pair: StagePair, isBound: boolean]>}
 */
async function openBothSides(rosters, question, custody) {
  const { sequenced, routed, merged, head: signed, delivered, absent } = custody;
  const isSheet = signed === null && delivered === null && absent === null;
  if (isSheet && sequenced !== null && routed !== null && merged === null) {
    const manifest = await openSequencedView(rosters, sequenced, question);
    const route = await openRouteView(rosters, routed, question);
    const pair = { actor: parseActor(route.sheet.actor), given: manifest.leaf, made: route.leaf };
    return [pair, isRoutedFrom(manifest, route)];
  }
  if (isSheet && sequenced === null && routed !== null && merged !== null) {
    const route = await openRouteView(rosters, routed, question);
    const merge = await openMergeView(rosters, merged, question);
    const pair = { actor: parseActor(merge.sheet.actor), given: route.leaf, made: merge.leaf };
    return [pair, isMergedFrom(route, merge)];
  }
  if (sequenced === null && routed === null && merged !== null && signed !== null) {
    const merge = await openMergeView(rosters, merged, question);
    const head = await openStageHead(rosters, signed, question);
    const history = await openHistoryView(rosters, delivered, absent, question);
    const pair = { actor: head.signer[0], given: merge.leaf, made: history.leaf };
    return [pair, isKeptFrom(merge, head, history)];
  }
  throw new DecodeError("not what one stage was given and made");
}

/**
 * @param {OpenedManifest} given
 * @param {OpenedRoute} made
 */
export function isRoutedFrom(given, made) {
  return equal(given.roster_hash, made.sheet.roster_hash) && equal(given.manifest_hash, made.sheet.manifest_hash);
}

/**
 * @param {OpenedRoute} given
 * @param {OpenedMerge} made
 */
export function isMergedFrom(given, made) {
  if (!equal(given.sheet.roster_hash, made.sheet.roster_hash)) return false;
  const lanes = made.roster.lanes.map((one) => one.lane);
  const place = lanes.indexOf(given.sheet.lane);
  return lanes.length === made.sheet.inputs.length && place >= 0 && equal(made.sheet.inputs[place], given.sheet_hash);
}

/**
 * `made`: by the very key that signed the epoch's head. A later one inherited the history and made none of it.
 * @param {OpenedMerge} given
 * @param {OpenedStageHead} head
 * @param {OpenedHistory} made
 */
export function isKeptFrom(given, head, made) {
  return (
    equal(head.head.roster_hash, given.sheet.roster_hash) &&
    equal(head.head.merge_sheet_hash, given.sheet_hash) &&
    same(head.signer, made.signer)
  );
}

/**
 * The head of the seq's epoch, by the outbox that keeps the mailbox.
 * @param {Rosters} rosters
 * @param {SignedHead} signed
 * @param {Question} question
 * @returns {Promise<OpenedStageHead>}
 */
export async function openStageHead(rosters, signed, question) {
  const [epoch] = parseSeq(question.seq);
  const named = EPOCH_HEAD.decode(signed.body);
  const roster = rosters.find(named.roster_hash, epoch);
  const outbox = placeMailbox(roster, question.mailbox);
  const head = await checkHead(signed, roster, named.roster_hash, outbox, epoch, named.merge_sheet_hash);
  return { head, signer: [outbox, roster.entry(outbox).key] };
}

/**
 * @param {Rosters} rosters
 * @param {StageInsertion} finding
 * @param {RouteView} view
 */
async function verifyLoneRoute(rosters, finding, view) {
  const [epoch, lane] = parseSeq(finding.question.seq);
  const named = ROUTE_SHEET.decode(view.sheet.body);
  const roster = rosters.find(named.roster_hash, epoch);
  const sheet = await checkRouteSheet(view.sheet, roster, named.roster_hash, lane, epoch, named.manifest_hash);
  const { entry, content } = view;
  const outbox = parseActor(entry.outbox);
  const leaf = entryHash(entry.outbox, entry.n_mailboxes, entry.root);
  checkInclusion(sheet.root, BigInt(sheet.n_outboxes), BigInt(outbox.number), leaf, view.proof);
  checkShown(entry.root, entry.n_mailboxes, content);
  return convictLone(rosters, finding, sheet.actor, findMisplaced(roster, outbox, epoch, [lane], content));
}

/**
 * @param {Rosters} rosters
 * @param {StageInsertion} finding
 * @param {MergeView} view
 */
async function verifyLoneMerge(rosters, finding, view) {
  const [epoch] = parseSeq(finding.question.seq);
  const named = MERGE_SHEET.decode(view.sheet.body);
  const roster = rosters.find(named.roster_hash, epoch);
  const receiver = parseActor(named.actor);
  const outbox = new Actor(Role.OUTBOX, receiver.shard, receiver.number);
  const sheet = await checkMergeSheet(view.sheet, roster, named.roster_hash, outbox, epoch, named.inputs);
  checkShown(sheet.root, sheet.n_mailboxes, view.content);
  const lanes = roster.lanes.map((one) => one.lane);
  return convictLone(rosters, finding, sheet.actor, findMisplaced(roster, outbox, epoch, lanes, view.content));
}

/**
 * @param {Rosters} rosters
 * @param {StageInsertion} finding
 * @param {Bytes} actor
 * @param {string} what
 */
function convictLone(rosters, finding, actor, what) {
  if (!equal(finding.custody.actor, actor)) throw new NotProven("the custody of another actor");
  const detail = `${parseActor(actor)} signed a sheet that nobody may sign: ${what}`;
  return convict("StageInsertion", rosters, parseActor(actor), finding.question, detail);
}

/**
 * @param {SheetView} view
 * @returns {PlacedItem[]}
 */
function shownItems(view) {
  return [view.item_before, view.item, view.item_after].filter((one) => one !== null);
}

/**
 * @param {SheetView} view
 * @returns {PlacedLeaf[]}
 */
function shownLeaves(view) {
  return [view.before, view.leaf, view.after].filter((one) => one !== null);
}

/**
 * All that is shown is under the root: leaves under `item`. Throws DecodeError or ProofError.
 * @param {Bytes} root
 * @param {number} nItems
 * @param {SheetView} view
 */
function checkShown(root, nItems, view) {
  for (const one of shownItems(view)) checkItem(root, nItems, one);
  for (const leaf of shownLeaves(view)) {
    if (view.item === null) throw new DecodeError("messages of no item");
    checkItemLeaf(view.item.item, leaf);
  }
}

/**
 * What of all that is shown an honest sheet for this outbox has not. Throws NotProven.
 * @param {Roster} roster
 * @param {Actor} outbox
 * @param {bigint} epoch
 * @param {number[]} lanes
 * @param {SheetView} view
 */
function findMisplaced(roster, outbox, epoch, lanes, view) {
  const items = shownItems(view);
  const placed = shownLeaves(view);
  for (const { item } of items) {
    if (!same(placeMailbox(roster, item.mailbox), outbox)) {
      return `${outbox} does not keep the mailbox ${formatId(item.mailbox)}`;
    }
  }
  /** @type {{ place: number, seq: Bytes }[]} */
  const messages = [];
  for (const { place, leaf } of placed) {
    try {
      messages.push({ place, seq: MESSAGE_LEAF.decode(leaf).seq });
    } catch (error) {
      if (error instanceof DecodeError) return "a part of it is no message";
      throw error;
    }
  }
  for (const { seq } of messages) {
    const where = parseSeq(seq);
    if (where[0] !== epoch || !lanes.includes(where[1])) {
      return `the message ${where.join("/")} is of another epoch or lane`;
    }
  }
  const mailboxes = items.map(({ place, item }) => ({ place, key: item.mailbox }));
  if (isOutOfOrder(mailboxes)) return "its mailboxes do not increase";
  const seqs = messages.map(({ place, seq }) => ({ place, key: seq }));
  if (isOutOfOrder(seqs)) return "the messages of a mailbox do not increase";
  throw new NotProven("what is shown of the sheet may be there");
}

/**
 * Whether of two neighbours the first is not before the second.
 * @param {{ place: number, key: Bytes }[]} placed
 */
function isOutOfOrder(placed) {
  return placed.slice(1).some((b, i) => placed[i].place + 1 === b.place && compare(placed[i].key, b.key) >= 0);
}

/**
 * @param {string} kind
 * @param {Rosters} rosters
 * @param {Actor} actor
 * @param {Question} question
 * @param {string} detail
 */
function convict(kind, rosters, actor, question, detail) {
  return new Verdict(kind, actor.toString(), rosters.origin, parseSeq(question.seq)[0], detail);
}

/** @param {Question} question */
function describe(question) {
  return `the message ${parseSeq(question.seq).join("/")} for the mailbox ${formatId(question.mailbox)}`;
}

/**
 * @param {Bytes} given
 * @param {Bytes} made
 */
function differences(given, made) {
  const one = MESSAGE_LEAF.decode(given);
  const other = MESSAGE_LEAF.decode(made);
  const names = /** @type {(keyof MessageLeaf)[]} */ (Object.keys(one));
  return names.filter((name) => !same(one[name], other[name])).join(", ");
}
