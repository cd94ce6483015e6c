/**
 * One canonical binary encoding, and its readable JSON twin, from one declaration per structure.
 *
 * Knows nothing of what the structures mean. A structure is declared by its fields' codecs:
 *
 *     export const SEAL = structCodec("Seal", { owner: BYTES32, count: U32 });
 *     typedef {ValueOf<typeof SEAL>} Seal
 *
 * Its values are plain objects, whose members are named as they are on the wire's JSON face. Integers are big-endian
 * and of fixed width: `bigint` for u64, `number` for all others. A decoder is total: it throws `DecodeError` and
 * nothing else, consumes its whole input, and checks counts against the bytes that remain before it allocates. Every
 * codec is injective, so whatever decodes re-encodes to the same bytes. Decoded bytes are copies: nothing holds on to a
 * frame.
 *
 * In JSON, u64 are decimal strings and bytes are unpadded base64url: see `json_text.js`.
 * @module
 */

/** @import { Bytes } from "./bytes.js" */
/** @import { Json } from "./json_text.js" */
import { equal, join, utf8 } from "./bytes.js";
import { DecodeError } from "./errors.js";
import { base64url, parseBase64url, parseDecimal } from "./json_text.js";

/** A position in bytes that are being decoded. */
export class Reader {
  /** @param {Uint8Array} data */
  constructor(data) {
    this.data = data;
    this.view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    this.pos = 0;
  }

  /**
   * A copy of the next bytes.
   * @param {number} size
   * @returns {Bytes}
   */
  take(size) {
    const start = this.skip(size);
    return /** @type {Bytes} */ (this.data.slice(start, start + size));
  }

  /**
   * Where the next `size` bytes begin; they count as read.
   * @param {number} size
   */
  skip(size) {
    const start = this.pos;
    if (start + size > this.data.length) throw new DecodeError("input ends too early");
    this.pos = start + size;
    return start;
  }

  remaining() {
    return this.data.length - this.pos;
  }
}

/**
 * A bijection between values of T and their encodings. `minSize` is the length of the shortest one, in bytes.
 * @template T
 * @abstract
 */
export class Codec {
  /** @param {number} minSize */
  constructor(minSize) {
    this.minSize = minSize;
  }

  /**
   * @param {Uint8Array[]} _out
   * @param {T} _value
   * @returns {void}
   */
  write(_out, _value) {
    throw new TypeError("abstract");
  }

  /**
   * @param {Reader} _reader
   * @returns {T}
   */
  read(_reader) {
    throw new TypeError("abstract");
  }

  /**
   * @param {T} _value
   * @returns {Json}
   */
  toJson(_value) {
    throw new TypeError("abstract");
  }

  /**
   * @param {Json} _value
   * @returns {T}
   */
  fromJson(_value) {
    throw new TypeError("abstract");
  }

  /**
   * @param {T} value
   * @returns {Bytes}
   */
  encode(value) {
    /** @type {Uint8Array[]} */
    const out = [];
    this.write(out, value);
    return join(out);
  }

  /**
   * The value whose encoding is exactly `data`. Throws DecodeError.
   * @param {Uint8Array} data
   * @returns {T}
   */
  decode(data) {
    const reader = new Reader(data);
    const value = this.read(reader);
    if (reader.remaining()) throw new DecodeError(`${reader.remaining()} bytes after the end`);
    return value;
  }
}

/**
 * What a codec's values are.
 * @template C
 * @typedef {C extends Codec<infer T> ? T : never} ValueOf
 */

/** @extends {Codec<number>} */
class UInt extends Codec {
  /** @param {1 | 2 | 4} size */
  constructor(size) {
    super(size);
    this.limit = 2 ** (8 * size);
  }

  /**
   * @param {Uint8Array[]} out
   * @param {number} value
   */
  write(out, value) {
    const data = new Uint8Array(this.minSize);
    for (let i = this.minSize - 1, rest = this.check(value); i >= 0; i--, rest = Math.floor(rest / 256))
      data[i] = rest % 256;
    out.push(data);
  }

  /** @param {Reader} reader */
  read(reader) {
    const start = reader.skip(this.minSize);
    if (this.minSize === 1) return reader.view.getUint8(start);
    return this.minSize === 2 ? reader.view.getUint16(start) : reader.view.getUint32(start);
  }

  /** @param {number} value */
  toJson(value) {
    return value;
  }

  /** @param {Json} value */
  fromJson(value) {
    return this.check(value);
  }

  /**
   * @param {unknown} value
   * @returns {number}
   */
  check(value) {
    if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value >= this.limit) {
      throw new DecodeError(`not an unsigned integer of ${8 * this.minSize} bits`);
    }
    return value;
  }
}

/** @extends {Codec<bigint>} */
class UInt64 extends Codec {
  constructor() {
    super(8);
  }

  /**
   * @param {Uint8Array[]} out
   * @param {bigint} value
   */
  write(out, value) {
    const data = new Uint8Array(8);
    new DataView(data.buffer).setBigUint64(0, this.check(value));
    out.push(data);
  }

  /** @param {Reader} reader */
  read(reader) {
    return reader.view.getBigUint64(reader.skip(8));
  }

  /** @param {bigint} value */
  toJson(value) {
    return value.toString();
  }

  /** @param {Json} value */
  fromJson(value) {
    return this.check(parseDecimal(value));
  }

  /**
   * @param {unknown} value
   * @returns {bigint}
   */
  check(value) {
    if (typeof value !== "bigint" || BigInt.asUintN(64, value) !== value) {
      throw new DecodeError("not an unsigned integer of 64 bits");
    }
    return value;
  }
}

/** @extends {Codec<Bytes>} */
class Opaque extends Codec {
  /**
   * @param {Uint8Array[]} out
   * @param {Bytes} value
   */
  write(out, value) {
    out.push(this.check(value));
  }

  /** @param {Reader} reader */
  read(reader) {
    return reader.take(this.minSize);
  }

  /** @param {Bytes} value */
  toJson(value) {
    return base64url(value);
  }

  /** @param {Json} value */
  fromJson(value) {
    return this.check(parseBase64url(value));
  }

  /** @param {Bytes} data */
  check(data) {
    if (data.length !== this.minSize) throw new DecodeError(`needs ${this.minSize} bytes, has ${data.length}`);
    return data;
  }
}

/** @extends {Codec<Bytes>} */
class Vec extends Codec {
  /** @param {2 | 4} lengthSize */
  constructor(lengthSize) {
    super(lengthSize);
    this.length = new UInt(lengthSize);
  }

  /**
   * @param {Uint8Array[]} out
   * @param {Bytes} value
   */
  write(out, value) {
    this.length.write(out, this.checkLength(value).length);
    out.push(value);
  }

  /** @param {Reader} reader */
  read(reader) {
    return reader.take(this.length.read(reader));
  }

  /** @param {Bytes} value */
  toJson(value) {
    return base64url(value);
  }

  /** @param {Json} value */
  fromJson(value) {
    return this.checkLength(parseBase64url(value));
  }

  /** @param {Bytes} data */
  checkLength(data) {
    if (data.length >= this.length.limit) throw new DecodeError("vector too long");
    return data;
  }
}

/** @extends {Codec<string>} */
class TextCodec extends Codec {
  constructor() {
    super(2);
  }

  /**
   * @param {Uint8Array[]} out
   * @param {string} value
   */
  write(out, value) {
    VEC16.write(out, checkedUtf8(value));
  }

  /** @param {Reader} reader */
  read(reader) {
    const data = VEC16.read(reader);
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
    } catch {
      throw new DecodeError("text is not UTF-8");
    }
  }

  /** @param {string} value */
  toJson(value) {
    return value;
  }

  /** @param {Json} value */
  fromJson(value) {
    if (typeof value !== "string" || checkedUtf8(value).length > 0xffff) {
      throw new DecodeError("not a text of at most 65535 bytes");
    }
    return value;
  }
}

/** @param {string} text */
function checkedUtf8(text) {
  if (/\p{Surrogate}/u.test(text)) throw new DecodeError("text holds a lone surrogate");
  return utf8(text);
}

const COUNT_MAX = 2 ** 32 - 1;

/**
 * @template T
 * @extends {Codec<T[]>}
 */
class List extends Codec {
  /**
   * @param {Codec<T>} item
   * @param {number} countMax
   */
  constructor(item, countMax) {
    super(4);
    this.item = item;
    this.countMax = countMax;
  }

  /**
   * @param {Uint8Array[]} out
   * @param {T[]} value
   */
  write(out, value) {
    U32.write(out, value.length);
    for (const item of value) this.item.write(out, item);
  }

  /** @param {Reader} reader */
  read(reader) {
    const count = U32.read(reader);
    if (count > this.countMax || count * Math.max(this.item.minSize, 1) > reader.remaining()) {
      throw new DecodeError("list is longer than its bytes, or than may be");
    }
    return Array.from({ length: count }, () => this.item.read(reader));
  }

  /** @param {T[]} value */
  toJson(value) {
    return value.map((item) => this.item.toJson(item));
  }

  /** @param {Json} value */
  fromJson(value) {
    if (!Array.isArray(value)) throw new DecodeError("not a list");
    if (value.length > this.countMax) throw new DecodeError("list is longer than may be");
    return value.map((item) => this.item.fromJson(item));
  }
}

/**
 * @template T
 * @extends {Codec<T | null>}
 */
class Optional extends Codec {
  /** @param {Codec<T>} item */
  constructor(item) {
    super(1);
    this.item = item;
  }

  /**
   * @param {Uint8Array[]} out
   * @param {T | null} value
   */
  write(out, value) {
    U8.write(out, value === null ? 0 : 1);
    if (value !== null) this.item.write(out, value);
  }

  /** @param {Reader} reader */
  read(reader) {
    const flag = U8.read(reader);
    if (flag > 1) throw new DecodeError("optional flag is neither 0 nor 1");
    return flag ? this.item.read(reader) : null;
  }

  /** @param {T | null} value */
  toJson(value) {
    return value === null ? null : this.item.toJson(value);
  }

  /** @param {Json} value */
  fromJson(value) {
    return value === null ? null : this.item.fromJson(value);
  }
}

/**
 * Encoded bytes of a structure, carried verbatim behind a length. JSON shows both the bytes and what they say.
 * @extends {Codec<Bytes>}
 */
class Embedded extends Codec {
  /**
   * @param {Codec<any>} inner
   * @param {2 | 4} lengthSize
   */
  constructor(inner, lengthSize) {
    super(lengthSize);
    this.vec = new Vec(lengthSize);
    this.inner = inner;
  }

  /**
   * @param {Uint8Array[]} out
   * @param {Bytes} value
   */
  write(out, value) {
    this.vec.write(out, value);
  }

  /** @param {Reader} reader */
  read(reader) {
    return this.vec.read(reader);
  }

  /** @param {Bytes} value */
  toJson(value) {
    const shown = { bytes: base64url(value) };
    return value.length ? { ...shown, value: this.inner.toJson(this.inner.decode(value)) } : shown;
  }

  /** @param {Json} value */
  fromJson(value) {
    const names = isObject(value) ? Object.keys(value) : [];
    if (!names.length || names.some((name) => name !== "bytes" && name !== "value")) {
      throw new DecodeError('an embedded structure needs "bytes", "value" or both');
    }
    const made = "bytes" in value ? [this.vec.fromJson(value.bytes)] : [];
    if ("value" in value) made.push(this.vec.checkLength(this.inner.encode(this.inner.fromJson(value.value))));
    if (!equal(made[0], made[made.length - 1])) {
      throw new DecodeError('"bytes" and "value" of an embedded structure differ');
    }
    return made[0];
  }
}

/** @param {Json} value */
function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * The concatenation of a structure's fields, after an optional u16 record type.
 * @template {object} T
 * @extends {Codec<T>}
 */
export class StructCodec extends Codec {
  /**
   * @param {string} name
   * @param {Record<string, Codec<any>>} fields
   * @param {number | null} recordType
   * @param {((value: T) => void) | null} check
   */
  constructor(name, fields, recordType, check) {
    const codecs = Object.values(fields);
    super(codecs.reduce((size, codec) => size + codec.minSize, recordType === null ? 0 : 2));
    this.name = name;
    this.fields = Object.entries(fields);
    this.recordType = recordType;
    this.check = check;
  }

  /**
   * @param {Uint8Array[]} out
   * @param {T} value
   */
  write(out, value) {
    if (this.recordType !== null) U16.write(out, this.recordType);
    const members = /** @type {Record<string, unknown>} */ (value);
    for (const [name, codec] of this.fields) codec.write(out, members[name]);
  }

  /** @param {Reader} reader */
  read(reader) {
    if (this.recordType !== null && U16.read(reader) !== this.recordType) {
      throw new DecodeError(`not a ${this.name}: another record type`);
    }
    /** @type {Record<string, unknown>} */
    const members = {};
    for (const [name, codec] of this.fields) members[name] = codec.read(reader);
    return this.checked(members);
  }

  /** @param {T} value */
  toJson(value) {
    const members = /** @type {Record<string, unknown>} */ (value);
    return Object.fromEntries(this.fields.map(([name, codec]) => [name, codec.toJson(members[name])]));
  }

  /** @param {Json} value */
  fromJson(value) {
    const wanted = this.fields.map(([name]) => name);
    if (!isObject(value) || Object.keys(value).length !== wanted.length || !wanted.every((name) => name in value)) {
      throw new DecodeError(`${this.name} needs exactly these members: ${wanted.join(", ")}`);
    }
    return this.checked(Object.fromEntries(this.fields.map(([name, codec]) => [name, codec.fromJson(value[name])])));
  }

  /** @param {Record<string, unknown>} members */
  checked(members) {
    const value = /** @type {T} */ (members);
    this.check?.(value);
    return value;
  }
}

/**
 * The codec of a structure: its fields in order, and a check that throws for values that no writer makes.
 * @template {Record<string, Codec<any>>} F
 * @param {string} name
 * @param {F} fields
 * @param {{ recordType?: number, check?: (value: { [K in keyof F]: ValueOf<F[K]> }) => void }} [options]
 * @returns {StructCodec<{ [K in keyof F]: ValueOf<F[K]> }>}
 */
export function structCodec(name, fields, { recordType, check } = {}) {
  return new StructCodec(name, fields, recordType ?? null, check ?? null);
}

/** @type {Codec<number>} */
export const U8 = new UInt(1);
/** @type {Codec<number>} */
export const U16 = new UInt(2);
/** @type {Codec<number>} */
export const U32 = new UInt(4);
/** @type {Codec<bigint>} */
export const U64 = new UInt64();
/** @type {Codec<Bytes>} */
export const BYTES5 = new Opaque(5);
/** @type {Codec<Bytes>} */
export const BYTES8 = new Opaque(8);
/** @type {Codec<Bytes>} */
export const BYTES16 = new Opaque(16);
/** @type {Codec<Bytes>} */
export const BYTES32 = new Opaque(32);
/** @type {Codec<Bytes>} */
export const BYTES64 = new Opaque(64);
/** @type {Codec<Bytes>} */
export const VEC16 = new Vec(2);
/** @type {Codec<Bytes>} */
export const VEC32 = new Vec(4);
/** @type {Codec<string>} */
export const TEXT = new TextCodec();
/** @type {Codec<number[]>} */
export const INDEXES = new List(U16, COUNT_MAX);
/** @type {Codec<Bytes[]>} */
export const HASHES = new List(BYTES32, COUNT_MAX);

/**
 * A u32 count, then the items.
 * @template T
 * @param {Codec<T>} item
 * @param {number} [countMax]
 * @returns {Codec<T[]>}
 */
export function listOf(item, countMax = COUNT_MAX) {
  return new List(item, countMax);
}

/**
 * A value or null, behind a flag.
 * @template T
 * @param {Codec<T>} item
 * @returns {Codec<T | null>}
 */
export function optional(item) {
  return new Optional(item);
}

/**
 * Encoded bytes of `inner`, kept verbatim. Empty bytes: none.
 * @param {Codec<any>} inner
 * @param {2 | 4} [lengthSize]
 * @returns {Codec<Bytes>}
 */
export function embedded(inner, lengthSize = 2) {
  return new Embedded(inner, lengthSize);
}
