/**
 * The pair chains of one device: with each peer, how long the chain is, and where it was last found equal.
 *
 * Knows nothing of how chains are compared.
 * @module
 */

/** @import { Pair } from "./contract.js" */
/** @import { Names } from "./names.js" */
import { toHex } from "../protocol/bytes.js";
import { h, icon, replaceContent, setText } from "./elements.js";
import { Painter } from "./painting.js";
import { count } from "./wording.js";

const PAIRS_MAX = 32;
const INTERVAL_MS = 300;
const HEAD_LETTERS = 8;

export class PairsList {
  /**
   * @param {string} title of the device
   * @param {Names} names
   * @param {() => Pair[]} read
   */
  constructor(title, names, read) {
    this.names = names;
    this.read = read;
    this.painter = new Painter(() => this.paint(), INTERVAL_MS);
    this.rows = h("tbody", null);
    this.empty = h("p", { class: "empty" }, "No messages with anybody yet, so there is nothing to compare.");
    const columns = ["Peer", "Messages", "Chain", "Last match"];
    this.element = h(
      "div",
      { class: "pairs" },
      h("div", { class: "panel-head" }, h("h3", null, "Compared with peers, past the server")),
      h(
        "div",
        { class: "scroller pairs-region", role: "region", "aria-label": `What ${title} compared`, tabindex: 0 },
        h(
          "table",
          null,
          h("thead", null, h("tr", null, ...columns.map((text) => h("th", { scope: "col" }, text)))),
          this.rows,
        ),
        this.empty,
      ),
    );
  }

  request() {
    this.painter.request();
  }

  paint() {
    const pairs = this.read().slice(0, PAIRS_MAX);
    this.empty.hidden = pairs.length > 0;
    if (this.rows.children.length !== pairs.length) replaceContent(this.rows, ...pairs.map(drawRow));
    pairs.forEach((pair, i) => this.write(this.rows.children[i], pair));
  }

  /**
   * @param {Element} row
   * @param {Pair} pair
   */
  write(row, pair) {
    const [peer, length, head, match] = row.children;
    setText(peer.children[0], this.names.ofBytes(pair.peer));
    const link = /** @type {HTMLElement} */ (peer.children[1]);
    link.hidden = !pair.isLinked;
    setText(length, count(pair.length));
    setText(head.children[0], toHex(pair.head).slice(0, HEAD_LETTERS));
    match.classList.toggle("has-match", pair.matchedEpoch !== null);
    setText(match, pair.matchedEpoch === null ? "not yet" : `epoch ${count(pair.matchedEpoch)}`);
  }
}

function drawRow() {
  const linked = h("span", { class: "linked", title: "a link of its own, past the server" }, icon("link"));
  linked.append(h("span", { class: "unseen" }, "linked"));
  return h(
    "tr",
    null,
    h("th", { scope: "row" }, h("span", null, ""), linked),
    h("td", { class: "number" }),
    h("td", null, h("code", null, "")),
    h("td", { class: "number" }),
  );
}
