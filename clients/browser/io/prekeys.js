/**
 * Prekeys on both sides: ours, made and published ahead of need, and those of the peers that we seal for.
 *
 * Knows nothing of messages. A provider can withhold a key, but not swap one: each is signed by its device. A one-time key
 * is used once; a sender asks for another one of a peer at most every ONE_TIME_INTERVAL_S, and between them takes the
 * peer's fallback, which changes every FALLBACK_PERIOD_MS. No script can read the private halves.
 * @module
 */

/** @import { Bytes } from "../protocol/bytes.js" */
/** @import { Prekey, PrekeyCount, PrekeyUpload } from "../protocol/prekeys.js" */
/** @import { Device } from "./device.js" */
/** @import { PrivatePrekey } from "./evidence_store.js" */
/** @import { ProviderHttp } from "./provider_http.js" */
/** @import { Scope } from "./scope.js" */
/** @import { StoreCalls } from "./serial.js" */
/** @import { TrustStore } from "./trust_store.js" */
import { compare, toHex } from "../protocol/bytes.js";
import { NoiseError, Rejected } from "../protocol/errors.js";
import { AgreementKey } from "../protocol/hpke.js";
import { FALLBACK, ONE_TIME, numberOf, openOffer, prekeyIdOf, signPrekey } from "../protocol/prekeys.js";
import { LinkError } from "./errors.js";

/** One-time keys that the provider should hold of us; topped up when half of them are gone. */
export const ONE_TIME_STOCK = 64;

const DAY_MS = 86_400_000n;

/**
 * For so long others may seal for a key, and the device may be away. A fallback opens all that was ever sealed for it: it
 * ends sooner.
 * @type {ReadonlyMap<number, bigint>}
 */
const PUBLIC_LIFE_MS = new Map([
  [ONE_TIME, 89n * DAY_MS],
  [FALLBACK, 28n * DAY_MS],
]);

/** A device that is there publishes a new fallback so often. */
export const FALLBACK_PERIOD_MS = 7n * DAY_MS;

/** The private half of a key is kept for so long after its last use: what was sealed for it may still be under way. */
export const KEPT_MS = 14n * DAY_MS;

/** One-time keys of which we keep the private half, whatever the provider, or those who ask it, say of the others. */
const ONE_TIME_MAX = 16 * ONE_TIME_STOCK;

/** No honest provider has seen so many of our prekeys. */
const NUMBER_MAX = 1n << 62n;

export const ONE_TIME_INTERVAL_S = 60;
const OFFER_LIFE_S = 3600;
const CHECK_INTERVAL_S = 600;
const LOOK_INTERVAL_S = 60;
const RETRY_S = 5;
const PEERS_REMEMBERED_MAX = 4096;
const ASKED_AT_ONCE = 8;
const REFUSED_CODES = new Set(["no-prekeys", "wrong-key", "bad-key", "bad-signature", "malformed", "wrong-origin"]);

/** The wall clock. */
export function nowMs() {
  return Date.now();
}

/** Keeps the provider supplied. */
export class OwnPrekeys {
  #device;
  #store;
  #calls;
  #onProblem;

  /**
   * `onProblem`: hears once why the provider does not take our keys: nobody can write to us until it does.
   * @param {Device} device
   * @param {TrustStore} store
   * @param {StoreCalls} calls
   * @param {(problem: Rejected) => void} onProblem
   */
  constructor(device, store, calls, onProblem) {
    this.#device = device;
    this.#store = store;
    this.#calls = calls;
    this.#onProblem = onProblem;
  }

  /** The key that our own copies are sealed for: made at once if there is none. Calls the store. */
  async ownFallback() {
    return this.#store.prekeys(FALLBACK).at(-1) ?? (await this.#make(1n, 0, true))[0];
  }

  /**
   * Top up, now and whenever that is due, for ever. What fails is tried again.
   *
   * `isSynced`: whether everything that was ever sealed for us has come, but for what is under way.
   * @param {Scope} scope
   * @param {Bytes} origin
   * @param {ProviderHttp} http
   * @param {() => boolean} isSynced
   */
  async run(scope, origin, http, isSynced) {
    let problemCode = "";
    for (;;) {
      try {
        await scope.until(this.#topUp(origin, http));
        problemCode = "";
        if (isSynced()) await this.#calls.run(() => this.#forgetOld());
        await this.#wait(scope);
      } catch (error) {
        if (!(error instanceof LinkError || error instanceof Rejected)) throw error;
        if (error instanceof Rejected && error.code !== problemCode) {
          problemCode = error.code;
          this.#onProblem(error);
        }
        await scope.sleep(RETRY_S);
      }
    }
  }

  /**
   * Until the next check: sooner once more than half of a stock was used to seal what has come.
   * @param {Scope} scope
   */
  async #wait(scope) {
    for (let passedS = 0; passedS < CHECK_INTERVAL_S; passedS += LOOK_INTERVAL_S) {
      await scope.sleep(LOOK_INTERVAL_S);
      if (this.#store.prekeys(ONE_TIME).length < ONE_TIME_STOCK / 2) return;
    }
  }

  /**
   * @param {Bytes} origin
   * @param {ProviderHttp} http
   */
  async #topUp(origin, http) {
    const count = await http.prekeyCount(this.#device.deviceId);
    const upload = await this.#calls.run(() => this.#missing(origin, count));
    if (upload.prekeys.length) await http.postPrekeys(upload);
  }

  /**
   * What the provider lacks, its private halves stored first. What it has not taken is offered again.
   * @param {Bytes} origin
   * @param {PrekeyCount} count
   * @returns {Promise<PrekeyUpload>}
   */
  async #missing(origin, count) {
    const missing = count.one_time <= ONE_TIME_STOCK / 2 ? ONE_TIME_STOCK - count.one_time : 0;
    const now = BigInt(nowMs());
    const freshMs = now - FALLBACK_PERIOD_MS;
    const isFallbackDue = count.fallback_not_after_ms < freshMs + publicLifeMs(FALLBACK);
    // a key of the future was made while our clock was ahead: the provider takes none that lives so long
    const isFresh = (/** @type {PrivatePrekey} */ k) => k.made_ms >= freshMs && k.made_ms <= now;
    const [oneTime, fallbacks] = [ONE_TIME, FALLBACK].map((kind) =>
      this.#store.prekeys(kind).filter((k) => compare(k.prekey_id, count.last_id) > 0 && isFresh(k)),
    );
    const again = [...oneTime.slice(0, missing), ...(isFallbackDue ? fallbacks.slice(-1) : [])];
    const nRoom = Math.max(0, ONE_TIME_MAX - this.#store.prekeys(ONE_TIME).length);
    const nNew = Math.min(missing - Math.min(oneTime.length, missing), nRoom);
    const made = await this.#make(numberOf(count.last_id) + 1n, nNew, isFallbackDue && !fallbacks.length);
    const offered = [...again, ...made].sort((a, b) => compare(a.prekey_id, b.prekey_id)); // as they have to be
    const { signer } = this.#device;
    const signed = offered.map((k) => signPrekey(signer, origin, k.prekey_id, k.kind, k.public, publicEndMs(k)));
    return { prekeys: await Promise.all(signed) };
  }

  /**
   * New keys with ids that neither we nor the provider have seen.
   * @param {bigint} firstNumber
   * @param {number} nOneTime
   * @param {boolean} isFallbackDue
   * @returns {Promise<PrivatePrekey[]>}
   */
  async #make(firstNumber, nOneTime, isFallbackDue) {
    let number = numberOf(this.#store.lastPrekeyId()) + 1n;
    if (number <= firstNumber && firstNumber < NUMBER_MAX) number = firstNumber;
    const kinds = [...(isFallbackDue ? [FALLBACK] : []), ...Array.from({ length: nOneTime }, () => ONE_TIME)];
    const made = await Promise.all(
      kinds.map(async (kind, i) => {
        const { privateKey, publicKey } = await AgreementKey.generate();
        const made_ms = BigInt(nowMs());
        return { prekey_id: prekeyIdOf(number + BigInt(i)), kind, private_key: privateKey, public: publicKey, made_ms };
      }),
    );
    if (made.length) this.#store.savePrekeys(made);
    return made;
  }

  /**
   * Forget keys for which nobody seals any more, as all that was sealed for them has come. We ourselves seal our own copies
   * for the newest fallback, however old it is.
   */
  #forgetOld() {
    const endMs = BigInt(nowMs()) - KEPT_MS;
    const fallbacks = this.#store.prekeys(FALLBACK);
    const old = fallbacks.filter((k, i) => {
      const after = fallbacks[i + 1];
      return after !== undefined && publicEndMs(k) < endMs && after.made_ms < endMs;
    });
    old.push(...this.#store.prekeys(ONE_TIME).filter((k) => publicEndMs(k) < endMs));
    if (old.length) this.#store.dropPrekeys(old.map((k) => k.prekey_id));
  }
}

/**
 * What we know of one peer's keys. `oneTime`: not used yet. `askedAtMs`: by `performance.now`.
 * @typedef {{ oneTime: Prekey | null, fallback: Prekey | null, askedAtMs: number }} Stock
 */

/** The keys of those whom we seal for. */
export class PeerPrekeys {
  /** @type {Map<string, Stock>} least recently used first */
  #stocks = new Map();

  /**
   * Have keys for these peers, or say why not, by peer in hex: a key is withheld, or is not one that the peer signed.
   *
   * Throws LinkError when the provider cannot be asked.
   * @param {Bytes} origin
   * @param {readonly Bytes[]} peers
   * @param {ProviderHttp} http
   * @returns {Promise<Map<string, NoiseError>>}
   */
  async prepare(origin, peers, http) {
    /** @type {Map<string, NoiseError>} */
    const problems = new Map();
    /** @type {LinkError[]} */
    const unreachable = [];
    const wanted = peers.filter((peer) => {
      const stock = this.#stocks.get(toHex(peer));
      if (stock) this.#keep(peer, stock); // or it could be forgotten before it is used
      return this.#isDue(peer);
    });
    const waiting = [...wanted];
    const askOneByOne = async () => {
      for (let peer = waiting.pop(); peer !== undefined; peer = waiting.pop()) {
        try {
          await this.#ask(origin, peer, http);
        } catch (error) {
          if (!(error instanceof NoiseError)) throw error;
          if (error instanceof LinkError) unreachable.push(error);
          else if (!REFUSED_CODES.has(error.code)) unreachable.push(new LinkError(error.detail, { code: error.code }));
          else if (!this.#hasFallback(peer)) problems.set(toHex(peer), error);
        }
      }
    };
    await Promise.all(Array.from({ length: ASKED_AT_ONCE }, askOneByOne));
    if (unreachable.length && !wanted.every((peer) => this.#hasFallback(peer))) throw unreachable[0];
    return problems;
  }

  /**
   * @param {Bytes} origin
   * @param {Bytes} peer
   * @param {ProviderHttp} http
   */
  async #ask(origin, peer, http) {
    const offer = await http.prekey(peer);
    const [oneTime, fallback] = await openOffer(offer, origin, peer, BigInt(nowMs()));
    if (oneTime === null && fallback === null)
      throw new Rejected("the provider offers only expired keys", "no-prekeys");
    this.#keep(peer, { oneTime, fallback, askedAtMs: performance.now() });
  }

  /**
   * A key for one message to a peer that `prepare` has prepared. Throws Rejected "no-prekeys".
   * @param {Bytes} peer
   * @returns {Prekey}
   */
  choose(peer) {
    const stock = this.#stocks.get(toHex(peer));
    const prekey = stock?.oneTime ?? stock?.fallback;
    if (!stock || !prekey) throw new Rejected("no prekey is left for a recipient: send again", "no-prekeys");
    stock.oneTime = null;
    return prekey;
  }

  /**
   * Whether to ask: we have nothing to use, or could have another one-time key by now.
   * @param {Bytes} peer
   */
  #isDue(peer) {
    const stock = this.#stocks.get(toHex(peer));
    if (!stock || !this.#hasFallback(peer)) return !stock || stock.oneTime === null;
    const ageS = (performance.now() - stock.askedAtMs) / 1000;
    return ageS >= OFFER_LIFE_S || (stock.oneTime === null && ageS >= ONE_TIME_INTERVAL_S);
  }

  /** @param {Bytes} peer */
  #hasFallback(peer) {
    const fallback = this.#stocks.get(toHex(peer))?.fallback;
    return !!fallback && fallback.not_after_ms > BigInt(nowMs());
  }

  /**
   * @param {Bytes} peer
   * @param {Stock} stock
   */
  #keep(peer, stock) {
    this.#stocks.delete(toHex(peer));
    this.#stocks.set(toHex(peer), stock);
    for (const oldest of this.#stocks.keys()) {
      if (this.#stocks.size <= PEERS_REMEMBERED_MAX) break;
      this.#stocks.delete(oldest);
    }
  }
}

/** @param {number} kind */
function publicLifeMs(kind) {
  return PUBLIC_LIFE_MS.get(kind) ?? 0n;
}

/**
 * After this nobody seals for a key of ours: its signature says so.
 * @param {PrivatePrekey} kept
 */
export function publicEndMs(kept) {
  return kept.made_ms + publicLifeMs(kept.kind);
}
