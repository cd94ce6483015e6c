import { fromHex, toHex, utf8 } from "../../../clients/browser/protocol/bytes.js";
import { verifyCheckpoint } from "../../../clients/browser/protocol/checkpoint.js";
import { Actor, Role, originOf } from "../../../clients/browser/protocol/identifiers.js";
import { EMPTY_RANGE, checkInclusion, leafHash, treeRoot } from "../../../clients/browser/protocol/merkle.js";
import { SIGNED, hasher } from "../../../clients/browser/protocol/signing.js";
import {
  checkHead,
  checkManifest,
  checkMergeSheet,
  checkRouteSheet,
} from "../../../clients/browser/protocol/stages.js";
import {
  EPOCH_HEAD,
  EPOCH_OPEN,
  EPOCH_RECORD,
  MANIFEST,
  MERGE_SHEET,
  MESSAGE_LEAF,
  NO_OVERRIDES,
  ROSTER,
  ROUTE_SHEET,
  checkSuccessor,
  hashHead,
  hashManifest,
  hashMerge,
  hashRoster,
  hashRoute,
  openRoster,
  statementLeafHash,
  verifyStatement,
} from "../../../clients/browser/protocol/statements.js";
import { signerOf } from "./private_keys.js";

const CODECS = { manifest: MANIFEST, route: ROUTE_SHEET, merge: MERGE_SHEET, head: EPOCH_HEAD, open: EPOCH_OPEN };
const HASHES = { manifest: hashManifest, route: hashRoute, merge: hashMerge, head: hashHead, open: hasher("open") };

async function checkRoster(stored, vectors, t) {
  const root = await signerOf(fromHex(vectors.seeds.root));
  const origin = fromHex(vectors.origin);
  t.equal(originOf(root.publicKey), vectors.origin, "origin of the root key");
  const signed = { body: fromHex(stored.body), signature: fromHex(stored.signature) };
  const roster = await openRoster(signed, origin);
  t.equal(ROSTER.toJson(roster), stored.fields, "fields of the roster");
  t.equal(ROSTER.encode(ROSTER.fromJson(stored.fields)), stored.body, "body of the roster");
  t.equal(hashRoster(signed.body), stored.hash, "hash of the roster");
  t.equal((await root.sign("roster", origin, signed.body)).signature, stored.signature, "signature of the roster");
  await t.refuses("malformed", () => checkSuccessor(signed, roster), "a roster after itself");
  const next = ROSTER.fromJson({ ...stored.fields, version: roster.version + 1, previous: formatHash(stored.hash) });
  checkSuccessor(signed, next);
  return roster;
}

function formatHash(hash) {
  return SIGNED.toJson({ body: fromHex(hash), signature: new Uint8Array(64) }).body;
}

async function checkStatement(stored, vectors, roster, t) {
  const { label, signer, epoch } = stored;
  const what = `${label} of epoch ${epoch}`;
  const codec = CODECS[label];
  const signed = SIGNED.decode(fromHex(stored.encoded));
  const statement = codec.decode(signed.body);
  t.equal(signed.body, stored.body, `body of the ${what}`);
  t.equal(signed.signature, stored.signature, `signature of the ${what}`);
  t.equal(codec.toJson(statement), stored.fields, `fields of the ${what}`);
  t.equal(codec.encode(codec.fromJson(stored.fields)), stored.body, `the ${what} of its fields`);
  t.equal(HASHES[label](signed.body), stored.hash, `hash of the ${what}`);
  const key = await signerOf(fromHex(vectors.seeds[signer] ?? vectors.seeds.sequencer));
  const made = await key.sign(label, roster.origin, signed.body);
  t.equal(made.signature, stored.signature, `signature of the ${what}, again`);
  const entry = roster.actors.find((one) => toHex(one.key) === toHex(key.publicKey));
  t.equal(entry.actor, statement.actor, `signer of the ${what}`);
  const actor = new Actor(entry.actor[0], 0, 0);
  t.equal(actor.toString(), signer, `name of the signer of the ${what}`);
  await verifyStatement(signed, label, roster, actor, statement.incarnation);
  await t.refuses(
    "wrong-incarnation",
    () => verifyStatement(signed, label, roster, actor, statement.incarnation + 1),
    `${what} of another incarnation`,
  );
  await t.refuses(
    "bad-signature",
    () => verifyStatement(signed, "gossip", roster, actor, statement.incarnation),
    `${what} under another label`,
  );
  const record = EPOCH_RECORD.decode(fromHex(vectors.epoch_records[epoch].encoded));
  const place = roster.signers().findIndex((one) => toHex(one) === toHex(statement.actor));
  const leaf = statementLeafHash(statement.actor, HASHES[label](signed.body));
  t.equal(leaf, vectors.epoch_records[epoch].statement_leaf_hashes[place], `leaf of the ${what}`);
  const proof = stored.proof_in_record.map(fromHex);
  checkInclusion(record.statements_root, BigInt(record.statements_count), BigInt(place), leaf, proof);
}

/** Every statement names the one that it was made from. */
async function checkStages(stored, rosterHash, roster, epoch, t) {
  const [manifest, route, merge, head] = stored.map((one) => SIGNED.decode(fromHex(one.encoded)));
  const [manifestHash, routeHash, mergeHash] = stored.map((one) => fromHex(one.hash));
  const outbox = new Actor(Role.OUTBOX, 0, 0);
  await checkManifest(manifest, roster, 0, epoch);
  await checkRouteSheet(route, roster, rosterHash, 0, epoch, manifestHash);
  await checkMergeSheet(merge, roster, rosterHash, outbox, epoch, [routeHash]);
  await checkHead(head, roster, rosterHash, outbox, epoch, mergeHash);
  const next = epoch + 1n;
  const other = new Actor(Role.OUTBOX, 0, 1);
  await t.refuses("wrong-manifest", () => checkManifest(manifest, roster, 0, next), "another epoch");
  await t.refuses("wrong-manifest", () => checkManifest(manifest, roster, 1, epoch), "no lane");
  for (const call of [
    () => checkRouteSheet(route, roster, rosterHash, 0, next, manifestHash),
    () => checkRouteSheet(route, roster, rosterHash, 1, epoch, manifestHash),
    () => checkRouteSheet(route, roster, manifestHash, 0, epoch, manifestHash),
    () => checkRouteSheet(route, roster, rosterHash, 0, epoch, rosterHash),
    () => checkMergeSheet(merge, roster, rosterHash, other, epoch, [routeHash]),
    () => checkMergeSheet(merge, roster, rosterHash, outbox, epoch, []),
    () => checkMergeSheet(merge, roster, rosterHash, outbox, epoch, [rosterHash]),
  ]) {
    await t.refuses("wrong-sheet", call, "a sheet of something else");
  }
  await t.refuses("wrong-head", () => checkHead(head, roster, rosterHash, other, epoch, mergeHash), "another outbox");
  await t.refuses("wrong-head", () => checkHead(head, roster, rosterHash, outbox, epoch, routeHash), "another sheet");
  const forged = { body: manifest.body, signature: route.signature };
  await t.refuses("bad-signature", () => checkManifest(forged, roster, 0, epoch), "another signature");
}

async function checkRecords(vectors, roster, t) {
  let log = EMPTY_RANGE;
  const logKey = await signerOf(fromHex(vectors.seeds.log));
  for (const { fields, encoded, leaf_hash, statement_leaf_hashes, note } of vectors.epoch_records) {
    const record = EPOCH_RECORD.decode(fromHex(encoded));
    t.equal(EPOCH_RECORD.toJson(record), fields, `fields of record ${record.epoch}`);
    t.equal(EPOCH_RECORD.encode(EPOCH_RECORD.fromJson(fields)), encoded, `record ${record.epoch} of its fields`);
    t.equal(leafHash(fromHex(encoded)), leaf_hash, `leaf hash of record ${record.epoch}`);
    t.equal(treeRoot(statement_leaf_hashes.map(fromHex)), record.statements_root, `statements of ${record.epoch}`);
    t.equal(record.placement_root, NO_OVERRIDES, `placement of ${record.epoch}`);
    t.equal(record.roster_hash, vectors.roster.hash, `roster of ${record.epoch}`);
    t.equal(record.prev_root, log.root(), `root before record ${record.epoch}`);
    log = log.append(fromHex(leaf_hash));
    const expected = { log_name: roster.log_name, size: log.size, root: log.root() };
    const checkpoint = await verifyCheckpoint(utf8(note), roster.log_name, logKey.publicKey);
    t.equal(checkpoint, expected, `checkpoint after record ${record.epoch}`);
  }
}

export async function check(vectors, t) {
  const roster = await checkRoster(vectors.roster, vectors, t);
  for (const { leaf, encoded, leaf_hash } of vectors.message_leaves) {
    const decoded = MESSAGE_LEAF.decode(fromHex(encoded));
    for (const [name, value] of Object.entries(leaf)) {
      t.equal(decoded[name], typeof decoded[name] === "bigint" ? BigInt(value) : value, `${name} of a message leaf`);
    }
    t.equal(Object.keys(decoded), Object.keys(leaf), "members of a message leaf");
    t.equal(MESSAGE_LEAF.encode(decoded), encoded, "message leaf");
    t.equal(leafHash(fromHex(encoded)), leaf_hash, "hash of a message leaf");
  }
  for (const stored of vectors.statements) await checkStatement(stored, vectors, roster, t);
  for (const epoch of [0, 1]) {
    const stored = vectors.statements.filter((one) => one.epoch === epoch);
    await checkStages(stored, fromHex(vectors.roster.hash), roster, BigInt(epoch), t);
  }
  await checkRecords(vectors, roster, t);
  for (const { why, encoded, code } of vectors.refused_rosters) {
    await t.refuses(code, () => openRoster(SIGNED.decode(fromHex(encoded)), fromHex(vectors.origin)), why);
  }
}
