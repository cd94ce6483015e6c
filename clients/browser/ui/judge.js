/**
 * Judges files, offline: proofs of misbehaviour, and views that other devices exported.
 *
 * Knows nothing of the server. A proof is judged by the verifier alone, against an origin that a person trusts.
 * @module
 */

/** @import { Bytes } from "../protocol/bytes.js" */
/** @import { Verdict } from "../protocol/evidence/verdict.js" */
/** @import { KeptProof } from "./contract.js" */
import { DecodeError, NoiseError } from "../protocol/errors.js";
import { PROOF, verifyProof } from "../protocol/evidence/proof.js";
import { formatId, parseId } from "../protocol/identifiers.js";
import { announceNow } from "./announcing.js";
import { drawEvidence, sentenceOf } from "./conviction.js";
import { showWide } from "./dialogs.js";
import { h, icon, newId, replaceContent, setText } from "./elements.js";
import { parsePasted, readFile, shownName } from "./files.js";
import { count } from "./wording.js";

/** No device is open that could compare a view. */
export const NO_DEVICE_CODE = "no-device";

const PROOF_RECORD_TYPE = 27;

/**
 * @typedef {object} JudgeListener
 * @property {() => string | null} origin of the page's provider
 * @property {(data: Bytes) => Promise<string>} importView says what came of it; throws NoiseError
 * @property {(proof: KeptProof) => void} onProof one that convicts the page's provider
 */

export class Judge {
  /** @param {JudgeListener} listener */
  constructor(listener) {
    this.listener = listener;
    /** @type {{ name: string, data: Bytes } | null} */
    this.file = null;
    this.origin = h("input", { type: "text", id: newId("origin"), autocomplete: "off", spellcheck: "false" });
    this.origin.addEventListener("change", () => void this.judgeAgain());
    this.result = h("div", { class: "judged", role: "status" });
    this.input = h("input", { type: "file", id: newId("file"), class: "unseen-input" });
    this.input.addEventListener("change", () => void this.takeFile(this.input.files?.[0]));
    this.pasted = h("textarea", { rows: 2, id: newId("pasted"), spellcheck: "false" });
    this.curtain = h(
      "div",
      { class: "curtain", hidden: true },
      h("p", null, icon("file"), "Drop it: it is judged here"),
    );
    this.element = this.draw();
  }

  draw() {
    const id = newId("judge");
    const judgePasted = h("button", { type: "button", on: { click: () => void this.takePasted() } }, "Judge this text");
    return h(
      "section",
      { class: "card judge", "aria-labelledby": id },
      h("h2", { id }, "Judge a file"),
      h("p", { class: "small soft" }, "A proof from anywhere, or what another device exported. No server is asked."),
      h(
        "div",
        { class: "drop" },
        this.input,
        h("label", { for: this.input.id }, icon("file"), "Choose a file, or drop it anywhere"),
      ),
      h(
        "details",
        { class: "more" },
        h("summary", null, "Paste text, or name another provider"),
        h("label", { for: this.pasted.id }, "The file as base64url"),
        this.pasted,
        judgePasted,
        h("label", { for: this.origin.id }, "Provider that you trust about its name (origin)"),
        this.origin,
      ),
      this.result,
    );
  }

  /** Files may be dropped anywhere on the page. */
  listen() {
    document.body.append(this.curtain);
    let depth = 0;
    const hasFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
    const raise = (/** @type {number} */ by) => {
      depth = Math.max(0, depth + by);
      this.curtain.hidden = depth === 0;
    };
    addEventListener("dragenter", (event) => hasFiles(event) && raise(1));
    addEventListener("dragleave", (event) => hasFiles(event) && raise(-1));
    addEventListener("dragover", (event) => {
      if (hasFiles(event)) event.preventDefault();
    });
    addEventListener("drop", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      raise(-depth);
      void this.takeFile(event.dataTransfer?.files[0]);
    });
  }

  /** @param {File | undefined} file */
  async takeFile(file) {
    if (file === undefined) return;
    this.input.value = "";
    try {
      this.file = { name: shownName(file), data: await readFile(file) };
    } catch (error) {
      this.show("unusable", shownName(file), error instanceof Error ? error.message : "It cannot be read");
      return;
    }
    await this.judgeAgain();
  }

  async takePasted() {
    try {
      this.file = { name: "the pasted text", data: parsePasted(this.pasted.value) };
    } catch {
      this.show("unusable", "The pasted text", "It is not base64url");
      return;
    }
    await this.judgeAgain();
  }

  async judgeAgain() {
    if (this.file === null) return;
    const { name, data } = this.file;
    const isProof = data.length > 1 && data[0] === 0 && data[1] === PROOF_RECORD_TYPE;
    this.element.scrollIntoView({ block: "nearest" });
    try {
      if (isProof) await this.judgeProof(name, data);
      else this.show("compared", name, await this.listener.importView(data));
    } catch (error) {
      if (!(error instanceof NoiseError)) throw error;
      const isNoFile = error instanceof DecodeError && error.code === "malformed";
      const isUnasked = error.code === NO_DEVICE_CODE;
      this.show(isUnasked ? "unasked" : isNoFile ? "unusable" : "nothing", name, `${error.detail} [${error.code}]`);
    }
  }

  /**
   * @param {string} name
   * @param {Bytes} data
   */
  async judgeProof(name, data) {
    const claimed = PROOF.decode(data).origin;
    const pasted = this.origin.value.trim();
    if (pasted && !isId(pasted)) {
      this.show("unusable", "The provider's name", "It has 43 letters");
      return;
    }
    const trusted = pasted || this.listener.origin();
    const verdict = await verifyProof(data, [pasted ? parseId(pasted) : claimed]);
    this.showVerdict(name, data, verdict, trusted === formatId(claimed));
    if (verdict.is_suspicion || formatId(claimed) !== this.listener.origin()) return;
    this.listener.onProof({ time_ms: BigInt(Date.now()), proof: data, verdict });
  }

  /**
   * @param {string} name
   * @param {Bytes} data
   * @param {Verdict} verdict
   * @param {boolean} isKnown whether somebody vouched for the origin: this page's server, or the person who pasted it
   */
  showVerdict(name, data, verdict, isKnown) {
    const convicted = isKnown ? "Convicted" : "It convicts a provider that nobody vouched for here";
    const title = verdict.is_suspicion ? "A suspicion, and no lie" : convicted;
    const origin = formatId(verdict.origin);
    const sentence = sentenceOf(verdict, origin === this.listener.origin() ? "The server" : "That provider");
    const isAlarm = isKnown && !verdict.is_suspicion;
    replaceContent(
      this.result,
      h("p", { class: "judged-title" }, icon(isAlarm ? "cross" : "warning"), h("b", null, title)),
      h("p", null, `${sentence} In epoch ${count(verdict.epoch)}.`),
      h(
        "p",
        { class: "small soft" },
        isKnown
          ? "It is about the provider that you know as "
          : "Anybody can make up a provider, and its lies. This one is ",
        h("code", { class: "wrap" }, origin),
        ".",
      ),
      h("p", { class: "small wrap" }, `${verdict.detail}.`),
      this.drawMore(data, verdict, sentence),
    );
    this.element.dataset.result = verdict.is_suspicion ? "suspicion" : isKnown ? "convicted" : "unvouched";
    announceNow(`${name}: ${title}. ${sentence}`);
  }

  /**
   * @param {Bytes} data
   * @param {Verdict} verdict
   * @param {string} title
   */
  drawMore(data, verdict, title) {
    const show = () => {
      const evidence = h("div", { class: "evidence" }, ...drawEvidence({ proof: data, verdict }, "h3"));
      void showWide(title, [evidence]);
    };
    return h("button", { type: "button", on: { click: show } }, "Show what contradicts what");
  }

  /**
   * @param {"unusable" | "unasked" | "nothing" | "compared"} result
   * @param {string} name
   * @param {string} text
   */
  show(result, name, text) {
    const titles = {
      unusable: "Nothing to judge",
      unasked: "It is no proof, and was not compared",
      nothing: "It proves nothing",
      compared: "Compared",
    };
    this.element.dataset.result = result;
    const sign = result === "compared" ? "check" : "warning";
    const why = h("p", { class: "small wrap" }, "");
    setText(why, `${name}: ${text}.`);
    replaceContent(this.result, h("p", { class: "judged-title" }, icon(sign), h("b", null, titles[result])), why);
  }
}

/** @param {string} text */
function isId(text) {
  try {
    parseId(text);
    return true;
  } catch {
    return false;
  }
}
