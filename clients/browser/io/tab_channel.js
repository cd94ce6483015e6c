/**
 * Finds the other devices of this browser: tabs and panes of one site at one provider, over a BroadcastChannel.
 *
 * Knows nothing of what is said to them, and believes nothing that it hears: `tab_link.js` proves who speaks. The
 * provider carries none of it.
 * @module
 */

/** @import { Bytes } from "../protocol/bytes.js" */
/** @import { Device } from "./device.js" */
/** @import { Scope } from "./scope.js" */
/** @import { TabLink } from "./tab_link.js" */
import { toHex } from "../protocol/bytes.js";
import { NoiseError } from "../protocol/errors.js";
import { Cancelled } from "./scope.js";
import { Inbox, KEY_BYTES, SEALED_BYTES_MAX, openTabLink } from "./tab_link.js";

export const CHANNEL = "noise-gossip";

/** Between two calls to whoever is there. Those who know us already do not answer. */
const HELLO_S = 10;
/** Other ends that we speak with at a time, from their first word on. */
const ENDS_MAX = 64;
const NAME_CHARS = 36;

/**
 * What travels: to one end, or to all (null). "hello": an end is here. "frame": of a link. `from`, `to`: names of ends,
 * which mean nothing else. `origin`: of the provider, in hex.
 * @typedef {{ kind: "hello" | "frame", from: string, to: string | null, origin: string, data: Bytes | null }} Note
 */

/**
 * Keep a link with every other device of this browser at the same provider, until the scope is cancelled. `handle` runs
 * for each link, for as long as it lives.
 * @param {Scope} scope
 * @param {Device} device
 * @param {Bytes} origin
 * @param {(link: TabLink, scope: Scope) => Promise<void>} handle
 */
export async function runTabLinks(scope, device, origin, handle) {
  const channel = new BroadcastChannel(CHANNEL);
  const name = crypto.randomUUID();
  const site = toHex(origin);
  let isOpen = true;
  /** @type {Map<string, Inbox>} */
  const inboxes = new Map();
  /** @type {Set<Promise<void>>} */
  const links = new Set();

  /** @type {(kind: Note["kind"], to: string | null, data: Bytes | null) => void} */
  const post = (kind, to, data) => {
    if (isOpen) channel.postMessage({ kind, from: name, to, origin: site, data });
  };

  /**
   * @param {string} other
   * @param {Inbox} inbox
   */
  const speakWith = async (other, inbox) => {
    /** @type {TabLink | null} */
    let link = null;
    try {
      await scope.nest(async (inner) => {
        link = await openTabLink(inner, (data) => post("frame", other, data), inbox, device, origin);
        await handle(link, inner);
      });
    } catch (error) {
      // what a peer says ends its own link; and a newer link with it, or our own end, ends this one
      if (!(error instanceof NoiseError || error instanceof Cancelled)) reportError(error);
    } finally {
      /** @type {TabLink | null} */ (link)?.close();
      inboxes.delete(other);
    }
  };

  channel.onmessage = ({ data: note }) => {
    if (!isNote(note) || note.origin !== site || note.from === name || (note.to !== null && note.to !== name)) return;
    const known = inboxes.get(note.from);
    const isFirst = note.kind === "hello" || note.data?.length === KEY_BYTES;
    if (!known && (!isFirst || inboxes.size >= ENDS_MAX)) return;
    const inbox = known ?? new Inbox();
    if (note.kind === "frame" && note.data !== null) inbox.put(note.data.slice()); // theirs may change its size
    if (known) return;
    inboxes.set(note.from, inbox);
    const link = speakWith(note.from, inbox).finally(() => links.delete(link));
    links.add(link);
  };
  try {
    for (;;) {
      post("hello", null, null);
      await scope.sleep(HELLO_S);
    }
  } finally {
    await Promise.all(links); // each says goodbye
    isOpen = false;
    channel.close();
  }
}

/**
 * @param {any} note whatever any script of this site put there
 * @returns {note is Note}
 */
function isNote(note) {
  return (
    typeof note === "object" &&
    note !== null &&
    ["hello", "frame"].includes(note.kind) &&
    typeof note.from === "string" &&
    note.from.length === NAME_CHARS &&
    (note.to === null || typeof note.to === "string") &&
    (note.data === null || (note.data instanceof Uint8Array && note.data.buffer.byteLength <= SEALED_BYTES_MAX))
  );
}
