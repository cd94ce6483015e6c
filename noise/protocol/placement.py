"""Which inbox serves a sender, which outbox keeps a mailbox: rendezvous hashing over a roster.

Knows nothing of overrides and moves. Source: Thaler and Ravishankar, "Using name-based mappings to increase hit rates"
(1998): every candidate is weighed by `SHA-256(candidate || id)`, the heaviest serves. Clients check placement with it.
"""

from collections.abc import Sequence
from hashlib import sha256

from noise.protocol.identifiers import Actor, Role, parse_actor
from noise.protocol.statements import Roster


class Rendezvous:
    """Places ids on actors. Remembers the last answers: an id is asked for once per message."""

    __slots__ = ("_actors", "_memory")

    _MEMORY_MAX = 1 << 17

    def __init__(self, actors: Sequence[Actor]) -> None:
        self._actors = [(actor.encode(), actor) for actor in actors]
        self._memory: dict[bytes, Actor] = {}

    def actor(self, identifier: bytes) -> Actor:
        """The actor that serves a 32-byte id."""
        if len(self._actors) == 1:
            return self._actors[0][1]
        actor = self._memory.get(identifier)
        if actor is None:
            actor = max((sha256(encoded + identifier).digest(), a) for encoded, a in self._actors)[1]
            if len(self._memory) >= self._MEMORY_MAX:
                self._memory.clear()
            self._memory[identifier] = actor
        return actor

    def number(self, identifier: bytes) -> int:
        """The number of the actor that serves a 32-byte id."""
        return self.actor(identifier).number


def actors_of(roster: Roster, role: Role) -> list[Actor]:
    """The roster's actors of a role, in order."""
    return [parse_actor(entry.actor) for entry in roster.actors if entry.actor[0] == role]


def place_mailbox(roster: Roster, mailbox: bytes) -> Actor:
    """The outbox that keeps a mailbox."""
    return Rendezvous(actors_of(roster, Role.OUTBOX)).actor(mailbox)
