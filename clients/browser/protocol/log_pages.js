/**
 * What a provider shows of its committed log to anybody who asks: the structures of its HTTP answers.
 *
 * Knows nothing of HTTP, and trusts nothing: whoever reads an answer checks it against what it has verified.
 * @module
 */

/** @import { ValueOf } from "./encoding.js" */
import { SIGNED_HEAD, SIGNED_ROSTER } from "./delta.js";
import { BYTES32, BYTES64, HASHES, TEXT, embedded, listOf, structCodec } from "./encoding.js";
import { SIGNED_MANIFEST } from "./frames.js";
import { EPOCH_OPEN, EPOCH_RECORD, MERGE_SHEET, ROUTE_SHEET } from "./statements.js";

/** Leaf `epoch` of the log, and its RFC 9162 inclusion proof in the tree of the size that was asked for. */
export const INCLUSION = structCodec("Inclusion", { leaf_hash: BYTES32, proof: HASHES });
/** @typedef {ValueOf<typeof INCLUSION>} Inclusion */

export const SIGNED_ROUTE = structCodec("SignedRoute", { body: embedded(ROUTE_SHEET), signature: BYTES64 });
/** @typedef {ValueOf<typeof SIGNED_ROUTE>} SignedRoute */

export const SIGNED_MERGE = structCodec("SignedMerge", { body: embedded(MERGE_SHEET), signature: BYTES64 });
/** @typedef {ValueOf<typeof SIGNED_MERGE>} SignedMerge */

export const SIGNED_OPEN = structCodec("SignedOpen", { body: embedded(EPOCH_OPEN), signature: BYTES64 });
/** @typedef {ValueOf<typeof SIGNED_OPEN>} SignedOpen */

/**
 * An epoch as its actors signed it.
 *
 * `note`: the checkpoint of size epoch + 1. The manifests, route sheets, merge sheets, heads and the sequencer's
 * statement, in this order and each by actor, are the leaves of the record's `statements_root`.
 */
export const EPOCH_STATEMENTS = structCodec("EpochStatements", {
  record: embedded(EPOCH_RECORD),
  note: TEXT,
  manifests: listOf(SIGNED_MANIFEST),
  routes: listOf(SIGNED_ROUTE),
  merges: listOf(SIGNED_MERGE),
  heads: listOf(SIGNED_HEAD),
  opened: SIGNED_OPEN,
});
/** @typedef {ValueOf<typeof EPOCH_STATEMENTS>} EpochStatements */

export const ROSTERS = listOf(SIGNED_ROSTER);
