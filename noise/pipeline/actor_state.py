"""Whether every actor still has what it kept: one that lost its last epoch must not sign under its old name.

Knows nothing of files, keys, or what is done about it. An actor that forgot what it signed could sign something else,
and one that lacks an older epoch could not answer for it.
"""

from collections.abc import Sequence
from typing import NamedTuple

from noise.protocol.identifiers import Actor, parse_actor
from noise.protocol.statements import Roster
from noise.store.base import Store, StoreCorrupt
from noise.store.custody import Custody


class ForgottenActor(NamedTuple):
    """`last_epoch`: of which it still knows what it signed; -1: of none."""

    actor: Actor
    last_epoch: int


def young_actors(rosters: Sequence[Roster], next_epoch: int) -> set[bytes]:
    """Actors of the last roster whose incarnation begins with `next_epoch`, the first that is not committed, or later.

    They need not remember anything. `rosters`: all of them, in order.
    """
    began: dict[tuple[bytes, int], int] = {}
    for roster in rosters:
        for entry in roster.actors:
            began.setdefault((entry.actor, entry.incarnation), roster.valid_from_epoch)
    return {e.actor for e in rosters[-1].actors if began[e.actor, e.incarnation] >= next_epoch}


def find_forgotten(custody: Custody, rosters: Sequence[Roster], next_epoch: int) -> list[ForgottenActor]:
    """The actors of the last roster that signed epoch `next_epoch - 1`, or one before it, and have nothing of it."""
    young = young_actors(rosters, next_epoch)
    lasts = [(name, custody.last_epoch(name)) for name in rosters[-1].signers() if name not in young]
    return [ForgottenActor(parse_actor(name), last) for name, last in lasts if last < next_epoch - 1]


async def check_custody(store: Store, custody: Custody, rosters: Sequence[Roster]) -> None:
    """Every actor of the last roster has kept what it signed, for as long as all rosters ask. Raises StoreCorrupt."""
    kept_epochs = min(roster.parameters.custody_epochs for roster in rosters)
    named = {(entry.actor, entry.incarnation) for entry in rosters[-1].actors}
    for epoch in range(max(store.next_epoch - kept_epochs, 0), store.next_epoch):
        for statement in await store.statements(epoch):
            if (statement.actor, statement.incarnation) not in named:
                continue
            row = await custody.find(statement.actor, statement.incarnation, epoch)
            if row is None or row.statement != statement:
                raise StoreCorrupt(
                    f"{parse_actor(statement.actor)} does not have what it signed for epoch {epoch}, and could not "
                    "answer for it: put the newest good copy of what it keeps back"
                )
