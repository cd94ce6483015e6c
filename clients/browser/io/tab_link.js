/**
 * One gossip link between two devices of one browser, over a channel on which any script of this site may listen, and may
 * write in anybody's name.
 *
 * Knows nothing of the channel, nor of what is said over the link. Both sides prove their device keys before anything else
 * is said, as on a link between two machines (`noise_client/gossip_link.py`). There a connection says which frame comes
 * from whom; here it is a key that only the two ends have: each makes up a key pair for this one link, and what a device
 * signs for its peer covers both public ones. A frame that is not sealed with what follows from them was never said.
 * @module
 */

/** @import { Bytes } from "../protocol/bytes.js" */
/** @import { LinkChallenge } from "../protocol/gossip.js" */
/** @import { Device } from "./device.js" */
/** @import { Scope } from "./scope.js" */
import { EMPTY, bigEndian, concat, equal, readBigEndian, utf8, zeros } from "../protocol/bytes.js";
import { DecodeError } from "../protocol/errors.js";
import {
  GOSSIP_FRAME_BYTES_MAX,
  LINK_FRAMES,
  answerChallenge,
  encodeGossip,
  parseGossip,
  verifyLink,
} from "../protocol/gossip.js";
import { AgreementKey } from "../protocol/hpke.js";
import { sha256 } from "../protocol/signing.js";
import { LinkError } from "./errors.js";

/** The first thing that an end says: its public key for this link. */
export const KEY_BYTES = 32;

/** A sealed frame: its number, the frame, and the tag of AES-GCM. */
export const SEALED_BYTES_MAX = 8 + GOSSIP_FRAME_BYTES_MAX + 16;

/** Silence after which a link is given up. Views come all the time, but a hidden tab may speak once a minute only. */
const SILENCE_S = 150;
/** For each step until the link stands, and for the first frame, which shows that the peer thinks so, too. */
const HANDSHAKE_S = 10;

/** What may wait for us; more of it is lost, as if it had never been sent. */
const WAITING_MAX = 128;
const WAITING_BYTES_MAX = 4 * GOSSIP_FRAME_BYTES_MAX;

/** The number of the last frame, which is empty. */
const GOODBYE = 2n ** 64n - 1n;

const LABEL = utf8("noise tab link");

/** What came in the name of one other end, until it is asked for. */
export class Inbox {
  /** @type {Bytes[]} */
  #waiting = [];
  #bytes = 0;
  #wake = () => {};

  /** @param {Bytes} data */
  put(data) {
    if (this.#waiting.length >= WAITING_MAX || this.#bytes + data.length > WAITING_BYTES_MAX) return;
    this.#waiting.push(data);
    this.#bytes += data.length;
    this.#wake();
  }

  /**
   * The next that came. Throws LinkError "link-silent".
   * @param {Scope} scope
   * @param {number} deadlineMs by `performance.now`
   * @returns {Promise<Bytes>}
   */
  async take(scope, deadlineMs) {
    for (;;) {
      const data = this.#waiting.shift();
      if (data !== undefined) {
        this.#bytes -= data.length;
        return data;
      }
      const leftMs = deadlineMs - performance.now();
      if (leftMs <= 0) throw new LinkError("the other tab has fallen silent", { code: "link-silent" });
      await scope.until(
        new Promise((resolve) => {
          const timer = setTimeout(resolve, leftMs);
          this.#wake = () => (clearTimeout(timer), resolve(undefined));
        }),
      );
    }
  }
}

/** An open link with a peer that has proven who it is. Made by `openTabLink`. */
export class TabLink {
  #say;
  #inbox;
  #keys;
  #goodbye;
  #nSent = 0n;
  #lastHeard = -1n;
  #isClosed = false;
  /** @type {Promise<void>} */
  #sent = Promise.resolve();

  /**
   * @param {Bytes} peer device id
   * @param {(data: Bytes) => void} say
   * @param {Inbox} inbox
   * @param {{ own: CryptoKey, theirs: CryptoKey }} keys of AES-GCM: what seals our frames, and what seals theirs
   * @param {Bytes} goodbye sealed: a page that ends has no time for it
   */
  constructor(peer, say, inbox, keys, goodbye) {
    this.peer = peer;
    this.#say = say;
    this.#inbox = inbox;
    this.#keys = keys;
    this.#goodbye = goodbye;
  }

  /**
   * One encoded gossip frame, after those before it.
   * @param {Bytes} encoded
   */
  send(encoded) {
    const number = this.#nSent++;
    this.#sent = this.#sent.then(async () => {
      const sealed = await sealFrame(this.#keys.own, number, encoded);
      if (!this.#isClosed) this.#say(sealed);
    });
  }

  /**
   * The next frame of the peer. Throws LinkError at the end.
   * @param {Scope} scope
   * @returns {Promise<Bytes>}
   */
  async receive(scope) {
    const deadlineMs = inSeconds(this.#lastHeard < 0n ? HANDSHAKE_S : SILENCE_S);
    for (;;) {
      const opened = await openFrame(this.#keys.theirs, await this.#inbox.take(scope, deadlineMs));
      if (opened === null || opened.number <= this.#lastHeard) continue; // made up, or said before
      if (opened.number === GOODBYE) throw new LinkError("the other tab ended the link");
      this.#lastHeard = opened.number;
      return opened.encoded;
    }
  }

  /** Say goodbye. May be called twice. */
  close() {
    if (!this.#isClosed) this.#say(this.#goodbye);
    this.#isClosed = true;
  }
}

/**
 * Prove to each other who we are. Throws NoiseError.
 * @param {Scope} scope
 * @param {(data: Bytes) => void} say
 * @param {Inbox} inbox
 * @param {Device} device
 * @param {Bytes} origin
 * @returns {Promise<TabLink>}
 */
export async function openTabLink(scope, say, inbox, device, origin) {
  const hear = () => inbox.take(scope, inSeconds(HANDSHAKE_S));
  const own = await AgreementKey.generate();
  say(own.publicKey);
  const publicKey = await hear();
  /** @type {LinkChallenge} */
  const ours = { type: "challenge", origin, device_id: device.deviceId, nonce: nonceOf(own.publicKey, publicKey) };
  say(encodeGossip(ours));
  const theirs = parseGossip(await hear(), LINK_FRAMES);
  if (theirs.type !== "challenge") throw new DecodeError("a link begins with a challenge", "out-of-turn");
  if (!equal(theirs.nonce, nonceOf(publicKey, own.publicKey))) {
    throw new DecodeError("a challenge for another link", "wrong-nonce"); // somebody stands between the two ends
  }
  say(encodeGossip(await answerChallenge(device.signer, origin, theirs)));
  const proof = parseGossip(await hear(), LINK_FRAMES);
  if (proof.type !== "link-proof") throw new DecodeError("a challenge is answered with a proof", "out-of-turn");
  await verifyLink(proof, ours, theirs);
  const keys = await agreeOn(own, publicKey);
  return new TabLink(theirs.device_id, say, inbox, keys, await sealFrame(keys.own, GOODBYE, EMPTY));
}

/**
 * What the end with the first key gives the end with the second one to sign.
 * @param {Bytes} own
 * @param {Bytes} theirs
 */
function nonceOf(own, theirs) {
  return sha256(LABEL, own, theirs);
}

/**
 * One key for each direction. Throws DecodeError for what is no key.
 * @param {AgreementKey} own
 * @param {Bytes} publicKey
 */
async function agreeOn(own, publicKey) {
  let agreed;
  try {
    const imported = await crypto.subtle.importKey("raw", publicKey, "X25519", true, []);
    agreed = await crypto.subtle.deriveBits({ name: "X25519", public: imported }, own.privateKey, 256);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    throw new DecodeError("not a usable X25519 public key", "wrong-key");
  }
  const secret = await crypto.subtle.importKey("raw", agreed, "HKDF", false, ["deriveKey"]);
  const derive = (/** @type {Bytes} */ from, /** @type {Bytes} */ to) => {
    const derivation = { name: "HKDF", hash: "SHA-256", salt: EMPTY, info: concat(LABEL, from, to) };
    return crypto.subtle.deriveKey(derivation, secret, { name: "AES-GCM", length: 128 }, false, ["encrypt", "decrypt"]);
  };
  return { own: await derive(own.publicKey, publicKey), theirs: await derive(publicKey, own.publicKey) };
}

/**
 * No number is used twice with one key.
 * @param {CryptoKey} key
 * @param {bigint} number
 * @param {Bytes} encoded
 */
async function sealFrame(key, number, encoded) {
  const place = bigEndian(number, 8);
  const sealed = await crypto.subtle.encrypt({ name: "AES-GCM", iv: concat(zeros(4), place) }, key, encoded);
  return concat(place, new Uint8Array(sealed));
}

/**
 * Null: it was not sealed with this key.
 * @param {CryptoKey} key
 * @param {Bytes} sealed
 */
async function openFrame(key, sealed) {
  const place = sealed.slice(0, 8);
  try {
    const iv = concat(zeros(12 - place.length), place);
    const encoded = await crypto.subtle.decrypt({ name: "AES-GCM", iv }, key, sealed.slice(8));
    return { number: readBigEndian(place), encoded: new Uint8Array(encoded) };
  } catch (error) {
    if (error instanceof DOMException) return null;
    throw error;
  }
}

/** @param {number} seconds */
function inSeconds(seconds) {
  return performance.now() + 1000 * seconds;
}
