/**
 * What Python's `bytes` and tuples can do by themselves: equality, order, joining, text.
 *
 * Knows nothing of any structure. Has no counterpart in `noise/protocol`.
 * @module
 */

/** @typedef {Uint8Array<ArrayBuffer>} Bytes */

const HEX = Array.from({ length: 256 }, (_, n) => n.toString(16).padStart(2, "0"));
const ENCODER = new TextEncoder();

/** No bytes. @type {Bytes} */
export const EMPTY = new Uint8Array(0);

/**
 * So many zeros.
 * @param {number} size
 * @returns {Bytes}
 */
export function zeros(size) {
  return new Uint8Array(size);
}

/**
 * Whether two byte strings are the same. Not in constant time.
 * @param {Uint8Array} a
 * @param {Uint8Array} b
 */
export function equal(a, b) {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/**
 * Byte order, as Python compares: negative, 0 or positive. For `sort`, too.
 * @param {Uint8Array} a
 * @param {Uint8Array} b
 */
export function compare(a, b) {
  const size = Math.min(a.length, b.length);
  for (let i = 0; i < size; i++) if (a[i] !== b[i]) return a[i] - b[i];
  return a.length - b.length;
}

/**
 * Whether two values of a structure are the same: bytes, numbers, texts, null, lists and plain objects of these.
 * @param {unknown} a
 * @param {unknown} b
 * @returns {boolean}
 */
export function same(a, b) {
  if (Object.is(a, b)) return true;
  if (a instanceof Uint8Array) return b instanceof Uint8Array && equal(a, b);
  if (a === null || b === null || typeof a !== "object" || typeof b !== "object" || b instanceof Uint8Array)
    return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const names = Object.keys(a);
  const other = /** @type {Record<string, unknown>} */ (b);
  return (
    names.length === Object.keys(b).length &&
    names.every((name) => name in other && same(/** @type {Record<string, unknown>} */ (a)[name], other[name]))
  );
}

/**
 * Byte strings, joined.
 * @param {readonly Uint8Array[]} parts
 */
export function concat(...parts) {
  return join(parts);
}

/**
 * A list of byte strings, joined. It may be longer than what a call takes as arguments.
 * @param {readonly Uint8Array[]} parts
 * @returns {Bytes}
 */
export function join(parts) {
  let size = 0;
  for (const part of parts) size += part.length;
  const joined = new Uint8Array(size);
  let pos = 0;
  for (const part of parts) {
    joined.set(part, pos);
    pos += part.length;
  }
  return joined;
}

/**
 * Lower-case hex: for people, and as the key of a Map or Set over bytes.
 * @param {Uint8Array} data
 */
export function toHex(data) {
  let text = "";
  for (let i = 0; i < data.length; i++) text += HEX[data[i]];
  return text;
}

/**
 * The inverse of `toHex`, for trusted text.
 * @param {string} text
 * @returns {Bytes}
 */
export function fromHex(text) {
  const data = new Uint8Array(text.length / 2);
  for (let i = 0; i < data.length; i++) data[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return data;
}

/**
 * UTF-8 of a text without lone surrogates.
 * @param {string} text
 * @returns {Bytes}
 */
export function utf8(text) {
  return ENCODER.encode(text);
}

/**
 * An unsigned big-endian number of `size` bytes, at most 8. The caller has checked the range.
 * @param {number | bigint} value
 * @param {number} size
 * @returns {Bytes}
 */
export function bigEndian(value, size) {
  const data = new Uint8Array(8);
  new DataView(data.buffer).setBigUint64(0, BigInt(value));
  return data.slice(8 - size);
}

/**
 * The unsigned number that big-endian bytes spell.
 * @param {Uint8Array} data
 */
export function readBigEndian(data) {
  return data.length === 0 ? 0n : BigInt(`0x${toHex(data)}`);
}
