/**
 * What can go wrong in the client, beyond what `protocol/errors.js` already names. Every error has a stable code.
 *
 * Knows nothing of sockets, databases or pages.
 * @module
 */

import { NoiseError } from "../protocol/errors.js";

/**
 * A device's database that cannot be made, opened, read or written.
 *
 * Codes: "store-failed", "store-abandoned", "store-blocked", "store-closed", "store-newer", "store-unavailable",
 * "quota-exceeded", "insecure-context", "device-missing", "device-exists", "device-locked", "wrong-origin", "bad-name".
 */
export class TrustStoreError extends NoiseError {
  static defaultCode = "store-failed";
}

/** There is no connection to the provider, or no longer one. */
export class LinkError extends NoiseError {
  static defaultCode = "link-closed";

  /**
   * `closeCode`: the WebSocket close code, where the provider sent one. `isFinal`: trying again will not help.
   * @param {string} detail
   * @param {{ code?: string, closeCode?: number | null, isFinal?: boolean }} [options]
   */
  constructor(detail, { code, closeCode = null, isFinal = false } = {}) {
    super(detail, code);
    this.closeCode = closeCode;
    this.isFinal = isFinal;
  }
}

/** The client was closed. What was durable before is sent when the device is opened again. */
export class ClientClosed extends NoiseError {
  static defaultCode = "client-closed";
}

/**
 * Do something that may fail by a NoiseError, which says nothing here: all else is thrown.
 * @param {() => void | Promise<void>} call
 */
export async function ignoringNoise(call) {
  try {
    await call();
  } catch (error) {
    if (!(error instanceof NoiseError)) throw error;
  }
}
