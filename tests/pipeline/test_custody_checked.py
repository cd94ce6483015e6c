"""fsck misses no row that an actor should have kept; and a directory of actors that is not mounted is not a lost one.

Knows nothing of what custody is good for.
"""

from pathlib import Path

import pytest
import trio

from noise.node import check_node, create_node
from noise.pipeline.actor_state import check_custody
from noise.protocol.errors import NoiseError
from noise.protocol.identifiers import Actor, Role
from noise.protocol.statements import ROSTER
from noise.store.base import StoreCorrupt
from noise.store.custody_memory import MemoryCustody
from tests.pipeline.harness import Answers, options, running, workload
from tests.pipeline.memory_provider import Keys, first_store, running_on, shaped

ROUTER = Actor(Role.ROUTER, 0, 1)


async def test_each_row_of_each_actor(tmp_path: Path) -> None:
    with trio.fail_after(60):
        keys, custody = Keys(tmp_path / "keys", 2, 2), MemoryCustody()
        store = await first_store(keys)
        async with running_on(store, keys, shaped(tmp_path, 2, 2), custody) as node:
            answers = Answers()
            for number, bundle in enumerate(workload(node.origin, 1, n_bundles=4)):
                await answers.submit(node, number, bundle.encode())
            await answers.wait_shown(node, 4)
            rosters = [ROSTER.decode(signed.body) for signed in node.rosters]
        await check_custody(store, custody, rosters)
        rows = custody._kept.rows
        assert len(rows) == store.next_epoch * 9
        for slot, row in list(rows.items()):
            other = row._replace(statement=row.statement._replace(signature=bytes(64)))
            for damaged in (None, other):
                if damaged is None:
                    del rows[slot]
                else:
                    rows[slot] = damaged
                with pytest.raises(StoreCorrupt, match=f"for epoch {row.statement.epoch}, and could not answer"):
                    await check_custody(store, custody, rosters)
                rows[slot] = row
        await check_custody(store, custody, rosters)


async def test_what_was_pruned_is_not_missed(tmp_path: Path) -> None:
    with trio.fail_after(60):
        keys, custody = Keys(tmp_path / "keys"), MemoryCustody()
        store = await first_store(keys)
        chosen = shaped(tmp_path)._replace(custody_epochs=2)
        for _ in range(6):
            async with running_on(store.reopen(), keys, chosen, custody) as node:
                rosters = [ROSTER.decode(signed.body) for signed in node.rosters]
                store = node.store  # type: ignore[assignment]
        assert len(custody._kept.rows) < store.next_epoch * 5
        await check_custody(store, custody, rosters)


async def test_actors_that_are_not_mounted(tmp_path: Path) -> None:
    """Nobody is told to give lost actors new keys when nothing is lost."""
    data, elsewhere = tmp_path / "provider", tmp_path / "elsewhere"
    with trio.fail_after(60):
        await create_node(data, apart=True)
        async with running(options(data)):
            pass
        (data / "actors").rename(elsewhere)
        for attempt in (lambda: check_node(data, lambda *_: None, renew_mark=False), lambda: serve(data)):
            with pytest.raises(NoiseError, match="mount it") as refused:
                await attempt()
            assert refused.value.code == "actors-missing"
        assert not (data / "actors").exists()
        elsewhere.rename(data / "actors")
        await check_node(data, lambda *_: None, renew_mark=False)


async def serve(data: Path) -> None:
    async with running(options(data)):
        pass
