/**
 * What a screen reader is told without being asked.
 *
 * Knows nothing of why. The two live regions are in index.html from the beginning, as screen readers need it.
 * @module
 */

const INTERVAL_MS = 1000;

/** What is said next. @type {{ text: string, isMinor: boolean } | null} */
let next = null;

/**
 * Says something to a screen reader, when it has nothing else to say: once a second at most. Of several within a second
 * the last counts, but what is minor gives way to what is not.
 * @param {string} text
 * @param {{ isMinor?: boolean }} [options]
 */
export function announce(text, { isMinor = false } = {}) {
  if (next === null) setTimeout(sayNext, INTERVAL_MS);
  else if (isMinor && !next.isMinor) return;
  next = { text, isMinor };
}

function sayNext() {
  if (next !== null) write("polite", next.text);
  next = null;
}

/**
 * Says something to a screen reader at once.
 * @param {string} text
 */
export function announceNow(text) {
  write("assertive", text);
}

/**
 * @param {string} id
 * @param {string} text
 */
function write(id, text) {
  const region = document.getElementById(id);
  if (region !== null) region.textContent = text;
}
