/**
 * Makes DOM elements from plain values, without ever parsing HTML.
 *
 * Knows nothing of what they show. Texts become text nodes, so nothing that anybody sends is ever markup.
 * @module
 */

/** @typedef {Node | string | null | false} Child */

/**
 * `class` and other names are attributes: true sets an empty one, and false or null sets none. `on` are listeners.
 * @typedef {{ on?: Record<string, (event: any) => void>, [name: string]: unknown }} Props
 */

const SVG = "http://www.w3.org/2000/svg";

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} name
 * @param {Props | null} [props]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(name, props, ...children) {
  return fill(document.createElement(name), props ?? {}, children);
}

/**
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} name
 * @param {Props | null} [props]
 * @param {...Child} children
 * @returns {SVGElementTagNameMap[K]}
 */
export function svg(name, props, ...children) {
  const element = /** @type {SVGElementTagNameMap[K]} */ (document.createElementNS(SVG, name));
  return fill(element, props ?? {}, children);
}

/**
 * @template {Element} E
 * @param {E} element
 * @param {Props} props
 * @param {Child[]} children
 */
function fill(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (name === "on") {
      for (const [type, listener] of Object.entries(props.on ?? {})) element.addEventListener(type, listener);
    } else if (value !== null && value !== false && value !== undefined) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...present(children));
  return element;
}

/** @param {Child[]} children */
function present(children) {
  return /** @type {(Node | string)[]} */ (children.filter((child) => child !== null && child !== false));
}

/**
 * Other content in place of what an element has.
 * @param {Element} element
 * @param {...Child} children
 */
export function replaceContent(element, ...children) {
  element.replaceChildren(...present(children));
}

/**
 * Writes a text only where it changes: what did not change costs no layout.
 * @param {Node} node
 * @param {string} text
 */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * The element of index.html with this id.
 * @param {string} id
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no element ${id}`);
  return element;
}

let lastId = 0;

/**
 * An id that no other element has, for labels.
 * @param {string} stem
 */
export function newId(stem) {
  return `${stem}-${++lastId}`;
}

/** @type {Record<string, string>} */
const ICONS = {
  check: "M3 8.5 6.5 12 13 4.5",
  cross: "M4 4l8 8M12 4l-8 8",
  warning: "M8 2 15 14H1ZM8 6.5v3.5M8 12v.2",
  clock: "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 1 0 8 1.8M8 4.6V8l2.4 1.6",
  list: "M2.5 4h.2M2.5 8h.2M2.5 12h.2M6 4h8M6 8h8M6 12h8",
  copy: "M5.5 5.5V2.5h8v8h-3M2.5 5.5h8v8h-8Z",
  down: "M8 2v8.5M4.5 7.5 8 11l3.5-3.5M2.5 14h11",
  plus: "M8 3v10M3 8h10",
  link: "M6.5 9.5l3-3M7 4.6l1-1a3 3 0 0 1 4.3 4.3l-1 1M9 11.4l-1 1a3 3 0 0 1-4.3-4.3l1-1",
  file: "M4 1.8h5.2L12.5 5v9.2H4ZM9 1.8V5h3.5",
};

/**
 * A small drawing beside a word. It says nothing by itself, so screen readers skip it.
 * @param {string} name
 */
export function icon(name) {
  return svg(
    "svg",
    { class: "icon", viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true", focusable: "false" },
    svg("path", { d: ICONS[name] }),
  );
}
