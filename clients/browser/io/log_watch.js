/**
 * Compares the logs that the provider shows to us and to our peers, by their checkpoints.
 *
 * Knows nothing of mailboxes or pair chains. Two checkpoints of one size are compared at once. For another size the
 * provider is asked to show that its log had the peer's root at that size (a lookup): an honest one can. Distinguished
 * checkpoints, of every size that is a multiple of DISTINGUISHED_EVERY, are kept by every client with their signatures, so
 * that two who never met in one epoch have something to compare, without the provider's help.
 * @module
 */

/** @import { Bytes } from "../protocol/bytes.js" */
/** @import { Checkpoint } from "../protocol/checkpoint.js" */
/** @import { LogOpening } from "../protocol/evidence/openings.js" */
/** @import { CompactCheckpoint } from "../protocol/gossip.js" */
/** @import { EpochStatements, Inclusion } from "../protocol/log_pages.js" */
/** @import { Trusted } from "../protocol/trust.js" */
/** @import { KeptNote } from "./evidence_store.js" */
/** @import { TrustStore } from "./trust_store.js" */
import { equal, toHex, utf8 } from "../protocol/bytes.js";
import { parseCheckpoint } from "../protocol/checkpoint.js";
import { NoiseError, ProofError } from "../protocol/errors.js";
import { accuseLogs } from "../protocol/evidence/accuse.js";
import { LOG_OPENING } from "../protocol/evidence/openings.js";
import { compact, expand } from "../protocol/gossip.js";
import { Actor, Role } from "../protocol/identifiers.js";
import { checkConsistency, checkInclusion, leafHash } from "../protocol/merkle.js";
import { ROSTER } from "../protocol/statements.js";
import { NOTHING } from "../protocol/trust.js";
import { NOTES_MAX } from "./evidence_store.js";

/** Log sizes between distinguished checkpoints: at one epoch a second some four minutes. */
export const DISTINGUISHED_EVERY = 256n;

/** Distinguished checkpoints that are asked for after an absence. */
const CATCH_UP_MAX = 4n;

const PEERS_MAX = 256;

/** Between two lookups for one peer, each of which costs the provider a proof. */
const LOOKUP_INTERVAL_MS = 10_000;

const LOG = new Actor(Role.LOG, 0, 0);

/**
 * Ask the provider: is a peer's checkpoint one of the log that we were shown, of `size` and `root` by `note`?
 * @typedef {{ kind: "log", peer: Bytes, checkpoint: CompactCheckpoint, size: bigint, root: Bytes, note: Bytes }} LogLookup
 */

/**
 * Ask the provider for its checkpoint of size `wanted`, and for what leads from it to our log.
 * @typedef {{ kind: "note", wanted: bigint, size: bigint, root: Bytes }} NoteLookup
 */

/** @typedef {LogLookup | NoteLookup} Lookup */

export class LogWatch {
  /**
   * @param {TrustStore} store
   * @param {Bytes} origin
   * @param {() => number} timeMs the wall clock
   */
  constructor(store, origin, timeMs) {
    this.timeMs = timeMs;
    this.store = store;
    this.origin = origin;
    /** @type {Trusted} */
    this.trusted = NOTHING;
    /** @type {Map<string, number>} */
    this.askedMs = new Map();
    /** @type {Map<string, [Bytes, CompactCheckpoint]>} */
    this.later = new Map();
    /** @type {Map<string, [Bytes, CompactCheckpoint]>} */
    this.unverified = new Map();
    /** @type {Map<string, bigint>} */
    this.agreed = new Map();
    /** By log size: whatever was kept with a step, and the distinguished ones. @type {Map<bigint, LogOpening>} */
    this.kept = new Map();
    /** @type {Map<bigint, LogOpening>} */
    this.distinguished = new Map();
    /** @type {WeakMap<LogOpening, Checkpoint>} */
    this.checkpoints = new WeakMap();
    for (const note of store.notes()) this.rememberNote(note);
    this.wanted = 0n;
  }

  /**
   * More is verified, and these notes were stored with it. What to ask the provider for now.
   * @param {Trusted} trusted
   * @param {KeptNote[]} notes
   * @returns {Lookup[]}
   */
  noteStep(trusted, notes) {
    this.trusted = trusted;
    for (const note of notes) this.rememberNote(note);
    const { size } = trusted.log;
    const newest = size - (size % DISTINGUISHED_EVERY);
    if (newest <= this.wanted) return [];
    this.wanted = newest;
    const root = trusted.log.root();
    const first = [...this.distinguished.keys(), newest - CATCH_UP_MAX * DISTINGUISHED_EVERY, 0n];
    const oldest = first.reduce((most, one) => (one > most ? one : most));
    /** @type {Lookup[]} */
    const lookups = [];
    for (let wanted = oldest + DISTINGUISHED_EVERY; wanted <= newest; wanted += DISTINGUISHED_EVERY) {
      lookups.push({ kind: "note", wanted, size, root });
    }
    return lookups;
  }

  /**
   * Checkpoints of peers that can be compared by now.
   * @returns {[Bytes, CompactCheckpoint][]}
   */
  ready() {
    /** @type {[Bytes, CompactCheckpoint][]} */
    const ready = [];
    for (const waiting of [this.later, this.unverified]) {
      for (const [key, [peer, checkpoint]] of waiting) {
        if (checkpoint.size > this.trusted.log.size) continue;
        waiting.delete(key);
        ready.push([peer, checkpoint]);
      }
    }
    return ready;
  }

  /** Our last checkpoint, for a view. */
  compactNote() {
    return this.trusted.shared ? compact(this.trusted.shared.note) : null;
  }

  /**
   * Every epoch record that we can open by ourselves, newest first.
   * @returns {LogOpening[]}
   */
  openings() {
    const { shared, log, log_proof } = this.trusted;
    const bySize = [...new Map([...this.kept, ...this.distinguished])].filter(([size]) => size !== log.size);
    const kept = bySize.sort(([a], [b]) => (a < b ? 1 : -1)).map(([, opening]) => opening);
    if (shared === null) return kept;
    return [{ note: shared.note, place: log.size - 1n, record: shared.record, proof: [...log_proof] }, ...kept];
  }

  /**
   * What an opening's note says. Every view of a peer is compared with all that are kept, and parsing takes long.
   * @param {LogOpening} opening
   */
  checkpointOf(opening) {
    const known = this.checkpoints.get(opening);
    if (known !== undefined) return known;
    const [checkpoint] = parseCheckpoint(opening.note);
    this.checkpoints.set(opening, checkpoint);
    return checkpoint;
  }

  /** @param {KeptNote} note */
  rememberNote(note) {
    const kept = note.is_distinguished ? this.distinguished : this.kept;
    kept.set(note.size, LOG_OPENING.decode(note.note));
    while (kept.size > NOTES_MAX) kept.delete([...kept.keys()].reduce((least, one) => (one < least ? one : least)));
  }

  /**
   * The opening of one record, encoded, for a peer. Throws NoiseError.
   * @param {bigint} epoch
   */
  opening(epoch) {
    if (epoch >= this.trusted.log.size) throw new NoiseError("the epoch is not verified yet", "evidence-future");
    const found = this.openings().find((opening) => opening.place === epoch);
    if (found === undefined) throw new NoiseError("the checkpoint is not kept", "evidence-dropped");
    return LOG_OPENING.encode(found);
  }

  /**
   * A peer's checkpoint: what to ask the provider, or a proof that there are two logs, or nothing.
   *
   * One of a log key that we cannot know waits until we must know it, or says nothing. Throws NoiseError for what no log
   * key has signed.
   * @param {Bytes} peer
   * @param {CompactCheckpoint} checkpoint
   * @returns {Promise<LogLookup | Bytes | null>}
   */
  async hear(peer, checkpoint) {
    const key = toHex(peer);
    const { shared, log } = this.trusted;
    let note;
    try {
      note = await this.expand(checkpoint);
    } catch (error) {
      if (!(error instanceof NoiseError)) throw error;
      if (checkpoint.size > log.size) remember(this.unverified, key, this.unverified.get(key) ?? [peer, checkpoint]);
      else if (!this.isBeforeRosters(checkpoint.size)) throw error;
      return null;
    }
    for (const opening of this.openings()) {
      const ours = this.checkpointOf(opening);
      if (ours.size !== checkpoint.size) continue;
      return equal(ours.root, checkpoint.root) ? null : this.accuse(opening, note);
    }
    if (checkpoint.size > log.size) {
      remember(this.later, key, this.later.get(key) ?? [peer, checkpoint]);
      return null;
    }
    const now = this.timeMs();
    const isEarly = now - (this.askedMs.get(key) ?? -LOOKUP_INTERVAL_MS) < LOOKUP_INTERVAL_MS;
    if (checkpoint.size <= (this.agreed.get(key) ?? 0n) || shared === null || isEarly) return null;
    remember(this.askedMs, key, now);
    return { kind: "log", peer, checkpoint, size: log.size, root: log.root(), note: shared.note };
  }

  /**
   * Whether the provider has shown that the peer's log is the beginning of ours.
   * @param {LogLookup} lookup
   * @param {Bytes[]} proof
   */
  checkLog({ peer, checkpoint, size, root }, proof) {
    try {
      checkConsistency(checkpoint.size, checkpoint.root, size, root, proof);
    } catch (error) {
      if (error instanceof ProofError) return false;
      throw error;
    }
    remember(this.agreed, toHex(peer), checkpoint.size);
    return true;
  }

  /**
   * Keep our own log's record at the place where the peer's log ends. Throws NoiseError when it is not that.
   * @param {LogLookup} lookup
   * @param {EpochStatements} statements
   * @param {Inclusion} inclusion
   */
  keepFork({ checkpoint, size, root, note }, { record }, { proof }) {
    const place = checkpoint.size - 1n;
    checkInclusion(root, size, place, leafHash(record), proof);
    const opening = LOG_OPENING.encode({ note, place, record, proof });
    this.saveNote({ size: place + 1n, note: opening, is_distinguished: false });
  }

  /**
   * Keep a distinguished checkpoint that leads to our log. Throws NoiseError for one that does not.
   * @param {NoteLookup} lookup
   * @param {EpochStatements} statements
   * @param {Inclusion} inclusion
   * @param {Bytes[]} consistency
   */
  async keepDistinguished({ wanted, size, root }, statements, { proof }, consistency) {
    const note = utf8(statements.note);
    const checkpoint = parseCheckpoint(note)[0];
    await this.expand(compact(note));
    if (checkpoint.size !== wanted) throw new NoiseError("the checkpoint of another size", "wrong-checkpoint");
    const place = checkpoint.size - 1n;
    checkInclusion(checkpoint.root, checkpoint.size, place, leafHash(statements.record), proof);
    checkConsistency(checkpoint.size, checkpoint.root, size, root, consistency);
    const opening = LOG_OPENING.encode({ note, place, record: statements.record, proof });
    this.saveNote({ size: checkpoint.size, note: opening, is_distinguished: true });
  }

  /** @param {KeptNote} note */
  saveNote(note) {
    this.store.saveNote(note);
    this.rememberNote(note);
  }

  /**
   * A peer's record, opened: a proof, if ours at that place, or of that size, is another. Throws NoiseError.
   * @param {Bytes} encoded
   * @returns {Promise<Bytes | null>}
   */
  async hearOpening(encoded) {
    const theirs = LOG_OPENING.decode(encoded);
    for (const ours of this.openings()) {
      const proof = mayDiffer(ours, theirs) ? await this.accuse(ours, theirs) : null;
      if (proof !== null) return proof;
    }
    return null;
  }

  /**
   * @param {LogOpening} ours
   * @param {LogOpening | Bytes} theirs
   */
  accuse(ours, theirs) {
    return accuseLogs(this.origin, [...this.trusted.rosters], ours, theirs);
  }

  /**
   * Whether a log of this size ended before the first epoch of which we know the roster.
   * @param {bigint} size
   */
  isBeforeRosters(size) {
    const [first] = this.trusted.rosters;
    return first === undefined || size <= ROSTER.decode(first.body).valid_from_epoch;
  }

  /**
   * The note, signed by a log key that we know. Throws NoiseError.
   * @param {CompactCheckpoint} checkpoint
   */
  async expand(checkpoint) {
    let problem = new NoiseError("no roster is known yet", "no-roster");
    for (const signed of [...this.trusted.rosters].reverse()) {
      try {
        return await expand(checkpoint, this.origin, ROSTER.decode(signed.body).entry(LOG).key);
      } catch (error) {
        if (!(error instanceof NoiseError)) throw error;
        problem = error;
      }
    }
    throw problem;
  }
}

/**
 * Whether the two say something about one place, and not the same. Checking what they prove takes milliseconds.
 * @param {LogOpening} ours
 * @param {LogOpening} theirs
 */
function mayDiffer(ours, theirs) {
  if (ours.place === theirs.place && !equal(ours.record, theirs.record)) return true;
  const our = parseCheckpoint(ours.note)[0];
  const their = parseCheckpoint(theirs.note)[0];
  const isFork = our.size === their.size && !equal(our.root, their.root);
  return isFork || their.size === ours.place || our.size === theirs.place;
}

/**
 * @template T
 * @param {Map<string, T>} table
 * @param {string} peer
 * @param {T} value
 */
function remember(table, peer, value) {
  table.delete(peer);
  table.set(peer, value);
  if (table.size > PEERS_MAX) table.delete(/** @type {string} */ (table.keys().next().value));
}
