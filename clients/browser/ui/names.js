/**
 * Who is who: names for devices, as far as this page knows them.
 *
 * Knows nothing of what devices say. A name is a courtesy of the page: only ids are checked.
 * @module
 */

/** @import { DeviceListed, DemoState } from "./contract.js" */
import { formatId } from "../protocol/identifiers.js";
import { shortId } from "./wording.js";

/** How many others are named at once. Anybody can write, so there may be any number of them. */
const OTHERS_MAX = 32;

/** `kind`: "bot", "own" (of this browser) or "other". @typedef {{ id: string, name: string, kind: string }} Named */

/**
 * "device-2" as a person reads it.
 * @param {string} deviceName
 */
export function titleOf(deviceName) {
  const words = deviceName.replaceAll("-", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

export class Names {
  constructor() {
    /** @type {Map<string, Named>} */
    this.known = new Map();
    /** Ids of others that do not give way to newer ones. @type {Set<string>} */
    this.kept = new Set();
    /** @type {() => void} */
    this.onChange = () => {};
  }

  /** @param {DemoState["bots"]} bots */
  setBots(bots) {
    this.setAll("bot", new Map(bots.map((bot) => [bot.device_id, bot.name])));
  }

  /** @param {DeviceListed[]} devices of this browser, at the page's provider */
  setOwn(devices) {
    this.setAll("own", new Map(devices.map((device) => [device.deviceId, titleOf(device.name)])));
  }

  /** @param {string} id of a device that was heard from. The oldest such device gives way to it */
  addOther(id) {
    if (this.known.has(id)) return;
    this.known.set(id, { id, name: shortId(id), kind: "other" });
    const others = this.ofKind("other").filter((named) => !this.kept.has(named.id));
    if (others.length > OTHERS_MAX) this.known.delete(others[0].id);
    this.onChange();
  }

  /** @param {string} id of a device that somebody here chose to write to: it stays, whoever else writes */
  keep(id) {
    this.kept.add(id);
    this.addOther(id);
  }

  /** All peers: bots, those of this browser, and others, the newest first. */
  all() {
    return [...this.ofKind("bot"), ...this.ofKind("own"), ...this.ofKind("other").reverse()];
  }

  /** @param {string} kind */
  ofKind(kind) {
    return [...this.known.values()].filter((named) => named.kind === kind);
  }

  /** Another provider has other devices. */
  clear() {
    this.known.clear();
    this.kept.clear();
    this.onChange();
  }

  /** @param {string} id */
  of(id) {
    return this.known.get(id)?.name ?? shortId(id);
  }

  /** @param {Uint8Array} id */
  ofBytes(id) {
    return this.of(formatId(id));
  }

  /**
   * @param {string} kind
   * @param {Map<string, string>} names
   */
  setAll(kind, names) {
    const before = JSON.stringify([...this.known]);
    for (const [id, named] of this.known) if (named.kind === kind && !names.has(id)) this.known.delete(id);
    for (const [id, name] of names) this.known.set(id, { id, name, kind });
    if (JSON.stringify([...this.known]) !== before) this.onChange();
  }
}
