"""A provider whose state is a `MemoryStore`: opened, stopped or crashed, and opened again over what survived.

Knows nothing of what a test does to it. The keys are files, as everywhere; so is the high-water mark.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from noise.config import CHALLENGE_EPOCHS, CUSTODY_EPOCHS, ServeOptions
from noise.keys import HighWater, KeyRing
from noise.node import Layout, Node, OpenState, build_node, sealed_epochs
from noise.pipeline.recovery import load_rosters
from noise.protocol.identifiers import origin_of
from noise.protocol.signing import SIGNED
from noise.protocol.statements import Parameters
from noise.rosters import ROOT_KEY, sign_roster
from noise.store.base import Store
from noise.store.custody import Custody
from noise.store.custody_memory import MemoryCustody
from noise.store.memory import MemoryStore
from tests.pipeline.harness import options

# Those of harness.options: serving with them needs no second roster.
PARAMETERS = Parameters(1, 1_000, 10_000, CUSTODY_EPOCHS, CHALLENGE_EPOCHS)


class Keys:
    """A provider's keys and its first roster: any number of worlds can begin with them."""

    def __init__(self, directory: Path, inboxes: int = 1, outboxes: int = 1) -> None:
        self.ring = KeyRing(directory)
        self.origin = origin_of(self.ring.create(ROOT_KEY).public_key)
        self.first_roster = sign_roster(self.ring, [], 0, (inboxes, outboxes), PARAMETERS)


async def first_store(keys: Keys) -> MemoryStore:
    """As `noise init` leaves it."""
    store = MemoryStore()
    await store.add_roster(1, SIGNED.encode(keys.first_roster))
    return store


@asynccontextmanager
async def opened(store: Store, keys: Keys, chosen: ServeOptions, custody: Custody | None = None) -> AsyncIterator[Node]:
    """What `open_node` does, over an open store. `chosen.data`: where the high-water mark is, made if need be.

    `custody`: None: what the actors keep is forgotten afterwards.
    """
    if not (chosen.data / "high-water").exists():
        HighWater(chosen.data).create()
    high_water = HighWater(chosen.data)
    high_water.open(await sealed_epochs(store), store.next_epoch)
    try:
        rosters = await load_rosters(store, keys.origin)
        state = OpenState(Layout(chosen.data), keys.ring, keys.origin, store, high_water, rosters)
        yield await build_node(chosen, state, custody or MemoryCustody())
    finally:
        high_water.close()


@asynccontextmanager
async def running_on(
    store: Store, keys: Keys, chosen: ServeOptions, custody: Custody | None = None
) -> AsyncIterator[Node]:
    """A provider whose pipeline runs; stopped gracefully at the block's end."""
    async with opened(store, keys, chosen, custody) as node, trio.open_nursery() as nursery:
        nursery.start_soon(node.pipeline.run)
        await node.pipeline.fanout.ready.wait()
        yield node
        node.pipeline.stop()


def shaped(data: Path, inboxes: int = 1, outboxes: int = 1, topology: str = "parallel") -> ServeOptions:
    return options(data, topology, inboxes, outboxes)
