/**
 * What a client does about its provider besides sending and receiving: keys to seal with, gossip, verdict, complaints.
 *
 * Knows nothing of the connection to the provider. The thinking is `witness.js`; here are the tasks around it.
 * @module
 */

/** @import { Bytes } from "../protocol/bytes.js" */
/** @import { Delivery } from "../protocol/delta.js" */
/** @import { Bundle } from "../protocol/envelope.js" */
/** @import { Receipt } from "../protocol/frames.js" */
/** @import { Trusted } from "../protocol/trust.js" */
/** @import { Device } from "./device.js" */
/** @import { ProviderHttp } from "./provider_http.js" */
/** @import { Incoming } from "./receiving.js" */
/** @import { Scope } from "./scope.js" */
/** @import { Outgoing } from "./sending.js" */
/** @import { StoreCalls } from "./serial.js" */
/** @import { Settings } from "./settings.js" */
/** @import { TrustStore } from "./trust_store.js" */
/** @import { Judgement } from "./verdicts.js" */
import { NoiseError } from "../protocol/errors.js";
import { PAYLOAD_GOSSIP } from "../protocol/sealing.js";
import { ROSTER } from "../protocol/statements.js";
import { Complaining } from "./complaining.js";
import { Courier } from "./courier.js";
import { OwnPrekeys, nowMs } from "./prekeys.js";
import { Sealer, asItIs } from "./sealer.js";
import { Cancelled, TooSlow } from "./scope.js";
import { ChangeLog } from "./states.js";
import { runTabLinks } from "./tab_channel.js";
import { FINE } from "./verdicts.js";
import { LOG_BEHIND, Witness } from "./witness.js";

const STALENESS_CHECK_S = 1;
const AUDIT_S = 5;

/** Made before `incoming` and `outgoing`, which are set when they are there. `verdicts`: every judgement. */
export class Watching {
  incoming = /** @type {Incoming} */ (/** @type {unknown} */ (null));
  outgoing = /** @type {Outgoing} */ (/** @type {unknown} */ (null));

  /**
   * @param {Device} device
   * @param {TrustStore} store
   * @param {StoreCalls} calls
   * @param {Settings} settings
   * @param {ProviderHttp} http
   * @param {{ onJudgement: (judgement: Judgement) => void, onPairs: () => void,
   *   onProblem: (problem: NoiseError) => void }} listeners
   */
  constructor(device, store, calls, settings, http, { onJudgement, onPairs, onProblem }) {
    this.device = device;
    this.store = store;
    this.calls = calls;
    this.settings = settings;
    this.http = http;
    this.verdicts = new ChangeLog(FINE, onJudgement);
    this.keys = new OwnPrekeys(device, store, calls, onProblem);
    this.sealer = new Sealer(
      device,
      store,
      this.keys,
      () => http,
      (peer) => this.gossipFor(peer),
    );
    const inBand = settings.seal
      ? (/** @type {Bytes} */ peer, /** @type {Bytes} */ encoded) => this.sendInBand(peer, encoded)
      : null;
    const onCarried = () => (this.publish(), onPairs());
    this.courier = new Courier(calls, () => this.witness, inBand, onCarried);
    this.complaining = new Complaining(
      calls,
      () => this.witness,
      http,
      this.courier.changed,
      () => this.noteChange(),
      settings.backoffFirstS,
    );
  }

  /** Null before the first verified delta. */
  get witness() {
    return this.incoming.witness;
  }

  /** Throws NoiseError before the first verified delta. */
  neededWitness() {
    if (this.witness !== null) return this.witness;
    throw new NoiseError("no provider was ever verified: connect first", "no-provider");
  }

  // Called where the store's calls run

  /**
   * A witness for the provider that was just pinned, or that the store knows.
   * @param {Bytes} origin
   * @param {Trusted} trusted
   */
  async makeWitness(origin, trusted) {
    const witness = new Witness(this.store, this.device.deviceId, origin, trusted, this.settings.retention, nowMs);
    await witness.load();
    return witness;
  }

  /**
   * What a delivery says; as it is, when this client does not seal.
   * @param {Bytes} origin
   * @param {Delivery} delivery
   */
  async openSealed(origin, delivery) {
    return this.settings.seal ? this.sealer.open(origin, delivery) : asItIs(delivery);
  }

  /** A bundle leaves. */
  noteSent() {
    this.witness?.noteSent();
  }

  /** The provider did not take it. */
  noteRefusedBundle() {
    this.witness?.noteRefusedBundle();
  }

  /**
   * The provider owes us our own copy of these messages.
   * @param {Bundle} bundle
   * @param {Receipt} receipt
   */
  async noteReceipt(bundle, receipt) {
    await this.witness?.noteReceipt(bundle, receipt);
  }

  /** @param {Bytes} peer */
  gossipFor(peer) {
    return this.witness?.encodedView(peer) ?? new Uint8Array(0);
  }

  // Tasks

  /**
   * @param {Bytes} peer
   * @param {Bytes} encoded
   */
  async sendInBand(peer, encoded) {
    await this.outgoing.put([peer], encoded, PAYLOAD_GOSSIP);
  }

  /** Let everybody see the judgement as it is now. */
  publish() {
    if (this.witness !== null) this.verdicts.enter(this.witness.judgement);
  }

  /** The witness was handed something: a step, a receipt, a frame. */
  noteChange() {
    this.publish();
    this.courier.changed.notify();
  }

  /**
   * Until cancelled, also when the client has failed: peers may still ask.
   * @param {Scope} scope
   */
  async run(scope) {
    await scope.firstOf([
      (inner) => this.courier.run(inner, this.http),
      (inner) => this.courier.runLinks(inner),
      (inner) => this.runTabs(inner),
      ...(this.settings.complains ? [(/** @type {Scope} */ inner) => this.complaining.run(inner)] : []),
    ]);
  }

  /**
   * While the client has not failed: keep the provider supplied with keys, and notice when it is stale.
   * @param {Scope} scope
   */
  async runConnected(scope) {
    await scope.firstOf([
      (inner) => this.watchStaleness(inner),
      ...(this.settings.seal ? [(/** @type {Scope} */ inner) => this.supplyKeys(inner)] : []),
    ]);
  }

  /** @param {Scope} scope */
  async waitPinned(scope) {
    for (;;) {
      const changed = this.incoming.changed.wait();
      if (this.witness !== null) return this.witness;
      await scope.until(changed);
    }
  }

  /** @param {Scope} scope */
  async runTabs(scope) {
    const { origin } = await this.waitPinned(scope);
    await runTabLinks(scope, this.device, origin, (link, inner) => this.courier.runLink(link, inner));
  }

  /** @param {Scope} scope */
  async supplyKeys(scope) {
    const { origin } = await this.waitPinned(scope);
    await this.keys.run(scope, origin, this.http, () => this.incoming.isSynced);
  }

  /** @param {Scope} scope */
  async watchStaleness(scope) {
    let isStale = false;
    for (;;) {
      await scope.sleep(STALENESS_CHECK_S);
      const { witness } = this;
      const signed = witness?.trusted.rosters.at(-1);
      if (witness === null || signed === undefined) continue;
      const { heartbeat_ms, idle_ms } = ROSTER.decode(signed.body).parameters;
      const limitS = Math.max(this.settings.staleAfterS, (2 * (heartbeat_ms + idle_ms)) / 1000);
      const ageS = (performance.now() - this.incoming.grownAtMs) / 1000;
      if (ageS > limitS === isStale) continue;
      isStale = !isStale;
      const detail = `no newer epoch than ${witness.trusted.log.size - 1n} was verified for ${ageS.toFixed(0)} s`;
      const reason = isStale ? { code: "no-new-epoch", detail, accused: "" } : null;
      await this.calls.run(() => witness.setStale(reason));
      this.noteChange();
    }
  }

  /**
   * The provider says that it knows less than we have verified. Whether it can be convicted of that by now.
   * @param {Scope} scope
   * @param {string} detail
   */
  async noteLogBehind(scope, detail) {
    const { witness } = this;
    if (witness === null) return false;
    await this.calls.run(() => witness.suspect(LOG_BEHIND, LOG_BEHIND, detail));
    return this.audit(scope);
  }

  /**
   * Compare the provider's public log with what we hold of it. Whether a proof is kept.
   * @param {Scope} scope
   */
  async audit(scope) {
    try {
      await scope.limit(AUDIT_S, (inner) => this.courier.auditLog(inner, this.http));
    } catch (error) {
      if (!(error instanceof NoiseError || error instanceof TooSlow || error instanceof Cancelled)) throw error;
    }
    this.noteChange();
    return this.verdicts.value.verdict === "exposed";
  }
}
