/**
 * One connection's conversation: prove who we are, follow, acknowledge, send bundles, notice silence.
 *
 * Knows nothing of reconnecting, and nothing of how a link moves bytes. It ends when the link does, or when something goes
 * wrong for good; whoever started it decides what comes next.
 * @module
 */

/** @import { Delta } from "../protocol/delta.js" */
/** @import { Bundle } from "../protocol/envelope.js" */
/** @import { Follower } from "../protocol/follower.js" */
/** @import { Frame } from "../protocol/frames.js" */
/** @import { Device } from "./device.js" */
/** @import { Link } from "./link.js" */
/** @import { Incoming } from "./receiving.js" */
/** @import { Scope, Task } from "./scope.js" */
/** @import { Outgoing } from "./sending.js" */
/** @import { Settings } from "./settings.js" */
/** @import { ChangeLog, ClientState } from "./states.js" */
import { RecipientLists } from "../protocol/delta.js";
import { DecodeError, Rejected } from "../protocol/errors.js";
import { PURPOSE_PUSH } from "../protocol/frames.js";
import { Backoff } from "./backoff.js";
import { Changed } from "./changed.js";
import { LinkError } from "./errors.js";
import { Cancelled, TooSlow } from "./scope.js";
import { RETRIED_CODES } from "./sending.js";

const REQUESTS = 2 ** 32;
const WATCH_INTERVAL_S = 1;

/** @typedef {Extract<Frame, { type: "receipt" | "refusal" }>} Answer */

/** `wasLive`: whether it caught up with the mailbox at any time. */
export class Connection {
  wasLive = false;
  #link;
  #device;
  #incoming;
  #outgoing;
  #states;
  #settings;
  #lists = new RecipientLists();
  #changed = new Changed();
  #hasRoster = false;
  /** @type {Answer | null} */
  #answer = null;
  #pingedAtMs = -Infinity;
  /** When we asked first since anything came. */
  #askedAtMs = -Infinity;
  #isProbed = false;
  /** The last delta is stored and shown. @type {Promise<void>} */
  #stored = Promise.resolve();
  /** @type {unknown} */
  #error = null;

  /**
   * @param {Link} link
   * @param {Device} device
   * @param {Incoming} incoming
   * @param {Outgoing} outgoing
   * @param {ChangeLog<ClientState>} states
   * @param {Settings} settings
   */
  constructor(link, device, incoming, outgoing, states, settings) {
    this.#link = link;
    this.#device = device;
    this.#incoming = incoming;
    this.#outgoing = outgoing;
    this.#states = states;
    this.#settings = settings;
  }

  /**
   * Returns when the provider should be asked again at once. `audience`: our name for it in HTTP.
   *
   * Throws LinkError, ProviderMisbehaved or TrustStoreError; of several, the one that matters most.
   * @param {Scope} scope
   * @param {string} audience
   */
  async converse(scope, audience) {
    const follower = await this.#authenticate(scope, audience);
    this.#states.enter("syncing");
    /** @type {((scope: Scope, follower: Follower) => Promise<void>)[]} */
    const tasks = [this.#receive, this.#sendBundles, this.#acknowledge, this.#watch];
    await scope.firstOf(tasks.map((task) => this.#guarded((inner) => task.call(this, inner, follower))));
    if (this.#error !== null) throw this.#error;
  }

  /**
   * A task whose error counts more than that of the link, which often follows from it.
   * @param {Task} task
   * @returns {Task}
   */
  #guarded(task) {
    return async (scope) => {
      try {
        await task(scope);
      } catch (error) {
        if (error instanceof Cancelled) throw error;
        this.#note(error);
      }
    };
  }

  /** @param {unknown} error */
  #note(error) {
    if (this.#error === null || (this.#error instanceof LinkError && !(error instanceof LinkError)))
      this.#error = error;
  }

  /**
   * @param {Scope} scope
   * @param {string} audience
   */
  async #authenticate(scope, audience) {
    const challenge = await this.#receiveChallenge(scope);
    const follower = await this.#incoming.follow(challenge.origin);
    const proof = await this.#device.answer(challenge, audience, PURPOSE_PUSH);
    this.#link.send({ type: "auth", proof, cursor: follower.cursor });
    return follower;
  }

  /** @param {Scope} scope */
  async #receiveChallenge(scope) {
    try {
      const { frame } = await scope.limit(this.#settings.connectTimeoutS, (inner) => this.#link.receive(inner));
      if (frame.type === "challenge") return frame;
    } catch (error) {
      if (!(error instanceof TooSlow)) throw error;
      throw new LinkError("the provider says nothing", { code: "link-silent" });
    }
    throw new DecodeError("a provider speaks first, and challenges us", "out-of-turn");
  }

  /**
   * Take frames as they come; never wait for the network, or both ends could wait for each other.
   *
   * Returns when more came than could wait, and all that did wait is stored: another connection must bring the rest.
   * @param {Scope} scope
   * @param {Follower} follower
   */
  async #receive(scope, follower) {
    try {
      for (;;) {
        const { frame, nBytes } = await this.#link.receive(scope);
        await this.#onFrame(scope, follower, frame, nBytes);
        this.#pingIfDue(); // in a page that nobody looks at, timers may be a minute late
      }
    } catch (error) {
      if (!(error instanceof LinkError)) throw error;
      await scope.until(this.#stored);
      if (!this.#link.isFull) throw error;
    }
  }

  /**
   * @param {Scope} scope
   * @param {Follower} follower
   * @param {Frame} frame
   * @param {number} nBytes
   */
  async #onFrame(scope, follower, frame, nBytes) {
    if (frame.type === "delta") {
      await this.#onDelta(scope, follower, frame.delta, nBytes);
    } else if (frame.type === "ping") {
      this.#link.send({ type: "pong", token: frame.token });
    } else if (frame.type === "receipt" || frame.type === "refusal") {
      if (this.#answer) throw new LinkError("the provider answers what was not asked", { code: "out-of-turn" });
      this.#answer = frame;
      this.#changed.notify();
    }
  }

  /**
   * Verified when this returns; stored, and shown, some time later, in order. Never broken off: the next connection must
   * not begin before we know what this one led to.
   * @param {Scope} scope
   * @param {Follower} follower
   * @param {Delta} delta
   * @param {number} nBytes
   */
  async #onDelta(scope, follower, delta, nBytes) {
    const { isSynced, stored } = await this.#incoming.accept(follower, delta, this.#lists, nBytes);
    this.#stored = stored.then(
      () => {
        if (scope.isCancelled) return;
        this.wasLive ||= isSynced;
        this.#hasRoster = true;
        this.#states.enter(isSynced ? "live" : "syncing");
        this.#changed.notify();
      },
      (error) => {
        this.#note(error);
        this.#link.close();
      },
    );
  }

  /**
   * One bundle after the other, each as often as it takes.
   * @param {Scope} scope
   * @param {Follower} follower
   */
  async #sendBundles(scope, follower) {
    while (!this.#hasRoster) await scope.until(this.#changed.wait());
    const backoff = new Backoff(this.#settings.backoffFirstS, this.#settings.backoffMaxS);
    let request = 0;
    for (;;) {
      /** @type {Bundle} */
      let bundle;
      try {
        bundle = await this.#outgoing.nextBundle(scope, follower);
      } catch (error) {
        if (!(error instanceof LinkError)) throw error;
        await scope.sleep(backoff.nextS()); // the keys to seal it cannot be had now
        continue;
      }
      request = (request + 1) % REQUESTS;
      this.#link.send({ type: "bundle", request, bundle: bundle.encode() });
      const answer = await this.#receiveAnswer(scope, request);
      if (answer.type === "receipt") {
        await this.#outgoing.accept(follower, bundle, answer.receipt);
        backoff.reset();
      } else if (RETRIED_CODES.has(answer.code)) {
        await scope.sleep(backoff.nextS());
      } else {
        await this.#outgoing.refuse(bundle, new Rejected(answer.detail, answer.code));
      }
    }
  }

  /**
   * @param {Scope} scope
   * @param {number} request
   * @returns {Promise<Answer>}
   */
  async #receiveAnswer(scope, request) {
    try {
      return await scope.limit(this.#settings.answerTimeoutS, async (inner) => {
        while (!this.#answer) await inner.until(this.#changed.wait());
        const answer = this.#answer;
        this.#answer = null;
        if (answer.request === request) return answer;
        throw new LinkError("the provider answers what was not asked", { code: "out-of-turn" });
      });
    } catch (error) {
      if (!(error instanceof TooSlow)) throw error;
      throw new LinkError("the provider does not answer a bundle", { code: "link-stuck" });
    }
  }

  /**
   * Acknowledge what was stored when nothing more comes, and now and then while something does.
   * @param {Scope} scope
   * @param {Follower} follower
   */
  async #acknowledge(scope, follower) {
    const { ackIntervalS, ackQuietS } = this.#settings;
    const send = (/** @type {Frame} */ frame) => this.#link.send(frame);
    try {
      for (;;) {
        while (!this.#incoming.owesAck) await scope.until(this.#incoming.changed.wait());
        const dueAtMs = performance.now() + 1000 * ackIntervalS;
        for (let heard = -1; heard !== this.#incoming.heardCount && performance.now() < dueAtMs;) {
          heard = this.#incoming.heardCount;
          await scope.sleep(ackQuietS);
        }
        await this.#incoming.acknowledge(follower, send);
      }
    } finally {
      if (this.#link.isOpen && this.#incoming.owesAck) await this.#incoming.acknowledge(follower, send);
    }
  }

  /**
   * Ask whether the provider is there when either side has been quiet; give up when it stays silent.
   * @param {Scope} scope
   */
  async #watch(scope) {
    for (;;) {
      this.#pingIfDue();
      this.#checkSilence();
      await scope.sleep(WATCH_INTERVAL_S);
    }
  }

  #pingIfDue() {
    const { heardAtMs, sentAtMs } = this.#link;
    const quietSinceMs = Math.max(Math.min(heardAtMs, sentAtMs), this.#pingedAtMs);
    if (performance.now() - quietSinceMs >= 1000 * this.#settings.pingAfterS) this.#ping();
  }

  #ping() {
    this.#pingedAtMs = performance.now();
    if (this.#askedAtMs <= this.#link.heardAtMs) this.#askedAtMs = this.#pingedAtMs;
    this.#link.send({ type: "ping", token: crypto.getRandomValues(new Uint8Array(16)) });
  }

  /** Silence counts when the provider was asked meanwhile: timers of a page that nobody looks at come late. */
  #checkSilence() {
    const { pingAfterS, silenceMaxS } = this.#settings;
    const { heardAtMs } = this.#link;
    const nowMs = performance.now();
    const isAsked = this.#askedAtMs > heardAtMs && nowMs - this.#askedAtMs >= 1000 * (silenceMaxS - pingAfterS);
    if (isAsked && (this.#isProbed || nowMs - heardAtMs >= 1000 * silenceMaxS)) {
      throw new LinkError("the provider has fallen silent", { code: "link-silent" });
    }
    if (heardAtMs > this.#askedAtMs) this.#isProbed = false;
  }

  /** The network has changed, or the page was asleep: ask now, and wait for an answer only as long as one takes. */
  probe() {
    if (!this.#hasRoster || !this.#link.isOpen) return; // it is only being made, or over
    this.#isProbed = true;
    this.#ping();
  }
}
