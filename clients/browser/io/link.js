/**
 * One WebSocket connection to a provider: frames in, frames out, each bounded in size.
 *
 * Knows nothing of what frames mean, and does not try again. A browser's WebSocket cannot be told to wait: what comes
 * faster than it is verified waits here, and beyond a limit the connection is ended, to go on from there with another.
 * @module
 */

/** @import { Bytes } from "../protocol/bytes.js" */
/** @import { Frame } from "../protocol/frames.js" */
/** @import { Scope } from "./scope.js" */
/** @import { Settings } from "./settings.js" */
import { utf8 } from "../protocol/bytes.js";
import { DecodeError, NoiseError, ProviderMisbehaved } from "../protocol/errors.js";
import { PUSH_PATH, SUBPROTOCOL_BINARY } from "../protocol/frames.js";
import { BUNDLE_BYTES_MAX, FRAME_BYTES_MAX } from "../protocol/limits.js";
import { CloseCode, PushRole, PushSession } from "../protocol/push_session.js";
import { Changed } from "./changed.js";
import { LinkError } from "./errors.js";
import { TooSlow } from "./scope.js";

/** What may wait to be verified: two frames of the largest kind. */
const WAITING_BYTES_MAX = 2 * FRAME_BYTES_MAX;

/** What a frame that waits takes beside its own bytes. */
const FRAME_COST_BYTES = 256;

/** What may wait to leave: a bundle of the largest kind, and as much of what is small. */
const LEAVING_BYTES_MAX = 2 * BUNDLE_BYTES_MAX;

/** So many frames are received before the browser may do whatever else is due. */
const FRAMES_AT_ONCE = 64;

/** The provider closes so when no proof came in time: that says nothing about the proof. */
const TOO_LATE = "auth-timeout";

const CLOSED_NORMALLY = 1000;
const CLOSED_BY_NOBODY = 1006;

/** @type {ReadonlyMap<number, string>} */
const CLOSE_MEANINGS = new Map([
  [CloseCode.GOING_AWAY, "the provider stops, or starts again"],
  [CloseCode.PROTOCOL, "the provider does not understand what we say: client and provider differ in version"],
  [CloseCode.UNAUTHENTICATED, "the provider does not accept our proof: check the URL, and any proxy before it"],
  [
    CloseCode.CURSOR_AHEAD,
    "the provider says that it knows less than what we have verified of it: it went back, " +
      "or somebody on the way says so for it",
  ],
  [CloseCode.SLOW_READER, "we read too slowly"],
  [CloseCode.IDLE, "the provider heard nothing from us"],
  [CloseCode.REPLACED, "this device has too many connections"],
  [CloseCode.UNAVAILABLE, "the provider cannot serve now"],
]);

/**
 * Where a provider is. `hostHeader`: how it is named in HTTP, and in what a device signs to be let in. `baseUrl`: where the
 * paths of HTTP begin. `pushUrl`: of the WebSocket.
 * @typedef {{ hostHeader: string, baseUrl: string, pushUrl: string }} Address
 */

/**
 * `http://HOST[:PORT]` or `https://...`, perhaps with the path of a proxy. Throws NoiseError "bad-url".
 * @param {string} url
 * @returns {Address}
 */
export function parseUrl(url) {
  if (!URL.canParse(url)) throw new NoiseError(`${url} is no URL`, "bad-url");
  const { protocol, host, pathname, search, hash, username } = new URL(url);
  if (!["http:", "https:"].includes(protocol) || !host || search || hash || username) {
    throw new NoiseError(`${url} is not a provider's URL, such as http://127.0.0.1:8080`, "bad-url");
  }
  const rest = `//${host}${pathname.replace(/\/+$/, "")}`;
  return {
    hostHeader: host,
    baseUrl: protocol + rest,
    pushUrl: `${protocol.replace("http", "ws")}${rest}${PUSH_PATH}`,
  };
}

/** An open connection. Made by `openLink`. */
export class Link {
  #socket;
  #session = new PushSession(PushRole.CLIENT, { binary: true });
  /** What came, the newest last. @type {(Bytes | string)[]} */
  #come = [];
  /** What came before that, the newest first. @type {(Bytes | string)[]} */
  #next = [];
  #waitingBytes = 0;
  #nReceived = 0;
  #changed = new Changed();
  /** @type {LinkError | null} */
  #ended = null;
  #isFull = false;

  /** When anything came last, and when anything left last, in milliseconds of `performance.now`. */
  heardAtMs = performance.now();
  sentAtMs = performance.now();

  /** @param {WebSocket} socket */
  constructor(socket) {
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => this.#take(typeof data === "string" ? data : new Uint8Array(data));
    socket.onclose = ({ code, reason }) => this.#end(closedError(code, reason));
  }

  /** Whether anything can still be sent. */
  get isOpen() {
    return this.#ended === null && this.#socket.readyState === WebSocket.OPEN;
  }

  /** Whether more came than may wait: what waits is still received, and then the link is at its end. */
  get isFull() {
    return this.#isFull;
  }

  /** @param {Bytes | string} payload */
  #take(payload) {
    this.heardAtMs = performance.now();
    if (this.#isFull) return;
    this.#come.push(payload);
    this.#waitingBytes += payload.length + FRAME_COST_BYTES;
    if (this.#waitingBytes > WAITING_BYTES_MAX) {
      this.#isFull = true;
      this.#end(new LinkError("more comes than can be verified at once", { code: "link-full" }));
    }
    this.#changed.notify();
  }

  /** @param {LinkError} error */
  #end(error) {
    this.#ended ??= error;
    if (this.#socket.readyState < WebSocket.CLOSING) this.#socket.close(CLOSED_NORMALLY);
    this.#changed.notify();
  }

  /**
   * The next frame, and how many bytes it took. Throws LinkError when there are no more, ProviderMisbehaved for what is no
   * frame.
   * @param {Scope} scope
   * @returns {Promise<{ frame: Frame, nBytes: number }>}
   */
  async receive(scope) {
    scope.check(); // or whoever was ended would take all that waits
    if (++this.#nReceived % FRAMES_AT_ONCE === 0) await scope.until(turn());
    while (!this.#next.length && !this.#come.length) {
      if (this.#ended) throw this.#ended;
      await scope.until(this.#changed.wait());
    }
    const payload = this.#takeOldest();
    this.#waitingBytes -= payload.length + FRAME_COST_BYTES;
    try {
      return { frame: this.#session.receive(payload), nBytes: payload.length };
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      const evidence = typeof payload === "string" ? utf8(payload) : payload;
      throw new ProviderMisbehaved(error.detail, error.code, [evidence]);
    }
  }

  /** In constant time, however many wait. */
  #takeOldest() {
    if (!this.#next.length) {
      this.#next = this.#come.reverse();
      this.#come = [];
    }
    return /** @type {Bytes | string} */ (this.#next.pop());
  }

  /**
   * Hand a frame to the browser, which sends it as soon as it can. Throws LinkError when the link is at its end. Of a link
   * that is only read to its end, nothing is sent any more.
   * @param {Frame} frame
   */
  send(frame) {
    if (this.#isFull) return;
    if (this.#socket.bufferedAmount > LEAVING_BYTES_MAX) {
      this.#end(new LinkError("the provider does not read what we send", { code: "link-stuck" }));
    }
    if (this.#ended) throw this.#ended;
    this.#socket.send(/** @type {Bytes} */ (this.#session.send(frame)));
    this.sentAtMs = performance.now();
  }

  /** Say goodbye, without waiting for an answer. May be called twice. */
  close() {
    this.#end(new LinkError("the connection was closed by us"));
  }
}

/**
 * @param {number} code
 * @param {string} reason
 */
function closedError(code, reason) {
  if (code === CLOSED_BY_NOBODY) return new LinkError("the connection broke");
  const meaning = CLOSE_MEANINGS.get(code) ?? "the provider closed the connection";
  const said = reason ? `: ${reason}` : "";
  const isFinal = CloseCode.FATAL.has(code) && !reason.startsWith(TOO_LATE);
  return new LinkError(`${meaning} (code ${code}${said})`, { closeCode: code, isFinal });
}

/**
 * When everything that is due in the browser had its turn. Not by a timer: those of a page that nobody looks at are late.
 * @returns {Promise<void>}
 */
function turn() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

/**
 * Connect. Throws LinkError when there is no connection: a browser does not say why.
 * @param {Scope} scope
 * @param {Address} address
 * @param {Settings} settings
 * @returns {Promise<Link>}
 */
export async function openLink(scope, address, settings) {
  const socket = makeSocket(address);
  const link = new Link(socket);
  try {
    await scope.limit(settings.connectTimeoutS, (inner) => inner.until(opened(socket)));
    if (socket.protocol !== SUBPROTOCOL_BINARY) {
      const detail = "the server does not speak our protocol: check the URL";
      throw new LinkError(detail, { code: "not-a-provider", isFinal: true });
    }
    return link;
  } catch (error) {
    link.close();
    if (!(error instanceof TooSlow)) throw error;
    throw new LinkError(`${address.hostHeader} does not answer`, { code: "unreachable" });
  }
}

/** @param {Address} address */
function makeSocket({ hostHeader, pushUrl }) {
  try {
    return new WebSocket(pushUrl, [SUBPROTOCOL_BINARY]);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    const detail = `this page may not connect to ${hostHeader}: ${error.message}`;
    throw new LinkError(detail, { code: "unreachable", isFinal: true });
  }
}

/**
 * @param {WebSocket} socket
 * @returns {Promise<void>}
 */
function opened(socket) {
  return new Promise((resolve, reject) => {
    socket.addEventListener("open", () => resolve());
    socket.addEventListener("close", () => {
      reject(new LinkError(`no connection to ${new URL(socket.url).host}`, { code: "unreachable" }));
    });
  });
}
