"""A house of the demo that is open for an evening, and guests: devices of the SDK in a page's place.

Knows nothing of which lie is told, or of what has to come of it.
"""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import trio

from noise.config import ServeOptions
from noise.demo.assets import load_assets
from noise.demo.bots import NAMES, make_lines
from noise.demo.house import House, Round
from noise.demo.page import PageFace
from noise.demo.panel import PanelFace
from noise.protocol.identifiers import format_id
from noise.web.app import Face
from noise_client import Client, ClientState, Delivery, NoiseError, Settings, create_device, open_client

SETTINGS = Settings(backoff_first_s=0.05, backoff_max_s=0.5)
"""As a page has them, which is in a hurry to come back."""

CUT_SHORT = "ignore:Async generator 'httpx._content.ByteStream:ResourceWarning"
"""What Trio says of a bot that is cancelled while it uploads something: httpx leaves the rest to the garbage."""

FILES = {
    "index.html": "<!doctype html><title>a page</title>",
    "protocol/bytes.js": "export const ONE = 1;\n",
    "protocol/evidence/proof.js": "export const TWO = 2;\n",
    "ui/style.css": "body { margin: 0 }\n",
    "ui/mark.svg": "<svg xmlns='http://www.w3.org/2000/svg'/>",
    "ui/notes.txt": "not served",
    "package.json": "{}",
    "other/secret.js": "not served",
}


def write_files(folder: Path) -> Path:
    """Something in the place of the browser client."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


class Visit:
    """A house that is open, and how to ask it over HTTP."""

    def __init__(self, house: House, http: httpx.AsyncClient, nursery: trio.Nursery) -> None:
        self.house = house
        self._http = http
        self._nursery = nursery

    @property
    def url(self) -> str:
        return self.house.round.provider.url

    async def state(self) -> Any:
        return (await self._http.get(f"{self.url}/demo/state")).json()

    async def post(self, path: str, body: object = None, data: bytes | None = None, **headers: str) -> httpx.Response:
        """Names of headers are written with underscores."""
        named = {"Content-Type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
        content = json.dumps({} if body is None else body).encode() if data is None else data
        return await self._http.post(self.url + path, content=content, headers=named)

    async def hello(self, client: Client, name: str | None = None) -> None:
        answer = await self.post("/demo/hello", {"device_id": format_id(client.device_id), "name": name})
        assert (answer.status_code, answer.content) == (204, b"")

    @asynccontextmanager
    async def guest(self) -> AsyncIterator["Guest"]:
        """A client that has introduced itself, and heard of all bots."""
        async with open_client(self.url, create_device(), settings=SETTINGS) as client:
            made = Guest(client)
            self._nursery.start_soon(made.listen)
            await client.wait_state(ClientState.LIVE)
            await self.hello(client)
            await made.wait_heard(len(self.house.round.company.bots))
            yield made


class Guest:
    """A client with what it has heard."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.heard: list[Delivery] = []
        self._changed = trio.Event()

    async def listen(self) -> None:
        try:
            async for delivery in self.client.deliveries():
                self.heard.append(delivery)
                self._changed.set()
                self._changed = trio.Event()
        except NoiseError:
            return

    async def wait_heard(self, count: int) -> None:
        while len(self.heard) < count:
            await self._changed.wait()


@asynccontextmanager
async def open_house(data: Path, *, rate: float = 0.3, names: Sequence[str] = NAMES[:3]) -> AsyncIterator[Visit]:
    """A house as `noise demo` opens it, at a free port, until the block ends."""
    assets = load_assets(write_files(data / "files"))
    options = ServeOptions(data, "127.0.0.1", 0, "parallel", 2, 2, 20, 1_000, 15_000)

    async def talk(current: Round) -> None:
        await current.company.talk(make_lines(), rate)

    def make_faces(house: House) -> tuple[Face, ...]:
        return PageFace(assets, house.picture), PanelFace(house, "demo.example")

    house = House(data / "house", options, names, make_faces, talk)
    async with httpx.AsyncClient(trust_env=False) as http, trio.open_nursery() as nursery:
        async with trio.open_nursery() as serving:
            await serving.start(house.run)
            yield Visit(house, http, nursery)
            house.stop()
        nursery.cancel_scope.cancel()
