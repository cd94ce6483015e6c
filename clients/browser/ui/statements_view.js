/**
 * Signed statements side by side, with what contradicts highlighted; and the way of a message through the stages.
 *
 * Knows nothing of proof files: see `contradictions.js`.
 * @module
 */

/** @import { Contradiction, Field, Side } from "./contradictions.js" */
/** @import { Step } from "../protocol/evidence/verdict.js" */
import { drawBytes } from "./check_details.js";
import { h, icon } from "./elements.js";
import { count, fieldText, groupWay } from "./wording.js";

/**
 * @param {Contradiction} contradiction
 * @param {"h2" | "h3"} heading that fits where it is shown
 */
export function drawContradiction(contradiction, heading) {
  const under = heading === "h2" ? "h3" : "h4";
  return h(
    "section",
    { class: "contradiction" },
    h(heading, null, contradiction.title),
    h("div", { class: "sides" }, ...contradiction.sides.map((side) => drawSide(side, under))),
  );
}

/**
 * @param {Side} side
 * @param {"h3" | "h4"} heading
 */
function drawSide(side, heading) {
  const telling = side.fields.filter((field) => field.differs);
  const rest = side.fields.filter((field) => !field.differs);
  const when = side.epoch === null ? "" : `, in epoch ${count(side.epoch)}`;
  return h(
    "article",
    { class: side.isEmpty ? "side is-empty" : "side" },
    h("p", { class: "side-signer" }, "Signed by ", h("b", null, side.signer), when),
    h(heading, { class: "side-title" }, side.title),
    side.says ? h("p", { class: "side-says" }, side.says) : null,
    h("dl", { class: "fields" }, ...(telling.length ? telling : rest).map(drawField)),
    telling.length && rest.length
      ? h(
          "details",
          { class: "bytes" },
          h("summary", null, "Its other fields"),
          h("dl", { class: "fields" }, ...rest.map(drawField)),
        )
      : null,
    side.isEmpty ? null : drawBytes(`The whole statement of ${side.signer}`, [], side.statement),
  );
}

/** @param {Field} field */
function drawField(field) {
  const value = h("code", null, field.value);
  return h(
    "div",
    { class: field.differs ? "field differs" : "field" },
    h("dt", null, fieldText(field.name)),
    h("dd", null, field.differs ? h("mark", null, value) : value),
  );
}

/**
 * @param {readonly Step[]} way
 * @param {"h2" | "h3"} heading
 */
export function drawWay(way, heading) {
  return groupWay(way).map(({ title, steps }) =>
    h(
      "section",
      { class: "way" },
      h(heading, null, title),
      h(
        "ol",
        { class: "way-steps" },
        ...steps.map((step) =>
          h(
            "li",
            { class: step.is_lie ? "way-step is-lie" : "way-step" },
            h("b", null, step.actor),
            h("span", null, step.does),
            step.is_lie ? h("span", { class: "way-lie" }, icon("cross"), "the lie") : null,
          ),
        ),
      ),
    ),
  );
}
