"""A client that can convict its provider finds out by itself which actor lied, whatever the provider answers.

The provider is a `World` behind an HTTP face without sockets; what clients follow is another log under the same roster.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import cache

import pytest
import trio
import trio.testing

from noise.protocol.challenges import hash_complaint
from noise.protocol.delta import SignedRoster
from noise.protocol.errors import DecodeError, NoiseError
from noise.protocol.evidence.blame import UNRESPONSIVE
from noise.protocol.evidence.messages import Omission
from noise.protocol.evidence.openings import CommittedLeaf
from noise.protocol.evidence.proof import NotProven, make_proof, verify_proof
from noise.protocol.evidence.stage_views import Question, open_recipients
from noise.protocol.gossip import ProofFrame
from noise.protocol.identifiers import Actor, format_id
from noise.protocol.log_pages import ROSTERS
from noise_client.changed import Changed
from noise_client.complaining import Complaining
from noise_client.link import parse_url
from noise_client.provider_http import open_http
from noise_client.trust_store import StoreCalls
from noise_client.verdicts import Reason, Verdict
from tests.client.complaint_desk import Answer, ComplaintDesk
from tests.client.people import http_of
from tests.client.scripted import in_time
from tests.client.test_courier import Trickle
from tests.client.test_link import raw_server
from tests.client.witnesses import Keeper, chat
from tests.protocol.evidence.stage_convictions import OUTBOX, RECEIVER, ROUTER, US, WANTED, tell
from tests.protocol.evidence.stage_lies import drop
from tests.protocol.evidence.stage_world import World
from tests.protocol.story import ALICE, BOB, letter
from tests.vectors.cast import ORIGIN

N_EPOCHS = 8
"""That a client has verified."""

PATIENCE = 100
"""Epochs that the roster of these tests gives an actor that is challenged."""


@cache
def lied(liar: Actor) -> World:
    """And then one epoch more, whose head is the one that clients have."""
    world = tell(liar, drop(WANTED))
    world.run([letter("alice", 100, b"and more")])
    return world


def case_of(world: World) -> bytes:
    """What convicts the provider, as two clients prove it."""
    message = CommittedLeaf(world.sequenced(WANTED.seq), None)
    case = Omission(message, open_recipients(US, BOB)[0], world.absent(WANTED))
    return make_proof(ORIGIN, [SignedRoster(*signed) for signed in world.rosters], case)


def convinced(world: World) -> Keeper:
    """alice, whom bob has brought the proof."""
    keeper = Keeper("alice").follow(chat(N_EPOCHS))
    keeper.hear(BOB, ProofFrame(case_of(world)))
    assert keeper.kinds == ["Omission"]
    return keeper


class Scene:
    """Somebody who complains at a desk. `found`: the witness was handed something."""

    def __init__(self, keeper: Keeper, desk: ComplaintDesk | None) -> None:
        self.keeper = keeper
        self.found, self.changed = Changed(), Changed()
        self.http = http_of(desk)
        calls = StoreCalls(keeper.store)
        self.complaining = Complaining(
            calls, lambda: keeper.witness, lambda: self.http, self.changed, self.found.notify, 0.001
        )

    async def wait(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            await self.found.wait()


@asynccontextmanager
async def complaining(keeper: Keeper, desk: ComplaintDesk | None) -> AsyncIterator[Scene]:
    scene = Scene(keeper, desk)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.complaining.run)
        yield scene
        nursery.cancel_scope.cancel()


def accused(keeper: Keeper) -> list[str]:
    """Whom the judgement names, in the order of its reasons."""
    return [reason.accused for reason in keeper.witness.judgement.reasons]


@pytest.mark.parametrize("liar", [ROUTER, RECEIVER, OUTBOX])
@in_time
async def test_the_actor_that_lied_is_named_kept_and_told(liar: Actor) -> None:
    keeper, desk = convinced(lied(liar)), ComplaintDesk(lied(liar))
    keeper.witness.take_outgoing()
    async with complaining(keeper, desk) as scene:
        await scene.wait(lambda: str(liar) in accused(keeper))
        assert keeper.verdict is Verdict.EXPOSED
        _, enlarged = [kept.proof for kept in keeper.store.proofs()]
        verdict = verify_proof(enlarged, [ORIGIN])
        assert (verdict.kind, verdict.accused) == ("StageOmission", str(liar))
        assert Reason(verdict.kind, verdict.detail, str(liar)) in keeper.witness.judgement.reasons
        assert (BOB, ProofFrame(enlarged)) in keeper.witness.take_outgoing()
    assert desk.count("POST /v1/complaints") == 1 and not desk.challenged()
    assert not keeper.witness.cases


@in_time
async def test_a_peers_word_who_it_was_is_as_good_and_nobody_is_asked() -> None:
    """And a new process does not ask again what is explained; what is not, it does."""
    keeper, desk = convinced(lied(ROUTER)), ComplaintDesk(lied(ROUTER))
    async with complaining(keeper, desk) as scene:
        await scene.wait(lambda: str(ROUTER) in accused(keeper))
    enlarged = keeper.store.proofs()[1].proof
    other = convinced(lied(ROUTER))
    other.open()
    assert other.witness.cases == (case_of(lied(ROUTER)),)
    other.hear(BOB, ProofFrame(enlarged))
    assert str(ROUTER) in accused(other) and not other.witness.cases
    for one in (keeper, other):
        one.open()
        assert str(ROUTER) in accused(one) and not one.witness.cases


@in_time
async def test_a_silent_actor_is_challenged_once_and_suspected_after_its_deadline() -> None:
    liar = chat(N_EPOCHS)
    keeper, desk = Keeper("alice").follow(liar), ComplaintDesk(lied(OUTBOX), [OUTBOX])
    keeper.hear(BOB, ProofFrame(case_of(lied(OUTBOX))))
    async with complaining(keeper, desk) as scene:
        await scene.wait(lambda: desk.challenged() == [str(OUTBOX)])
        n_asked = len(desk.asked)
        desk.commit(2 * PATIENCE)
        for _ in range(3):  # nothing is asked before we have verified the deadline, however often we look
            scene.changed.notify()
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert len(desk.asked) == n_asked and accused(keeper) == ["provider"]
        for _ in range(PATIENCE + 2):
            liar.commit()
        keeper.skip_to(liar)
        scene.changed.notify()
        await scene.wait(lambda: str(OUTBOX) in accused(keeper))
    assert desk.count("POST " + desk.complaint_path(case_of(lied(OUTBOX)))) == 1
    [_, reason] = keeper.witness.judgement.reasons
    assert (reason.code, reason.accused) == ("unresponsive", str(OUTBOX))
    assert "proves no lie" in reason.detail
    assert keeper.kinds == ["Omission", "UnansweredChallenge"] and not keeper.witness.cases


@in_time
async def test_who_answers_a_challenge_late_is_judged_by_the_answer() -> None:
    keeper, desk = convinced(lied(OUTBOX)), ComplaintDesk(lied(OUTBOX), [OUTBOX])
    scene = Scene(keeper, desk)
    blame = await scene.complaining.complain(case_of(lied(OUTBOX)))
    assert (blame.actor, blame.kind, blame.is_proven) == (str(OUTBOX), UNRESPONSIVE, False)
    desk.answer_in_log(OUTBOX)
    blame = await scene.complaining.complain(case_of(lied(OUTBOX)))
    assert (blame.actor, blame.kind, blame.is_proven) == (str(OUTBOX), "StageOmission", True)
    assert str(OUTBOX) in accused(keeper)


@in_time
async def test_a_challenge_that_is_promised_and_hidden_convicts_the_sequencer() -> None:
    keeper, desk = convinced(lied(OUTBOX)), ComplaintDesk(lied(OUTBOX), [OUTBOX])
    desk.hides = True
    async with complaining(keeper, desk) as scene:
        await scene.wait(lambda: "log-0-0" in accused(keeper))
    assert keeper.kinds == ["Omission", "SuppressedChallenge"]


@in_time
async def test_a_challenge_that_vanishes_later_convicts_by_the_first_receipt() -> None:
    """It is not sent again: a second receipt would promise a later epoch."""
    keeper, desk = convinced(lied(OUTBOX)), ComplaintDesk(lied(OUTBOX), [OUTBOX])
    scene = Scene(keeper, desk)
    await scene.complaining.complain(case_of(lied(OUTBOX)))
    honest = ComplaintDesk(lied(OUTBOX), [OUTBOX])
    honest.commit(desk.epoch)
    honest._challenges = desk._challenges
    desk.__dict__.update(honest.__dict__)
    blame = await scene.complaining.complain(case_of(lied(OUTBOX)))
    assert (blame.actor, blame.kind, blame.is_proven) == ("log-0-0", "SuppressedChallenge", True)


GARBAGE: Sequence[Answer] = [
    (200, b""),
    (200, b"\xff" * 100),
    (200, bytes(4)),
    (201, bytes(64)),
    (200, b"\x00\x00\x00\x01" * 200_000),
    (500, b"a page"),
    (503, b'{"code":"busy","detail":"later"}'),
    (302, b""),
]


def talk_nonsense(desk: ComplaintDesk, path: str) -> list[Answer]:
    """All of it in the place of answers to this, and then the truth; what is left."""
    left = list(GARBAGE)

    def instead(method: str, asked: str) -> Answer | None:
        return left.pop() if left and asked.startswith(path) else None

    desk.instead = instead
    return left


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/rosters", "/v1/complaints", "/v1/custody", "/v1/complaints/ID/challenges/"]
)
@in_time
async def test_what_makes_no_sense_names_nobody(path: str) -> None:
    keeper, desk = convinced(lied(OUTBOX)), ComplaintDesk(lied(OUTBOX), [OUTBOX])
    about = format_id(hash_complaint(case_of(lied(OUTBOX))))
    left, scene = talk_nonsense(desk, path.replace("ID", about)), Scene(keeper, desk)
    while left:
        with suppress(NoiseError):
            blame = await scene.complaining.complain(case_of(lied(OUTBOX)))
            assert blame.kind == UNRESPONSIVE
        assert accused(keeper) == ["provider"]
    desk.silent.clear()
    blame = await scene.complaining.complain(case_of(lied(OUTBOX)))
    assert (blame.actor, blame.is_proven) == (str(OUTBOX), True)


@in_time
async def test_who_was_to_answer_is_asked_of_the_provider_if_need_be() -> None:
    """A proof with later heads alone needs the later roster alone. Without the older one nobody can be asked."""
    world = tell(ROUTER, drop(WANTED))
    world.rotate(OUTBOX)
    world.run([letter("alice", 100, b"and more")])
    message = world.delivered(Question(WANTED.seq, ALICE))
    case = Omission(message, open_recipients(US, BOB)[0], world.absent(WANTED))
    proof = make_proof(ORIGIN, world.signed_rosters()[1:], case)
    keeper, desk = Keeper("alice"), ComplaintDesk(world)
    desk.instead = lambda method, path: (200, ROSTERS.encode(())) if path == "/v1/rosters" else None
    scene = Scene(keeper, desk)
    with pytest.raises(NoiseError) as failed:
        await scene.complaining.complain(proof)
    assert failed.value.code == "no-roster"
    desk.instead = lambda method, path: None
    blame = await scene.complaining.complain(proof)
    assert (blame.actor, blame.is_proven) == (str(ROUTER), True)


@pytest.mark.parametrize("path", ["/v1/rosters", "/v1/custody/ID/inbox-0-0", "/v1/custody/ID/router-0-0"])
@in_time
async def test_one_question_that_is_never_answered_spoils_nothing(path: str) -> None:
    """The others are enough."""
    keeper, desk = convinced(lied(ROUTER)), ComplaintDesk(lied(ROUTER))
    asked_for = path.replace("ID", format_id(hash_complaint(case_of(lied(ROUTER)))))
    desk.instead = lambda method, asked: (500, b"") if asked == asked_for else None
    blame = await Scene(keeper, desk).complaining.complain(case_of(lied(ROUTER)))
    assert (blame.actor, blame.is_proven) == (str(ROUTER), True)
    assert desk.count(f"GET {asked_for}") == 1


@in_time
async def test_a_complaint_that_is_not_taken_is_made_again() -> None:
    keeper, desk = convinced(lied(ROUTER)), ComplaintDesk(lied(ROUTER))
    left = talk_nonsense(desk, "/v1/complaints")
    async with complaining(keeper, desk) as scene:
        await scene.wait(lambda: str(ROUTER) in accused(keeper))
    assert not left and desk.count("POST /v1/complaints") == len(GARBAGE) + 1


@pytest.mark.parametrize("other", [None, ROUTER, RECEIVER])
@in_time
async def test_answers_from_another_world_blame_nobody_who_is_honest_in_both(other: Actor | None) -> None:
    """The outbox lies, and the provider shows what actors signed where another one lied, or nobody."""
    keeper, desk = convinced(lied(OUTBOX)), ComplaintDesk(lied(other) if other else tell())
    blame = await Scene(keeper, desk).complaining.complain(case_of(lied(OUTBOX)))
    assert blame.actor in {str(OUTBOX), str(other)} or not blame.is_proven
    assert set(accused(keeper)) <= {"provider", str(OUTBOX), str(other)}


@in_time
async def test_no_deadline_is_waited_for_that_an_honest_provider_would_not_set() -> None:
    liar = chat(N_EPOCHS)
    keeper, desk = Keeper("alice").follow(liar), ComplaintDesk(lied(OUTBOX), [OUTBOX])
    desk.patience = 2**60
    keeper.hear(BOB, ProofFrame(case_of(lied(OUTBOX))))
    async with complaining(keeper, desk) as scene:
        await scene.wait(lambda: desk.challenged() == [str(OUTBOX)])
        for _ in range(PATIENCE + 2):
            liar.commit()
        keeper.skip_to(liar)
        scene.changed.notify()
        while desk.count("POST /v1/complaints") < 3:  # with that of the challenge
            await desk.heard.wait()


@in_time
async def test_nobody_answers() -> None:
    """It is tried ever more seldom; what we do otherwise goes on, and whoever asks is told."""
    keeper = convinced(lied(ROUTER))
    async with complaining(keeper, None) as scene:
        with pytest.raises(NoiseError) as failed:
            await scene.complaining.complain(case_of(lied(ROUTER)))
        assert failed.value.code == "unreachable"
        keeper.take(chat(N_EPOCHS + 1).delta(keeper.id, keeper.follower.cursor))
    assert accused(keeper) == ["provider"] and keeper.witness.cases


@in_time
async def test_a_provider_that_never_ends_its_answer_holds_up_nobody() -> None:
    """Neither what we verify meanwhile, nor our end."""
    keeper, trickle = convinced(lied(ROUTER)), Trickle()
    async with raw_server(trickle) as url, open_http(parse_url(url), None, 30) as http:
        async with complaining(keeper, None) as scene:
            scene.http = http
            await trickle.asked.wait()
            keeper.take(chat(N_EPOCHS + 1).delta(keeper.id, keeper.follower.cursor))
            keeper.hear(BOB, ProofFrame(case_of(lied(RECEIVER))))
        assert keeper.follower.trusted.log.size == N_EPOCHS + 1


@in_time
async def test_what_names_an_actor_already_needs_no_answer() -> None:
    keeper, desk = convinced(lied(ROUTER)), ComplaintDesk(lied(ROUTER))
    async with complaining(keeper, desk) as scene:
        await scene.wait(lambda: str(ROUTER) in accused(keeper))
        enlarged = keeper.store.proofs()[1].proof
        n_asked = len(desk.asked)
        blame = await scene.complaining.complain(enlarged)
        assert (blame.actor, blame.is_proven, blame.proof) == (str(ROUTER), True, enlarged)
        assert len(desk.asked) == n_asked


@pytest.mark.parametrize("proof", [b"", b"x" * 1000, case_of(lied(ROUTER))[:-1]])
@in_time
async def test_what_convicts_nobody_is_not_sent(proof: bytes) -> None:
    keeper, desk = Keeper("alice").follow(chat(2)), ComplaintDesk(lied(ROUTER))
    with pytest.raises((DecodeError, NotProven)):
        await Scene(keeper, desk).complaining.complain(proof)
    assert not desk.asked
