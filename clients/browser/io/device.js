/**
 * A device: the one key that makes a sender and a mailbox.
 *
 * Knows nothing of where the key is kept. No script can read it: it signs, and that is all.
 * @module
 */

/** @import { ChallengeFrame, SignedAuthProof } from "../protocol/frames.js" */
/** @import { Signer } from "../protocol/signing.js" */
import { AUTH_PROOF } from "../protocol/frames.js";
import { deviceIdOf } from "../protocol/identifiers.js";

const U64_MAX = 2n ** 64n - 1n;

/** A private key with what follows from it. */
export class Device {
  /** @param {Signer} signer */
  constructor(signer) {
    this.signer = signer;
    this.deviceId = deviceIdOf(signer.publicKey);
  }

  /**
   * The proof that lets us in where a challenge came from. `audience`: our name for it in HTTP.
   *
   * Whether the challenge's origin is the one that we want to prove ourselves to, the caller checks.
   * @param {ChallengeFrame} challenge
   * @param {string} audience
   * @param {string} purpose
   * @returns {Promise<SignedAuthProof>}
   */
  async answer(challenge, audience, purpose) {
    const untilMs = challenge.server_ms + BigInt(challenge.life_ms);
    const proof = {
      origin: challenge.origin,
      device_id: this.deviceId,
      key: this.signer.publicKey,
      nonce: challenge.nonce,
      audience,
      purpose,
      not_after_ms: untilMs < U64_MAX ? untilMs : U64_MAX,
    };
    return this.signer.sign("auth", challenge.origin, AUTH_PROOF.encode(proof));
  }
}
