/**
 * From messages to receipts: a durable queue, gathered into bundles, each sent until the provider has answered it.
 *
 * Knows nothing of connections: `connection.js` carries the bundles that this file hands out. One bundle is under way at a
 * time, and whatever is queued meanwhile becomes the next: no refusal can be overtaken by a later message, so messages
 * arrive in the order in which they were queued. A bundle's bytes and counters are durable before it is handed out, so that
 * sending it again, after a crash too, is sending the same thing, to which the same receipt is the answer.
 * @module
 */

/** @import { Bytes } from "../protocol/bytes.js" */
/** @import { Bundle } from "../protocol/envelope.js" */
/** @import { Follower } from "../protocol/follower.js" */
/** @import { Receipt } from "../protocol/frames.js" */
/** @import { Device } from "./device.js" */
/** @import { Scope } from "./scope.js" */
/** @import { Sealer } from "./sealer.js" */
/** @import { StoreCalls } from "./serial.js" */
/** @import { Kept, QueuedMessage, TrustStore } from "./trust_store.js" */
import { EMPTY, compare, concat, toHex } from "../protocol/bytes.js";
import { Recipients, buildBundle, openBundle } from "../protocol/envelope.js";
import { NoiseError, Rejected } from "../protocol/errors.js";
import { parseId } from "../protocol/identifiers.js";
import { BUNDLE_BYTES_MAX, BUNDLE_MESSAGES_MAX, MESSAGE_BYTES_MAX, RECIPIENTS_MAX } from "../protocol/limits.js";
import { PAYLOAD_BODY_BYTES_MAX, PAYLOAD_GOSSIP } from "../protocol/sealing.js";
import { Changed } from "./changed.js";
import { nowMs } from "./prekeys.js";
import { countFitting, refusalOf } from "./sealer.js";
import { keptBytes } from "./trust_store.js";

/** Refusals that say "not now": the same bundle is sent again after a while. All others are final. */
export const RETRIED_CODES = new Set(["busy", "unavailable"]);

const RECIPIENTS_REMEMBERED_MAX = 64;
const KEYS_RETRY_S = 0.2;

/**
 * A message on its way. It is sent whether or not anybody looks. `id`: its place in the queue; ids rise.
 *
 * "queued": durable here. "sent": it has left at least once. "receipt": the provider's receipt is verified, it stands at
 * `seq`. "refused": here or by the provider, for good: `error` says why.
 * @typedef {{ id: number, recipients: Bytes[], data: Bytes, state: "queued" | "sent" | "receipt" | "refused",
 *   seq: Bytes | null, error: NoiseError | null }} Sending
 */

/**
 * Whoever is told of each bundle that leaves and of its answer, in the serial queue.
 * @typedef {object} Watch
 * @property {() => void | Promise<void>} noteSent
 * @property {() => void | Promise<void>} noteRefusedBundle
 * @property {(bundle: Bundle, receipt: Receipt) => void | Promise<void>} noteReceipt
 */

/**
 * A place in the queue. `isDurable`: a crash does not empty it.
 * @typedef {{ sending: Sending, bytes: number, isGossip: boolean, isDurable: boolean }} Place
 */

/**
 * The recipients of a message, sorted and unique, the sender among them. Ids are 32 bytes, or their text.
 *
 * Throws DecodeError for what is no id, Rejected "no-recipients" or "too-many-recipients".
 * @param {Bytes} ownId
 * @param {Iterable<Bytes | string>} recipients
 * @returns {Bytes[]}
 */
export function address(ownId, recipients) {
  /** @type {Map<string, Bytes>} */
  const ids = new Map();
  for (const item of recipients) {
    const id = typeof item === "string" ? parseId(item) : item;
    if (!(id instanceof Uint8Array) || id.length !== 32) {
      throw new Rejected("a recipient is an id of 32 bytes, or its text", "bad-recipient");
    }
    ids.set(toHex(id), id.slice());
  }
  if (!ids.size) throw new Rejected("a message needs recipients", "no-recipients");
  ids.set(toHex(ownId), ownId);
  if (ids.size > RECIPIENTS_MAX) throw new Rejected(`more than ${RECIPIENTS_MAX} recipients`, "too-many-recipients");
  return [...ids.values()].sort(compare);
}

export class Outgoing {
  #device;
  #store;
  #calls;
  #sealer;
  #watch;
  #settings;
  #onChange;
  #saltSecret;
  #keptBundle;
  /** @type {Bundle | null} */
  #bundle = null;
  /** @type {Map<string, Recipients>} */
  #recipients = new Map();
  /** @type {Place[]} as in the store's queue */
  #places = [];
  #bytes = 0;
  #changed = new Changed();
  /** @type {NoiseError | null} */
  #error = null;

  /**
   * `onChange`: called when a message of the application has changed, after that is durable.
   * @param {Device} device
   * @param {TrustStore} store
   * @param {StoreCalls} calls
   * @param {Kept} kept
   * @param {Sealer} sealer
   * @param {Watch} watch
   * @param {{ queueBytesMax: number, keysWaitS: number }} settings
   * @param {(sending: Sending) => void} onChange
   */
  constructor(device, store, calls, kept, sealer, watch, settings, onChange) {
    this.#device = device;
    this.#store = store;
    this.#calls = calls;
    this.#sealer = sealer;
    this.#watch = watch;
    this.#settings = settings;
    this.#onChange = onChange;
    this.#saltSecret = kept.salt_secret;
    this.#keptBundle = kept.bundle;
    for (const [id, message] of store.allQueued()) this.#add(makeSending(message, id), message, true);
  }

  /**
   * @param {Sending} sending
   * @param {QueuedMessage} message
   * @param {boolean} isDurable
   */
  #add(sending, message, isDurable) {
    const place = { sending, bytes: keptBytes(message), isGossip: message.kind === PAYLOAD_GOSSIP, isDurable };
    this.#places.push(place);
    this.#bytes += place.bytes;
    return place;
  }

  /**
   * The application's messages without an answer, oldest first.
   * @returns {Sending[]}
   */
  unsent() {
    const shown = this.#places.filter(({ isGossip, isDurable }) => isDurable && !isGossip);
    return shown.map(({ sending }) => sending);
  }

  /**
   * Queue a message, and wait until it is durable. Throws Rejected ("queue-full" among others), TrustStoreError, or what
   * ended us.
   *
   * `kind`: what it will be sealed as; 0: it travels as it is.
   * @param {Iterable<Bytes | string>} recipients
   * @param {Bytes} data
   * @param {number} kind
   * @returns {Promise<Sending>}
   */
  async put(recipients, data, kind) {
    const message = this.#check(recipients, data, kind);
    const sending = makeSending(message);
    const place = this.#add(sending, message, false);
    await this.#calls.run(() => {
      [sending.id] = this.#store.addQueued([message]);
    });
    place.isDurable = true;
    this.#tell(place);
    this.#changed.notify();
    return sending;
  }

  /**
   * @param {Iterable<Bytes | string>} recipients
   * @param {Bytes} data
   * @param {number} kind
   * @returns {QueuedMessage}
   */
  #check(recipients, data, kind) {
    if (this.#error) throw this.#error;
    const bytesMax = kind ? PAYLOAD_BODY_BYTES_MAX : MESSAGE_BYTES_MAX;
    if (data.length > bytesMax) throw new Rejected(`a message has at most ${bytesMax} bytes`, "message-too-large");
    const to = address(this.#device.deviceId, recipients);
    const message = { recipients: to, data: data.slice(), created_ms: BigInt(nowMs()), kind };
    if (this.#bytes && this.#bytes + keptBytes(message) > this.#settings.queueBytesMax) {
      throw new Rejected(`the queue holds ${this.#bytes} bytes already`, "queue-full");
    }
    return message;
  }

  /**
   * The bundle to send now, or again: the same one until it is accepted or refused.
   *
   * Throws LinkError when the keys to seal it cannot be asked for.
   * @param {Scope} scope
   * @param {Follower} follower
   * @returns {Promise<Bundle>}
   */
  async nextBundle(scope, follower) {
    let giveUpAtMs = Infinity;
    for (;;) {
      const changed = this.#changed.wait();
      const isFrozen = this.#bundle !== null || this.#keptBundle.length > 0;
      if (isFrozen) return this.#handOut(await this.#calls.run(() => this.#frozenBundle(follower.origin)));
      const messages = await this.#calls.run(() => this.#store.queued(BUNDLE_MESSAGES_MAX, BUNDLE_BYTES_MAX));
      messages.splice(countFitting(messages));
      if (!messages.length) {
        await scope.until(changed);
        continue;
      }
      const problems = await scope.until(this.#sealer.prepare(follower.origin, messages));
      const refusals = messages.map((message) => refusalOf(problems, message));
      if (refusals[0] === null) {
        const nSealable = refusals.findIndex((refusal) => refusal !== null);
        const sealable = nSealable < 0 ? messages : messages.slice(0, nSealable);
        return this.#handOut(await this.#calls.run(() => this.#freeze(follower.origin, sealable)));
      }
      giveUpAtMs = Math.min(giveUpAtMs, performance.now() + 1000 * this.#settings.keysWaitS);
      const isGossip = messages[0].kind === PAYLOAD_GOSSIP; // to strangers, it must not hold us up
      if (performance.now() < giveUpAtMs && !isGossip) {
        await scope.sleep(KEYS_RETRY_S); // a recipient may be about to publish its first keys
      } else {
        await this.#dropFirst(refusals[0]);
        giveUpAtMs = Infinity;
      }
    }
  }

  /**
   * @param {Bundle} bundle
   * @returns {Bundle}
   */
  #handOut(bundle) {
    for (const place of this.#places.slice(0, bundle.count)) {
      if (place.sending.state !== "queued") continue;
      place.sending.state = "sent";
      this.#tell(place);
    }
    return bundle;
  }

  /**
   * The oldest message can never be sent.
   * @param {Rejected} error
   */
  async #dropFirst(error) {
    await this.#calls.run(() => this.#store.finish(1));
    this.#endFirst(error);
  }

  /** @param {Bytes} origin */
  async #frozenBundle(origin) {
    await this.#watch.noteSent();
    this.#bundle ??= await openBundle(this.#keptBundle, origin);
    return this.#bundle;
  }

  /**
   * @param {Bytes} origin
   * @param {readonly QueuedMessage[]} messages
   */
  async #freeze(origin, messages) {
    await this.#watch.noteSent();
    const firstCtr = this.#store.nextCounter();
    const drafts = [];
    /** @type {Set<string>} */
    const told = new Set();
    for (const [i, message] of messages.entries()) {
      const recipients = await this.#recipientsOf(message.recipients);
      try {
        drafts.push(await this.#sealer.draft(origin, firstCtr + BigInt(i), recipients, message, told));
      } catch (error) {
        if (!(error instanceof Rejected)) throw error;
        break; // its keys were used up by the messages before it: the next bundle asks for more
      }
    }
    const bundle = await buildBundle(this.#device.signer, origin, firstCtr, drafts);
    this.#store.freeze(bundle.encode(), firstCtr + BigInt(bundle.count));
    this.#bundle = bundle;
    return bundle;
  }

  /**
   * One salt for each set, so that its root repeats; it follows from a secret, so none must be kept.
   * @param {Bytes[]} ids
   */
  async #recipientsOf(ids) {
    const joined = concat(...ids);
    const key = toHex(joined);
    const known = this.#recipients.get(key);
    if (known) return known;
    const hmac = { name: "HMAC", hash: "SHA-256" };
    const secret = await crypto.subtle.importKey("raw", this.#saltSecret, hmac, false, ["sign"]);
    const salt = new Uint8Array(await crypto.subtle.sign("HMAC", secret, joined)).slice(0, 16);
    const recipients = new Recipients({ env_salt: salt, device_ids: ids });
    for (const oldest of this.#recipients.keys()) {
      if (this.#recipients.size < RECIPIENTS_REMEMBERED_MAX) break;
      this.#recipients.delete(oldest);
    }
    this.#recipients.set(key, recipients);
    return recipients;
  }

  /**
   * The provider says that it sequenced the bundle. Throws ProviderMisbehaved when that cannot be verified.
   * @param {Follower} follower
   * @param {Bundle} bundle
   * @param {Receipt} receipt
   */
  async accept(follower, bundle, receipt) {
    const seqs = await this.#calls.run(async () => {
      const found = await follower.checkReceipt(receipt, bundle);
      await this.#watch.noteReceipt(bundle, receipt);
      this.#finish(bundle);
      return found;
    });
    for (const seq of seqs) this.#endFirst(null, seq);
  }

  /**
   * The provider refused the bundle for good: its messages leave the queue with that error.
   * @param {Bundle} bundle
   * @param {Rejected} error
   */
  async refuse(bundle, error) {
    await this.#calls.run(async () => {
      await this.#watch.noteRefusedBundle();
      this.#finish(bundle);
    });
    for (let i = 0; i < bundle.count; i++) this.#endFirst(error);
  }

  /** @param {Bundle} bundle */
  #finish(bundle) {
    this.#store.finish(bundle.count);
    this.#bundle = null;
    this.#keptBundle = EMPTY;
  }

  /**
   * @param {NoiseError | null} error
   * @param {Bytes | null} seq
   */
  #endFirst(error, seq = null) {
    const place = this.#places.shift();
    if (!place) return;
    this.#bytes -= place.bytes;
    Object.assign(place.sending, { state: error ? "refused" : "receipt", seq, error });
    this.#tell(place);
  }

  /** @param {Place} place */
  #tell({ sending, isGossip }) {
    if (!isGossip) this.#onChange(sending);
  }

  /**
   * Nothing more is sent: whoever comes later gets the error. What is queued stays in the store.
   * @param {NoiseError} error
   */
  fail(error) {
    this.#error ??= error;
  }
}

/**
 * @param {QueuedMessage} message
 * @param {number} id
 * @returns {Sending}
 */
function makeSending({ recipients, data }, id = 0) {
  return { id, recipients, data, state: "queued", seq: null, error: null };
}
