/**
 * One device on the page: who it is, how fresh its view of the server is, its conversation, checks and pairs.
 *
 * Knows nothing of other devices. It shows one client, and tells the page what concerns all.
 * @module
 */

/** @import { Roster } from "../protocol/statements.js" */
/** @import { Client, ClientEvent, DeltaSeen, KeptProof } from "./contract.js" */
/** @import { Names } from "./names.js" */
/** @import { Shown } from "./wording.js" */
import { base64url } from "../protocol/json_text.js";
import { formatId } from "../protocol/identifiers.js";
import { ChecksList } from "./checks_list.js";
import { Conversation } from "./conversation.js";
import { askForChoice } from "./dialogs.js";
import { h, icon, newId, replaceContent, setText } from "./elements.js";
import { explain } from "./explain.js";
import { copyButton, download } from "./files.js";
import { titleOf } from "./names.js";
import { PairsList } from "./pairs_list.js";
import { STANDINGS, STATE_WORDS, agoText, count, gravestOf, shortId } from "./wording.js";

const FRESHNESS_MS = 250;

/**
 * @typedef {object} PaneListener
 * @property {(seen: DeltaSeen) => void} onDelta
 * @property {(pane: DevicePane, proof: KeptProof) => void} onProof
 * @property {(pane: DevicePane) => void} onStanding it stands otherwise to the server than before
 * @property {(pane: DevicePane) => void} onReopen the person wants a stopped one to go on
 * @property {(pane: DevicePane) => void} onForget
 */

export class DevicePane {
  /**
   * @param {string} name
   * @param {Client} client
   * @param {Names} names
   * @param {PaneListener} listener
   */
  constructor(name, client, names, listener) {
    this.name = name;
    this.title = titleOf(name);
    this.client = client;
    this.deviceId = formatId(client.deviceId);
    this.names = names;
    this.listener = listener;
    const explained = (/** @type {DeltaSeen} */ seen) => this.explain(seen);
    this.conversation = new Conversation({
      title: this.title,
      deviceId: this.deviceId,
      names,
      explain: explained,
      send: (recipients, data) => client.send(recipients, data),
    });
    this.checks = new ChecksList(this.title, explained);
    this.pairs = new PairsList(this.title, names, () => client.pairs());
    this.stateText = h("span", null, "");
    this.statePill = h("span", { class: "pill" }, this.stateText);
    this.freshness = h("span", { class: "number" }, "nothing verified yet");
    this.standingText = h("span", { class: "pane-standing" });
    this.noticeText = h("span", { role: "status" }, "");
    const reopen = () => this.listener.onReopen(this);
    this.reopening = h("button", { type: "button", hidden: true, on: { click: reopen } }, "Open again");
    this.notice = h("p", { class: "pane-notice small" }, this.noticeText, " ", this.reopening);
    this.heading = h("h2", { id: newId("device"), tabindex: -1 }, this.title);
    /** @type {Shown} */
    this.stood = "none";
    this.isCompared = false;
    this.element = this.draw();
    this.showAll();
    this.timer = setInterval(() => this.showFreshness(), FRESHNESS_MS);
    this.unsubscribe = client.subscribe((event) => this.onEvent(event));
  }

  draw() {
    const { deviceId } = this;
    const exporting = h("button", { type: "button", class: "plain", on: { click: () => void this.exportView() } });
    exporting.append("Export");
    const forgetting = h("button", {
      type: "button",
      class: "plain",
      on: { click: () => this.listener.onForget(this) },
    });
    forgetting.append("Forget");
    return h(
      "section",
      { class: "pane", "aria-labelledby": this.heading.id, "data-device": this.name },
      h(
        "header",
        { class: "pane-head" },
        h(
          "div",
          { class: "pane-who" },
          this.heading,
          copyButton(shortId(deviceId), () => deviceId, "plain id"),
        ),
        h("div", { class: "pane-state" }, this.statePill, this.freshness),
        h("div", { class: "pane-actions" }, this.standingText, exporting, forgetting),
      ),
      this.notice,
      h(
        "div",
        { class: "pane-body" },
        this.conversation.element,
        h("div", { class: "pane-side" }, this.checks.element, this.pairs.element),
      ),
    );
  }

  showAll() {
    for (const message of this.client.messages()) this.conversation.add(message);
    for (const sending of this.client.unsent()) this.conversation.showSending(sending);
    this.pairs.request();
    this.noteCompared();
    this.showState();
    this.showStanding();
    this.showFreshness();
    this.showNotice();
  }

  /** How it stands to the server, by all that it says of itself. @returns {Shown} */
  get standing() {
    const { failure, freshness, judgement, state } = this.client;
    const hasStopped = failure !== null || state === "closed";
    return gravestOf([judgement.verdict, hasStopped ? "stopped" : "ok", freshness === null ? "none" : "ok"]);
  }

  /** @param {ClientEvent} event */
  onEvent(event) {
    this.show(event);
    const hadCompared = this.isCompared;
    if (event.kind === "pairs") this.noteCompared();
    if (event.kind !== "judgement" && this.standing === this.stood && this.isCompared === hadCompared) return;
    this.showStanding();
    this.listener.onStanding(this);
  }

  /** Whether any peer has found that the server told both the same. */
  noteCompared() {
    this.isCompared ||= this.client.pairs().some(({ matchedEpoch }) => matchedEpoch !== null);
  }

  /** @param {ClientEvent} event */
  show(event) {
    switch (event.kind) {
      case "delta":
        this.checks.add(event.seen);
        this.conversation.addChecked(event.seen);
        this.listener.onDelta(event.seen);
        return;
      case "message":
        this.learn(event.message.sender);
        this.conversation.add(event.message);
        return;
      case "sending":
        this.conversation.showSending(event.sending);
        return;
      case "pairs":
        this.pairs.request();
        return;
      case "proof":
        this.listener.onProof(this, event.proof);
        return;
      default:
        this.showState();
        this.showNotice();
    }
  }

  /** @param {Uint8Array} sender */
  learn(sender) {
    const id = formatId(sender);
    if (id !== this.deviceId) this.names.addOther(id);
  }

  /** @param {DeltaSeen} seen */
  explain(seen) {
    const roster = /** @type {Roster | null} */ (this.client.roster);
    return explain(seen, roster, (id) => (formatId(id) === this.deviceId ? "this device" : this.names.ofBytes(id)));
  }

  /** The page knows other names than before. */
  onNames() {
    this.conversation.recipients.request();
    this.pairs.request();
  }

  showState() {
    const { state } = this.client;
    this.element.dataset.state = state;
    setText(this.stateText, STATE_WORDS[state]);
  }

  showStanding() {
    this.stood = this.standing;
    this.element.dataset.verdict = this.stood;
    const { title, icon: name } = STANDINGS[this.stood];
    replaceContent(this.standingText, icon(name), h("span", null, title));
  }

  showFreshness() {
    const { freshness } = this.client;
    if (freshness === null) return;
    setText(this.freshness, `epoch ${count(freshness.epoch)} verified ${agoText(Date.now() - freshness.heardAtMs)}`);
  }

  showNotice() {
    const { failure, lastProblem, state } = this.client;
    if (failure !== null) this.writeNotice(`It stopped: ${failure.detail}.`);
    else if (state === "closed") this.writeNotice("It is closed.");
    else this.writeNotice(lastProblem === null || state === "live" ? "" : `Trying again: ${lastProblem.detail}.`);
  }

  /** @param {string} text */
  writeNotice(text) {
    setText(this.noticeText, text);
    this.notice.classList.toggle("is-shown", text !== "");
    this.reopening.hidden = this.client.state !== "closed";
  }

  async exportView() {
    const peers = this.client.pairs().map((pair) => formatId(pair.peer));
    const chosen = await askForChoice({
      title: `Export what ${this.title} has seen`,
      hint:
        "A signed file for comparison where no connection leads. Another device takes it under “Judge a file”, " +
        "and finds out whether the server told both the same.",
      label: "For whom",
      options: [
        ...peers.map((id) => ({ value: id, text: this.names.of(id) })),
        { value: "", text: "anybody (the log only, no messages)" },
      ],
      actions: [
        { value: "file", text: "Download" },
        { value: "text", text: "Copy as text" },
      ],
    });
    if (chosen === null) return;
    const pair = this.client.pairs().find(({ peer }) => formatId(peer) === chosen.choice);
    const data = await this.client.exportView(pair?.peer ?? null);
    if (chosen.action === "file") download(`noise-${this.name}-${this.deviceId.slice(0, 6)}.view`, data);
    else await navigator.clipboard.writeText(base64url(data));
  }

  async close() {
    clearInterval(this.timer);
    this.unsubscribe();
    this.element.remove();
    await this.client.close();
  }
}
