/**
 * The texts of the readable faces, decoded strictly: base64url, decimal numbers, JSON.
 *
 * Knows nothing of structures. `atob` and `JSON.parse` are too lax for bytes that get signed or compared: these accept
 * one text for each value and throw `DecodeError` for every other. Source: RFC 4648 section 5, RFC 8259.
 * @module
 */

/** @import { Bytes } from "./bytes.js" */
import { utf8 } from "./bytes.js";
import { DecodeError } from "./errors.js";

/**
 * What `parseJson` returns: typed only after a codec has read it. Integers are `number` where exact, else `bigint`.
 * @typedef {any} Json
 */

const BASE64URL = /^[A-Za-z0-9_-]*$/;
const DECIMAL = /^(0|[1-9][0-9]{0,19})$/;
const DIGITS_MAX = 4300; // as Python
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const SPACE = /[ \t\n\r]*/y;
const DEPTH_MAX = 500;

/**
 * Unpadded base64url.
 * @param {Uint8Array} data
 */
export function base64url(data) {
  let text = "";
  for (let i = 0; i < data.length; i += 8192) text += String.fromCharCode(...data.subarray(i, i + 8192));
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/**
 * The exact inverse of `base64url`; refuses padding, white space, other alphabets and loose trailing bits.
 * @param {unknown} text
 * @returns {Bytes}
 */
export function parseBase64url(text) {
  if (typeof text !== "string" || !BASE64URL.test(text) || text.length % 4 === 1) {
    throw new DecodeError("not unpadded base64url");
  }
  const data = Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
  if (base64url(data) !== text) throw new DecodeError("base64url with loose trailing bits");
  return data;
}

/**
 * A canonical decimal of at most 20 digits: no sign, no leading zero, no white space, no underscore.
 * @param {unknown} text
 */
export function parseDecimal(text) {
  if (typeof text !== "string" || !DECIMAL.test(text)) throw new DecodeError("not a canonical decimal number");
  return BigInt(text);
}

class Parser {
  /** @param {string} text */
  constructor(text) {
    this.text = text;
    this.pos = 0;
  }

  /** @param {RegExp} pattern */
  match(pattern) {
    pattern.lastIndex = this.pos;
    const found = pattern.exec(this.text);
    if (found === null) throw new DecodeError("not JSON in UTF-8");
    this.pos = pattern.lastIndex;
    return found[0];
  }

  /** @param {string} wanted */
  takes(wanted) {
    this.match(SPACE);
    if (!this.text.startsWith(wanted, this.pos)) return false;
    this.pos += wanted.length;
    return true;
  }

  /** @param {string} wanted */
  expect(wanted) {
    if (!this.takes(wanted)) throw new DecodeError("not JSON in UTF-8");
  }

  /**
   * @param {number} depth
   * @returns {Json}
   */
  value(depth) {
    if (depth > DEPTH_MAX) throw new DecodeError("not JSON in UTF-8");
    if (this.takes("{")) return this.members(depth);
    if (this.takes("[")) return this.items(depth);
    if (this.takes("true")) return true;
    if (this.takes("false")) return false;
    if (this.takes("null")) return null;
    if (this.text[this.pos] === '"') return this.string();
    const number = this.match(NUMBER);
    if (number === "-0") throw new DecodeError("JSON number with two spellings");
    if (/[.eE]/.test(number)) throw new DecodeError("JSON number that is not an integer");
    if (number.length > DIGITS_MAX) throw new DecodeError("not JSON in UTF-8");
    const exact = BigInt(number);
    return BigInt.asIntN(53, exact) === exact ? Number(exact) : exact;
  }

  /** Of any length: what a pattern matches is bounded by the stack. */
  string() {
    this.expect('"');
    const start = this.pos - 1;
    let end = this.pos;
    while (end < this.text.length && this.text[end] !== '"') end += this.text[end] === "\\" ? 2 : 1;
    this.pos = end + 1;
    try {
      return JSON.parse(this.text.slice(start, this.pos));
    } catch {
      throw new DecodeError("not JSON in UTF-8");
    }
  }

  /** @param {number} depth */
  members(depth) {
    /** @type {Map<string, Json>} */
    const members = new Map();
    if (!this.takes("}")) {
      do {
        const name = this.string();
        if (members.has(name)) throw new DecodeError("JSON object names a member twice");
        this.expect(":");
        members.set(name, this.value(depth + 1));
      } while (this.takes(","));
      this.expect("}");
    }
    return Object.assign(Object.create(null), Object.fromEntries(members));
  }

  /** @param {number} depth */
  items(depth) {
    const items = [];
    if (!this.takes("]")) {
      do items.push(this.value(depth + 1));
      while (this.takes(","));
      this.expect("]");
    }
    return items;
  }
}

/**
 * JSON in UTF-8 without floats, NaN, -0, duplicate members or bottomless nesting. Throws DecodeError.
 * @param {Uint8Array} data
 * @returns {Json}
 */
export function parseJson(data) {
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
  } catch {
    throw new DecodeError("not JSON in UTF-8");
  }
  const parser = new Parser(text);
  const value = parser.value(0);
  parser.match(SPACE);
  if (parser.pos !== text.length) throw new DecodeError("not JSON in UTF-8");
  return value;
}

/**
 * Compact JSON in UTF-8.
 * @param {Json} value
 */
export function encodeJson(value) {
  return utf8(JSON.stringify(value));
}
