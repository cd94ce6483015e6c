"""A provider in one process: makes it, opens it, runs it. The only place that picks a concrete store and exchange.

Knows nothing of command lines. A provider's directory holds `keys/` and `state/`; `docs/operations.md` says what a
thief of each gains.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import trio

from noise.config import EPOCH_MS, HEARTBEAT_MS, IDLE_MS, ServeOptions, check_options
from noise.exchange.local import LocalExchange
from noise.keys import HighWater, KeyRing, actor_key_name
from noise.pipeline.assembly import Pipeline
from noise.pipeline.batches import RoutedLane
from noise.pipeline.fsck import Counts, check_store
from noise.pipeline.recovery import load_rosters, recover
from noise.pipeline.topology import Topology, make_topology
from noise.protocol.delta import SignedRoster
from noise.protocol.errors import NoiseError
from noise.protocol.identifiers import Actor, Role, origin_of, parse_actor
from noise.protocol.signing import SIGNED, Signer
from noise.protocol.statements import ROSTER, Parameters, Roster
from noise.rosters import ROOT_KEY, sign_roster
from noise.store.base import Store
from noise.store.sqlite import create_sqlite, open_sqlite
from noise.web.gateway import Gateway
from noise.web.service import serve_web

_EXCHANGE_CAPACITY = 1


class Layout(NamedTuple):
    """Where things lie under a provider's directory."""

    data: Path

    @property
    def keys(self) -> Path:
        return self.data / "keys"

    @property
    def database(self) -> Path:
        return self.data / "state" / "noise.db"


async def create_node(data: Path) -> bytes:
    """Make a provider: root key, actor keys, an empty log. The only creator of state. Returns its origin.

    Raises NoiseError when the directory holds anything already.
    """
    layout = Layout(data)
    if layout.keys.exists() or layout.database.parent.exists():
        raise NoiseError(
            f"{data} holds a provider, or the rest of one: choose another directory, or run noise serve --data {data}",
            code="data-exists",
        )
    try:
        layout.database.parent.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise NoiseError(f"{data} cannot be made: {error.strerror}", code="data-unusable") from None
    keys = KeyRing(layout.keys)
    origin = origin_of(keys.create(ROOT_KEY).public_key)
    keys.write_origin(origin)
    roster = sign_roster(keys, [], 0, (1, 1), Parameters(EPOCH_MS, IDLE_MS, HEARTBEAT_MS))
    await create_sqlite(layout.database, origin)
    async with open_sqlite(layout.database, origin) as store:
        await store.add_roster(1, SIGNED.encode(roster))
    HighWater(layout.keys).create()
    return origin


class Node(NamedTuple):
    """An open provider: recovered, every epoch ended, ready to run."""

    origin: bytes
    pipeline: Pipeline
    store: Store
    rosters: list[SignedRoster]


def check_data(data: Path) -> Layout:
    """The layout of an existing provider. Raises NoiseError that says what is missing."""
    layout = Layout(data)
    if not layout.keys.exists():
        raise NoiseError(f"{data} holds no provider: make one with noise init --data {data}", code="no-provider")
    return layout


@asynccontextmanager
async def open_node(options: ServeOptions) -> AsyncIterator[Node]:
    """Open a provider and end what a crash interrupted. Raises NoiseError when anything is not as it was signed."""
    check_options(options)
    layout = check_data(options.data)
    keys = KeyRing(layout.keys)
    origin = keys.origin()
    async with open_sqlite(layout.database, origin) as store:
        high_water = HighWater(layout.keys)
        high_water.open(await sealed_epochs(store), store.next_epoch)
        try:
            yield await build_node(options, keys, origin, store, high_water)
        finally:
            high_water.close()


async def build_node(options: ServeOptions, keys: KeyRing, origin: bytes, store: Store, high_water: HighWater) -> Node:
    """Recover from an open store, end what was interrupted, and sign a new roster if another shape was asked for."""
    rosters = await load_rosters(store, origin)

    async def build(topology: Topology) -> Pipeline:
        recovered = await recover(store, origin, rosters)
        return Pipeline(
            recovered,
            store,
            topology,
            [SignedRoster(*roster) for roster in rosters],
            signer_of=_signer_finder(keys, ROSTER.decode(rosters[-1].body)),
            time_ms=_wall_clock_ms,
            high_water=high_water,
            mailboxes_max=options.mailboxes_max,
            make_exchange=lambda n: LocalExchange[RoutedLane](n, _EXCHANGE_CAPACITY),
        )

    current = ROSTER.decode(rosters[-1].body)
    shape, parameters = _wanted(options, current)
    topology = make_topology(options.topology, *shape)
    pipeline = await build(topology)
    if await pipeline.finish_pending() is not None:
        pipeline = await build(topology)
    if (current.count_of(Role.INBOX), current.count_of(Role.OUTBOX), current.parameters) != (*shape, parameters):
        rosters.append(sign_roster(keys, rosters, store.next_epoch, shape, parameters))
        await store.add_roster(len(rosters), SIGNED.encode(rosters[-1]))
        pipeline = await build(topology)
    return Node(origin, pipeline, store, [SignedRoster(*roster) for roster in rosters])


def _wanted(options: ServeOptions, current: Roster) -> tuple[tuple[int, int], Parameters]:
    """(inboxes, outboxes) and intervals: what was asked for, else what the roster has; central has one of each."""
    central = options.topology == "central"
    inboxes = options.inboxes or (1 if central else current.count_of(Role.INBOX))
    outboxes = options.outboxes or (1 if central else current.count_of(Role.OUTBOX))
    asked = (options.epoch_ms, options.idle_ms, options.heartbeat_ms)
    chosen = [old if new is None else new for old, new in zip(current.parameters, asked, strict=True)]
    return (inboxes, outboxes), Parameters(*chosen)


def _signer_finder(keys: KeyRing, roster: Roster) -> Callable[[Actor, int], Signer]:
    def find(actor: Actor, incarnation: int) -> Signer:
        signer = keys.load(actor_key_name(actor, incarnation))
        if signer.public_key != roster.entry(actor).key:
            raise NoiseError(f"the key file of {actor} holds another key than the roster names", code="key-foreign")
        return signer

    return find


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


async def serve_node(
    node: Node, options: ServeOptions, on_ready: Callable[[str, bytes], None], stop: trio.Event
) -> None:
    """Serve until `stop`: then take nothing more, commit and show what was accepted, and return.

    `on_ready(url, origin)` is called once, when requests are being answered.
    """
    gateway = Gateway(
        node.origin,
        node.pipeline,
        node.store,
        node.rosters,
        _wall_clock_ms,
        frozenset(options.public_hosts),
        options.mailboxes_max,
    )
    await serve_web(gateway, options.host, options.port, on_ready, stop)


async def check_node(data: Path, on_epoch: Callable[[int, int], None], *, renew_mark: bool) -> Counts:
    """Check a provider that nobody serves: state, keys and high-water mark. `on_epoch(done, total)`.

    `renew_mark`: the operator is sure that this state is the newest; after a clean check a new high-water mark says so.
    Raises NoiseError at the first thing that is wrong.
    """
    layout = check_data(data)
    keys = KeyRing(layout.keys)
    origin = keys.origin()
    async with open_sqlite(layout.database, origin) as store:
        rosters = await load_rosters(store, origin)
        current = ROSTER.decode(rosters[-1].body)
        find = _signer_finder(keys, current)
        for entry in current.actors:
            find(parse_actor(entry.actor), entry.incarnation)
        total = store.next_epoch
        counts = await check_store(store, origin, rosters, lambda done: on_epoch(done, total))
        high_water = HighWater(layout.keys)
        if renew_mark:
            high_water.renew()
        high_water.open(await sealed_epochs(store), store.next_epoch)
        high_water.close()
        return counts


async def sealed_epochs(store: Store) -> int:
    """One more than the last epoch of which some manifest is durable."""
    return max([manifest.epoch + 1 for manifest in await store.pending_manifests()], default=store.next_epoch)
