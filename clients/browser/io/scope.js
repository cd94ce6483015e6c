/**
 * Tasks that can be ended from outside: what Trio's nurseries and cancel scopes are to the Python client.
 *
 * Knows nothing of what the tasks do. A task gets a `Scope`, waits for everything through it, and is thrown `Cancelled`
 * where it waits when the scope is cancelled. Has no counterpart in `noise_client`.
 * @module
 */

/** Thrown into a task whose scope was cancelled. No NoiseError: nothing went wrong. */
export class Cancelled extends Error {
  constructor() {
    super("the task was ended");
    this.name = "Cancelled";
  }
}

/** Thrown by `Scope.limit` when the time was up. */
export class TooSlow extends Error {
  constructor() {
    super("the time is up");
    this.name = "TooSlow";
  }
}

/** @typedef {(scope: Scope) => Promise<void>} Task */

/** What tasks belong to. */
export class Scope {
  #controller = new AbortController();

  /** For `fetch` and whatever else takes one. */
  get signal() {
    return this.#controller.signal;
  }

  get isCancelled() {
    return this.signal.aborted;
  }

  /** End all that waits through this scope, and all that will. May be called twice. */
  cancel() {
    this.#controller.abort();
  }

  /** Throws Cancelled if that is how it stands. */
  check() {
    if (this.isCancelled) throw new Cancelled();
  }

  /**
   * What a promise leads to. Throws Cancelled when the scope is cancelled first; the promise goes on by itself.
   * @template T
   * @param {Promise<T>} promise
   * @returns {Promise<T>}
   */
  until(promise) {
    return new Promise((resolve, reject) => {
      const end = () => reject(new Cancelled());
      const forget = () => this.signal.removeEventListener("abort", end);
      promise.then(
        (value) => (forget(), resolve(value)),
        (error) => (forget(), reject(error)),
      );
      if (this.isCancelled) end();
      else this.signal.addEventListener("abort", end);
    });
  }

  /**
   * Wait. In a page that nobody looks at, the browser may make a minute of a second.
   * @param {number} seconds
   */
  async sleep(seconds) {
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    try {
      await this.until(new Promise((resolve) => (timer = setTimeout(resolve, 1000 * seconds))));
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Run a task in a scope of its own, which ends with this one, and when the task does.
   * @template T
   * @param {(scope: Scope) => Promise<T>} task
   * @returns {Promise<T>}
   */
  async nest(task) {
    const child = new Scope();
    const end = () => child.cancel();
    if (this.isCancelled) end();
    this.signal.addEventListener("abort", end);
    try {
      return await task(child);
    } finally {
      this.signal.removeEventListener("abort", end);
      child.cancel();
    }
  }

  /**
   * The same, for so long at most. Throws TooSlow when the time is up before the task has ended.
   * @template T
   * @param {number} seconds
   * @param {(scope: Scope) => Promise<T>} task
   * @returns {Promise<T>}
   */
  async limit(seconds, task) {
    let isUp = false;
    return this.nest(async (child) => {
      const timer = setTimeout(() => {
        isUp = true;
        child.cancel();
      }, 1000 * seconds);
      try {
        return await task(child);
      } catch (error) {
        if (isUp && error instanceof Cancelled && !this.isCancelled) throw new TooSlow();
        throw error;
      } finally {
        clearTimeout(timer);
      }
    });
  }

  /**
   * Run tasks side by side until the first of them ends, then end the others, and wait until they have.
   *
   * Throws what was thrown first and is not Cancelled; Cancelled when this scope is.
   * @param {Task[]} tasks
   */
  async firstOf(tasks) {
    /** @type {unknown[]} */
    const errors = [];
    await this.nest(async (child) => {
      const runs = tasks.map(async (task) => {
        try {
          await task(child);
        } catch (error) {
          if (!(error instanceof Cancelled)) errors.push(error);
        } finally {
          child.cancel();
        }
      });
      await Promise.all(runs);
    });
    if (errors.length) throw errors[0];
    this.check();
  }
}
