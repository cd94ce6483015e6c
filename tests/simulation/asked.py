"""What the actors of an honest world answer when they are asked, and that it never names anybody.

Knows nothing of how a world went. Each answer comes from one actor's desk, and is compared with the truth. Then answers
are mixed: those to other questions, parts of several, with all rosters or with stale ones. What still opens is put
before the walk that looks for liars, and before the classes that convict a stage.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

from noise.pipeline.challenges import find_custody
from noise.pipeline.custody import CustodyDesk
from noise.pipeline.epoch_log import load_epoch_log
from noise.protocol.delta import SignedRoster
from noise.protocol.errors import NoiseError
from noise.protocol.evidence.kinds import PLAIN_KINDS
from noise.protocol.evidence.rosters import Rosters
from noise.protocol.evidence.stage_views import CustodyAnswer, Question, StageCustody
from noise.protocol.evidence.stages import StageInsertion, StageOmission
from noise.protocol.evidence.walk import N_STAGES, Shown, find_lies, find_silent, open_shown
from noise.protocol.identifiers import Actor, make_seq, parse_seq
from noise.protocol.stages import way_of
from noise.protocol.statements import MANIFEST, Roster
from tests.simulation.provider import roster_of
from tests.simulation.result import Result

Truth = dict[bytes, dict[bytes, bytes]]
"""Leaves by mailbox and seq."""

_VIEWS = ("sequenced", "routed", "merged", "head", "delivered", "absent")


class Asked(NamedTuple):
    """A question, whose way it is about, and what each of its actors answered."""

    question: Question
    way: Sequence[Actor]
    answers: Sequence[CustodyAnswer | None]

    def stages(self) -> list[StageCustody]:
        return [stage for answer in self.answers if answer is not None for stage in answer.stages]


async def make_desk(result: Result) -> CustodyDesk:
    """Where the actors of a world look for their answers, when all is over."""
    log = await load_epoch_log(result.store)
    rosters = [SignedRoster(*signed) for signed in result.rosters]
    return CustodyDesk(result.store, result.custody, rosters, log, lambda: result.view)


async def _roster_of(result: Result, epoch: int) -> Roster:
    found = await roster_of(result.store, result.rosters, epoch)
    assert found is not None
    return found


async def ask(result: Result, desk: CustodyDesk, question: Question) -> Asked:
    """All actors on the way of a question. One that kept nothing that makes sense does not answer."""
    way = way_of(await _roster_of(result, parse_seq(question.seq)[0]), *question)
    return Asked(question, way, [await find_custody(desk, actor, question) for actor in way])


async def draw_questions(result: Result, told: Truth, rng: random.Random, count: int) -> list[Question]:
    """About messages and their recipients, about others' mailboxes, and about what never was."""
    known = [(seq, mailbox) for mailbox, leaves in told.items() if mailbox for seq in leaves]
    mailboxes = sorted({mailbox for _, mailbox in known} | {device.device_id for device in result.devices})
    questions = [Question(*rng.choice(known)) for _ in range(count)] if known else []
    for _ in range(count):
        seq = rng.choice(known)[0] if known and rng.random() < 0.6 else await _some_seq(result, rng)
        mailbox = rng.choice(mailboxes) if rng.random() < 0.8 else rng.randbytes(32)
        questions.append(Question(seq, mailbox))
    return questions


async def _some_seq(result: Result, rng: random.Random) -> bytes:
    """In a lane's manifest, at its end or beyond; now and then in a lane that is nobody's."""
    epoch = rng.randrange(result.store.next_epoch)
    manifest = rng.choice(await result.store.manifests(epoch))
    n_messages = MANIFEST.decode(manifest.statement.body).n_messages
    lane = manifest.lane if rng.random() < 0.9 else rng.randrange(1024)
    return make_seq(epoch, lane, rng.choice((0, n_messages, n_messages + 1, rng.randrange(n_messages + 2), 2**32)))


async def complaints_of_the_asked(
    result: Result, told: Truth, rng: random.Random, n_questions: int, n_mixtures: int
) -> list[str]:
    """What is wrong with the answers to so many questions, twice, and with so many mixtures of them for each."""
    desk, found = await make_desk(result), await _missing_rows(result)
    asked = [await ask(result, desk, question) for question in await draw_questions(result, told, rng, n_questions)]
    signed = [SignedRoster(*one) for one in result.rosters]
    everything = Rosters(result.origin, signed)
    for one in asked:
        roster = await _roster_of(result, parse_seq(one.question.seq)[0])
        found += await _silence(result, roster, one)
        shown = open_shown(everything, one.question, one.stages())
        found += _lies_in_one(everything, one, shown, told.get(one.question.mailbox, {}).get(one.question.seq))
        for answer in one.answers:
            if answer is not None:
                _open_alone(result.origin, answer)
    found += list(_mixture_complaints(result.origin, signed, asked, rng, n_mixtures))
    return found


def _open_alone(origin: bytes, answer: CustodyAnswer) -> None:
    """It needs no other rosters than its own."""
    shown = open_shown(Rosters(origin, answer.rosters), answer.question, answer.stages)
    [stage] = answer.stages
    given = [getattr(stage, name) for name in _VIEWS]
    n_histories = sum(view is not None for view in given[4:])
    assert [len(views) > 0 for views in (shown.manifests, shown.routes, shown.merges, shown.heads)] == [
        view is not None for view in given[:4]
    ], "a part of an answer does not open by itself"
    assert len(shown.histories) == n_histories


async def _missing_rows(result: Result) -> list[str]:
    """An actor may lack a row that was pruned, or that its operator lost."""
    next_epoch, may_be_pruned = result.store.next_epoch, 0
    for epoch in range(next_epoch):
        may_be_pruned = max(may_be_pruned, epoch - (await _roster_of(result, epoch)).parameters.custody_epochs)
    found = []
    for epoch in range(may_be_pruned, next_epoch):
        for row in await result.store.statements(epoch):
            kept = await result.custody.find(row.actor, row.incarnation, epoch)
            if kept is None and epoch >= result.lost.get(row.actor, 0):
                found.append(f"actor {row.actor.hex()} does not keep epoch {epoch}")
            if kept is not None and kept.statement != row:
                found.append(f"actor {row.actor.hex()} keeps another statement for epoch {epoch}")
    return found


async def _silence(result: Result, roster: Roster, asked: Asked) -> list[str]:
    """Whoever has its row answers."""
    epoch, found = parse_seq(asked.question.seq)[0], []
    for actor, answer in zip(asked.way, asked.answers, strict=True):
        row = await result.custody.find(actor.encode(), roster.entry(actor).incarnation, epoch)
        if (row is None) != (answer is None):
            found.append(
                f"{actor} has {'no' if row is None else 'a'} row and {'no' if answer is None else 'an'} answer"
            )
    return found


def _lies_in_one(rosters: Rosters, asked: Asked, shown: Shown, truth: bytes | None) -> Iterator[str]:
    """The answers to one question agree with the truth, and blame nobody."""
    for views in (shown.manifests, shown.routes, shown.merges, shown.histories):
        for made in views.values():
            if made.leaf != truth:
                yield f"an answer to {asked.question} has something else than the truth"
    silent = find_silent(rosters, shown)
    silent_actors = {str(actor) for actor, answer in zip(asked.way, asked.answers, strict=True) if answer is None}
    if asked.way and silent is not None and silent[1] not in silent_actors:
        yield f"{silent[1]} seems silent, and has answered {asked.question}"
    yield from _lies_shown(rosters, shown)


def _lies_shown(rosters: Rosters, shown: Shown) -> Iterator[str]:
    for lie in find_lies([shown], None):
        verdict = _verdict(rosters, lie.finding)
        if verdict:
            yield f"the walk names somebody: {verdict}"


def _verdict(rosters: Rosters, finding: Any) -> str:
    try:
        return str(PLAIN_KINDS[type(finding).__name__].verify(rosters, finding))
    except NoiseError:
        return ""


def _mixture_complaints(
    origin: bytes, signed: Sequence[SignedRoster], asked: Sequence[Asked], rng: random.Random, count: int
) -> Iterator[str]:
    """Parts of any answers, put together as the answers to one question, under any of the rosters."""
    stages = [stage for one in asked for stage in one.stages()]
    if not stages:
        return
    for one in asked:
        by_place = [s for o in asked if o.question.seq[:10] == one.question.seq[:10] for s in o.stages()]
        for _ in range(count):
            rosters = Rosters(origin, rng.sample(signed, rng.randint(1, len(signed))))
            mixed = [mix(rng, rng.choice((stages, by_place or stages))) for _ in range(rng.randint(1, 2 * N_STAGES))]
            yield from _lies_shown(rosters, open_shown(rosters, one.question, [*mixed, *one.stages()]))
            for custody in chain(mixed, one.stages()):
                actor = rng.choice((custody.actor, rng.choice(stages).actor))
                for kind in (StageOmission, StageInsertion):
                    verdict = _verdict(rosters, kind(one.question, custody._replace(actor=actor)))
                    if verdict:
                        yield f"convicted: {verdict}"


def mix(rng: random.Random, stages: Sequence[StageCustody]) -> StageCustody:
    """A custody made of several."""
    kind = rng.choice(
        (("sequenced", "routed"), ("routed", "merged"), ("merged", "head", "delivered", "absent"), _VIEWS)
    )
    made = StageCustody(rng.choice(stages).actor)
    for name in kind:
        owners = [stage for stage in stages if getattr(stage, name) is not None]
        if owners and not (name == "absent" and made.delivered is not None):
            made = made._replace(**{name: _vary(rng, name, [getattr(stage, name) for stage in owners])})
    return made


def _vary(rng: random.Random, name: str, views: Sequence[Any]) -> Any:
    """A view, or one with a part of another."""
    view, other = rng.choice(views), rng.choice(views)
    if rng.random() < 0.5 or name == "head":
        return view
    field = rng.choice(view._fields)
    view = view._replace(**{field: getattr(other, field)})
    if name in ("routed", "merged") and rng.random() < 0.5:
        field = rng.choice(view.content._fields)
        view = view._replace(content=view.content._replace(**{field: getattr(other.content, field)}))
    return view
