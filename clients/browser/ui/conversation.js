/**
 * The conversation of one device: messages as they come, what is on its way, and a place to write.
 *
 * Knows nothing of clients. What came is drawn in batches, and the newest MESSAGES_MAX are kept on the page.
 * @module
 */

/** @import { Bytes } from "../protocol/bytes.js" */
/** @import { DeltaSeen, Message, Sending } from "./contract.js" */
/** @import { Check } from "./explain.js" */
/** @import { Names } from "./names.js" */
import { equal, toHex, utf8 } from "../protocol/bytes.js";
import { formatId, parseId } from "../protocol/identifiers.js";
import { announce } from "./announcing.js";
import { drawChecks } from "./check_details.js";
import { h, icon, replaceContent, setText } from "./elements.js";
import { Painter } from "./painting.js";
import { RecentDeltas } from "./recent_deltas.js";
import { Recipients } from "./recipients.js";
import { clockText, count, seqText, several } from "./wording.js";

const MESSAGES_MAX = 200;
const SLACK = 60;
/** Who reads further up keeps what is there for longer. */
const READING_MAX = 1000;
const INTERVAL_MS = 100;
const CHARACTERS_MAX = 4000;
const LINES_MAX = 200;
/** More than these never fit into the place of a message. */
const SHORT_CHARACTERS_MAX = 1000;
const SHORT_LINES_MAX = 20;
const SPOKEN_CHARACTERS_MAX = 120;
const BYTES_IN_CHARACTER_MAX = 4;
const NEAR_END = 24;
/** Whether the browser itself keeps in place what is in sight. */
const ANCHORS = CSS.supports("overflow-anchor", "auto");

/** @type {Record<Sending["state"], string>} */
const SENDING_WORDS = {
  queued: "queued in this browser",
  sent: "on its way",
  receipt: "receipt: the server signed its position",
  refused: "refused",
};

/**
 * @typedef {object} Context
 * @property {string} title of the device
 * @property {string} deviceId
 * @property {Names} names
 * @property {(seen: DeltaSeen) => Check[]} explain
 * @property {(recipients: string[], data: Bytes) => Promise<Sending>} send
 */

export class Conversation {
  /** @param {Context} context */
  constructor(context) {
    this.context = context;
    this.ownId = parseId(context.deviceId);
    /** @type {Message[]} */
    this.waiting = [];
    /** What was checked, of the newest messages. */
    this.checked = new RecentDeltas();
    /** Our own messages that have not come back, by number. @type {Map<number, HTMLLIElement>} */
    this.pending = new Map();
    /** @type {Map<string, number>} */
    this.pendingBySeq = new Map();
    this.sizes = new ResizeObserver((entries) => entries.forEach(({ target }) => markScrolling(target, isCut(target))));
    this.painter = new Painter(() => this.paint(), INTERVAL_MS);
    this.recipients = new Recipients(context.names, context.deviceId);
    this.list = h("ol", { class: "messages" });
    this.empty = h("p", { class: "empty" }, "No messages yet. Write one to somebody below.");
    this.region = h(
      "div",
      {
        class: "scroller conversation-region",
        role: "region",
        "aria-label": `Messages of ${context.title}`,
        tabindex: 0,
      },
      this.empty,
      this.list,
    );
    this.toEnd = h(
      "button",
      { type: "button", class: "resume", hidden: true, on: { click: () => this.scrollToEnd() } },
      "Newer messages below: show",
    );
    this.region.addEventListener("scroll", () => {
      if (this.isAtEnd()) this.toEnd.hidden = true;
    });
    this.text = h("textarea", {
      rows: 1,
      "aria-label": "Message",
      placeholder: "Write a message",
      enterkeyhint: "send",
    });
    this.problem = h("p", { class: "composer-problem small", role: "alert" }, "");
    this.element = h(
      "section",
      { class: "conversation", "aria-label": `Conversation of ${context.title}` },
      h("div", { class: "held-frame" }, this.region, this.toEnd),
      this.makeComposer(),
    );
  }

  makeComposer() {
    const form = h(
      "form",
      { class: "composer" },
      this.recipients.element,
      h("div", { class: "composer-row" }, this.text, h("button", { type: "submit", class: "primary" }, "Send")),
      this.problem,
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.submit();
    });
    this.text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      form.requestSubmit();
    });
    return form;
  }

  async submit() {
    const recipients = this.recipients.chosen();
    const text = this.text.value.trim();
    setText(this.problem, text && !recipients.length ? "Choose somebody to write to." : "");
    if (!text || !recipients.length) return;
    this.text.value = "";
    try {
      await this.context.send(recipients, utf8(text));
    } catch (error) {
      this.text.value = text;
      setText(this.problem, `Not sent: ${error instanceof Error ? error.message : error}`);
    }
    this.scrollToEnd();
  }

  /** @param {DeltaSeen} seen */
  addChecked(seen) {
    if (seen.messages.length) this.checked.add(seen);
  }

  /** @param {Message} message verified */
  add(message) {
    this.waiting.push(message);
    if (this.waiting.length > MESSAGES_MAX) this.waiting.shift();
    this.painter.request();
  }

  /** @param {Sending} sending whose state may have changed */
  showSending(sending) {
    let item = this.pending.get(sending.id);
    if (item === undefined) {
      if (sending.seq !== null && this.isShown(sending.seq)) return;
      const isAtEnd = this.isAtEnd();
      item = this.drawPending(sending);
      this.pending.set(sending.id, item);
      this.list.append(item);
      this.empty.hidden = true;
      if (isAtEnd) this.scrollToEnd();
    }
    if (sending.seq !== null && this.isShown(sending.seq)) {
      this.pending.delete(sending.id);
      this.drop(item);
      return;
    }
    if (sending.seq !== null) this.pendingBySeq.set(toHex(sending.seq), sending.id);
    item.dataset.sending = sending.state;
    const words = SENDING_WORDS[sending.state];
    const where = sending.seq === null ? "" : ` ${seqText(sending.seq)}`;
    const why = sending.error === null ? "" : `: ${sending.error.detail}`;
    setText(/** @type {Node} */ (item.querySelector(".message-state")), `${words}${where}${why}`);
  }

  /** @param {Bytes} seq */
  isShown(seq) {
    return this.list.querySelector(`[data-seq="${toHex(seq)}"]`) !== null;
  }

  isAtEnd() {
    return this.region.scrollHeight - this.region.scrollTop - this.region.clientHeight < NEAR_END;
  }

  scrollToEnd() {
    this.region.scrollTop = this.region.scrollHeight;
    this.toEnd.hidden = true;
  }

  paint() {
    const fresh = this.waiting.splice(0);
    if (!fresh.length) return;
    const isAtEnd = this.isAtEnd();
    this.empty.hidden = true;
    for (const message of fresh) this.takeBack(message);
    const pending = [...this.pending.values()][0] ?? null;
    const items = document.createDocumentFragment();
    items.append(...fresh.map((message) => this.drawMessage(message)));
    this.list.insertBefore(items, pending);
    const max = isAtEnd ? MESSAGES_MAX + SLACK : READING_MAX;
    const isFlooded = this.list.children.length > max + SLACK;
    if (isFlooded) this.trim();
    else if (this.list.children.length > max) requestAnimationFrame(() => this.trim());
    if (isAtEnd) this.scrollToEnd();
    else this.toEnd.hidden = false;
    const last = fresh[fresh.length - 1];
    if (formatId(last.sender) !== this.context.deviceId) {
      const text = textOf(last.data, SPOKEN_CHARACTERS_MAX);
      announce(`${this.context.names.ofBytes(last.sender)} to ${this.context.title}: ${text}`, { isMinor: true });
    }
  }

  /** @param {Message} message that came: it is on its way no more */
  takeBack(message) {
    const seq = toHex(message.seq);
    const id = this.pendingBySeq.get(seq);
    if (id === undefined) return;
    this.pendingBySeq.delete(seq);
    const item = this.pending.get(id);
    if (item !== undefined) this.drop(item);
    this.pending.delete(id);
  }

  /** Forgets the oldest. In a frame of its own, what is in sight stays where it is. */
  trim() {
    const excess = this.list.children.length - MESSAGES_MAX;
    const before = ANCHORS ? 0 : this.region.scrollHeight;
    for (let i = 0; i < excess; i++) this.drop(this.list.children[0]);
    if (!ANCHORS) this.region.scrollTop -= before - this.region.scrollHeight;
  }

  /** @param {Element} item */
  drop(item) {
    this.sizes.unobserve(/** @type {Element} */ (item.querySelector(".message-text")));
    item.remove();
  }

  /**
   * A message with its text.
   * @param {string} kind class names
   * @param {Bytes} data
   * @param {{ head: Element, foot: Element[] }} around the text
   */
  drawItem(kind, data, { head, foot }) {
    const words = textOf(data);
    const isLong = words.length > SHORT_CHARACTERS_MAX || words.split("\n").length > SHORT_LINES_MAX;
    const text = h("p", { class: "message-text" }, words);
    if (isLong) markScrolling(text, true);
    else this.sizes.observe(text);
    return h("li", { class: isLong ? `message ${kind} is-long` : `message ${kind}` }, head, text, ...foot);
  }

  /** @param {Message} message */
  drawMessage(message) {
    const isOwn = formatId(message.sender) === this.context.deviceId;
    const details = h("div", { class: "message-details", hidden: true });
    const tick = h(
      "button",
      { type: "button", class: "tick", "aria-expanded": "false" },
      icon("check"),
      h("span", null, isOwn ? "placed in order and verified" : "verified"),
      h("span", { class: "soft number" }, `epoch ${count(message.epoch)}`),
    );
    tick.addEventListener("click", () => this.toggle(message, tick, details));
    const who = isOwn ? "You" : this.context.names.ofBytes(message.sender);
    const head = this.drawHead(who, message.recipients, message.created_ms);
    const item = this.drawItem(isOwn ? "is-own" : "", message.data, { head, foot: [tick, details] });
    item.dataset.seq = toHex(message.seq);
    return item;
  }

  /** @param {Sending} sending */
  drawPending(sending) {
    const head = this.drawHead("You", sending.recipients, null);
    const state = h("p", { class: "message-state small soft" }, "");
    return this.drawItem("is-own is-pending", sending.data, { head, foot: [state] });
  }

  /**
   * @param {string} who
   * @param {Bytes[]} recipients
   * @param {bigint | null} createdMs
   */
  drawHead(who, recipients, createdMs) {
    const others = recipients.filter((id) => !equal(id, this.ownId));
    const names = others.slice(0, 3).map((id) => this.context.names.ofBytes(id));
    const more = others.length > 3 ? ` and ${several(others.length - 3, "other")}` : "";
    let to = "";
    if (who === "You") to = `to ${names.join(", ")}${more}`;
    else if (others.length > 1) to = `to ${several(others.length, "device")}`;
    return h(
      "p",
      { class: "message-head" },
      h("b", null, who),
      to ? h("span", { class: "soft" }, to) : null,
      createdMs === null ? null : h("time", { class: "soft number" }, clockText(createdMs)),
    );
  }

  /**
   * @param {Message} message
   * @param {HTMLButtonElement} tick
   * @param {HTMLElement} details
   */
  toggle(message, tick, details) {
    details.hidden = !details.hidden;
    tick.setAttribute("aria-expanded", String(!details.hidden));
    if (details.hidden || details.hasChildNodes()) return;
    const seen = this.checked.all.find(({ messages }) => messages.some(({ seq }) => equal(seq, message.seq)));
    replaceContent(
      details,
      seen === undefined
        ? h(
            "p",
            { class: "small soft" },
            "This was verified when it came. The bytes of that check are gone from this page.",
          )
        : drawChecks(this.context.explain(seen)),
    );
    this.region.scrollTop += tick.getBoundingClientRect().top - this.region.getBoundingClientRect().top;
  }
}

/** @param {Element} text */
function isCut(text) {
  return text.scrollHeight > text.clientHeight;
}

/**
 * A text that is higher than its place scrolls by itself, so a keyboard has to get there.
 * @param {Element} text
 * @param {boolean} scrolls
 */
function markScrolling(text, scrolls) {
  if (scrolls === text.hasAttribute("tabindex")) return;
  const marks = { tabindex: "0", role: "group", "aria-label": "Long message" };
  for (const [name, value] of Object.entries(marks)) {
    if (scrolls) text.setAttribute(name, value);
    else text.removeAttribute(name);
  }
}

/**
 * The beginning of a text, and what is said of bytes that are none.
 * @param {Bytes} data
 * @param {number} [max] characters
 */
export function textOf(data, max = CHARACTERS_MAX) {
  const start = data.subarray(0, (max + 1) * BYTES_IN_CHARACTER_MAX);
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(start, { stream: start.length < data.length });
    const cut = text.slice(0, max).split("\n", LINES_MAX).join("\n");
    return cut.length < text.length ? `${cut}…` : text;
  } catch {
    return `${several(data.length, "byte")} that are no text`;
  }
}
