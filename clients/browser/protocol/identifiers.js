/**
 * Names: devices, providers, actors, positions. All are fixed-width bytes whose order is meaningful.
 *
 * Knows nothing of statements or transport.
 * @module
 */

import { bigEndian, concat, zeros } from "./bytes.js";
import { DecodeError } from "./errors.js";
import { base64url, parseBase64url } from "./json_text.js";
import { SUITE_ED25519, hasher } from "./signing.js";

/** In `prev_epoch`, `last_epoch` and `until_epoch`: there is none. Never a real epoch. */
export const NO_EPOCH = 2n ** 64n - 1n;

/** In `last_seq`: nothing was ever delivered. */
export const NO_SEQ = zeros(16);

const deviceHash = hasher("device");
const originHash = hasher("origin");
const SUITE = bigEndian(SUITE_ED25519, 2);

/**
 * `H("device", u16 suite || public key)`, 32 bytes.
 * @param {Uint8Array} publicKey
 */
export function deviceIdOf(publicKey) {
  return deviceHash(SUITE, publicKey);
}

/**
 * `H("origin", u16 suite || provider root public key)`, 32 bytes: the provider's name and only trust anchor.
 * @param {Uint8Array} rootPublicKey
 */
export function originOf(rootPublicKey) {
  return originHash(SUITE, rootPublicKey);
}

/**
 * A 32-byte id as people see it: unpadded base64url, 43 characters.
 * @param {Uint8Array} identifier
 */
export function formatId(identifier) {
  return base64url(identifier);
}

/**
 * The exact inverse of `formatId`. Throws DecodeError.
 * @param {string} text
 */
export function parseId(text) {
  const identifier = parseBase64url(text);
  if (identifier.length !== 32) throw new DecodeError("an id has 32 bytes: 43 characters of base64url");
  return identifier;
}

/** @enum {number} */
export const Role = Object.freeze({ INBOX: 1, ROUTER: 2, RECEIVER: 3, OUTBOX: 4, SEQUENCER: 5, LOG: 6 });
const ROLE_NAMES = ["", "inbox", "router", "receiver", "outbox", "sequencer", "log"];

/** Who signs: a role in a shard, by number. Encoded as u8 || u16 || u16; byte order is the order of statements. */
export class Actor {
  /**
   * @param {number} role one of Role
   * @param {number} shard
   * @param {number} number
   */
  constructor(role, shard, number) {
    this.role = role;
    this.shard = shard;
    this.number = number;
  }

  encode() {
    return Uint8Array.of(this.role, this.shard >> 8, this.shard, this.number >> 8, this.number);
  }

  toString() {
    return `${ROLE_NAMES[this.role]}-${this.shard}-${this.number}`;
  }
}

/**
 * The exact inverse of `Actor.encode`. Throws DecodeError.
 * @param {Uint8Array} data
 */
export function parseActor(data) {
  if (data.length !== 5 || data[0] < 1 || data[0] >= ROLE_NAMES.length) throw new DecodeError("not an actor");
  return new Actor(data[0], data[1] * 256 + data[2], data[3] * 256 + data[4]);
}

/**
 * `epoch u64 || lane u16 || pos u48`, 16 bytes. Byte order is delivery order. Throws DecodeError.
 * @param {bigint} epoch
 * @param {number} lane
 * @param {number} pos
 */
export function makeSeq(epoch, lane, pos) {
  return makeSeqs(epoch, lane, pos, 1)[0];
}

/**
 * `count` consecutive positions. Throws DecodeError where they leave their lane.
 * @param {bigint} epoch
 * @param {number} lane
 * @param {number} firstPos
 * @param {number} count
 */
export function makeSeqs(epoch, lane, firstPos, count) {
  const fits = BigInt.asUintN(64, epoch) === epoch && lane >= 0 && lane < 2 ** 16 && firstPos >= 0 && count >= 0;
  if (!fits || firstPos + count > 2 ** 48) throw new DecodeError("no such positions");
  return Array.from({ length: count }, (_, i) =>
    concat(bigEndian(epoch, 8), bigEndian(lane, 2), bigEndian(firstPos + i, 6)),
  );
}

/**
 * The exact inverse of `makeSeq`: positions are below 2^48, and exact. Throws DecodeError.
 * @param {Uint8Array} seq
 * @returns {[epoch: bigint, lane: number, pos: number]}
 */
export function parseSeq(seq) {
  if (seq.length !== 16) throw new DecodeError("a seq has 16 bytes");
  const view = new DataView(seq.buffer, seq.byteOffset, 16);
  return [view.getBigUint64(0), view.getUint16(8), view.getUint16(10) * 2 ** 32 + view.getUint32(12)];
}
