/**
 * Carries what the witness says to its peers, and asks the provider for what it wants to know.
 *
 * Knows nothing of what is said. A frame goes over a gossip link to its peer where there is one; otherwise, sealed as a
 * message, through the provider, which cannot read it, and may drop it like any other. Nobody keeps it waiting: each
 * question to the provider is a task of its own.
 * @module
 */

/** @import { Bytes } from "../protocol/bytes.js" */
/** @import { GossipFrame } from "../protocol/gossip.js" */
/** @import { LogLookup, Lookup, NoteLookup } from "./log_watch.js" */
/** @import { ProviderHttp } from "./provider_http.js" */
/** @import { Scope } from "./scope.js" */
/** @import { StoreCalls } from "./serial.js" */
/** @import { TabLink } from "./tab_link.js" */
/** @import { Witness } from "./witness.js" */
import { equal, toHex } from "../protocol/bytes.js";
import { NoiseError, Rejected } from "../protocol/errors.js";
import { CONTENT_FRAMES, encodeGossip, parseGossip } from "../protocol/gossip.js";
import { PAYLOAD_BODY_BYTES_MAX } from "../protocol/sealing.js";
import { Changed } from "./changed.js";
import { ignoringNoise } from "./errors.js";
import { Cancelled, TooSlow } from "./scope.js";

const AUDITED_MAX = 8;
const VIEW_INTERVAL_S = 5;

/** As long as the witness waits before it asks about a peer again: of two answers the later one counts. */
const LOOKUP_S = 10;

const LOOKUPS_MAX = 64;

/** Refusals of a consistency proof that say that there is none; all others say nothing about the log. */
const CANNOT_SHOW = new Set(["bad-query", "not-committed"]);

export class Courier {
  /**
   * `inBand(peer, frame)` queues an encoded frame as a sealed message, or throws NoiseError; null: messages are not
   * sealed. `onCarried` is called after the witness was heard, answered or asked.
   * @param {StoreCalls} calls
   * @param {() => Witness | null} witness
   * @param {((peer: Bytes, encoded: Bytes) => Promise<void>) | null} inBand
   * @param {() => void} onCarried
   */
  constructor(calls, witness, inBand, onCarried) {
    /** The witness may have something to say. */
    this.changed = new Changed();
    this.calls = calls;
    this.witness = witness;
    this.inBand = inBand;
    this.onCarried = onCarried;
    /** @type {Map<string, { link: TabLink, scope: Scope }>} */
    this.links = new Map();
    this.nLookups = 0;
  }

  /**
   * Whether there is a link with a peer.
   * @param {Bytes} peer
   */
  isLinked(peer) {
    return this.links.has(toHex(peer));
  }

  /**
   * Until cancelled.
   * @param {Scope} scope
   * @param {ProviderHttp} http
   */
  async run(scope, http) {
    for (;;) {
      const changed = this.changed.wait();
      await this.carry(scope, http);
      this.onCarried();
      await scope.until(changed);
    }
  }

  /**
   * Tell everybody with whom there is a link how we stand, now and then, and ask again what was not answered.
   * @param {Scope} scope
   */
  async runLinks(scope) {
    for (;;) {
      await scope.sleep(VIEW_INTERVAL_S);
      const witness = this.witness();
      if (witness === null || !this.links.size) continue;
      for (const { link } of [...this.links.values()]) await this.greet(link.peer);
      for (const [peer, frame] of await this.calls.run(() => witness.questions())) this.sendLink(peer, frame);
    }
  }

  /**
   * Send our view to a peer over its link.
   * @param {Bytes} peer
   */
  async greet(peer) {
    const witness = this.witness();
    if (witness !== null) this.sendLink(peer, { type: "view", view: await this.calls.run(() => witness.view(peer)) });
  }

  /**
   * Send a peer over its link what convicts the provider: when it was found, there may have been no link.
   * @param {Bytes} peer
   */
  async tellProofs(peer) {
    const witness = this.witness();
    if (witness === null) return;
    for (const frame of await this.calls.run(() => witness.proofFrames())) this.sendLink(peer, frame);
  }

  /**
   * Speak with a peer until the link ends, the peer says what no honest peer says, or there is a newer link with it.
   * @param {TabLink} link
   * @param {Scope} scope
   */
  async runLink(link, scope) {
    const key = toHex(link.peer);
    const ours = { link, scope };
    this.links.get(key)?.scope.cancel();
    this.links.set(key, ours);
    this.onCarried();
    try {
      await this.greet(link.peer);
      await this.tellProofs(link.peer);
      for (;;) await this.receive(link.peer, await link.receive(scope));
    } finally {
      if (this.links.get(key) === ours) this.links.delete(key);
      this.onCarried();
    }
  }

  /**
   * A frame that came over a link. Throws NoiseError for what no honest peer sends.
   * @param {Bytes} peer
   * @param {Bytes} encoded
   */
  async receive(peer, encoded) {
    const frame = parseGossip(encoded, CONTENT_FRAMES);
    const witness = this.witness();
    if (witness === null) return;
    await this.calls.run(() => witness.hear(peer, frame));
    this.changed.notify();
  }

  /**
   * @param {Scope} scope
   * @param {ProviderHttp} http
   */
  async carry(scope, http) {
    const witness = this.witness();
    while (witness !== null) {
      const [outgoing, lookups] = await this.calls.run(() => [witness.takeOutgoing(), witness.takeLookups()]);
      for (const [peer, frame] of outgoing) await this.send(peer, frame);
      for (const lookup of lookups) {
        // what is not asked now is asked after a later view
        if (this.nLookups < LOOKUPS_MAX) void this.lookUp(scope, witness, http, lookup);
      }
      if (!outgoing.length) return;
    }
  }

  /**
   * @param {Bytes} peer
   * @param {GossipFrame} frame
   */
  async send(peer, frame) {
    if (this.isLinked(peer)) return this.sendLink(peer, frame);
    const encoded = encodeGossip(frame);
    if (this.inBand === null || encoded.length > PAYLOAD_BODY_BYTES_MAX) return;
    const { inBand } = this;
    // the queue may be full, or the client at its end: the next comparison asks again
    await ignoringNoise(() => inBand(peer, encoded));
  }

  /**
   * @param {Bytes} peer
   * @param {GossipFrame} frame
   */
  sendLink(peer, frame) {
    this.links.get(toHex(peer))?.link.send(encodeGossip(frame));
  }

  /**
   * Ask the provider. That it does not answer shows nothing; that it answers something else does.
   * @param {Scope} scope
   * @param {Witness} witness
   * @param {ProviderHttp} http
   * @param {Lookup} lookup
   */
  async lookUp(scope, witness, http, lookup) {
    this.nLookups++;
    try {
      await scope.limit(LOOKUP_S, (inner) =>
        lookup.kind === "log"
          ? this.lookUpLog(inner, witness, http, lookup)
          : this.lookUpNote(inner, witness, http, lookup),
      );
    } catch (error) {
      if (!(error instanceof NoiseError || error instanceof Cancelled || error instanceof TooSlow)) reportError(error);
    } finally {
      this.nLookups--;
      this.changed.notify();
    }
  }

  /**
   * @param {Scope} scope
   * @param {Witness} witness
   * @param {ProviderHttp} http
   * @param {LogLookup} lookup
   */
  async lookUpLog(scope, witness, http, lookup) {
    const { size } = lookup.checkpoint;
    /** @type {Bytes[]} */
    let proof = [];
    try {
      proof = await scope.until(http.consistency(size, lookup.size));
    } catch (error) {
      if (!(error instanceof Rejected)) throw error;
      if (!CANNOT_SHOW.has(error.code)) return;
    }
    // whoever answers at this address may be another provider by now, and tell the truth about its own log
    if (!equal((await scope.until(http.challenge())).origin, witness.origin)) return;
    if (await this.calls.run(() => witness.hearLog(lookup, proof))) return;
    const { statements, inclusion } = await scope.until(record(http, size - 1n, lookup.size));
    await this.calls.run(() => witness.hearFork(lookup, statements, inclusion));
  }

  /**
   * @param {Scope} scope
   * @param {Witness} witness
   * @param {ProviderHttp} http
   * @param {NoteLookup} lookup
   */
  async lookUpNote(scope, witness, http, lookup) {
    const { statements, inclusion } = await scope.until(record(http, lookup.wanted - 1n, lookup.wanted));
    const proof = await scope.until(http.consistency(lookup.wanted, lookup.size));
    await this.calls.run(() => witness.hearNote(lookup, statements, inclusion, proof));
  }

  /**
   * Compare the log that the provider has now with every record of it that we can open: it may have gone back.
   * @param {Scope} scope
   * @param {ProviderHttp} http
   */
  async auditLog(scope, http) {
    const witness = this.witness();
    if (witness === null) return;
    for (const { place } of (await this.calls.run(() => witness.openings())).slice(0, AUDITED_MAX)) {
      await ignoringNoise(async () => {
        const { statements, inclusion } = await scope.until(record(http, place, place + 1n));
        await this.calls.run(() => witness.hearRecord(place, statements, inclusion));
      });
    }
  }
}

/**
 * @param {ProviderHttp} http
 * @param {bigint} epoch
 * @param {bigint} size
 */
async function record(http, epoch, size) {
  return { statements: await http.statements(epoch), inclusion: await http.inclusion(epoch, size) };
}
