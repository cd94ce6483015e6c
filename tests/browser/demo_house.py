"""A house of the demo in a thread of its own, for tests whose main thread belongs to a browser.

Knows nothing of browsers, nor of which lie is told.
"""

import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trio

from noise.config import ServeOptions
from noise.demo.assets import find_folder, load_assets
from noise.demo.bots import NAMES, make_lines
from noise.demo.house import House, Round
from noise.demo.page import PageFace
from noise.demo.panel import PanelFace
from noise.demo.zoo.lie import Lie
from noise.protocol.identifiers import format_id
from noise.web.app import Face

WAIT_S = 30


class DemoHouse:
    """Made by `open_house`: an honest provider with bots, which serves the page."""

    def __init__(self, options: ServeOptions, rate: float) -> None:
        self._options = options
        self._rate = rate
        self._house: House
        self._token: trio.lowlevel.TrioToken
        self._started = threading.Event()

    async def run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        assets = load_assets(find_folder())

        async def talk(current: Round) -> None:
            await current.company.talk(make_lines(), self._rate)

        def make_faces(house: House) -> tuple[Face, ...]:
            return PageFace(assets, house.picture), PanelFace(house)

        self._house = House(self._options.data / "house", self._options, NAMES[:3], make_faces, talk)
        async with trio.open_nursery() as nursery:
            await nursery.start(self._house.run)
            self._started.set()

    def wait_started(self) -> None:
        assert self._started.wait(WAIT_S)

    @property
    def url(self) -> str:
        return self._house.round.provider.url

    @property
    def origin(self) -> bytes:
        return self._house.round.provider.origin

    @property
    def bots(self) -> list[bytes]:
        return self._house.round.company.ids

    def state(self) -> Any:
        with urllib.request.urlopen(f"{self.url}/demo/state") as answer:
            return json.load(answer)

    def welcome(self, device_id: bytes) -> None:
        self._post("hello", {"device_id": format_id(device_id)})

    def tell(self, name: str, role: str, victim: bytes) -> None:
        """As the panel has it told."""
        self._post("lie", {"name": name, "by": role, "victim": format_id(victim)})

    def tell_beyond_the_menu(self, lie: Lie, victim: bytes) -> None:
        """As the panel would have it told, if it offered this one."""
        trio.from_thread.run_sync(self._house.round.tell, lie, victim, trio_token=self._token)

    def begin_to_lie(self, lie: Lie) -> None:
        """About the next message with several recipients. No bot is made to write one, or told anything."""

        def begin() -> None:
            lie.arm()
            self._house.round.provider.become(lie)

        trio.from_thread.run_sync(begin, trio_token=self._token)

    def _post(self, path: str, members: dict[str, Any]) -> None:
        body = json.dumps(members).encode()
        request = urllib.request.Request(f"{self.url}/demo/{path}", body, {"Content-Type": "application/json"})
        urllib.request.urlopen(request).close()

    def stop(self) -> None:
        trio.from_thread.run_sync(self._house.stop, trio_token=self._token)


@contextmanager
def open_house(data: Path, *, rate: float = 0.3, **changes: Any) -> Iterator[DemoHouse]:
    """At a free port, until the block ends.

    `rate`: lines of bots a second. `changes`: of the options with which `noise demo` opens one.
    """
    options = ServeOptions(data, "127.0.0.1", 0, "parallel", 2, 2, 20, 1_000, 15_000)._replace(**changes)
    house = DemoHouse(options, rate)
    thread = threading.Thread(target=trio.run, args=(house.run,))
    thread.start()
    house.wait_started()
    try:
        yield house
    finally:
        house.stop()
        thread.join(WAIT_S)
