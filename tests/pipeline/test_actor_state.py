"""Who has forgotten what it signed, to the epoch: whoever may have signed, and does not know it, and nobody else."""

from pathlib import Path

import pytest

from noise.keys import KeyRing
from noise.pipeline.actor_state import find_forgotten, young_actors
from noise.protocol.identifiers import Actor, Role
from noise.protocol.signing import Signed
from noise.protocol.statements import ROSTER, Parameters
from noise.rosters import ROOT_KEY, recover_actors, sign_roster
from noise.store.base import StatementRow
from noise.store.custody import CustodyRow
from noise.store.custody_memory import MemoryCustody

PARAMETERS = Parameters(20, 1000, 15_000, 64, 8)
INBOX, ROUTER, RECEIVER, OUTBOX, SEQUENCER = (Actor(role, 0, 0) for role in Role if role is not Role.LOG)
SIGNERS = (INBOX, ROUTER, RECEIVER, OUTBOX, SEQUENCER)
BEGAN = 5
"""The epoch from which on the router signs as its second incarnation."""


@pytest.fixture
def rosters(tmp_path: Path) -> list[Signed]:
    """The router came back under a second one."""
    keys = KeyRing(tmp_path)
    keys.create(ROOT_KEY)
    first = sign_roster(keys, [], 0, (1, 1), PARAMETERS)
    return [first, recover_actors(keys, [first], BEGAN, [ROUTER])]


async def keeping(epochs: dict[Actor, int], incarnation: int = 1) -> MemoryCustody:
    """The last epoch that each of these actors kept."""
    custody = MemoryCustody()
    rows = [StatementRow(epoch, actor.encode(), incarnation, b"said", bytes(64)) for actor, epoch in epochs.items()]
    await custody.keep([CustodyRow(row, b"") for row in rows], 0)
    return custody


async def forgotten(rosters: list[Signed], next_epoch: int, custody: MemoryCustody) -> dict[Actor, int]:
    return dict(find_forgotten(custody, [ROSTER.decode(signed.body) for signed in rosters], next_epoch))


async def test_nobody_has_signed_anything(rosters: list[Signed]) -> None:
    assert await forgotten(rosters[:1], 0, MemoryCustody()) == {}


async def test_whoever_signed_and_kept_nothing(rosters: list[Signed]) -> None:
    assert await forgotten(rosters[:1], 1, MemoryCustody()) == dict.fromkeys(SIGNERS, -1)


@pytest.mark.parametrize("next_epoch", [1, 2, 9])
async def test_the_last_epoch_must_be_there(rosters: list[Signed], next_epoch: int) -> None:
    """One that is not committed yet may be there as well: a crash came in between."""
    for last in (next_epoch - 1, next_epoch):
        assert await forgotten(rosters[:1], next_epoch, await keeping(dict.fromkeys(SIGNERS, last))) == {}
    if next_epoch > 1:
        behind = await keeping(dict.fromkeys(SIGNERS, next_epoch - 1) | {OUTBOX: next_epoch - 2})
        assert await forgotten(rosters[:1], next_epoch, behind) == {OUTBOX: next_epoch - 2}


@pytest.mark.parametrize(
    ("next_epoch", "is_young"), [(BEGAN - 1, True), (BEGAN, True), (BEGAN + 1, False), (BEGAN + 9, False)]
)
async def test_a_new_incarnation_must_remember_what_it_signed_itself(
    rosters: list[Signed], next_epoch: int, is_young: bool
) -> None:
    others = dict.fromkeys((INBOX, RECEIVER, OUTBOX, SEQUENCER), next_epoch - 1)
    opened = [ROSTER.decode(signed.body) for signed in rosters]
    assert (ROUTER.encode() in young_actors(opened, next_epoch)) is is_young
    for custody, last in ((await keeping(others), -1), (await keeping(others | {ROUTER: BEGAN - 1}), BEGAN - 1)):
        assert await forgotten(rosters, next_epoch, custody) == ({} if is_young else {ROUTER: last})
