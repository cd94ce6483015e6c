"""A page that was away for long, and one that stays open for long: nothing is lost, and nothing piles up.

Knows nothing of what is inside of the client. The SDK writes, so that all of it is sealed, and gossip travels along.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import BrowserContext, CDPSession, Page

from noise.protocol.identifiers import parse_id
from noise_client import Sending
from tests.browser.device_page import blank_page, open_device
from tests.browser.sdk_peer import SdkPeer, open_peer
from tests.e2e.provider_process import ProviderProcess, provider

EPOCHS = 1_000
WARM = 2_000
DELIVERIES = 10_000

BUNDLE = 25
"""Messages in an epoch: what the page still shows, and holds, of the last ones is then the same whenever we measure."""

GROWTH_BYTES_MAX = 2 << 20
"""Of JavaScript's heap with its buffers, and of what is stored, from WARM to DELIVERIES: 260 bytes a message, less than
its text, its place and its proof take."""

NODES_MAX = 8_000
WAIT_S = 60

MEMORY = Path("/dev/shm")
"""A thousand epochs that outlive a power failure take long; here nothing has to."""

OWN_ID = "async () => (await (await import('/browser/io/devices.js')).listDevices())[0].deviceId"
CAUGHT_UP = """async ([count, waitMs]) => {
  const endMs = performance.now() + waitMs;
  while (performance.now() < endMs && !(heard().length >= count && client.state === 'live')) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}"""


class Sizes(NamedTuple):
    """In bytes, after the garbage was collected; and the number of nodes on the page."""

    heap: int
    stored: int
    nodes: int


@pytest.fixture(scope="module")
def served() -> Iterator[ProviderProcess]:
    """Its epochs follow each other as fast as they can, and go on while nothing comes."""
    with (
        tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as directory,
        provider(Path(directory, "data"), "--demo", "--epoch-ms", "1", "--idle-ms", "10") as process,
    ):
        yield process


def test_catches_up(context: BrowserContext, served: ProviderProcess, search_factor: int) -> None:
    """The page is closed while EPOCHS go by: then all that came is there, once and in order."""
    page = blank_page(context, served.url)
    device = open_device(page)
    device.until_live()
    own_id = device.device_id
    with open_peer(served.url) as peer:
        peer.send(own_id, "before")
        device.until("texts().length === 1")
        page.goto("about:blank")
        texts, last_epoch = send_for(peer, own_id, EPOCHS * search_factor)
    page.goto(f"{served.url}/demo/state")
    begun_s = time.monotonic()
    device = open_device(page, device.name)
    device.get(CAUGHT_UP, [len(texts), 1000 * WAIT_S * search_factor])
    took_s = time.monotonic() - begun_s
    assert device.get("heard()") == texts
    assert device.get("texts()") == ["before", *texts][-1000:]
    assert device.get("client.judgement.verdict") == "ok"
    assert device.get(f"client.freshness.epoch >= {last_epoch}n")
    print(f"{len(texts)} messages of {EPOCHS * search_factor} epochs: caught up in {took_s:.1f} s")


def send_for(peer: SdkPeer, to: bytes, n_epochs: int) -> tuple[list[str], int]:
    """One message after the other while so many epochs go by: what they say, and the last epoch."""

    async def send() -> tuple[list[str], int]:
        texts: list[str] = []
        epochs: list[int] = []
        while not epochs or epochs[-1] - epochs[0] < n_epochs:
            texts.append(f"message {len(texts)}")
            epochs.append((await peer.client.send([to], texts[-1].encode())).epoch)
        return texts, epochs[-1]

    sent: tuple[list[str], int] = peer.call(send)
    return sent


def test_stays_open(context: BrowserContext, served: ProviderProcess, search_factor: int) -> None:
    """DELIVERIES come to the demo page: its memory, its storage and its nodes grow no more."""
    page = context.new_page()
    page.goto(served.url)
    page.get_by_role("button", name="Open a device").click()
    page.locator(".pane[data-state=live]").wait_for()
    own_id = parse_id(page.evaluate(OWN_ID))
    cdp = context.new_cdp_session(page)
    sizes = []
    with open_peer(served.url) as peer:
        for first, after in ((0, WARM), (WARM, DELIVERIES * search_factor)):
            send_bundles(peer, own_id, range(first, after))
            page.get_by_text(f"message {after - 1}", exact=True).wait_for(timeout=1000 * WAIT_S)
            sizes.append(measure(page, cdp))
    before, after_all = sizes
    print(before, after_all)
    assert after_all.heap - before.heap < GROWTH_BYTES_MAX, sizes
    assert after_all.stored - before.stored < GROWTH_BYTES_MAX, sizes
    assert after_all.nodes < NODES_MAX, sizes
    assert page.locator(".pane[data-verdict=ok]").is_visible()


def send_bundles(peer: SdkPeer, to: bytes, numbers: range) -> None:
    """BUNDLE messages at once, each time in an epoch of their own. Waits for the last receipt."""

    async def send() -> None:
        for first in numbers[::BUNDLE]:
            bundle: list[Sending] = []
            for number in range(first, first + BUNDLE):
                bundle.append(await peer.client.enqueue([to], f"message {number}".encode()))
            await bundle[-1].wait_receipt()

    peer.call(send)


def measure(page: Page, cdp: CDPSession) -> Sizes:
    page.wait_for_timeout(500)  # the last write, and the last frame
    cdp.send("HeapProfiler.collectGarbage")
    heap = cdp.send("Runtime.getHeapUsage")
    stored: int = page.evaluate("async () => (await navigator.storage.estimate()).usage")
    nodes: int = cdp.send("Memory.getDOMCounters")["nodes"]
    return Sizes(int(heap["usedSize"] + heap["backingStorageSize"]), stored, nodes)
