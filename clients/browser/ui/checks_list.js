/**
 * A line for each delta, newest first, each to be unfolded to what was checked.
 *
 * Knows nothing of clients. The lines are a fixed number of places whose texts change: at 200 deltas a second nothing
 * moves. While somebody points at the list, or reads in it, it holds still and counts what is newer.
 * @module
 */

/** @import { DeltaSeen } from "./contract.js" */
/** @import { Check } from "./explain.js" */
import { h, icon, setText } from "./elements.js";
import { drawChecks } from "./check_details.js";
import { summarize } from "./explain.js";
import { Painter } from "./painting.js";
import { DELTAS_MAX, RecentDeltas } from "./recent_deltas.js";
import { bytesText, count, millisecondsText } from "./wording.js";

const INTERVAL_MS = 120;

/**
 * A line, with the texts that change in it.
 * @typedef {{ item: HTMLLIElement, button: HTMLButtonElement, epoch: Text, what: Text, size: Text, took: Text,
 *   seen: DeltaSeen | null }} Place
 */

export class ChecksList {
  /**
   * @param {string} title of the device
   * @param {(seen: DeltaSeen) => Check[]} explain
   */
  constructor(title, explain) {
    this.explain = explain;
    this.recent = new RecentDeltas();
    /** What is shown while the list holds still. @type {DeltaSeen[] | null} */
    this.held = null;
    this.counted = 0;
    this.newer = 0;
    this.isPointedAt = false;
    /** @type {{ place: Place, details: Element } | null} */
    this.open = null;
    this.painter = new Painter(() => this.paint(), INTERVAL_MS);
    this.places = Array.from({ length: DELTAS_MAX }, () => this.makePlace());
    this.total = h("span", { class: "number soft" }, "");
    this.resume = h("button", { class: "resume", type: "button", hidden: true, on: { click: () => this.release() } });
    this.region = h(
      "div",
      { class: "scroller checks-region", role: "region", "aria-label": `What ${title} checked`, tabindex: 0 },
      h("ol", { class: "lines" }, ...this.places.map(({ item }) => item)),
    );
    this.empty = h("p", { class: "empty" }, "Nothing has come yet.");
    this.region.append(this.empty);
    this.element = h(
      "div",
      { class: "checks-list" },
      h("div", { class: "panel-head" }, h("h3", null, "What was checked"), this.total),
      h("div", { class: "held-frame" }, this.region, this.resume),
    );
    this.listen();
  }

  listen() {
    this.region.addEventListener("pointerenter", () => this.point(true));
    this.region.addEventListener("pointerleave", () => this.point(false));
    this.region.addEventListener("focusin", () => this.hold());
    this.region.addEventListener("focusout", (event) => {
      if (!this.region.contains(/** @type {Node | null} */ (event.relatedTarget))) this.letGo();
    });
  }

  /** @returns {Place} */
  makePlace() {
    const [epoch, what, size, took] = Array.from({ length: 4 }, () => document.createTextNode(""));
    const button = h(
      "button",
      { type: "button", class: "line", "aria-expanded": "false" },
      h("span", { class: "line-tick" }, icon("check")),
      h("span", { class: "line-epoch number" }, epoch),
      h("span", { class: "line-what" }, what),
      h("span", { class: "line-size number soft" }, size),
      h("span", { class: "line-took number" }, took),
    );
    const item = h("li", { class: "line-item", hidden: true }, button);
    /** @type {Place} */
    const place = { item, button, epoch, what, size, took, seen: null };
    button.addEventListener("click", () => this.toggle(place));
    return place;
  }

  /** @param {DeltaSeen} seen */
  add(seen) {
    this.recent.add(seen);
    this.counted++;
    if (this.held !== null) this.newer++;
    this.painter.request();
  }

  /** @param {boolean} isPointedAt */
  point(isPointedAt) {
    this.isPointedAt = isPointedAt;
    if (isPointedAt) this.hold();
    else this.letGo();
  }

  hold() {
    if (this.held !== null) return;
    this.held = [...this.recent.all];
    this.newer = 0;
  }

  /** Goes on, unless somebody still looks. */
  letGo() {
    if (this.open !== null || this.isPointedAt || this.region.contains(document.activeElement)) return;
    this.release();
  }

  release() {
    if (this.open !== null) this.fold();
    this.held = null;
    this.newer = 0;
    this.region.scrollTop = 0;
    this.painter.request();
  }

  /** @param {Place} place */
  toggle(place) {
    const wasOpen = this.open?.place === place;
    if (this.open !== null) this.fold();
    if (wasOpen || place.seen === null) return;
    this.hold();
    const details = h("div", { class: "line-details" }, drawChecks(this.explain(place.seen)));
    place.item.append(details);
    place.button.setAttribute("aria-expanded", "true");
    this.open = { place, details };
    place.item.scrollIntoView({ block: "nearest" });
  }

  fold() {
    if (this.open === null) return;
    this.open.details.remove();
    this.open.place.button.setAttribute("aria-expanded", "false");
    this.open = null;
  }

  paint() {
    const shown = this.held ?? this.recent.all;
    this.empty.hidden = shown.length > 0;
    this.places.forEach((place, i) => this.write(place, shown[i] ?? null));
    setText(this.total, this.counted ? `${count(this.counted)} verified` : "");
    this.resume.hidden = this.newer === 0;
    setText(this.resume, `Holding still. ${count(this.newer)} newer: show`);
  }

  /**
   * @param {Place} place
   * @param {DeltaSeen | null} seen
   */
  write(place, seen) {
    if (place.seen === seen) return;
    place.seen = seen;
    place.item.hidden = seen === null;
    if (seen === null) return;
    place.item.classList.toggle("has-messages", seen.messages.length > 0);
    setText(place.epoch, `Epoch ${count(seen.epoch)}`);
    setText(place.what, summarize(seen));
    setText(place.size, bytesText(seen.nBytes));
    setText(place.took, millisecondsText(seen.checkMs));
  }
}
