"""Counts what every actor of a pipeline takes and passes on, for the picture: nothing of it is trusted.

Knows nothing of who looks at it. It watches the steps of a pipeline that was built.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from noise.pipeline.assembly import Pipeline
from noise.pipeline.batches import CommittedEpoch, MergedEpoch, OutboxEpoch, Parts, RoutedLane, SealedLane
from noise.protocol.identifiers import Actor, Role
from noise.protocol.json_text import Json

_WHOLE = ("sequencer-0-0", "log-0-0")  # what there is one of


class Count(NamedTuple):
    """Of one actor. Inboxes take and pass on messages; routers take messages and pass on deliveries, one for each
    recipient; receivers and outboxes take and pass on deliveries; the sequencer and the log, epochs."""

    taken: int
    passed: int


class Counts:
    """Since they were made, over all pipelines that they were shown. `epoch`: the newest that clients were shown."""

    def __init__(self) -> None:
        self.epoch = 0
        self.n_epochs = 0
        self.n_messages = 0
        self.n_deliveries = 0
        self.actors: dict[str, Count] = {}
        self._pipeline: Pipeline | None = None

    def watch(self, pipeline: Pipeline) -> None:
        """Count what a pipeline does from now on, as well."""
        self._pipeline = pipeline
        self._watch(Role.INBOX, pipeline.inboxes, "answer", _of_lane)
        self._watch(Role.ROUTER, pipeline.routers, "step", _of_route)
        self._watch(Role.RECEIVER, pipeline.receivers, "step", _of_merge)
        self._watch(Role.OUTBOX, pipeline.outboxes, "step", _of_outbox)
        for name in _WHOLE:
            self._add(name, 0, 0)
        shown = pipeline.fanout.on_shown

        def on_shown(epoch: CommittedEpoch) -> None:
            shown(epoch)
            self._note_epoch(epoch)

        pipeline.fanout.on_shown = on_shown

    @property
    def connections(self) -> int:
        """How many clients are being pushed to now."""
        return self._pipeline.fanout.subscriber_count if self._pipeline else 0

    def picture(self) -> Json:
        """As JSON; 64-bit numbers as text."""
        return {
            "epoch": str(self.epoch),
            "actors": {name: count._asdict() for name, count in sorted(self.actors.items())},
            "n_messages": self.n_messages,
            "n_deliveries": self.n_deliveries,
            "connections": self.connections,
        }

    def _add(self, name: str, taken: int, passed: int) -> None:
        before = self.actors.get(name, Count(0, 0))
        self.actors[name] = Count(before.taken + taken, before.passed + passed)

    def _note_epoch(self, epoch: CommittedEpoch) -> None:
        self.epoch = epoch.epoch
        self.n_epochs += 1
        self.n_messages += epoch.n_messages
        self.n_deliveries += epoch.n_deliveries
        for name in _WHOLE:
            self._add(name, 1, 1)

    def _watch(self, role: Role, actors: Sequence[object], method: str, measure: Callable[[Any, Any], Count]) -> None:
        """Let a step of some actors, in their order, be counted: `measure` gets what it is given and what it makes."""
        for number, actor in enumerate(actors):
            name = str(Actor(role, 0, number))
            self._add(name, 0, 0)
            setattr(actor, method, self._counting(name, getattr(actor, method), measure))

    def _counting(
        self, name: str, step: Callable[..., Any], measure: Callable[[Any, Any], Count]
    ) -> Callable[..., Any]:
        def counting(given: Any, *others: Any) -> Any:
            made = step(given, *others)
            self._add(name, *measure(given, made))
            return made

        return counting


def _of_lane(sealed: SealedLane, _: None) -> Count:
    n_messages = sum(len(accepted.leaf_hashes) for accepted in sealed.bundles)
    return Count(n_messages, n_messages)


def _of_route(sealed: SealedLane, made: Sequence[RoutedLane]) -> Count:
    n_messages = sum(len(accepted.leaf_hashes) for accepted in sealed.bundles)
    return Count(n_messages, sum(_size(routed.parts) for routed in made))


def _of_merge(lanes: Sequence[RoutedLane], made: MergedEpoch) -> Count:
    return Count(sum(_size(routed.parts) for routed in lanes), _size(made.groups))


def _of_outbox(merged: MergedEpoch, made: OutboxEpoch) -> Count:
    passed = sum(len(part.leaf_hashes) for touched in made.touched.values() for part in touched.parts)
    return Count(_size(merged.groups), passed)


def _size(groups: Parts) -> int:
    """How many deliveries there are in groups."""
    return sum(len(part.leaf_hashes) * len(mailboxes) for part, mailboxes in groups)
