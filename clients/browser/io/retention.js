/**
 * How long a client keeps what its provider has said: cumulative behind the stability cut, all of the tail after it, and
 * a window as the cap.
 *
 * Knows nothing of where it is kept. What is forgotten, the provider's signed history root still commits to. The SDK has
 * more policies; a page needs this one.
 * @module
 */

/** The cap: at 20 ms an epoch under full load some five hours, at one epoch a second eleven days. */
export const WINDOW_EPOCHS = 1_000_000n;

/**
 * What a policy may look at. `epochs`: of each kept record, by index, the first being record `firstK`. `stableK`: all
 * records before it are stable: with every recipient of their messages, a cut beyond them matched. `epoch`: the last one
 * that is verified. `neededK`: from there on records are needed, for an open dispute, or for a receipt still to come.
 * @typedef {{ firstK: bigint, epochs: bigint[], stableK: bigint, epoch: bigint, neededK: bigint }} Standing
 */

/**
 * The first record that is kept, from `firstK` on.
 * @typedef {(standing: Standing) => bigint} Policy
 */

/** @type {Policy} */
export function DEFAULT_POLICY({ firstK, epochs, stableK, epoch, neededK }) {
  const firstEpoch = epoch - WINDOW_EPOCHS + 1n;
  const capped = firstK + BigInt(epochs.filter((one) => one < firstEpoch).length);
  const stable = stableK < neededK ? stableK : neededK;
  return [firstK, stable, capped].reduce((most, one) => (one > most ? one : most));
}
