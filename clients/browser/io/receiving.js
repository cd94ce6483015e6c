/**
 * From deltas to messages: verified, then stored, then shown, then acknowledged.
 *
 * Knows nothing of connections. What is sealed is opened before it is stored, and gossip is handed to the witness. The
 * next delta is verified while the one before is still being written; nothing of it is shown before it is durable.
 * @module
 */

/** @import { Bytes } from "../protocol/bytes.js" */
/** @import { Delivery, Delta, RecipientLists } from "../protocol/delta.js" */
/** @import { Step } from "../protocol/follower.js" */
/** @import { Frame } from "../protocol/frames.js" */
/** @import { Roster } from "../protocol/statements.js" */
/** @import { Trusted } from "../protocol/trust.js" */
/** @import { Device } from "./device.js" */
/** @import { Opened } from "./sealer.js" */
/** @import { StoreCalls } from "./serial.js" */
/** @import { Kept, Message, TrustStore } from "./trust_store.js" */
/** @import { Witness } from "./witness.js" */
import { equal } from "../protocol/bytes.js";
import { NoiseError, ProviderMisbehaved } from "../protocol/errors.js";
import { Follower, newLists } from "../protocol/follower.js";
import { ACK_BODY } from "../protocol/frames.js";
import { CONTENT_FRAMES, parseGossip } from "../protocol/gossip.js";
import { formatId, parseSeq } from "../protocol/identifiers.js";
import { PAYLOAD_GOSSIP } from "../protocol/sealing.js";
import { NOTHING, encodeTrusted, parseTrusted } from "../protocol/trust.js";
import { Changed } from "./changed.js";
import { LinkError } from "./errors.js";
import { gainedBy } from "./kept_history.js";

/**
 * A delta that was verified and stored. `timeMs`: the provider's clock; `heardAtMs`: ours; `checkMs`: how long it took to
 * verify; `nBytes`: of its frame; `before`, `after`: what was trusted; `messages`: what is new in it for a page.
 * @typedef {{ epoch: bigint, timeMs: bigint, heardAtMs: number, checkMs: number, nBytes: number, delta: Delta,
 *   before: Trusted, after: Trusted, messages: Message[] }} DeltaSeen
 */

/**
 * All history records before `hist_next` are stored, as attested at `epoch`.
 * @typedef {{ epoch: bigint, hist_next: bigint }} AckPoint
 */

/**
 * What an `Incoming` calls. `openSealed` and `makeWitness` are called in the serial queue; `onHeard` after each delta, when
 * the witness has heard of it; `onSeen` and `onRefused` after all that was stored of it is durable.
 * @typedef {object} IncomingHooks
 * @property {(origin: Bytes, delivery: Delivery) => Promise<Opened>} openSealed
 * @property {(origin: Bytes, trusted: Trusted) => Promise<Witness>} makeWitness
 * @property {() => void} onHeard
 * @property {(seen: DeltaSeen) => void} onSeen
 * @property {(delta: Delta, error: ProviderMisbehaved) => void} onRefused
 */

/** What one device follows and verifies. Made by `Incoming.open`. */
export class Incoming {
  /** There is more to acknowledge, a provider is pinned, or something has come. */
  changed = new Changed();
  /** @type {Follower | null} */
  follower = null;
  /** From the first verified delta on. @type {Witness | null} */
  witness = null;
  /** When the verified log grew last, in milliseconds of `performance.now`. */
  grownAtMs = performance.now();
  /** Whether everything came that was there at the last verified epoch. */
  isSynced = false;
  /** How many messages were stored since the client was opened. */
  heardCount = 0;
  /** The roster in force at the last delta that is stored. @type {Roster | null} */
  roster = null;
  /** The last delta that is stored. @type {{ epoch: bigint, timeMs: bigint, heardAtMs: number } | null} */
  freshness = null;

  #device;
  #store;
  #calls;
  #hooks;
  /** @type {AckPoint | null} */
  #ackDue = null;
  #ackedHistNext = 0n;

  /**
   * @param {Device} device
   * @param {TrustStore} store
   * @param {StoreCalls} calls
   * @param {Bytes | null} origin the pinned one, or null
   * @param {IncomingHooks} hooks
   */
  constructor(device, store, calls, origin, hooks) {
    this.origin = origin;
    this.#device = device;
    this.#store = store;
    this.#calls = calls;
    this.#hooks = hooks;
  }

  /**
   * Go on from what the store holds. Throws DecodeError, ProofError or SignatureError when that is damaged.
   * @param {Kept} kept
   */
  async load(kept) {
    if (this.origin === null) return;
    const trusted = kept.trusted.length ? parseTrusted(kept.trusted) : NOTHING;
    this.follower = await this.#open(this.origin, trusted);
    if (kept.origin !== null) this.witness = await this.#hooks.makeWitness(this.origin, trusted);
    this.roster = this.follower.rosters.at(-1) ?? null;
    this.#addAckPoint(trusted);
  }

  /**
   * @param {Bytes} origin
   * @param {Trusted} [trusted]
   */
  #open(origin, trusted) {
    const lastCounter = (/** @type {Bytes} */ sender) => this.#store.lastCounter(sender);
    return Follower.open(origin, this.#device.deviceId, trusted, { lastCounter });
  }

  /**
   * The follower for a connection to a provider that says it is `origin`.
   *
   * An origin is pinned with the first delta that verifies, even before that is durable. Throws LinkError "wrong-origin"
   * for another one.
   * @param {Bytes} origin
   */
  async follow(origin) {
    const pinned = this.origin ?? this.#store.load().origin;
    if (pinned !== null && !equal(pinned, origin)) {
      const [theirs, ours] = [formatId(origin), formatId(pinned)];
      const detail = `this provider is ${theirs}, but the device trusts ${ours}: check the URL`;
      throw new LinkError(detail, { code: "wrong-origin", isFinal: true });
    }
    if (this.follower === null || !equal(this.follower.origin, origin)) this.follower = await this.#open(origin);
    this.#ackedHistNext = 0n;
    return this.follower;
  }

  /**
   * Verify, store, then trust a delta. Returns when it is verified; `stored` resolves when it is durable and shown.
   * `isSynced`: its history is complete, nothing more is to be caught up.
   *
   * Throws ProviderMisbehaved, or TrustStoreError; what is trusted has not changed then.
   * @param {Follower} follower
   * @param {Delta} delta
   * @param {RecipientLists} lists
   * @param {number} nBytes
   * @returns {Promise<{ isSynced: boolean, stored: Promise<void> }>}
   */
  async accept(follower, delta, lists, nBytes) {
    try {
      const { value, stored: written } = await this.#calls.begin(async () => {
        const seen = await this.#accept(follower, delta, lists, nBytes);
        return { seen, roster: follower.rosters.at(-1) ?? null };
      });
      const stored = written.then(() => this.#show(follower.origin, value.seen, value.roster));
      stored.catch(() => {}); // who waits for it is told
      return { isSynced: value.seen.after.isComplete, stored };
    } catch (error) {
      this.#hooks.onHeard();
      if (error instanceof ProviderMisbehaved) this.#hooks.onRefused(delta, error);
      throw error;
    }
  }

  /**
   * @param {Follower} follower
   * @param {Delta} delta
   * @param {RecipientLists} lists
   * @param {number} nBytes
   * @returns {Promise<DeltaSeen>}
   */
  async #accept(follower, delta, lists, nBytes) {
    const begunMs = performance.now();
    const before = follower.trusted;
    const step = await this.#check(follower, delta, lists);
    const checkMs = performance.now() - begunMs;
    const heardAtMs = Date.now();
    const witness = this.witness ?? (await this.#hooks.makeWitness(follower.origin, NOTHING));
    const opened = await Promise.all(step.deliveries.map((d) => this.#hooks.openSealed(follower.origin, d)));
    const messages = step.deliveries.flatMap((d, i) =>
      opened[i].kind === PAYLOAD_GOSSIP ? [] : [makeMessage(d, opened[i], heardAtMs)],
    );
    const encoded = encodeTrusted(step.trusted);
    if (!equal(encoded, this.#store.load().trusted)) {
      const spent = opened.map((one) => one.spent).filter((id) => id.length);
      const gained = gainedBy(before, step, delta, spent);
      this.#store.saveStep(follower.origin, encoded, step.counters, messages, gained);
      follower.adopt(step);
      this.witness = witness;
      await witness.noteStep(step.trusted, gained);
    }
    lists.admit(newLists(delta));
    for (const [i, { sender }] of step.deliveries.entries()) {
      if (!equal(sender, this.#device.deviceId)) await hear(witness, sender, opened[i]);
    }
    const { epoch, time_ms: timeMs } = step;
    return { epoch, timeMs, heardAtMs, checkMs, nBytes, delta, before, after: step.trusted, messages };
  }

  /**
   * @param {Follower} follower
   * @param {Delta} delta
   * @param {RecipientLists} lists
   * @returns {Promise<Step>}
   */
  async #check(follower, delta, lists) {
    try {
      return await follower.checkDelta(delta, lists);
    } catch (error) {
      if (error instanceof ProviderMisbehaved) await this.witness?.noteRefusal(delta, lists, error.detail);
      throw error;
    }
  }

  /**
   * @param {Bytes} origin
   * @param {DeltaSeen} seen
   * @param {Roster | null} roster
   */
  #show(origin, seen, roster) {
    const { epoch, timeMs, heardAtMs, before, after } = seen;
    this.origin = origin;
    this.roster = roster;
    this.freshness = { epoch, timeMs, heardAtMs };
    if (after.log.size > before.log.size) this.grownAtMs = performance.now();
    if (seen.delta.history.length) this.#addAckPoint(after);
    this.isSynced = after.isComplete;
    this.heardCount += seen.messages.length;
    this.changed.notify();
    this.#hooks.onSeen(seen);
    this.#hooks.onHeard();
  }

  /** @param {Trusted} trusted */
  #addAckPoint(trusted) {
    if (trusted.delivered === null) return;
    this.#ackDue = { epoch: trusted.log.size - 1n, hist_next: trusted.delivered.state.hist_size };
  }

  /** Whether more is stored than this connection has acknowledged. */
  get owesAck() {
    return this.#ackDue !== null && this.#ackDue.hist_next > this.#ackedHistNext;
  }

  /**
   * Send what `owesAck` says is owed.
   * @param {Follower} follower
   * @param {(frame: Frame) => void} send
   */
  async acknowledge(follower, send) {
    const point = this.#ackDue;
    if (point === null) return;
    const { origin } = follower;
    const { signer, deviceId } = this.#device;
    const body = ACK_BODY.encode({ origin, device_id: deviceId, key: signer.publicKey, ...point });
    send({ type: "ack", ...(await signer.sign("ack", origin, body)) });
    this.#ackedHistNext = point.hist_next;
  }
}

/**
 * @param {Delivery} delivery
 * @param {Opened} opened
 * @param {number} heardAtMs
 * @returns {Message}
 */
function makeMessage({ seq, sender, sender_ctr, created_ms, recipients }, { data, seal }, heardAtMs) {
  const [epoch] = parseSeq(seq);
  return { seq, epoch, sender, sender_ctr, created_ms, recipients: recipients.device_ids, data, seal, heardAtMs };
}

/**
 * What a sender says to our client. Nonsense is the sender's, and says nothing about the provider.
 * @param {Witness} witness
 * @param {Bytes} sender
 * @param {Opened} opened
 */
async function hear(witness, sender, opened) {
  if (opened.gossip.length) await witness.hearView(sender, opened.gossip);
  if (opened.kind !== PAYLOAD_GOSSIP) return;
  try {
    await witness.hear(sender, parseGossip(opened.data, CONTENT_FRAMES));
  } catch (error) {
    if (!(error instanceof NoiseError)) throw error;
  }
}
