import { compare, fromHex, toHex } from "../../../clients/browser/protocol/bytes.js";
import { Role, parseActor, parseSeq } from "../../../clients/browser/protocol/identifiers.js";
import { Tree, checkInclusion, leafHash, treeRoot } from "../../../clients/browser/protocol/merkle.js";
import { actorsOf, placeMailbox } from "../../../clients/browser/protocol/placement.js";
import { SIGNED } from "../../../clients/browser/protocol/signing.js";
import {
  checkMergeSheet,
  checkRouteSheet,
  entryHash,
  itemHash,
  receiverOf,
  routerOf,
  wayOf,
} from "../../../clients/browser/protocol/stages.js";
import {
  MANIFEST,
  MERGE_SHEET,
  MESSAGE_LEAF,
  ROSTER,
  ROUTE_ENTRY,
  ROUTE_SHEET,
  SHEET_ITEM,
  hashManifest,
  hashMerge,
  hashRoster,
  hashRoute,
} from "../../../clients/browser/protocol/statements.js";

/** The items' leaf hashes, each of whose messages are shown; in the order of mailboxes. */
function checkItems(items, outbox, { roster, leaves }, t) {
  const hashes = items.map(({ item, seqs, leaf_hash: expected }) => {
    const [mailbox, deltaRoot] = [fromHex(item.mailbox), fromHex(item.delta_root)];
    const found = seqs.map((seq) => leaves.get(seq));
    t.equal(item.n_messages, found.length, "count of an item");
    t.equal(treeRoot(found.map(leafHash)), deltaRoot, "root of an item");
    t.equal(itemHash(mailbox, item.n_messages, deltaRoot), expected, "hash of an item");
    const encoded = SHEET_ITEM.encode({ mailbox, n_messages: item.n_messages, delta_root: deltaRoot });
    t.equal(leafHash(encoded), expected, "leaf of an item");
    t.equal(placeMailbox(roster, mailbox), outbox, "outbox of an item");
    for (const seq of seqs.map(fromHex)) {
      const way = wayOf(roster, seq, mailbox).map(String);
      const { inbox } = roster.lanes.find((one) => one.lane === parseSeq(seq)[1]);
      const hands = [parseActor(inbox), routerOf(inbox), receiverOf(outbox), outbox];
      t.equal(way, hands.map(String), "way of a message");
    }
    return fromHex(expected);
  });
  const mailboxes = items.map(({ item }) => fromHex(item.mailbox));
  t.equal([...mailboxes].sort(compare), mailboxes, "order of the items");
  return hashes;
}

async function checkRoute(stored, epoch, context, t) {
  const { roster, rosterHash } = context;
  const signed = SIGNED.decode(fromHex(stored.encoded));
  const manifest = MANIFEST.decode(fromHex(stored.manifest));
  const manifestHash = hashManifest(fromHex(stored.manifest));
  const sheet = await checkRouteSheet(signed, roster, rosterHash, manifest.lane, epoch, manifestHash);
  t.equal(ROUTE_SHEET.toJson(sheet), stored.fields, "fields of a route sheet");
  t.equal(hashRoute(signed.body), stored.hash, "hash of a route sheet");
  t.equal(parseActor(sheet.actor).toString(), stored.signer, "router of a lane");
  t.equal(routerOf(manifest.actor).toString(), stored.signer, "router of an inbox");
  t.equal(stored.label, "route", "label of a route sheet");
  const outboxes = actorsOf(roster, Role.OUTBOX);
  const tree = new Tree(stored.entries.map((one) => fromHex(one.leaf_hash)));
  t.equal(tree.root, sheet.root, "root of a route sheet");
  for (const [place, { entry, leaf_hash: expected, items }] of stored.entries.entries()) {
    const [outbox, root] = [fromHex(entry.outbox), fromHex(entry.root)];
    t.equal(outboxes[place].encode(), outbox, "outbox of an entry");
    const hash = entryHash(outbox, entry.n_mailboxes, root);
    t.equal(hash, expected, "hash of an entry");
    const encoded = ROUTE_ENTRY.encode({ outbox, n_mailboxes: entry.n_mailboxes, root });
    t.equal(leafHash(encoded), expected, "leaf of an entry");
    t.equal(treeRoot(checkItems(items, outboxes[place], context, t)), root, "root of an entry");
    t.equal(items.length, entry.n_mailboxes, "count of an entry");
    checkInclusion(sheet.root, BigInt(sheet.n_outboxes), BigInt(place), hash, tree.inclusion(BigInt(place)));
  }
}

async function checkMerge(stored, outbox, epoch, inputs, context, t) {
  const signed = SIGNED.decode(fromHex(stored.encoded));
  const sheet = await checkMergeSheet(signed, context.roster, context.rosterHash, outbox, epoch, inputs);
  t.equal(MERGE_SHEET.toJson(sheet), stored.fields, "fields of a merge sheet");
  t.equal(hashMerge(signed.body), stored.hash, "hash of a merge sheet");
  t.equal(parseActor(sheet.actor).toString(), stored.signer, "receiver of an outbox");
  t.equal(stored.label, "merge", "label of a merge sheet");
  t.equal(treeRoot(checkItems(stored.items, outbox, context, t)), sheet.root, "root of a merge sheet");
  t.equal(stored.items.length, sheet.n_mailboxes, "count of a merge sheet");
}

export async function check(vectors, t) {
  const roster = ROSTER.decode(fromHex(vectors.roster.body));
  const rosterHash = hashRoster(fromHex(vectors.roster.body));
  t.equal(rosterHash, vectors.roster.hash, "hash of the roster");
  t.equal(roster.origin, vectors.origin, "origin");
  const leaves = new Map();
  for (const leaf of vectors.message_leaves) leaves.set(toHex(MESSAGE_LEAF.decode(fromHex(leaf)).seq), fromHex(leaf));
  const context = { roster, rosterHash, leaves };
  const outboxes = actorsOf(roster, Role.OUTBOX);
  for (const { epoch, route_sheets: routes, merge_sheets: merges } of vectors.epochs) {
    for (const stored of routes) await checkRoute(stored, BigInt(epoch), context, t);
    const inputs = routes.map((one) => fromHex(one.hash));
    for (const [place, stored] of merges.entries()) {
      await checkMerge(stored, outboxes[place], BigInt(epoch), inputs, context, t);
    }
  }
}
