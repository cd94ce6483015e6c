"""A device's days: when it writes, connects, loses its link, reads slowly, restarts and talks to its peers.

Knows nothing of what is checked in the end. A `Weather` says how bad things are; at last they are good.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import trio

from noise.protocol.envelope import Recipients
from noise.protocol.errors import ProviderMisbehaved
from noise.protocol.frames import BundleFrame, Frame, ReceiptFrame, RefusalFrame, encode_frame, parse_frame
from noise.protocol.gossip import encode_gossip
from tests.simulation.carrier import Carrier
from tests.simulation.device import RETRIED_CODES, SimDevice, recipients_of
from tests.simulation.provider import Link, Provider

_GONE = (trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel)


@dataclass
class Weather:
    """`calm`: nothing is lost and nobody is slow any more. `last_call`: whoever has everything may go.

    `on_refusal`: what a device's follower refused. In an honest world that never happens.
    """

    calm: trio.Event = field(default_factory=trio.Event)
    last_call: trio.Event = field(default_factory=trio.Event)
    note: Callable[[str, str], None] = lambda who, what: None
    on_refusal: Callable[[ProviderMisbehaved], None] | None = None


class Living:
    """The tasks of one device. `peers`: whom it writes and talks to."""

    def __init__(
        self,
        device: SimDevice,
        provider: Provider,
        weather: Weather,
        rng: random.Random,
        *,
        n_bundles: int,
        peers: Sequence[bytes],
    ) -> None:
        self.device = device
        self.provider = provider
        self.weather = weather
        self.rng = rng
        self.has_written = trio.Event()
        self._n_bundles = n_bundles
        self._peers = peers
        self._window = rng.choice((1, 1, 3))
        self._sets = [self._draw_set() for _ in range(2)]
        self._under_way: set[int] = set()
        self._woken = trio.Event()

    def _draw_set(self) -> Recipients:
        rng = self.rng
        chosen = rng.sample(self._peers, rng.randint(0, len(self._peers)))
        if rng.random() < 0.1:
            chosen.append(rng.randbytes(32))  # a mailbox that nobody follows
        return recipients_of(rng.randbytes(16), [self.device.device_id, *chosen])

    @property
    def is_settled(self) -> bool:
        """Everything that it wrote has its answer, unless it speaks with its provider no more."""
        return self.device.misbehaviour is not None or (self.has_written.is_set() and not self.device.pending)

    async def run_writing(self) -> None:
        """Write all its bundles, some before it ever connected."""
        rng = self.rng
        for _ in range(self._n_bundles):
            await trio.sleep(rng.choice((0, 0.01, 0.2, 1.0)))
            if rng.random() < 0.3:
                self._sets[rng.randrange(2)] = self._draw_set()
            drafts = [
                self.device.draft(rng.choice(self._sets), rng.choice((0, 5, 60)))
                for _ in range(rng.choice((1, 1, 2, 4)))
            ]
            self.write(drafts)
        self.has_written.set()

    def write(self, drafts: Sequence[object]) -> None:
        bundle = self.device.write(drafts)  # type: ignore[arg-type]
        self.weather.note(self.device.name, f"writes {bundle.count} from {bundle.first_ctr}")
        self._woken.set()

    async def run(self) -> None:
        """Connect, again and again, until the last call; then once more, until nothing is missing."""
        rng, weather, device = self.rng, self.weather, self.device
        while not weather.last_call.is_set() and device.misbehaviour is None:
            if rng.random() < 0.3:
                device.open()
            await self._visit(weather.last_call if weather.calm.is_set() else weather.calm)
            if not weather.calm.is_set():
                await trio.sleep(rng.choice((0, 0.05, 0.5)))
        if device.misbehaviour is not None:
            return
        device.open()
        link = await self.provider.connect(device.device_id, device.begin_link())
        await self._read(link, self._has_all)
        link.close()

    def _has_all(self) -> bool:
        trusted, node = self.device.follower.trusted, self.provider.node
        assert node is not None and node.pipeline.fanout.view is not None
        delivered = trusted.delivered.state if trusted.delivered else None
        return trusted.log.size > node.pipeline.fanout.view.epoch and delivered == trusted.state

    async def _visit(self, until: trio.Event) -> None:
        """One connection, until it is lost, or until `until`."""
        link = await self.provider.connect(self.device.device_id, self.device.begin_link())
        self._under_way.clear()
        seconds = float("inf") if self.weather.calm.is_set() else self.rng.expovariate(1.0)
        try:
            with trio.move_on_after(seconds):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._send, link)
                    nursery.start_soon(self._leave, nursery.cancel_scope, until)
                    await self._read(link, lambda: False)
                    nursery.cancel_scope.cancel()
        finally:
            link.close()

    @staticmethod
    async def _leave(scope: trio.CancelScope, until: trio.Event) -> None:
        await until.wait()
        scope.cancel()

    async def _read(self, link: Link, is_enough: Callable[[], bool]) -> None:
        device, rng, weather = self.device, self.rng, self.weather
        is_slow = rng.random() < 0.2
        try:
            while True:
                data = await link.down.receive()
                if not weather.calm.is_set() and is_slow:
                    await trio.sleep(rng.choice((0, 0.3, 2.0)))
                frame = parse_frame(data)
                if isinstance(frame, (ReceiptFrame, RefusalFrame)):
                    what = "refused: " + frame.code if isinstance(frame, RefusalFrame) else "has its receipt"
                    weather.note(device.name, f"{frame.request} {what}")
                self._take(frame)
                if isinstance(frame, RefusalFrame) and frame.code in RETRIED_CODES:
                    await trio.sleep(0.1)
                self._woken.set()
                if is_enough():
                    return
        except _GONE:
            return
        except ProviderMisbehaved as error:
            if weather.on_refusal is None:
                raise
            weather.on_refusal(error)

    def _take(self, frame: Frame) -> None:
        self.device.take(frame)
        if isinstance(frame, (ReceiptFrame, RefusalFrame)):
            self._under_way.discard(frame.request)

    async def _send(self, link: Link) -> None:
        """Send what is pending, in order, a few at a time; now and then the same again, or an ack."""
        device, rng = self.device, self.rng
        try:
            while True:
                self._woken = trio.Event()
                if not device.follower.rosters:  # it could not judge the receipts
                    await self._woken.wait()
                    continue
                for number in device.pending[: self._window]:
                    if number not in self._under_way:
                        self._under_way.add(number)
                        await link.up_send.send(encode_frame(BundleFrame(number, device.sent[number].encode())))
                if device.receipts and rng.random() < 0.1:
                    again = rng.choice(list(device.receipts))
                    await link.up_send.send(encode_frame(BundleFrame(again, device.sent[again].encode())))
                await self._send_more(link)
                if rng.random() < 0.1 and (ack := device.ack()) is not None:
                    await link.up_send.send(encode_frame(ack))
                await self._woken.wait()
        except _GONE:
            return

    async def _send_more(self, link: Link) -> None:
        """What else this one sends."""

    async def run_talking(self, carrier: Carrier) -> None:
        """Tell a peer something, now and then; ask again what was not answered; ask the provider, too."""
        device = self.device
        while True:
            await trio.sleep(self.rng.choice((0.3, 1.0, 3.0)))
            self.greet(carrier, self.rng.choice(self._peers))
            for peer, question in device.witness.questions():
                carrier.send(device.device_id, peer, encode_gossip(question))
            for lookup in device.witness.take_lookups():
                await self.provider.look_up(device.witness, lookup)
            self.speak(carrier)

    def greet(self, carrier: Carrier, peer: bytes) -> None:
        carrier.send(self.device.device_id, peer, self.device.greet(peer))

    def speak(self, carrier: Carrier) -> None:
        """Answers and questions on their way."""
        for peer, data in self.device.take_outgoing():
            carrier.send(self.device.device_id, peer, data)
