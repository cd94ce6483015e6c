/**
 * How long it takes from an epoch's time to its verification here: a line of the last values, and their median.
 *
 * Knows nothing of epochs.
 * @module
 */

import { h, setText, svg } from "./elements.js";
import { Painter } from "./painting.js";
import { millisecondsText } from "./wording.js";

const POINTS_MAX = 120;
const WIDTH = 240;
const HEIGHT = 44;

/**
 * The middle one of some values; the lower one of two.
 * @param {readonly number[]} values at least one
 */
export function median(values) {
  return [...values].sort((a, b) => a - b)[(values.length - 1) >> 1];
}

export class Sparkline {
  constructor() {
    /** @type {number[]} */
    this.values = [];
    this.painter = new Painter(() => this.paint(), 200);
    this.line = svg("polyline", { class: "spark-line", points: "" });
    this.now = h("strong", { class: "number" }, "–");
    this.top = h("span", { class: "spark-top number small soft" }, "");
    this.element = h(
      "figure",
      { class: "spark" },
      h("figcaption", { class: "small soft" }, "Server's clock to verified here, p50: ", this.now),
      h(
        "div",
        { class: "spark-plot" },
        svg(
          "svg",
          { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
          svg("path", { class: "spark-base", d: `M0 ${HEIGHT - 0.5}H${WIDTH}` }),
          this.line,
        ),
        this.top,
      ),
    );
  }

  /** @param {number} ms */
  add(ms) {
    this.values.push(Math.max(0, ms));
    if (this.values.length > POINTS_MAX) this.values.shift();
    this.painter.request();
  }

  clear() {
    this.values = [];
    this.painter.request();
  }

  paint() {
    const top = niceTop(Math.max(1, ...this.values));
    const step = WIDTH / (POINTS_MAX - 1);
    const first = WIDTH - (this.values.length - 1) * step;
    const points = this.values.map((ms, i) => {
      return `${(first + i * step).toFixed(1)},${(HEIGHT - 2 - (ms / top) * (HEIGHT - 6)).toFixed(1)}`;
    });
    this.line.setAttribute("points", points.join(" "));
    setText(this.now, this.values.length ? millisecondsText(median(this.values)) : "–");
    setText(this.top, this.values.length ? millisecondsText(top) : "");
  }
}

/**
 * The next of 1, 2, 5, 10, 20, 50 and so on.
 * @param {number} value
 */
function niceTop(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([1, 2, 5, 10].find((n) => n * power >= value) ?? 10);
}
