"""Whichever actor of a provider lies, and whatever it answers when it is asked, what clients hold comes down to it.

Knows nothing of how lies are made. Proofs are those of real clients, over real sockets, and custody is that of the
running provider, which has three actors of each role. Usual liars are tested where clients convict them.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from noise.demo.zoo.lie import Attitude
from noise.demo.zoo.lies import FACTS, make_lie
from noise.demo.zoo.provider import impatient, lying_provider
from noise.protocol.evidence.blame import assign_blame
from noise.protocol.evidence.verdict import PROVIDER
from noise.protocol.identifiers import Role, format_id
from noise.protocol.statements import ROSTER
from noise.renewal import rotate
from tests.e2e.provider_process import client_environment
from tests.zoo.blaming import gather_custody
from tests.zoo.checking import check_blame, check_named, check_noticed, check_unresponsive
from tests.zoo.convicting import ALICE, BOB, EVENING_S, SHAPE, shape_for, spend_evening

INBOX, ROUTER, RECEIVER, OUTBOX = Role.INBOX, Role.ROUTER, Role.RECEIVER, Role.OUTBOX
OTHERS = [(name, role) for name, facts in FACTS.items() for role in facts.stages[1:]]
TEST_S = EVENING_S + 20


@pytest.mark.parametrize(("name", "role"), OTHERS)
async def test_every_stage_that_can_lie_is_named(name: str, role: Role, tmp_path: Path) -> None:
    """And no other actor: not those that passed the lie on, nor others of the role."""
    with trio.fail_after(TEST_S):
        case = await spend_evening(make_lie(name, role), tmp_path / "liar", shape=shape_for(FACTS[name], role))
        check_noticed(case, FACTS[name])
        check_blame(case, role)


@pytest.mark.parametrize("attitude", [Attitude.SILENT, Attitude.GARBAGE])
@pytest.mark.parametrize(
    ("name", "role"),
    [("other-manifest", INBOX), ("drop-one", ROUTER), ("insert", RECEIVER), ("change-payload", OUTBOX)],
)
async def test_liar_that_does_not_say_is_named_by_its_neighbours(
    name: str, role: Role, attitude: Attitude, tmp_path: Path
) -> None:
    """What it was given, and what it made of that, others have too."""
    with trio.fail_after(TEST_S):
        case = await spend_evening(make_lie(name, role, attitude=attitude), tmp_path / "liar", shape=SHAPE)
        check_blame(case, role)


@pytest.mark.parametrize("attitude", [Attitude.SILENT, Attitude.GARBAGE, Attitude.LATE])
async def test_outbox_whose_head_of_the_epoch_nobody_shows_is_unresponsive(attitude: Attitude, tmp_path: Path) -> None:
    """A client has a later head, for what did not come. Until the outbox shows that of the epoch, nothing is proven."""
    with trio.fail_after(TEST_S):
        case = await spend_evening(make_lie("drop-one", attitude=attitude), tmp_path / "liar", shape=SHAPE)
        assert case.proof
        for proof in {proof for kept in case.proofs.values() for proof in kept}:
            check_unresponsive(case, case.blame(proof, asked=0))
        if attitude is Attitude.LATE:
            check_blame(case, OUTBOX)


@pytest.mark.parametrize(
    ("name", "by"),
    [
        ("change-payload", (ROUTER, OUTBOX)),
        ("insert", (RECEIVER, OUTBOX)),
        ("duplicate", (INBOX, ROUTER)),
    ],
)
async def test_of_two_liars_the_first_on_the_way_is_named(name: str, by: tuple[Role, Role], tmp_path: Path) -> None:
    with trio.fail_after(TEST_S):
        case = await spend_evening(make_lie(name, *by), tmp_path / "liar", shape=SHAPE)
        assert {told.by.role for told in case.told if told.by} == set(by)
        check_noticed(case, FACTS[name])
        check_blame(case, by[0])


@pytest.mark.parametrize("role", [ROUTER, RECEIVER, OUTBOX])
async def test_clients_find_out_by_themselves(role: Role, tmp_path: Path) -> None:
    with trio.fail_after(TEST_S):
        lie = make_lie("drop-one", role)
        case = await spend_evening(lie, tmp_path / "liar", shape=SHAPE, complains=True)
        [liar] = lie.liars
        for name in (ALICE, BOB):
            accused = [case.judge(proof).accused for proof in case.proofs[name]]
            assert set(accused) - {PROVIDER} == {str(liar)}, case.judgements


@pytest.mark.parametrize("role", [ROUTER, OUTBOX])
async def test_next_incarnation_answers_for_the_liar_and_is_not_named(role: Role, tmp_path: Path) -> None:
    """It has what was kept, and not the key. It inherits the mailboxes of an outbox, with what they lack."""
    with trio.fail_after(TEST_S):
        lie = make_lie("drop-one", role)
        case = await spend_evening(lie, tmp_path / "liar", shape=SHAPE)
        [liar] = lie.liars
        before = ROSTER.decode(lie.node.rosters[-1].body).entry(liar)
        renewal = await rotate(tmp_path / "liar", [str(liar)])
        assert renewal.roster.entry(liar).incarnation == before.incarnation + 1
        options = impatient(tmp_path / "liar")._replace(inboxes=SHAPE[0], outboxes=SHAPE[1])
        async with lying_provider(None, tmp_path / "liar", options) as provider:
            answers = await gather_custody(provider.url, case.origin, provider.nodes[0].rosters, case.proof)
        blame = assign_blame(case.proof, answers, case.origin)
        check_named(case, blame, role)
        assert blame.epoch < renewal.roster.valid_from_epoch
        others = [answer for answer in answers if answer.stages[0].actor != liar.encode()]
        blame = assign_blame(case.proof, others, case.origin)
        if role is OUTBOX:
            check_unresponsive(case, blame)
        else:
            check_named(case, blame, role)


async def blame(proof: bytes, url: str, origin: bytes, directory: Path) -> tuple[int, dict[str, object]]:
    """What `noise blame` says in a process of its own."""
    path = directory / "a.proof"
    path.write_bytes(proof)
    command = [sys.executable, "-m", "noise", "blame", str(path), "--server", url, "--origin", format_id(origin)]
    done = await trio.run_process(
        [*command, "--json"],
        capture_stdout=True,
        capture_stderr=True,
        stdin=subprocess.DEVNULL,
        check=False,
        env=client_environment(),
    )
    return done.returncode, json.loads(done.stdout)


async def test_a_silent_outbox_is_named_by_what_the_log_shows_of_it(tmp_path: Path) -> None:
    """Its head of the epoch is public, whatever it says."""
    with trio.fail_after(TEST_S):
        lie = make_lie("drop-one", attitude=Attitude.SILENT)
        case = await spend_evening(lie, tmp_path / "liar", shape=SHAPE)
        options = impatient(tmp_path / "liar")
        async with lying_provider(lie, tmp_path / "liar", options) as provider:
            done, said = await blame(case.proof, provider.url, case.origin, tmp_path)
        [liar] = lie.liars
        assert (done, said["kind"], said["actor"]) == (0, "StageOmission", str(liar))


@pytest.mark.parametrize(
    ("attitude", "status", "kind", "actor"),
    [
        (Attitude.SILENT, 3, "UnansweredChallenge", "the first liar"),
        (Attitude.LATE, 0, "StageOmission", "the first liar"),
        (Attitude.SUPPRESSED, 0, "SuppressedChallenge", "log-0-0"),
    ],
)
async def test_who_does_not_answer_is_challenged_in_the_log(
    attitude: Attitude, status: int, kind: str, actor: str, tmp_path: Path
) -> None:
    """Two neighbours lie together, so that nobody else has what the first of them made. Then it answers, or everybody
    sees that it does not; or the log has broken its word."""
    with trio.fail_after(TEST_S):
        lie = make_lie("change-payload", ROUTER, RECEIVER, attitude=attitude)
        options = impatient(tmp_path / "liar")._replace(idle_ms=50)
        case = await spend_evening(lie, tmp_path / "liar", shape=SHAPE)
        async with lying_provider(lie, tmp_path / "liar", options) as provider:
            done, said = await blame(case.proof, provider.url, case.origin, tmp_path)
        [liar] = [one for one in lie.liars if one.role is ROUTER]
        named = str(liar) if actor == "the first liar" else actor
        assert (done, said["kind"], said["actor"], said["is_proven"]) == (status, kind, named, status == 0)
        verdict = case.judge((tmp_path / "a.proof.blame").read_bytes())
        assert (verdict.kind, verdict.accused, verdict.is_suspicion) == (kind, named, status != 0)
