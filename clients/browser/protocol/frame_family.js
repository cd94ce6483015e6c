/**
 * Frames of one conversation: a u8 type, then the structure that it stands for, and nothing after it.
 *
 * Knows nothing of what any frame means, or of which may come when: whoever parses says so. A frame is a plain object:
 * the members of its structure, and `type`, the name of its type.
 * @module
 */

/** @import { Bytes } from "./bytes.js" */
/** @import { StructCodec, ValueOf } from "./encoding.js" */
import { concat } from "./bytes.js";
import { Reader } from "./encoding.js";
import { DecodeError } from "./errors.js";

/**
 * Number and structure of each frame, by name.
 * @typedef {Record<string, readonly [number: number, codec: StructCodec<any>]>} FrameTypes
 */

/**
 * One of these frames.
 * @template {FrameTypes} T
 * @typedef {{ [N in keyof T]: { type: N } & ValueOf<T[N][1]> }[keyof T]} FrameOf
 */

/** @template {FrameTypes} T */
export class FrameFamily {
  /**
   * `noun`: what a person calls one of them.
   * @param {T} types
   * @param {{ bytesMax: number, noun: string }} limits
   */
  constructor(types, { bytesMax, noun }) {
    const entries = Object.entries(types);
    /** @type {Map<string, StructCodec<any>>} */
    this.codecs = new Map(entries.map(([name, [, codec]]) => [name, codec]));
    /** @type {Map<string, Bytes>} */
    this.prefixes = new Map(entries.map(([name, [number]]) => [name, Uint8Array.of(number)]));
    this.byNumber = new Map(entries.map(([name, [number]]) => [number, name]));
    this.bytesMax = bytesMax;
    this.noun = noun;
  }

  /**
   * `u8 type || structure`.
   * @param {FrameOf<T>} frame
   * @returns {Bytes}
   */
  encode(frame) {
    const prefix = this.prefixes.get(/** @type {string} */ (frame.type));
    const codec = this.codecs.get(/** @type {string} */ (frame.type));
    if (prefix === undefined || codec === undefined)
      throw new TypeError(`no ${this.noun} is called ${String(frame.type)}`);
    return concat(prefix, codec.encode(frame));
  }

  /**
   * The exact inverse of `encode`. Throws DecodeError.
   *
   * Of a type that is not among `mayCome` only the type is read: content out of turn costs nothing.
   * @param {Uint8Array} data
   * @param {ReadonlySet<string>} mayCome
   * @returns {FrameOf<T>}
   */
  parse(data, mayCome) {
    if (data.length > this.bytesMax) {
      throw new DecodeError(`a ${this.noun} has at most ${this.bytesMax} bytes`, "frame-too-large");
    }
    const reader = new Reader(data);
    const type = this.byNumber.get(reader.take(1)[0]) ?? null;
    const members = this.codecInTurn(type, mayCome).read(reader);
    if (reader.remaining()) throw new DecodeError(`bytes after the end of a ${this.noun}`);
    return { type, ...members };
  }

  /**
   * The codec of a frame that may come now; `type` null: there is no such type. Throws DecodeError.
   * @param {string | null} type
   * @param {ReadonlySet<string>} mayCome
   * @returns {StructCodec<any>}
   */
  codecInTurn(type, mayCome) {
    const codec = type === null ? undefined : this.codecs.get(type);
    if (type === null || codec === undefined) throw new DecodeError(`unknown ${this.noun} type`);
    if (!mayCome.has(type)) throw new DecodeError(`${codec.name} may not come now`, "out-of-turn");
    return codec;
  }
}
