/**
 * What has changed in memory and is not durable yet: gathered by the calls that change it, written many at a time.
 *
 * Knows nothing of what it writes. Has no counterpart in `noise_client`: SQLite's journal is SQLite's own.
 * @module
 */

/** @import { TrustStoreError } from "./errors.js" */
/** @import { Changes, Database, Key } from "./indexed_db.js" */

/** Changes that belong together. */
class Batch {
  /** @type {Changes} */
  changes = new Map();
  isStrict = false;

  /**
   * @param {string} table
   * @param {Key} key
   * @param {unknown} row
   */
  set(table, key, row) {
    let rows = this.changes.get(table);
    if (rows === undefined) this.changes.set(table, (rows = new Map()));
    rows.set(key, row);
  }

  /** @param {Batch} later */
  add(later) {
    for (const [table, rows] of later.changes) for (const [key, row] of rows) this.set(table, key, row);
    this.isStrict ||= later.isStrict;
  }
}

/** Writes to one database. After a write that failed it writes nothing more. */
export class Journal {
  #database;
  #open = new Batch();
  #sealed = new Batch();
  #isWriteDue = false;
  /** @type {TrustStoreError | null} */
  #abandoned = null;
  /** @type {Promise<void>} */
  #durable = Promise.resolve();

  /** @param {Database} database */
  constructor(database) {
    this.#database = database;
  }

  /**
   * A row is new, or has changed: nobody may change the object afterwards.
   * @param {string} table
   * @param {Key} key
   * @param {unknown} row
   */
  put(table, key, row) {
    this.#open.set(table, key, row);
  }

  /**
   * @param {string} table
   * @param {Key} key
   */
  delete(table, key) {
    this.#open.set(table, key, undefined);
  }

  /** What is open now has to outlive a power failure. */
  beStrict() {
    this.#open.isStrict = true;
  }

  /**
   * Write nothing more: nothing can be trusted in memory, or the database is no longer ours. Whoever waits is told why.
   * @param {TrustStoreError} error
   */
  abandon(error) {
    this.#abandoned ??= error;
  }

  /**
   * When everything up to now is durable. Throws TrustStoreError: nothing of it is, and nothing will be.
   * @returns {Promise<void>}
   */
  async commit() {
    this.#checkOurs();
    if (this.#open.changes.size) {
      this.#sealed.add(this.#open);
      this.#open = new Batch();
      if (!this.#isWriteDue) {
        this.#isWriteDue = true;
        this.#durable = this.#durable.then(() => this.#write());
      }
    }
    await this.#durable;
  }

  #checkOurs() {
    if (this.#abandoned) throw this.#abandoned;
  }

  async #write() {
    const batch = this.#sealed;
    this.#sealed = new Batch();
    this.#isWriteDue = false;
    this.#checkOurs();
    await this.#database.write(batch.changes, batch.isStrict);
    this.#checkOurs(); // else it is for whoever opens the device next
  }
}
