"""One world from one seed: a provider with its lives, devices with their days, and what came of it.

Knows nothing of evidence. `live_world` ends well, or raises what an honest world never does; then the seed replays it.
"""

import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from hashlib import sha256

import trio

from noise.node import Node
from noise.pipeline.recovery import load_rosters
from noise.protocol.statements import Parameters
from noise_client.retention import Policy
from tests.pipeline.faults import Meter
from tests.simulation.carrier import Carrier
from tests.simulation.challenging import Challenger
from tests.simulation.clockwork import run_seeded
from tests.simulation.colluders import Colluder
from tests.simulation.device import POLICIES, SimDevice
from tests.simulation.living import Living, Weather
from tests.simulation.operator import draw_chores
from tests.simulation.provider import Life, Provider, SeededKeys
from tests.simulation.remembered import remembered
from tests.simulation.result import Result

_SECONDS_MAX = 600
_LIVES = (1, 2, 2, 3, 4)
_TOPOLOGIES = ("parallel", "parallel", "multithreaded", "central")


def draw_life(rng: random.Random, parameters: Parameters | None) -> Life:
    """A life of a stormy time."""
    topology = rng.choice(_TOPOLOGIES)
    shape = (1, 1) if topology == "central" else (rng.randint(1, 2), rng.randint(1, 2))
    if parameters is None or rng.random() < 0.2:
        paces = (rng.choice((0, 1, 20, 100)), rng.choice((500, 2_000)), rng.choice((1_000, 10_000)))
        parameters = Parameters(*paces, rng.choice((3, 50, 65_536)), rng.choice((20, 64)))
    crash_at, fail_at = frozenset[int](), dict[int, bool]()
    if rng.random() < 0.6:
        crash_at = frozenset({rng.choice((rng.randint(0, 30), rng.randint(0, 150)))})
    elif rng.random() < 0.5:
        fail_at = {rng.randint(0, 30): rng.random() < 0.5}
    meter = Meter(crash_at, frozenset(), fail_at)
    seconds, is_killed = rng.choice((0.1, 0.7, 2.0)), rng.random() < 0.4
    return Life(shape, topology, parameters, meter, seconds, is_killed, draw_chores(rng))


Judge = Callable[[Result], Awaitable[list[str]]]


class World:
    """`on_node` sees each life's node before it runs: where a lie begins. None in an honest world."""

    def __init__(
        self,
        seed: int,
        *,
        on_node: Callable[[Node], None] = lambda _: None,
        tell: Callable[[str], None] | None = None,
        policies: Sequence[Policy] = POLICIES,
    ) -> None:
        self.seed = seed
        self.trace: list[str] = []
        self._tell = tell
        self._rng = rng = random.Random(f"world {seed}")
        self._lives = [draw_life(rng, None)]
        for _ in range(rng.choice(_LIVES)):
            self._lives.append(draw_life(rng, self._lives[-1].parameters))
        first = self._lives[0]
        self.keys = SeededKeys(f"provider {seed}", first.shape, first.parameters)
        self.origin = self.keys.origin
        self._on_node = on_node
        n_colluders = rng.choice((0, 0, 1, 2))
        names = [f"device-{n}" for n in range(rng.randint(2, 4))] + [f"colluder-{n}" for n in range(n_colluders)]
        self.devices = [
            SimDevice(name, self._private_key(name), self.origin, random.Random(f"{name} {seed}"), policies)
            for name in names
        ]

    def _private_key(self, name: str) -> bytes:
        return sha256(f"{name} {self.seed}".encode()).digest()

    def note(self, who: str, what: str) -> None:
        line = f"{trio.current_time():9.3f} {who}: {what}"
        self.trace.append(line)
        if self._tell is not None:
            self._tell(line)

    def _living(self, device: SimDevice) -> Living:
        ids = [peer.device_id for peer in self.devices if peer is not device]
        kind = Living if device.name.startswith("device") else partial(Colluder, victims=self.devices)
        n_bundles = self._rng.choice((0, 1, 2, 4))
        return kind(device, self.provider, self.weather, device.rng, n_bundles=n_bundles, peers=ids)

    async def run(self, judge: Judge) -> tuple[Result, list[str]]:
        """The result, and what the judge has to say about it."""
        with trio.fail_after(_SECONDS_MAX):
            self.weather = Weather(note=self.note)
            self.provider = Provider(self.keys, random.Random(f"provider {self.seed}"), self._on_node)
            self.living = [self._living(device) for device in self.devices]
            async with trio.open_nursery() as talking:
                carrier = self.carrier = Carrier(talking, random.Random(f"carrier {self.seed}"), self._deliver)
                challenger = Challenger(self.provider, self.devices, random.Random(f"challenger {self.seed}"))
                talking.start_soon(challenger.run)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._run_provider)
                    for one in self.living:
                        nursery.start_soon(one.run_writing)
                        talking.start_soon(one.run_talking, carrier)
                    await self._run_devices()
                    self.provider.end()
                self._last_words()
                await trio.sleep(5)
                talking.cancel_scope.cancel()
            async with self.provider.store(Meter()) as store:
                loot = [item for one in self.living if isinstance(one, Colluder) for item in one.loot]
                rosters = await load_rosters(store, self.origin)
                result = Result(
                    self.seed,
                    self.origin,
                    self.devices,
                    store,
                    self.provider.vault.open(Meter()),
                    self.provider.view,
                    rosters,
                    self.provider.operator.lost,
                    self.provider.n_killed,
                    self.provider.operator.n_renewed,
                    carrier.n_carried,
                    self.trace,
                    loot,
                    challenger.promised,
                )
                return result, await judge(result)

    def _deliver(self, sender: bytes, recipient: bytes, data: bytes) -> None:
        for one in self.living:
            if one.device.device_id == recipient:
                one.device.take_gossip(sender, data)
                one.speak(self.carrier)

    def _last_words(self) -> None:
        """Everybody talks to everybody, and nothing is lost."""
        self.carrier.loss = 0.0
        for one in self.living:
            for peer in self.devices:
                if peer is not one.device:
                    one.greet(self.carrier, peer.device_id)

    async def _run_provider(self) -> None:
        for life in self._lives:
            self.note("provider", f"{life.topology} {life.shape} {tuple(life.parameters)} {tuple(life.chores)}")
            await self.provider.live(life)
            await trio.sleep(self._rng.choice((0, 0, 0.5)))
        self.weather.calm.set()
        self.note("provider", "calm")
        await self.provider.live(self._last_life()._replace(meter=Meter(), seconds=None, is_killed=False))

    def _last_life(self) -> Life:
        """Until the end, and without faults."""
        return draw_life(self._rng, self._lives[-1].parameters)

    async def _run_devices(self) -> None:
        async with trio.open_nursery() as nursery:
            for one in self.living:
                nursery.start_soon(one.run)
            while not (self.weather.calm.is_set() and all(one.is_settled for one in self.living)):
                await trio.sleep(0.05)
            await self._before_last_call()
            await self._wait_shown()
            self.note("world", "last call")
            self.weather.last_call.set()

    async def _before_last_call(self) -> None:
        """Everybody has the answers to what it wrote, and all is calm."""

    async def _wait_shown(self) -> None:
        """Until whatever has a receipt is shown."""
        shown = trio.Event()
        while self.provider.node is None:
            await trio.sleep(0.05)
        pipeline = self.provider.node.pipeline
        epoch = pipeline.sequencer.log.size
        pipeline.fanout.on_shown = lambda committed: shown.set() if committed.epoch >= epoch else None
        pipeline.sequencer.notice_work()
        await shown.wait()


def live_world(
    seed: int,
    judge: Judge,
    *,
    on_node: Callable[[Node], None] = lambda _: None,
    tell: Callable[[str], None] | None = None,
) -> tuple[Result, list[str]]:
    """The world of a seed, from its beginning to its end, and what the judge says. Raises what never happens."""
    world = World(seed, on_node=on_node, tell=tell)
    with remembered():
        return run_seeded(f"{seed}", partial(World.run, world, judge))
