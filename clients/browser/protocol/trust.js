/**
 * What a client trusts about its provider, and how that is stored.
 *
 * Knows nothing of how trust is won: that is `follower.js`.
 * @module
 */

/** @import { Bytes } from "./bytes.js" */
/** @import { ValueOf } from "./encoding.js" */
/** @import { DeltaShared, OtherLeaf } from "./delta.js" */
/** @import { History, MailboxState } from "./history.js" */
/** @import { CompactRange } from "./merkle.js" */
/** @import { Signed } from "./signing.js" */
import { concat, equal, same } from "./bytes.js";
import { DELTA_SHARED, OTHER_LEAF } from "./delta.js";
import { HASHES, U64, listOf, optional, structCodec } from "./encoding.js";
import { DecodeError } from "./errors.js";
import { MAILBOX_STATE } from "./history.js";
import { EMPTY_RANGE, makeRange } from "./merkle.js";
import { SIGNED, sha256 } from "./signing.js";

export const ROSTERS_KEPT = 64;
const CHECKSUM_BYTES = 8;

/** What a trusted state says of the future: record `hist_size` and all after it are of epoch `log_size` or later. */
export const BOUND = structCodec("Bound", { hist_size: U64, log_size: U64 });
/** @typedef {ValueOf<typeof BOUND>} Bound */

/**
 * All that a client trusts about its provider, and stores, with the signatures that made it trust. Not to be changed.
 *
 * `rosters`: the last ROSTERS_KEPT, the one in force at the end; receipts of older epochs need the older ones.
 * `log_proof`: inclusion of the last epoch record in the log of its checkpoint, for whoever was not there.
 * `shared`, `path` and `other` are the last verified delta's: checkpoint, epoch record, epoch head and the way from it
 * to `state`, the mailbox's state (null when the map had none). `delivered`: the history up to the last record whose
 * messages were verified; it reaches `state` except in the middle of catching up. `bounds`: those of earlier states
 * that it has not passed yet.
 */
export class Trusted {
  /**
   * @param {object} content
   * @param {Signed[]} content.rosters
   * @param {CompactRange} content.log
   * @param {Bytes[]} content.log_proof
   * @param {DeltaShared | null} content.shared
   * @param {Bytes[]} content.path
   * @param {OtherLeaf | null} content.other
   * @param {MailboxState | null} content.state
   * @param {History | null} content.delivered
   * @param {Bound[]} content.bounds
   */
  constructor({ rosters, log, log_proof, shared, path, other, state, delivered, bounds }) {
    this.rosters = rosters;
    this.log = log;
    this.log_proof = log_proof;
    this.shared = shared;
    this.path = path;
    this.other = other;
    this.state = state;
    this.delivered = delivered;
    this.bounds = bounds;
  }

  /** Whether everything was delivered that the last verified epoch commits to: there is nothing to catch up. */
  get isComplete() {
    return same(this.delivered ? this.delivered.state : null, this.state);
  }
}

/** What a client trusts before its first delta: the origin that it pinned, and nothing else. */
export const NOTHING = new Trusted({
  rosters: [],
  log: EMPTY_RANGE,
  log_proof: [],
  shared: null,
  path: [],
  other: null,
  state: null,
  delivered: null,
  bounds: [],
});

export const _STORED_TRUST = structCodec("_StoredTrust", {
  rosters: listOf(SIGNED),
  log_size: U64,
  log_peaks: HASHES,
  log_proof: HASHES,
  shared: optional(DELTA_SHARED),
  path: HASHES,
  other: optional(OTHER_LEAF),
  state: optional(MAILBOX_STATE),
  delivered: optional(MAILBOX_STATE),
  delivered_peaks: HASHES,
  bounds: listOf(BOUND),
});

/**
 * One blob for a trust store, with a checksum: what a disk does to it must not look like a lie of the provider.
 * @param {Trusted} trusted
 */
export function encodeTrusted({ rosters, log, log_proof, shared, path, other, state, delivered, bounds }) {
  const encoded = _STORED_TRUST.encode({
    rosters,
    log_size: log.size,
    log_peaks: log.peaks,
    log_proof,
    shared,
    path,
    other,
    state,
    delivered: delivered ? delivered.state : null,
    delivered_peaks: delivered ? delivered.records.peaks : [],
    bounds,
  });
  return concat(checksum(encoded), encoded);
}

/**
 * The exact inverse of `encodeTrusted`. Throws DecodeError or ProofError.
 * @param {Uint8Array} data
 */
export function parseTrusted(data) {
  const encoded = data.subarray(CHECKSUM_BYTES);
  if (!equal(checksum(encoded), data.subarray(0, CHECKSUM_BYTES))) {
    throw new DecodeError("the stored trust is damaged: restore it from a copy");
  }
  const { log_size, log_peaks, delivered, delivered_peaks, ...others } = _STORED_TRUST.decode(encoded);
  return new Trusted({
    ...others,
    log: makeRange(log_size, log_peaks),
    delivered: delivered ? { state: delivered, records: makeRange(delivered.hist_size, delivered_peaks) } : null,
  });
}

/** @param {Uint8Array} encoded */
function checksum(encoded) {
  return sha256(encoded).subarray(0, CHECKSUM_BYTES);
}
