/**
 * Equivocation: two statements that one key of one actor signed for one slot, that is incarnation and epoch.
 *
 * Knows nothing of what the statements commit to: an honest actor never changes the bytes of a slot.
 * @module
 */

/** @import { Bytes } from "../bytes.js" */
/** @import { StructCodec, ValueOf } from "../encoding.js" */
/** @import { Signed } from "../signing.js" */
/** @import { Rosters } from "./rosters.js" */
import { equal, same } from "../bytes.js";
import { structCodec } from "../encoding.js";
import { DecodeError } from "../errors.js";
import { SIGNED_MANIFEST } from "../frames.js";
import { Role, parseActor } from "../identifiers.js";
import { SIGNED } from "../signing.js";
import { EPOCH_HEAD, EPOCH_OPEN, MANIFEST, MERGE_SHEET, ROUTE_SHEET } from "../statements.js";
import { NotProven, Verdict } from "./verdict.js";

/** Two manifests of one inbox for one epoch. */
export const MANIFEST_EQUIVOCATION = structCodec("ManifestEquivocation", {
  one: SIGNED_MANIFEST,
  other: SIGNED_MANIFEST,
});
/** @typedef {ValueOf<typeof MANIFEST_EQUIVOCATION>} ManifestEquivocation */

/** Two statements of one actor for one epoch: route sheets, merge sheets, heads, or the sequencer's. */
export const STAGE_EQUIVOCATION = structCodec("StageEquivocation", { one: SIGNED, other: SIGNED });
/** @typedef {ValueOf<typeof STAGE_EQUIVOCATION>} StageEquivocation */

/**
 * What all statements of stages begin with.
 * @typedef {{ origin: Bytes, actor: Bytes, incarnation: number, epoch: bigint }} Statement
 */

/**
 * A sort of statements: its signature label, who signs it, and what a person calls several.
 * @typedef {{ codec: StructCodec<any>, label: string, role: number, noun: string }} Sort
 */

/** @type {Sort} */
const MANIFESTS = { codec: MANIFEST, label: "manifest", role: Role.INBOX, noun: "manifests" };

/** @type {Sort[]} */
const SORTS = [
  { codec: ROUTE_SHEET, label: "route", role: Role.ROUTER, noun: "route sheets" },
  { codec: MERGE_SHEET, label: "merge", role: Role.RECEIVER, noun: "merge sheets" },
  { codec: EPOCH_HEAD, label: "head", role: Role.OUTBOX, noun: "heads" },
  { codec: EPOCH_OPEN, label: "open", role: Role.SEQUENCER, noun: "openings" },
];

/**
 * @param {Rosters} rosters
 * @param {ManifestEquivocation} finding
 */
export async function verifyManifestEquivocation(rosters, finding) {
  const [one, other] = [MANIFEST.decode(finding.one.body), MANIFEST.decode(finding.other.body)];
  const accused = await checkSlot(rosters, MANIFESTS, one, other, [finding.one, finding.other]);
  const detail = `${accused} signed two different manifests for its lane in epoch ${one.epoch}`;
  const differences = differencesOf(MANIFESTS, one, other);
  return new Verdict("ManifestEquivocation", accused, rosters.origin, one.epoch, `${detail}; ${differences}`);
}

/**
 * @param {Rosters} rosters
 * @param {StageEquivocation} finding
 */
export async function verifyStageEquivocation(rosters, finding) {
  const [sort, one] = openStatement(finding.one.body);
  const other = sort.codec.decode(finding.other.body);
  const accused = await checkSlot(rosters, sort, one, other, [finding.one, finding.other]);
  const detail = `${accused} signed two different ${sort.noun} for epoch ${one.epoch}`;
  const differences = differencesOf(sort, one, other);
  return new Verdict("StageEquivocation", accused, rosters.origin, one.epoch, `${detail}; ${differences}`);
}

/**
 * What a stage signed, which its record type tells. Throws DecodeError.
 * @param {Bytes} body
 * @returns {[sort: Sort, statement: Statement]}
 */
function openStatement(body) {
  for (const sort of SORTS) {
    try {
      return [sort, sort.codec.decode(body)];
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
    }
  }
  throw new DecodeError("no statement of a stage");
}

/**
 * The actor whose one slot both are for. `signed`: the two statements.
 * @param {Rosters} rosters
 * @param {Sort} sort
 * @param {Statement} one
 * @param {Statement} other
 * @param {Signed[]} signed
 */
async function checkSlot(rosters, { label, role }, one, other, signed) {
  if (same(one, other)) throw new NotProven("one statement twice");
  const isOneSlot = equal(one.actor, other.actor) && one.incarnation === other.incarnation && one.epoch === other.epoch;
  if (!equal(one.origin, rosters.origin) || !equal(other.origin, rosters.origin) || !isOneSlot) {
    throw new NotProven("statements for two slots, or of another origin");
  }
  const actor = parseActor(one.actor);
  if (actor.role !== role) throw new NotProven(`${actor} makes no such statements`);
  await rosters.slotKey(signed, label, actor, one.incarnation, one.epoch);
  return actor.toString();
}

/**
 * @param {Sort} sort
 * @param {Statement} one
 * @param {Statement} other
 */
function differencesOf({ codec }, one, other) {
  const [a, b] = /** @type {Record<string, unknown>[]} */ ([one, other]);
  const differing = codec.fields.map(([name]) => name).filter((name) => !same(a[name], b[name]));
  return `they differ in ${differing.join(", ")}`;
}
