"""Gives actors of a stopped provider new keys: by choice, or because their state or their keys are lost.

Knows nothing of command lines. What ended is ended under the roster that it began with, if at all possible; whoever
comes back signs as another one, in epochs to come, and its former private key is deleted.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from noise.keys import KeyDamaged, KeyMissing, actor_key_name
from noise.node import OpenState, build_pipeline, open_custodies, open_state
from noise.pipeline.topology import make_topology
from noise.protocol.errors import NoiseError
from noise.protocol.identifiers import Actor, Role, parse_actor
from noise.protocol.statements import Roster
from noise.rosters import delete_ended_keys, recover_actors, rotate_keys
from noise.store.custody import Custody


class Renewal(NamedTuple):
    """The roster that was signed, and the names of the private keys that were deleted."""

    roster: Roster
    deleted: list[str]


async def rotate(data: Path, names: Sequence[str]) -> Renewal:
    """New keys for these actors, all if none is named. Raises NoiseError; what was done by then is sound."""
    async with open_state(data) as state, open_custodies(state) as custody:
        actors = _find(state.roster, names or [str(parse_actor(entry.actor)) for entry in state.roster.actors])
        await _end_epoch(state, custody)
        await state.add_roster(rotate_keys(state.keys, state.rosters, state.store.next_epoch, actors))
        return Renewal(state.roster, delete_ended_keys(state.keys, state.rosters))


async def recover(data: Path, names: Sequence[str]) -> Renewal:
    """Let these actors, whose state or keys are lost, begin anew. Raises NoiseError; what was done by then is sound."""
    async with open_state(data) as state:
        actors = _find(state.roster, names)
        async with open_custodies(state, lost=actors) as custody:
            await _end_epoch_without(state, custody, actors)
            await state.add_roster(recover_actors(state.keys, state.rosters, state.store.next_epoch, actors))
            return Renewal(state.roster, delete_ended_keys(state.keys, state.rosters))


def _find(roster: Roster, names: Sequence[str]) -> list[Actor]:
    """Raises NoiseError for a name that the roster does not have."""
    actors = {str(actor): actor for actor in (parse_actor(entry.actor) for entry in roster.actors)}
    for name in names:
        if name not in actors:
            raise NoiseError(f"the roster names no {name}: only {', '.join(actors)}", code="unknown-actor")
    return [actors[name] for name in names]


async def _end_epoch(state: OpenState, custody: Custody, has_signed: Collection[bytes] = ()) -> None:
    """End the epoch that a crash interrupted, if there is one, under the last roster."""
    roster = state.roster
    topology = make_topology("parallel", roster.count_of(Role.INBOX), roster.count_of(Role.OUTBOX))
    await (await build_pipeline(state, custody, topology, 0, has_signed)).finish_pending()


async def _end_epoch_without(state: OpenState, custody: Custody, lost: Sequence[Actor]) -> None:
    """The same when keys may be lost, too.

    What an inbox has sealed stands, for its receipts are out; its key is not needed for it. If another key is, all
    others get new ones for this epoch already: nobody has seen yet what they made of it, but all of that named the
    roster, and no slot is signed twice.
    """
    pending = await state.store.pending_manifests()
    if not pending:
        return
    sealed = {manifest.statement.actor for manifest in pending}
    if any(actor.encode() not in sealed and not _has_key(state, actor) for actor in lost):
        again = [parse_actor(entry.actor) for entry in state.roster.actors if entry.actor not in sealed]
        await state.add_roster(rotate_keys(state.keys, state.rosters, state.store.next_epoch, again))
    await _end_epoch(state, custody, sealed)


def _has_key(state: OpenState, actor: Actor) -> bool:
    try:
        state.keys.load(actor_key_name(actor, state.roster.entry(actor).incarnation))
    except (KeyMissing, KeyDamaged):
        return False
    return True
