/**
 * One device's tables in IndexedDB: read as a whole, and changed by one transaction at a time.
 *
 * Knows nothing of what the tables hold. Whatever goes wrong leaves as a TrustStoreError. Has no counterpart in
 * `noise_client`: there it is SQLite.
 * @module
 */

import { TrustStoreError } from "./errors.js";

const FORMAT_VERSION = 1;
const BLOCKED_MAX_MS = 2000;

/** In the table of the device: who may write. */
const OWNER = "owner";

export const TABLES = Object.freeze([
  ...["device", "counters", "messages", "queued", "offences", "records", "leaves", "sets", "pairs", "notes"],
  ...["receipts", "proofs", "prekeys"],
]);

/** @typedef {string | number} Key */

/**
 * What is to be changed: by table and key, the new row, or undefined to delete it.
 * @typedef {Map<string, Map<Key, unknown>>} Changes
 */

const CODES = new Map([
  ["QuotaExceededError", "quota-exceeded"],
  ["VersionError", "store-newer"],
  ["SecurityError", "store-unavailable"],
  ["InvalidStateError", "store-closed"],
  ["DataCloneError", "store-unavailable"],
]);

const ADVICE = new Map([
  ["quota-exceeded", "the browser gives this site no more space"],
  ["store-newer", "a newer version of this page has made it: load the page again"],
  ["store-unavailable", "this browser keeps no keys for this site: leave private browsing, or allow site data"],
  ["store-closed", "the browser has closed it: site data was deleted, or this page put away"],
]);

/**
 * @param {string} name
 * @param {DOMException | null} cause
 */
function storeError(name, cause) {
  const code = (cause && CODES.get(cause.name)) ?? "store-failed";
  const why = ADVICE.get(code) ?? cause?.message ?? "the browser does not say why";
  return new TrustStoreError(`cannot use the device's memory ${name}: ${why}`, code);
}

/**
 * @param {string} name
 * @param {unknown} error
 */
function translated(name, error) {
  return error instanceof DOMException ? storeError(name, error) : error;
}

/** An open database. Made by `openDatabase`. */
export class Database {
  #db;
  #isClosed = false;
  /** What we left in the database to say that it is ours. @type {string | null} */
  #owner = null;

  /** @param {IDBDatabase} db */
  constructor(db) {
    this.#db = db;
    db.onversionchange = () => this.close(); // another page deletes it: this one must not stand in the way
    db.onclose = () => this.close();
  }

  get name() {
    return this.#db.name;
  }

  /**
   * All rows of some tables, in the order of their keys.
   * @param {readonly string[]} tables
   * @returns {Promise<Map<string, Map<Key, any>>>}
   */
  async readAll(tables = TABLES) {
    try {
      const transaction = this.#db.transaction(tables, "readonly");
      const found = tables.map(async (table) => {
        const store = transaction.objectStore(table);
        const [keys, rows] = await Promise.all([result(store.getAllKeys()), result(store.getAll())]);
        return /** @type {const} */ ([table, new Map(keys.map((key, i) => [/** @type {Key} */ (key), rows[i]]))]);
      });
      return new Map(await Promise.all(found));
    } catch (error) {
      throw translated(this.name, error);
    }
  }

  /** From now on nobody else can write to it who has it open already: a lock can be stolen. */
  async claim() {
    const owner = crypto.randomUUID();
    await this.write(new Map([["device", new Map([[OWNER, owner]])]]), false);
    this.#owner = owner;
  }

  /**
   * Change all of this, or nothing. `isStrict`: it outlives a power failure, not only the end of the browser.
   *
   * Throws TrustStoreError: "device-locked" when somebody else has claimed it since.
   * @param {Changes} changes
   * @param {boolean} isStrict
   */
  async write(changes, isStrict) {
    if (this.#isClosed) throw storeError(this.name, new DOMException("", "InvalidStateError"));
    try {
      await this.#write(changes, isStrict ? "strict" : "relaxed");
    } catch (error) {
      throw translated(this.name, error);
    }
  }

  /**
   * @param {Changes} changes
   * @param {"strict" | "relaxed"} durability
   * @returns {Promise<void>}
   */
  #write(changes, durability) {
    return new Promise((resolve, reject) => {
      const tables = new Set(["device", ...changes.keys()]);
      const transaction = this.#db.transaction([...tables], "readwrite", { durability });
      /** @type {unknown} */
      let refused = null;
      const owner = transaction.objectStore("device").get(OWNER);
      owner.onsuccess = () => {
        try {
          if (this.#owner !== null && owner.result !== this.#owner) {
            throw new TrustStoreError("another page has taken this device", "device-locked");
          }
          for (const [table, rows] of changes) put(transaction.objectStore(table), rows);
          transaction.commit();
        } catch (error) {
          refused = error;
          transaction.abort();
        }
      };
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(refused ?? storeError(this.name, transaction.error));
    });
  }

  /** May be called twice. What is being written is still written. */
  close() {
    this.#isClosed = true;
    this.#db.close();
  }
}

/**
 * @param {IDBObjectStore} store
 * @param {Map<Key, unknown>} rows
 */
function put(store, rows) {
  for (const [key, row] of rows) {
    if (row === undefined) store.delete(key);
    else store.put(row, key);
  }
}

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<T>}
 */
function result(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/**
 * Open a database, or make it from its first rows, in one step.
 *
 * Throws TrustStoreError: "device-missing" when there is none and `first` is null, "device-exists" when there is one and
 * `first` is not.
 * @param {string} name
 * @param {Changes | null} first
 * @returns {Promise<Database>}
 */
export function openDatabase(name, first = null) {
  return new Promise((resolve, reject) => {
    /** @type {IDBOpenDBRequest} */
    let request;
    try {
      request = indexedDB.open(name, FORMAT_VERSION);
    } catch (error) {
      reject(translated(name, error));
      return;
    }
    /** @type {TrustStoreError | null} */
    let refused = null;
    let isNew = false;
    request.onupgradeneeded = () => {
      const transaction = /** @type {IDBTransaction} */ (request.transaction);
      isNew = true;
      try {
        if (first === null) throw new TrustStoreError("this browser has no such device: make one", "device-missing");
        for (const table of TABLES) request.result.createObjectStore(table);
        for (const [table, rows] of first) put(transaction.objectStore(table), rows);
      } catch (error) {
        refused = error instanceof TrustStoreError ? error : /** @type {any} */ (translated(name, error));
        transaction.abort(); // and there is no database, as before
      }
    };
    request.onerror = () => reject(refused ?? storeError(name, request.error));
    request.onsuccess = () => {
      const opened = new Database(request.result);
      if (first === null || isNew) return resolve(opened);
      opened.close();
      return reject(new TrustStoreError("this browser has a device of that name already", "device-exists"));
    };
  });
}

/**
 * Delete a database, if there is one.
 *
 * Throws TrustStoreError "store-blocked" when somebody does not let go of it: it is deleted when they do, and no request
 * to delete can be taken back.
 * @param {string} name
 * @returns {Promise<void>}
 */
export function deleteDatabase(name) {
  return new Promise((resolve, reject) => {
    const request = indexedDB.deleteDatabase(name);
    const timer = setTimeout(() => {
      const detail = "another tab holds on to this device, which is deleted when that tab is closed";
      reject(new TrustStoreError(detail, "store-blocked"));
    }, BLOCKED_MAX_MS);
    request.onerror = () => (clearTimeout(timer), reject(storeError(name, request.error)));
    request.onsuccess = () => (clearTimeout(timer), resolve());
  });
}

/**
 * The names of all databases of this site that begin so, in no order.
 * @param {string} prefix
 * @returns {Promise<string[]>}
 */
export async function listDatabases(prefix) {
  try {
    const found = await indexedDB.databases();
    return found.map(({ name }) => name ?? "").filter((name) => name.startsWith(prefix));
  } catch (error) {
    throw translated(prefix, error);
  }
}
