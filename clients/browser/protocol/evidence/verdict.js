/**
 * What comes of a proof: a verdict, or nothing.
 *
 * Knows nothing of what is proven.
 * @module
 */

/** @import { Bytes } from "../bytes.js" */
/** @import { Actor } from "../identifiers.js" */
import { equal } from "../bytes.js";
import { DecodeError, NoiseError } from "../errors.js";

export const PROVIDER = "provider";

/** Well-formed, and no proof of anything. */
export class NotProven extends NoiseError {
  static defaultCode = "not-proven";
}

/**
 * What one actor signed of the message at `seq` for `mailbox`, as a person reads it. `is_lie`: it is convicted.
 * @typedef {{ actor: string, mailbox: Bytes, seq: Bytes, does: string, is_lie: boolean }} Step
 */

/**
 * Who is convicted of what. `accused`: the provider, or the actor whose own signatures contradict each other.
 *
 * `kind`: the name of the class. `detail`: one or two sentences for a person. `way`: of the message through the
 * stages, in order, as far as it is known. `is_suspicion`: it is no lie that is proven, only silence.
 */
export class Verdict {
  /**
   * @param {string} kind
   * @param {string} accused
   * @param {Bytes} origin
   * @param {bigint} epoch
   * @param {string} detail
   * @param {{ way?: Step[], is_suspicion?: boolean }} [options]
   */
  constructor(kind, accused, origin, epoch, detail, { way = [], is_suspicion = false } = {}) {
    this.kind = kind;
    this.accused = accused;
    this.origin = origin;
    this.epoch = epoch;
    this.detail = detail;
    this.way = way;
    this.is_suspicion = is_suspicion;
  }
}

/**
 * Whatever else the call refuses is not proven: a DecodeError and NotProven pass.
 * @template T
 * @param {() => T | Promise<T>} call
 * @returns {Promise<T>}
 */
export async function nothingElse(call) {
  try {
    return await call();
  } catch (error) {
    if (error instanceof DecodeError || error instanceof NotProven || !(error instanceof NoiseError)) throw error;
    throw new NotProven(error.detail);
  }
}

/**
 * The actor whose one key signed all of this, or else the provider. A signer: (actor, key).
 * @param {...[actor: Actor, key: Bytes]} signers
 */
export function nameSigner(...signers) {
  const [[actor, key]] = signers;
  const name = actor.toString();
  return signers.every(([other, its]) => other.toString() === name && equal(its, key)) ? name : PROVIDER;
}
