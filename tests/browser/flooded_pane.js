/**
 * A device's pane in a blank page, on a client that says whatever a test has it say.
 *
 * Knows nothing of tests.
 * @module
 */

import { DevicePane } from "../../clients/browser/ui/device_pane.js";
import { h } from "../../clients/browser/ui/elements.js";
import { Names } from "../../clients/browser/ui/names.js";
import { utf8 } from "../../clients/browser/protocol/bytes.js";
import { makeSeq } from "../../clients/browser/protocol/identifiers.js";

const STYLES = ["tokens", "layout", "parts", "device"];

/** The nth device id. */
export function idOf(n) {
  const id = new Uint8Array(32).fill(1);
  new DataView(id.buffer).setUint32(0, n);
  return id;
}

const OWN = idOf(0);

/** Makes the page, with `names` and `pane`. */
export async function open() {
  const styles = STYLES.map((name) => h("link", { rel: "stylesheet", href: `/clients/browser/ui/${name}.css` }));
  const loaded = styles.map((style) => new Promise((resolve) => style.addEventListener("load", resolve)));
  document.head.append(...styles);
  await Promise.all(loaded);
  const names = new Names();
  names.setBots([{ device_id: "alice".padEnd(43, "A"), name: "alice" }]);
  const pane = new DevicePane("device-1", makeClient(), names, { onDelta: () => {} });
  names.onChange = () => pane.onNames();
  document.body.replaceChildren(h("div", { id: "polite", role: "status" }), h("div", { class: "panes" }, pane.element));
  return { names, pane };
}

function makeClient() {
  return {
    deviceId: OWN,
    state: "live",
    judgement: { verdict: "ok", reasons: [] },
    roster: null,
    freshness: null,
    failure: null,
    lastProblem: null,
    subscribe: () => () => {},
    messages: () => [],
    unsent: () => [],
    pairs: () => [],
  };
}

/** The nth message, from the nth device unless `sender` says otherwise. */
export function messageOf(n, text, { sender = idOf(n), recipients = [OWN] } = {}) {
  return {
    seq: makeSeq(1n, 0, n),
    epoch: 1n,
    sender,
    sender_ctr: BigInt(n),
    created_ms: 1_700_000_000_000n,
    recipients,
    data: utf8(text),
    seal: 1,
    heardAtMs: 0,
  };
}

/** A verified delta with some messages, as large as a test says. */
export function deltaOf(messages, nBytes) {
  const delta = { history: messages };
  return { epoch: 1n, timeMs: 0n, heardAtMs: 0, checkMs: 1, nBytes, delta, before: null, after: null, messages };
}

/** Two frames: what was asked for is painted. */
export async function painted(ms = 0) {
  if (ms) await new Promise((resolve) => setTimeout(resolve, ms));
  for (let i = 0; i < 2; i++) await new Promise((resolve) => requestAnimationFrame(resolve));
}
