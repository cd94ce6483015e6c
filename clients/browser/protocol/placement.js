/**
 * Which inbox serves a sender, which outbox keeps a mailbox: rendezvous hashing over a roster.
 *
 * Knows nothing of overrides and moves. Source: Thaler and Ravishankar, "Using name-based mappings to increase hit
 * rates" (1998): every candidate is weighed by `SHA-256(candidate || id)`, the heaviest serves. Clients check placement
 * with it.
 * @module
 */

/** @import { Bytes } from "./bytes.js" */
/** @import { Actor } from "./identifiers.js" */
/** @import { Roster } from "./statements.js" */
import { compare, toHex } from "./bytes.js";
import { Role, parseActor } from "./identifiers.js";
import { sha256 } from "./signing.js";

const MEMORY_MAX = 1 << 17;

/** Places ids on actors. Remembers the last answers: an id is asked for once per message. */
export class Rendezvous {
  /** @param {readonly Actor[]} actors at least one */
  constructor(actors) {
    this.candidates = actors.map((actor) => ({ actor, encoded: actor.encode() }));
    /** @type {Map<string, Actor>} */
    this.memory = new Map();
  }

  /**
   * The actor that serves a 32-byte id.
   * @param {Bytes} identifier
   * @returns {Actor}
   */
  actor(identifier) {
    if (this.candidates.length === 1) return this.candidates[0].actor;
    const key = toHex(identifier);
    let actor = this.memory.get(key);
    if (actor === undefined) {
      actor = this.heaviest(identifier);
      if (this.memory.size >= MEMORY_MAX) this.memory.clear();
      this.memory.set(key, actor);
    }
    return actor;
  }

  /** @param {Bytes} identifier */
  heaviest(identifier) {
    return this.candidates
      .map(({ actor, encoded }) => ({ actor, weight: sha256(encoded, identifier) }))
      .reduce((best, one) => (compare(one.weight, best.weight) > 0 ? one : best)).actor;
  }
}

/**
 * The roster's actors of a role, in order.
 * @param {Roster} roster
 * @param {number} role one of Role
 */
export function actorsOf(roster, role) {
  return roster.actors.filter((entry) => entry.actor[0] === role).map((entry) => parseActor(entry.actor));
}

/** Of each roster: a client asks for the same mailbox with every delta. @type {WeakMap<Roster, Rendezvous>} */
const outboxesOf = new WeakMap();

/**
 * The outbox that keeps a mailbox.
 * @param {Roster} roster not to be changed
 * @param {Bytes} mailbox
 */
export function placeMailbox(roster, mailbox) {
  const outboxes = outboxesOf.get(roster) ?? new Rendezvous(actorsOf(roster, Role.OUTBOX));
  outboxesOf.set(roster, outboxes);
  return outboxes.actor(mailbox);
}
