/**
 * Asks a provider that is convicted which of its actors lied, and challenges in its log those that do not say.
 *
 * Knows nothing of who may be blamed for what: `protocol/inquiry.js` judges, and believes no answer. One complaint at a
 * time, in a task of its own, each bounded and tried again ever more seldom: a provider that answers nothing, nonsense, or
 * slowly keeps nobody waiting. What is found out is handed to the witness.
 * @module
 */

/** @import { Bytes } from "../protocol/bytes.js" */
/** @import { SignedRoster } from "../protocol/delta.js" */
/** @import { Blame } from "../protocol/evidence/blame.js" */
/** @import { OpenChallenge } from "../protocol/inquiry.js" */
/** @import { Changed } from "./changed.js" */
/** @import { ProviderHttp } from "./provider_http.js" */
/** @import { Scope } from "./scope.js" */
/** @import { StoreCalls } from "./serial.js" */
/** @import { Witness } from "./witness.js" */
import { compare, equal, same, toHex } from "../protocol/bytes.js";
import { CHALLENGE, CHALLENGE_STATE, hashChallenge } from "../protocol/challenges.js";
import { NoiseError } from "../protocol/errors.js";
import { UNRESPONSIVE, questionsOf } from "../protocol/evidence/blame.js";
import { PROOF } from "../protocol/evidence/proof.js";
import { parseSeq } from "../protocol/identifiers.js";
import { Inquiry } from "../protocol/inquiry.js";
import { ROSTER, openRoster } from "../protocol/statements.js";
import { Backoff } from "./backoff.js";
import { ClientClosed, LinkError, ignoringNoise } from "./errors.js";
import { Cancelled, TooSlow } from "./scope.js";

/** For one try, with all its questions. */
const COMPLAINT_S = 120;

const RETRY_MAX_S = 600;

/** Challenges whose receipts are kept: they convict a sequencer that hides one. */
const OPENED_MAX = 64;

const ROSTERS_MAX = 64;

/** `dueEpoch`: when this is verified, there may be more to find out. @typedef {{ blame: Blame, dueEpoch: bigint }} Found */

/** When a case is looked at again: not before a moment, and not before an epoch is verified. */
class Later {
  /** @param {number} firstS */
  constructor(firstS) {
    this.backoff = new Backoff(firstS, RETRY_MAX_S);
    this.dueMs = performance.now();
    this.dueEpoch = -1n;
  }

  /** @param {bigint} dueEpoch */
  putOff(dueEpoch) {
    this.dueMs = performance.now() + 1000 * this.backoff.nextS();
    this.dueEpoch = dueEpoch;
  }
}

export class Complaining {
  /**
   * `changed`: whenever the witness was handed something. `onFound`: called after the witness was handed what a complaint
   * led to.
   * @param {StoreCalls} calls
   * @param {() => Witness | null} witness
   * @param {ProviderHttp} http
   * @param {Changed} changed
   * @param {() => void} onFound
   * @param {number} retryFirstS
   */
  constructor(calls, witness, http, changed, onFound, retryFirstS) {
    this.calls = calls;
    this.witness = witness;
    this.http = http;
    this.changed = changed;
    this.onFound = onFound;
    this.retryFirstS = retryFirstS;
    /** @type {Map<string, { proof: Bytes, later: Later }>} */
    this.waiting = new Map();
    /** @type {Map<string, OpenChallenge>} */
    this.opened = new Map();
    /** @type {Promise<unknown>} */
    this.last = Promise.resolve();
  }

  /**
   * Complain about whatever the witness can prove of the provider, and of none of its actors. Until cancelled.
   * @param {Scope} scope
   */
  async run(scope) {
    for (;;) {
      const changed = this.changed.wait();
      const witness = this.witness();
      const cases = new Map((witness?.cases ?? []).map((proof) => [toHex(proof), proof]));
      for (const key of this.waiting.keys()) if (!cases.has(key)) this.waiting.delete(key);
      for (const [key, proof] of cases) {
        if (!this.waiting.has(key)) this.waiting.set(key, { proof, later: new Later(this.retryFirstS) });
      }
      const size = witness?.trusted.log.size ?? 0n;
      const [next] = [...this.waiting.values()]
        .filter(({ later }) => later.dueEpoch < size)
        .sort((a, b) => a.later.dueMs - b.later.dueMs);
      const waitMs = next ? next.later.dueMs - performance.now() : 0;
      if (witness === null || !next) await scope.until(changed);
      else if (waitMs <= 0) await this.try(scope, witness, next.proof, next.later);
      else await scope.nest((inner) => Promise.race([inner.until(changed), inner.sleep(waitMs / 1000)]));
    }
  }

  /**
   * @param {Scope} scope
   * @param {Witness} witness
   * @param {Bytes} proof
   * @param {Later} later
   */
  async try(scope, witness, proof, later) {
    let dueEpoch = -1n;
    try {
      ({ dueEpoch } = await scope.limit(COMPLAINT_S, (inner) => this.complainTo(inner, witness, proof)));
    } catch (error) {
      if (!(error instanceof NoiseError || error instanceof TooSlow)) throw error;
    }
    later.putOff(dueEpoch);
  }

  /**
   * Ask all actors about a proof, now. Throws NoiseError when it convicts nobody, or the provider takes none, or is slow.
   * @param {Scope} scope
   * @param {Bytes} proof
   */
  async complain(scope, proof) {
    const witness = this.witness();
    if (witness === null) throw new NoiseError("no provider was ever verified: connect first", "no-provider");
    try {
      return (await scope.limit(COMPLAINT_S, (inner) => this.complainTo(inner, witness, proof))).blame;
    } catch (error) {
      if (error instanceof Cancelled) throw new ClientClosed("the client was closed");
      if (!(error instanceof TooSlow)) throw error;
      throw new LinkError("the provider's actors did not answer in time", { code: "link-silent" });
    }
  }

  /**
   * One at a time.
   * @param {Scope} scope
   * @param {Witness} witness
   * @param {Bytes} proof
   * @returns {Promise<Found>}
   */
  async complainTo(scope, witness, proof) {
    const turn = this.last.then(() => this.ask(scope, witness, proof));
    this.last = turn.catch(() => {});
    const found = await turn;
    if (found.blame.kind !== UNRESPONSIVE) await this.calls.run(() => witness.noteBlame(proof, found.blame.proof));
    this.onFound();
    return found;
  }

  /**
   * @param {Scope} scope
   * @param {Witness} witness
   * @param {Bytes} proof
   * @returns {Promise<Found>}
   */
  async ask(scope, witness, proof) {
    scope.check();
    const questions = await questionsOf(proof, witness.origin);
    if (!questions.length) {
      const inquiry = await Inquiry.open(witness.origin, proof, []);
      return { blame: await inquiry.judge(), dueEpoch: -1n };
    }
    const { http } = this;
    const rosters = await this.collectRosters(scope, witness, proof);
    const firstEpoch = questions.map(({ seq }) => parseSeq(seq)[0]).reduce((a, b) => (a < b ? a : b));
    if (!rosters.length || ROSTER.decode(rosters[0].body).valid_from_epoch > firstEpoch) {
      throw new NoiseError("no roster is shown that was in force when this happened", "no-roster");
    }
    const inquiry = await Inquiry.open(witness.origin, proof, rosters);
    const complaint = await scope.until(http.complain(proof));
    for (const admission of complaint.admissions) await inquiry.takeAdmission(admission);
    for (const epoch of inquiry.epochs()) {
      await ignoringNoise(async () => inquiry.takeStatements(await scope.until(http.statements(epoch))));
    }
    for (const actor of inquiry.actors()) {
      // who does not answer is challenged
      const asked = () => scope.until(http.custody(complaint.complaint_id, actor));
      await ignoringNoise(async () => inquiry.takeAnswers(await asked()));
    }
    const blame = await inquiry.judge();
    if (blame.kind !== UNRESPONSIVE) return { blame, dueEpoch: -1n };
    return this.challenge(scope, witness, inquiry, complaint.complaint_id, blame);
  }

  /**
   * Ask the silent actor in the log, once, and look what came of it.
   * @param {Scope} scope
   * @param {Witness} witness
   * @param {Inquiry} inquiry
   * @param {Bytes} complaintId
   * @param {Blame} blame
   * @returns {Promise<Found>}
   */
  async challenge(scope, witness, inquiry, complaintId, blame) {
    const challenge = inquiry.challenge(blame);
    const body = CHALLENGE.encode(challenge);
    const key = hashChallenge(body);
    let opened = this.opened.get(toHex(key));
    if (opened === undefined) {
      const receipt = await scope.until(this.http.openChallenge(complaintId, body));
      opened = await inquiry.checkReceipt(challenge, receipt);
      this.opened.set(toHex(key), opened);
      const [oldest] = this.opened.keys();
      if (this.opened.size > OPENED_MAX) this.opened.delete(oldest);
    }
    const status = await scope.until(this.http.challengeStatus(complaintId, key));
    const found = await inquiry.takeStatus(opened, status, blame);
    if (found !== null) return { blame: found, dueEpoch: -1n };
    if (!status.answer.length) return { blame, dueEpoch: dueEpochOf(witness, status.state) };
    const again = await inquiry.judge();
    const isOther = again.actor !== blame.actor || !same(again.question, blame.question);
    if (again.kind === UNRESPONSIVE && isOther) return this.challenge(scope, witness, inquiry, complaintId, again);
    return { blame: again, dueEpoch: -1n };
  }

  /**
   * Those that the proof needs, those that we trust, and what the provider shows of others, in order.
   * @param {Scope} scope
   * @param {Witness} witness
   * @param {Bytes} proof
   */
  async collectRosters(scope, witness, proof) {
    const shown = [...PROOF.decode(proof).rosters, ...witness.trusted.rosters];
    await ignoringNoise(async () => {
      shown.push(...(await scope.until(this.http.rosters())).slice(-ROSTERS_MAX));
    });
    return orderRosters(witness.origin, shown);
  }
}

/**
 * Those that are the origin's own, by version.
 * @param {Bytes} origin
 * @param {SignedRoster[]} shown
 */
async function orderRosters(origin, shown) {
  /** @type {{ signed: SignedRoster, version: number }[]} */
  const opened = [];
  for (const signed of shown) {
    if (opened.some((one) => equal(one.signed.body, signed.body) && equal(one.signed.signature, signed.signature)))
      continue;
    await ignoringNoise(async () => {
      opened.push({ signed, version: (await openRoster(signed, origin)).version });
    });
  }
  opened.sort((a, b) => a.version - b.version || compare(a.signed.body, b.signed.body));
  return opened.map(({ signed }) => signed);
}

/**
 * The deadline of a challenge in this state; -1: it is not known. No later than an honest one can be.
 * @param {Witness} witness
 * @param {Bytes} state
 */
function dueEpochOf({ trusted }, state) {
  const signed = trusted.rosters.at(-1);
  if (!state.length || signed === undefined) return -1n;
  const latest = trusted.log.size + BigInt(ROSTER.decode(signed.body).parameters.challenge_epochs);
  const { deadline_epoch } = CHALLENGE_STATE.decode(state);
  return deadline_epoch < latest ? deadline_epoch : latest;
}
