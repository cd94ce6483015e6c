"""What the operator of a world's provider does between lives: actors get new keys, or lose theirs, or what they kept.

Knows nothing of how a life goes. What is lost is lost for good, or an old copy stands in its place; then an actor comes
back as another one, by the steps that the documentation names, and the provider does not start before.
"""

import copy
import random
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import trio

from noise import renewal
from noise.keys import KeyMissing, KeyRing, actor_key_name
from noise.node import Layout, OpenState
from noise.pipeline.actor_state import find_forgotten
from noise.pipeline.recovery import load_rosters
from noise.protocol.identifiers import Actor, Role, parse_actor
from noise.protocol.signing import Signer
from noise.protocol.statements import ROSTER, Roster
from noise.rosters import delete_ended_keys, recover_actors, rotate_keys
from noise.store.custody import Custody
from noise.store.custody_apart import ApartCustody
from noise.store.custody_memory import MemoryCustody
from noise.store.memory import MemoryStore
from tests.pipeline.faults import ACTORS, SEQUENCER, Meter, MeteredMemoryCustody

NOWHERE = Path("nowhere")
_SLOW_STORE = 0.1


class SeededRing(KeyRing):
    """Keys that follow from a seed, in memory."""

    def __init__(self, seed: str) -> None:
        super().__init__(NOWHERE)
        self._seed = seed
        self._signers: dict[str, Signer] = {}

    def create(self, name: str) -> Signer:
        assert name not in self._signers, f"the key {name} would be overwritten"
        signer = self._signers[name] = Signer(sha256(f"{self._seed} {name}".encode()).digest())
        return signer

    def load(self, name: str) -> Signer:
        if name not in self._signers:
            raise KeyMissing(f"{name} is missing")
        return self._signers[name]

    def exists(self, name: str) -> bool:
        return name in self._signers

    def delete(self, name: str) -> bool:
        return self._signers.pop(name, None) is not None


class Chores(NamedTuple):
    """Before a life: how many actors get new keys, how many lose what they kept (all together if it lies in one
    place), whether an old copy is put there instead, and how many lose their keys."""

    n_rotated: int = 0
    n_lost: int = 0
    is_old_copy: bool = False
    n_keys_lost: int = 0


NO_CHORES = Chores()


def draw_chores(rng: random.Random) -> Chores:
    """Mostly nothing."""
    if rng.random() < 0.6:
        return NO_CHORES
    return Chores(rng.choice((0, 1, 2, 99)), rng.choice((0, 0, 1, 2)), rng.random() < 0.5, rng.choice((0, 0, 0, 1, 2)))


class Vault:
    """What the actors keep, over all lives: in one place, or each actor's in a place of its own."""

    def __init__(self, rng: random.Random, *, is_apart: bool) -> None:
        self._rng = rng
        self._custodies = {actor: MemoryCustody() for actor in ((*ACTORS, SEQUENCER) if is_apart else (b"",))}
        self._copies = dict.fromkeys(self._custodies, MemoryCustody())

    def open(self, meter: Meter) -> Custody:
        """As a new process finds it."""
        turn = trio.Lock()
        opened = {}
        for actor, custody in self._custodies.items():
            made = _SlowCustody()
            made._kept, made.meter, made.turn, made.rng = custody._kept, meter, turn, self._rng
            opened[actor] = made
        return opened[b""] if b"" in opened else ApartCustody(opened)

    def back_up(self) -> None:
        for actor, custody in self._custodies.items():
            self._copies[actor] = MemoryCustody()
            self._copies[actor]._kept = copy.deepcopy(custody._kept)

    def beside(self, actor: bytes) -> Sequence[bytes]:
        """All whose things lie where this actor's do."""
        return (actor,) if actor in self._custodies else (*ACTORS, SEQUENCER)

    def lose(self, actor: bytes, *, is_old_copy: bool) -> None:
        """What an actor kept is gone, or as it once was."""
        place = actor if actor in self._custodies else b""
        self._custodies[place] = self._copies[place] if is_old_copy else MemoryCustody()
        self._copies[place] = MemoryCustody()


class _SlowCustody(MeteredMemoryCustody):  # type: ignore[misc]
    """Takes its time, now and then."""

    rng: random.Random

    async def keep(self, *arguments: Any) -> None:
        if self.rng.random() < _SLOW_STORE:
            await trio.sleep(self.rng.choice((0, 0.002, 0.3)))
        await super().keep(*arguments)


class Operator:
    """`n_renewed`: how many actors came back as others."""

    def __init__(self, ring: SeededRing, origin: bytes, vault: Vault, rng: random.Random) -> None:
        self._ring = ring
        self._origin = origin
        self._vault = vault
        self._rng = rng
        self.lost: dict[bytes, int] = {}
        """Up to which epoch an actor may have lost what it kept."""
        self.n_renewed = 0

    async def let_happen(self, store: MemoryStore, chores: Chores) -> None:
        """Misfortunes, while nothing runs."""
        rosters = await load_rosters(store, self._origin)
        roster = ROSTER.decode(rosters[-1].body)
        for actor in self._draw([a for a in _actors(roster) if a.role is not Role.LOG], chores.n_lost):
            self._vault.lose(actor.encode(), is_old_copy=chores.is_old_copy)
            for name in self._vault.beside(actor.encode()):
                self.lost[name] = store.next_epoch + 1
        for actor in self._draw(_actors(roster), chores.n_keys_lost):
            self._ring.delete(actor_key_name(actor, roster.entry(actor).incarnation))
        if self._rng.random() < 0.3:
            self._vault.back_up()

    async def prepare(self, store: MemoryStore, custody: Custody, mark: Any, chores: Chores) -> None:
        """What is needed, and what is wished, before the provider starts."""
        rosters = await load_rosters(store, self._origin)
        state = OpenState(Layout(NOWHERE), self._ring, self._origin, store, mark, rosters)
        lost = await self._lost(state, custody)
        if lost:
            await renewal._end_epoch_without(state, custody, lost)
            old_lanes = {one.lane for signed in rosters for one in ROSTER.decode(signed.body).lanes}
            await self._renew(state, recover_actors(state.keys, state.rosters, store.next_epoch, lost), len(lost))
            inboxes = [actor.encode() for actor in lost if actor.role is Role.INBOX]
            assert old_lanes.isdisjoint(state.roster.lane_of(inbox) for inbox in inboxes), "a lost lane goes on"
        rotated = self._draw(_actors(state.roster), chores.n_rotated)
        if rotated:
            await renewal._end_epoch(state, custody)
            await self._renew(state, rotate_keys(state.keys, state.rosters, store.next_epoch, rotated), len(rotated))

    async def _renew(self, state: OpenState, signed: Any, count: int) -> None:
        await state.add_roster(signed)
        delete_ended_keys(state.keys, state.rosters)
        self.n_renewed += count

    async def _lost(self, state: OpenState, custody: Custody) -> list[Actor]:
        """Those that must come back as others."""
        decoded = [ROSTER.decode(signed.body) for signed in state.rosters]
        forgotten = [one.actor for one in find_forgotten(custody, decoded, state.store.next_epoch)]
        assert {a.encode() for a in forgotten} <= self.lost.keys(), f"{forgotten} forgot what they signed"
        roster = state.roster
        keyless = [a for a in _actors(roster) if not self._ring.exists(actor_key_name(a, roster.entry(a).incarnation))]
        return sorted({*forgotten, *keyless})

    def _draw(self, actors: Sequence[Actor], count: int) -> list[Actor]:
        return self._rng.sample(actors, min(count, len(actors)))


def _actors(roster: Roster) -> list[Actor]:
    return [parse_actor(entry.actor) for entry in roster.actors]
