/**
 * The devices that this browser keeps: open one, or forget it.
 *
 * Knows nothing of what a device holds.
 * @module
 */

/** @import { DeviceListed } from "./contract.js" */
import { h, newId } from "./elements.js";
import { titleOf } from "./names.js";
import { shortId } from "./wording.js";

/**
 * Asks what to do with which device. Null: nothing.
 * @param {DeviceListed[]} devices
 * @param {string | null} origin of the page's provider
 * @returns {Promise<{ action: "open" | "forget", name: string } | null>}
 */
export function chooseDevice(devices, origin) {
  const id = newId("devices");
  const dialog = h(
    "dialog",
    { "aria-labelledby": id, class: "devices-dialog" },
    h(
      "form",
      { method: "dialog" },
      h("h2", { id }, "Devices in this browser"),
      h(
        "p",
        { class: "dialog-text" },
        "Each has keys of its own, which no script can read, and belongs to one server.",
      ),
      h("ul", { class: "device-list" }, ...devices.map((device) => drawDevice(device, origin))),
      h("div", { class: "dialog-buttons" }, h("button", { type: "submit", value: "" }, "Close")),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      const [action, name] = dialog.returnValue.split(" ");
      resolve(name ? { action: /** @type {"open" | "forget"} */ (action), name } : null);
    });
  });
}

/**
 * @param {DeviceListed} device
 * @param {string | null} origin
 */
function drawDevice(device, origin) {
  const isHere = device.origin === null || origin === null || device.origin === origin;
  const title = titleOf(device.name);
  const where = device.isOpen ? "open, here or in another tab" : isHere ? "not open" : "of another server";
  const canOpen = isHere && !device.isOpen;
  return h(
    "li",
    { class: "device-item" },
    h(
      "div",
      null,
      h("b", null, title),
      " ",
      h("code", { class: "soft" }, shortId(device.deviceId)),
      h("p", { class: "small soft" }, where),
    ),
    canOpen ? button("open", device.name, `Open ${title}`, "Open") : null,
    device.isOpen ? null : button("forget", device.name, `Forget ${title}`, "Forget"),
  );
}

/**
 * @param {string} action
 * @param {string} name
 * @param {string} label
 * @param {string} text
 */
function button(action, name, label, text) {
  return h("button", { type: "submit", value: `${action} ${name}`, "aria-label": label }, text);
}
