/**
 * What a client must not lose: tables in memory, and the journal that makes them durable.
 *
 * Knows nothing of IndexedDB, nor of what the trusted state says. Four things are kept: what was verified (one blob, and
 * the senders' counters), the newest verified messages, messages without a receipt, and the evidence of
 * `evidence_store.js`. The contract:
 *
 * - Reads and writes are synchronous, and belong into the client's serial queue.
 * - Whatever one call of that queue changes becomes durable as a whole when `commit` resolves, or nothing of it.
 * - When `commit` throws, the store is of no use any more: what is in memory is ahead of what is durable.
 * - The keys and `salt_secret` never change, and neither does the origin once it is set. No script can read the keys.
 * - A store is used by one page: whatever is committed after another one opened it is refused with "device-locked".
 * @module
 */

/** @import { Bytes } from "../protocol/bytes.js" */
/** @import { Gained } from "./evidence_store.js" */
/** @import { Changes, Database } from "./indexed_db.js" */
import { EMPTY, equal, toHex } from "../protocol/bytes.js";
import { deviceIdOf } from "../protocol/identifiers.js";
import { TrustStoreError } from "./errors.js";
import { EvidenceStore, NOTHING_GAINED } from "./evidence_store.js";
import { openDatabase } from "./indexed_db.js";
import { Journal } from "./journal.js";

/** What a kept message is taken to cost beside its own bytes. */
export const ROW_BYTES = 256;

/** Offences kept: each may be as large as a frame, and the first is the one that matters. */
export const OFFENCES_MAX = 16;

/** Messages kept for the page, the newest... */
export const MESSAGES_MAX = 1000;

/** ...and what they may take together, but for the very newest. */
export const MESSAGES_BYTES_MAX = 16 << 20;

/**
 * How a message came: as its sender wrote it for all to read, sealed and opened, or sealed and not to be opened.
 * @enum {0 | 1 | 2}
 */
export const Seal = Object.freeze({
  NONE: /** @type {0} */ (0),
  OPENED: /** @type {1} */ (1),
  UNREADABLE: /** @type {2} */ (2),
});

/**
 * One verified message. `seq`: its position, 16 bytes, whose byte order is delivery order.
 *
 * `recipients`: device ids, sorted, the sender's and our own among them. `data`: the plaintext; of a message that was not
 * sealed the bytes that all recipients got; of one that cannot be opened, nothing. `created_ms`: what the sender says.
 * `heardAtMs`: when it was verified, by our clock.
 * @typedef {{ seq: Bytes, epoch: bigint, sender: Bytes, sender_ctr: bigint, created_ms: bigint, recipients: Bytes[],
 *   data: Bytes, seal: 0 | 1 | 2, heardAtMs: number }} Message
 */

/**
 * One message to be sent. `recipients`: device ids, sorted and unique, our own among them.
 *
 * `kind`: what is sealed (as in `protocol/sealing.js`); 0: the bytes travel as they are.
 * @typedef {{ recipients: Bytes[], data: Bytes, created_ms: bigint, kind: number }} QueuedMessage
 */

/**
 * What the provider sent that an honest one never sends. `evidence`: the offending bytes, verbatim.
 * @typedef {{ time_ms: bigint, code: string, detail: string, evidence: Bytes[] }} Offence
 */

/**
 * What a store holds when it is opened, without the messages themselves.
 *
 * `origin` is null, and `trusted` empty, before the first verified delta. `bundle`: the frozen one, or empty.
 * @typedef {{ private_key: CryptoKey, public_key: Bytes, salt_secret: Bytes, origin: Bytes | null, trusted: Bytes,
 *   bundle: Bytes }} Kept
 */

/**
 * What a kept row counts in a queue.
 * @param {{ recipients: Bytes[], data: Bytes }} row
 */
export function keptBytes({ recipients, data }) {
  return ROW_BYTES + 32 * recipients.length + data.length;
}

/**
 * The first rows of a new device's database.
 * @param {CryptoKey} privateKey of Ed25519, not extractable
 * @param {Bytes} publicKey
 * @param {Bytes} saltSecret 32 random bytes
 * @returns {Changes}
 */
export function firstRows(privateKey, publicKey, saltSecret) {
  const key = { private_key: privateKey, public_key: publicKey };
  return new Map([["device", new Map(Object.entries({ key, salt_secret: saltSecret }))]]);
}

export class TrustStore extends EvidenceStore {
  #database;
  #deviceId;
  /** @type {Kept} */
  #kept;
  #nextCtr = 1n;
  /** @type {Map<string, bigint>} by sender */
  #counters = new Map();
  /** @type {Message[]} by seq */
  #messages = [];
  #messagesBytes = 0;
  /** @type {[number, QueuedMessage][]} by number */
  #queued = [];
  #nextQueued = 1;
  /** @type {[number, Offence][]} by number */
  #offences = [];

  /**
   * Open a device's memory, and take it from whoever has it open: that nobody has, the caller sees to. Throws
   * TrustStoreError.
   * @param {string} name of the database
   */
  static async open(name) {
    const database = await openDatabase(name);
    try {
      await database.claim();
      return new TrustStore(database, await database.readAll());
    } catch (error) {
      database.close();
      throw error;
    }
  }

  /**
   * @param {Database} database
   * @param {Map<string, Map<string | number, any>>} tables
   */
  constructor(database, tables) {
    super(new Journal(database), tables);
    this.#database = database;
    /** @param {string} table */
    const table = (table) => tables.get(table) ?? new Map();
    const device = table("device");
    this.#kept = {
      ...device.get("key"),
      salt_secret: device.get("salt_secret"),
      origin: device.get("origin") ?? null,
      trusted: device.get("trusted") ?? EMPTY,
      bundle: device.get("bundle") ?? EMPTY,
    };
    this.#deviceId = toHex(deviceIdOf(this.#kept.public_key));
    this.#nextCtr = device.get("next_ctr") ?? 1n;
    this.#counters = new Map([...table("counters")].map(([sender, ctr]) => [String(sender), ctr]));
    this.#messages = [...table("messages").values()];
    this.#messagesBytes = this.#messages.reduce((size, message) => size + keptBytes(message), 0);
    this.#queued = [...table("queued")].map(([number, message]) => [Number(number), message]);
    this.#nextQueued = (this.#queued.at(-1)?.[0] ?? 0) + 1;
    this.#offences = [...table("offences")].map(([number, offence]) => [Number(number), offence]);
  }

  /** All that a client must know to go on. */
  load() {
    return { ...this.#kept };
  }

  /**
   * The counter that `saveStep` saved last for a sender, or null.
   * @param {Bytes} sender
   */
  lastCounter(sender) {
    return this.#counters.get(toHex(sender)) ?? null;
  }

  /** Where the counters of the next bundle begin: 1, or where `freeze` or `saveStep` moved it. */
  nextCounter() {
    return this.#nextCtr;
  }

  /**
   * Replace what is trusted, and add messages, whose seqs are above all before, and what evidence was gained; it outlives
   * a power failure if anything but a note is added.
   *
   * Our own counter among `counters` (by sender in hex) moves `nextCounter` beyond it: a key used elsewhere too goes on
   * after that. Throws TrustStoreError "wrong-origin", and changes nothing, when another origin is set.
   * @param {Bytes} origin
   * @param {Bytes} trusted
   * @param {ReadonlyMap<string, bigint>} counters
   * @param {readonly Message[]} messages
   * @param {Readonly<Gained>} gained
   */
  saveStep(origin, trusted, counters, messages, gained = NOTHING_GAINED) {
    const pinned = this.#kept.origin;
    if (pinned !== null && !equal(pinned, origin)) {
      throw new TrustStoreError("this device trusts another provider already", "wrong-origin");
    }
    this.gain(gained);
    if (pinned === null) this.#set("origin", origin);
    this.#set("trusted", trusted);
    for (const [sender, ctr] of counters) {
      this.#counters.set(sender, ctr);
      this.journal.put("counters", sender, ctr);
    }
    const ownCtr = counters.get(this.#deviceId) ?? 0n;
    if (ownCtr >= this.#nextCtr) this.#moveCounter(ownCtr + 1n);
    for (const message of messages) {
      this.#messages.push(message);
      this.#messagesBytes += keptBytes(message);
      this.journal.put("messages", toHex(message.seq), message);
    }
    this.#forgetMessages();
    if (messages.length || gained.records.length) this.journal.beStrict();
  }

  #forgetMessages() {
    let count = 0;
    while (
      this.#messages.length - count > MESSAGES_MAX ||
      (this.#messagesBytes > MESSAGES_BYTES_MAX && this.#messages.length - count > 1)
    ) {
      this.#messagesBytes -= keptBytes(this.#messages[count++]);
    }
    for (const { seq } of this.#messages.splice(0, count)) this.journal.delete("messages", toHex(seq));
  }

  /**
   * @template {"origin" | "trusted" | "bundle"} N
   * @param {N} name
   * @param {Bytes} value
   */
  #set(name, value) {
    this.#kept[name] = value;
    this.journal.put("device", name, value);
  }

  /** @param {bigint} nextCtr */
  #moveCounter(nextCtr) {
    this.#nextCtr = nextCtr;
    this.journal.put("device", "next_ctr", nextCtr);
  }

  /**
   * The newest verified messages, in the order of seq.
   * @returns {Message[]}
   */
  messages() {
    return [...this.#messages];
  }

  /**
   * Add messages to the end of the queue; their numbers, which rise.
   * @param {readonly QueuedMessage[]} messages
   * @returns {number[]}
   */
  addQueued(messages) {
    const numbers = messages.map((message) => {
      const number = this.#nextQueued++;
      this.#queued.push([number, message]);
      this.journal.put("queued", number, message);
      return number;
    });
    this.journal.beStrict();
    return numbers;
  }

  /**
   * The first messages of the queue, at most `countMax`, and no more than `bytesMax` of `keptBytes`, but one at least if
   * there is any. A frozen bundle's messages are still there.
   * @param {number} countMax
   * @param {number} bytesMax
   * @returns {QueuedMessage[]}
   */
  queued(countMax, bytesMax) {
    /** @type {QueuedMessage[]} */
    const first = [];
    let total = 0;
    for (const [, message] of this.#queued.slice(0, countMax)) {
      total += keptBytes(message);
      if (first.length && total > bytesMax) break;
      first.push(message);
    }
    return first;
  }

  /**
   * The whole queue, with the number of each message.
   * @returns {[number, QueuedMessage][]}
   */
  allQueued() {
    return [...this.#queued];
  }

  /**
   * Keep the bundle that the first messages of the queue became. `nextCtr`: where its counters end.
   * @param {Bytes} bundle
   * @param {bigint} nextCtr
   */
  freeze(bundle, nextCtr) {
    this.#set("bundle", bundle);
    this.#moveCounter(nextCtr);
    this.journal.beStrict();
  }

  /**
   * The frozen bundle and the first `count` messages are done with: they are forgotten.
   * @param {number} count
   */
  finish(count) {
    this.#set("bundle", EMPTY);
    for (const [number] of this.#queued.splice(0, count)) this.journal.delete("queued", number);
  }

  /**
   * The oldest beyond OFFENCES_MAX are forgotten.
   * @param {Offence} offence
   */
  saveOffence(offence) {
    const number = (this.#offences.at(-1)?.[0] ?? 0) + 1;
    this.#offences.push([number, offence]);
    this.journal.put("offences", number, offence);
    const nOld = Math.max(0, this.#offences.length - OFFENCES_MAX);
    for (const [old] of this.#offences.splice(0, nOld)) this.journal.delete("offences", old);
    this.journal.beStrict();
  }

  /**
   * Those that are kept, oldest first.
   * @returns {Offence[]}
   */
  offences() {
    return this.#offences.map(([, offence]) => offence);
  }

  /**
   * When all that was changed up to now is durable. Throws TrustStoreError.
   * @returns {Promise<void>}
   */
  commit() {
    return this.journal.commit();
  }

  /**
   * Nothing becomes durable any more: every `commit` that is not through yet throws this.
   * @param {TrustStoreError} error
   */
  abandon(error) {
    this.journal.abandon(error);
  }

  /** May be called twice. What is being written is still written. */
  close() {
    this.#database.close();
  }
}
