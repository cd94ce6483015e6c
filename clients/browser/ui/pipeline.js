/**
 * The drawing of the server's pipeline: inboxes, routers, receivers, outboxes, sequencer and log, with their counts.
 *
 * Knows nothing of devices. The counts are what the server says of itself; the drawing marks whom a proof convicts.
 * @module
 */

/** @import { Pipeline } from "./contract.js" */
import { h, replaceContent, setText, svg } from "./elements.js";
import { briefCount } from "./wording.js";

const STAGES = ["inbox", "router", "receiver", "outbox"];
const TITLES = ["Inboxes", "Routers", "Receivers", "Outboxes"];
const DOES = ["take in", "sort", "merge", "deliver"];
const ROWS_MAX = 4;
const NODE_HEIGHT = 34;
const ROW_HEIGHT = 46;
const TOP = 42;
const NARROW = 680;
const NARROW_TOP = 32;
const PULSE_MS = 600;

/** @typedef {{ group: SVGGElement, number: SVGTextElement, counted: number }} DrawnNode */

export class PipelineDrawing {
  constructor() {
    this.canvas = svg("svg", { class: "pipeline-svg", "aria-hidden": "true", focusable: "false" });
    this.rows = h("tbody", null);
    this.table = h(
      "table",
      { class: "unseen" },
      h("caption", null, "Counts of the actors, as the server says"),
      h("thead", null, h("tr", null, ...["Actor", "Taken", "Passed on"].map((t) => h("th", { scope: "col" }, t)))),
      this.rows,
    );
    this.element = h("div", { class: "pipeline" }, this.canvas, this.table);
    /** @type {Map<string, DrawnNode>} */
    this.nodes = new Map();
    /** @type {SVGPathElement[]} */
    this.edges = [];
    /** @type {Pipeline | null} */
    this.shown = null;
    this.accused = "";
    this.signature = "";
    this.width = 0;
    new ResizeObserver(([entry]) => this.fit(entry.contentRect.width)).observe(this.element);
  }

  /** @param {number} width in CSS pixels */
  fit(width) {
    if (Math.round(width) === this.width) return;
    this.width = Math.round(width);
    this.signature = "";
    if (this.shown !== null) this.show(this.shown);
  }

  /** @param {Pipeline} pipeline */
  show(pipeline) {
    this.shown = pipeline;
    if (!this.width) return;
    const names = Object.keys(pipeline.actors);
    const signature = `${this.width} ${this.accused} ${names.join(" ")}`;
    if (signature !== this.signature) this.draw(names, signature);
    for (const [name, { taken, passed }] of Object.entries(pipeline.actors)) this.write(name, taken, passed);
    this.writeTable(pipeline);
    this.showAccused();
  }

  /**
   * Marks the actor that a proof convicts; "provider": all of them; empty: nobody.
   * @param {string} accused
   */
  mark(accused) {
    this.accused = accused;
    this.showAccused();
    if (this.shown !== null) this.show(this.shown);
  }

  showAccused() {
    this.element.classList.toggle("is-accused", this.accused === "provider");
    for (const [name, { group }] of this.nodes) group.classList.toggle("is-liar", name === this.accused);
  }

  /**
   * @param {string} name
   * @param {number} taken
   * @param {number} passed
   */
  write(name, taken, passed) {
    const node = this.nodes.get(name);
    if (node === undefined) return;
    const total = Math.max(taken, passed);
    setText(node.number, briefCount(total));
    if (total > node.counted && node.counted >= 0) pulse(node.group);
    node.counted = total;
  }

  /** @param {Pipeline} pipeline */
  writeTable(pipeline) {
    const actors = Object.entries(pipeline.actors);
    if (this.rows.children.length !== actors.length) {
      replaceContent(
        this.rows,
        ...actors.map(([name]) => h("tr", null, h("th", { scope: "row" }, name), h("td", null), h("td", null))),
      );
    }
    actors.forEach(([, { taken, passed }], i) => {
      const cells = this.rows.children[i].children;
      setText(cells[1], String(taken));
      setText(cells[2], String(passed));
    });
  }

  /**
   * @param {string[]} names
   * @param {string} signature
   */
  draw(names, signature) {
    this.signature = signature;
    this.nodes.clear();
    const byStage = STAGES.map((stage) => names.filter((name) => name.startsWith(`${stage}-`)));
    const isNarrow = this.width < NARROW;
    const rows = Math.max(1, ...byStage.map((stage) => Math.min(stage.length, ROWS_MAX)));
    const columns = isNarrow ? 4 : 5;
    const gap = isNarrow ? 14 : 28;
    const nodeWidth = (this.width - 2 - gap * (columns - 1)) / columns;
    const top = isNarrow ? NARROW_TOP : TOP;
    const bottom = top + rows * ROW_HEIGHT;
    const height = isNarrow ? bottom + ROW_HEIGHT : bottom;
    this.canvas.setAttribute("viewBox", `0 0 ${this.width} ${height}`);
    this.canvas.setAttribute("width", String(this.width));
    this.canvas.setAttribute("height", String(height));

    /** @param {number} column */
    const left = (column) => 1 + column * (nodeWidth + gap);
    /** @param {number} n @param {number} row */
    const middle = (n, row) =>
      top + (rows * ROW_HEIGHT) / 2 + (row - (n - 1) / 2) * ROW_HEIGHT - (ROW_HEIGHT - NODE_HEIGHT) / 2;
    const shown = byStage.map((stage) => this.rowsOf(stage));
    const edges = this.edgesOf(shown, (column, row) => [left(column), middle(shown[column].length, row)], nodeWidth);
    const nodes = shown.flatMap((stage, column) =>
      stage.map((name, row) => this.node(name, left(column), middle(stage.length, row), nodeWidth, isNarrow)),
    );
    const heads = TITLES.map((title, column) => heading(left(column), title, isNarrow ? "" : DOES[column]));
    this.edges = edges;
    const end = isNarrow
      ? this.endRow(left(0), bottom + NODE_HEIGHT / 2, this.width - 2, nodeWidth, gap)
      : this.endColumn(
          left(4),
          TOP + (rows * ROW_HEIGHT) / 2 - 6,
          nodeWidth,
          shown[3].length,
          rows,
          left(3) + nodeWidth,
        );
    this.canvas.replaceChildren(...edges, ...end, ...heads, ...nodes);
  }

  /**
   * As many of a stage as fit: the convicted one is among them, in one row with those of its number in other stages.
   * @param {string[]} stage
   */
  rowsOf(stage) {
    const number = this.accused.replace(/^[a-z]+/, "");
    const at = stage.findIndex((name) => number && name.endsWith(number));
    return at < ROWS_MAX ? stage.slice(0, ROWS_MAX) : [...stage.slice(0, ROWS_MAX - 1), stage[at]];
  }

  /**
   * @param {string[][]} shown
   * @param {(column: number, row: number) => number[]} at
   * @param {number} width of a node
   */
  edgesOf(shown, at, width) {
    const edges = [];
    for (let column = 0; column < 3; column++) {
      for (let row = 0; row < shown[column].length; row++) {
        for (let next = 0; next < shown[column + 1].length; next++) {
          if (column !== 1 && next !== row) continue; // each inbox has its router, each receiver its outbox
          const [x, y] = at(column, row);
          const [toX, toY] = at(column + 1, next);
          edges.push(edge(x + width, y, toX, toY));
        }
      }
    }
    return edges;
  }

  /**
   * @param {string} name
   * @param {number} x
   * @param {number} y of its middle
   * @param {number} width
   * @param {boolean} isNarrow
   */
  node(name, x, y, width, isNarrow) {
    const top = y - NODE_HEIGHT / 2;
    const number = svg(
      "text",
      isNarrow
        ? { class: "node-number", x: x + width / 2, y: y + 12, "text-anchor": "middle" }
        : { class: "node-number", x: x + width - 9, y: y + 4.5, "text-anchor": "end" },
    );
    const label = svg(
      "text",
      isNarrow
        ? { class: "node-name", x: x + width / 2, y: y - 3, "text-anchor": "middle" }
        : { class: "node-name", x: x + 9, y: y + 4.5 },
      isNarrow ? name.replace(/^[a-z]+-/, "") : name,
    );
    const group = svg(
      "g",
      { class: "node" },
      svg("rect", { class: "node-box", x, y: top, width, height: NODE_HEIGHT, rx: 8 }),
      svg("path", { class: "node-hatch", d: hatch(x, top, width, NODE_HEIGHT) }),
      label,
      number,
      svg("text", { class: "node-mark", x: x + width / 2, y: top - 3, "text-anchor": "middle" }, "lied here"),
    );
    this.nodes.set(name, { group, number, counted: -1 });
    return group;
  }

  /**
   * Sequencer and log as a column of their own.
   * @param {number} x
   * @param {number} y of the middle between them
   * @param {number} width
   * @param {number} nOutboxes
   * @param {number} rows
   * @param {number} fromX right end of the outboxes
   */
  endColumn(x, y, width, nOutboxes, rows, fromX) {
    const first = y - 23;
    const edges = Array.from({ length: nOutboxes }, (_, row) =>
      edge(fromX, TOP + (rows * ROW_HEIGHT) / 2 + (row - (nOutboxes - 1) / 2) * ROW_HEIGHT - 6, x, first),
    );
    this.edges.push(...edges);
    const down = svg("path", { class: "edge", d: `M${x + width / 2} ${first + 17}V${y + 6}` });
    return [
      ...edges,
      down,
      heading(x, "Sequencer, log", "close the epoch"),
      this.node("sequencer-0-0", x, first, width, false),
      this.node("log-0-0", x, y + 23, width, false),
    ];
  }

  /**
   * Sequencer and log below the others, where the screen is narrow.
   * @param {number} x
   * @param {number} y
   * @param {number} width
   * @param {number} nodeWidth
   * @param {number} gap
   */
  endRow(x, y, width, nodeWidth, gap) {
    const half = (width - gap) / 2;
    return [
      edge(x + half, y, x + half + gap, y),
      svg("path", { class: "edge", d: `M${x + width - nodeWidth / 2} ${y - 29}V${y - 17}` }),
      ...["sequencer-0-0", "log-0-0"].map((name, i) => {
        const group = this.node(name, x + i * (half + gap), y, half, true);
        setText(/** @type {Node} */ (group.querySelector(".node-name")), name.replace("-0-0", ""));
        return group;
      }),
    ];
  }
}

/**
 * @param {number} x
 * @param {number} y
 * @param {number} toX
 * @param {number} toY
 */
function edge(x, y, toX, toY) {
  const bend = (toX - x) / 2;
  return svg("path", { class: "edge", d: `M${x} ${y}C${x + bend} ${y} ${toX - bend} ${toY} ${toX} ${toY}` });
}

/**
 * @param {number} x
 * @param {string} title
 * @param {string} does
 */
function heading(x, title, does) {
  return svg(
    "g",
    null,
    svg("text", { class: "stage-title", x, y: 13 }, title),
    svg("text", { class: "stage-does", x, y: 26 }, does),
  );
}

/**
 * Slanted lines within a box: who cannot tell colours apart sees them.
 * @param {number} x
 * @param {number} y
 * @param {number} width
 * @param {number} height
 */
function hatch(x, y, width, height) {
  let d = "";
  for (let at = 8; at < width + height - 4; at += 8) {
    const fromX = Math.min(at, width - 2);
    const fromY = Math.max(2, at - width + 2);
    const toX = Math.max(2, at - height + 2);
    const toY = Math.min(at, height - 2);
    d += `M${x + fromX} ${y + fromY}L${x + toX} ${y + toY}`;
  }
  return d;
}

/** @param {SVGGElement} group */
function pulse(group) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  const box = /** @type {SVGElement} */ (group.querySelector(".node-box"));
  box.animate([{ fill: "var(--accent-ground)", stroke: "var(--accent)" }, {}], {
    duration: PULSE_MS,
    easing: "ease-out",
  });
}
