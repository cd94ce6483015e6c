"""The way of a message through the stages, as far as custody shows it, and the first lie on it.

Knows nothing of who gathered the answers. Inbox, router, receiver, outbox, in this order: two statements for one slot
come first at each stage, then what it passed on against what it was given. What does not verify is no answer. Views are
looked at in the order of their encodings, so that whoever asks, and in whatever order, finds the same.

Statements count under the newest of the rosters that bind the epoch, and under no other: the keys that it ended may be
in anybody's hands, and whoever signs by one of them is not the actor.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import product
from typing import Any, NamedTuple, TypeVar

from noise.protocol.delta import SIGNED_HEAD, SignedHead
from noise.protocol.encoding import Codec
from noise.protocol.errors import DecodeError, NoiseError
from noise.protocol.evidence.cases import NOBODY
from noise.protocol.evidence.messages import AlteredMessage, CounterViolation
from noise.protocol.evidence.openings import CommittedLeaf, StateOpening
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.evidence.slots import ManifestEquivocation, StageEquivocation
from noise.protocol.evidence.stage_views import (
    MERGE_VIEW,
    ROUTE_VIEW,
    SEQUENCED_VIEW,
    STAGE_CUSTODY,
    MergeView,
    OpenedHistory,
    OpenedManifest,
    OpenedMerge,
    OpenedRoute,
    Question,
    RouteView,
    SequencedView,
    StageCustody,
    open_history_view,
    open_merge_view,
    open_route_view,
    open_sequenced_view,
)
from noise.protocol.evidence.stages import (
    OpenedStageHead,
    StageInsertion,
    StageOmission,
    is_kept_from,
    is_merged_from,
    is_routed_from,
    open_stage_head,
)
from noise.protocol.evidence.verdict import NotProven, Step
from noise.protocol.frames import SignedManifest
from noise.protocol.identifiers import parse_actor, parse_seq
from noise.protocol.signing import Signed
from noise.protocol.stages import receiver_of, router_of
from noise.protocol.statements import MANIFEST, Roster

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Hashable)

N_STAGES = 4
INBOX, ROUTER, RECEIVER, OUTBOX = range(N_STAGES)

_DID = (
    ("sequenced it for this mailbox", "sequenced nothing for this mailbox there"),
    ("sorted it to the mailbox's outbox", "sorted nothing to the mailbox's outbox there"),
    ("merged it", "merged nothing there"),
    ("delivered it", "delivered nothing there"),
)
_LIES: dict[type, str] = {
    ManifestEquivocation: "signed two manifests for one epoch",
    StageEquivocation: "signed two statements for one epoch",
    AlteredMessage: "sequenced what its sender did not make",
    CounterViolation: "sequenced it out of its sender's order",
}
_LEAVES_MAX = 2
"""That one statement, or one signer of a history, is heard to say of a question. An honest one says one thing; of two,
one is not what the stage was given."""

_SLOT_BYTES = 51
"""Every statement begins with record type and origin, actor, incarnation and epoch."""


class Shown(NamedTuple):
    """What verifies of all that was shown about a question, opened. Histories: by (delivered, absent) in a custody."""

    question: Question
    manifests: dict[SequencedView, OpenedManifest]
    routes: dict[RouteView, OpenedRoute]
    merges: dict[MergeView, OpenedMerge]
    heads: dict[SignedHead, OpenedStageHead]
    histories: dict[StageCustody, OpenedHistory]

    def custody(self) -> list[StageCustody]:
        """All of it again, each once."""
        return [
            *(StageCustody(NOBODY, sequenced=view) for view in self.manifests),
            *(StageCustody(NOBODY, routed=view) for view in self.routes),
            *(StageCustody(NOBODY, merged=view) for view in self.merges),
            *(StageCustody(NOBODY, head=head) for head in self.heads),
            *self.histories,
        ]


class Lie(NamedTuple):
    """What convicts a stage on the way of a question, if it is proven."""

    stage: int
    shown: Shown
    finding: Any


def open_shown(rosters: Rosters, question: Question, custodies: Sequence[StageCustody]) -> Shown:
    """What verifies of the custodies, in a fixed order. Nothing when no roster binds the epoch."""
    try:
        newest = rosters.hash_in_force(parse_seq(question.seq)[0])
    except NotProven:
        return Shown(question, {}, {}, {}, {}, {})

    def open_all(
        views: Iterable[K | None],
        codec: Codec[Any],
        open_one: Callable[[Rosters, K, Question], V],
        made_by: Callable[[V], tuple[bytes | None, Hashable]],
    ) -> dict[K, V]:
        """`made_by`: the hash of the roster that it must be under, if any, and whose word it is.

        The first of those that say the same: nobody makes a proof long by saying one thing in many ways.
        """
        found: dict[V, K] = {}
        said: Counter[Hashable] = Counter()
        for view in sorted({view for view in views if view is not None}, key=codec.encode):
            with suppress(NoiseError):
                opened = open_one(rosters, view, question)
                roster_hash, word = made_by(opened)
                if opened not in found and roster_hash in (newest, None) and said[word] < _LEAVES_MAX:
                    found[opened] = view
                    said[word] += 1
        return {view: opened for opened, view in found.items()}

    histories = [StageCustody(NOBODY, delivered=one.delivered, absent=one.absent) for one in custodies]
    heads = [one.head for one in custodies]
    heads += [head for one in histories for head in _heads_of(one)]
    return Shown(
        question,
        open_all(
            (one.sequenced for one in custodies),
            SEQUENCED_VIEW,
            open_sequenced_view,
            lambda one: (one.roster_hash, one.manifest_hash),
        ),
        open_all(
            (one.routed for one in custodies),
            ROUTE_VIEW,
            open_route_view,
            lambda one: (one.sheet.roster_hash, one.sheet_hash),
        ),
        open_all(
            (one.merged for one in custodies),
            MERGE_VIEW,
            open_merge_view,
            lambda one: (one.sheet.roster_hash, one.sheet_hash),
        ),
        open_all(heads, SIGNED_HEAD, open_stage_head, lambda one: (one.head.roster_hash, one.head)),
        open_all(histories, STAGE_CUSTODY, _open_history, lambda one: (None, one.signer)),
    )


def _open_history(rosters: Rosters, custody: StageCustody, question: Question) -> OpenedHistory:
    return open_history_view(rosters, custody.delivered, custody.absent, question)


def _heads_of(custody: StageCustody) -> list[SignedHead]:
    """Under which a history was opened."""
    states: list[StateOpening] = []
    if custody.delivered is not None:
        states.append(custody.delivered.record.state)
    if custody.absent is not None:
        states += [one for one in (custody.absent.state,) if one is not None]
        states += [one.state for one in (custody.absent.record,) if one is not None]
    return [state.head.head for state in states]


def find_lies(ways: Sequence[Shown], case: Any) -> Iterator[Lie]:
    """What may convict a stage: the first stage of all ways first. `case`: the finding that is to be explained."""
    if not ways:
        return
    yield from (Lie(INBOX, shown, finding) for shown in ways for finding in _inbox_findings(shown))
    yield from (Lie(INBOX, ways[0], finding) for finding in _sequenced_findings(ways, case))
    for stage, find in ((ROUTER, _router_findings), (RECEIVER, _receiver_findings), (OUTBOX, _outbox_findings)):
        yield from (Lie(stage, shown, finding) for shown in ways for finding in find(shown))


def _inbox_findings(shown: Shown) -> Iterator[Any]:
    for one, other in _twice([_manifest_of(view) for view in shown.manifests]):
        yield ManifestEquivocation(SignedManifest(*one), SignedManifest(*other))


def _sequenced_findings(ways: Sequence[Shown], case: Any) -> Iterator[Any]:
    """The case again, about messages as they were sequenced: who sequenced them like this is the first on the way."""
    views = [view.message for shown in ways for view in shown.manifests if view.message is not None]
    sequenced = [CommittedLeaf(view, None) for view in views]
    if isinstance(case, AlteredMessage):
        yield from (case._replace(message=message) for message in sequenced)
    if isinstance(case, CounterViolation):
        ones, others = (sequenced if side.sequenced is None else [side] for side in case)
        yield from (CounterViolation(one, other) for one, other in product(ones, others))


def _router_findings(shown: Shown) -> Iterator[Any]:
    yield from _equivocations([Signed(*view.sheet) for view in shown.routes])
    for (sequenced, given), (routed, made) in product(shown.manifests.items(), shown.routes.items()):
        if is_routed_from(given, made) and given.leaf != made.leaf:
            custody = StageCustody(made.sheet.actor, sequenced=sequenced, routed=routed)
            yield _difference(shown.question, custody, given.leaf)


def _receiver_findings(shown: Shown) -> Iterator[Any]:
    yield from _equivocations([Signed(*view.sheet) for view in shown.merges])
    for (routed, given), (merged, made) in product(shown.routes.items(), shown.merges.items()):
        if is_merged_from(given, made) and given.leaf != made.leaf:
            custody = StageCustody(made.sheet.actor, routed=routed, merged=merged)
            yield _difference(shown.question, custody, given.leaf)
    for merged, made in shown.merges.items():
        if parse_seq(shown.question.seq)[1] not in _lanes(made.roster):
            yield StageInsertion(shown.question, StageCustody(made.sheet.actor, merged=merged))


def _outbox_findings(shown: Shown) -> Iterator[Any]:
    yield from _equivocations([Signed(*head) for head in shown.heads])
    ends = product(shown.merges.items(), shown.heads.items(), shown.histories.items())
    for (merged, given), (signed, head), (history, made) in ends:
        if is_kept_from(given, head, made) and given.leaf != made.leaf:
            custody = history._replace(actor=head.head.actor, merged=merged, head=signed)
            yield _difference(shown.question, custody, given.leaf)


def _difference(question: Question, custody: StageCustody, given: bytes | None) -> StageOmission | StageInsertion:
    return StageInsertion(question, custody) if given is None else StageOmission(question, custody)


def _equivocations(statements: Iterable[Signed]) -> Iterator[Any]:
    yield from (StageEquivocation(*pair) for pair in _twice(statements))


def _twice(statements: Iterable[Signed]) -> Iterator[tuple[Signed, Signed]]:
    first: dict[bytes, Signed] = {}
    for signed in statements:
        one = first.setdefault(signed.body[:_SLOT_BYTES], signed)
        if one.body != signed.body:
            yield one, signed


def _manifest_of(view: SequencedView) -> Signed:
    signed = view.message or view.ended
    if signed is None:
        raise DecodeError("a view of no manifest")
    return Signed(*signed.manifest)


def _lanes(roster: Roster) -> list[int]:
    return [one.lane for one in roster.lanes]


def find_silent(rosters: Rosters, shown: Shown) -> tuple[int, str] | None:
    """(stage, actor): the first that showed no output, or none that was made from what the stage before it showed.

    Its own answer counts, and its successor's too. Raises NotProven where no roster says who was to answer.
    """
    epoch, lane, _ = parse_seq(shown.question.seq)
    roster = rosters.in_force(epoch)
    outbox = rosters.place(rosters.hash_in_force(epoch), shown.question.mailbox)
    receiver = str(receiver_of(outbox))
    manifests, routes, merges = shown.manifests.values(), shown.routes.values(), shown.merges.values()
    first_stages = [(RECEIVER, receiver, bool(merges))]
    if lane in _lanes(roster):
        inbox = roster.lanes[_lanes(roster).index(lane)].inbox
        first_stages = [
            (INBOX, str(parse_actor(inbox)), bool(manifests)),
            (ROUTER, str(router_of(inbox)), any(is_routed_from(*pair) for pair in product(manifests, routes))),
            (RECEIVER, receiver, any(is_merged_from(*pair) for pair in product(routes, merges))),
        ]
    ends = product(merges, shown.heads.values(), shown.histories.values())
    stages = [*first_stages, (OUTBOX, str(outbox), any(is_kept_from(*end) for end in ends))]
    return next(((stage, actor) for stage, actor, has_shown in stages if not has_shown), None)


def make_way(shown: Shown, lie: Lie | None) -> tuple[Step, ...]:
    """What each stage did, as far as it is shown, with the lie marked."""
    steps: list[Step] = []
    before: bytes | None = None
    for stage, words in enumerate(_words_of(shown, lie)):
        if not words:
            continue
        actor, leaf = words[0]
        does = _DID[stage][leaf is None]
        if before is not None and leaf is not None and before != leaf:
            does += ", with other bytes"
        is_lie = lie is not None and lie.stage == stage
        if lie is not None and is_lie:
            does = _LIES.get(type(lie.finding), does)
        steps.append(Step(str(parse_actor(actor)), shown.question.mailbox, shown.question.seq, does, is_lie))
        before = leaf
    return tuple(steps)


def _words_of(shown: Shown, lie: Lie | None) -> list[list[tuple[bytes, bytes | None]]]:
    """(actor, leaf or None) by stage, by all that is shown; what convicts first."""
    wanted = StageCustody(NOBODY)
    if lie is not None and isinstance(lie.finding, StageOmission | StageInsertion):
        wanted = lie.finding.custody
    ended = StageCustody(NOBODY, delivered=wanted.delivered, absent=wanted.absent)
    manifests = sorted(shown.manifests.items(), key=lambda one: one[0] != wanted.sequenced)
    routes = sorted(shown.routes.items(), key=lambda one: one[0] != wanted.routed)
    merges = sorted(shown.merges.items(), key=lambda one: one[0] != wanted.merged)
    histories = sorted(shown.histories.items(), key=lambda one: one[0] != ended)
    return [
        [(MANIFEST.decode(_manifest_of(view).body).actor, made.leaf) for view, made in manifests],
        [(made.sheet.actor, made.leaf) for _, made in routes],
        [(made.sheet.actor, made.leaf) for _, made in merges],
        [(made.signer[0].encode(), made.leaf) for _, made in histories],
    ]
