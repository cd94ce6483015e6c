"""Clients of the SDK at a real provider that lies: they find out by themselves which actor did, or that it is silent.

Knows nothing of how the lie is told.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from noise.demo.zoo.lie import Attitude, Lie
from noise.demo.zoo.lies import make_lie
from noise.demo.zoo.provider import impatient, lying_provider
from noise.protocol.evidence.proof import verify_proof
from noise.protocol.identifiers import Role
from noise_client import Client, Settings, Verdict, create_device, open_client

PATIENCE_S = 60
QUICK = Settings(backoff_first_s=0.02, backoff_max_s=0.2, ack_quiet_s=0.01)


@asynccontextmanager
async def talking(lie: Lie, data: Path, settings: Settings) -> AsyncIterator[tuple[Client, Client]]:
    """alice and bob, who write to each other and compare; bob is lied to."""
    options = impatient(data)._replace(inboxes=2, outboxes=2, idle_ms=50)
    async with (
        lying_provider(lie, data, options) as provider,
        open_client(provider.url, create_device(), settings=settings) as alice,
        open_client(provider.url, create_device(), settings=settings) as bob,
    ):
        for one, other in ((alice, bob), (bob, alice)):
            await one.send([other.device_id], b"hello")
        port = await alice.serve_gossip("127.0.0.1")
        await bob.gossip_with(f"ws://127.0.0.1:{port}")
        lie.arm(bob.device_id)
        yield alice, bob


async def talk_until(alice: Client, bob: Client, is_so: Callable[[], bool]) -> None:
    """Each message makes epochs, and tells how far its sender has got."""
    while not is_so():
        await alice.send([bob.device_id], b"and another thing")
        with trio.move_on_after(0.1):
            async for _ in alice.verdicts():
                if is_so():
                    break


def is_exposed(client: Client) -> bool:
    return client.verdict.verdict is Verdict.EXPOSED


def named(client: Client) -> set[str]:
    return {reason.accused for reason in client.verdict.reasons}


async def test_an_application_complains_itself_if_it_wants(tmp_path: Path) -> None:
    """Until then nobody is asked."""
    lie = make_lie("drop-one", Role.ROUTER)
    with trio.fail_after(PATIENCE_S):
        async with talking(lie, tmp_path / "liar", QUICK._replace(complains=False)) as (alice, bob):
            await talk_until(alice, bob, lambda: is_exposed(alice) and is_exposed(bob))
            for _ in range(20):
                await alice.send([bob.device_id], b"nothing is said about it")
            [kept] = await alice.proofs()
            assert named(alice) == named(bob) == {"provider"}
            blame = await alice.complain(kept.proof)
            [liar] = lie.liars
            assert (blame.actor, blame.kind, blame.is_proven) == (str(liar), "StageOmission", True)
            await talk_until(alice, bob, lambda: str(liar) in named(alice) & named(bob))
            assert [one.proof for one in await alice.proofs()] == [kept.proof, blame.proof]
            verdict = verify_proof(blame.proof, [alice.origin or b""])
            assert [step.actor for step in verdict.way if step.is_lie] == [str(liar)]


async def test_an_actor_that_stays_silent_is_suspected_after_its_deadline(tmp_path: Path) -> None:
    """Both hear of it, and messages go on. Two neighbours lie, or others would have what the first made."""
    lie = make_lie("insert", Role.ROUTER, Role.RECEIVER, attitude=Attitude.SILENT)
    with trio.fail_after(PATIENCE_S):
        async with talking(lie, tmp_path / "liar", QUICK) as (alice, bob):
            await talk_until(alice, bob, lambda: all("unresponsive" in codes(one) for one in (alice, bob)))
            [liar] = [one for one in lie.liars if one.role is Role.ROUTER]
            for client in (alice, bob):
                assert client.verdict.verdict is Verdict.EXPOSED
                assert {r.accused for r in client.verdict.reasons if r.code == "unresponsive"} == {str(liar)}
                kinds = {verify_proof(one.proof, [client.origin or b""]).kind for one in await client.proofs()}
                assert kinds == {"Omission", "UnansweredChallenge"}


def codes(client: Client) -> set[str]:
    return {reason.code for reason in client.verdict.reasons}


async def test_a_liar_that_hides_the_question_convicts_its_log(tmp_path: Path) -> None:
    lie = make_lie("insert", Role.ROUTER, Role.RECEIVER, attitude=Attitude.SUPPRESSED)
    with trio.fail_after(PATIENCE_S):
        async with talking(lie, tmp_path / "liar", QUICK) as (alice, bob):
            await talk_until(alice, bob, lambda: "SuppressedChallenge" in codes(alice) & codes(bob))
            assert "log-0-0" in named(alice) & named(bob)
