/**
 * Checkpoints of the epoch log as C2SP signed notes.
 *
 * Knows nothing of epochs beyond "size". Sources: https://c2sp.org/signed-note and https://c2sp.org/tlog-checkpoint.
 * The note's text is three lines: the log's name, the size in decimal, the root in standard base64. One signature line
 * of type 0x01 (Ed25519 over the text) follows an empty line. We accept exactly that form, with one signature.
 * @module
 */

/** @import { Bytes } from "./bytes.js" */
import { equal, utf8 } from "./bytes.js";
import { DecodeError } from "./errors.js";
import { base64url } from "./json_text.js";
import { sha256, verifyRaw } from "./signing.js";

export const NOTE_BYTES_MAX = 1024;

// over one character for each byte
const NOTE = new RegExp(
  "^(?<text>(?<name>[!-*,-~]{1,128})\\n(?<size>0|[1-9][0-9]{0,19})\\n(?<root>[A-Za-z0-9+/]{43}=)\\n)" +
    "\\n\\xe2\\x80\\x94 (?<signer>[!-*,-~]{1,128}) (?<signature>[A-Za-z0-9+/]{91}=)\\n$",
);
const KEY_TYPE = Uint8Array.of(0x0a, 0x01);

/**
 * A log's size, in leaves, and its root.
 * @typedef {{ log_name: string, size: bigint, root: Bytes }} Checkpoint
 */

/**
 * The C2SP origin line of a provider's log: `noise-seq/` and the provider's id in base64url.
 * @param {Uint8Array} origin
 */
export function logNameOf(origin) {
  return `noise-seq/${base64url(origin)}`;
}

/**
 * `SHA-256(name || 0x0A || 0x01 || key)[:4]`, the hint in a signature line.
 * @param {string} logName
 * @param {Uint8Array} key
 */
export function keyId(logName, key) {
  return sha256(utf8(logName), KEY_TYPE, key).slice(0, 4);
}

/**
 * What is in a note of the one accepted form. Throws DecodeError.
 * @param {Uint8Array} note
 * @returns {[checkpoint: Checkpoint, signedText: Bytes, keyHint: Bytes, signature: Bytes]}
 */
export function parseCheckpoint(note) {
  const groups = note.length <= NOTE_BYTES_MAX ? NOTE.exec(String.fromCharCode(...note))?.groups : undefined;
  if (groups === undefined || groups.name !== groups.signer) throw new DecodeError("not a signed checkpoint note");
  const root = strictBase64(groups.root);
  const line = strictBase64(groups.signature);
  const size = BigInt(groups.size);
  if (size >= 2n ** 63n || root.length !== 32 || line.length !== 68) {
    throw new DecodeError("not a signed checkpoint note");
  }
  const text = note.slice(0, groups.text.length);
  return [{ log_name: groups.name, size, root }, /** @type {Bytes} */ (text), line.slice(0, 4), line.slice(4)];
}

/**
 * The checkpoint in a note that the log's key signed. Throws DecodeError or SignatureError.
 * @param {Uint8Array} note
 * @param {string} logName
 * @param {Bytes} key
 */
export async function verifyCheckpoint(note, logName, key) {
  const [checkpoint, text, hint, signature] = parseCheckpoint(note);
  if (checkpoint.log_name !== logName || !equal(hint, keyId(logName, key))) {
    throw new DecodeError("checkpoint of another log");
  }
  await verifyRaw(key, signature, text);
  return checkpoint;
}

/**
 * @param {string} text of the alphabet, and padded
 * @returns {Bytes}
 */
function strictBase64(text) {
  const letters = atob(text);
  if (btoa(letters) !== text) throw new DecodeError("base64 with loose trailing bits");
  const data = new Uint8Array(letters.length);
  for (let i = 0; i < data.length; i++) data[i] = letters.charCodeAt(i);
  return data;
}
