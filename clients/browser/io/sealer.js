/**
 * Seals what we send and opens what came: end-to-end encryption as the Python client does it, on by default.
 *
 * Knows nothing of connections or queues. Which key goes to whom is `prekeys.js`; the bytes are `protocol/sealing.js`.
 * @module
 */

/** @import { Bytes } from "../protocol/bytes.js" */
/** @import { Delivery } from "../protocol/delta.js" */
/** @import { Draft, Recipients } from "../protocol/envelope.js" */
/** @import { NoiseError } from "../protocol/errors.js" */
/** @import { BoxFor } from "../protocol/sealing.js" */
/** @import { Device } from "./device.js" */
/** @import { OwnPrekeys } from "./prekeys.js" */
/** @import { ProviderHttp } from "./provider_http.js" */
/** @import { QueuedMessage, TrustStore } from "./trust_store.js" */
import { EMPTY, compare, equal, toHex } from "../protocol/bytes.js";
import { Rejected } from "../protocol/errors.js";
import { AgreementKey } from "../protocol/hpke.js";
import { formatId } from "../protocol/identifiers.js";
import {
  BUNDLE_BYTES_MAX,
  BUNDLE_CIPHERTEXTS_MAX,
  BUNDLE_MESSAGES_MAX,
  BUNDLE_RECIPIENT_IDS_MAX,
} from "../protocol/limits.js";
import { ONE_TIME } from "../protocol/prekeys.js";
import {
  BOX_OVERHEAD_BYTES,
  COMMON_OVERHEAD_BYTES,
  CONTENT_KEY_BYTES,
  CannotOpen,
  openBox,
  openCommon,
  seal,
  sealContext,
  sealedFor,
} from "../protocol/sealing.js";
import { PeerPrekeys } from "./prekeys.js";
import { Seal } from "./trust_store.js";

/** In larger sets gossip would cost more than the message: they hear of each other elsewhere. */
export const GOSSIP_RECIPIENTS_MAX = 64;

/** What a bundle reserves for a view in each per-recipient ciphertext. */
export const GOSSIP_BYTES = 304;

// Sizes in `BUNDLE_WIRE`: what every bundle has, what each recipient set adds beside its ids, and what each row adds.
const BUNDLE_FIXED_BYTES = 32 + 32 + 8 + 64 + 4 * 4;
const SET_FIXED_BYTES = 16 + 4;
const ROW_FIXED_BYTES = 2 + 8 + 4 + 2;

/**
 * What came of a delivery. `kind`: as in `protocol/sealing.js`; 0 if it could not be opened, or was not sealed.
 *
 * `gossip`: the sender's view, encoded, or empty. `spent`: the id of a one-time prekey that opened it, or empty.
 * @typedef {{ seal: 0 | 1 | 2, kind: number, data: Bytes, gossip: Bytes, spent: Bytes }} Opened
 */

/**
 * A delivery as it is.
 * @param {Delivery} delivery
 * @returns {Opened}
 */
export function asItIs(delivery) {
  return { seal: Seal.NONE, kind: 0, data: delivery.common, gossip: EMPTY, spent: EMPTY };
}

export class Sealer {
  #device;
  #store;
  #own;
  #peers = new PeerPrekeys();
  #http;
  #gossipFor;

  /**
   * `gossipFor(peer)`: the view to send along, encoded. It, and everything here but `prepare`, calls the store.
   * @param {Device} device
   * @param {TrustStore} store
   * @param {OwnPrekeys} own
   * @param {() => ProviderHttp} http
   * @param {(peer: Bytes) => Bytes | Promise<Bytes>} gossipFor
   */
  constructor(device, store, own, http, gossipFor) {
    this.#device = device;
    this.#store = store;
    this.#own = own;
    this.#http = http;
    this.#gossipFor = gossipFor;
  }

  /**
   * Have keys for the recipients of these messages, or say for which there are none. Throws LinkError.
   * @param {Bytes} origin
   * @param {readonly QueuedMessage[]} messages
   * @returns {Promise<Map<string, NoiseError>>} by peer in hex
   */
  async prepare(origin, messages) {
    /** @type {Map<string, Bytes>} */
    const peers = new Map();
    for (const { kind, recipients } of messages) if (kind) for (const peer of recipients) peers.set(toHex(peer), peer);
    peers.delete(toHex(this.#device.deviceId));
    return peers.size ? this.#peers.prepare(origin, [...peers.values()].sort(compare), this.#http()) : new Map();
  }

  /**
   * A message, sealed if it has a kind. `told`: who got our view in this bundle already, in hex; grows.
   *
   * Throws Rejected "no-prekeys" when there is no key left for somebody.
   * @param {Bytes} origin
   * @param {bigint} ctr
   * @param {Recipients} recipients
   * @param {QueuedMessage} message
   * @param {Set<string>} told
   * @returns {Promise<Draft>}
   */
  async draft(origin, ctr, recipients, message, told) {
    const { kind, data, created_ms } = message;
    if (!kind) return { recipients, common: data, ciphertexts: [], created_ms };
    const { deviceId } = this.#device;
    /** @type {Map<string, BoxFor>} */
    const boxes = new Map();
    for (const peer of recipients.device_ids) {
      const key = toHex(peer);
      if (equal(peer, deviceId)) {
        const kept = await this.#own.ownFallback();
        boxes.set(key, { prekey_id: kept.prekey_id, public: kept.public, gossip: EMPTY });
        continue;
      }
      const prekey = this.#peers.choose(peer);
      const isToldNow = recipients.device_ids.length <= GOSSIP_RECIPIENTS_MAX && !told.has(key);
      const gossip = isToldNow ? await this.#gossipFor(peer) : EMPTY;
      if (gossip.length) told.add(key);
      boxes.set(key, { prekey_id: prekey.prekey_id, public: prekey.public, gossip });
    }
    const contentKey = crypto.getRandomValues(new Uint8Array(CONTENT_KEY_BYTES));
    const payload = { kind, body: data };
    const [common, ciphertexts] = await seal(origin, deviceId, ctr, recipients, payload, contentKey, boxes);
    return { recipients, common, ciphertexts, created_ms };
  }

  /**
   * What a verified delivery says. What cannot be opened is its sender's fault, or our loss of a key.
   * @param {Bytes} origin
   * @param {Delivery} delivery
   * @returns {Promise<Opened>}
   */
  async open(origin, delivery) {
    const { ciphertext, sender, sender_ctr, recipients, common } = delivery;
    if (!ciphertext.length) return asItIs(delivery);
    try {
      const prekeyId = sealedFor(ciphertext);
      const kept = this.#store.prekey(prekeyId);
      if (kept === null) throw new CannotOpen("the key that this was sealed for is not, or no longer, ours");
      const context = sealContext(origin, sender, sender_ctr, recipients.root);
      const key = new AgreementKey(kept.private_key, kept.public);
      const box = await openBox(context, this.#device.deviceId, ciphertext, key);
      const { kind, body } = await openCommon(context, common, box.content_key);
      const spent = kept.kind === ONE_TIME ? prekeyId : EMPTY;
      return { seal: Seal.OPENED, kind, data: body, gossip: box.gossip, spent };
    } catch (error) {
      if (!(error instanceof CannotOpen)) throw error;
      return { seal: Seal.UNREADABLE, kind: 0, data: EMPTY, gossip: EMPTY, spent: EMPTY };
    }
  }
}

/**
 * How many of the first messages go into one bundle, sealed or not.
 * @param {readonly QueuedMessage[]} messages
 */
export function countFitting(messages) {
  /** @type {Set<string>} */
  const sets = new Set();
  let size = BUNDLE_FIXED_BYTES;
  let nIds = 0;
  let nCiphertexts = 0;
  for (const [count, { recipients, data, kind }] of messages.slice(0, BUNDLE_MESSAGES_MAX).entries()) {
    const n = recipients.length;
    size += ROW_FIXED_BYTES + data.length;
    if (kind) {
      const gossipBytes = n <= GOSSIP_RECIPIENTS_MAX ? GOSSIP_BYTES : 0;
      size += COMMON_OVERHEAD_BYTES + n * (BOX_OVERHEAD_BYTES + gossipBytes);
      nCiphertexts += n;
    }
    const key = recipients.map(toHex).join();
    if (!sets.has(key)) {
      sets.add(key);
      size += SET_FIXED_BYTES + 32 * n;
      nIds += n;
    }
    const isTooLong = nIds > BUNDLE_RECIPIENT_IDS_MAX || nCiphertexts > BUNDLE_CIPHERTEXTS_MAX;
    if (size > BUNDLE_BYTES_MAX || isTooLong) return count;
  }
  return Math.min(messages.length, BUNDLE_MESSAGES_MAX);
}

/**
 * Why a message cannot be sealed, if it cannot.
 * @param {ReadonlyMap<string, NoiseError>} problems by peer in hex
 * @param {QueuedMessage} message
 */
export function refusalOf(problems, { kind, recipients }) {
  for (const peer of kind ? recipients : []) {
    const error = problems.get(toHex(peer));
    if (error) return new Rejected(`cannot seal for ${formatId(peer)}: ${error.detail}`, error.code);
  }
  return null;
}
