/**
 * Whom a message is for: a chip for each device that the page knows of, and a way to name another by its id.
 *
 * Knows nothing of messages. While somebody points at the chips, or one of them has the focus, they hold still: whoever
 * writes meanwhile neither takes the focus nor puts another chip under the pointer.
 * @module
 */

/** @import { Names } from "./names.js" */
import { formatId, parseId } from "../protocol/identifiers.js";
import { askForText } from "./dialogs.js";
import { h, icon } from "./elements.js";
import { Painter } from "./painting.js";

const INTERVAL_MS = 300;

export class Recipients {
  /**
   * @param {Names} names
   * @param {string} ownId
   */
  constructor(names, ownId) {
    this.names = names;
    this.ownId = ownId;
    /** @type {Set<string>} */
    this.ids = new Set();
    this.wasTouched = false;
    this.byId = h(
      "button",
      {
        type: "button",
        class: "chip-add",
        "aria-label": "Write to another device by id",
        on: { click: () => void this.add() },
      },
      icon("plus"),
      h("span", null, "by id"),
    );
    this.chips = h("div", { class: "chips" }, this.byId);
    this.element = h("fieldset", { class: "recipients" }, h("legend", null, "To"), this.chips);
    this.painter = new Painter(() => this.isInUse() || this.draw(), INTERVAL_MS);
    this.chips.addEventListener("pointerleave", () => this.request());
    this.chips.addEventListener("focusout", () => this.request());
    this.draw();
  }

  chosen() {
    return [...this.ids].filter((id) => this.names.known.has(id));
  }

  /** The page knows of other devices than before. */
  request() {
    this.painter.request();
  }

  isInUse() {
    return this.chips.matches(":hover, :focus-within");
  }

  draw() {
    const peers = this.names.all().filter((named) => named.id !== this.ownId);
    if (!this.wasTouched && !this.chosen().length && peers.length) this.choose(peers[0].id);
    while (this.chips.children[0] !== this.byId) this.chips.children[0].remove();
    this.byId.before(...peers.map((named) => this.drawChip(named)));
  }

  /** @param {string} id */
  choose(id) {
    this.ids.add(id);
    this.names.keep(id);
  }

  /** @param {{ id: string, name: string }} named */
  drawChip({ id, name }) {
    const input = h("input", { type: "checkbox", value: id });
    input.checked = this.ids.has(id);
    input.addEventListener("change", () => {
      this.wasTouched = true;
      if (input.checked) this.choose(id);
      else this.ids.delete(id);
    });
    return h("label", { class: "chip", title: id }, input, h("span", null, name));
  }

  async add() {
    const text = await askForText({
      title: "Write to a device by its id",
      hint: "The 43 letters that the other device shows under its name. It may be in another browser.",
      label: "Device id",
      action: "Add",
      check: (value) => void parseId(value),
    });
    if (text === null) return;
    const id = formatId(parseId(text));
    if (id === this.ownId) return;
    this.wasTouched = true;
    this.choose(id);
    this.draw();
  }
}
