/**
 * The panel that makes the server lie: which lie, by whom, to whom, and how it went.
 *
 * Knows nothing of how lies are told, nor of how they are noticed.
 * @module
 */

/** @import { DemoState, Lie } from "./contract.js" */
import { announce } from "./announcing.js";
import { h, newId, replaceContent, setText } from "./elements.js";
import { count } from "./wording.js";

const HONEST = "No lie is armed: the server is honest.";
const GROUPS = ["drop", "alter", "reorder", "fork", "roll back", "more"];

/**
 * @typedef {object} PanelListener
 * @property {(name: string, by: string | null, victim: string | null) => Promise<void>} onLie
 * @property {() => { id: string, title: string }[]} victims
 */

export class LiarPanel {
  /** @param {PanelListener} listener */
  constructor(listener) {
    this.listener = listener;
    /** @type {Lie[]} */
    this.lies = [];
    this.chosen = "";
    this.caught = "";
    this.options = h("div", { class: "scroller lies-region", role: "radiogroup", "aria-label": "Lie" });
    this.by = h("select", { id: newId("by") });
    this.victim = h("select", { id: newId("victim") });
    this.tell = h("button", { type: "submit", class: "danger wide" }, "Make the server tell this lie");
    this.progress = h("ol", { class: "lie-progress" });
    this.problem = h("p", { class: "small problem", role: "alert" }, "");
    this.element = this.draw();
    this.state = "";
    this.isArmed = false;
    this.isPosting = false;
  }

  draw() {
    const id = newId("liar");
    const form = h(
      "form",
      null,
      this.options,
      h(
        "div",
        { class: "lie-choices" },
        h("div", null, h("label", { for: this.by.id }, "Who lies"), this.by),
        h("div", null, h("label", { for: this.victim.id }, "To whom"), this.victim),
      ),
      this.tell,
      this.problem,
      this.progress,
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.submit();
    });
    return h(
      "section",
      { class: "card liar", "aria-labelledby": id },
      h("h2", { id }, "Make the server lie"),
      h("p", { class: "small soft" }, "This server has its own lies built in. Choose one, and watch what comes of it."),
      form,
    );
  }

  async submit() {
    if (this.tell.disabled) return;
    setText(this.problem, "");
    this.isPosting = true;
    this.showTell();
    try {
      await this.listener.onLie(this.chosen, this.by.value || null, this.victim.value || null);
    } catch (error) {
      setText(this.problem, error instanceof Error ? `Not done: ${error.message}` : "Not done.");
    }
    this.isPosting = false;
    this.showTell();
  }

  /** @param {DemoState} state */
  show(state) {
    if (JSON.stringify(state.lies) !== JSON.stringify(this.lies)) {
      this.lies = state.lies;
      this.drawLies();
    }
    this.showProgress(state);
  }

  drawLies() {
    const lies = [...this.lies].sort((a, b) => GROUPS.indexOf(a.group) - GROUPS.indexOf(b.group));
    replaceContent(this.options, ...lies.map((lie) => this.drawLie(lie)));
    if (!lies.length) return;
    /** @type {HTMLInputElement} */ (this.options.querySelector("input")).checked = true;
    this.chooseLie(lies[0]);
  }

  /** @param {Lie} lie */
  drawLie(lie) {
    const id = newId("lie");
    const input = h("input", { type: "radio", name: "lie", value: lie.name, "aria-describedby": id });
    input.addEventListener("change", () => this.chooseLie(lie));
    return h(
      "div",
      { class: "lie" },
      h("label", null, input, h("span", null, lie.title)),
      h("p", { class: "small soft", id }, lie.summary),
    );
  }

  /** @param {Lie} lie */
  chooseLie(lie) {
    this.chosen = lie.name;
    const options = lie.by.map((role) => h("option", { value: role }, `a ${role}`.replace(/^a ([aeiou])/, "an $1")));
    replaceContent(this.by, ...(options.length ? options : [h("option", { value: "" }, "the server as a whole")]));
    this.by.disabled = options.length < 2;
  }

  /** The devices of the page are others than before. */
  showVictims() {
    const before = this.victim.value;
    const victims = this.listener.victims();
    replaceContent(this.victim, ...victims.map(({ id, title }) => h("option", { value: id }, title)));
    if (victims.some(({ id }) => id === before)) this.victim.value = before;
    this.victim.disabled = victims.length < 2;
    this.showTell();
  }

  /** One lie at a time, and only to somebody. */
  showTell() {
    this.tell.disabled = this.isPosting || this.isArmed || !this.victim.options.length;
  }

  /** @param {string} proof in words; empty: there is none */
  showCaught(proof) {
    this.caught = proof;
  }

  /** @param {DemoState} state */
  showProgress({ lie, lies }) {
    const title = lies.find(({ name }) => name === lie?.name)?.title ?? lie?.name ?? "";
    const told = lie?.told.at(-1);
    const steps = lie === null ? [HONEST] : [`Armed: “${title}”. It waits for its chance.`];
    if (lie?.state === "served") steps.push("Served: the server shows what it made up.");
    if (told) steps.push(`Told${told.by === null ? "" : ` by ${told.by}`}, in epoch ${count(BigInt(told.epoch))}.`);
    if (lie !== null && this.caught) steps.push(`Caught. ${this.caught}`);
    const shown = steps.join("\n");
    this.isArmed = lie !== null;
    this.showTell();
    if (shown === this.state) return;
    this.state = shown;
    replaceContent(this.progress, ...steps.map((text) => h("li", null, text)));
    this.element.dataset.lie = lie === null ? "" : this.caught ? "caught" : lie.state;
    if (lie !== null) announce(steps[steps.length - 1]);
  }
}
