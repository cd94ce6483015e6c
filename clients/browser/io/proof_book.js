/**
 * Proofs of misbehaviour that we hold: each verified as a stranger would verify it, before it counts.
 *
 * Knows nothing of how a proof came about, or of who is told. What it proves silence by is no lie, and exposes nobody.
 * @module
 */

/** @import { Bytes } from "../protocol/bytes.js" */
/** @import { Verdict as ProofVerdict } from "../protocol/evidence/verdict.js" */
/** @import { TrustStore } from "./trust_store.js" */
/** @import { Docket } from "./verdicts.js" */
import { equal, toHex } from "../protocol/bytes.js";
import { hashComplaint } from "../protocol/challenges.js";
import { NoiseError } from "../protocol/errors.js";
import { openProof } from "../protocol/evidence/kinds.js";
import { KINDS, verifyProof } from "../protocol/evidence/proof.js";
import { PROVIDER } from "../protocol/evidence/verdict.js";
import { PROOFS_MAX } from "./evidence_store.js";

/** The suspicion that an actor does not show what it did, though it was asked for everybody to see. */
export const UNRESPONSIVE = "unresponsive";

const CASES_MAX = 16;

/** Places for suspicions, and for more of a class and accused that is known: what names another actor needs room. */
const REPEATED_MAX = PROOFS_MAX / 2;

/** Members of findings that hold another proof, by class. @type {Record<string, string>} */
const CASE_IN = { BlameTrail: "case", Admission: "proof" };

/**
 * What a proof is to us. `verdict`: what it convicts of, or why an actor is suspected. `news`: "known": there is one of its
 * class, accused and epoch, or no place for it; "another": the first of its epoch, but not of its class and accused;
 * "first": of its class and accused.
 * @typedef {{ verdict: ProofVerdict, news: "known" | "another" | "first" }} Ruling
 */

/** Calls the store; `load` it first. `cases`: proofs that convict the provider, and name none of its actors yet. */
export class ProofBook {
  /**
   * @param {TrustStore} store
   * @param {Bytes} origin
   * @param {Docket} docket
   * @param {() => number} timeMs
   */
  constructor(store, origin, docket, timeMs) {
    /** @type {Bytes[]} */
    this.cases = [];
    this.store = store;
    this.origin = origin;
    this.docket = docket;
    this.timeMs = timeMs;
    /** @type {Map<string, ProofVerdict>} */
    this.verdicts = new Map();
    /** @type {Set<string>} lies that another proof explains */
    this.explained = new Set();
  }

  /** Take what the store holds. Throws NoiseError when that is damaged. */
  async load() {
    for (const { proof } of this.store.proofs()) {
      const { verdict, explained } = await this.open(proof);
      this.note(proof, verdict, explained);
    }
  }

  /**
   * Store what convicts or is a reason to suspect, if it is news. Null: it proves nothing.
   * @param {Bytes} proof
   * @returns {Promise<Ruling | null>}
   */
  async keep(proof) {
    const known = this.verdicts.get(keyOf(proof));
    if (known !== undefined) return { verdict: known, news: "known" };
    let opened;
    try {
      opened = await this.open(proof);
    } catch (error) {
      if (error instanceof NoiseError) return null;
      throw error;
    }
    const { verdict, explained } = opened;
    const isFirst = this.isFirst(verdict);
    const isRepeated = verdict.is_suspicion || !isFirst;
    if (
      [...this.verdicts.values()].some((one) => lieOf(one) === lieOf(verdict)) ||
      (isRepeated && this.verdicts.size >= REPEATED_MAX) ||
      !this.store.saveProof({ time_ms: BigInt(this.timeMs()), proof })
    ) {
      return { verdict, news: "known" };
    }
    this.note(proof, verdict, explained);
    return { verdict, news: isFirst ? "first" : "another" };
  }

  /**
   * Nobody is to be asked about it any more.
   * @param {Bytes} proof
   */
  dropCase(proof) {
    this.cases = this.cases.filter((one) => !equal(one, proof));
  }

  /**
   * The first that we had: those that convict before those that do not.
   * @param {number} count
   */
  proofs(count) {
    const kept = this.store.proofs().map((one) => one.proof);
    const isSuspicion = (/** @type {Bytes} */ proof) => Boolean(this.verdicts.get(keyOf(proof))?.is_suspicion);
    return [...kept.filter((proof) => !isSuspicion(proof)), ...kept.filter(isSuspicion)].slice(0, count);
  }

  /**
   * What a proof that is kept proves.
   * @param {Bytes} proof
   */
  verdictOf(proof) {
    return this.verdicts.get(keyOf(proof)) ?? null;
  }

  /**
   * What it proves, and what the proof in it proves that it explains. Throws NoiseError.
   * @param {Bytes} data
   * @returns {Promise<{ verdict: ProofVerdict, explained: string | null }>}
   */
  async open(data) {
    const { proof, finding, verdict } = await openProof(data, [this.origin], KINDS);
    const inner = CASE_IN[proof.kind];
    const explained = inner === undefined ? null : lieOf(await verifyProof(finding.body[inner], [this.origin]));
    return { verdict, explained };
  }

  /**
   * @param {Bytes} proof
   * @param {ProofVerdict} verdict
   * @param {string | null} explained
   */
  note(proof, verdict, explained) {
    const { kind, accused, detail, is_suspicion } = verdict;
    if (this.isFirst(verdict)) {
      const reason = { code: is_suspicion ? UNRESPONSIVE : kind, detail, accused };
      this.docket.add(is_suspicion ? "suspected" : "exposed", `${kind} of ${accused}`, reason);
    }
    this.verdicts.set(keyOf(proof), verdict);
    if (explained !== null) this.explained.add(explained);
    if (accused === PROVIDER && this.cases.length < CASES_MAX) this.cases = [...this.cases, proof];
    this.cases = this.cases.filter((one) => {
      const lie = this.verdictOf(one);
      return lie !== null && !this.explained.has(lieOf(lie));
    });
  }

  /** @param {ProofVerdict} verdict */
  isFirst({ kind, accused }) {
    return [...this.verdicts.values()].every((one) => one.kind !== kind || one.accused !== accused);
  }
}

/** @param {Bytes} proof */
function keyOf(proof) {
  return toHex(hashComplaint(proof));
}

/**
 * Which one it is: another proof of the same says nothing new.
 * @param {ProofVerdict} verdict
 */
function lieOf({ kind, accused, origin, epoch }) {
  return `${kind} ${accused} ${toHex(origin)} ${epoch}`;
}
