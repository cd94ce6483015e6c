/**
 * A delta that a follower refused, opened as far as it goes: what the provider signed of it, and what follows.
 *
 * Knows nothing of why it was refused, nor of what contradicts what. Nothing here is verified: whoever builds a proof
 * from it has the proof verified. What was damaged on its way leads to nothing that is signed.
 * @module
 */

/** @import { Bytes } from "../bytes.js" */
/** @import { Delta, RecipientLists, SignedRoster } from "../delta.js" */
/** @import { RecipientSet } from "../envelope.js" */
/** @import { MailboxState } from "../history.js" */
/** @import { NodeSource } from "../merkle.js" */
/** @import { Trusted } from "../trust.js" */
/** @import { Committed } from "./lenient.js" */
/** @import { Material } from "./material.js" */
/** @import { LogOpening } from "./openings.js" */
import { same, toHex } from "../bytes.js";
import { parseCheckpoint } from "../checkpoint.js";
import { DecodeError, NoiseError, ProofError } from "../errors.js";
import { MAILBOX_STATE } from "../history.js";
import { EMPTY_RANGE, checkInclusion, leafHash, leafHashes, subtreeSpans } from "../merkle.js";
import { EPOCH_RECORD, openRoster } from "../statements.js";
import { committedLeaves, finder } from "./lenient.js";
import { Attested, EvidenceUnavailable, attested, openShared, rosterOf } from "./material.js";
import { patchwork } from "./patchwork.js";

/**
 * `rosters`: those that may matter, verified. `ours`: what was trusted, if anything. `theirs`: what the delta says.
 *
 * `log`: the delta's epoch record, whatever these bytes are, in the log of the delta's checkpoint; null: it is not
 * there, or that cannot be shown. `leaves`: what the delta's own history records, from `first_new` on, commit to.
 * @typedef {object} Refusal
 * @property {SignedRoster[]} rosters
 * @property {Attested | null} ours
 * @property {LogOpening | null} log
 * @property {Attested | null} theirs
 * @property {bigint} first_new
 * @property {Map<bigint, Committed[]>} leaves
 */

/**
 * The material of a client that keeps nothing but what it trusts.
 * @param {Trusted} trusted
 * @param {Bytes} origin
 * @param {Bytes} mailbox
 * @returns {Material}
 */
export function keptAlone(trusted, origin, mailbox) {
  const base = trusted.delivered ? trusted.delivered.records : EMPTY_RANGE;
  return { origin, mailbox, trusted, base, records: [], leaves_of: () => [], recipients_of: () => null };
}

/**
 * What was kept when this was trusted, as far as it still is.
 * @param {Trusted} trusted
 * @param {Material} kept
 * @returns {Material}
 */
export function keptBefore(trusted, kept) {
  const size = trusted.delivered ? trusted.delivered.state.hist_size : 0n;
  if (kept.base.size > size) return keptAlone(trusted, kept.origin, kept.mailbox);
  return { ...kept, trusted, records: kept.records.slice(0, Number(size - kept.base.size)) };
}

/**
 * `kept`: before the delta. `lists`: what the connection had brought before it.
 * @param {Material} kept
 * @param {Delta} delta
 * @param {RecipientLists} lists
 * @returns {Promise<Refusal>}
 */
export async function openRefusal(kept, delta, lists) {
  const rosters = await trueRosters(kept, delta);
  const find = finder(delta, lists);
  const firstNew = kept.base.size + BigInt(kept.records.length);
  /** @type {Map<bigint, Committed[]>} */
  const leaves = new Map();
  for (const [i, entry] of delta.history.entries()) {
    try {
      leaves.set(firstNew + BigInt(i), committedLeaves(entry, kept.origin, kept.mailbox, find));
    } catch (error) {
      if (!(error instanceof NoiseError)) throw error; // else it commits to something else, which nobody has seen
    }
  }
  const log = openLog(kept.trusted, delta);
  const theirs = log && attestedBy(kept, delta, log, leaves);
  return { rosters, ours: attestedBefore(kept), log, theirs, first_new: firstNew, leaves };
}

/** @param {Material} kept */
function attestedBefore(kept) {
  try {
    return attested(kept);
  } catch (error) {
    if (error instanceof EvidenceUnavailable) return null;
    throw error;
  }
}

/**
 * @param {Material} kept
 * @param {Delta} delta
 */
async function trueRosters({ trusted, origin }, delta) {
  const known = [...trusted.rosters, ...delta.rosters];
  /** @type {SignedRoster[]} */
  const chosen = [...trusted.rosters.slice(-1), ...known.slice(-1)];
  for (const shared of [trusted.shared, delta.shared]) {
    try {
      if (shared) chosen.push(...rosterOf(shared.record, known));
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
    }
  }
  /** @type {SignedRoster[]} */
  const found = [];
  for (const one of chosen)
    if (!found.some((other) => same(one, other)) && (await isOrigins(one, origin))) found.push(one);
  return found;
}

/**
 * @param {SignedRoster} roster
 * @param {Bytes} origin
 */
async function isOrigins(roster, origin) {
  try {
    await openRoster(roster, origin);
    return true;
  } catch (error) {
    if (error instanceof NoiseError) return false;
    throw error;
  }
}

/**
 * The record as the last leaf, or at the place that it claims: a liar's sizes need not agree.
 * @param {Trusted} trusted
 * @param {Delta} delta
 * @returns {LogOpening | null}
 */
function openLog(trusted, delta) {
  const { note, record } = delta.shared;
  const checkpoint = orNull(() => parseCheckpoint(note)[0], DecodeError);
  if (checkpoint === null) return null;
  const claimed = orNull(() => EPOCH_RECORD.decode(record).epoch, DecodeError);
  const places = claimed === null ? [checkpoint.size - 1n] : [checkpoint.size - 1n, claimed];
  const proofs = checkpoint.size === trusted.log.size ? [trusted.log_proof] : [];
  for (const reached of places) {
    const extended = orNull(() => trusted.log.extend(reached, delta.log_hashes), ProofError);
    if (extended !== null) proofs.push(extended.peaks.toReversed());
  }
  for (const place of places) {
    for (const proof of proofs) {
      const opening = orNull(() => {
        checkInclusion(checkpoint.root, checkpoint.size, place, leafHash(record), proof);
        return { note, place, record, proof: [...proof] };
      }, ProofError);
      if (opening !== null) return opening;
    }
  }
  return null;
}

/**
 * What the call gives, or null when it throws such an error.
 * @template T
 * @param {() => T} call
 * @param {typeof DecodeError | typeof ProofError} refusal
 */
function orNull(call, refusal) {
  try {
    return call();
  } catch (error) {
    if (error instanceof refusal) return null;
    throw error;
  }
}

/**
 * @param {Material} kept
 * @param {Delta} delta
 * @param {LogOpening} log
 * @param {Map<bigint, Committed[]>} leaves
 */
function attestedBy(kept, delta, log, leaves) {
  const opened = orNull(() => {
    const state = delta.state.length ? MAILBOX_STATE.decode(delta.state) : null;
    const rosters = rosterOf(log.record, [...kept.trusted.rosters, ...delta.rosters]);
    const opening = openShared(delta.shared, log.proof, kept.mailbox, delta.state, delta.path, delta.other);
    return { state, rosters, opening: { ...opening, head: { ...opening.head, log } } };
  }, DecodeError);
  if (opened === null) return null;
  /** @type {Map<string, RecipientSet>} */
  const sets = new Map();
  for (const { recipients } of [...leaves.values()].flat()) sets.set(toHex(recipients.root), recipients);
  const records = [...kept.records, ...delta.history.map((entry) => entry.record)];
  return new Attested({
    ...opened,
    first_index: kept.base.size,
    records,
    nodes: nodesOf(kept, records, opened.state, delta.tail_hashes),
    leaves_of: (index) => leaves.get(index)?.map((one) => one.leaf) ?? kept.leaves_of(index),
    recipients_of: (root) => sets.get(toHex(root)) ?? kept.recipients_of(root),
  });
}

/**
 * The history's tree, as far as it goes: without its end when the delta's hashes do not lead there.
 * @param {Material} kept
 * @param {readonly Bytes[]} records
 * @param {MailboxState | null} state
 * @param {readonly Bytes[]} tail
 * @returns {NodeSource}
 */
function nodesOf(kept, records, state, tail) {
  const hashes = leafHashes(records);
  const old = kept.trusted.state;
  const reached = kept.base.size + BigInt(records.length);
  const cut = old !== null && reached < old.hist_size ? subtreeSpans(reached, old.hist_size).length : 0;
  /** @type {[nextSize: bigint, hashes: readonly Bytes[]][]} */
  const after = old !== null && cut ? [[old.hist_size, tail.slice(0, cut)]] : [];
  const end = state ? state.hist_size : reached;
  const whole = orNull(() => patchwork(kept.base, hashes, ...after, [end, tail.slice(cut)]), ProofError);
  return whole ?? patchwork(kept.base, hashes);
}
