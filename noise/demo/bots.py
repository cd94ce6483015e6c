"""Bots: clients of the SDK that talk to each other and to whoever writes to them, each on a device of its own.

Knows nothing of lies, pages or terminals. Bots believe what they verify, as every client does; when somebody is lied
to, they only write more, so that there is something to compare.
"""

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from itertools import count, filterfalse
from pathlib import Path

import trio

from noise.demo.tally import Tally
from noise.protocol.errors import NoiseError
from noise_client import Client, Delivery, Settings, Verdict, open_client
from noise_client.trust_store_sqlite import create_device_file

NAMES = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi")
PHRASES = (
    "hello, everybody",
    "the ferry leaves at nine",
    "who is bringing bread?",
    "I am",
    "see you there",
    "signed and sealed",
)
_ANSWERS = (
    "I got that, and verified it.",
    "Yes. Nobody between us has seen a word of it.",
    "Heard you. Now make the server lie, and see who notices.",
)
_PRESSING = (
    "did you get that?",
    "something is odd about this server",
    "compare with me what you were shown",
    "I have its signature on this",
)
_SETTINGS = Settings(backoff_first_s=0.05, backoff_max_s=0.5, keys_wait_s=2.0)
_ANSWER_AFTER_S = 0.4
_GREETING_TRIES = 5
_GUESTS_MAX = 256
_SAY_S = 60.0
_SETTLE_S = 0.01
_PRESS_S = 0.35
_PRESS_ROUNDS_MAX = 16
_ROUNDS_AFTER_PROOF = 6


class Bot:
    """One of them. `url`, `device_id` and `client` are there once it `is_open`."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self.url = ""
        self.device_id = b""
        self.client: Client
        self.is_open = trio.Event()
        self._is_called = trio.Event()
        self._is_sent_away = trio.Event()
        self._has_left = trio.Event()

    def come(self, url: str) -> None:
        """Open, from where it left if it ever did, at an address of its provider."""
        self.url = url
        self._is_called.set()

    async def leave(self) -> None:
        """Close, until it is called again. Returns when it has."""
        self._is_called = trio.Event()
        self._is_sent_away.set()
        await self._has_left.wait()

    async def run(self, origin: bytes, accompany: Callable[["Bot", Client], Awaitable[None]]) -> None:
        """Until cancelled. `accompany` runs while it is open."""
        while True:
            await self._is_called.wait()
            self._is_sent_away, self._has_left = trio.Event(), trio.Event()
            async with open_client(self.url, str(self.path), origin=origin, settings=_SETTINGS) as self.client:
                self.device_id = self.client.device_id
                self.is_open.set()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(accompany, self, self.client)
                    await self._is_sent_away.wait()
                    self.is_open = trio.Event()
                    nursery.cancel_scope.cancel()
            self._has_left.set()


class Company:
    """All bots of one provider, their devices in `directory`. `is_live` says whether a guest is connected.

    `is_ready`: all of them are there. `is_lied_to`: what happens to their clients is what they are there for.
    """

    def __init__(self, names: Sequence[str], directory: Path, tally: Tally, is_live: Callable[[bytes], bool]) -> None:
        self.bots = [Bot(name, directory / f"{name}.device") for name in names]
        self.tally = tally
        self.is_ready = trio.Event()
        self.is_lied_to = False
        self._is_live = is_live
        self._guests: dict[bytes, str] = {}
        self._is_pressing = False
        self._since_ms = time.time_ns() // 1_000_000
        self._n_answers = count()
        self._nursery: trio.Nursery

    @property
    def ids(self) -> list[bytes]:
        return [bot.device_id for bot in self.bots]

    @property
    def open_bots(self) -> list[Bot]:
        """Those who are there, or on their way to another address."""
        return [bot for bot in self.bots if bot.device_id]

    @property
    def guests(self) -> list[bytes]:
        """Devices that have introduced themselves, in that order."""
        return list(self._guests)

    async def run(
        self, url: str, origin: bytes, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Until cancelled. Started when all bots are open."""
        async with trio.open_nursery() as self._nursery:
            for bot in self.bots:
                if not bot.path.exists():
                    await trio.to_thread.run_sync(create_device_file, bot.path)
                self._nursery.start_soon(bot.run, origin, self._accompany)
                bot.come(url)
            for bot in self.bots:
                await bot.is_open.wait()
            self.is_ready.set()
            for guest, name in self._guests.items():
                self._nursery.start_soon(self._greet, guest, name)
            task_status.started()

    async def _accompany(self, bot: Bot, client: Client) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_states, bot.name, client)
            nursery.start_soon(self._listen, bot, client)

    async def _watch_states(self, name: str, client: Client) -> None:
        async for state in client.states():
            self.tally.states[name] = state.value

    async def _listen(self, bot: Bot, client: Client) -> None:
        try:
            async for delivery in client.deliveries():
                self._take(bot, delivery)
        except NoiseError:
            if not self.is_lied_to:
                raise

    def _take(self, bot: Bot, delivery: Delivery) -> None:
        if delivery.sender in self.ids:
            if delivery.created_ms >= self._since_ms:  # else of an earlier demo in this directory
                text = delivery.data.decode("utf-8", "replace")
                self.tally.note_delivery(bot.name, delivery.seq, time.perf_counter(), text)
            return
        first = next((one for one in self.bots if one.device_id in delivery.recipients), None)
        if first is bot and delivery.data and not self.is_lied_to:
            self._nursery.start_soon(self._answer, bot, delivery)

    async def _answer(self, bot: Bot, delivery: Delivery) -> None:
        await trio.sleep(_ANSWER_AFTER_S)
        with suppress(NoiseError):
            await self.say(bot, delivery.recipients, _ANSWERS[next(self._n_answers) % len(_ANSWERS)])

    async def say(self, bot: Bot, recipients: Sequence[bytes], text: str) -> None:
        """Send a message, and wait for its receipt. Raises NoiseError."""
        await bot.is_open.wait()
        sent_at = time.perf_counter()
        self.tally.sent += 1
        receipt = await bot.client.send(recipients, text.encode(), deadline_s=_SAY_S)
        self.tally.note_receipt(receipt.seq, sent_at, len({*receipt.recipients} & {*self.ids}))

    def welcome(self, guest: bytes, name: str) -> None:
        """Somebody introduces itself: all bots write to it, once."""
        if guest in self._guests or guest in self.ids:
            return
        while len(self._guests) >= _GUESTS_MAX:
            del self._guests[next(filterfalse(self._is_live, self._guests), next(iter(self._guests)))]
        self._guests[guest] = name
        if self.is_ready.is_set():
            self._nursery.start_soon(self._greet, guest, name)

    async def _greet(self, guest: bytes, name: str) -> None:
        to = f", {name}" if name else ""
        for bot in self.bots:
            for _ in range(_GREETING_TRIES):  # a device is known here before it has left its keys
                with suppress(NoiseError):
                    await self.say(bot, [guest], f"Hello{to}! I am {bot.name}, a bot. Write to me, and I answer.")
                    break

    async def talk(self, lines: Iterator[str], rate: float) -> None:
        """Each in turn says a line to all that are there, `rate` a second, or all at once if it is 0.

        Returns when each has verified all. Raises NoiseError when bots could not be told something, and nobody lied.
        """
        async with trio.open_nursery() as nursery:
            for n, line in enumerate(lines):
                while self._is_pressing:
                    await trio.sleep(_PRESS_S)
                nursery.start_soon(self._chat, self.bots[n % len(self.bots)], line)
                await trio.sleep(1 / rate if rate else 0)
        while not self.tally.is_settled and not self.is_lied_to:
            await trio.sleep(_SETTLE_S)

    async def _chat(self, bot: Bot, line: str) -> None:
        guests = [*filter(self._is_live, self._guests)]
        if guests:
            with suppress(NoiseError):
                await self.say(bot, [*self.ids, *guests], line)
                return
        try:  # without them, who may have left no keys
            await self.say(bot, self.ids, line)
        except NoiseError:
            if not self.is_lied_to:
                raise

    async def press(self, victim: bytes) -> None:
        """All write to a device and to each other, again and again, until one of them holds a proof, or for a while."""
        self._is_pressing = True
        n_left = _PRESS_ROUNDS_MAX
        for n in range(_PRESS_ROUNDS_MAX):
            if any(bot.client.verdict.verdict is Verdict.EXPOSED for bot in self.bots):
                n_left = min(n_left, _ROUNDS_AFTER_PROOF)
            if n_left == 0:
                break
            n_left -= 1
            text = _PRESSING[n % len(_PRESSING)]
            with trio.move_on_after(1):
                async with trio.open_nursery() as nursery:
                    for bot in self.bots:
                        nursery.start_soon(self._chat_with, bot, victim, text)
            await trio.sleep(_PRESS_S)
        self._is_pressing = False

    async def _chat_with(self, bot: Bot, victim: bytes, text: str) -> None:
        with suppress(NoiseError):
            await self.say(bot, [victim, *self.ids], text)


def make_lines() -> Iterator[str]:
    """Something to say, for ever."""
    return (PHRASES[n % len(PHRASES)] for n in count())
