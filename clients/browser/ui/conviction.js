/**
 * The page after a proof: what was caught, who did it, the contradiction, and the proof to take away.
 *
 * Knows nothing of how proofs come about.
 * @module
 */

/** @import { KeptProof } from "./contract.js" */
import { formatId } from "../protocol/identifiers.js";
import { contradictionsOf } from "./contradictions.js";
import { h, icon, newId, replaceContent, setText } from "./elements.js";
import { copyButton, download } from "./files.js";
import { drawContradiction, drawWay } from "./statements_view.js";
import { DEEDS, accusedText, bytesText, count } from "./wording.js";

/**
 * @param {KeptProof["verdict"]} verdict
 */
export function proofFileName(verdict) {
  return `noise-${verdict.kind}-${verdict.epoch}.proof`;
}

/**
 * "The server withheld a message from one of its recipients."
 * @param {KeptProof["verdict"]} verdict
 * @param {string} [provider] what to call it
 */
export function sentenceOf(verdict, provider = "The server") {
  return `${accusedText(verdict.accused, provider)} ${DEEDS[verdict.kind] ?? "contradicts itself"}.`;
}

/**
 * The proof that says most: of a lie, and with a name, and the first of those: what is shown stays.
 * @param {KeptProof[]} proofs
 * @returns {KeptProof | null}
 */
export function mostTelling(proofs) {
  const lies = proofs.filter(({ verdict }) => !verdict.is_suspicion);
  const named = lies.filter(({ verdict }) => verdict.accused !== "provider");
  return (named.length ? named : lies).at(0) ?? null;
}

/**
 * The two statements and the way, of a proof that was verified.
 * @param {Pick<KeptProof, "proof" | "verdict">} kept
 * @param {"h2" | "h3"} heading
 */
export function drawEvidence({ proof, verdict }, heading) {
  const [first, ...others] = contradictionsOf(proof, verdict).map((one) => drawContradiction(one, heading));
  return [first, ...drawWay(verdict.way, heading), ...others];
}

export class Conviction {
  /**
   * @param {Element} drawing of the pipeline, which stands here while there is something to show
   * @param {() => Promise<void>} reset starts an honest server; only where there is a button for it
   */
  constructor(drawing, reset) {
    this.drawing = drawing;
    this.reset = reset;
    this.heading = newId("conviction");
    this.element = h("section", { class: "conviction", "aria-labelledby": this.heading, hidden: true, tabindex: -1 });
    /** @type {KeptProof | null} */
    this.shown = null;
  }

  /**
   * @param {KeptProof} kept
   * @param {{ where: string, canReset: boolean }} circumstances `where`: a sentence about where the proof is
   */
  show(kept, { where, canReset }) {
    const { verdict } = kept;
    this.shown = kept;
    this.element.hidden = false;
    const hadFocus = this.element.contains(document.activeElement);
    const isNamed = verdict.accused !== "provider";
    replaceContent(
      this.element,
      h(
        "header",
        { class: "conviction-head" },
        h("span", { class: "conviction-sign" }, icon("cross")),
        h(
          "div",
          null,
          h("h1", { id: this.heading }, "This server lied, and it is proven."),
          h("p", { class: "conviction-deed" }, sentenceOf(verdict)),
          h(
            "p",
            { class: "conviction-by" },
            `${where} It is about epoch ${count(verdict.epoch)}. `,
            isNamed
              ? `Of all the server's parts, the proof names one: ${verdict.accused}.`
              : "The proof convicts the server. Which of its parts it was is being asked.",
          ),
        ),
      ),
      this.drawing,
      this.drawActions(kept, canReset),
      h("div", { class: "evidence" }, ...drawEvidence(kept, "h2")),
      h(
        "details",
        { class: "bytes" },
        h("summary", null, "The verdict, word by word"),
        h("p", { class: "verdict-detail" }, `${verdict.detail}.`),
      ),
    );
    if (hadFocus) this.element.focus({ preventScroll: true });
  }

  hide() {
    this.element.hidden = true;
    this.shown = null;
    replaceContent(this.element);
  }

  /**
   * @param {KeptProof} kept
   * @param {boolean} canReset whether an honest server can be asked for
   */
  drawActions({ proof, verdict }, canReset) {
    const name = proofFileName(verdict);
    const command = `noise verify ${name} --origin ${formatId(verdict.origin)}`;
    const save = h("button", { type: "button", class: "primary", on: { click: () => download(name, proof) } });
    save.append(icon("down"), "Download the proof");
    return h(
      "div",
      { class: "take-away" },
      h(
        "div",
        { class: "take-away-text" },
        h("p", null, "Do not take this page's word for it. The proof is a file that stands alone:"),
        h(
          "div",
          { class: "take-away-buttons" },
          save,
          h("span", { class: "small soft" }, `${name}, ${bytesText(proof.length)}`),
        ),
      ),
      h(
        "div",
        { class: "take-away-text" },
        h("p", null, "Verify it in a terminal, on any machine:"),
        h(
          "div",
          { class: "command" },
          h("code", null, ...inWords(command)),
          copyButton("Copy", () => command, "plain"),
        ),
      ),
      canReset ? this.drawReset() : null,
    );
  }

  drawReset() {
    const problem = h("p", { class: "small problem", role: "alert" }, "");
    const button = h("button", { type: "button" }, "Start again with an honest server");
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        await this.reset();
      } catch (error) {
        button.disabled = false;
        setText(problem, error instanceof Error ? error.message : "It did not work.");
      }
    });
    return h(
      "div",
      { class: "take-away-text" },
      h("p", null, "Nothing such a server says is worth having. Begin anew:"),
      button,
      problem,
    );
  }
}

/**
 * A command that is broken between its words only, as long as they fit.
 * @param {string} command
 */
function inWords(command) {
  return command.split(" ").flatMap((word, i) => [i ? " " : "", h("span", { class: "word" }, word)]);
}
