"""What every lying provider of the zoo is: a small change to a real, built node, that begins when it is told to.

Knows nothing of any single lie, of sockets, or of how a lie is noticed. A liar holds the keys of all actors and of some
devices of its own, and no other device's key. Wherever it can it lies early, before anything is signed: all that comes
after (records, states, heads, the log, what is stored, pushed and paged) is then made honestly over the lie.
"""

from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import trio

from noise.config import ServeOptions
from noise.node import Node
from noise.pipeline.batches import Accepted, MergedEpoch, Part, RoutedLane, SealedLane
from noise.protocol.envelope import Bundle, Recipients
from noise.protocol.identifiers import make_seq
from noise.protocol.statements import MANIFEST
from tests.zoo.shadows import Shadows


class NoticedBy(Enum):
    """Who can know that it was lied to, with what it holds itself."""

    VICTIM = "the victim alone"
    SENDER = "the sender alone"
    PAIR = "two clients that exchange something"


class Facts(NamedTuple):
    """What is known of a lie beforehand.

    `summary`: one line, for a person. `verdicts`: the evidence classes that convict, or "stale" or "suspected" where
    nothing can be proved to others. `accused`: "provider", or the role that evidence names. `refusal`: the code with
    which the victim's follower, all by itself, refuses what it is shown; None: it takes it for the truth.
    """

    name: str
    summary: str
    verdicts: tuple[str, ...]
    accused: str
    noticed_by: NoticedBy
    refusal: str | None = None


class Target(NamedTuple):
    """The message that is lied about: number `place` of a bundle, and the mailbox whose view of it is false."""

    epoch: int
    lane: int
    accepted: Accepted
    place: int
    victim: bytes

    @property
    def seq(self) -> bytes:
        return make_seq(self.epoch, self.lane, self.accepted.first_pos + self.place)

    @property
    def bundle(self) -> Bundle:
        return self.accepted.bundle

    @property
    def recipients(self) -> Recipients:
        return self.bundle.recipients[self.bundle.rows[self.place][0]]

    def is_in(self, part: Part) -> bool:
        """Whether a part is of the message's bundle."""
        return part.bundle is self.bundle


class Told(NamedTuple):
    """A lie that has happened: from `epoch` on, to `victim`, about the message at `seq` (empty: about no message)."""

    epoch: int
    victim: bytes
    seq: bytes


def replace(owner: object, name: str, make: Callable[[Any], Any]) -> None:
    """Put something else in the place of a method of one object. `make` gets what was there."""
    setattr(owner, name, make(getattr(owner, name)))


class Lie:
    """One way to lie, once. Subclasses say what they change; `install` is called on every node that is served.

    Armed, it waits for the first message that concerns the victim after `after` of them; without a victim, the first
    message with more than one recipient has one. Then it makes its one lie, and is honest again as far as that goes.
    """

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.told: list[Told] = []
        self.on_told: Callable[[Told], None] = lambda _: None
        self.target: Target | None = None
        self.is_armed = False
        self._victim: bytes | None = None
        self._skip = 0
        self.restart_wanted = trio.Event()
        self.node: Node
        self.shadows: Shadows

    def arm(self, victim: bytes | None = None, after: int = 0) -> None:
        """Lie about the next message that concerns `victim` (any, if None), when `after` such messages have passed."""
        self._victim = victim
        self._skip = after
        self.is_armed = True

    def install(self, node: Node, shadows: Shadows) -> None:
        """Change a built node, before its pipeline runs."""
        self.node = node
        self.shadows = shadows
        shadows.serve(node.store)
        pipeline = node.pipeline
        for router in pipeline.routers:
            replace(router, "step", self._choosing)
        for number, receiver in enumerate(pipeline.receivers):
            replace(receiver, "step", partial(self._editing, number))
        self.change(node)

    def change(self, node: Node) -> None:
        """Whatever else a lie changes."""

    def branches(self, data: Path) -> list[Path]:
        """The directories to serve from, each at a port of its own. Called once, before anything is open."""
        return [data]

    def connect(self, nodes: Sequence[Node]) -> None:
        """Once all branches are open and installed."""

    async def between(self, options: ServeOptions) -> None:
        """What the operator does while nothing is served, after `restart_wanted`. Then serving begins again."""

    def edit(self, merged: MergedEpoch, outbox: int) -> MergedEpoch:
        """What an outbox, by number, is given instead of what was merged for it."""
        return merged

    def outbox_of(self, mailbox: bytes) -> int:
        """The number of the outbox that keeps a mailbox."""
        return self.node.pipeline.fanout._placement.number(mailbox)

    def wants(self, bundle: Bundle, index: int) -> bool:
        """Whether the lie can be told about this message."""
        return True

    def victims_among(self, bundle: Bundle, index: int) -> Iterator[bytes]:
        """Whose view of this message could be falsified: here, anybody's but the sender's."""
        for device_id in bundle.recipients[bundle.rows[index][0]].device_ids:
            if device_id != bundle.sender and self._victim in {None, device_id}:
                yield device_id

    def choose(self, sealed: SealedLane) -> None:
        """Take the message to lie about, if it is in this lane."""
        if not self.is_armed or self.target is not None:
            return
        for accepted in sealed.bundles:
            for index in range(accepted.bundle.count):
                victim = next(self.victims_among(accepted.bundle, index), None)
                if victim is None or not self.wants(accepted.bundle, index):
                    continue
                if self._skip:
                    self._skip -= 1
                    continue
                self.target = Target(sealed.epoch, sealed.lane, accepted, index, victim)
                return

    def tell(self, epoch: int, victim: bytes, seq: bytes = b"") -> None:
        """The lie is told: note it, once."""
        told = Told(epoch, victim, seq)
        if told in self.told:
            return
        self.told.append(told)
        self.on_told(told)

    def _choosing(self, step: Callable[[SealedLane], list[RoutedLane]]) -> Callable[[SealedLane], list[RoutedLane]]:
        def choosing(sealed: SealedLane) -> list[RoutedLane]:
            self.choose(sealed)
            return step(sealed)

        return choosing

    def _editing(
        self, outbox: int, step: Callable[[Sequence[RoutedLane]], MergedEpoch]
    ) -> Callable[[Sequence[RoutedLane]], MergedEpoch]:
        return lambda lanes: self.edit(step(lanes), outbox)


def lane_end(merged: MergedEpoch, lane: int) -> int:
    """How many positions of a lane the epoch's manifests give away: the first that no manifest has."""
    manifests = [MANIFEST.decode(row.body) for row in merged.statements]
    return next(manifest.n_messages for manifest in manifests if manifest.lane == lane)
