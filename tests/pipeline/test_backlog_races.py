"""Two connections page through one mailbox at the same time, in different epochs: each gets its own epoch's hashes.

Knows nothing of messages.
"""

from array import array
from pathlib import Path

import trio
from trio.testing import wait_all_tasks_blocked

from noise.node import Node
from noise.pipeline.backlog import Backlogs
from noise.protocol.frames import START
from noise.protocol.history import MailboxState, map_key_of
from noise.protocol.merkle import EMPTY_RANGE
from noise.store.base import Store
from noise.store.memory import MemoryStore
from tests.pipeline.harness import Mailbox, signer
from tests.pipeline.memory_provider import Keys, first_store, running_on, shaped
from tests.pipeline.test_fanout import Sender


class SlowStore(MemoryStore):
    """Walks wait until they are let go, one by one."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__()
        self._kept = store._kept
        self.gates: dict[int, trio.Event] = {}

    async def history_epochs(self, mailbox: bytes, last_epoch: int, after_epoch: int) -> "array[int]":
        found = await super().history_epochs(mailbox, last_epoch, after_epoch)
        if last_epoch in self.gates:
            await self.gates[last_epoch].wait()
        return found


async def grow(node: Node, sender: Sender, to: bytes, count: int) -> MailboxState:
    """A record for each message."""
    for n in range(count):
        await sender.send([to], b"%d" % n)
    outbox = node.pipeline.outboxes[0]
    history = outbox.states.get(map_key_of(to))
    assert history is not None
    return history.state


async def test_a_backlog_grows_in_two_ways_at_once(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys")
    kept = await first_store(keys)
    with trio.fail_after(20):
        async with running_on(kept, keys, shaped(tmp_path)) as node:
            sender, to = Sender(node, signer(2)), Mailbox(node.origin, signer(1)).device_id
            first, second, third = [await grow(node, sender, to, count) for count in (3, 2, 4)]
        store = SlowStore(kept)
        backlogs = Backlogs(store)
        await backlogs.get(first, START)
        done: list[int] = []

        async def page(state: MailboxState) -> None:
            backlog = await backlogs.get(state, START)
            await check(store, state, await backlog.hashes(0, state.hist_size))
            done.append(state.hist_size)

        for early, late in ((second, third), (third, second)):
            backlogs = Backlogs(store)
            store.gates.clear()
            await backlogs.get(first, START)
            store.gates = {early.last_epoch: trio.Event(), late.last_epoch: trio.Event()}
            async with trio.open_nursery() as nursery:
                nursery.start_soon(page, second)
                nursery.start_soon(page, third)
                await wait_all_tasks_blocked()
                store.gates[early.last_epoch].set()
                await wait_all_tasks_blocked()
                store.gates[late.last_epoch].set()
        assert sorted(done) == [5, 5, 9, 9]


async def check(store: Store, state: MailboxState, hashes: list[bytes]) -> None:
    assert EMPTY_RANGE.extend(state.hist_size, hashes).root() == state.hist_root
