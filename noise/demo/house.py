"""The house of `noise demo`: an honest provider with bots, which lies when somebody asks for that, and starts over.

Knows nothing of HTTP or terminals. A round is one provider with its keys and bots, in a directory of its own. In a
round one lie is told at most: after that nobody can believe anything that the provider signs.
"""

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import trio

from noise.config import LIED_MARK, ServeOptions
from noise.demo.bots import Company
from noise.demo.counts import Counts
from noise.demo.menu import choose_lie, offers_in
from noise.demo.tally import Tally
from noise.demo.zoo.lie import Lie
from noise.demo.zoo.provider import LyingProvider
from noise.node import Layout, create_node
from noise.protocol.errors import NoiseError, Rejected
from noise.protocol.identifiers import format_id
from noise.protocol.json_text import Json
from noise.web.app import Face

DEMO_MARK = "made-by-noise-demo"
"""The name of a file in the directory of each provider that a round has made. Holds its origin, as people have it."""

_KEYS_WAIT_S = 3.0
_LOOK_S = 0.05
_BACK_S = 10.0

Talk: TypeAlias = "Callable[[Round], Awaitable[None]]"
"""What bots say when nobody asks them."""


class Round:
    """One provider, its bots, and the lie that was asked for. `directory`: where all of it is kept."""

    def __init__(self, directory: Path, options: ServeOptions, names: Sequence[str], faces: Sequence[Face]) -> None:
        self.directory = directory
        self.data = directory / "provider"
        self.counts = Counts()
        self.tally = Tally(names)
        self.company = Company(names, directory, self.tally, self._is_live)
        self.provider = LyingProvider(None, options._replace(data=self.data), faces)
        self.provider.on_opened = lambda nodes: self.counts.watch(nodes[0].pipeline)
        self.lie: Lie | None = None
        self._topology = options.topology
        self.is_over = trio.Event()
        self._started_ms = _now_ms()
        self._nursery: trio.Nursery

    async def run(self, talk: Talk, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Until `is_over`. Started when the provider is served, and all bots are there. Raises NoiseError."""
        await self._have_provider()
        async with trio.open_nursery() as serving:
            await serving.start(self.provider.run)
            async with trio.open_nursery() as self._nursery:
                await self._nursery.start(self.company.run, self.provider.url, self.provider.origin)
                task_status.started()
                self._nursery.start_soon(talk, self)
                await self.is_over.wait()
                self._nursery.cancel_scope.cancel()
            self.provider.stop()

    async def _have_provider(self) -> None:
        """Make one in an empty directory, or find the one that was made there. Raises NoiseError for any other."""
        mark = self.data / DEMO_MARK
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            if not any(self.directory.iterdir()):
                mark.write_text(format_id(await create_node(self.data)), encoding="ascii")
            is_ours = mark.is_file() and mark.read_bytes() == format_id(Layout(self.data).key_ring().origin()).encode()
        except OSError as error:
            raise _unusable(self.directory, error) from None
        if not is_ours:
            raise NoiseError(
                f"{self.directory} is not empty, and {self.data} is no provider that noise demo made. It would have it "
                "sign lies, and keys that have signed one are convicted for ever: choose a new or an empty directory",
                code="not-a-demo",
            )

    def tell(self, lie: Lie, victim: bytes | None) -> None:
        """Have a lie told to a device, or to somebody, soon; and see that it has something to be told about.

        Raises Rejected.
        """
        company = self.company
        if not company.is_ready.is_set() or self.is_over.is_set():
            raise Rejected("the demo is starting: ask again soon", code="unavailable")
        if self.lie is not None:
            raise Rejected("this provider has its lie: start over for another one", code="lying-already")
        known = [*company.ids, *company.guests]
        if victim is not None and victim not in known:
            raise Rejected("the bots do not know this device: it has to introduce itself", code="unknown-victim")
        try:
            (self.data / LIED_MARK).touch()
        except OSError as error:
            raise Rejected(f"{self.data} cannot be marked as a liar's: {error.strerror}", code="unavailable") from None
        self.lie = lie
        company.is_lied_to = True
        chosen = victim or next(filter(self._is_live, reversed(company.guests)), known[0])
        self._nursery.start_soon(self._have_it_told, lie, chosen)

    async def _have_it_told(self, lie: Lie, victim: bytes) -> None:
        company, provider = self.company, self.provider
        devices = {victim, *company.ids}
        await self._wait_for_keys(devices)
        await lie.learn(provider.nodes[0].store, devices, _now_ms())
        movers = company.bots[1:] if lie.divides else []
        for bot in movers:
            await bot.leave()  # or it would see both histories by itself, and be the only one
        provider.become(lie)
        if lie.needs_start:
            await provider.wait_started(2)
        for bot in movers:
            bot.come(provider.urls[1])
        await self._wait_for(victim)
        lie.arm(victim)
        await company.press(victim)

    async def _wait_for(self, victim: bytes) -> None:
        """Until a device is back, or for a while: who was not there when something was said does not miss it."""
        with trio.move_on_after(_BACK_S):
            while not self._is_live(victim):
                await trio.sleep(_LOOK_S)

    async def _wait_for_keys(self, devices: set[bytes]) -> None:
        """Until all have left keys to write to them with, or for a while."""
        store, missing = self.provider.nodes[0].store, set(devices)
        with trio.move_on_after(_KEYS_WAIT_S):
            while missing:
                for device_id in tuple(missing):
                    if (await store.count_prekeys(device_id, _now_ms())).one_time:
                        missing.remove(device_id)
                await trio.sleep(_LOOK_S)

    def _is_live(self, device_id: bytes) -> bool:
        """Whether a device is connected."""
        return any(device_id in node.pipeline.fanout._subscribers for node in self.provider.nodes)

    def picture(self) -> Json:
        """For people to look at, and nobody to trust: which lie, what became of it, and who took and passed on what."""
        return {
            "origin": self.provider.origin_text,
            "can_lie": True,
            "started_ms": self._started_ms,
            "bots": [{"name": bot.name, "device_id": format_id(bot.device_id)} for bot in self.company.open_bots],
            "lies": [offer.to_json() for offer in offers_in(self._topology).values()],
            "lie": _lie_picture(self.lie, len(self.provider.urls)) if self.lie else None,
            "pipeline": self.counts.picture(),
        }


def _lie_picture(lie: Lie, n_logs: int) -> Json:
    """`state`: "armed" while it waits for its message, "told" once it is told, "served" where two logs are served."""
    state = "armed" if not lie.told else "told" if n_logs == 1 else "served"
    told = [
        {
            "epoch": str(told.epoch),
            "by": str(told.by) if told.by else None,
            "victim": format_id(told.victim) if told.victim else None,
        }
        for told in lie.told
    ]
    return {"name": lie.facts.name, "by": lie.by[0].name.lower(), "state": state, "told": told}


class House:
    """Rounds in `data`, one after the other at one address. `options`: with port 0 the first round chooses.

    `make_faces`: those of the page. `talk`: runs in each round, until that is over.
    """

    def __init__(
        self,
        data: Path,
        options: ServeOptions,
        names: Sequence[str],
        make_faces: "Callable[[House], Sequence[Face]]",
        talk: Talk,
    ) -> None:
        self._options = options
        self._names = names
        self._faces = make_faces(self)
        self._talk = talk
        self._directories = _directories(data)
        self._is_stopping = False
        self.round = self._next_round()

    def _next_round(self) -> Round:
        return Round(next(self._directories), self._options, self._names, self._faces)

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Round after round, until stopped. Started when the first one has begun. Raises NoiseError."""
        while True:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.round.run, self._talk)
                port = int(self.round.provider.url.rpartition(":")[2])
                self._options = self._options._replace(port=port)
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
            if self._is_stopping:
                return
            self.round = self._next_round()

    def tell(self, name: str, by: str | None, victim: bytes | None) -> None:
        """Have a lie of the menu told. Raises Rejected."""
        self.round.tell(choose_lie(name, by, self._options.topology), victim)

    def start_over(self) -> None:
        """Another provider with other bots, soon."""
        self.round.is_over.set()

    def stop(self) -> None:
        """Let everything end that was begun."""
        self._is_stopping = True
        self.round.is_over.set()

    def welcome(self, device_id: bytes, name: str) -> None:
        """A device introduces itself to the bots."""
        self.round.company.welcome(device_id, name)

    def picture(self) -> Json:
        return self.round.picture()


def _directories(data: Path) -> Iterator[Path]:
    """Where the rounds go: first the last one that was there, unless it lied, then new ones."""

    def place(number: int) -> Path:
        return data / f"round-{number}" if number > 1 else data

    number = 1
    try:
        while place(number + 1).exists():
            number += 1
        if (place(number) / "provider" / LIED_MARK).exists():
            number += 1
    except OSError as error:
        raise _unusable(data, error) from None
    while True:
        yield place(number)
        number += 1


def _unusable(directory: Path, error: OSError) -> NoiseError:
    return NoiseError(
        f"{directory} cannot be used: {error.strerror}. Choose a directory that can be made, or written to",
        code="data-unusable",
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
