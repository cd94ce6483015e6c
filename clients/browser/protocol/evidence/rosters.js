/**
 * The verified rosters of a proof: whose keys count, and which of them were needed.
 *
 * Knows nothing of what was signed.
 * @module
 */

/** @import { Bytes } from "../bytes.js" */
/** @import { SignedRoster } from "../delta.js" */
/** @import { Signed } from "../signing.js" */
/** @import { Roster } from "../statements.js" */
import { equal, fromHex, toHex } from "../bytes.js";
import { keyId, parseCheckpoint } from "../checkpoint.js";
import { SignatureError } from "../errors.js";
import { Actor, Role } from "../identifiers.js";
import { Rendezvous, actorsOf } from "../placement.js";
import { verifyRaw, verifyStrict } from "../signing.js";
import { hashRoster, openRoster } from "../statements.js";
import { NotProven } from "./verdict.js";

/** The verified rosters of a proof. `used`: those that anything was checked against, by hash in hex. */
export class Rosters {
  /** @type {Map<string, Rendezvous>} */
  #places = new Map();
  #byHash;

  /**
   * Only of rosters that are verified: see `Rosters.open`.
   * @param {Bytes} origin
   * @param {Map<string, Roster>} byHash
   */
  constructor(origin, byHash) {
    this.origin = origin;
    this.#byHash = byHash;
    /** @type {Set<string>} */
    this.used = new Set();
  }

  /**
   * Verifies all of them. Throws DecodeError or SignatureError: one that is not the origin's spoils all.
   * @param {Bytes} origin
   * @param {readonly SignedRoster[]} signed
   */
  static async open(origin, signed) {
    /** @type {Map<string, Roster>} */
    const byHash = new Map();
    for (const one of signed) byHash.set(toHex(hashRoster(one.body)), await openRoster(one, origin));
    return new Rosters(origin, byHash);
  }

  /**
   * The roster with this hash. Throws NotProven.
   * @param {Bytes} rosterHash
   */
  get(rosterHash) {
    const roster = this.#known(toHex(rosterHash));
    this.used.add(toHex(rosterHash));
    return roster;
  }

  /** @param {string} rosterHash in hex */
  #known(rosterHash) {
    const roster = this.#byHash.get(rosterHash);
    if (roster === undefined) throw new NotProven("a roster is missing");
    return roster;
  }

  /**
   * The roster with this hash, which may bind `epoch`. Throws NotProven.
   * @param {Bytes} rosterHash
   * @param {bigint} epoch
   */
  find(rosterHash, epoch) {
    const roster = this.get(rosterHash);
    if (roster.valid_from_epoch > epoch) throw new NotProven("the roster binds later epochs only");
    return roster;
  }

  /**
   * The newest of those that bind `epoch`. Throws NotProven.
   * @param {bigint} epoch
   */
  inForce(epoch) {
    return this.#known(toHex(this.hashInForce(epoch)));
  }

  /**
   * Of the newest of those that bind `epoch`. Throws NotProven.
   * @param {bigint} epoch
   */
  hashInForce(epoch) {
    /** @type {{ version: number, by: string } | null} */
    let newest = null;
    for (const [by, { version, valid_from_epoch }] of this.#byHash) {
      if (valid_from_epoch > epoch) continue;
      if (newest === null || version > newest.version || (version === newest.version && by > newest.by))
        newest = { version, by };
    }
    if (newest === null) throw new NotProven(`no roster binds epoch ${epoch}`);
    this.used.add(newest.by);
    return fromHex(newest.by);
  }

  /**
   * `others`, of which one was in force in `epoch` or later, tell of no roster for `epoch` that is not here.
   *
   * Either none of theirs is newer, or the next after the one in force here is here: it binds later epochs only.
   * Throws NotProven.
   * @param {bigint} epoch
   * @param {Rosters} others
   */
  checkInForce(epoch, others) {
    const inForce = this.hashInForce(epoch);
    const { version } = this.#known(toHex(inForce));
    if (![...others.#byHash.values()].some((one) => one.version > version)) return;
    const following = [...this.#byHash].filter(([, one]) => equal(one.previous, inForce));
    if (!following.length) throw new NotProven(`the roster in force in epoch ${epoch} is missing`);
    for (const [by] of following) this.used.add(by);
  }

  /**
   * The outbox that keeps a mailbox, by a roster that is here: many views ask for the same.
   * @param {Bytes} rosterHash
   * @param {Bytes} mailbox
   */
  place(rosterHash, mailbox) {
    const by = toHex(rosterHash);
    let places = this.#places.get(by);
    if (places === undefined) {
      places = new Rendezvous(actorsOf(this.#known(by), Role.OUTBOX));
      this.#places.set(by, places);
    }
    return places.actor(mailbox);
  }

  /**
   * The log key of one of the rosters, by which a checkpoint note verifies. Throws DecodeError or NotProven.
   * @param {Bytes} note
   */
  async logKey(note) {
    const [checkpoint, text, hint, signature] = parseCheckpoint(note);
    for (const [by, roster] of this.#byHash) {
      const { key } = roster.entry(new Actor(Role.LOG, 0, 0));
      if (roster.valid_from_epoch >= checkpoint.size || !equal(hint, keyId(checkpoint.log_name, key))) continue;
      try {
        await verifyRaw(key, signature, text);
      } catch (error) {
        if (!(error instanceof SignatureError)) throw error;
        continue;
      }
      this.used.add(by);
      return key;
    }
    throw new NotProven("no log key of these rosters signed the checkpoint");
  }

  /**
   * The key that this incarnation of an actor has in one of the rosters, and that signed all of the statements.
   *
   * Throws NotProven.
   * @param {readonly Signed[]} statements
   * @param {string} label
   * @param {Actor} actor
   * @param {number} incarnation
   * @param {bigint} epoch
   */
  async slotKey(statements, label, actor, incarnation, epoch) {
    for (const [by, roster] of this.#byHash) {
      try {
        const entry = roster.entry(actor);
        if (entry.incarnation !== incarnation || roster.valid_from_epoch > epoch) continue;
        for (const signed of statements) {
          await verifyStrict(entry.key, signed.signature, label, this.origin, signed.body);
        }
        this.used.add(by);
        return entry.key;
      } catch (error) {
        if (!(error instanceof SignatureError)) throw error;
      }
    }
    throw new NotProven(`no key of ${actor} in these rosters signed both`);
  }
}
