"""Pages of one browser find each other, prove who they are, and compare what they were shown; files do it with the SDK.

Knows nothing of lies: everybody here is honest but for a script that has got into the site, and a peer's forged file.
"""

import hashlib
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page

from noise.protocol.exported_view import open_view, sign_view
from noise.protocol.frames import CHALLENGE, ChallengeFrame
from noise.protocol.identifiers import format_id, parse_id
from noise.protocol.pair_chain import new_chain
from noise_client import ClientState, Verdict
from tests.browser.device_page import WAIT_S, DevicePage, blank_page, code_of, open_device
from tests.browser.sdk_peer import SdkPeer, open_peer
from tests.e2e.provider_process import ProviderProcess, provider

KEY_BYTES, CHALLENGE_BYTES = 32, 97
"""What an end says before it knows who is there."""

IN_THE_OPEN = {"seal": False}
"""Then nothing is compared but between tabs."""

LINKED = "client.pairs().some(({ isLinked }) => isLinked)"
MATCHED = "client.pairs().every(({ matchedLength, length }) => matchedLength === length)"

OPEN_PANE = """async () => {
  const [{ openClient }, { createDevice }] = await Promise.all([
    import('/browser/io/client.js'), import('/browser/io/devices.js'),
  ]);
  window.pane = await openClient(await createDevice(), { url: location.origin, settings: { seal: false } });
  return hex(window.pane.deviceId);
}"""

LISTEN = """() => {
  const channel = new BroadcastChannel('noise-gossip');
  const notes = [], toUs = [], posted = [], names = new Set();
  channel.onmessage = ({ data: note }) => {
    notes.push(note);
    if (names.has(note.to)) toUs.push(note);
    if (window.relay) window.relay(note);
  };
  const newName = () => { const name = crypto.randomUUID(); names.add(name); return name; };
  const post = (note) => channel.postMessage(note);
  Object.assign(window, { notes, toUs, names, newName, post });
}"""

REPLAY = """() => {
  const name = newName();
  for (const note of [...notes]) post(note);
  for (const note of [...notes]) post({ ...note, from: name });
}"""

MAKE_UP = """async () => {
  const { encodeGossip } = await import('/browser/protocol/gossip.js');
  const cuts = [{ epoch: 0n, length: 5n, head: new Uint8Array(32) }];
  const view = encodeGossip({ type: 'view', view: { checkpoint: null, cuts } });
  const goodbye = new Uint8Array(24).fill(255);
  const { origin } = notes[0];
  const pairs = new Map(notes.filter(({ to }) => to).map(({ from, to }) => [from + to, { from, to, origin }]));
  for (const pair of pairs.values()) {
    for (const data of [view, goodbye, new Uint8Array(0), new Uint8Array(7), new Uint8Array(32), new Uint8Array(200)]) {
      post({ ...pair, kind: 'frame', data });
      post({ ...pair, kind: 'hello', data });
    }
    for (const data of [undefined, 'text', { length: 32 }, [1, 2], new Uint8Array(2 << 20)]) {
      post({ ...pair, kind: 'frame', data });
    }
    post({ ...pair, kind: 'bye', data: null });
    post({ ...pair, kind: 'frame', data: view, from: null });
    for (let n = 0; n < 1000; n++) post({ ...pair, kind: 'frame', data: new Uint8Array(100).fill(n) });
  }
  for (const note of [null, 1, 'hello', {}, [], { kind: 'hello' }]) post(note);
}"""

STAND_BETWEEN = """() => {
  const { origin } = notes[0];
  const [one, two] = new Set(notes.map(({ from }) => from));
  const [ours, forOne, forTwo] = [crypto.getRandomValues(new Uint8Array(32)), newName(), newName()];
  window.relay = (note) => {
    const data = note.data?.length === 32 ? ours : note.data;
    if (note.to === forOne && note.from === one) post({ ...note, from: forTwo, to: two, data });
    if (note.to === forTwo && note.from === two) post({ ...note, from: forOne, to: one, data });
  };
  post({ kind: 'hello', from: forOne, to: one, origin, data: null });
  post({ kind: 'hello', from: forTwo, to: two, origin, data: null });
}"""

CLAIM = """async (deviceId) => {
  const { fromHex } = await import('/browser/protocol/bytes.js');
  const { encodeGossip } = await import('/browser/protocol/gossip.js');
  const { deviceIdOf } = await import('/browser/protocol/identifiers.js');
  const { Signer } = await import('/browser/protocol/signing.js');
  const { Scope } = await import('/browser/io/scope.js');
  const { runTabLinks } = await import('/browser/io/tab_channel.js');
  const cuts = [{ epoch: 0n, length: 5n, head: new Uint8Array(32) }];
  window.nOpened = window.nHeard = 0;
  const signer = await Signer.generate();
  const device = { deviceId: deviceId ? fromHex(deviceId) : deviceIdOf(signer.publicKey), signer };
  void runTabLinks(new Scope(), device, fromHex(notes[0].origin), async (link, scope) => {
    window.nOpened++;
    link.send(encodeGossip({ type: 'view', view: { checkpoint: null, cuts } }));
    await link.receive(scope);
    window.nHeard++;
  });
}"""

SPEAK_FROM_ODD_BUFFERS = """() => {
  const { postMessage } = BroadcastChannel.prototype;
  BroadcastChannel.prototype.postMessage = function (note) {
    const data = note.data && new Uint8Array(new ArrayBuffer(note.data.length, { maxByteLength: 2 << 20 }));
    data?.set(note.data);
    postMessage.call(this, { ...note, data });
  };
  const { origin } = notes[0];
  const channel = new BroadcastChannel('noise-gossip');
  const data = new Uint8Array(8 << 20).subarray(0, 32);
  postMessage.call(channel, { kind: 'frame', from: newName(), to: null, origin, data });
}"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProviderProcess]:
    data = tmp_path_factory.mktemp("provider") / "data"
    with provider(data, "--demo", "--heartbeat-ms", "500") as process:
        yield process


def verdict_of(page: DevicePage) -> str:
    verdict: str = page.get("client.judgement.verdict")
    return verdict


def test_pages_and_panes_find_each_other(context: BrowserContext, served: ProviderProcess) -> None:
    one = open_device(blank_page(context, served.url), settings=IN_THE_OPEN)
    pane = bytes.fromhex(one.get(OPEN_PANE))
    two = open_device(blank_page(context, served.url), settings=IN_THE_OPEN)
    for page in (one, two):
        page.until_live()
    one.until("pane.state === 'live'")
    one.send(pane, "to the pane")
    one.send(two.device_id, "to the other page")
    two.send(pane, "from the other page")
    one.until("texts().length === 2 && pane.messages().length === 2")
    two.until("texts().length === 2")
    for page, client in ((one, "client"), (one, "pane"), (two, "client")):
        page.until(f"{client}.pairs().length === 2 && {client}.pairs().every(({{ isLinked }}) => isLinked)")
        page.until(MATCHED.replace("client", client))
        assert page.get(f"{client}.judgement.verdict") == "ok"
    one.get("pane.close()")
    two.until("client.pairs().filter(({ isLinked }) => isLinked).length === 1")
    assert one.get("[pane.state, pane.failure]") == ["closed", None]
    two.page.close()
    one.until("client.pairs().filter(({ isLinked }) => isLinked).length === 0")
    two = open_device(blank_page(context, served.url), two.name, settings=IN_THE_OPEN)
    for page in (one, two):
        page.until(LINKED)


@pytest.fixture
def linked(context: BrowserContext, served: ProviderProcess) -> "tuple[Page, DevicePage, DevicePage]":
    """A page with a foreign script, which was there before, and two devices with a link between them."""
    foreign = blank_page(context, served.url)
    foreign.evaluate(LISTEN)
    one = open_device(blank_page(context, served.url), settings=IN_THE_OPEN)
    two = open_device(blank_page(context, served.url), settings=IN_THE_OPEN)
    two.until_live()
    one.send(two.device_id, "before")
    for page in (one, two):
        page.until(f"texts().length === 1 && {LINKED}")
    return foreign, one, two


def wait_answered(foreign: Page) -> None:
    """Until both ends have said all that they will to the name of the replay, and to whoever stands between them."""
    deadline = time.monotonic() + WAIT_S
    while foreign.evaluate("new Set(toUs.map(({ from, to, data }) => from + to + data.length)).size") < 8:
        assert time.monotonic() < deadline, foreign.evaluate(
            "toUs.map(({ from, to, data }) => [from, to, data.length])"
        )
    foreign.wait_for_timeout(300)


def test_a_foreign_script_gets_no_link_and_breaks_none(linked: "tuple[Page, DevicePage, DevicePage]") -> None:
    foreign, one, two = linked
    foreign.evaluate(REPLAY)
    foreign.evaluate(MAKE_UP)
    foreign.evaluate(STAND_BETWEEN)
    wait_answered(foreign)
    assert set(foreign.evaluate("toUs.map(({ data }) => data.length)")) <= {KEY_BYTES, CHALLENGE_BYTES}
    foreign.evaluate(CLAIM, one.device_id.hex())
    two.send(one.device_id, "after")
    for page in (one, two):
        page.until(f"texts().length === 2 && {LINKED} && {MATCHED}")
        assert verdict_of(page) == "ok"
    assert foreign.evaluate("nOpened") >= 1  # whom it fools about itself is itself
    assert foreign.evaluate("nHeard") == 0


def test_a_foreign_script_that_speaks_from_odd_buffers(linked: "tuple[Page, DevicePage, DevicePage]") -> None:
    """One that it could resize would be refused by the browser's own cryptography; a large one comes as a whole."""
    foreign, one, two = linked
    foreign.evaluate(SPEAK_FROM_ODD_BUFFERS)
    foreign.evaluate(CLAIM, None)
    deadline = time.monotonic() + WAIT_S
    while foreign.evaluate("nHeard") < 2:
        assert time.monotonic() < deadline, foreign.evaluate("[nOpened, nHeard]")
        foreign.wait_for_timeout(20)
    assert foreign.evaluate("toUs") == []
    for page in (one, two):
        assert page.get(LINKED)


def forge(peer: SdkPeer, data: bytes, origin: bytes, reader: bytes) -> bytes:
    """The same file, in which the last message that both share is another one."""
    view = open_view(data, origin)
    assert view.section is not None
    *items, last = view.section.items
    items.append(last._replace(env_hash=hashlib.sha256(b"another message").digest()))
    head = new_chain(peer.device.device_id, reader).extend(items).head
    cuts = tuple([cut._replace(head=head) for cut in view.section.cuts])
    return sign_view(peer.device.signer, view._replace(section=view.section._replace(cuts=cuts, items=tuple(items))))


def import_view(page: DevicePage, data: bytes) -> bytes:
    """The id of whoever made the file."""
    found: str = page.get("async (file) => hex(await client.importView(Uint8Array.fromHex(file)))", data.hex())
    return bytes.fromhex(found)


def test_views_as_files_between_a_page_and_the_sdk(context: BrowserContext, served: ProviderProcess) -> None:
    with open_peer(served.url) as peer, open_peer(served.url) as stranger:
        page = open_device(blank_page(context, served.url), settings=IN_THE_OPEN)
        page.until_live()
        page.send(peer.device.device_id, "one", "two")
        assert peer.texts(2) == ["one", "two"]
        page.until("texts().length === 2")
        made = "async (peer) => hex(await client.exportView(peer && Uint8Array.fromHex(peer)))"
        for_peer = bytes.fromhex(page.get(made, peer.device.device_id.hex()))
        for_all = bytes.fromhex(page.get(made))
        for file in (for_peer, for_all):
            assert peer.call(peer.client.import_view, file) == page.device_id
        assert peer.client.verdict.verdict is Verdict.OK
        from_peer = peer.call(peer.client.export_view, page.device_id)
        assert page.get("client.pairs()[0].matchedEpoch") is None
        import_view(page, forge(peer, from_peer, parse_id(served.origin), page.device_id))
        page.until("client.judgement.verdict === 'suspected'")
        [reason] = page.get("client.judgement.reasons")
        assert (reason["code"], reason["accused"]) == ("peer-differs", "")
        assert format_id(peer.device.device_id) in reason["detail"]
        assert page.get("client.proofs()") == []
        assert import_view(page, from_peer) == peer.device.device_id
        page.until(f"client.judgement.verdict === 'ok' && {MATCHED}")
        foreign = stranger.call(stranger.client.export_view, peer.device.device_id)
        for file, code in ((for_all, "own-view"), (foreign, "foreign-view"), (from_peer[:-1], "malformed")):
            assert code_of(page.page, "(file) => client.importView(Uint8Array.fromHex(file))", file.hex()) == code
        assert verdict_of(page) == "ok"


def answer_as(page: DevicePage, origin: bytes) -> None:
    """Whoever has the provider's address says that it is this one, and knows nothing of our log."""
    problem = {"code": "not-committed", "detail": "it is a younger log"}
    challenge = CHALLENGE.encode(ChallengeFrame(origin, bytes(32), 1000, 0))
    page.page.route("**/v1/log/consistency?*", lambda route: route.fulfill(status=404, json=problem))
    page.page.route("**/v1/challenges", lambda route: route.fulfill(status=201, body=challenge))


def test_another_provider_at_the_same_address_says_nothing_of_ours(
    context: BrowserContext, served: ProviderProcess
) -> None:
    page = open_device(blank_page(context, served.url), settings=IN_THE_OPEN)
    files = []
    for _ in range(2):
        with open_peer(served.url) as peer:
            peer.call(peer.client.wait_state, ClientState.LIVE)
            files.append(peer.call(peer.client.export_view))
    page.until_live()
    grown = "client.freshness.epoch"
    epoch = page.get(f"`${{{grown}}}`")
    page.until(f"{grown} > {epoch}n")
    answer_as(page, bytes(32))
    with page.page.expect_response("**/v1/challenges"):
        import_view(page, files[0])
    page.page.wait_for_timeout(300)
    assert verdict_of(page) == "ok"
    page.page.unroute_all()
    answer_as(page, parse_id(served.origin))
    import_view(page, files[1])
    page.until("client.judgement.verdict === 'suspected'")
    assert [reason["code"] for reason in page.get("client.judgement.reasons")] == ["log-differs"]
