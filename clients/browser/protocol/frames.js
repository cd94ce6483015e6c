/**
 * What crosses a push connection, in both directions: one u8 type and one structure per frame, binary or JSON.
 *
 * Knows nothing of WebSockets, and nothing of which frame may come when: that is `push_session.js`. The same bundle and
 * receipt travel over HTTP. A frame is a plain object: the members of its structure, and `type`, as in its JSON.
 * @module
 */

/** @import { ValueOf } from "./encoding.js" */
/** @import { FrameOf } from "./frame_family.js" */
import { utf8 } from "./bytes.js";
import { DELTA } from "./delta.js";
import { BYTES16, BYTES32, BYTES64, HASHES, TEXT, U32, U64, embedded, structCodec } from "./encoding.js";
import { BUNDLE_WIRE } from "./envelope.js";
import { DecodeError } from "./errors.js";
import { FrameFamily } from "./frame_family.js";
import { NO_EPOCH } from "./identifiers.js";
import { parseJson } from "./json_text.js";
import { FRAME_BYTES_MAX } from "./limits.js";
import { MANIFEST } from "./statements.js";

export const PUSH_PATH = "/v1/push";
export const SUBPROTOCOL_BINARY = "noise.v1";

/** What a device signs to read: this nonce, at this origin and host (`audience`), for one purpose, for a while. */
export const AUTH_PROOF = structCodec(
  "AuthProof",
  {
    origin: BYTES32,
    device_id: BYTES32,
    key: BYTES32,
    nonce: BYTES32,
    audience: TEXT,
    purpose: TEXT,
    not_after_ms: U64,
  },
  { recordType: 11 },
);
/** @typedef {ValueOf<typeof AUTH_PROOF>} AuthProof */

export const PURPOSE_PUSH = "push";
export const PURPOSE_SESSION = "session";

export const SIGNED_AUTH_PROOF = structCodec("SignedAuthProof", { body: embedded(AUTH_PROOF), signature: BYTES64 });
/** @typedef {ValueOf<typeof SIGNED_AUTH_PROOF>} SignedAuthProof */

/**
 * Where a client stands: log size and roster version it verified, size of the history in the last state that it trusts,
 * how many of those records it has verified and stored, and the epoch of the last of these.
 */
export const CURSOR = structCodec("Cursor", {
  log_size: U64,
  roster_version: U32,
  hist_size: U64,
  hist_next: U64,
  last_epoch: U64,
});
/** @typedef {ValueOf<typeof CURSOR>} Cursor */

/** @type {Cursor} */
export const START = { log_size: 0n, roster_version: 0, hist_size: 0n, hist_next: 0n, last_epoch: NO_EPOCH };

/** A device's signed word that it has stored all its records before `hist_next`, attested at `epoch`. */
export const ACK_BODY = structCodec(
  "AckBody",
  { origin: BYTES32, device_id: BYTES32, key: BYTES32, epoch: U64, hist_next: U64 },
  { recordType: 12 },
);
/** @typedef {ValueOf<typeof ACK_BODY>} AckBody */

export const SIGNED_MANIFEST = structCodec("SignedManifest", { body: embedded(MANIFEST), signature: BYTES64 });
/** @typedef {ValueOf<typeof SIGNED_MANIFEST>} SignedManifest */

/** The manifest that sequenced a bundle, and the proof (a subset proof) that the bundle's leaves are in it. */
export const RECEIPT = structCodec("Receipt", { manifest: SIGNED_MANIFEST, first_seq: BYTES16, proof: HASHES });
/** @typedef {ValueOf<typeof RECEIPT>} Receipt */

/** The server's first word. `nonce` lives for `life_ms` and serves once. The same over HTTP, without a type. */
export const CHALLENGE = structCodec("ChallengeFrame", {
  origin: BYTES32,
  nonce: BYTES32,
  life_ms: U32,
  server_ms: U64,
});
/** @typedef {ValueOf<typeof CHALLENGE>} ChallengeFrame */

/** Over HTTP: what `Authorization: Bearer` takes, in unpadded base64url, and for how long. */
export const SESSION = structCodec("Session", { token: BYTES32, life_ms: U32 });
/** @typedef {ValueOf<typeof SESSION>} Session */

const AUTH = structCodec("AuthFrame", { proof: SIGNED_AUTH_PROOF, cursor: CURSOR });
const DELTA_FRAME = structCodec("DeltaFrame", { delta: DELTA });
/** `request` comes back in the answer; the client chooses it. */
const BUNDLE = structCodec("BundleFrame", { request: U32, bundle: embedded(BUNDLE_WIRE, 4) });
const RECEIPT_FRAME = structCodec("ReceiptFrame", { request: U32, receipt: RECEIPT });
/** A bundle that was not accepted. Nothing of it was kept; `code` is stable. */
const REFUSAL = structCodec("RefusalFrame", { request: U32, code: TEXT, detail: TEXT });
const ACK = structCodec("AckFrame", { body: embedded(ACK_BODY), signature: BYTES64 });
const PING = structCodec("PingFrame", { token: BYTES16 });
const PONG = structCodec("PongFrame", { token: BYTES16 });

export const FRAME_TYPES = Object.freeze({
  challenge: /** @type {const} */ ([1, CHALLENGE]),
  auth: /** @type {const} */ ([2, AUTH]),
  delta: /** @type {const} */ ([3, DELTA_FRAME]),
  bundle: /** @type {const} */ ([4, BUNDLE]),
  receipt: /** @type {const} */ ([5, RECEIPT_FRAME]),
  refusal: /** @type {const} */ ([6, REFUSAL]),
  ack: /** @type {const} */ ([7, ACK]),
  ping: /** @type {const} */ ([8, PING]),
  pong: /** @type {const} */ ([9, PONG]),
});
/** @typedef {FrameOf<typeof FRAME_TYPES>} Frame */
/** @typedef {keyof typeof FRAME_TYPES} FrameType */

const FAMILY = new FrameFamily(FRAME_TYPES, { bytesMax: FRAME_BYTES_MAX, noun: "frame" });
/** @type {ReadonlySet<string>} */
const EVERY_TYPE = new Set(Object.keys(FRAME_TYPES));

/**
 * `u8 type || structure`.
 * @param {Frame} frame
 */
export function encodeFrame(frame) {
  return FAMILY.encode(frame);
}

/**
 * The exact inverse of `encodeFrame`. Throws DecodeError.
 *
 * Of a type that is not among `mayCome` only the type is read: content out of turn costs nothing.
 * @param {Uint8Array} data
 * @param {ReadonlySet<string>} [mayCome]
 * @returns {Frame}
 */
export function parseFrame(data, mayCome = EVERY_TYPE) {
  return FAMILY.parse(data, mayCome);
}

/**
 * `{"type": name, ...members}`.
 * @param {Frame} frame
 */
export function encodeFrameJson(frame) {
  const codec = FAMILY.codecInTurn(frame.type, EVERY_TYPE);
  return JSON.stringify({ type: frame.type, ...codec.toJson(frame) });
}

/**
 * The exact inverse of `encodeFrameJson`. Throws DecodeError. `mayCome`: as in `parseFrame`.
 * @param {string} text
 * @param {ReadonlySet<string>} [mayCome]
 * @returns {Frame}
 */
export function parseFrameJson(text, mayCome = EVERY_TYPE) {
  if (text.length > 2 * FRAME_BYTES_MAX) throw new DecodeError("JSON frame too large", "frame-too-large");
  if (!text.isWellFormed()) throw new DecodeError("JSON frame is not UTF-8");
  const value = parseJson(utf8(text));
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  const { type = null, ...members } = isObject ? value : {};
  const named = typeof type === "string" ? type : null;
  const codec = FAMILY.codecInTurn(named, mayCome);
  return { type: named, ...codec.fromJson(members) };
}
