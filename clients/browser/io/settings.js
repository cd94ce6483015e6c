/**
 * Every number that a page may choose, with its unit, its default and its reason.
 *
 * Knows nothing of who obeys them. The limits of the wire are not chosen: see `protocol/limits.js`.
 * @module
 */

/** @import { Policy } from "./retention.js" */
import { DEFAULT_POLICY } from "./retention.js";

export const DEFAULT_SETTINGS = {
  /** For each of: the WebSocket handshake, the provider's challenge. */
  connectTimeoutS: 10,

  /** For a bundle's receipt or refusal; then the connection is given up and the same bytes are sent on another. */
  answerTimeoutS: 30,

  /** Silence after which the provider is asked whether it is there. */
  pingAfterS: 15,

  /** Silence after which the connection is given up, if the provider was asked meanwhile. */
  silenceMaxS: 20,

  /** Upper bound of the first wait before another attempt; it doubles with each. */
  backoffFirstS: 0.1,

  /** Upper bound of every wait before another attempt. */
  backoffMaxS: 30,

  /** An acknowledgement is sent when nothing came for this long... */
  ackQuietS: 0.2,

  /** ...or this long after the first message that it covers, whichever comes first. */
  ackIntervalS: 5,

  /** Messages kept in the trust store that have no receipt yet. */
  queueBytesMax: 64 << 20,

  /**
   * Whether messages are sealed end to end. False: they travel, and are stored by the provider, as they are; then gossip
   * travels between tabs and by files only.
   */
  seal: true,

  /**
   * How long a message, and those behind it, wait for a recipient that has published no keys here; then it is refused
   * with "no-prekeys".
   */
  keysWaitS: 10,

  /**
   * Without a newer verified epoch for so long, the verdict is stale; never less than two of the provider's own
   * heartbeats and idle intervals together.
   */
  staleAfterS: 60,

  /**
   * Whether a provider that is convicted is sent the proof, and its actors are asked which of them lied. False: only when
   * the application says so.
   */
  complains: true,

  /** How long the provider's word is kept, for evidence. @type {Policy} */
  retention: DEFAULT_POLICY,
};

/** @typedef {typeof DEFAULT_SETTINGS} Settings */
