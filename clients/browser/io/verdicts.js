/**
 * What a client makes of its provider: ok, stale, suspected or exposed, and why.
 *
 * Knows nothing of how anything was found out. A suspicion is a hint: a peer's word, or something that an honest provider
 * has no reason for. Exposed is a proof, which strangers verify. Delivery goes on under every verdict, for as long as what
 * is delivered verifies.
 * @module
 */

/** Of each verdict: anybody can make up differences, and one is enough. */
export const REASONS_MAX = 16;

/**
 * "ok": everything that was compared agrees. "stale": nothing newer was verified for too long: the provider, or the way to
 * it, is down or withholds. "suspected": something does not fit, and nothing is proven. "exposed": a proof is kept.
 * @typedef {"ok" | "stale" | "suspected" | "exposed"} Verdict
 */

/**
 * `code`: stable. `detail`: for a person. `accused`: "provider", or the one actor of it that the reason is about; empty:
 * nobody is named.
 * @typedef {{ code: string, detail: string, accused: string }} Reason
 */

/**
 * The verdict, and the reasons for it and for the lesser ones.
 * @typedef {{ verdict: Verdict, reasons: Reason[] }} Judgement
 */

/** @type {Judgement} */
export const FINE = { verdict: "ok", reasons: [] };

/** Reasons as they come and go. `judgement` is replaced, never changed. */
export class Docket {
  constructor() {
    this.judgement = FINE;
    /** @type {Map<Verdict, Map<string, Reason>>} the gravest first */
    this.reasons = new Map([
      ["exposed", new Map()],
      ["suspected", new Map()],
      ["stale", new Map()],
    ]);
  }

  /**
   * A reason under a known key replaces the other. Beyond REASONS_MAX of one verdict, new ones are not listed.
   * @param {Verdict} verdict
   * @param {string} key
   * @param {Reason} reason
   */
  add(verdict, key, reason) {
    const reasons = this.reasons.get(verdict);
    if (reasons === undefined || (!reasons.has(key) && reasons.size >= REASONS_MAX)) return;
    reasons.set(key, reason);
    this.renew();
  }

  /**
   * A reason that does not hold any more, if it was there.
   * @param {Verdict} verdict
   * @param {string} key
   */
  remove(verdict, key) {
    if (this.reasons.get(verdict)?.delete(key)) this.renew();
  }

  renew() {
    const found = [...this.reasons].filter(([, reasons]) => reasons.size);
    const reasons = found.flatMap(([, some]) => [...some.values()]);
    this.judgement = found.length ? { verdict: found[0][0], reasons } : FINE;
  }
}
