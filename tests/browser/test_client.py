"""The browser's client at a real provider, with others like it and with the SDK, through reloads and crashes."""

import os
import signal
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, WebSocketRoute

from noise.protocol.frames import DeltaFrame, ReceiptFrame, encode_frame, parse_frame
from noise.protocol.identifiers import parse_id
from noise.protocol.push_session import CloseCode
from tests.browser.device_page import OPEN, DevicePage, blank_page, code_of, open_device
from tests.browser.sdk_peer import open_peer
from tests.e2e.provider_process import ProviderProcess, provider


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProviderProcess]:
    with provider(tmp_path_factory.mktemp("provider") / "data", "--demo") as process:
        yield process


def live(context: BrowserContext, served: ProviderProcess, name: str | None = None) -> DevicePage:
    device = open_device(blank_page(context, served.url), name, settings={"backoffMaxS": 0.3})
    device.until_live()
    return device


def test_browsers_and_the_sdk_chat_sealed(context: BrowserContext, served: ProviderProcess) -> None:
    with open_peer(served.url) as peer:
        one, two = live(context, served), live(context, served)
        one.send(two.device_id, "one to two")
        two.until("texts().length === 1")
        two.send(one.device_id, "two to one")
        one.until("texts().length === 2")
        one.send(peer.device.device_id, "one to sdk", "and again")
        assert peer.texts(2) == ["one to sdk", "and again"]
        peer.send(one.device_id, "sdk to one")
        one.until("texts().length === 5")
        texts = ["one to two", "two to one", "one to sdk", "and again", "sdk to one"]
        assert one.get("texts()") == one.get("heard()") == texts
        assert one.get("client.messages().every(({ seal }) => seal === 1)")
        assert two.get("texts()") == texts[:2]
        assert parse_id(served.origin).hex() == one.get("hex(client.origin)")
        one.until("client.unsent().length === 0")
        states = "events.filter(({ kind }) => kind === 'sending').map(({ sending }) => sending.state)"
        assert set(one.get(states)) == {"receipt"}  # the same object, as it is now
        one.until("client.pairs().length === 2 && client.pairs().every(({ matchedEpoch }) => matchedEpoch !== null)")
        assert sorted(one.get("client.pairs().map(({ length }) => length)")) == [2, 3]
        assert one.get("client.judgement.verdict") == two.get("client.judgement.verdict") == "ok"


def test_a_reload_goes_on_where_it_was(context: BrowserContext, served: ProviderProcess) -> None:
    with open_peer(served.url) as peer:
        one = live(context, served)
        one.send(peer.device.device_id, "before")
        assert peer.texts(1) == ["before"]
        one.until("texts().length === 1")
        own_id, counter = one.device_id, "client.messages().map(({ sender_ctr }) => `${sender_ctr}`)"
        one.until("client.unsent().length === 0")
        one.page.goto("about:blank")
        peer.send(own_id, "meanwhile")
        one.page.goto(f"{served.url}/demo/state")
        one = open_device(one.page, one.name)
        assert one.get("texts()")[0] == "before"  # before any connection
        one.until("texts().length === 2")
        one.reopened()
        one.until_live()
        one.send(peer.device.device_id, "after")
        one.until("texts().length === 3")
        assert one.get("texts()") == ["before", "meanwhile", "after"]
        assert one.get("heard()") == ["after"]
        assert peer.texts(2) == ["meanwhile", "after"]
        assert one.get(counter) == ["1", "1", "2"]
        assert one.device_id == own_id


def test_one_page_at_a_time(context: BrowserContext, served: ProviderProcess) -> None:
    one = live(context, served)
    assert code_of(blank_page(context, served.url), OPEN, [one.name, {}]) == "device-locked"
    one.page.close()
    live(context, served, one.name)


def test_the_provider_is_killed_and_comes_back(context: BrowserContext, served: ProviderProcess) -> None:
    with open_peer(served.url) as peer:
        one, two = live(context, served), live(context, served)
        one.send(peer.device.device_id, "first")
        assert peer.texts(1) == ["first"]
        two.send(peer.device.device_id, "from two")
        assert peer.texts(1) == ["from two"]
        served.kill()
        one.until("client.state === 'backoff'")
        two.until("client.state === 'backoff'")
        one.send(peer.device.device_id, "second", "third")
        two.send(peer.device.device_id, "in the queue of a page that is closed")
        assert two.get("client.unsent().map(({ state }) => state)") == ["queued"]
        two.page.close()
        served.start()
        one.until_live()
        assert peer.texts(2) == ["second", "third"]
        two = open_device(blank_page(context, served.url), two.name)
        assert peer.texts(1) == ["in the queue of a page that is closed"]
        one.until("texts().length === 3")
        two.until("texts().length === 2 && client.unsent().length === 0")
        assert one.get("heard()") == ["first", "second", "third"]
        assert one.get("client.judgement.verdict") == two.get("client.judgement.verdict") == "ok"
        assert peer.deliveries.empty()


def test_a_bundle_whose_receipt_was_lost_arrives_once(context: BrowserContext, served: ProviderProcess) -> None:
    def drop_receipts(route: WebSocketRoute) -> None:
        server = route.connect_to_server()

        def pass_on(payload: "str | bytes") -> None:
            if not isinstance(parse_frame(bytes(payload)), ReceiptFrame):
                route.send(payload)

        server.on_message(pass_on)

    with open_peer(served.url) as peer:
        page = blank_page(context, served.url)
        page.route_web_socket("**/v1/push", drop_receipts)
        one = open_device(page)
        one.send(peer.device.device_id, "once")
        one.until("texts().length === 1")
        assert peer.texts(1) == ["once"]
        assert one.get("client.unsent().map(({ state }) => state)") == ["sent"]
        page.close()
        again = open_device(blank_page(context, served.url), one.name)
        again.until("client.unsent().length === 0")
        ended = "events.filter(({ sending }) => sending?.state === 'receipt').map(({ sending }) => text(sending))"
        assert set(again.get(ended)) == {"once"}
        again.send(peer.device.device_id, "twice")
        assert peer.texts(1) == ["twice"]
        again.until("texts().length === 2")
        assert again.get("texts()") == ["once", "twice"]
        assert again.get("client.judgement.verdict") == "ok"


def test_what_does_not_verify_ends_the_client(context: BrowserContext, served: ProviderProcess) -> None:
    n_deltas = 0

    def alter(route: WebSocketRoute) -> None:
        server = route.connect_to_server()

        def pass_on(payload: "str | bytes") -> None:
            nonlocal n_deltas
            frame = parse_frame(bytes(payload))
            n_deltas += isinstance(frame, DeltaFrame)
            if isinstance(frame, DeltaFrame) and n_deltas > 1:
                entry = frame.delta.shared.head
                altered = entry._replace(signature=bytes([entry.signature[0] ^ 1]) + entry.signature[1:])
                shared = frame.delta.shared._replace(head=altered)
                payload = encode_frame(DeltaFrame(frame.delta._replace(shared=shared)))
            route.send(payload)

        server.on_message(pass_on)

    page = blank_page(context, served.url)
    page.route_web_socket("**/v1/push", alter)
    one = open_device(page)
    one.until_live()
    size = one.get("`${client.freshness.epoch}`")
    one.send(one.device_id, "to myself")
    one.until("client.state === 'closed' && client.failure !== null")
    assert one.get("client.failure.code") == "bad-signature"
    assert one.get("events.filter(({ kind }) => kind === 'refused').length") == 1
    assert one.get("texts()") == []
    assert one.get("`${client.freshness.epoch}`") == size
    assert one.get("client.judgement.verdict") == "suspected"
    page.close()
    again = live(context, served, one.name)  # the same provider, without the liar on the way
    again.until("texts().length === 1")
    assert again.get("client.judgement.reasons.map(({ code }) => code)") == ["refused-delta"]


def test_another_provider_is_refused(context: BrowserContext, served: ProviderProcess) -> None:
    one = live(context, served)
    one.get("client.close()")
    other = """async () => {
      const { openClient } = await import('/browser/io/client.js');
      await openClient(deviceName, { url: location.origin, origin: new Uint8Array(32) });
    }"""
    assert one.code_of(other) == "wrong-origin"


def test_a_stranger_without_keys_is_refused_and_holds_nobody_up(
    context: BrowserContext, served: ProviderProcess
) -> None:
    two = live(context, served)
    one = open_device(blank_page(context, served.url), settings={"keysWaitS": 0.5})
    one.send(bytes(range(32)), "nobody")
    one.send(two.device_id, "somebody")
    two.until("texts().length === 1")
    assert (
        one.get("events.find(({ kind, sending }) => sending?.state === 'refused').sending.error.code") == "no-prekeys"
    )


def test_views_as_files(context: BrowserContext, served: ProviderProcess) -> None:
    one, two = live(context, served), live(context, served)
    one.send(two.device_id, "hello")
    two.until("texts().length === 1")
    one.until("texts().length === 1")
    file = one.get("(peer) => client.exportView(Uint8Array.fromHex(peer)).then(hex)", two.device_id.hex())
    assert two.get("(file) => client.importView(Uint8Array.fromHex(file)).then(hex)", file) == one.device_id.hex()
    assert two.get("client.judgement.verdict") == "ok"
    assert one.code_of("(file) => client.importView(Uint8Array.fromHex(file))", file) == "own-view"


def test_a_silent_provider_is_given_up(context: BrowserContext, served: ProviderProcess) -> None:
    quick = {"pingAfterS": 0.2, "silenceMaxS": 0.4, "backoffMaxS": 0.3}
    one = open_device(blank_page(context, served.url), settings=quick)
    one.until_live()
    time.sleep(1.5)
    assert one.get("client.state") == "live"  # nothing happens, but it answers
    os.kill(served.pid, signal.SIGSTOP)
    try:
        one.until("client.state !== 'live'")
    finally:
        os.kill(served.pid, signal.SIGCONT)
    assert one.get("client.lastProblem.code") in {"link-silent", "unreachable"}
    one.until_live()


def test_a_page_that_is_back_online_asks_at_once(context: BrowserContext, served: ProviderProcess) -> None:
    one = open_device(blank_page(context, served.url), settings={"backoffFirstS": 900, "backoffMaxS": 900})
    one.until_live()
    served.kill()
    one.until("client.state === 'backoff'")
    served.start()
    one.get("window.dispatchEvent(new Event('online'))")
    one.until_live()


STEAL = "(name) => navigator.locks.request(`noise-device-${name}`, { steal: true }, () => {})"
"""Any script of the site can do that, by mistake too."""


def test_a_stolen_lock_ends_the_client_at_once(context: BrowserContext, served: ProviderProcess) -> None:
    one = live(context, served)
    blank_page(context, served.url).evaluate(STEAL, one.name)
    one.until("client.state === 'closed'")
    assert one.get("client.failure.code") == "device-locked"
    assert one.code_of("(to) => send(to, 'from a page that lost its device')", one.device_id.hex()) == "device-locked"
    again = live(context, served, one.name)
    again.send(again.device_id, "to myself")
    again.until("texts().length === 1 && client.unsent().length === 0")
    assert one.get("texts()") == []


HOLD_THE_DISK = """() => new Promise((held) => {
  const request = indexedDB.open(`noise-device-${deviceName}`);
  request.onsuccess = () => {
    const tables = request.result.transaction([...request.result.objectStoreNames], 'readwrite');
    const spin = () => {
      if (window.isHeld) tables.objectStore('device').get('key').onsuccess = spin;
      else request.result.close();
    };
    window.isHeld = true;
    spin();
    held();
  };
})"""


def test_nothing_is_shown_before_it_is_durable(context: BrowserContext, served: ProviderProcess) -> None:
    one, two = live(context, served), live(context, served)
    one.send(two.device_id, "first")
    two.until("texts().length === 1 && client.pairs()[0]?.length === 1")
    two.get(HOLD_THE_DISK)
    one.send(two.device_id, "second")
    one.until("client.unsent().length === 0")
    time.sleep(1)  # it is verified meanwhile
    assert two.get("[texts(), heard(), client.pairs().map(({ length }) => length)]") == [["first"], ["first"], [1]]
    two.get("() => { window.isHeld = false; }")
    two.until("texts().length === 2 && client.pairs()[0].length === 2")


def test_what_is_to_be_sent_is_copied(context: BrowserContext, served: ProviderProcess) -> None:
    one, two = live(context, served), live(context, served)
    one.get(
        """async (to) => {
          const [peer, data] = [Uint8Array.fromHex(to), new TextEncoder().encode('as it was')];
          const sending = client.send([peer], data);
          for (const bytes of [peer, data]) bytes.fill(255);
          await sending;
        }""",
        two.device_id.hex(),
    )
    two.until("texts().length === 1")
    assert two.get("texts()") == ["as it was"]


def test_who_was_too_slow_to_prove_itself_tries_again(context: BrowserContext, served: ProviderProcess) -> None:
    n_tries = 0

    def refuse_once(route: WebSocketRoute) -> None:
        nonlocal n_tries
        n_tries += 1
        server = route.connect_to_server()
        if n_tries == 1:
            reason = "auth-timeout: the challenge was not answered in time"
            server.on_message(lambda _: route.close(code=CloseCode.UNAUTHENTICATED, reason=reason))

    page = blank_page(context, served.url)
    page.route_web_socket("**/v1/push", refuse_once)
    one = open_device(page)
    one.until_live()
    assert n_tries == 2
    assert one.get("client.lastProblem.closeCode") == CloseCode.UNAUTHENTICATED


def test_a_mistake_of_ours_ends_everything_and_frees_the_device(
    context: BrowserContext, served: ProviderProcess
) -> None:
    page = blank_page(context, served.url)
    page.evaluate(
        "() => { reportError = () => {}; BroadcastChannel = class { postMessage() { throw Error('odd'); } } }"
    )
    one = open_device(page)
    one.until("client.state === 'closed'")
    assert one.get("client.failure.code") == "internal"
    other = live(context, served)
    other.send(one.device_id, "hello")
    other.until("client.unsent().length === 0")
    time.sleep(0.5)
    assert one.get("heard()") == []
    one.get("client.close()")
    again = live(context, served, one.name)
    again.until("texts().length === 1")


def test_a_page_that_is_put_away_lets_go_of_its_device(context: BrowserContext, served: ProviderProcess) -> None:
    one = live(context, served)
    one.get("window.dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    one = open_device(one.page, one.name)  # as a page does that comes back
    one.until_live()
    assert one.get("client.failure") is None


FLOOD = """async () => {
  let nLooped = 0;
  class Socket {
    readyState = 1;
    bufferedAmount = 0;
    send() {}
    close() { this.readyState = 2; }
  }
  const [{ Link }, { Scope }, { encodeFrame }] = await Promise.all([
    import('/browser/io/link.js'), import('/browser/io/scope.js'), import('/browser/protocol/frames.js'),
  ]);
  const [socket, scope] = [new Socket(), new Scope()];
  const link = new Link(socket);
  const take = (frame) => socket.onmessage({ data: encodeFrame(frame).buffer });
  const zeros = (n) => new Uint8Array(n);
  take({ type: 'challenge', origin: zeros(32), nonce: zeros(32), life_ms: 1, server_ms: 1n });
  await link.receive(scope);
  const cursor = { log_size: 0n, roster_version: 0, hist_size: 0n, hist_next: 0n, last_epoch: 0n };
  link.send({ type: 'auth', proof: { body: zeros(0), signature: zeros(64) }, cursor });
  let nTaken = 0;
  while (!link.isFull && nTaken < 1e6) {
    take({ type: 'pong', token: zeros(16) });
    nTaken++;
  }
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    nLooped++;
    port2.postMessage(null);
  };
  port2.postMessage(null);
  const begunMs = performance.now();
  let nReceived = 0;
  const code = await (async () => {
    for (;; nReceived++) await link.receive(scope);
  })().catch((error) => error.code);
  port1.close();
  const other = new Socket();
  const stuck = new Link(other);
  other.bufferedAmount = 1 << 28;
  const full = await (async () => stuck.send({ type: 'pong', token: zeros(16) }))().catch((error) => error.code);
  return { nTaken, nReceived, nLooped, code, full, isEnded: other.readyState === 2,
    tookMs: performance.now() - begunMs };
}"""


def test_a_flood_of_small_frames_costs_little_and_ends(context: BrowserContext, served: ProviderProcess) -> None:
    found = blank_page(context, served.url).evaluate(FLOOD)
    assert 50_000 < found["nTaken"] == found["nReceived"] < 250_000
    assert (found["code"], found["full"], found["isEnded"]) == ("link-full", "link-stuck", True)
    assert found["nLooped"] > 100  # the page is alive meanwhile
    assert found["tookMs"] < 10_000
