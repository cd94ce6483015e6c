"""New keys for actors in the middle of an epoch: what has a receipt stands, and nobody signs a slot a second time.

Knows nothing of providers that were stopped gracefully.
"""

import shutil
from collections.abc import Sequence
from itertools import count, product

import pytest

from noise.node import Layout, Node, open_state
from noise.pipeline.actor_state import young_actors
from noise.protocol.statements import ROSTER
from noise.renewal import rotate
from noise.store.base import StatementRow
from noise.store.custody import CustodyRow
from tests.pipeline.company import (
    ACTORS,
    CRASHES,
    SHAPE,
    Company,
    die,
    follow_steps,
    incarnations,
    mostly_slow,
    refused,
    roster_of,
)


@pytest.mark.parametrize(("name", "crash"), mostly_slow(product(ACTORS, CRASHES), 0, 3, 7, 11, 14, 17, 20))
async def test_an_actor_that_was_lost_in_the_middle_of_an_epoch(apart: Company, name: str, crash: str) -> None:
    """The provider died with that disk. What has a receipt is delivered, and nobody signs a slot a second time."""
    await apart.talk(CRASHES[crash])
    async with open_state(apart.data) as state:
        assert await state.store.pending_manifests()
        young = young_actors([ROSTER.decode(signed.body) for signed in state.rosters], state.store.next_epoch)
        assert not young
    shutil.rmtree(Layout(apart.data).actors / name)
    code = "key-missing" if name == "log-0-0" else "actor-state-lost"
    assert await follow_steps(await refused(apart, code)) == [name]
    await apart.check()


@pytest.mark.parametrize("crash", mostly_slow(CRASHES, 2))
async def test_a_rotation_in_the_middle_of_an_epoch(company: Company, crash: str) -> None:
    """It ends under the roster that it began with."""
    await company.talk(CRASHES[crash])
    version = (await roster_of(company)).version
    renewal = await rotate(company.data, [])
    assert renewal.roster.version == version + 1
    await company.check()


@pytest.mark.parametrize("crash", mostly_slow(CRASHES, 0, 2))
async def test_all_disks_but_the_main_one_are_lost_in_the_middle_of_an_epoch(apart: Company, crash: str) -> None:
    await apart.talk(CRASHES[crash])
    for path in Layout(apart.data).actors.iterdir():
        shutil.rmtree(path)
    assert len(await follow_steps(await refused(apart, "actor-state-lost"))) == 10
    await apart.check()


@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "not kept"])
async def test_what_was_signed_before_a_crash_is_not_signed_otherwise(apart: Company, is_kept: bool) -> None:
    """Whoever comes after in the line saw it, whether it was kept or not. All but sealed inboxes sign as others."""
    seen: list[StatementRow] = []

    def prepare(node: Node) -> None:
        write, numbers = node.custody.keep, count()

        async def keep(rows: Sequence[CustodyRow], prune_before: int) -> None:
            is_last = next(numbers) == 1
            if is_last:
                seen.extend(row.statement for row in rows)
            if is_kept or not is_last:
                await write(rows, prune_before)
            if is_last:
                die()

        setattr(node.custody, "keep", keep)  # noqa: B010

    await apart.talk(prepare)
    before = incarnations(await roster_of(apart))
    shutil.rmtree(Layout(apart.data).actors / "receiver-0-0")
    assert await follow_steps(await refused(apart, "actor-state-lost")) == ["receiver-0-0"]
    after = incarnations(await roster_of(apart))
    assert after == {
        name: n + (0 if name.startswith("inbox") else 2 if name == "receiver-0-0" else 1) for name, n in before.items()
    }
    await apart.check()
    async with open_state(apart.data) as state:
        slots = {(row.actor, row.incarnation): row for row in await state.store.statements(seen[0].epoch)}
    again = [row for row in seen if (row.actor, row.incarnation) in slots]
    assert len(again) == SHAPE[0] and all(slots[row.actor, row.incarnation] == row for row in again)
