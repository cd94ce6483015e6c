/**
 * Every way in which bytes can be wrong, each with a stable code.
 *
 * Knows nothing of HTTP, sockets or pages. One family: whatever leaves `protocol/` because of its input is a `NoiseError`.
 *
 * @module
 */

/** @import { Bytes } from "./bytes.js" */

/** Base of all typed errors. `code` is stable and machine-readable; `detail` is for a person. */
export class NoiseError extends Error {
  static defaultCode = "error";

  /**
   * @param {string} detail
   * @param {string} [code]
   */
  constructor(detail, code) {
    super(detail);
    this.name = new.target.name;
    this.detail = detail;
    this.code = code ?? new.target.defaultCode;
  }

  toString() {
    return `${this.detail} [${this.code}]`;
  }
}

/** Bytes or JSON that are not the one canonical encoding of anything. */
export class DecodeError extends NoiseError {
  static defaultCode = "malformed";
}

/** A Merkle, state-map or history proof that does not lead to the signed root. */
export class ProofError extends NoiseError {
  static defaultCode = "bad-proof";
}

/** A signature, or a key, that the strict rules refuse. */
export class SignatureError extends NoiseError {
  static defaultCode = "bad-signature";
}

/** A well-formed request that acceptance refuses. Nothing of it was kept. The code says why. */
export class Rejected extends NoiseError {
  static defaultCode = "rejected";
}

/**
 * The provider sent what an honest provider never sends. `evidence` holds the offending bytes, verbatim.
 *
 * The trusted state of whoever throws this is what it was before.
 */
export class ProviderMisbehaved extends NoiseError {
  static defaultCode = "provider-misbehaved";

  /**
   * @param {string} detail
   * @param {string} [code]
   * @param {Bytes[]} [evidence]
   */
  constructor(detail, code, evidence = []) {
    super(detail, code);
    this.evidence = evidence;
  }
}
