"""What every lying provider of the zoo is: a small change to a real, built node, that begins when it is told to.

Knows nothing of any single lie, of sockets, or of how a lie is noticed. A lie is told by one stage, or by two: the
actor on the victim's way signs what it made up, and all others are honest, and work on what they were given. A liar
holds the keys of all actors and of some devices of its own, and no other device's key.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import trio

from noise.config import ServeOptions
from noise.demo.zoo.shadows import Shadows, held
from noise.demo.zoo.stages import Batch, lie_in_outbox, lie_in_receiver, lie_in_router
from noise.node import Node
from noise.pipeline.batches import Accepted, Part, SealedLane
from noise.pipeline.inbox import Inbox
from noise.protocol.envelope import Bundle, Recipients
from noise.protocol.errors import NoiseError
from noise.protocol.identifiers import Actor, Role, make_seq
from noise.store.base import Store

MIDDLE = (Role.OUTBOX, Role.RECEIVER, Role.ROUTER)
"""The stages that pass messages on. Any of them can tell most lies."""


class NoticedBy(Enum):
    """Who can know that it was lied to, with what it holds itself."""

    VICTIM = "the victim alone"
    SENDER = "the sender alone"
    PAIR = "two clients that exchange something"


class Attitude(Enum):
    """How liars behave when they are asked for their custody: as honest actors do, or not.

    SUPPRESSED: they are silent, and the sequencer promises that challenges to them are in the log, where they are not.
    """

    OPEN = "open"
    SILENT = "silent"
    LATE = "late"
    GARBAGE = "garbage"
    SUPPRESSED = "suppressed"


class Facts(NamedTuple):
    """What is known of a lie beforehand.

    `summary`: one line, for a person. `verdicts`: the evidence classes that convict, or "stale" or "suspected" where
    nothing can be proved to others. `accused`: "provider", or the role that evidence names. `refusal`: the code with
    which the victim's follower, all by itself, refuses what it is shown; None: it takes it for the truth.
    `stages`: whose actors can tell it, the usual one first; none: it is told at the door, and no actor signs it.
    `convicts`: the class that names a liar between inbox and clients; empty: none does, for an outbox can have
    inherited a mailbox that is not as it must be. An inbox is convicted of the last of `verdicts`. `outboxes_min`: with
    fewer it cannot be told. `is_in_lane`: a router's lane must have all of it.
    """

    name: str
    summary: str
    verdicts: tuple[str, ...]
    accused: str
    noticed_by: NoticedBy
    refusal: str | None = None
    stages: tuple[Role, ...] = MIDDLE
    convicts: str = "StageOmission"
    outboxes_min: int = 1
    is_in_lane: bool = False

    def kind_by(self, role: Role) -> str:
        """The class that names a liar of this role."""
        return self.verdicts[-1] if role is Role.INBOX else self.convicts


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
        """Whether the message is in a part, as it was sent or as somebody on its way has changed it."""
        return part.first_seq == self.accepted.first_seq and self.place in held(part)


class Told(NamedTuple):
    """A lie that has happened: from `epoch` on, to `victim`, about the message at `seq` (empty: about no message).

    `by`: the actor that signed it; None: nobody did.
    """

    epoch: int
    victim: bytes
    seq: bytes
    by: Actor | None


def replace(owner: object, name: str, make: Callable[[Any], Any]) -> None:
    """Put something else in the place of a method of one object. `make` gets what was there."""
    setattr(owner, name, make(getattr(owner, name)))


class Lie:
    """One way to lie, once. Subclasses say what they change; `install` is called on every node that is served.

    Armed, it waits for the first message that concerns the victim after `after` of them; without a victim, the first
    message with more than one recipient has one. Then it makes its one lie, and is honest again as far as that goes.
    `by`: whose actors tell it. Those of a later stage lie about what the earlier one made of the message.
    `needs_start`: it does something with files before anything is open; others can be installed in a running node.
    `divides`: it shows its clients two logs, each at a port of its own.
    """

    needs_start = False
    divides = False

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.by = facts.stages[:1]
        self.attitude = Attitude.OPEN
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
        """Change a built node. Raises NoiseError when it is too small for the lie: then nothing is changed."""
        self.node = node
        self.shadows = shadows
        pipeline = node.pipeline
        if len(pipeline.outboxes) < self.facts.outboxes_min:
            raise NoiseError(f"{self.facts.name} needs {self.facts.outboxes_min} outboxes", code="too-few-outboxes")
        shadows.serve(node.store)
        for inbox in pipeline.inboxes:
            replace(inbox, "seal", self._sealing(inbox))
        for router in pipeline.routers:
            if Role.ROUTER in self.by:
                lie_in_router(router, self.edit_lane)
        for receiver in pipeline.receivers:
            if Role.RECEIVER in self.by:
                lie_in_receiver(receiver, self.edit)
        for outbox in pipeline.outboxes:
            if Role.OUTBOX in self.by:
                lie_in_outbox(outbox, self.edit)
        self.change(node)

    @property
    def liars(self) -> set[Actor]:
        """The actors that have lied."""
        return {told.by for told in self.told if told.by is not None}

    async def learn(self, store: Store, devices: Iterable[bytes], now_ms: int) -> None:
        """Take in what it needs of devices that left something with the provider before it is installed."""

    def change(self, node: Node) -> None:
        """Whatever else a lie changes."""

    def branches(self, data: Path) -> list[Path]:
        """The directories to serve from, each at a port of its own. Called once, before anything is open."""
        return [data]

    def connect(self, nodes: Sequence[Node]) -> None:
        """Once all branches are open and installed."""

    async def between(self, options: ServeOptions) -> None:
        """What the operator does while nothing is served, after `restart_wanted`. Then serving begins again."""

    def edit(self, batch: Batch) -> dict[bytes, list[Part]]:
        """What an actor makes of a batch, by mailbox. The very same `parts`: what an honest one makes."""
        return batch.parts

    def edit_lane(self, batches: Sequence[Batch]) -> list[dict[bytes, list[Part]]]:
        """What a router makes of its lane, for each outbox. Only the router of the message's lane lies."""
        if self.target is not None and self.target.lane not in batches[0].n_messages:
            return [batch.parts for batch in batches]
        return [self.edit(batch) for batch in batches]

    def before_sealing(self, inbox: Inbox, epoch: int) -> None:
        """What is done to an open epoch, before it is sealed."""

    def after_sealing(self, inbox: Inbox, sealed: SealedLane, previous: bytes) -> None:
        """What else is signed for a slot. `previous`: what the manifest names as the one before it."""

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

    def choose(self, inbox: Inbox, epoch: int) -> None:
        """Take the message to lie about, if it is in this open epoch."""
        if not self.is_armed or self.target is not None:
            return
        for accepted in inbox._open.values():
            for index in range(accepted.bundle.count):
                victim = next(self.victims_among(accepted.bundle, index), None)
                if victim is None or not self.wants(accepted.bundle, index):
                    continue
                if self._skip:
                    self._skip -= 1
                    continue
                self.target = Target(epoch, inbox.lane, accepted, index, victim)
                return

    def tell(self, epoch: int, victim: bytes, seq: bytes = b"", by: Actor | None = None) -> None:
        """The lie is told: note it, once."""
        told = Told(epoch, victim, seq, by)
        if told in self.told:
            return
        self.told.append(told)
        self.on_told(told)

    def _sealing(self, inbox: Inbox) -> Callable[[Callable[[int], Any]], Callable[[int], Any]]:
        def make(seal: Callable[[int], Any]) -> Callable[[int], Any]:
            def sealing(epoch: int) -> Any:
                self.choose(inbox, epoch)
                previous = inbox._previous
                if Role.INBOX in self.by:
                    self.before_sealing(inbox, epoch)
                made = seal(epoch)
                if Role.INBOX in self.by:
                    self.after_sealing(inbox, made[0], previous)
                return made

            return sealing

        return make
