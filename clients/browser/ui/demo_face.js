/**
 * The demo's own HTTP face: what the server says about itself, and what it is asked to do to itself.
 *
 * Knows nothing of the page. Nothing of what comes from here is trusted: it is drawn, and that is all.
 * @module
 */

/** @import { DemoState } from "./contract.js" */

const INTERVAL_MS = 500;

export class DemoFace {
  constructor() {
    /** @type {DemoState | null} */
    this.state = null;
    /** @type {((state: DemoState) => void)[]} */
    this.listeners = [];
  }

  /** Asks twice a second, while somebody looks. */
  async start() {
    await this.poll();
    setInterval(() => {
      if (!document.hidden) void this.poll();
    }, INTERVAL_MS);
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) void this.poll();
    });
  }

  async poll() {
    try {
      const answer = await fetch("/demo/state", { cache: "no-store" });
      if (!answer.ok) return;
      this.state = /** @type {DemoState} */ (await answer.json());
    } catch {
      return; // the server is away: the devices say so
    }
    for (const listener of this.listeners) listener(this.state);
  }

  /**
   * @param {string} name
   * @param {string | null} by
   * @param {string | null} victim
   */
  async lie(name, by, victim) {
    await this.post("/demo/lie", { name, by, victim });
  }

  async reset() {
    await this.post("/demo/reset", {});
  }

  /**
   * @param {string} deviceId
   * @param {string} name
   */
  async hello(deviceId, name) {
    await this.post("/demo/hello", { device_id: deviceId, name });
  }

  /**
   * Throws an Error with the server's own words when it refuses.
   * @param {string} path
   * @param {object} body
   */
  async post(path, body) {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(await problemOf(answer));
    await this.poll();
  }
}

/** @param {Response} answer */
async function problemOf(answer) {
  try {
    const { detail, title } = await answer.json();
    return detail ?? title ?? answer.statusText;
  } catch {
    return `the server answered ${answer.status}`;
  }
}
