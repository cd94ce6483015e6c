/**
 * The six checks of one delta, each a sentence, with the bytes folded away behind it.
 *
 * Knows nothing of how the sentences are made: that is `explain.js`.
 * @module
 */

/** @import { Check } from "./explain.js" */
import { h, icon } from "./elements.js";

/** @type {Record<string, string>} */
const QUESTIONS = {
  checkpoint: "Did the server sign this state of its log?",
  log: "Does the log continue what was seen before?",
  head: "Who answers for this mailbox?",
  map: "Is it the same mailbox for everybody?",
  history: "Is nothing left out, added or moved?",
  envelope: "Is it from who it says?",
};

/**
 * @param {Check[]} checks
 * @returns {HTMLOListElement}
 */
export function drawChecks(checks) {
  return h(
    "ol",
    { class: "checks" },
    ...checks.map((check) =>
      h(
        "li",
        { class: "check" },
        h("span", { class: "check-tick" }, icon("check")),
        h(
          "div",
          { class: "check-body" },
          h("p", { class: "check-name" }, h("b", null, check.name), " ", h("span", null, QUESTIONS[check.name])),
          h("p", null, check.sentence),
          drawBytes(`The bytes of the ${check.name}`, check.facts, check.statement),
        ),
      ),
    ),
  );
}

/**
 * A fold with values as they are, made when it is opened for the first time.
 * @param {string} title
 * @param {{ name: string, value: string }[]} facts
 * @param {unknown} statement
 */
export function drawBytes(title, facts, statement) {
  const fold = h("details", { class: "bytes" }, h("summary", null, title));
  fold.addEventListener(
    "toggle",
    () => {
      const list = facts.flatMap(({ name, value }) => [h("dt", null, name), h("dd", null, h("code", null, value))]);
      if (list.length) fold.append(h("dl", { class: "facts" }, ...list));
      if (statement !== null) {
        const text = JSON.stringify(statement, null, 2);
        fold.append(h("pre", { class: "statement", tabindex: 0, "aria-label": `${title}, decoded` }, text));
      }
    },
    { once: true },
  );
  return fold;
}
