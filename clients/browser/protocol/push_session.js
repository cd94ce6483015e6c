/**
 * Which frame may come when on a push connection: one sans-IO state machine for both ends.
 *
 * Knows nothing of sockets, time or signatures. Payloads in and frames out; frames in and payloads out; the role is an
 * argument. After h11 `_state.py` and wsproto `Connection`: the machine is a table, which a test walks and the docs
 * show.
 * @module
 */

/** @import { Bytes } from "./bytes.js" */
/** @import { Frame } from "./frames.js" */
import { DecodeError, NoiseError } from "./errors.js";
import { FRAME_TYPES, encodeFrame, encodeFrameJson, parseFrame, parseFrameJson } from "./frames.js";

/** @enum {string} */
export const PushRole = Object.freeze({ SERVER: "server", CLIENT: "client" });

/**
 * GREETING: the server owes a challenge. AUTHENTICATING: the client owes an answer to it.
 * @enum {string}
 */
export const PushState = Object.freeze({ GREETING: "greeting", AUTHENTICATING: "authenticating", OPEN: "open" });

/**
 * State, who sends, frame, next state. Whatever is missing is a protocol violation by the sender.
 * @type {readonly (readonly [state: string, sender: string, type: string, next: string])[]}
 */
export const TRANSITIONS = Object.freeze([
  [PushState.GREETING, PushRole.SERVER, "challenge", PushState.AUTHENTICATING],
  [PushState.AUTHENTICATING, PushRole.CLIENT, "auth", PushState.OPEN],
  [PushState.OPEN, PushRole.SERVER, "delta", PushState.OPEN],
  [PushState.OPEN, PushRole.SERVER, "receipt", PushState.OPEN],
  [PushState.OPEN, PushRole.SERVER, "refusal", PushState.OPEN],
  [PushState.OPEN, PushRole.SERVER, "ping", PushState.OPEN],
  [PushState.OPEN, PushRole.SERVER, "pong", PushState.OPEN],
  [PushState.OPEN, PushRole.CLIENT, "bundle", PushState.OPEN],
  [PushState.OPEN, PushRole.CLIENT, "ack", PushState.OPEN],
  [PushState.OPEN, PushRole.CLIENT, "ping", PushState.OPEN],
  [PushState.OPEN, PushRole.CLIENT, "pong", PushState.OPEN],
]);

const NEXT = new Map(TRANSITIONS.map(([state, sender, type, next]) => [`${state} ${sender} ${type}`, next]));

/**
 * @param {string} state
 * @param {string} sender
 * @returns {ReadonlySet<string>}
 */
function mayCome(state, sender) {
  const rows = TRANSITIONS.filter(([from, by]) => from === state && by === sender);
  return new Set(rows.map(([, , type]) => type));
}

/** WebSocket close codes of our own. An SDK reconnects after anything but the FATAL ones, and after "auth-timeout". */
export const CloseCode = Object.freeze({
  /** The server stops; reconnect. */
  GOING_AWAY: 1001,
  /** Malformed frame, or one out of turn. */
  PROTOCOL: 4400,
  /** The challenge was not answered rightly, or too late. */
  UNAUTHENTICATED: 4401,
  /** The client verified more than this server has. */
  CURSOR_AHEAD: 4409,
  /** The outgoing queue overflowed; reconnect and resume. */
  SLOW_READER: 4408,
  /** Nothing came for too long; reconnect. */
  IDLE: 4410,
  /** Too many connections of one device; the oldest went. */
  REPLACED: 4411,
  /** The server cannot serve now; reconnect later. */
  UNAVAILABLE: 4503,
  /** @type {ReadonlySet<number>} */
  FATAL: new Set([4400, 4401, 4409]),
});

/** One end of a connection. `binary`: whether payloads are bytes (noise.v1) or text (noise.v1+json). */
export class PushSession {
  /**
   * @param {string} role one of PushRole
   * @param {{ binary: boolean }} face
   */
  constructor(role, { binary }) {
    this.role = role;
    this.peer = role === PushRole.SERVER ? PushRole.CLIENT : PushRole.SERVER;
    this.binary = binary;
    /** @type {string} */
    this.state = PushState.GREETING;
  }

  /**
   * The payload of a frame that we send. Throws NoiseError when it is not our turn: a bug of ours.
   * @param {Frame} frame
   * @returns {Bytes | string}
   */
  send(frame) {
    const following = NEXT.get(`${this.state} ${this.role} ${frame.type}`);
    if (following === undefined) {
      const name = FRAME_TYPES[frame.type][1].name;
      throw new NoiseError(`a ${this.role} must not send ${name} while ${this.state}`, "out-of-turn");
    }
    const payload = this.binary ? encodeFrame(frame) : encodeFrameJson(frame);
    this.state = following;
    return payload;
  }

  /**
   * The frame in a payload from the peer. Throws DecodeError for malformed ones and those out of turn.
   * @param {Uint8Array | string} payload
   * @returns {Frame}
   */
  receive(payload) {
    const isText = typeof payload === "string";
    if (isText === this.binary) throw new DecodeError("text and binary frames do not mix", "wrong-frame-kind");
    const expected = mayCome(this.state, this.peer);
    const frame = isText ? parseFrameJson(payload, expected) : parseFrame(payload, expected);
    this.state = NEXT.get(`${this.state} ${this.peer} ${frame.type}`) ?? this.state;
    return frame;
  }
}
