/**
 * A device's client: what a page sends and receives, whatever happens to the connection meanwhile.
 *
 * Knows nothing of frames, proofs or databases, nor of what a page looks like. `openClient` is the front door:
 *
 *     const client = await openClient("device-1", { url: location.origin });
 *     client.subscribe((event) => event.kind === "message" && show(event.message));
 *     await client.send([bob], utf8("hello"));
 * @module
 */

/** @import { Bytes } from "../protocol/bytes.js" */
/** @import { Delta } from "../protocol/delta.js" */
/** @import { Verdict as ProofVerdict } from "../protocol/evidence/verdict.js" */
/** @import { KeptProof as StoredProof } from "./evidence_store.js" */
/** @import { Address } from "./link.js" */
/** @import { DeltaSeen } from "./receiving.js" */
/** @import { Sending } from "./sending.js" */
/** @import { Settings } from "./settings.js" */
/** @import { ClientState } from "./states.js" */
/** @import { Message, TrustStore } from "./trust_store.js" */
/** @import { Judgement } from "./verdicts.js" */
import { EMPTY, compare, equal } from "../protocol/bytes.js";
import { NoiseError, ProviderMisbehaved } from "../protocol/errors.js";
import { CloseCode } from "../protocol/push_session.js";
import { PAYLOAD_DATA } from "../protocol/sealing.js";
import { Signer } from "../protocol/signing.js";
import { Backoff } from "./backoff.js";
import { Changed } from "./changed.js";
import { Connection } from "./connection.js";
import { Device } from "./device.js";
import { lockDevice, openStore } from "./devices.js";
import { ClientClosed, LinkError, TrustStoreError } from "./errors.js";
import { openLink, parseUrl } from "./link.js";
import { nowMs } from "./prekeys.js";
import { ProviderHttp } from "./provider_http.js";
import { Incoming } from "./receiving.js";
import { Cancelled, Scope } from "./scope.js";
import { Outgoing } from "./sending.js";
import { StoreCalls } from "./serial.js";
import { DEFAULT_SETTINGS } from "./settings.js";
import { ChangeLog } from "./states.js";
import { FINE } from "./verdicts.js";
import { Watching } from "./watching.js";

/** Peers whose chains are shown. */
const PAIRS_MAX = 256;

/**
 * A proof that is kept, with what it proves.
 * @typedef {StoredProof & { verdict: ProofVerdict }} KeptProof
 */

/**
 * How our chain with a peer stands. `matchedEpoch`, `matchedLength`: the last cut at which both were the same, if any was.
 * `isLinked`: it is in another tab, and we speak directly.
 * @typedef {{ peer: Bytes, length: number, head: Bytes, matchedEpoch: bigint | null, matchedLength: number | null,
 *   isLinked: boolean }} PairStanding
 */

/**
 * What listeners hear of, in order, each after it is durable. "refused": a delta that did not verify.
 * @typedef {{ kind: "state", state: ClientState } | { kind: "judgement", judgement: Judgement } | { kind: "pairs" } |
 *   { kind: "problem", error: NoiseError } | { kind: "failure", error: NoiseError } |
 *   { kind: "delta", seen: DeltaSeen } | { kind: "refused", delta: Delta, error: ProviderMisbehaved } |
 *   { kind: "message", message: Message } | { kind: "proof", proof: KeptProof } |
 *   { kind: "sending", sending: Sending }} ClientEvent
 */

/** Made by `openClient`. When it has failed, what it is asked to send is refused with the NoiseError that it failed with. */
export class Client {
  #address;
  #store;
  #calls;
  #device;
  #settings;
  #release;
  #scope = new Scope();
  /** @type {Set<(event: ClientEvent) => void>} */
  #listeners = new Set();
  #states = new ChangeLog(/** @type {ClientState} */ ("connecting"), (state) => this.#emit({ kind: "state", state }));
  #watching;
  #incoming;
  #outgoing;
  #woken = new Changed();
  /** @type {Connection | null} */
  #connection = null;
  /** The newest message that is durable. @type {Bytes} */
  #shownSeq = EMPTY;
  /** Those that are durable, as `pairs` and `proofs` say. @type {Omit<PairStanding, "isLinked">[]} */
  #shownPairs = [];
  /** @type {KeptProof[]} */
  #shownProofs = [];
  #isNewsDue = false;
  /** @type {Promise<unknown>} */
  #ended = Promise.resolve();

  /** What we make of the provider now, and why. @type {Judgement} */
  judgement = FINE;
  /** What ended the client, if anything did. @type {NoiseError | null} */
  failure = null;
  /** Why the last connection ended, or could not be made, for a person to read. @type {LinkError | null} */
  lastProblem = null;

  /**
   * @param {Address} address
   * @param {TrustStore} store
   * @param {Bytes | null} origin
   * @param {Settings} settings
   * @param {() => void} release lets go of the device
   */
  constructor(address, store, origin, settings, release) {
    const kept = store.load();
    if (origin !== null && kept.origin !== null && !equal(origin, kept.origin)) {
      throw new TrustStoreError("this device trusts another provider already: make a new one", "wrong-origin");
    }
    this.#address = address;
    this.#store = store;
    this.#calls = new StoreCalls(store);
    this.#device = new Device(new Signer(kept.private_key, kept.public_key));
    this.#settings = settings;
    this.#release = release;
    const http = new ProviderHttp(address, settings.answerTimeoutS);
    this.#watching = new Watching(this.#device, store, this.#calls, settings, http, {
      onJudgement: (judgement) => this.#showJudgement(judgement),
      onPairs: () => this.#showNews(),
      onProblem: (error) => this.#emit({ kind: "problem", error }),
    });
    const watching = this.#watching;
    this.#incoming = new Incoming(this.#device, store, this.#calls, kept.origin ?? origin, {
      openSealed: (id, delivery) => watching.openSealed(id, delivery),
      makeWitness: (id, trusted) => watching.makeWitness(id, trusted),
      onHeard: () => watching.noteChange(),
      onSeen: (seen) => this.#showDelta(seen),
      onRefused: (delta, error) => this.#emit({ kind: "refused", delta, error }),
    });
    watching.incoming = this.#incoming;
    const onChange = (/** @type {Sending} */ sending) => this.#emit({ kind: "sending", sending });
    const { sealer } = watching;
    this.#outgoing = new Outgoing(this.#device, store, this.#calls, kept, sealer, watching, settings, onChange);
    watching.outgoing = this.#outgoing;
  }

  get deviceId() {
    return this.#device.deviceId;
  }

  /** The provider's id: pinned, or null before the first verified delta. */
  get origin() {
    return this.#incoming.origin;
  }

  get url() {
    return this.#address.baseUrl;
  }

  get state() {
    return this.#states.value;
  }

  /** The roster in force, or null before the first verified delta. */
  get roster() {
    return this.#incoming.roster;
  }

  /**
   * The epoch that was verified last since the client was opened, by the provider's clock and by ours.
   * @returns {{ epoch: bigint, timeMs: bigint, heardAtMs: number } | null}
   */
  get freshness() {
    return this.#incoming.freshness;
  }

  /**
   * Hear of everything from now on. Returns what ends that.
   * @param {(event: ClientEvent) => void} listener
   */
  subscribe(listener) {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** @param {ClientEvent} event */
  #emit(event) {
    for (const listener of [...this.#listeners]) {
      try {
        listener(event);
      } catch (error) {
        reportError(error); // the page's own mistake
      }
    }
  }

  /**
   * Queue a message, and wait until it is durable: it is sent, if not now then when the device is opened next.
   *
   * `recipients`: device ids, as 32 bytes or as text; our own is added. Throws Rejected when the message is refused here,
   * TrustStoreError, or what ended the client.
   * @param {Iterable<Bytes | string>} recipients
   * @param {Bytes} data
   * @returns {Promise<Sending>}
   */
  async send(recipients, data) {
    return this.#outgoing.put(recipients, data, this.#settings.seal ? PAYLOAD_DATA : 0);
  }

  /** The newest verified messages, in the provider's order. */
  messages() {
    return this.#store.messages().filter(({ seq }) => compare(seq, this.#shownSeq) <= 0);
  }

  /** The messages without an answer, oldest first: also those that an earlier page left in the queue. */
  unsent() {
    return this.#outgoing.unsent();
  }

  /**
   * How our chains with our peers stand, those with the newest traffic first.
   * @returns {PairStanding[]}
   */
  pairs() {
    const { courier } = this.#watching;
    return this.#shownPairs.map((pair) => ({ ...pair, isLinked: courier.isLinked(pair.peer) }));
  }

  /** As memory has them, which may be ahead of what is durable: for a call of the serial queue. */
  #findPairs() {
    const witness = this.#incoming.witness;
    if (witness === null) return [];
    const { chains } = witness.pairs;
    const peers = this.#store.knownPeers().filter((peer) => !equal(peer, this.deviceId));
    const found = peers.slice(0, PAIRS_MAX).map((peer) => ({ peer, chain: chains.chain(peer) }));
    found.sort((a, b) => compare(b.chain.lastSeq, a.chain.lastSeq));
    return found.map(({ peer, chain }) => {
      const pair = this.#store.pair(peer);
      const isMatched = pair !== null && pair.matched_epoch >= 0n;
      return {
        peer,
        length: Number(chain.now.length),
        head: chain.now.head,
        matchedEpoch: isMatched ? pair.matched_epoch : null,
        matchedLength: isMatched ? Number(pair.matched_length) : null,
      };
    });
  }

  /**
   * Proofs of misbehaviour, each a file that `noise verify` convicts by: ours, and those that peers brought.
   * @returns {KeptProof[]}
   */
  proofs() {
    return [...this.#shownProofs];
  }

  /** The same of proofs. */
  #findProofs() {
    const book = this.#incoming.witness?.proofBook;
    return this.#store.proofs().flatMap((kept) => {
      const verdict = book?.verdictOf(kept.proof) ?? null;
      return verdict === null ? [] : [{ ...kept, verdict }];
    });
  }

  /**
   * Send the provider a proof that convicts it, and ask all actors who had to do with it: which of them lied.
   *
   * Throws NoiseError when it convicts nobody, or the provider takes none. Unless the settings say otherwise, the client
   * complains by itself.
   * @param {Bytes} proof
   */
  async complain(proof) {
    return this.#watching.complaining.complain(this.#scope, proof);
  }

  /**
   * What the provider showed us, signed, as a file: for one peer to compare with its own, or for everybody.
   *
   * Throws NoiseError "no-provider" before the first verified delta.
   * @param {Bytes | null} peer
   * @returns {Promise<Bytes>}
   */
  async exportView(peer = null) {
    const witness = this.#watching.neededWitness();
    return this.#calls.run(() => witness.export(this.#device, peer));
  }

  /**
   * Compare a peer's file with what we were shown; the peer's device id. The judgement may change.
   *
   * Throws NoiseError for what is no view of this provider, or not for us.
   * @param {Bytes} data
   * @returns {Promise<Bytes>}
   */
  async importView(data) {
    const witness = this.#watching.neededWitness();
    try {
      return await this.#calls.run(() => witness.hearExported(data));
    } finally {
      this.#watching.noteChange();
    }
  }

  /** Go on from what the store holds. For `openClient` only. */
  async load() {
    await this.#calls.run(async () => {
      await this.#incoming.load(this.#store.load());
      this.judgement = this.#incoming.witness?.judgement ?? FINE;
      this.#shownSeq = this.#store.messages().at(-1)?.seq ?? EMPTY;
      this.#shownPairs = this.#findPairs();
      this.#shownProofs = this.#findProofs();
    });
  }

  /** Until closed. When something has failed for good, only gossip goes on. For `openClient` only. */
  start() {
    const { signal } = this.#scope;
    const wake = () => this.#wake();
    window.addEventListener("online", wake, { signal });
    window.addEventListener("pagehide", () => void this.close().catch(reportError), { signal });
    document.addEventListener("visibilitychange", wake, { signal });
    document.addEventListener("resume", wake, { signal });
    this.#ended = Promise.all([
      this.#guarded(this.#watching.run(this.#scope)).finally(() => this.#scope.cancel()),
      this.#guarded(
        this.#scope.firstOf([(scope) => this.#keepConnected(scope), (scope) => this.#watching.runConnected(scope)]),
      ),
    ]);
  }

  /** Somebody else has the device now: nothing that is not durable may become so, or leave. For `openClient` only. */
  async lose() {
    const error = new TrustStoreError("another page has taken this device", "device-locked");
    this.#store.abandon(error);
    await this.#fail(error);
    await this.close();
  }

  /** The network is back, or the page is looked at again: find out at once how things are. */
  #wake() {
    if (document.visibilityState === "hidden") return;
    this.#woken.notify();
    this.#connection?.probe();
  }

  /** @param {Promise<void>} task */
  async #guarded(task) {
    try {
      await task;
    } catch (error) {
      if (error instanceof Cancelled) return;
      if (error instanceof NoiseError) return this.#fail(error);
      reportError(error);
      this.#scope.cancel();
      await this.#fail(new NoiseError(`a mistake of this page: ${error}`, "internal"));
    }
  }

  /** @param {Scope} scope */
  async #keepConnected(scope) {
    const backoff = new Backoff(this.#settings.backoffFirstS, this.#settings.backoffMaxS);
    for (;;) {
      this.#states.enter("connecting");
      const error = await this.#connectOnce(scope, backoff);
      if (error === null) continue;
      if (error.closeCode === CloseCode.CURSOR_AHEAD) {
        if (await this.#watching.noteLogBehind(scope, error.detail)) {
          throw new ProviderMisbehaved("the provider's log went back", "log-fork");
        }
      } else if (error.isFinal) {
        throw error;
      }
      this.lastProblem = error;
      this.#emit({ kind: "problem", error });
      this.#states.enter("backoff");
      await scope.nest((inner) => Promise.race([inner.sleep(backoff.nextS()), inner.until(this.#woken.wait())]));
    }
  }

  /**
   * Why the connection ended; null: ask the provider again at once.
   * @param {Scope} scope
   * @param {Backoff} backoff
   */
  async #connectOnce(scope, backoff) {
    /** @type {Connection | null} */
    let connection = null;
    try {
      const link = await openLink(scope, this.#address, this.#settings);
      const [incoming, outgoing] = [this.#incoming, this.#outgoing];
      connection = new Connection(link, this.#device, incoming, outgoing, this.#states, this.#settings);
      this.#connection = connection;
      try {
        await connection.converse(scope, this.#address.hostHeader);
      } finally {
        link.close();
      }
      return null;
    } catch (error) {
      if (!(error instanceof LinkError)) throw error;
      if (connection?.wasLive && error.closeCode !== CloseCode.REPLACED) backoff.reset();
      return error;
    } finally {
      this.#connection = null;
    }
  }

  /**
   * Gossip goes on, but not without a store.
   * @param {NoiseError} error
   */
  async #fail(error) {
    if (error instanceof TrustStoreError) this.#scope.cancel();
    if (this.failure !== null) return;
    this.failure = error;
    this.#outgoing.fail(error);
    if (error instanceof ProviderMisbehaved) await this.#keepOffence(error);
    this.#end();
    this.#emit({ kind: "failure", error });
  }

  /** @param {ProviderMisbehaved} error */
  async #keepOffence({ code, detail, evidence }) {
    const offence = { time_ms: BigInt(nowMs()), code, detail, evidence };
    try {
      await this.#calls.run(() => this.#store.saveOffence(offence));
      await this.#watching.audit(this.#scope);
    } catch (error) {
      if (error instanceof TrustStoreError) this.#emit({ kind: "problem", error });
      else if (!(error instanceof Cancelled)) throw error;
    }
  }

  #end() {
    this.#states.enter("closed");
    this.#states.end();
  }

  /** @param {DeltaSeen} seen */
  #showDelta(seen) {
    this.#shownSeq = seen.messages.at(-1)?.seq ?? this.#shownSeq;
    this.#emit({ kind: "delta", seen });
    for (const message of seen.messages) this.#emit({ kind: "message", message });
  }

  /**
   * What it rests on may only just have been found: it is shown when that is durable.
   * @param {Judgement} judgement
   */
  #showJudgement(judgement) {
    const show = () => {
      this.judgement = judgement;
      this.#emit({ kind: "judgement", judgement });
    };
    this.#whenStored(() => {}, show);
  }

  /** A peer was heard, or asked: pairs may have matched, and proofs may have come. */
  #showNews() {
    if (this.#isNewsDue) return;
    this.#isNewsDue = true;
    const find = () => {
      this.#isNewsDue = false;
      return { pairs: this.#findPairs(), proofs: this.#findProofs() };
    };
    this.#whenStored(find, ({ pairs, proofs }) => {
      const news = proofs.slice(this.#shownProofs.length);
      this.#shownPairs = pairs;
      this.#shownProofs = proofs;
      this.#emit({ kind: "pairs" });
      for (const proof of news) this.#emit({ kind: "proof", proof });
    });
  }

  /**
   * Show what is found in memory now, when that is durable.
   * @template T
   * @param {() => T} find
   * @param {(found: T) => void} show
   */
  #whenStored(find, show) {
    this.#calls.run(find).then(show, (error) => {
      if (!(error instanceof NoiseError)) reportError(error); // the store is of no use any more, and the client ends
    });
  }

  /** Let go of the provider and of the device. May be called twice. */
  async close() {
    this.#outgoing.fail(new ClientClosed("the client was closed; what is queued is sent when it is opened again"));
    this.#scope.cancel();
    try {
      await this.#ended;
    } finally {
      this.#end();
      await this.#calls.run(() => {}).catch(() => {}); // it has said so already
      this.#store.close();
      this.#release();
    }
  }
}

/**
 * Follow a device's mailbox at a provider, and send for it, until the client or the page is closed. Does not wait for a
 * connection.
 *
 * `origin`: the provider's id; without it, the first provider that proves itself is pinned.
 *
 * Throws NoiseError "bad-url", TrustStoreError "device-missing", "device-locked", "wrong-origin", "insecure-context", and
 * why the browser cannot read what it keeps.
 * @param {string} deviceName
 * @param {{ url: string, origin?: Bytes | null, settings?: Partial<Settings> }} options
 * @returns {Promise<Client>}
 */
export async function openClient(deviceName, { url, origin = null, settings = {} }) {
  const address = parseUrl(url);
  /** @type {PromiseWithResolvers<void>} */
  const lost = Promise.withResolvers();
  const release = await lockDevice(deviceName, lost.resolve);
  /** @type {TrustStore | null} */
  let store = null;
  try {
    store = await openStore(deviceName);
    const client = new Client(address, store, origin, { ...DEFAULT_SETTINGS, ...settings }, release);
    await client.load();
    client.start();
    void lost.promise.then(() => client.lose());
    return client;
  } catch (error) {
    store?.close();
    release();
    throw error;
  }
}
