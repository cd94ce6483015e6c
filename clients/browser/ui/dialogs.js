/**
 * Questions that the page asks before it goes on, and what it shows in the middle of the screen.
 *
 * Knows nothing of what is asked.
 * @module
 */

import { h, newId, setText } from "./elements.js";

/**
 * @param {Node[]} content
 * @param {string} titleId
 * @param {string} [className]
 * @returns {Promise<string>} the value of the button that ended it; empty: cancelled
 */
function ask(content, titleId, className = "") {
  const dialog = h(
    "dialog",
    { class: className, "aria-labelledby": titleId },
    h("form", { method: "dialog" }, ...content),
  );
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue);
    });
  });
}

function cancelButton() {
  return h("button", { type: "submit", value: "", formnovalidate: true }, "Cancel");
}

/**
 * @param {{ title: string, text: string, action: string }} question
 * @returns {Promise<boolean>}
 */
export async function confirmFirst({ title, text, action }) {
  const id = newId("question");
  const act = h("button", { type: "submit", value: "yes", class: "danger" }, action);
  const answer = await ask(
    [
      h("h2", { id }, title),
      h("p", { class: "dialog-text" }, text),
      h("div", { class: "dialog-buttons" }, cancelButton(), act),
    ],
    id,
  );
  return answer === "yes";
}

/**
 * @typedef {object} TextQuestion
 * @property {string} title
 * @property {string} hint
 * @property {string} label
 * @property {string} action
 * @property {(value: string) => void} check throws an Error whose message says what is wrong
 */

/**
 * The text, or null when it was cancelled.
 * @param {TextQuestion} question
 * @returns {Promise<string | null>}
 */
export async function askForText({ title, hint, label, action, check }) {
  const id = newId("question");
  const input = h("input", {
    type: "text",
    id: newId("text"),
    autocomplete: "off",
    spellcheck: "false",
    required: true,
  });
  const problem = h("p", { class: "dialog-problem small", role: "alert" }, "");
  const act = h("button", { type: "submit", value: "yes", class: "primary" }, action);
  act.addEventListener("click", (event) => {
    try {
      check(input.value.trim());
    } catch (error) {
      event.preventDefault();
      setText(problem, error instanceof Error ? `${error.message}.` : "That is none.");
      input.focus();
    }
  });
  const answer = await ask(
    [
      h("h2", { id }, title),
      h("p", { class: "dialog-text" }, hint),
      h("label", { for: input.id }, label),
      input,
      problem,
      h("div", { class: "dialog-buttons" }, cancelButton(), act),
    ],
    id,
  );
  return answer === "yes" ? input.value.trim() : null;
}

/**
 * A choice among some, and what to do with it. Null when it was cancelled.
 * @param {{ title: string, hint: string, label: string, options: { value: string, text: string }[],
 *   actions: { value: string, text: string }[] }} question
 * @returns {Promise<{ choice: string, action: string } | null>}
 */
export async function askForChoice({ title, hint, label, options, actions }) {
  const id = newId("question");
  const select = h(
    "select",
    { id: newId("choice") },
    ...options.map(({ value, text }) => h("option", { value }, text)),
  );
  const action = await ask(
    [
      h("h2", { id }, title),
      h("p", { class: "dialog-text" }, hint),
      h("label", { for: select.id }, label),
      select,
      h(
        "div",
        { class: "dialog-buttons" },
        cancelButton(),
        ...actions.map(({ value, text }, i) => h("button", { type: "submit", value, class: i ? "" : "primary" }, text)),
      ),
    ],
    id,
  );
  return action ? { choice: select.value, action } : null;
}

/**
 * Something that needs more room than where it is asked for.
 * @param {string} title
 * @param {Node[]} content
 */
export async function showWide(title, content) {
  const id = newId("shown");
  const close = h("button", { type: "submit", value: "" }, "Close");
  await ask([h("h2", { id }, title), ...content, h("div", { class: "dialog-buttons" }, close)], id, "is-wide");
}
