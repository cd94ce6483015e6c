/**
 * The page: its devices, what they make of the server, and everything that is drawn around them.
 *
 * Knows nothing of protocol or storage: devices are clients of `io/`, and each has a pane of its own.
 * @module
 */

/** @import { Client, DemoState, DeviceListed, KeptProof } from "./contract.js" */
/** @import { Bytes } from "../protocol/bytes.js" */
import { equal } from "../protocol/bytes.js";
import { NoiseError } from "../protocol/errors.js";
import { formatId, parseId } from "../protocol/identifiers.js";
import { openClient } from "../io/client.js";
import { createDevice, deleteDevice, listDevices } from "../io/devices.js";
import { announce, announceNow } from "./announcing.js";
import { Conviction, mostTelling, sentenceOf } from "./conviction.js";
import { DemoFace } from "./demo_face.js";
import { DevicePane } from "./device_pane.js";
import { chooseDevice } from "./devices_dialog.js";
import { confirmFirst } from "./dialogs.js";
import { byId, h, icon, replaceContent, setText } from "./elements.js";
import { Judge, NO_DEVICE_CODE } from "./judge.js";
import { LiarPanel } from "./liar_panel.js";
import { Names, titleOf } from "./names.js";
import { PipelineDrawing } from "./pipeline.js";
import { Sparkline } from "./sparkline.js";
import { NO_DEVICE, PEERS_AGREE, STANDINGS, count, gravestOf, several } from "./wording.js";

const PANES_KEY = "noise-panes";
const OWN_DEVICES_MS = 3000;
const JUDGED_HERE = "The proof is a file that was judged here.";

export class App {
  constructor() {
    this.demo = new DemoFace();
    this.names = new Names();
    this.names.onChange = () => this.panes.forEach((pane) => pane.onNames());
    /** @type {DevicePane[]} */
    this.panes = [];
    /** Who holds a proof; null: it was judged as a file. @type {{ pane: DevicePane | null, proof: KeptProof }[]} */
    this.proofs = [];
    /** @type {string | null} */
    this.origin = null;
    /** Of the demo that the bots belong to. @type {number | null} */
    this.startedMs = null;
    this.isMoving = false;
    /** What the bar says. */
    this.said = "";
    this.pipeline = new PipelineDrawing();
    this.spark = new Sparkline();
    this.conviction = new Conviction(this.pipeline.element, () => this.demo.reset());
    this.judge = new Judge({
      origin: () => this.knownOrigin(),
      importView: (data) => this.importView(data),
      onProof: (proof) => this.onProof(null, proof),
    });
    this.liar = new LiarPanel({
      onLie: (name, by, victim) => this.lie(name, by, victim),
      victims: () => this.panes.map((pane) => ({ id: pane.deviceId, title: pane.title })),
    });
    this.tabs = h("div", { class: "tabs", role: "group", "aria-label": "Device shown" });
    this.paneList = h("div", { class: "panes" });
    this.counts = h("p", { class: "counts small soft" }, "");
    this.server = this.drawServer();
    this.problem = h("p", { class: "problem page-problem", role: "alert" }, "");
    this.moved = h("div", { class: "notice moved", hidden: true, tabindex: -1 });
  }

  async start() {
    this.draw();
    this.judge.listen();
    this.demo.listeners.push((state) => void this.onDemo(state));
    await this.demo.start();
    await this.attempt(() => this.resume());
    addEventListener("pageshow", (event) => {
      if (event.persisted) void this.reopenAll();
    });
    setInterval(() => void this.refreshOwn().catch(() => {}), OWN_DEVICES_MS); // a courtesy
  }

  draw() {
    this.openButton = h(
      "button",
      { type: "button", class: "primary large", on: { click: () => void this.attempt(() => this.add()) } },
      "Open a device",
    );
    replaceContent(
      byId("start"),
      this.openButton,
      h(
        "p",
        { class: "soft small start-hint" },
        "Makes keys in this browser, and connects. Nothing to install, no account.",
      ),
    );
    replaceContent(
      byId("content"),
      this.problem,
      this.moved,
      this.conviction.element,
      h(
        "div",
        { class: "columns" },
        h("div", { class: "main-column" }, this.server, this.tabs, this.paneList),
        h("div", { class: "side-column" }, this.liar.element, this.judge.element),
      ),
    );
    replaceContent(byId("tools"), ...this.drawTools());
    this.liar.element.hidden = true;
    this.showVerdict();
  }

  drawServer() {
    return h(
      "section",
      { class: "card server", "aria-labelledby": "server-title" },
      h("header", { class: "panel-head" }, h("h2", { id: "server-title" }, "Inside the server"), this.counts),
      this.pipeline.element,
      h(
        "footer",
        { class: "server-foot" },
        this.spark.element,
        h(
          "p",
          { class: "small soft" },
          "Each part signs what it passes on. The counts are the server's own words and for the picture only: " +
            "nothing of it is trusted.",
        ),
      ),
    );
  }

  drawTools() {
    /** @type {(name: string, text: string, click: () => Promise<unknown>) => HTMLElement} */
    const tool = (name, text, click) =>
      h("button", { type: "button", on: { click: () => void this.attempt(click) } }, icon(name), h("span", null, text));
    return [tool("list", "All devices", () => this.manage()), tool("plus", "New device", () => this.add())];
  }

  /** Opens what this tab had open before, or any device that is free. */
  async resume() {
    const devices = (await listDevices()).filter((device) => this.isHere(device));
    const before = (sessionStorage.getItem(PANES_KEY) ?? "").split(" ");
    const ours = devices.filter(({ name }) => before.includes(name));
    const free = devices.filter(({ isOpen }) => !isOpen);
    for (const { name } of ours.length ? ours : free.slice(0, 1)) {
      await this.open(name).catch((error) => {
        if (!(error instanceof NoiseError && error.code === "device-locked")) this.showProblem(error);
      });
    }
    this.showPhase();
  }

  /** @param {DeviceListed} device */
  isHere(device) {
    return device.origin === null || this.origin === null || device.origin === this.origin;
  }

  /** A new device. */
  async add() {
    const button = /** @type {HTMLButtonElement} */ (this.openButton);
    button.disabled = true;
    try {
      const pane = await this.open(await createDevice());
      pane.conversation.text.focus({ preventScroll: true });
    } finally {
      button.disabled = false;
    }
  }

  /**
   * Does what was asked for, or says in the page why not.
   * @param {() => Promise<unknown>} action
   */
  async attempt(action) {
    setText(this.problem, "");
    try {
      await action();
    } catch (error) {
      this.showProblem(error);
    }
  }

  /** @param {unknown} error */
  showProblem(error) {
    setText(this.problem, `That did not work: ${error instanceof Error ? error.message : error}.`);
    if (!(error instanceof NoiseError)) reportError(error);
  }

  /**
   * Throws NoiseError: "device-locked" when another tab has it, and whatever else keeps it closed.
   * @param {string} name
   */
  async open(name) {
    const pane = await this.makePane(name);
    this.panes.push(pane);
    this.paneList.append(pane.element);
    this.onPanes(name);
    this.onStanding(pane);
    await this.refreshOwn();
    this.greet([pane]);
    return pane;
  }

  /** @param {string} name */
  async makePane(name) {
    const origin = this.origin === null ? null : parseId(this.origin);
    /** @type {Client} */
    const client = await openClient(name, { url: location.origin, origin, settings: {} });
    return new DevicePane(name, client, this.names, {
      onDelta: (seen) => this.spark.add(seen.heardAtMs - Number(seen.timeMs)),
      onProof: (pane, proof) => this.onProof(pane, proof),
      onStanding: (pane) => this.onStanding(pane),
      onReopen: (pane) => void this.reopen(pane).then((fresh) => fresh.heading.focus({ preventScroll: true })),
      onForget: (pane) => void this.attempt(() => this.forget(pane.name)),
    });
  }

  /**
   * A client that has ended does not begin again: another one takes its place, and its pane another pane's.
   * @param {DevicePane} pane
   * @returns {Promise<DevicePane>} the one that stands there now
   */
  async reopen(pane) {
    let fresh;
    try {
      await pane.client.close();
      fresh = await this.makePane(pane.name);
    } catch (error) {
      pane.writeNotice(`It did not open: ${error instanceof Error ? error.message : error}.`);
      return pane;
    }
    fresh.conversation.text.value = pane.conversation.text.value;
    fresh.element.classList.toggle("is-selected", pane.element.classList.contains("is-selected"));
    pane.element.replaceWith(fresh.element);
    this.panes = this.panes.map((one) => (one === pane ? fresh : one));
    for (const one of this.proofs) if (one.pane === pane) one.pane = fresh;
    await pane.close();
    this.onStanding(fresh);
    return fresh;
  }

  /** The page was kept while another one was shown here, but its clients have ended. */
  async reopenAll() {
    for (const pane of [...this.panes]) await this.reopen(pane);
  }

  /**
   * Introduces devices to the bots. Who is known to them already is not greeted again.
   * @param {DevicePane[]} panes
   */
  greet(panes) {
    if (!this.demo.state?.can_lie) return; // no bots
    for (const pane of panes) this.demo.hello(pane.deviceId, pane.title).catch(() => {}); // a courtesy
  }

  /**
   * The bots take part in a lie, and may be others than those that were greeted.
   * @param {string} name
   * @param {string | null} by
   * @param {string | null} victim
   */
  async lie(name, by, victim) {
    for (const pane of this.panes) await this.demo.hello(pane.deviceId, pane.title);
    await this.demo.lie(name, by, victim);
  }

  /** @param {string} shown the device that a phone shows */
  onPanes(shown) {
    sessionStorage.setItem(PANES_KEY, this.panes.map(({ name }) => name).join(" "));
    this.paneList.dataset.count = String(this.panes.length);
    replaceContent(this.tabs, ...this.panes.map((pane) => this.drawTab(pane)));
    this.select(shown);
    this.liar.showVictims();
    this.showPhase();
    this.showVerdict();
  }

  /** @param {DevicePane} pane */
  drawTab(pane) {
    const on = { click: () => this.select(pane.name) };
    return h("button", { type: "button", class: "tab", "data-device": pane.name, on }, pane.title);
  }

  /** @param {string} name */
  select(name) {
    for (const tab of this.tabs.children) {
      tab.setAttribute("aria-pressed", String(tab.getAttribute("data-device") === name));
    }
    for (const pane of this.panes) pane.element.classList.toggle("is-selected", pane.name === name);
  }

  async manage() {
    const chosen = await chooseDevice(await listDevices(), this.origin);
    if (chosen?.action === "open") await this.open(chosen.name);
    if (chosen?.action === "forget") await this.forget(chosen.name);
  }

  /** @param {string} name */
  async forget(name) {
    const isSure = await confirmFirst({
      title: `Forget ${titleOf(name)}?`,
      text: "Its keys, its messages and everything that it has verified are deleted from this browser, for good.",
      action: "Forget it",
    });
    if (!isSure) return;
    const pane = this.panes.find((one) => one.name === name);
    if (pane !== undefined) await this.closePane(pane);
    this.onPanes(this.panes[0]?.name ?? "");
    byId("main").focus({ preventScroll: true });
    await deleteDevice(name);
    await this.refreshOwn();
  }

  /** @param {DevicePane} pane */
  async closePane(pane) {
    this.panes = this.panes.filter((one) => one !== pane);
    this.proofs = this.proofs.filter((one) => one.pane !== pane);
    await pane.close();
  }

  async refreshOwn() {
    this.names.setOwn((await listDevices()).filter((device) => this.isHere(device) && device.deviceId));
  }

  /** @param {DemoState} state */
  async onDemo(state) {
    if (this.isMoving) return;
    if (this.origin !== null && state.origin !== this.origin) await this.moveTo(state);
    this.origin = state.origin;
    if (state.started_ms !== this.startedMs) this.greet(this.panes);
    this.startedMs = state.started_ms;
    this.names.setBots(state.bots);
    this.pipeline.show(state.pipeline);
    setText(this.counts, wordCounts(state.pipeline));
    this.liar.element.hidden = !state.can_lie || !this.panes.length;
    if (state.can_lie) this.liar.show(state);
  }

  /**
   * Another server answers at this address: the devices belong to the one before.
   * @param {DemoState} state
   */
  async moveTo(state) {
    this.isMoving = true;
    const n = this.panes.length;
    await Promise.allSettled(this.panes.map((pane) => this.closePane(pane)));
    this.origin = state.origin;
    this.showNothing(state);
    await this.attempt(async () => {
      for (let i = 0; i < n; i++) await this.open(await createDevice());
    });
    this.isMoving = false;
    this.onPanes(this.panes[0]?.name ?? "");
    this.showMoved(n > 0);
  }

  /** @param {boolean} hadDevices */
  showMoved(hadDevices) {
    const kept = hadDevices ? " Your devices of the old one are kept, and closed." : "";
    const text = `This is another server than before, with other keys.${kept}`;
    const dismiss = h("button", { type: "button", class: "plain" }, "Dismiss");
    dismiss.addEventListener("click", () => {
      this.moved.hidden = true;
      byId("main").focus({ preventScroll: true });
    });
    replaceContent(this.moved, h("p", null, text), dismiss);
    this.moved.hidden = false;
    announce(text);
    if (document.activeElement === document.body) this.moved.focus();
  }

  /**
   * Nothing is known of a new server, and nothing held against it.
   * @param {DemoState} state
   */
  showNothing(state) {
    this.proofs = [];
    this.names.clear();
    this.names.setBots(state.bots);
    this.conviction.hide();
    this.server.insertBefore(this.pipeline.element, this.server.lastElementChild);
    this.pipeline.mark("");
    this.liar.showCaught("");
    this.spark.clear();
  }

  /** @param {DevicePane} pane whose client stands otherwise to the server than before */
  onStanding(pane) {
    for (const proof of pane.client.proofs()) this.onProof(pane, proof);
    this.showVerdict();
  }

  /**
   * @param {DevicePane | null} pane null: a person judged it here, as a file
   * @param {KeptProof} proof
   */
  onProof(pane, proof) {
    if (this.proofs.some((one) => one.pane === pane && equal(one.proof.proof, proof.proof))) return;
    this.proofs.push({ pane, proof });
    const best = mostTelling(this.proofs.map((one) => one.proof));
    const { shown } = this.conviction;
    if (best === null || (shown !== null && equal(best.proof, shown.proof))) return;
    const holder = this.proofs.find((one) => one.proof === best)?.pane;
    const where = holder ? `${holder.title} holds the proof.` : JUDGED_HERE;
    this.conviction.show(best, { where, canReset: this.demo.state?.can_lie ?? false });
    this.pipeline.mark(best.verdict.accused);
    this.liar.showCaught(`${where} It is about epoch ${count(best.verdict.epoch)}.`);
    announceNow(`This server lied, and it is proven. ${sentenceOf(best.verdict)}`);
    if (this.moved.contains(document.activeElement)) this.conviction.element.focus();
    this.moved.hidden = true;
    if (shown === null) scrollTo({ top: 0, behavior: "smooth" });
    this.showVerdict();
  }

  /** @param {Bytes} data */
  async importView(data) {
    if (!this.panes.length)
      throw new NoiseError("Open a device first: it compares the file with what it has seen", NO_DEVICE_CODE);
    let failure = null;
    for (const pane of this.panes) {
      try {
        const peer = formatId(await pane.client.importView(data));
        return `${pane.title} compared what ${this.names.of(peer)} has seen with its own. Differences are looked into`;
      } catch (error) {
        if (!(error instanceof NoiseError)) throw error;
        failure ??= error;
      }
    }
    throw failure ?? new NoiseError("no device took it");
  }

  showPhase() {
    document.body.dataset.phase = this.panes.length ? "open" : "welcome";
    byId("start").hidden = this.panes.length > 0;
  }

  /** Of the page's provider, as a device has pinned it, or else as the demo says. */
  knownOrigin() {
    const pinned = this.panes.map((pane) => pane.client.origin).find((origin) => origin !== null);
    return pinned ? formatId(pinned) : this.origin;
  }

  /** The gravest of how its devices stand to the server; and what the page itself shows a proof for. */
  showVerdict() {
    const isShown = this.conviction.shown !== null;
    this.server.hidden = isShown;
    const verdict = isShown ? "exposed" : gravestOf(this.panes.map((pane) => pane.standing));
    const doPeersAgree = verdict === "ok" && this.panes.some((pane) => pane.isCompared);
    const { title, sentence: usual } = verdict === "none" && !this.panes.length ? NO_DEVICE : STANDINGS[verdict];
    const sentence = doPeersAgree ? PEERS_AGREE : usual;
    const said = `${verdict} ${sentence}`;
    if (said === this.said) return;
    this.said = said;
    document.body.dataset.verdict = verdict;
    replaceContent(
      byId("verdict"),
      icon(STANDINGS[verdict].icon),
      h("b", null, title),
      h("span", { class: "verdict-sentence" }, sentence),
    );
    document.title = verdict === "exposed" ? "The server lied – noise" : "noise: a server that nobody has to trust";
    if (verdict !== "none" && verdict !== "exposed") announceNow(`${title}. ${sentence}`);
  }
}

/** @param {DemoState["pipeline"]} pipeline */
function wordCounts({ epoch, n_messages, n_deliveries, connections }) {
  const counts = [several(n_messages, "message"), several(n_deliveries, "delivery", "deliveries")];
  return [`epoch ${count(BigInt(epoch))}`, ...counts, `${count(connections)} connected`].join(" · ");
}
