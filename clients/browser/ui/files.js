/**
 * Bytes that leave the page or come to it: downloads, dropped files, pasted text, the clipboard.
 *
 * Knows nothing of what the bytes are.
 * @module
 */

/** @import { Bytes } from "../protocol/bytes.js" */
import { parseBase64url } from "../protocol/json_text.js";
import { announce } from "./announcing.js";
import { h, icon, setText } from "./elements.js";

export const FILE_BYTES_MAX = 4 << 20;

const COPIED_MS = 1600;

/**
 * Saves bytes as a file.
 * @param {string} name
 * @param {Bytes} data
 */
export function download(name, data) {
  const url = URL.createObjectURL(new Blob([data], { type: "application/octet-stream" }));
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/**
 * The bytes of a file. Throws an Error when it is too large to be any of ours.
 * @param {File} file
 * @returns {Promise<Bytes>}
 */
export async function readFile(file) {
  if (file.size > FILE_BYTES_MAX) throw new Error("the file is too large to be a proof or a view");
  return new Uint8Array(await file.arrayBuffer());
}

/**
 * A file's name without what would turn around, or hide, the words beside it.
 * @param {File} file
 */
export function shownName({ name }) {
  return name.replaceAll(/[\p{Cc}\p{Bidi_Control}]/gu, "");
}

/**
 * Bytes that were pasted as base64url, whatever white space came with it. Throws DecodeError.
 * @param {string} text
 */
export function parsePasted(text) {
  return parseBase64url(text.replaceAll(/\s+/g, ""));
}

/**
 * A button that copies a text.
 * @param {string} label
 * @param {() => string} text
 * @param {string} [className]
 */
export function copyButton(label, text, className = "") {
  const words = h("span", null, label);
  const copy = async () => {
    await navigator.clipboard.writeText(text());
    setText(words, "Copied");
    announce("Copied");
    setTimeout(() => setText(words, label), COPIED_MS);
  };
  return h("button", { type: "button", class: className, on: { click: () => void copy() } }, icon("copy"), words);
}
