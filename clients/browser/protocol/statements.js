/**
 * What actors sign, once per epoch each, and the roster that says who they are.
 *
 * Knows nothing of how statements come about or where they are kept. Every body starts with a u16 record type and is
 * hashed under a label of its own. Lists are committed to by a root that travels with its count. Each statement names
 * the hash of the one that it was made from: manifest, route sheet, merge sheet, head.
 * @module
 */

/** @import { Bytes } from "./bytes.js" */
/** @import { ValueOf } from "./encoding.js" */
/** @import { Bundle } from "./envelope.js" */
/** @import { Signed } from "./signing.js" */
import { bigEndian, compare, concat, equal, same, toHex } from "./bytes.js";
import { logNameOf } from "./checkpoint.js";
import { BYTES16, BYTES32, BYTES5, HASHES, StructCodec, TEXT, U16, U32, U64, listOf, structCodec } from "./encoding.js";
import { DecodeError, SignatureError } from "./errors.js";
import { Role, originOf, parseActor } from "./identifiers.js";
import { LANES_MAX, OUTBOXES_MAX } from "./limits.js";
import { leafHash, treeRoot } from "./merkle.js";
import { SUITE_ED25519, checkPublicKey, hasher, verifyStrict } from "./signing.js";

/** @typedef {import("./identifiers.js").Actor} Actor */

/** `placement_root` when every mailbox is where rendezvous hashing puts it. */
export const NO_OVERRIDES = treeRoot([]);

/** Of an actor of the first roster. */
export const FIRST_INCARNATION = 1;

export const STATEMENT_LEAF = bigEndian(19, 2);

export const hashManifest = hasher("manifest");
export const hashRoute = hasher("route");
export const hashMerge = hasher("merge");
export const hashHead = hasher("head");
export const hashRoster = hasher("roster");

/** One sequenced message: a leaf of its lane's manifest and of every recipient's delta. */
export const MESSAGE_LEAF = structCodec(
  "MessageLeaf",
  {
    seq: BYTES16,
    sender: BYTES32,
    sender_ctr: U64,
    env_hash: BYTES32,
    bundle_hash: BYTES32,
    n_recipients: U16,
    recipients_root: BYTES32,
    payload_hash: BYTES32,
    ciphertexts_root: BYTES32,
  },
  { recordType: 3 },
);
/** @typedef {ValueOf<typeof MESSAGE_LEAF>} MessageLeaf */

/** An inbox's statement: `n_messages` of one lane in position order. `previous`: hash of its last manifest. */
export const MANIFEST = structCodec(
  "Manifest",
  {
    origin: BYTES32,
    actor: BYTES5,
    incarnation: U32,
    epoch: U64,
    lane: U16,
    n_messages: U32,
    root: BYTES32,
    previous: BYTES32,
  },
  { recordType: 4 },
);
/** @typedef {ValueOf<typeof MANIFEST>} Manifest */

/**
 * What a sheet holds for one mailbox. `delta_root`: tree over its `n_messages` MessageLeaves, seq strictly increasing.
 * In a merge sheet these are those of the mailbox's history record of the epoch.
 */
export const SHEET_ITEM = structCodec(
  "SheetItem",
  { mailbox: BYTES32, n_messages: U32, delta_root: BYTES32 },
  { recordType: 21 },
);
/** @typedef {ValueOf<typeof SHEET_ITEM>} SheetItem */

/** What a router holds for one outbox: a tree over its SheetItems, mailboxes strictly increasing. */
export const ROUTE_ENTRY = structCodec(
  "RouteEntry",
  { outbox: BYTES5, n_mailboxes: U32, root: BYTES32 },
  { recordType: 22 },
);
/** @typedef {ValueOf<typeof ROUTE_ENTRY>} RouteEntry */

/**
 * A router's statement: how it sorted the lane of its inbox. `root`: tree over a RouteEntry for each of the roster's
 * `n_outboxes` outboxes, in order. `previous`: hash of its last sheet.
 */
export const ROUTE_SHEET = structCodec(
  "RouteSheet",
  {
    origin: BYTES32,
    actor: BYTES5,
    incarnation: U32,
    epoch: U64,
    roster_hash: BYTES32,
    lane: U16,
    manifest_hash: BYTES32,
    n_outboxes: U16,
    root: BYTES32,
    previous: BYTES32,
  },
  { recordType: 13 },
);
/** @typedef {ValueOf<typeof ROUTE_SHEET>} RouteSheet */

/**
 * A receiver's statement: what it merged for its outbox. `inputs`: hash of every lane's route sheet, lanes in order.
 * `root`: tree over `n_mailboxes` SheetItems, mailboxes strictly increasing. `previous`: hash of its last.
 */
export const MERGE_SHEET = structCodec(
  "MergeSheet",
  {
    origin: BYTES32,
    actor: BYTES5,
    incarnation: U32,
    epoch: U64,
    roster_hash: BYTES32,
    inputs: HASHES,
    n_mailboxes: U32,
    root: BYTES32,
    previous: BYTES32,
  },
  { recordType: 14 },
);
/** @typedef {ValueOf<typeof MERGE_SHEET>} MergeSheet */

/** An outbox's statement: the state map of its mailboxes after an epoch. `previous`: hash of its last head. */
export const EPOCH_HEAD = structCodec(
  "EpochHead",
  {
    origin: BYTES32,
    actor: BYTES5,
    incarnation: U32,
    epoch: U64,
    merge_sheet_hash: BYTES32,
    map_root: BYTES32,
    map_count: U64,
    previous: BYTES32,
    roster_hash: BYTES32,
  },
  { recordType: 5 },
);
/** @typedef {ValueOf<typeof EPOCH_HEAD>} EpochHead */

/** The sequencer's statement: under which roster and placement an epoch runs, and which handoffs it holds. */
export const EPOCH_OPEN = structCodec(
  "EpochOpen",
  {
    origin: BYTES32,
    actor: BYTES5,
    incarnation: U32,
    epoch: U64,
    roster_hash: BYTES32,
    placement_root: BYTES32,
    placement_count: U32,
    handoffs_root: BYTES32,
    handoffs_count: U32,
  },
  { recordType: 6 },
);
/** @typedef {ValueOf<typeof EPOCH_OPEN>} EpochOpen */

/** Leaf `epoch` of the log. `prev_root`: the log's root before this leaf, so that a fork contradicts itself here. */
export const EPOCH_RECORD = structCodec(
  "EpochRecord",
  {
    epoch: U64,
    prev_root: BYTES32,
    time_ms: U64,
    roster_hash: BYTES32,
    placement_root: BYTES32,
    placement_count: U32,
    statements_root: BYTES32,
    statements_count: U32,
    challenges_root: BYTES32,
    challenges_count: U32,
    n_messages: U32,
  },
  { recordType: 7 },
);
/** @typedef {ValueOf<typeof EPOCH_RECORD>} EpochRecord */

export const ROSTER_ENTRY = structCodec("RosterEntry", { actor: BYTES5, incarnation: U32, suite: U16, key: BYTES32 });
/** @typedef {ValueOf<typeof ROSTER_ENTRY>} RosterEntry */

/** Which inbox numbers the positions of a lane. */
export const LANE = structCodec("Lane", { lane: U16, inbox: BYTES5 });
/** @typedef {ValueOf<typeof LANE>} Lane */

/**
 * What the operator chose. In milliseconds: the shortest and the idle interval of epochs, and the heartbeat.
 *
 * In epochs: for how long every actor keeps what it was given and what it made of it, and how long it may take to
 * answer a challenge.
 */
export const PARAMETERS = structCodec("Parameters", {
  epoch_ms: U32,
  idle_ms: U32,
  heartbeat_ms: U32,
  custody_epochs: U32,
  challenge_epochs: U32,
});
/** @typedef {ValueOf<typeof PARAMETERS>} Parameters */

const ROSTER_FIELDS = {
  origin: BYTES32,
  version: U32,
  previous: BYTES32,
  valid_from_epoch: U64,
  root_key: BYTES32,
  log_name: TEXT,
  actors: listOf(ROSTER_ENTRY),
  lanes: listOf(LANE),
  parameters: PARAMETERS,
};
/** @typedef {{ [K in keyof typeof ROSTER_FIELDS]: ValueOf<(typeof ROSTER_FIELDS)[K]> }} RosterFields */

/** Who signs for a provider, from an epoch on. Signed by the root key. `actors` and `lanes` strictly increase. */
export class Roster {
  /** @param {RosterFields} fields */
  constructor(fields) {
    this.origin = fields.origin;
    this.version = fields.version;
    this.previous = fields.previous;
    this.valid_from_epoch = fields.valid_from_epoch;
    this.root_key = fields.root_key;
    this.log_name = fields.log_name;
    this.actors = fields.actors;
    this.lanes = fields.lanes;
    this.parameters = fields.parameters;
  }

  /**
   * Throws SignatureError when the roster does not name the actor.
   * @param {Actor} actor
   */
  entry(actor) {
    const wanted = actor.encode();
    const entry = this.actors.find((one) => equal(one.actor, wanted));
    if (entry === undefined) throw new SignatureError(`the roster names no ${actor}`, "unknown-actor");
    return entry;
  }

  /** @param {number} role one of Role */
  countOf(role) {
    return this.actors.filter((entry) => entry.actor[0] === role).length;
  }

  /** The actors whose statements an epoch's `statements_root` holds, in its order: all but the log. */
  signers() {
    return this.actors.filter((entry) => entry.actor[0] !== Role.LOG).map((entry) => entry.actor);
  }

  /**
   * Of the actors of a role, in order.
   * @param {number} role one of Role
   */
  numbers(role) {
    return this.actors.filter((entry) => entry.actor[0] === role).map((entry) => parseActor(entry.actor).number);
  }
}

/** @param {Roster} roster */
function checkRoster(roster) {
  const actors = roster.actors.map((entry) => entry.actor);
  if (actors.some((actor, i) => i > 0 && compare(actors[i - 1], actor) >= 0)) {
    throw new DecodeError("roster actors must strictly increase");
  }
  for (const entry of roster.actors) {
    parseActor(entry.actor);
    if (entry.suite !== SUITE_ED25519) throw new DecodeError("unknown signature suite in roster");
  }
  if (roster.lanes.some(({ lane }, i) => i > 0 && roster.lanes[i - 1].lane >= lane)) {
    throw new DecodeError("roster lanes must strictly increase");
  }
  const inboxes = actors.filter((actor) => actor[0] === Role.INBOX);
  const named = new Set(inboxes.map(toHex));
  if (!roster.lanes.every((lane) => named.has(toHex(lane.inbox)))) {
    throw new DecodeError("a lane needs an inbox of the roster");
  }
  checkRoles(roster);
  const numbered = roster.lanes.map((lane) => lane.inbox).sort(compare);
  if (!same(numbered, inboxes)) throw new DecodeError("every inbox has one lane");
}

/** @param {Roster} roster */
function checkRoles(roster) {
  const nInboxes = roster.countOf(Role.INBOX);
  const nOutboxes = roster.countOf(Role.OUTBOX);
  if (roster.countOf(Role.SEQUENCER) !== 1 || roster.countOf(Role.LOG) !== 1 || !nInboxes || !nOutboxes) {
    throw new DecodeError("a roster needs one sequencer, one log, inboxes and outboxes");
  }
  if (nInboxes > LANES_MAX || nOutboxes > OUTBOXES_MAX) {
    throw new DecodeError("more inboxes or outboxes than a provider may have");
  }
  const inboxes = roster.numbers(Role.INBOX);
  const outboxes = roster.numbers(Role.OUTBOX);
  if ([inboxes, outboxes].some((numbers) => numbers.some((number, i) => number !== i))) {
    throw new DecodeError("inboxes and outboxes are numbered from 0 on");
  }
  if (!roster.parameters.custody_epochs || !roster.parameters.challenge_epochs) {
    throw new DecodeError("actors answer for some epochs, and have some time to");
  }
  if (!same(roster.numbers(Role.ROUTER), inboxes)) {
    throw new DecodeError("a roster needs one router for each inbox, of its number");
  }
  if (!same(roster.numbers(Role.RECEIVER), outboxes)) {
    throw new DecodeError("a roster needs one receiver for each outbox, of its number");
  }
}

/** @extends {StructCodec<Roster>} */
class RosterCodec extends StructCodec {
  /** @param {Record<string, unknown>} members */
  checked(members) {
    const roster = new Roster(/** @type {RosterFields} */ (members));
    checkRoster(roster);
    return roster;
  }
}

export const ROSTER = new RosterCodec("Roster", ROSTER_FIELDS, 8, null);

/**
 * Decode and verify a roster against a pinned origin. Throws DecodeError or SignatureError.
 * @param {Signed} signed
 * @param {Bytes} origin
 */
export async function openRoster(signed, origin) {
  const roster = ROSTER.decode(signed.body);
  const isHere = equal(roster.origin, origin) && equal(originOf(roster.root_key), origin);
  if (!isHere || roster.log_name !== logNameOf(origin)) {
    throw new SignatureError("the roster is another provider's", "wrong-origin");
  }
  await verifyStrict(roster.root_key, signed.signature, "roster", origin, signed.body);
  const keys = [roster.root_key, ...roster.actors.map((entry) => entry.key)];
  keys.forEach(checkPublicKey);
  if (new Set(keys.map(toHex)).size !== keys.length) throw new SignatureError("one key has two roles", "bad-key");
  return roster;
}

/**
 * A roster follows the one before it by version and hash. Throws DecodeError.
 * @param {Signed} previous
 * @param {Roster} roster
 */
export function checkSuccessor(previous, roster) {
  const before = ROSTER.decode(previous.body);
  if (roster.version !== before.version + 1 || !equal(roster.previous, hashRoster(previous.body))) {
    throw new DecodeError("roster does not follow the one before it");
  }
  if (roster.valid_from_epoch < before.valid_from_epoch) {
    throw new DecodeError("roster binds epochs that the one before it ended");
  }
}

/**
 * A leaf of `EpochRecord.statements_root`; leaves stand in the order of `Roster.signers`.
 * @param {Bytes} actor encoded
 * @param {Bytes} bodyHash
 */
export function statementLeafHash(actor, bodyHash) {
  return leafHash(concat(STATEMENT_LEAF, actor, bodyHash));
}

/**
 * Throws SignatureError unless the roster's `actor` signed, in this incarnation.
 * @param {Signed} signed
 * @param {string} label
 * @param {Roster} roster
 * @param {Actor} actor
 * @param {number} incarnation
 */
export async function verifyStatement(signed, label, roster, actor, incarnation) {
  const entry = roster.entry(actor);
  if (entry.incarnation !== incarnation) {
    const detail = `${actor} signs as an incarnation that the roster does not name`;
    throw new SignatureError(detail, "wrong-incarnation");
  }
  await verifyStrict(entry.key, signed.signature, label, roster.origin, signed.body);
}

/**
 * The encoded leaves of a whole bundle whose messages stand at `seqs`, one for each. Throws DecodeError.
 * @param {Bundle} bundle
 * @param {readonly Bytes[]} seqs
 */
export function messageLeaves(bundle, seqs) {
  if (seqs.some((seq) => seq.length !== 16)) throw new DecodeError("a seq has 16 bytes");
  return bundle.rows.map((row, i) => {
    const recipients = bundle.recipients[row.set_index];
    return MESSAGE_LEAF.encode({
      seq: seqs[i],
      sender: bundle.sender,
      sender_ctr: bundle.first_ctr + BigInt(i),
      env_hash: bundle.env_hashes[i],
      bundle_hash: bundle.bundle_hash,
      n_recipients: recipients.device_ids.length,
      recipients_root: recipients.root,
      payload_hash: bundle.payload_hashes[i],
      ciphertexts_root: bundle.ciphertexts_roots[i],
    });
  });
}
