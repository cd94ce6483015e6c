/**
 * What the client asks of a provider over HTTP: prekeys, pieces of the public log, our own past, and who lied.
 *
 * Knows nothing of trust: every answer is checked by whoever asked for it. The only file that calls `fetch`.
 * @module
 */

/** @import { Bytes } from "../protocol/bytes.js" */
/** @import { Codec } from "../protocol/encoding.js" */
/** @import { Cursor, SignedAuthProof } from "../protocol/frames.js" */
/** @import { PrekeyUpload } from "../protocol/prekeys.js" */
/** @import { Address } from "./link.js" */
import { EMPTY, concat } from "../protocol/bytes.js";
import { SIGNED_CHALLENGE_RECEIPT } from "../protocol/challenges.js";
import { CHALLENGE_STATUS, COMPLAINT_ANSWER, CUSTODY_ANSWERS } from "../protocol/complaints.js";
import { DELTA } from "../protocol/delta.js";
import { HASHES } from "../protocol/encoding.js";
import { DecodeError, Rejected } from "../protocol/errors.js";
import { PROOF_BYTES_MAX } from "../protocol/evidence/proof.js";
import { CHALLENGE, SESSION, SIGNED_AUTH_PROOF } from "../protocol/frames.js";
import { formatId } from "../protocol/identifiers.js";
import { base64url, parseJson } from "../protocol/json_text.js";
import { FRAME_BYTES_MAX } from "../protocol/limits.js";
import { EPOCH_STATEMENTS, INCLUSION, ROSTERS } from "../protocol/log_pages.js";
import { PREKEY_COUNT, PREKEY_OFFER, PREKEY_UPLOAD } from "../protocol/prekeys.js";
import { LinkError } from "./errors.js";

const BINARY = "application/octet-stream";
const CODE_CHARS_MAX = 64;

/**
 * Every call throws LinkError when there is no usable answer, Rejected when it is a refusal, with the provider's stable
 * code.
 */
export class ProviderHttp {
  #baseUrl;
  #timeoutS;

  /**
   * `timeoutS`: for a whole answer, however steadily it trickles.
   * @param {Address} address
   * @param {number} timeoutS
   */
  constructor(address, timeoutS) {
    this.#baseUrl = address.baseUrl;
    this.#timeoutS = timeoutS;
  }

  /**
   * Publish our prekeys; what the provider holds of us then.
   * @param {PrekeyUpload} upload
   */
  postPrekeys(upload) {
    return this.#ask("POST", "/v1/devices/self/prekeys", PREKEY_COUNT, { body: PREKEY_UPLOAD.encode(upload) });
  }

  /**
   * What the provider holds of a device.
   * @param {Bytes} deviceId
   */
  prekeyCount(deviceId) {
    return this.#ask("GET", `/v1/devices/${formatId(deviceId)}/prekeys`, PREKEY_COUNT);
  }

  /**
   * Keys to seal for a device with: the one-time one is ours alone.
   * @param {Bytes} deviceId
   */
  prekey(deviceId) {
    return this.#ask("GET", `/v1/devices/${formatId(deviceId)}/prekey`, PREKEY_OFFER);
  }

  /**
   * What shows that the log of one size begins with that of another.
   * @param {bigint} oldSize
   * @param {bigint} newSize
   */
  consistency(oldSize, newSize) {
    return this.#ask("GET", `/v1/log/consistency?old=${oldSize}&new=${newSize}`, HASHES);
  }

  /**
   * What shows that an epoch's record is in the log of a size.
   * @param {bigint} epoch
   * @param {bigint} size
   */
  inclusion(epoch, size) {
    return this.#ask("GET", `/v1/log/inclusion?epoch=${epoch}&size=${size}`, INCLUSION);
  }

  /**
   * All that the actors signed in an epoch, its record and its checkpoint.
   * @param {bigint} epoch
   */
  statements(epoch) {
    return this.#ask("GET", `/v1/log/records/${epoch}`, EPOCH_STATEMENTS);
  }

  /** A nonce to sign. */
  challenge() {
    return this.#ask("POST", "/v1/challenges", CHALLENGE, { body: EMPTY });
  }

  /**
   * A token to read our own mailbox with.
   * @param {SignedAuthProof} proof
   */
  async session(proof) {
    const { token } = await this.#ask("POST", "/v1/sessions", SESSION, { body: SIGNED_AUTH_PROOF.encode(proof) });
    return token;
  }

  /**
   * What follows a cursor in our mailbox.
   * @param {Bytes} token
   * @param {Cursor} cursor
   */
  page(token, cursor) {
    const query = Object.entries(cursor).map(([name, number]) => `${name}=${number}`);
    const headers = { Authorization: `Bearer ${base64url(token)}` };
    return this.#ask("GET", `/v1/mailbox?${query.join("&")}`, DELTA, { headers });
  }

  /** All rosters that the provider ever had, in order, as it says. */
  rosters() {
    return this.#ask("GET", "/v1/rosters", ROSTERS);
  }

  /**
   * Show the provider what convicts it; what its actors may be asked then.
   * @param {Bytes} proof
   */
  complain(proof) {
    return this.#ask("POST", "/v1/complaints", COMPLAINT_ANSWER, { body: proof, bytesMax: PROOF_BYTES_MAX });
  }

  /**
   * What an actor, by its name, shows of what a complaint is about.
   * @param {Bytes} complaintId
   * @param {string} actor
   */
  custody(complaintId, actor) {
    const path = `/v1/custody/${formatId(complaintId)}/${actor}`;
    return this.#ask("GET", path, CUSTODY_ANSWERS, { bytesMax: PROOF_BYTES_MAX });
  }

  /**
   * Ask an actor in the log, by an encoded Challenge; the promise that the question is there.
   * @param {Bytes} complaintId
   * @param {Bytes} challenge
   */
  openChallenge(complaintId, challenge) {
    const path = `/v1/complaints/${formatId(complaintId)}/challenges`;
    return this.#ask("POST", path, SIGNED_CHALLENGE_RECEIPT, { body: challenge });
  }

  /**
   * What the newest record says of a challenge, and what was answered if the complaint is about that.
   * @param {Bytes} complaintId
   * @param {Bytes} challengeHash
   */
  challengeStatus(complaintId, challengeHash) {
    const path = `/v1/complaints/${formatId(complaintId)}/challenges/${formatId(challengeHash)}`;
    return this.#ask("GET", path, CHALLENGE_STATUS, { bytesMax: PROOF_BYTES_MAX });
  }

  /**
   * @template T
   * @param {string} method
   * @param {string} path
   * @param {Codec<T>} codec
   * @param {{ body?: Bytes, headers?: Record<string, string>, bytesMax?: number }} [options]
   * @returns {Promise<T>}
   */
  async #ask(method, path, codec, { body, headers = {}, bytesMax = FRAME_BYTES_MAX } = {}) {
    const [status, data] = await this.#fetch(method, path, bytesMax, {
      body,
      headers: { Accept: BINARY, ...(body && { "Content-Type": BINARY }), ...headers },
    });
    if (status < 200 || status > 299) throw refusal(status, data);
    try {
      return codec.decode(data);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      throw new LinkError(`the answer to ${method} ${path} makes no sense: ${error}`, { code: "bad-answer" });
    }
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {number} bytesMax
   * @param {RequestInit} options
   * @returns {Promise<[status: number, data: Bytes]>}
   */
  async #fetch(method, path, bytesMax, options) {
    try {
      const response = await fetch(this.#baseUrl + path, {
        method,
        ...options,
        signal: AbortSignal.timeout(1000 * this.#timeoutS),
        cache: "no-store",
        credentials: "omit",
        redirect: "error",
        referrerPolicy: "no-referrer",
      });
      return [response.status, await readAll(response, bytesMax)];
    } catch (error) {
      if (error instanceof LinkError) throw error;
      const why = error instanceof DOMException && error.name === "TimeoutError" ? "not in time" : String(error);
      throw new LinkError(`no answer to ${method} ${path}: ${why}`, { code: "unreachable" });
    }
  }
}

/**
 * @param {Response} response
 * @param {number} bytesMax
 */
async function readAll(response, bytesMax) {
  const chunks = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > bytesMax) throw new LinkError("the provider's answer has no end", { code: "bad-answer" });
  }
  return concat(...chunks);
}

/**
 * A problem (RFC 9457) as its code, anything else as no answer.
 * @param {number} status
 * @param {Bytes} body
 */
function refusal(status, body) {
  try {
    const problem = parseJson(body);
    if (typeof problem === "object" && problem !== null && !Array.isArray(problem)) {
      const { code, detail } = problem;
      if (typeof code === "string" && typeof detail === "string" && code.length <= CODE_CHARS_MAX) {
        return new Rejected(detail, code);
      }
    }
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
  }
  return new LinkError(`the provider answers with HTTP status ${status}`, { code: "bad-answer" });
}
